//! The block `consistentHash`: the table for the cluster, and the key for the routes.
//!
//! istiod layers the two in two ways. The table comes with the rest of `loadBalancer`, block by block. The key of a
//! destination is the subset's for the port, else the subset's, else the host's for the port, else the host's
//! (`HashForHTTPDestination`), where "for the port" takes a destination that names its port. So a cluster may have a table and
//! its requests no key: then chance chooses.

use crate::destination_rules::DestinationRules;
use crate::hash_keys::{RING_SIZE_MAX, RING_SIZE_MIN, TABLE_SIZE, TABLE_SIZE_END, is_table_size};
use crate::traffic_policy::TrafficPolicy;
use crate::{Cluster, HashCookie, HashKey, LoadBalancing};
use istio_config::Diagnostics;
use istio_config::destination_rule::{ConsistentHashLb, HttpCookie};
use istio_config::diagnostic::At;
use istio_config::virtual_service::{Destination, HttpRouteDestination};

/// What a policy says of keys: that there is a block, and the key it names, if any.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Hashed {
    pub(crate) key: Option<HashKey>,
}

/// The keys of a rule.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct RuleKeys {
    /// In the order of the destinations.
    pub(crate) keys: Vec<HashKey>,
    /// The rule's only destination has such a block: then a retry goes where the first try went.
    pub(crate) stays: bool,
}

/// Reads the block at `at`.
pub(crate) fn compile(at: &At<'_>, raw: &ConsistentHashLb, diagnostics: &mut Diagnostics) -> (LoadBalancing, Hashed) {
    (table(at, raw, diagnostics), Hashed { key: key(at, raw, diagnostics) })
}

/// As istiod does (`ApplyRingHashLoadBalancer`); a size of 0 is none.
fn table(at: &At<'_>, raw: &ConsistentHashLb, diagnostics: &mut Diagnostics) -> LoadBalancing {
    let size = |size: Option<u64>, default: u64| size.filter(|size| *size != 0).unwrap_or(default);
    if let Some(maglev) = &raw.maglev {
        let table_size = size(maglev.table_size, TABLE_SIZE);
        if !is_table_size(table_size) {
            let message = format!("a table of {table_size} is not one that Maglev takes");
            let help = format!("write a prime number below {TABLE_SIZE_END}, such as {TABLE_SIZE}");
            diagnostics.error(&at.field("maglev").field("tableSize"), "bad-policy", message, help);
            return LoadBalancing::Maglev { table_size: TABLE_SIZE };
        }
        return LoadBalancing::Maglev { table_size };
    }
    let ring_hash = at.field("ringHash");
    let (at, written) = match &raw.ring_hash {
        Some(ring) => (&ring_hash, ring.minimum_ring_size),
        None => (at, raw.minimum_ring_size),
    };
    let size_min = size(written, RING_SIZE_MIN);
    if size_min > RING_SIZE_MAX {
        let message = format!("Envoy takes no ring of {size_min}");
        diagnostics.error(&at.field("minimumRingSize"), "bad-hash", message, format!("write {RING_SIZE_MAX} at most"));
    }
    LoadBalancing::RingHash { size_min: size_min.min(RING_SIZE_MAX) }
}

fn key(at: &At<'_>, raw: &ConsistentHashLb, diagnostics: &mut Diagnostics) -> Option<HashKey> {
    let mut named = |at: &At<'_>, name: &str| {
        if name.is_empty() || name.bytes().any(|byte| byte.is_ascii_control()) {
            let message = "Envoy takes no key without a name, or with control characters in it";
            diagnostics.error(at, "bad-hash", message, "name the key");
        }
        name.to_owned()
    };
    if let Some(name) = &raw.http_header_name {
        return Some(HashKey::Header(named(&at.field("httpHeaderName"), name)));
    }
    if let Some(HttpCookie { name, path, ttl, attributes }) = &raw.http_cookie {
        let at = at.field("httpCookie");
        let name = named(&at.field("name"), name);
        let texts = attributes.iter().flat_map(|attribute| [&attribute.name, &attribute.value]).chain([path]);
        if texts.flat_map(|text| text.bytes()).any(|byte| byte.is_ascii_control()) {
            let message = "Envoy takes no control characters in path and attributes";
            diagnostics.error(&at, "bad-hash", message, "remove them");
        }
        let attributes = attributes.iter().map(|attribute| (attribute.name.clone(), attribute.value.clone()));
        let ttl = ttl.map(|ttl| ttl.0);
        return Some(HashKey::Cookie(HashCookie { name, path: path.clone(), ttl, attributes: attributes.collect() }));
    }
    if let Some(used) = raw.use_source_ip {
        // Envoy makes nothing of a policy that says `source_ip: false`.
        return used.then_some(HashKey::SourceIp);
    }
    let name = raw.http_query_parameter_name.as_ref()?;
    Some(HashKey::QueryParameter(named(&at.field("httpQueryParameterName"), name)))
}

