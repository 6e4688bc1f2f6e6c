//! A whole bootstrap for Envoy 1.36 and later: listener, filter and clusters in one file, and nothing beside it.

use crate::listener::Routes;
use crate::{clusters, filters, inbound, listener, proto, routes};
use envoy_plan::{Application, PathNormalization, Plan};
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
    let clusters = all_clusters(plan, options);
    of(options, "static_resources", json!({ "listeners": listeners, "clusters": clusters }))
}

/// The plan's clusters, those that stand for two of them, and the application's.
pub(crate) fn all_clusters(plan: &Plan, options: &Options) -> Vec<Value> {
    let application = options.application.map(|application| clusters::cluster(&application.cluster()));
    let fallbacks = plan.fallbacks.iter().map(|(name, fallback)| clusters::fallback(name, fallback));
    plan.clusters.values().map(clusters::cluster).chain(fallbacks).chain(application).collect()
}

/// The bootstrap whose field `from` says where listeners and clusters come from.
pub(crate) fn of(options: &Options, from: &str, resources: Value) -> Value {
    let head = json!({
        "node": { "id": "shunt", "cluster": "shunt" },
        "admin": { "address": proto::address(options.admin) },
    });
    proto::with(head, [(from, Some(resources))])
}
