//! What carries out `outboundTrafficPolicy: ALLOW_ANY`: the cluster of requests that pass through, and their profile.

use crate::profiles;
use crate::{Cluster, Discovery, PASSTHROUGH_CLUSTER, Plan, Profile, connection_pool};
use istio_config::filter_config::OutboundTrafficPolicy;
use istio_config::outbound::OutboundMode;

impl Plan {
    /// Makes the plan carry out what the mesh says of hosts that neither the registry nor a rule knows. The result belongs
    /// into the filter's configuration ([`istio_config::FilterConfig::outbound`]). As istiod's route `allow_any`, requests
    /// that pass through have no timeout and are not tried again.
    pub fn let_out(&mut self, mode: OutboundMode) -> OutboundTrafficPolicy {
        let profile = match mode {
            OutboundMode::RegistryOnly => String::new(),
            OutboundMode::AllowAny => {
                let cluster = Cluster {
                    name: PASSTHROUGH_CLUSTER.to_owned(),
                    connect_timeout: connection_pool::CONNECT_TIMEOUT,
                    discovery: Discovery::RequestHost,
                    ..Cluster::default()
                };
                self.clusters.insert(cluster.name.clone(), cluster);
                profiles::name_of(&mut self.profiles, Profile::default())
            }
        };
        OutboundTrafficPolicy { mode, profile }
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{build, rules};
    use crate::{Discovery, PASSTHROUGH_CLUSTER};
    use istio_config::outbound::OutboundMode;

    #[test]
    fn what_passes_through_is_neither_limited_nor_tried_again() {
        let (mut plan, _, _) = build(&rules(&["{route: [{destination: {host: a}}], timeout: 1s}"]));
        let outbound = plan.let_out(OutboundMode::AllowAny);
        assert_eq!(outbound.profile, "p2");
        let profile = plan.profiles.iter().find(|profile| profile.name == "p2").unwrap();
        assert_eq!((profile.timeout, profile.retry.is_some()), (None, false));
        assert_eq!(plan.clusters[PASSTHROUGH_CLUSTER].discovery, Discovery::RequestHost);
    }

    #[test]
    fn a_rule_without_retries_shares_the_profile() {
        let (mut plan, bindings, _) = build(&rules(&["{route: [{destination: {host: a}}], retries: {attempts: 0}}"]));
        assert_eq!(plan.let_out(OutboundMode::AllowAny).profile, bindings[0].profiles[0]);
    }

    #[test]
    fn registry_only_needs_nothing_of_the_plan() {
        let (mut plan, _, _) = build(&rules(&["{route: [{destination: {host: a}}]}"]));
        let before = plan.clone();
        assert_eq!(plan.let_out(OutboundMode::RegistryOnly).profile, "");
        assert_eq!(plan, before);
    }
}