/// The keys of a rule with these destinations: of its only one, or of all that have a share. `full` completes a host.
pub(crate) fn of_rule(
    route: &[HttpRouteDestination],
    rules: &DestinationRules<'_>,
    full: impl Fn(&str) -> String,
) -> RuleKeys {
    let of = |destination: &Destination| {
        let port = destination.port.as_ref().map(|port| port.number);
        of_destination(rules, &full(&destination.host), &destination.subset, port)
    };
    if let [only] = route {
        let hashed = of(&only.destination);
        return RuleKeys { stays: hashed.is_some(), keys: hashed.and_then(|hashed| hashed.key).into_iter().collect() };
    }
    let drawn = route.iter().filter(|entry| entry.weight.is_some_and(|weight| weight > 0));
    let keys = drawn.filter_map(|entry| of(&entry.destination)?.key);
    RuleKeys { keys: keys.collect(), stays: false }
}

/// Tells of a destination whose cluster has a table and whose requests have no key, as the key is said of a port that the
/// destination does not name.
pub(crate) fn report_lost_key(
    at: &At<'_>,
    destination: &Destination,
    host: &str,
    cluster: &Cluster,
    rules: &DestinationRules<'_>,
    diagnostics: &mut Diagnostics,
) {
    if cluster.load_balancing.is_hashed()
        && destination.port.is_none()
        && of_destination(rules, host, &destination.subset, None).is_none()
    {
        let message =
            "the key under `portLevelSettings` holds only where the port is named: chance chooses the endpoint";
        diagnostics.warning(at, "hash-without-port", message, "name the port: `port: {number: N}`");
    }
}

/// `HashForHTTPDestination`.
fn of_destination(rules: &DestinationRules<'_>, host: &str, subset: &str, port: Option<u32>) -> Option<Hashed> {
    let (of_host, of_subset) = rules.policies(host, subset);
    let at_port = |policy: Option<&TrafficPolicy>| policy?.hash_at_port(port?).cloned();
    let own = |policy: Option<&TrafficPolicy>| policy?.hash().cloned();
    at_port(of_subset).or_else(|| own(of_subset)).or_else(|| at_port(of_host)).or_else(|| own(of_host))
}

/// The key of a service that no rule is for (`hashForService`).
pub(crate) fn of_service(rules: &DestinationRules<'_>, host: &str, port: u16) -> Option<HashKey> {
    let (policy, _) = rules.policies(host, "");
    let policy = policy?;
    policy.hash_at_port(port.into()).or_else(|| policy.hash())?.key.clone()
}

#[cfg(test)]
mod tests {
    use crate::testing::{SERVICES, build, check_findings};
    use crate::{HashCookie, HashKey, LoadBalancing};
    use std::time::Duration;

    /// The services, a DestinationRule for `a` with this policy and these subsets, and one rule for `a` with this route.
    fn config(policy: &str, subsets: &str, http: &str) -> String {
        let rules = if http.is_empty() {
            String::new()
        } else {
            format!(
                "---\napiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: v}}\nspec: {{hosts: [a], http: [{http}]}}\n"
            )
        };
        format!(
            "{SERVICES}---\napiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {{name: a}}\nspec: {{host: a, trafficPolicy: {policy}, subsets: {subsets}}}\n{rules}"
        )
    }

    fn by(key: &str) -> String {
        format!("{{loadBalancer: {{consistentHash: {{{key}}}}}}}")
    }

    /// The keys of the rule's profile, and whether a retry avoids those that have failed.
    fn check(policy: &str, subsets: &str, route: &str, expected: &[&str], avoids: bool) {
        let (plan, bindings, _) = build(&config(policy, subsets, &format!("{{route: {route}}}")));
        let name = bindings.first().map_or("default", |binding| &binding.profiles[0]);
        let profile = plan.profiles.iter().find(|profile| profile.name == name).unwrap();
        let told = |key: &HashKey| match key {
            HashKey::Header(name) => format!("header {name}"),
            HashKey::Cookie(cookie) => format!("cookie {}", cookie.name),
            HashKey::SourceIp => "address".to_owned(),
            HashKey::QueryParameter(name) => format!("parameter {name}"),
        };
        let keys: Vec<_> = profile.hash_keys.iter().map(told).collect();
        assert_eq!(
            (keys, profile.retry.as_ref().unwrap().avoid_previous_hosts),
            (expected.iter().map(|key| (*key).to_owned()).collect(), avoids),
            "{policy} {subsets} {route}"
        );
    }

