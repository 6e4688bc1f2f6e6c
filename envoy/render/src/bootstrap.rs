//! A whole bootstrap for Envoy 1.36 and later: listener, filter and clusters in one file, and nothing beside it.

use crate::listener::Routes;
use crate::{clusters, filters, listener, proto, routes};
use envoy_plan::{PathNormalization, Plan};
use istio_config::FilterConfig;
use serde_json::{Value, json};
use std::net::SocketAddr;

/// What the plan does not say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Where requests come in.
    pub listen: SocketAddr,
    /// Where Envoy's administration page is. It is not protected: an address that only its owner reaches.
    pub admin: SocketAddr,
    /// What Envoy does to the path of a request before anything looks at it.
    pub path_normalization: PathNormalization,
}

/// The bootstrap that `envoy -c FILE` serves at once. `module` is the filter's WebAssembly, `config` what it runs on,
/// with the bindings that belong to `plan`.
pub fn bootstrap(plan: &Plan, config: &FilterConfig, module: &[u8], options: &Options) -> Value {
    let ours = filters::wasm(config, &filters::inline(module));
    let filters = filters::http_filters(ours, config, filters::injects_faults(config));
    let routes = Routes::Inline(routes::route_configuration(&plan.profiles));
    around(plan, options, listener::listener(options, routes, filters))
}

/// The bootstrap with this listener.
pub(crate) fn around(plan: &Plan, options: &Options, listener: Value) -> Value {
    let clusters: Vec<_> = plan.clusters.values().map(clusters::cluster).collect();
    of(options, "static_resources", json!({ "listeners": [listener], "clusters": clusters }))
}

/// The bootstrap whose field `from` says where listeners and clusters come from.
pub(crate) fn of(options: &Options, from: &str, resources: Value) -> Value {
    let head = json!({
        "node": { "id": "shunt", "cluster": "shunt" },
        "admin": { "address": proto::address(options.admin) },
    });
    proto::with(head, [(from, Some(resources))])
}
