//! The manifests for Envoy Gateway: an `EnvoyExtensionPolicy`, and what serves the filter's decisions there.
//!
//! Envoy Gateway has clusters of its own, one for each rule of an HTTPRoute, and no route can take a cluster's name from a
//! header. So every decision that the rules can come to, a profile and a cluster, is an HTTPRoute that matches the
//! two headers and leads to a Service. Another one, which matches everything, only brings requests to the filter: Envoy
//! Gateway turns a Wasm filter on by the route that a request meets first. Retries are a BackendTrafficPolicy.
//!
//! Envoy Gateway calls a cluster by its HTTPRoute and the rule's place there, and clusters, routes and the filter reach Envoy one after
//! the other. So that a name means the same in every version of the rules, an HTTPRoute is called by the decision that it carries out,
//! has no other, and the filter's policy stands behind all of them. It chooses them by a label too, so that one that is no longer
//! written, and which nothing deletes, is not without the filter, where a client could speak to it.

use crate::backends::{Backends, Reference, marked};
use crate::mesh::{self, TargetRef};
use crate::profiles::ByContent;
use crate::proto;
use envoy_plan::{Backoff, CLUSTER_HEADER, DEFAULT_PROFILE, PROFILE_HEADER, Plan, Profile, RetryOn, RetryPolicy};
use istio_config::{FilterConfig, names, shunt_policy};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::Duration;

/// How many hosts the Gateway API lets an HTTPRoute have.
const MAX: usize = 16;

/// How long the names of a decision may be, before a number: a name of Kubernetes has 253 letters at most.
const NAME_MAX: usize = 240;

/// How long the value of a label may be.
const LABEL_MAX: usize = 63;

/// Where the manifests go.
#[derive(Clone, Debug)]
pub struct EnvoyGateway {
    /// `metadata.name`, or how it begins.
    pub name: String,
    /// `metadata.namespace`, of all of them.
    pub namespace: String,
    /// What the HTTPRoutes hang on: `Gateway`s.
    pub parents: Vec<TargetRef>,
    /// Hosts of the rules. Empty: all.
    pub hosts: Vec<String>,
    /// Where Envoy Gateway fetches the filter: `oci://`, `http://` or `https://`.
    pub url: String,
    /// What is to be found there; see [`Code::Url`](crate::Code::Url).
    pub sha256: Option<String>,
}

impl EnvoyGateway {
    /// What HTTPRoutes and policies are found by, as `kubectl` takes it.
    pub fn label(&self) -> String {
        format!("{NAME_LABEL}={}", fitting(&self.name, LABEL_MAX))
    }
}

/// The manifests, and what they cannot say, a line each. In the order in which they are to be applied.
pub fn envoy_gateway(plan: &Plan, config: &FilterConfig, gateway: &EnvoyGateway) -> (Vec<Value>, Vec<String>) {
    let mut backends = Backends::new(&config.config, plan, &gateway.namespace);
    let mut lost = Vec::new();
    let mut routes = Vec::new();
    let mut policies = Vec::new();
    let mut names = Vec::new();
    for (number, hosts) in lists(&gateway.hosts).enumerate() {
        let name = numbered(&gateway.name, number);
        routes.push(route(gateway, &name, hosts, json!({})));
        names.push(name);
    }
    let decided = decided_hosts(&gateway.hosts, config, &mut lost);
    let config = without_what_is_lost(config, &mut lost);
    let profiles = ByContent::new(&plan.profiles, "");
    for (old, profile) in plan.profiles.iter().zip(&profiles.profiles).filter(|(old, _)| !old.falls_back) {
        let before = names.len();
        let uses = plan.uses.iter().filter(|(used, _)| *used == old.name);
        for (name, rule) in rules(uses.map(|(_, cluster)| cluster), profile, &mut backends, &mut lost) {
            for (number, hosts) in lists(&decided).enumerate() {
                let name = numbered(&fitting(&format!("{}-{name}", gateway.name), NAME_MAX), number);
                let mut route = route(gateway, &name, hosts, rule.clone());
                label(&mut route, PROFILE_LABEL, &profile.name);
                routes.push(route);
                names.push(name);
            }
        }
        let own = names.get(before..).unwrap_or_default();
        if let Some(retry) = profile.retry.as_ref().filter(|_| !own.is_empty()) {
            let labels = json!({ (NAME_LABEL): fitting(&gateway.name, LABEL_MAX), (PROFILE_LABEL): profile.name });
            let spec = targets(own, &labels, [("retry", retries(profile, retry, &mut lost))]);
            let name = fitting(&format!("{}-{}", gateway.name, profile.name), NAME_MAX);
            policies.push(mesh::object(EXTENSIONS, "BackendTrafficPolicy", metadata(gateway, &name), spec));
        }
    }
    let (services, unsaid) = backends.finish();
    lost.extend(unsaid);
    let filter = extension_policy(&profiles.named(&config), gateway, &names);
    let mut own: Vec<Value> = routes.into_iter().chain(policies).chain([filter]).collect();
    own.iter_mut().for_each(|object| label(object, NAME_LABEL, &fitting(&gateway.name, LABEL_MAX)));
    // Services and Backends are called the same by every name, and may be somebody else's too: no label says that they are ours.
    (services.into_iter().chain(own).collect(), lost)
}

