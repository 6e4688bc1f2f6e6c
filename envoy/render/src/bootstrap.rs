//! A whole bootstrap for Envoy 1.36 and later: listener, filter and clusters in one file, and nothing beside it.

use crate::listener::Routes;
use crate::{clusters, filters, inbound, listener, proto, routes};
use envoy_plan::{Application, Cluster, PathNormalization, Plan};
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
    /// The inbound side, if there is to be one.
    pub application: Option<Application>,
}

/// The bootstrap that `envoy -c FILE` serves at once. `module` is the filter's WebAssembly, `config` what it runs on,
/// with the bindings that belong to `plan`.
pub fn bootstrap(plan: &Plan, config: &FilterConfig, module: &[u8], options: &Options) -> Value {
    let code = filters::inline(module);
    let filters = filters::http_filters(filters::wasm(config, &code), config, filters::injects_faults(config));
    let routes = Routes::Inline(routes::route_configuration(&plan.profiles));
    let inbound = options
        .application
        .map(|application| inbound::listener(options, &application, filters::wasm(&config.inbound(), &code)));
    let listeners = [listener::listener(options, routes, filters)].into_iter().chain(inbound);
    around(plan, options, listeners.collect())
}

/// The bootstrap with these listeners.
pub(crate) fn around(plan: &Plan, options: &Options, listeners: Vec<Value>) -> Value {
    let clusters: Vec<_> = all_clusters(plan, options).iter().map(clusters::cluster).collect();
    of(options, "static_resources", json!({ "listeners": listeners, "clusters": clusters }))
}

/// The plan's clusters, and the application's.
pub(crate) fn all_clusters(plan: &Plan, options: &Options) -> Vec<Cluster> {
    plan.clusters.values().cloned().chain(options.application.map(|application| application.cluster())).collect()
}

/// The bootstrap whose field `from` says where listeners and clusters come from.
pub(crate) fn of(options: &Options, from: &str, resources: Value) -> Value {
    let head = json!({
        "node": { "id": "shunt", "cluster": "shunt" },
        "admin": { "address": proto::address(options.admin) },
    });
    proto::with(head, [(from, Some(resources))])
}