    const ONLY: &str = "[{destination: {host: a}}]";

    #[test]
    fn every_kind_of_key_is_the_profiles() {
        check(&by("httpHeaderName: x-user"), "[]", ONLY, &["header x-user"], false);
        check(&by("httpCookie: {name: user}"), "[]", ONLY, &["cookie user"], false);
        check(&by("useSourceIp: true"), "[]", ONLY, &["address"], false);
        check(&by("httpQueryParameterName: u"), "[]", ONLY, &["parameter u"], false);
        // A block without a key has its table, and its retries.
        check(&by("useSourceIp: false"), "[]", ONLY, &[], false);
        check(&by(""), "[]", ONLY, &[], false);
        check("~", "[]", ONLY, &[], true);
    }

    #[test]
    fn a_cookie_is_made_as_the_rule_says() {
        let cookie = "httpCookie: {name: user, path: /shop, ttl: 1.5s, attributes: [{name: SameSite, value: Lax}, {name: Secure}]}";
        let (plan, ..) = build(&config(&by(cookie), "[]", &format!("{{route: {ONLY}}}")));
        let attributes = vec![("SameSite".to_owned(), "Lax".to_owned()), ("Secure".to_owned(), String::new())];
        let ttl = Some(Duration::from_millis(1500));
        let cookie = HashCookie { name: "user".to_owned(), path: "/shop".to_owned(), ttl, attributes };
        assert_eq!(plan.profiles[1].hash_keys, [HashKey::Cookie(cookie)]);
    }

    #[test]
    fn keys_come_from_the_subset_before_the_host_and_from_a_port_that_is_named() {
        let host = by("httpHeaderName: host");
        let subset = |policy: &str| format!("[{{name: v1, labels: {{version: v1}}, trafficPolicy: {policy}}}]");
        let to = "[{destination: {host: a, subset: v1}}]";
        let named = "[{destination: {host: a, subset: v1, port: {number: 80}}}]";
        check(&host, &subset("~"), to, &["header host"], false);
        check(&host, &subset(&by("httpHeaderName: own")), to, &["header own"], false);
        // The subset's clusters are balanced at random, and the key is still there.
        check(&host, &subset("{loadBalancer: {simple: RANDOM}}"), to, &["header host"], false);
        let port =
            "{portLevelSettings: [{port: {number: 80}, loadBalancer: {consistentHash: {httpHeaderName: port}}}]}";
        check(port, "[]", ONLY, &[], true);
        check(port, "[]", "[{destination: {host: a, port: {number: 80}}}]", &["header port"], false);
        check(&host, &subset(port), to, &["header host"], false);
        check(&host, &subset(port), named, &["header port"], false);
        let both = "{loadBalancer: {consistentHash: {httpHeaderName: own}}, portLevelSettings: [{port: {number: 80}, loadBalancer: {simple: RANDOM}}]}";
        check("~", &subset(both), named, &["header own"], false);
    }

    #[test]
    fn weighted_destinations_put_their_keys_together_and_avoid_who_failed() {
        let subsets = format!(
            "[{{name: v1, labels: {{version: v1}}, trafficPolicy: {}}}, {{name: v2, labels: {{version: v2}}, trafficPolicy: {}}}]",
            by("httpHeaderName: one"),
            by("useSourceIp: true")
        );
        let route = |first: u32, second: u32| {
            format!(
                "[{{destination: {{host: a, subset: v1}}, weight: {first}}}, {{destination: {{host: a, subset: v2}}, weight: {second}}}]"
            )
        };
        check("~", &subsets, &route(1, 1), &["header one", "address"], true);
        check("~", &subsets, &route(0, 1), &["address"], true);
    }

    #[test]
    fn what_a_rule_says_of_retries_goes_before() {
        for (retries, avoids) in [
            ("{attempts: 1}", false),
            ("{attempts: 1, retryIgnorePreviousHosts: true}", true),
            ("{attempts: 1, retryIgnorePreviousHosts: false}", false),
        ] {
            let http = format!("{{route: {ONLY}, retries: {retries}}}");
            let (plan, ..) = build(&config(&by("httpHeaderName: u"), "[]", &http));
            assert_eq!(plan.profiles[1].retry.as_ref().unwrap().avoid_previous_hosts, avoids, "{retries}");
        }
    }