/// The hosts in lists that one HTTPRoute can have; one empty list where it is for all.
fn lists(hosts: &[String]) -> impl Iterator<Item = &[String]> {
    hosts.chunks(MAX).chain(hosts.is_empty().then_some(&[][..]))
}

/// Hosts of the decisions: those of the rules, and authorities that rules write, since Envoy then looks for the virtual host once more.
fn decided_hosts(hosts: &[String], config: &FilterConfig, lost: &mut Vec<String>) -> Vec<String> {
    if hosts.is_empty() {
        return Vec::new();
    }
    let is_covered = |authority: &str| hosts.iter().any(|host| names::covers(host, authority));
    let mut all = hosts.to_vec();
    all.extend(authorities(config, lost).into_iter().filter(|authority| !is_covered(authority)));
    all
}

/// Authorities that rules write.
fn authorities(config: &FilterConfig, lost: &mut Vec<String>) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for service in &config.config.virtual_services {
        for (number, rule) in service.spec.http.iter().enumerate() {
            let of_destinations = rule.route.iter().map(|route| route.headers.as_ref());
            let edits =
                of_destinations.chain([rule.headers.as_ref()]).flatten().filter_map(|edits| edits.request.as_ref());
            let written = edits.flat_map(|edits| edits.set.iter().chain(&edits.add));
            let edited = written.filter(|(name, _)| names::is_authority(name));
            let rewritten =
                rule.rewrite.as_ref().map(|rewrite| &rewrite.authority).filter(|authority| !authority.is_empty());
            for authority in edited.map(|(_, value)| value).chain(rewritten) {
                // A port means nothing to a virtual host.
                let host = authority.split(':').next().unwrap_or_default().to_ascii_lowercase();
                // A dot at the end is a name to DNS, and none to the Gateway API.
                if envoy_plan::is_fqdn(&host) && !host.ends_with('.') {
                    found.insert(host);
                } else {
                    lost.push(format!(
                        "VirtualService {} http[{number}]: requests with the authority `{authority}` are answered 404, as no HTTPRoute can name it",
                        service.meta.full_name()
                    ));
                }
            }
        }
    }
    found
}

/// The configuration under which each request is asked of one version, as no kind of Envoy Gateway's makes a cluster of two, and
/// nothing is looked for that nobody keeps.
fn without_what_is_lost(config: &FilterConfig, lost: &mut Vec<String>) -> FilterConfig {
    let mut config = config.clone();
    for binding in &mut config.bindings {
        if binding.fallback.take().is_some() {
            lost.push(format!(
                "VirtualService {} http[{}]: no fallback, what a version fails at fails",
                binding.virtual_service, binding.http
            ));
        }
    }
    for policy in config.config.shunt_policies.iter().filter(|policy| policy.spec.propagate.is_some()) {
        let policy = &policy.meta.reference;
        lost.push(format!("{policy}: no propagate, as no application is behind a gateway"));
    }
    config.config.written.retain_mut(|object| {
        let is_policy = object.get("kind").and_then(Value::as_str) == Some(shunt_policy::KIND);
        let spec = object.get_mut("spec").and_then(Value::as_object_mut);
        let Some(spec) = spec.filter(|spec| is_policy && spec.contains_key("propagate")) else { return true };
        spec.remove("propagate");
        // What it is for says nothing without what it does.
        spec.keys().any(|field| field != "targetRef" && field != "stable")
    });
    config
}

