//! The manifests for Envoy Gateway: an `EnvoyExtensionPolicy`, and what serves the filter's decisions there.
//!
//! Envoy Gateway has clusters of its own, one for each rule of an HTTPRoute, and no route can take a cluster's name from a
//! header. So every decision that the rules can come to, a profile and a cluster, is a rule of an HTTPRoute that matches the
//! two headers and leads to a Service. A first rule, which matches everything, only brings requests to the filter: Envoy
//! Gateway turns a Wasm filter on by the route that a request meets first. Retries are a BackendTrafficPolicy.

use crate::backends::{Backends, Reference};
use crate::mesh::{self, TargetRef};
use envoy_plan::{Backoff, CLUSTER_HEADER, DEFAULT_PROFILE, PROFILE_HEADER, Plan, Profile, RetryOn, RetryPolicy};
use istio_config::FilterConfig;
use serde_json::{Value, json};
use std::time::Duration;

/// How many rules, and how many hosts, the Gateway API lets an HTTPRoute have.
const MAX: usize = 16;

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
    /// The hosts in lists that one HTTPRoute can have; one empty list where it is for all.
    fn host_lists(&self) -> impl Iterator<Item = &[String]> {
        self.hosts.chunks(MAX).chain(self.hosts.is_empty().then_some(&[][..]))
    }
}

/// The manifests, and what they cannot say, a line each.
pub fn envoy_gateway(plan: &Plan, config: &FilterConfig, gateway: &EnvoyGateway) -> (Vec<Value>, Vec<String>) {
    let mut backends = Backends::new(&config.config, plan, &gateway.namespace);
    let mut lost = Vec::new();
    let mut routes = Vec::new();
    let mut policies = Vec::new();
    for hosts in gateway.host_lists() {
        routes.push(route(gateway, &numbered(&gateway.name, routes.len()), hosts, &[json!({})]));
    }
    let config = &without_fallback(config, &mut lost);
    for profile in plan.profiles.iter().filter(|profile| !profile.falls_back) {
        let rules = rules(plan, profile, &mut backends, &mut lost);
        let mut names = Vec::new();
        for hosts in gateway.host_lists() {
            for rules in rules.chunks(MAX) {
                let name = numbered(&format!("{}-{}", gateway.name, profile.name), names.len());
                routes.push(route(gateway, &name, hosts, rules));
                names.push(name);
            }
        }
        if let Some(retry) = profile.retry.as_ref().filter(|_| !names.is_empty()) {
            let targets: Vec<_> = names.iter().map(|name| http_route(name).value()).collect();
            let spec = json!({ "targetRefs": targets, "retry": retries(profile, retry, &mut lost) });
            let name = format!("{}-{}", gateway.name, profile.name);
            policies.push(mesh::object(EXTENSIONS, "BackendTrafficPolicy", metadata(gateway, &name), spec));
        }
    }
    let (services, unsaid) = backends.finish();
    lost.extend(unsaid);
    let filter = extension_policy(config, gateway, &routes);
    let objects = [filter].into_iter().chain(routes).chain(policies).chain(services).collect();
    (objects, lost)
}

/// The configuration under which each request is asked of one version: no kind of Envoy Gateway's makes a cluster of two.
fn without_fallback(config: &FilterConfig, lost: &mut Vec<String>) -> FilterConfig {
    let mut config = config.clone();
    for binding in &mut config.bindings {
        if binding.fallback.take().is_some() {
            lost.push(format!(
                "VirtualService {} http[{}]: no fallback, what a version fails at fails",
                binding.virtual_service, binding.http
            ));
        }
    }
    config
}

/// Envoy Gateway's own kinds.
pub(crate) const EXTENSIONS: &str = "gateway.envoyproxy.io/v1alpha1";
const GATEWAY_API: &str = "gateway.networking.k8s.io";

fn metadata(gateway: &EnvoyGateway, name: &str) -> Value {
    json!({ "name": name, "namespace": gateway.namespace })
}

fn numbered(name: &str, before: usize) -> String {
    if before == 0 { name.to_owned() } else { format!("{name}-{}", before.saturating_add(1)) }
}

fn http_route(name: &str) -> TargetRef {
    TargetRef { group: GATEWAY_API.to_owned(), kind: "HTTPRoute".to_owned(), name: name.to_owned() }
}

/// The filter, for these routes and no others of the Gateway.
fn extension_policy(config: &FilterConfig, gateway: &EnvoyGateway, routes: &[Value]) -> Value {
    let names = routes.iter().filter_map(|route| route.pointer("/metadata/name").and_then(Value::as_str));
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
    let targets: Vec<_> = names.map(|name| http_route(name).value()).collect();
    let spec = json!({ "targetRefs": targets, "wasm": [filter] });
    mesh::object(EXTENSIONS, "EnvoyExtensionPolicy", metadata(gateway, &gateway.name), spec)
}

fn route(gateway: &EnvoyGateway, name: &str, hosts: &[String], rules: &[Value]) -> Value {
    let parents: Vec<_> = gateway.parents.iter().map(TargetRef::value).collect();
    let mut spec = json!({ "parentRefs": parents, "rules": rules });
    if let Some(fields) = spec.as_object_mut().filter(|_| !hosts.is_empty()) {
        fields.insert("hostnames".to_owned(), json!(hosts));
    }
    mesh::object(&format!("{GATEWAY_API}/v1"), "HTTPRoute", metadata(gateway, name), spec)
}

/// One rule for each cluster that requests of this profile may go to. Of two rules that match, the one with more headers
/// is met, so the default profile need not say that there is none.
fn rules(plan: &Plan, profile: &Profile, backends: &mut Backends<'_>, lost: &mut Vec<String>) -> Vec<Value> {
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
    let clusters: Vec<_> = plan.uses.iter().filter(|(used, _)| used == name).map(|(_, cluster)| cluster).collect();
    let rule = |cluster: &String, to: &Reference| {
        let mut headers = vec![json!({ "name": CLUSTER_HEADER, "value": cluster })];
        if name != DEFAULT_PROFILE {
            headers.push(json!({ "name": PROFILE_HEADER, "value": name }));
        }
        json!({
            "matches": [{ "headers": headers }],
            "filters": filters,
            "backendRefs": [to.value()],
            "timeouts": { "request": duration(timeout.unwrap_or_default()) },
        })
    };
    let known = clusters.into_iter().filter_map(|cluster| Some(rule(cluster, &backends.get(cluster)?)));
    known.collect()
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
