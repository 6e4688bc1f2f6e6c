//! The manifest that brings the filter into a mesh: Istio's `EnvoyFilter`.
//!
//! Where a policy keeps context, the filter also stands on the inbound side of each sidecar. Of the rest there are
//! three kinds of patch. The filter is put in front of all others, once for each port that has rules, with the rules of that
//! port. The profile routes are put in front of the routes of every virtual host; they match only what the filter has
//! spoken to, so that istiod's own routes serve everything else, and everything when the filter is away. And
//! what only the filter may say is taken from requests before the first look at the routes. Clusters are istiod's, but for those that
//! stand for two of them.
//!
//! Routes (RDS) and filter (ECDS) reach a proxy one after the other, so profiles are named by what they say, and by the
//! manifest: routes have no port, and may meet those of another manifest for the same workload.

use crate::filters::Meanwhile;
use crate::listener::removal;
use crate::mesh::{self, Code, Manifest, Shipped};
use crate::profiles::ByContent;
use crate::{clusters, filters, proto, routes};
use envoy_plan::Plan;
use istio_config::FilterConfig;
use istio_config::filter_config::OWN_PREFIX;
use serde_json::{Value, json};

/// The manifest. `plan` holds the profiles of all of `shipped`, which have one context: the mesh or one Gateway.
pub fn envoy_filter(plan: &Plan, shipped: &[Shipped], manifest: &Manifest) -> Value {
    let context = context(shipped);
    let profiles = ByContent::new(&plan.profiles, &manifest.owner());
    let filters = shipped.iter().flat_map(|shipped| {
        let config = profiles.named(&shipped.config);
        the_filter(&Shipped { config, ..shipped.clone() }, context, &manifest.code)
    });
    let inbound = inbound_config(shipped).into_iter().flat_map(|config| inbound_filter(&config, &manifest.code));
    let patches = routes(&profiles, shipped, manifest)
        .into_iter()
        .chain(clusters(plan, shipped))
        .chain(filters)
        .chain(inbound)
        .collect();
    object(patches, manifest)
}

/// The same without the filter itself, which something else puts in its place.
pub fn companion(plan: &Plan, shipped: &[Shipped], manifest: &Manifest) -> Value {
    let profiles = ByContent::new(&plan.profiles, &manifest.owner());
    object(routes(&profiles, shipped, manifest).into_iter().chain(clusters(plan, shipped)).collect(), manifest)
}

/// The clusters that stand for two of istiod's.
fn clusters(plan: &Plan, shipped: &[Shipped]) -> impl Iterator<Item = Value> {
    let context = context(shipped);
    plan.fallbacks
        .iter()
        .map(move |(name, both)| patch("CLUSTER", json!({ "context": context }), "ADD", clusters::fallback(name, both)))
}

fn object(patches: Vec<Value>, manifest: &Manifest) -> Value {
    let mut spec = manifest.scope(("workloadSelector", "labels"));
    spec.insert("configPatches".to_owned(), json!(patches));
    mesh::object("networking.istio.io/v1alpha3", "EnvoyFilter", manifest.metadata(&manifest.name), spec)
}

fn context(shipped: &[Shipped]) -> &'static str {
    if shipped.first().is_none_or(|shipped| shipped.listener.is_mesh()) { "SIDECAR_OUTBOUND" } else { "GATEWAY" }
}

/// What serves the filter's decisions, and keeps clients from making any.
fn routes(profiles: &ByContent, shipped: &[Shipped], manifest: &Manifest) -> Vec<Value> {
    let context = context(shipped);
    let injects_faults = shipped.iter().any(|shipped| filters::injects_faults(&shipped.config));
    let named = profiles.profiles.iter().map(routes::profile_route);
    // Each is put in front of those before it, so the last resort is the first to go in.
    let routes = profiles.fallback(&manifest.owner()).into_iter().chain(named).map(|route| {
        let faults = injects_faults.then(|| json!({ filters::FAULT: filters::faults_by_header() }));
        let removed = json!(routes::REMOVED_HEADERS);
        let extra = [("request_headers_to_remove", Some(removed)), ("typed_per_filter_config", faults)];
        patch("HTTP_ROUTE", json!({ "context": context }), "INSERT_FIRST", proto::with(route, extra))
    });
    [forged_headers(context)].into_iter().chain(routes).collect()
}

