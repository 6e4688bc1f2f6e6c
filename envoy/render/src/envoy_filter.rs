//! The manifest that brings the filter into a mesh: Istio's `EnvoyFilter`.
//!
//! Three kinds of patch. The filter is put in front of all others, once for each port that has rules, with the rules of that
//! port. The profile routes are put in front of the routes of every virtual host; they match only what the filter has
//! spoken to, so that istiod's own routes serve everything else, and everything when the filter is away. And
//! what only the filter may say is taken from requests before the first look at the routes. Clusters are istiod's.

use crate::filters::Meanwhile;
use crate::listener::removal;
use crate::{filters, proto, routes};
use envoy_plan::Plan;
use istio_config::FilterConfig;
use istio_config::filter_config::{Listener, OWN_PREFIX};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// What the rules do not say: where the manifest goes and for whom it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnvoyFilter {
    /// `metadata.name`.
    pub name: String,
    /// `metadata.namespace`: that of the workloads, or Istio's root namespace for all of them.
    pub namespace: String,
    /// `spec.workloadSelector.labels`. Empty: every workload of the namespace.
    pub selector: BTreeMap<String, String>,
    /// `spec.targetRefs`, instead of labels.
    pub targets: Vec<TargetRef>,
    /// `spec.priority`: lower ones are applied first; 0 is Istio's default.
    pub priority: i32,
    /// Where a proxy finds the compiled filter.
    pub code: Code,
}

/// One of `spec.targetRefs` (`PolicyTargetReference`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetRef {
    /// API group, empty for Kubernetes' own.
    pub group: String,
    /// `Gateway`, `GatewayClass`, `Service` or `ServiceEntry`.
    pub kind: String,
    /// Its name.
    pub name: String,
}

/// Where a proxy finds the compiled filter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Code {
    /// In this file of the proxy's own file system.
    File(String),
    /// At this address, `oci://`, `http://` or `https://`: Istio's agent fetches it and compares its SHA-256.
    Url {
        /// The address.
        url: String,
        /// In hexadecimal digits.
        sha256: String,
    },
}

/// The rules of one listener, ready to be shipped.
#[derive(Clone, Debug)]
pub struct Shipped {
    /// Which listener.
    pub listener: Listener,
    /// The port that Envoy listens on there; differs from the listener's own where a Service maps it.
    pub port: u16,
    /// What the filter reads there.
    pub config: FilterConfig,
}

/// The manifest. `plan` holds the profiles of all of `shipped`, which have one context: the mesh or one Gateway.
pub fn envoy_filter(plan: &Plan, shipped: &[Shipped], options: &EnvoyFilter) -> Value {
    let EnvoyFilter { name, namespace, selector, targets, priority, code } = options;
    let is_mesh = shipped.first().is_none_or(|shipped| shipped.listener.is_mesh());
    let context = if is_mesh { "SIDECAR_OUTBOUND" } else { "GATEWAY" };
    let mut patches = vec![forged_headers(context)];
    let injects_faults = shipped.iter().any(|shipped| filters::injects_faults(&shipped.config));
    patches.extend(plan.profiles.iter().map(|profile| {
        let faults = injects_faults.then(|| json!({ filters::FAULT: filters::faults_by_header() }));
        let removed = json!(routes::REMOVED_HEADERS);
        let extra = [("request_headers_to_remove", Some(removed)), ("typed_per_filter_config", faults)];
        let route = proto::with(routes::profile_route(profile), extra);
        patch("HTTP_ROUTE", json!({ "context": context }), "INSERT_FIRST", route)
    }));
    for shipped in shipped {
        patches.extend(the_filter(shipped, context, code));
    }
    let mut spec = Map::new();
    if !selector.is_empty() {
        spec.insert("workloadSelector".to_owned(), json!({ "labels": selector }));
    }
    if !targets.is_empty() {
        let targets =
            targets.iter().map(|TargetRef { group, kind, name }| json!({ "group": group, "kind": kind, "name": name }));
        spec.insert("targetRefs".to_owned(), targets.collect());
    }
    if *priority != 0 {
        spec.insert("priority".to_owned(), json!(priority));
    }
    spec.insert("configPatches".to_owned(), json!(patches));
    json!({
        "apiVersion": "networking.istio.io/v1alpha3",
        "kind": "EnvoyFilter",
        "metadata": { "name": name, "namespace": namespace },
        "spec": spec,
    })
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

/// The filter on one port, by way of an extension configuration: another one goes live at once and on open connections,
/// without draining the listener, and only there does Istio's agent look for something to fetch.
fn the_filter(shipped: &Shipped, context: &str, code: &Code) -> [Value; 2] {
    let Shipped { listener, port, config } = shipped;
    let name = format!("shunt.{}.{}", listener.gateway.replace('/', "."), listener.port);
    let code = match code {
        Code::File(path) => json!({ "local": { "filename": path } }),
        Code::Url { url, sha256 } => {
            json!({ "remote": { "http_uri": { "uri": url, "timeout": "30s" }, "sha256": sha256 } })
        }
    };
    let resource = proto::with(filters::wasm(config, &code), [("name", Some(json!(name)))]);
    let source = json!({ "ads": {}, "resource_api_version": "V3", "initial_fetch_timeout": "0s" });
    let discovery = filters::discovered(&name, source, Meanwhile::Passed);
    [
        patch("EXTENSION_CONFIG", json!({ "context": context }), "ADD", resource),
        patch("HTTP_FILTER", connection_manager(context, Some(*port)), "INSERT_FIRST", discovery),
    ]
}
