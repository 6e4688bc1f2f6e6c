//! Istio's own manifests for a Wasm filter: `WasmPlugin`, and `TrafficExtension`, which follows it.
//!
//! They put the filter in its place and nothing else: routes are out of their reach, so each needs the EnvoyFilter with the
//! profile routes as its companion ([`crate::companion`]). istiod makes one of the other, in `translateWasmPlugin`.

use crate::envoy_filter::inbound_config;
use crate::mesh::{self, Code, Manifest, Shipped};
use crate::profiles::ByContent;
use envoy_plan::Plan;
use istio_config::FilterConfig;
use serde_json::{Value, json};

/// Which of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plugin {
    /// `WasmPlugin`.
    WasmPlugin,
    /// `TrafficExtension`, which Istio has as of 1.31.
    TrafficExtension,
}

impl Plugin {
    /// Its `kind`.
    pub fn kind(self) -> &'static str {
        match self {
            Self::WasmPlugin => "WasmPlugin",
            Self::TrafficExtension => "TrafficExtension",
        }
    }
}

/// The filter for each of `shipped`: one object a port, since each port has rules of its own.
///
/// `AUTHN` is the first place that istiod has to give, before its fault and CORS filters; only the authorisation by a
/// `CUSTOM` provider stands before it. The configuration is a `Struct` here, and reaches the filter as its JSON.
/// `plan` is the companion's.
pub fn wasm_plugins(kind: Plugin, plan: &Plan, shipped: &[Shipped], manifest: &Manifest) -> Vec<Value> {
    let profiles = ByContent::new(&plan.profiles, &manifest.owner());
    let named = |shipped: &Shipped| Shipped { config: profiles.named(&shipped.config), ..shipped.clone() };
    let inbound = inbound_config(shipped).map(|config| inbound_plugin(kind, &config, manifest));
    shipped.iter().map(|shipped| plugin(kind, &named(shipped), manifest)).chain(inbound).collect()
}

/// The filter on the inbound side, on all ports of the application: behind everything that may refuse a request.
fn inbound_plugin(kind: Plugin, config: &FilterConfig, manifest: &Manifest) -> Value {
    let name = format!("{}-inbound", manifest.name);
    object(kind, &name, "shunt-inbound", config, ("STATS", json!({ "mode": "SERVER" })), manifest)
}

fn plugin(kind: Plugin, shipped: &Shipped, manifest: &Manifest) -> Value {
    let Shipped { listener, port, config } = shipped;
    let name = format!("{}-{}", manifest.name, listener.port);
    // A gateway is a client too.
    let place = json!({ "mode": "CLIENT", "ports": [{ "number": port }] });
    object(kind, &name, "shunt", config, ("AUTHN", place), manifest)
}

fn object(
    kind: Plugin,
    name: &str,
    plugin: &str,
    config: &FilterConfig,
    (phase, place): (&str, Value),
    manifest: &Manifest,
) -> Value {
    let mut spec = manifest.scope(("selector", "matchLabels"));
    let mut wasm = json!({
        "url": url(&manifest.code),
        "type": "HTTP",
        "pluginName": plugin,
        "pluginConfig": config.to_json(),
        "failStrategy": "FAIL_RELOAD",
    });
    if let (Some(fields), Code::Url { sha256: Some(sha256), .. }) = (wasm.as_object_mut(), &manifest.code) {
        fields.insert("sha256".to_owned(), json!(sha256));
    }
    spec.insert("phase".to_owned(), json!(phase));
    spec.insert("match".to_owned(), json!([place]));
    match (kind, wasm) {
        (Plugin::WasmPlugin, Value::Object(fields)) => spec.extend(fields),
        (_, wasm) => {
            spec.insert("wasm".to_owned(), wasm);
        }
    }
    mesh::object("extensions.istio.io/v1alpha1", kind.kind(), manifest.metadata(name), spec)
}

fn url(code: &Code) -> String {
    match code {
        Code::File(path) => format!("file://{path}"),
        Code::Url { url, sha256: _ } => url.clone(),
    }
}