fn patch(apply_to: &str, matches: Value, operation: &str, value: Value) -> Value {
    json!({ "applyTo": apply_to, "match": matches, "patch": { "operation": operation, "value": value } })
}

/// Listeners whose filter chains end in a connection manager, as `match` has it.
fn connection_manager(context: &str, port: Option<u16>) -> Value {
    let chain = json!({ "filter": { "name": filters::CONNECTION_MANAGER } });
    let listener = proto::with(json!({ "filterChain": chain }), [("portNumber", port.map(|port| json!(port)))]);
    json!({ "context": context, "listener": listener })
}

/// Fault headers are left alone: they may be the user's own, and profile routes are met only by what the filter has seen.
fn forged_headers(context: &str) -> Value {
    let manager = json!({ "early_header_mutation_extensions": [removal(&[OWN_PREFIX])] });
    let value = json!({ "typed_config": proto::any(filters::CONNECTION_MANAGER_TYPE, manager) });
    patch("NETWORK_FILTER", connection_manager(context, None), "MERGE", value)
}

/// What Istio's agent takes for no sum at all (`rewriteVMConfig`); Envoy's form has to have one.
const ANY_SHA256: &str = "nil";

/// The filter on one port, by way of an extension configuration: another one goes live at once and on open connections,
/// without draining the listener, and only there does Istio's agent look for something to fetch.
fn the_filter(shipped: &Shipped, context: &str, code: &Code) -> [Value; 2] {
    let Shipped { listener, port, config } = shipped;
    let name = format!("shunt.{}.{}", listener.gateway.replace('/', "."), listener.port);
    let (resource, discovery) = extension(&name, config, code);
    [
        patch("EXTENSION_CONFIG", json!({ "context": context }), "ADD", resource),
        patch("HTTP_FILTER", connection_manager(context, Some(*port)), "INSERT_FIRST", discovery),
    ]
}

/// The filter under this name, and what stands in its place until the proxy has it.
fn extension(name: &str, config: &FilterConfig, code: &Code) -> (Value, Value) {
    let code = match code {
        Code::File(path) => json!({ "local": { "filename": path } }),
        Code::Url { url, sha256 } => {
            let sha256 = sha256.as_deref().unwrap_or(ANY_SHA256);
            json!({ "remote": { "http_uri": { "uri": url, "timeout": "30s" }, "sha256": sha256 } })
        }
    };
    let resource = proto::with(filters::wasm(config, &code), [("name", Some(json!(name)))]);
    let source = json!({ "ads": {}, "resource_api_version": "V3", "initial_fetch_timeout": "0s" });
    (resource, filters::discovered(name, source, Meanwhile::Passed))
}

/// What the filter on the inbound side of a sidecar reads; `None` where it would have nothing to do.
pub(crate) fn inbound_config(shipped: &[Shipped]) -> Option<FilterConfig> {
    let first = shipped.first().filter(|shipped| shipped.listener.is_mesh())?;
    first.config.keeps_context().then(|| first.config.inbound())
}

/// The filter on the inbound side, on all ports of the application: behind everything that may refuse a request.
fn inbound_filter(config: &FilterConfig, code: &Code) -> [Value; 3] {
    const CONTEXT: &str = "SIDECAR_INBOUND";
    let (resource, discovery) = extension("shunt.inbound", config, code);
    let router = json!({ "name": filters::CONNECTION_MANAGER, "subFilter": { "name": filters::ROUTER } });
    let place = json!({ "context": CONTEXT, "listener": { "filterChain": { "filter": router } } });
    [
        forged_headers(CONTEXT),
        patch("EXTENSION_CONFIG", json!({ "context": CONTEXT }), "ADD", resource),
        patch("HTTP_FILTER", place, "INSERT_BEFORE", discovery),
    ]
}
