//! The key by which a DestinationRule wants an endpoint chosen (`consistentHash`). No host carries it out yet; an explanation
//! says so, for whom it is most of what the rule is about.
//!
//! Which rule holds is Istio's order, as the plan has it: the proxy's namespace, the service's, the root namespace; there the
//! most specific host, the oldest of several.

use istio_config::destination_rule::{ConsistentHashLb, LoadBalancerSettings, TrafficPolicy};
use istio_config::{Config, DestinationRule, ObjectRef, Resource, names};
use serde::Serialize;

/// `trafficPolicy.loadBalancer.consistentHash` of a cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HashKey {
    /// `header`, `cookie`, `queryParameter` or `sourceIp`.
    pub by: &'static str,
    /// Name of the header, cookie or parameter.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// `namespace/name` of the DestinationRule.
    pub destination_rule: String,
    /// Whether a host balances by it.
    pub carried_out: bool,
}

impl HashKey {
    /// The key of a cluster by its Istio name; `None` where it is balanced in another way.
    pub(crate) fn of(config: &Config, cluster: &str) -> Option<(Self, ObjectRef)> {
        let mut parts = cluster.split('|').skip(1);
        let (port, subset, host) = (parts.next()?.parse().ok()?, parts.next()?, parts.next()?);
        let rules = holding(config, host);
        let of_subset = rules.iter().find_map(|rule| {
            let subset = rule.spec.subsets.iter().find(|own| !subset.is_empty() && own.name == subset)?;
            Some((*rule, subset.traffic_policy.as_ref()?))
        });
        let of_host = rules.iter().find_map(|rule| Some((*rule, rule.spec.traffic_policy.as_ref()?)));
        let policies = of_subset.into_iter().chain(of_host);
        let (rule, balancer) = policies.filter_map(|(rule, policy)| Some((rule, balancer(policy, port)?))).next()?;
        let (by, name) = key(balancer.consistent_hash.as_ref()?)?;
        let key = Self { by, name, destination_rule: rule.meta.full_name(), carried_out: false };
        Some((key, rule.meta.reference.clone()))
    }
}

/// The rules for a host, those of one namespace and one pattern, oldest first.
fn holding<'c>(config: &'c Config, host: &str) -> Vec<&'c Resource<DestinationRule>> {
    let own = |rule: &Resource<DestinationRule>| names::full_host(&rule.spec.host, rule.meta.namespace());
    let mut all: Vec<_> = config.destination_rules.iter().filter(|rule| names::covers(&own(rule), host)).collect();
    all.sort_by_key(|rule| (&rule.meta.creation_timestamp, rule.meta.name(), rule.meta.namespace()));
    let entries = config.service_entries.iter();
    let of_service = entries
        .filter(|entry| entry.spec.hosts.iter().any(|named| names::full_host(named, entry.meta.namespace()) == host));
    let service = of_service.map(|entry| entry.meta.namespace()).next().unwrap_or("default");
    for namespace in ["default", service, "istio-system"] {
        let here = || all.iter().copied().filter(|rule| rule.meta.namespace() == namespace);
        let best = here().map(own).max_by_key(|pattern| (!pattern.starts_with('*'), pattern.len()));
        if let Some(best) = best {
            return here().filter(|rule| own(rule) == best).collect();
        }
    }
    Vec::new()
}

/// The port's balancing where the policy has one of its own for it, else the policy's.
fn balancer(policy: &TrafficPolicy, port: u32) -> Option<&LoadBalancerSettings> {
    let of_port = policy
        .port_level_settings
        .iter()
        .find(|settings| settings.port.as_ref().is_some_and(|selector| selector.number == port));
    match of_port {
        Some(settings) => settings.load_balancer.as_ref(),
        None => policy.load_balancer.as_ref(),
    }
}

fn key(hash: &ConsistentHashLb) -> Option<(&'static str, String)> {
    let header = hash.http_header_name.as_ref().map(|name| ("header", name.clone()));
    let cookie = || hash.http_cookie.as_ref().map(|cookie| ("cookie", cookie.name.clone()));
    let parameter = || hash.http_query_parameter_name.as_ref().map(|name| ("queryParameter", name.clone()));
    let address = || hash.use_source_ip.filter(|used| *used).map(|_| ("sourceIp", String::new()));
    header.or_else(cookie).or_else(parameter).or_else(address)
}

#[cfg(test)]
mod tests {
    use super::*;
    use istio_config::Diagnostics;
    use serde_json::json;

    fn check(rules: &[(&str, serde_json::Value)], cluster: &str, expected: &str) {
        let mut config = Config::default();
        for (number, (namespace, spec)) in rules.iter().enumerate() {
            let object = json!({
                "apiVersion": "networking.istio.io/v1", "kind": "DestinationRule",
                "metadata": {"name": format!("r{number}"), "namespace": namespace}, "spec": spec,
            });
            config.add(object, &mut Diagnostics::default());
        }
        let found =
            HashKey::of(&config, cluster).map(|(key, _)| format!("{} {} {}", key.destination_rule, key.by, key.name));
        assert_eq!(found.unwrap_or_default().trim_end(), expected, "{cluster}");
    }

    #[test]
    fn the_key_is_the_subsets_before_the_hosts() {
        let by = |key: serde_json::Value| json!({"loadBalancer": {"consistentHash": key}});
        let rule = json!({
            "host": "a.example",
            "trafficPolicy": by(json!({"httpHeaderName": "user"})),
            "subsets": [
                {"name": "v1"},
                {"name": "v2", "trafficPolicy": by(json!({"httpCookie": {"name": "u"}}))},
                {"name": "v3", "trafficPolicy": {"loadBalancer": {"simple": "RANDOM"}}},
                {"name": "v4", "trafficPolicy": {"portLevelSettings": [
                    {"port": {"number": 80}, "loadBalancer": {"consistentHash": {"useSourceIp": true}}}]}},
            ],
        });
        let rules = [("default", rule)];
        check(&rules, "outbound|80||a.example", "default/r0 header user");
        check(&rules, "outbound|80|v1|a.example", "default/r0 header user");
        check(&rules, "outbound|80|v2|a.example", "default/r0 cookie u");
        check(&rules, "outbound|80|v3|a.example", "");
        check(&rules, "outbound|80|v4|a.example", "default/r0 sourceIp");
        check(&rules, "outbound|81|v4|a.example", "default/r0 header user");
        check(&rules, "outbound|80||b.example", "");
    }

    #[test]
    fn the_most_specific_rule_of_the_first_namespace_holds() {
        let rule = |host: &str, key: &str| json!({"host": host, "trafficPolicy": {"loadBalancer": {"consistentHash": {"httpQueryParameterName": key}}}});
        let rules = [
            ("istio-system", rule("a.example", "root")),
            ("default", rule("*.example", "wide")),
            ("default", rule("b.example", "narrow")),
        ];
        check(&rules, "outbound|80||a.example", "default/r1 queryParameter wide");
        check(&rules, "outbound|80||b.example", "default/r2 queryParameter narrow");
        check(&rules[..1], "outbound|80||a.example", "istio-system/r0 queryParameter root");
    }
}
