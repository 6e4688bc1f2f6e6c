//! Keys of `consistentHash`, from the DestinationRules as they are written (`HashForHTTPDestination`, `hashForService`).
//!
//! Which rule holds is istiod's order: the proxy's namespace, the service's, the root namespace; there the most specific host,
//! and of several rules for one host what the oldest says.

use super::hosts::World;
use crate::proto;
use istio_config::destination_rule::{ConsistentHashLb, HttpCookie, LoadBalancerSettings, PortTrafficPolicy};
use istio_config::virtual_service::Destination;
use istio_config::{DestinationRule, Resource, names};
use serde_json::{Value, json};

/// Namespace of mesh-wide rules.
const ROOT_NAMESPACE: &str = "istio-system";

impl World<'_> {
    /// The block that holds for a destination; `namespace` is the VirtualService's.
    pub(super) fn hash(&self, destination: &Destination, namespace: &str) -> Option<&ConsistentHashLb> {
        let rules = self.holding(&names::full_host(&destination.host, namespace));
        let policy = rules.iter().find_map(|rule| rule.spec.traffic_policy.as_ref());
        let mut subsets = rules.iter().flat_map(|rule| &rule.spec.subsets);
        let subset = subsets.find(|subset| subset.name == destination.subset);
        let of_subset = subset.and_then(|subset| subset.traffic_policy.as_ref());
        let number = destination.port.as_ref().map(|port| port.number);
        of_subset.into_iter().chain(policy).find_map(|policy| {
            let of_port = number.and_then(|number| at_port(&policy.port_level_settings, number)).and_then(of);
            of_port.or_else(|| policy.load_balancer.as_ref().and_then(of))
        })
    }

    /// The block that holds for a service without rules.
    pub(super) fn hash_of_service(&self, host: &str, port: u16) -> Option<&ConsistentHashLb> {
        let rules = self.holding(host);
        let policy = rules.iter().find_map(|rule| rule.spec.traffic_policy.as_ref())?;
        let of_port = at_port(&policy.port_level_settings, port.into()).and_then(of);
        of_port.or_else(|| policy.load_balancer.as_ref().and_then(of))
    }

    /// The rules for a host, those of one namespace and one pattern, oldest first.
    fn holding(&self, host: &str) -> Vec<&Resource<DestinationRule>> {
        let config = &self.config.config;
        let own = |rule: &Resource<DestinationRule>| names::full_host(&rule.spec.host, rule.meta.namespace());
        let selects = |rule: &Resource<DestinationRule>| {
            rule.spec.workload_selector.as_ref().is_some_and(|selector| !selector.match_labels.is_empty())
        };
        let covers = |rule: &&Resource<DestinationRule>| names::covers(&own(rule), host) && !selects(rule);
        let mut all: Vec<_> = config.destination_rules.iter().filter(covers).collect();
        all.sort_by_key(|rule| (&rule.meta.creation_timestamp, rule.meta.name(), rule.meta.namespace()));
        let mut entries = config.service_entries.iter();
        let of_service = entries
            .find(|entry| entry.spec.hosts.iter().any(|name| names::full_host(name, entry.meta.namespace()) == host));
        let suffix = format!(".svc.{}", names::CLUSTER_DOMAIN);
        let of_host =
            host.strip_suffix(&suffix).and_then(|short| short.split_once('.')).map(|(_, namespace)| namespace);
        let namespaces =
            [Some("default"), of_service.map(|entry| entry.meta.namespace()), of_host, Some(ROOT_NAMESPACE)];
        for namespace in namespaces.into_iter().flatten() {
            let here = || all.iter().copied().filter(|rule| rule.meta.namespace() == namespace);
            let best = here().map(own).max_by_key(|pattern| (!pattern.starts_with('*'), pattern.len()));
            if let Some(best) = best {
                return here().filter(|rule| own(rule) == best).collect();
            }
        }
        Vec::new()
    }
}

fn at_port(ports: &[PortTrafficPolicy], number: u32) -> Option<&LoadBalancerSettings> {
    let settings = ports.iter().find(|settings| settings.port.as_ref().is_some_and(|port| port.number == number));
    settings?.load_balancer.as_ref()
}

fn of(balancer: &LoadBalancerSettings) -> Option<&ConsistentHashLb> {
    balancer.consistent_hash.as_ref()
}

/// `ConsistentHashToHashPolicy`; `None` for a block without a key.
pub(super) fn policy(hash: &ConsistentHashLb) -> Option<Value> {
    let ConsistentHashLb { http_header_name, http_cookie, use_source_ip, http_query_parameter_name, .. } = hash;
    let header = http_header_name.as_ref().map(|name| json!({ "header": { "header_name": name } }));
    let cookie = http_cookie.as_ref().map(|HttpCookie { name, path, ttl, attributes }| {
        let attributes = attributes.iter().map(|it| json!({ "name": it.name, "value": it.value })).collect::<Vec<_>>();
        let cookie = json!({ "name": name, "path": path, "attributes": attributes });
        json!({ "cookie": proto::with(cookie, [("ttl", ttl.map(|ttl| proto::duration(ttl.0)))]) })
    });
    let address = use_source_ip.map(|used| json!({ "connection_properties": { "source_ip": used } }));
    let parameter = http_query_parameter_name.as_ref().map(|name| json!({ "query_parameter": { "name": name } }));
    header.or(cookie).or(address).or(parameter)
}
