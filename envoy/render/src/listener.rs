//! The listener for what goes out, and the connection manager on it, with istiod's settings for a sidecar's outbound side.
//!
//! Of these, what a user could notice: paths are normalised before anything looks at them (as asked for, see
//! [`PathNormalization`]), a client's `x-request-id` is kept and one is made where there
//! is none, websockets may be opened, and a stream may be idle for ever.

use crate::bootstrap::Options;
use crate::{filters, proto, routes};
use envoy_plan::PathNormalization;
use istio_config::filter_config::OWN_PREFIX;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::time::Duration;

/// Headers that drive Envoy's fault filter. Envoy lets clients send them.
pub(crate) const FAULT_PREFIX: &str = "x-envoy-fault-";

/// Where the connection manager has its routes from.
pub(crate) enum Routes {
    /// The route configuration itself.
    Inline(Value),
    /// A configuration source, which tells them under the name `shunt`.
    Discovered(Value),
}

pub(crate) fn listener(options: &Options, routes: Routes, http_filters: Vec<Value>) -> Value {
    let routes = match routes {
        Routes::Inline(configuration) => ("route_config", Some(configuration)),
        Routes::Discovered(source) => {
            ("rds", Some(json!({ "route_config_name": routes::NAME, "config_source": source })))
        }
    };
    let fields = json!({
        "early_header_mutation_extensions": [removal(&[OWN_PREFIX, FAULT_PREFIX])],
        "http_filters": http_filters,
    });
    of(options.listen, options.path_normalization, proto::with(fields, [routes]))
}

/// The listener around a connection manager that has these fields beside the common ones.
pub(crate) fn of(listen: SocketAddr, normalization: PathNormalization, fields: Value) -> Value {
    // As istiod writes them (`buildHTTPConnectionManager`).
    let (normalize, merge, escaped_slashes) = match normalization {
        PathNormalization::None => (false, false, "KEEP_UNCHANGED"),
        PathNormalization::Base => (true, false, "KEEP_UNCHANGED"),
        PathNormalization::MergeSlashes => (true, true, "KEEP_UNCHANGED"),
        PathNormalization::DecodeAndMergeSlashes => (true, true, "UNESCAPE_AND_FORWARD"),
    };
    let mut manager = json!({
        "stat_prefix": "shunt",
        "codec_type": "AUTO",
        "use_remote_address": false,
        "generate_request_id": true,
        "normalize_path": normalize,
        "merge_slashes": merge,
        "path_with_escaped_slashes_action": escaped_slashes,
        "stream_idle_timeout": proto::duration(Duration::ZERO),
        "upgrade_configs": [{ "upgrade_type": "websocket" }],
    });
    if let (Some(manager), Value::Object(fields)) = (manager.as_object_mut(), fields) {
        manager.extend(fields);
    }
    json!({
        "name": "shunt",
        "address": proto::address(listen),
        "filter_chains": [{ "filters": [proto::extension(filters::CONNECTION_MANAGER, filters::CONNECTION_MANAGER_TYPE, manager)] }],
    })
}

/// Takes from every request what only the filter may say, headers that begin so, before the first look at the routes
/// (`remove_on_match`: Envoy 1.36). So it holds also while the filter is off or being reloaded.
pub(crate) fn removal(prefixes: &[&str]) -> Value {
    let remove = |prefix| json!({ "remove_on_match": { "key_matcher": { "prefix": prefix } } });
    proto::extension(
        "envoy.http.early_header_mutation.header_mutation",
        "envoy.extensions.http.early_header_mutation.header_mutation.v3.HeaderMutation",
        json!({ "mutations": prefixes.iter().map(remove).collect::<Vec<_>>() }),
    )
}
