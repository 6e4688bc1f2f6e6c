//! Names of endpoints (`ServiceEntry.resolution: DNS` and `DNS_ROUND_ROBIN`), and the plan once they are looked up.
//!
//! Looking up is for a host with sockets; Envoy does it by itself, and in the simulator a name is an endpoint like any
//! other. Here is what an answer means, as in Envoy's `STRICT_DNS` and `LOGICAL_DNS`.

use crate::{Cluster, Discovery, Endpoint, Plan};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

impl Plan {
    /// Every name that stands in place of an address and has to be looked up before anything can be sent there.
    pub fn names(&self) -> BTreeSet<String> {
        let clusters = self.clusters.values().filter(|cluster| cluster.discovery.is_by_name());
        let endpoints = clusters.flat_map(|cluster| &cluster.endpoints);
        endpoints.map(|endpoint| &endpoint.address).filter(|address| !is_ip(address)).cloned().collect()
    }

    /// The plan with `addresses` in place of names: one endpoint for each address of a name, with the port, the weight and
    /// the labels of the name, or for [`Discovery::LogicalDns`] the first address only. A name that is not in there has no
    /// endpoint. What has an IP address stays, and an address that comes twice with one port is one endpoint.
    #[must_use]
    pub fn resolved(&self, addresses: &BTreeMap<String, Vec<IpAddr>>) -> Self {
        let Self { profiles, clusters, fallbacks, uses } = self;
        let resolved = |cluster: &Cluster| match cluster.discovery {
            Discovery::Static | Discovery::RequestHost => cluster.clone(),
            Discovery::StrictDns => with_addresses(cluster, addresses, usize::MAX),
            Discovery::LogicalDns => with_addresses(cluster, addresses, 1),
        };
        Self {
            profiles: profiles.clone(),
            clusters: clusters.iter().map(|(name, cluster)| (name.clone(), resolved(cluster))).collect(),
            fallbacks: fallbacks.clone(),
            uses: uses.clone(),
        }
    }
}

/// At most `limit` addresses for each name.
fn with_addresses(cluster: &Cluster, addresses: &BTreeMap<String, Vec<IpAddr>>, limit: usize) -> Cluster {
    let mut endpoints: Vec<Endpoint> = Vec::new();
    let mut seen = BTreeSet::new();
    for endpoint in &cluster.endpoints {
        let mut add = |address: String| {
            if seen.insert((address.clone(), endpoint.port)) {
                endpoints.push(Endpoint { address, ..endpoint.clone() });
            }
        };
        if is_ip(&endpoint.address) {
            add(endpoint.address.clone());
        } else {
            let found = addresses.get(&endpoint.address).into_iter().flatten();
            found.take(limit).for_each(|address| add(address.to_string()));
        }
    }
    Cluster { endpoints, ..cluster.clone() }
}

fn is_ip(address: &str) -> bool {
    address.parse::<IpAddr>().is_ok()
}

#[cfg(test)]
mod tests {
    use crate::testing::build;
    use std::collections::BTreeMap;
    use std::net::IpAddr;

    /// The endpoints of the service with this spec, once `a.com` is two addresses, `b.com` one and `c.com` none.
    fn check(spec: &str, names: &[&str], expected: &[&str]) {
        let text = format!(
            "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {{name: s}}\nspec: {{{spec}}}\n"
        );
        let (plan, _, findings) = build(&text);
        assert_eq!(findings, Vec::<String>::new());
        assert_eq!(plan.names().into_iter().collect::<Vec<_>>(), names);
        let address = |text: &str| text.parse::<IpAddr>().unwrap();
        let addresses = BTreeMap::from([
            ("a.com".to_owned(), vec![address("10.0.0.1"), address("10.0.0.2")]),
            ("b.com".to_owned(), vec![address("10.0.0.2")]),
        ]);
        let resolved = plan.resolved(&addresses);
        let endpoints = resolved.clusters.values().flat_map(|cluster| &cluster.endpoints);
        let found: Vec<_> = endpoints.map(|e| format!("{}:{}*{}", e.address, e.port, e.weight)).collect();
        assert_eq!(found, expected);
    }

    const PORTS: &str = "ports: [{number: 80, name: http, targetPort: 8080}]";

    #[test]
    fn every_address_of_a_name_is_an_endpoint() {
        check(
            &format!("hosts: [a.com], resolution: DNS, {PORTS}"),
            &["a.com"],
            &["10.0.0.1:8080*1", "10.0.0.2:8080*1"],
        );
        check(
            &format!(
                "hosts: [x.com], resolution: DNS, {PORTS}, endpoints: [{{address: a.com, weight: 3}}, {{address: 10.0.0.9}}, {{address: b.com}}, {{address: c.com}}]"
            ),
            &["a.com", "b.com", "c.com"],
            &["10.0.0.1:8080*3", "10.0.0.2:8080*3", "10.0.0.9:8080*1"],
        );
    }

    #[test]
    fn a_logical_name_is_its_first_address() {
        check(&format!("hosts: [a.com], resolution: DNS_ROUND_ROBIN, {PORTS}"), &["a.com"], &["10.0.0.1:8080*1"]);
        check(&format!("hosts: [c.com], resolution: DNS_ROUND_ROBIN, {PORTS}"), &["c.com"], &[]);
    }

    #[test]
    fn what_has_an_address_is_not_looked_up() {
        check(
            &format!("hosts: [a.com], resolution: STATIC, {PORTS}, endpoints: [{{address: 10.0.0.7}}]"),
            &[],
            &["10.0.0.7:8080*1"],
        );
    }
}
