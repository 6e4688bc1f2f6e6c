//! The other side of a proxy: the application, which everything that comes in goes to.

use crate::{Cluster, DEFAULT_PROFILE, Endpoint, Plan, Profile, connection_pool};
use std::net::SocketAddr;

/// The cluster with the application. No cluster of Istio's is called so.
pub const APP_CLUSTER: &str = "app";

/// The inbound side of a proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Application {
    /// Where its requests come in.
    pub listen: SocketAddr,
    /// Where it takes them.
    pub address: SocketAddr,
}

impl Application {
    /// What the application is reached by.
    pub fn cluster(&self) -> Cluster {
        let (address, port) = (self.address.ip().to_string(), self.address.port());
        Cluster {
            name: APP_CLUSTER.to_owned(),
            connect_timeout: connection_pool::CONNECT_TIMEOUT,
            endpoints: vec![Endpoint { address, port, weight: 1, ..Endpoint::default() }],
            ..Cluster::default()
        }
    }

    /// The plan of the inbound side. As on a sidecar's, requests have no timeout and are not tried again.
    pub fn plan(&self) -> Plan {
        let profile = Profile { name: DEFAULT_PROFILE.to_owned(), ..Profile::default() };
        let cluster = self.cluster();
        Plan { profiles: vec![profile], clusters: [(cluster.name.clone(), cluster)].into(), ..Plan::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_goes_to_the_application_once() {
        let application = Application { listen: ([127, 0, 0, 1], 1).into(), address: ([127, 0, 0, 1], 8080).into() };
        let plan = application.plan();
        let endpoint = &plan.clusters[APP_CLUSTER].endpoints[0];
        assert_eq!((endpoint.address.as_str(), endpoint.port), ("127.0.0.1", 8080));
        assert_eq!((plan.profiles[0].timeout, &plan.profiles[0].retry), (None, &None));
    }
}