/// Envoy Gateway's own kinds.
pub(crate) const EXTENSIONS: &str = "gateway.envoyproxy.io/v1alpha1";
const GATEWAY_API: &str = "gateway.networking.k8s.io";

fn metadata(gateway: &EnvoyGateway, name: &str) -> Value {
    json!({ "name": name, "namespace": gateway.namespace })
}

/// The name as it is, or cut to so many letters with a checksum of the whole.
fn fitting(name: &str, length: usize) -> String {
    if name.len() > length { marked(name, length, name) } else { name.to_owned() }
}

fn numbered(name: &str, before: usize) -> String {
    if before == 0 { name.to_owned() } else { format!("{name}-{}", before.saturating_add(1)) }
}

/// Labels of what is written: by which command it was called so, and which profile it is for.
const NAME_LABEL: &str = "shunt.dev/render";
const PROFILE_LABEL: &str = "shunt.dev/profile";

fn label(object: &mut Value, key: &str, value: &str) {
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        let labels = metadata.entry("labels").or_insert_with(|| json!({}));
        labels.as_object_mut().map(|labels| labels.insert(key.to_owned(), json!(value)));
    }
}

/// The `spec` of a policy for HTTPRoutes: those of these names, and all that have these labels, which an Envoy Gateway without
/// Kubernetes does not see.
fn targets<const N: usize>(names: &[String], labels: &Value, fields: [(&str, Value); N]) -> Value {
    let named: Vec<_> =
        names.iter().map(|name| json!({ "group": GATEWAY_API, "kind": "HTTPRoute", "name": name })).collect();
    let labelled = json!({ "group": GATEWAY_API, "kind": "HTTPRoute", "matchLabels": labels });
    let spec = json!({ "targetRefs": named, "targetSelectors": [labelled] });
    proto::with(spec, fields.map(|(name, value)| (name, Some(value))))
}

/// The filter, for the routes that are written here and no others of the Gateway.
fn extension_policy(config: &FilterConfig, gateway: &EnvoyGateway, names: &[String]) -> Value {
    let EnvoyGateway { url, sha256, .. } = gateway;
    let source = |address: &str| match sha256 {
        Some(sha256) => json!({ "url": address, "sha256": sha256 }),
        None => json!({ "url": address }),
    };
    let code = match url.strip_prefix("oci://") {
        Some(image) => json!({ "type": "Image", "image": source(image) }),
        None => json!({ "type": "HTTP", "http": source(url) }),
    };
    let filter =
        json!({ "name": "shunt", "rootID": "shunt", "code": code, "config": config.to_json(), "failOpen": false });
    let labels = json!({ (NAME_LABEL): fitting(&gateway.name, LABEL_MAX) });
    let spec = targets(names, &labels, [("wasm", json!([filter]))]);
    mesh::object(EXTENSIONS, "EnvoyExtensionPolicy", metadata(gateway, &gateway.name), spec)
}

fn route(gateway: &EnvoyGateway, name: &str, hosts: &[String], rule: Value) -> Value {
    let parents: Vec<_> = gateway.parents.iter().map(TargetRef::value).collect();
    let mut spec = json!({ "parentRefs": parents, "rules": [rule] });
    if let Some(fields) = spec.as_object_mut().filter(|_| !hosts.is_empty()) {
        fields.insert("hostnames".to_owned(), json!(hosts));
    }
    mesh::object(&format!("{GATEWAY_API}/v1"), "HTTPRoute", metadata(gateway, name), spec)
}

