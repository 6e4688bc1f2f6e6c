//! The HTTP filters: ours, Envoy's fault filter where a rule injects faults, its forward proxy where requests may pass
//! through, and the router.

use crate::{clusters, inbound, proto};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use istio_config::FilterConfig;
use istio_config::filter_config::Direction;
use istio_config::outbound::OutboundMode;
use serde_json::{Value, json};

/// Shared data is one store for each id, so ours must not be the empty one that other plugins share.
const VM_ID: &str = "shunt";

/// The name by which Envoy and istiod know the network filter that speaks HTTP.
pub(crate) const CONNECTION_MANAGER: &str = "envoy.filters.network.http_connection_manager";
/// Its configuration.
pub(crate) const CONNECTION_MANAGER_TYPE: &str =
    "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager";

/// The configuration of Envoy's Wasm filter.
pub(crate) const WASM_TYPE: &str = "envoy.extensions.filters.http.wasm.v3.Wasm";

/// A filter that changes headers; without mutations, none.
const NOTHING_TYPE: &str = "envoy.extensions.filters.http.header_mutation.v3.HeaderMutation";

/// The name by which Envoy and istiod know the router.
pub(crate) const ROUTER: &str = "envoy.filters.http.router";

/// The name by which Envoy and istiod know the fault filter.
pub(crate) const FAULT: &str = "envoy.filters.http.fault";
/// Its configuration.
pub(crate) const FAULT_TYPE: &str = "envoy.extensions.filters.http.fault.v3.HTTPFault";

/// Filters in the order in which a request meets them: ours, and those that carry out what it says.
pub(crate) fn http_filters(ours: Value, config: &FilterConfig, with_faults: bool) -> Vec<Value> {
    let mut filters = vec![ours];
    if with_faults {
        filters.push(json!({ "name": FAULT, "typed_config": faults_by_header() }));
    }
    filters.extend(forward_proxy(config));
    filters.push(router());
    filters
}

/// The end of every chain.
pub(crate) fn router() -> Value {
    proto::extension(ROUTER, "envoy.extensions.filters.http.router.v3.Router", json!({}))
}

/// Envoy's `AsyncDataSource` with the compiled filter itself.
pub(crate) fn inline(module: &[u8]) -> Value {
    json!({ "local": { "inline_bytes": STANDARD.encode(module) } })
}

/// What becomes of requests while Envoy has discovered nothing good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Meanwhile {
    /// They are answered 500.
    Refused,
    /// They pass on, by a filter that does nothing. Where a filter cannot be fetched, Istio's agent sends one that denies every
    /// request; its type is not among those that are taken, so Envoy goes on with what it has.
    Passed,
}

/// The place of our filter under this name, for Envoy to discover what stands there (ECDS).
pub(crate) fn discovered(name: &str, source: Value, meanwhile: Meanwhile) -> Value {
    let default = (meanwhile == Meanwhile::Passed).then_some(NOTHING_TYPE);
    let types = [WASM_TYPE].into_iter().chain(default).map(|name| format!("type.googleapis.com/{name}"));
    let discovery = json!({ "config_source": source, "type_urls": types.collect::<Vec<_>>() });
    let default = default.map(|name| proto::any(name, json!({})));
    json!({ "name": name, "config_discovery": proto::with(discovery, [("default_config", default)]) })
}

/// Whether any rule has a fault to inject.
pub(crate) fn injects_faults(config: &FilterConfig) -> bool {
    config.config.virtual_services.iter().flat_map(|rules| &rules.spec.http).any(|rule| rule.fault.is_some())
}

/// The filter; `code` is Envoy's `AsyncDataSource`. The configuration is text: a `Struct` would reach the filter as bytes of
/// protobuf. A trap costs the streams of one VM, and the next request gets a new one.
pub(crate) fn wasm(config: &FilterConfig, code: &Value) -> Value {
    // Of one name, both sides would be one plugin.
    let name = match config.direction {
        Direction::Outbound => "shunt",
        Direction::Inbound => inbound::NAME,
    };
    let message = json!({ "config": {
        "name": name,
        "root_id": name,
        "configuration": proto::any(
            "google.protobuf.StringValue",
            json!({ "value": config.to_json().to_string() }),
        ),
        "failure_policy": "FAIL_RELOAD",
        "vm_config": {
            "vm_id": VM_ID,
            "runtime": "envoy.wasm.runtime.v8",
            "code": code,
        },
    } });
    proto::extension("envoy.filters.http.wasm", WASM_TYPE, message)
}

/// Does only what the filter's `x-envoy-fault-*` headers ask for: the filter has drawn already.
pub(crate) fn faults_by_header() -> Value {
    let always = json!({ "numerator": 100, "denominator": "HUNDRED" });
    let message = json!({
        "delay": { "header_delay": {}, "percentage": always },
        "abort": { "header_abort": {}, "percentage": always },
    });
    proto::any(FAULT_TYPE, message)
}

/// Where requests may pass through: looks up the host of one that goes to the forward proxy's cluster, and lets all others pass.
pub(crate) fn forward_proxy(config: &FilterConfig) -> Option<Value> {
    let lets_out = config.outbound.as_ref().is_some_and(|outbound| outbound.mode == OutboundMode::AllowAny);
    lets_out.then(|| {
        proto::extension(
            "envoy.filters.http.dynamic_forward_proxy",
            "envoy.extensions.filters.http.dynamic_forward_proxy.v3.FilterConfig",
            json!({ "dns_cache_config": clusters::dns_cache() }),
        )
    })
}
