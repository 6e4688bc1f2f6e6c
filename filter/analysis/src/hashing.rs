//! `consistentHash` beside weights: the hash keeps a user on an endpoint, the weights do not keep him on a version.
//!
//! Istio appends the hash policies of the weighted destinations to the route, and Envoy uses them for the endpoint only;
//! the cluster is drawn anew for each request.

use crate::view::{Rule, View};
use istio_config::destination_rule::{LoadBalancerSettings, TrafficPolicy};
use istio_config::shunt_policy::TargetRef;
use istio_config::virtual_service::Destination;
use istio_config::{Diagnostics, names};
use std::collections::BTreeSet;

pub(crate) fn analyse(view: &View<'_>, diagnostics: &mut Diagnostics) {
    for rule in view.rules() {
        let versions: BTreeSet<_> = rule
            .drawn()
            .map(|(_, to, _)| (rule.full_host(to), to.subset.as_str(), to.port.as_ref().map(|port| port.number)))
            .collect();
        if versions.len() < 2 || has_users_who_stay(view, rule) {
            continue;
        }
        let hashed = rule.drawn().find_map(|(_, to, _)| hashed_by(view, &rule.full_host(to), to));
        if let Some(by) = hashed {
            let message = format!(
                "each request draws its version anew: the key of {by} only keeps a user on one endpoint of the version"
            );
            let help = "keep users on a version with a ShuntPolicy (`sticky`), or do without the key";
            rule.at(|at| diagnostics.warning(&at.field("route"), "hash-beside-weights", message, help));
        }
    }
}

/// Whether a policy keeps this rule's users on their versions.
fn has_users_who_stay(view: &View<'_>, rule: Rule<'_>) -> bool {
    view.config.shunt_policies.iter().any(|policy| {
        let target = policy.spec.sticky.as_ref().and(policy.spec.target_ref.as_ref());
        target.is_some_and(|TargetRef { name, section_name, .. }| {
            rule.is_written_in(policy.meta.namespace(), name)
                && (section_name.is_empty() || *section_name == rule.raw.name)
        })
    })
}

/// The DestinationRule that hashes requests to this destination, if one does.
fn hashed_by(view: &View<'_>, host: &str, to: &Destination) -> Option<String> {
    view.config.destination_rules.iter().find_map(|resource| {
        let own = names::full_host(&resource.spec.host, resource.meta.namespace());
        let holds = own == host || names::covers(&own, host);
        let subset = resource.spec.subsets.iter().find(|subset| subset.name == to.subset && !to.subset.is_empty());
        let policies =
            [subset.and_then(|subset| subset.traffic_policy.as_ref()), resource.spec.traffic_policy.as_ref()];
        // The subset's balancing goes before the host's.
        let chosen = policies.into_iter().flatten().find_map(|policy| balancer(policy, to));
        chosen.filter(|chosen| holds && chosen.consistent_hash.is_some()).map(|_| resource.meta.reference.to_string())
    })
}

/// The port's balancing where the destination names a port that has its own, else the policy's.
fn balancer<'p>(policy: &'p TrafficPolicy, to: &Destination) -> Option<&'p LoadBalancerSettings> {
    let port = to.port.as_ref().map(|port| port.number);
    let of_port = policy
        .port_level_settings
        .iter()
        .find(|settings| port.is_some() && settings.port.as_ref().map(|port| port.number) == port);
    match of_port {
        Some(settings) => settings.load_balancer.as_ref(),
        None => policy.load_balancer.as_ref(),
    }
}