/// One rule for each of the clusters that requests of this profile may go to, with a name for its HTTPRoute. Of two rules that match,
/// the one with more headers is met, so the default profile need not say that there is none.
fn rules<'c>(
    clusters: impl Iterator<Item = &'c String>,
    profile: &Profile,
    backends: &mut Backends<'_>,
    lost: &mut Vec<String>,
) -> Vec<(String, Value)> {
    let Profile { name, timeout, retry: _, mirrors, hash_keys, falls_back: _ } = profile;
    // Its own BackendTrafficPolicy has one key for all and no ring, so endpoints would be others than Istio's.
    lost.extend(hash_keys.iter().map(|key| format!("profile {name}: endpoints are not chosen by {key}")));
    let mut filters = vec![json!({
        "type": "RequestHeaderModifier",
        "requestHeaderModifier": { "remove": [CLUSTER_HEADER, PROFILE_HEADER] },
    })];
    for mirror in mirrors {
        match backends.get(mirror) {
            Some(to) => filters.push(json!({ "type": "RequestMirror", "requestMirror": { "backendRef": to.value() } })),
            None => lost.push(format!("profile {name}: no copies to `{mirror}`, which no Service in the files is for")),
        }
    }
    let rule = |cluster: &String, to: &Reference| {
        let mut headers = vec![json!({ "name": CLUSTER_HEADER, "value": cluster })];
        if name != DEFAULT_PROFILE {
            headers.push(json!({ "name": PROFILE_HEADER, "value": name }));
        }
        let rule = json!({
            "matches": [{ "headers": headers }],
            "filters": filters,
            "backendRefs": [to.value()],
            "timeouts": { "request": duration(timeout.unwrap_or_default()) },
        });
        (marked(to.name(), NAME_MAX, &format!("{name} {cluster}")), rule)
    };
    clusters.filter_map(|cluster| Some(rule(cluster, &backends.get(cluster)?))).collect()
}

/// Conditions that Envoy Gateway has no word for.
const UNKNOWN: [RetryOn; 3] = [RetryOn::RetriableHeaders, RetryOn::EnvoyRatelimited, RetryOn::Http3PostConnectFailure];

fn retries(profile: &Profile, policy: &RetryPolicy, lost: &mut Vec<String>) -> Value {
    let RetryPolicy { retries, on, status_codes, per_try_timeout, avoid_previous_hosts: _, backoff, .. } = policy;
    let (unknown, known): (Vec<RetryOn>, Vec<RetryOn>) = on.iter().partition(|condition| UNKNOWN.contains(condition));
    lost.extend(unknown.iter().map(|it| format!("profile {}: no retries on {}", profile.name, it.name())));
    let mut triggers = json!({ "triggers": known.iter().map(|condition| condition.name()).collect::<Vec<_>>() });
    if let Some(fields) = triggers.as_object_mut().filter(|_| !status_codes.is_empty()) {
        fields.insert("httpStatusCodes".to_owned(), json!(status_codes));
    }
    let Backoff { base, max } = *backoff;
    let mut each = json!({ "backOff": { "baseInterval": duration(base), "maxInterval": duration(max) } });
    if let (Some(fields), Some(limit)) = (each.as_object_mut(), per_try_timeout) {
        fields.insert("timeout".to_owned(), json!(duration(*limit)));
    }
    json!({ "numRetries": retries, "retryOn": triggers, "perRetry": each })
}

/// As the Gateway API writes it (GEP-2257): whole numbers of at most five digits, no unit below a millisecond. What is
/// shorter is one millisecond, since zero means none.
fn duration(duration: Duration) -> String {
    let all = duration.as_millis().max(u128::from(!duration.is_zero()));
    let parts = [(3_600_000, u128::MAX, "h"), (60_000, 60, "m"), (1000, 60, "s"), (1, 1000, "ms")];
    let part = |(unit, of, name): (u128, u128, &str)| {
        let number = all.checked_div(unit).unwrap_or_default().checked_rem(of).unwrap_or_default();
        if number == 0 { String::new() } else { format!("{number}{name}") }
    };
    let text = parts.map(part).concat();
    if text.is_empty() { "0s".to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_those_of_the_gateway_api() {
        for (microseconds, text) in [
            (0, "0s"),
            (400, "1ms"),
            (25_000, "25ms"),
            (2_500_000, "2s500ms"),
            (90_000_000, "1m30s"),
            (3_600_000_000, "1h"),
        ] {
            assert_eq!(duration(Duration::from_micros(microseconds)), text);
        }
    }
}