    #[test]
    fn a_service_without_rules_has_its_key_too() {
        let bound = |policy: &str, http: &str| {
            let (plan, bindings, _) = build(&config(policy, "[]", http));
            let of_service = bindings.iter().find(|binding| !binding.service.is_empty());
            let key = |name: &str| plan.profiles.iter().find(|profile| profile.name == name).unwrap().hash_keys.clone();
            of_service.map(|binding| (binding.service.clone(), key(&binding.profiles[0])))
        };
        let service = || "a.default.svc.cluster.local".to_owned();
        let key = |name: &str| vec![HashKey::Header(name.to_owned())];
        assert_eq!(bound(&by("httpHeaderName: u"), ""), Some((service(), key("u"))));
        assert_eq!(bound("~", ""), None);
        // Of the port, by its number alone: that is what istiod asks here.
        let port = "{loadBalancer: {consistentHash: {httpHeaderName: u}}, portLevelSettings: [{port: {number: 80}, loadBalancer: {consistentHash: {httpHeaderName: p}}}]}";
        assert_eq!(bound(port, ""), Some((service(), key("p"))));
        // Rules that take every request leave no such route, others may.
        assert_eq!(bound(&by("httpHeaderName: u"), &format!("{{route: {ONLY}}}")), None);
        let elsewhere = format!("{{match: [{{gateways: [g]}}], route: {ONLY}}}");
        assert_eq!(bound(&by("httpHeaderName: u"), &elsewhere), Some((service(), key("u"))));
    }

    #[test]
    fn a_key_of_a_port_that_nobody_names_is_a_finding() {
        let port = "{portLevelSettings: [{port: {number: 80}, loadBalancer: {consistentHash: {httpHeaderName: u}}}]}";
        let finding = ["VirtualService spec.http[0].route[0].destination: warning[hash-without-port]"];
        check_findings(&config(port, "[]", &format!("{{route: {ONLY}}}")), &finding);
        check_findings(&config(port, "[]", "{route: [{destination: {host: a, port: {number: 80}}}]}"), &[]);
        check_findings(&config(&by("httpHeaderName: u"), "[]", &format!("{{route: {ONLY}}}")), &[]);
    }

    #[test]
    fn tables_have_their_sizes() {
        let table = |hash: &str| {
            let (plan, _, findings) = build(&config(&by(hash), "[]", ""));
            assert_eq!(findings, Vec::<String>::new(), "{hash}");
            plan.clusters["outbound|80||a.default.svc.cluster.local"].load_balancing
        };
        for (hash, size_min) in [
            ("useSourceIp: true", 1024),
            ("useSourceIp: true, ringHash: {}", 1024),
            ("useSourceIp: true, ringHash: {minimumRingSize: 7}", 7),
            ("useSourceIp: true, minimumRingSize: 8388608", 8_388_608),
            ("useSourceIp: true, minimumRingSize: 0", 1024),
        ] {
            assert_eq!(table(hash), LoadBalancing::RingHash { size_min }, "{hash}");
        }
        for (hash, table_size) in
            [("useSourceIp: true, maglev: {}", 65_537), ("useSourceIp: true, maglev: {tableSize: 7}", 7)]
        {
            assert_eq!(table(hash), LoadBalancing::Maglev { table_size }, "{hash}");
        }
    }

    #[test]
    fn what_envoy_refuses_is_an_error() {
        let refuse = |hash: &str, expected: &str| {
            let finding = format!("DestinationRule spec.trafficPolicy.loadBalancer.consistentHash.{expected}");
            check_findings(&config(&by(hash), "[]", ""), &[&finding]);
        };
        refuse("useSourceIp: true, maglev: {tableSize: 65536}", "maglev.tableSize: error[bad-policy]");
        refuse("useSourceIp: true, maglev: {tableSize: 1}", "maglev.tableSize: error[bad-policy]");
        refuse("useSourceIp: true, maglev: {tableSize: 5000011}", "maglev.tableSize: error[bad-policy]");
        refuse("useSourceIp: true, ringHash: {minimumRingSize: 8388609}", "ringHash.minimumRingSize: error[bad-hash]");
        refuse("useSourceIp: true, minimumRingSize: 8388609", "minimumRingSize: error[bad-hash]");
        refuse("httpHeaderName: ''", "httpHeaderName: error[bad-hash]");
        refuse("httpCookie: {name: ''}", "httpCookie.name: error[bad-hash]");
        refuse("httpCookie: {name: a, path: \"/\\n\"}", "httpCookie: error[bad-hash]");
        refuse("httpQueryParameterName: ''", "httpQueryParameterName: error[bad-hash]");
    }
}
