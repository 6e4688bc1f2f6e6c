//! The *native twin*: the same rules as plain Envoy routes, without the filter.
//!
//! It is a user's way out, and the measure of the filter: whatever a request meets with the filter it has to meet here. So
//! nothing is read from the engine's results. Rules are translated from what the user wrote, by istiod's own steps
//! (`pilot/pkg/networking/core/route/route.go`); shared are only names, delegates written out, and which hosts a Gateway's
//! server and a VirtualService have in common.
//!
//! - [`hosts`]: which rules stand under which domains, on the one listener
//! - [`routes`]: one rule and one of its match blocks as a `Route`
//! - [`matches`], [`edits`], [`retries`], [`hashes`], [`filters`]: its parts

mod edits;
mod filters;
mod hashes;
mod hosts;
mod matches;
mod retries;
mod routes;

use crate::bootstrap::{self, Options};
use crate::filters as shared;
use crate::{listener, proto};
use envoy_plan::Plan;
use istio_config::FilterConfig;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Istio's limit on the body of a direct response; Envoy's own is 4 KiB.
const DIRECT_RESPONSE_MAX: u32 = 1 << 20;

/// The bootstrap of the twin. `config` is what the filter would run on; of `plan` only the clusters are used.
///
/// What has no counterpart in a route is left out: `tracing.freshSpans`, and the bindings to profiles.
pub fn native(plan: &Plan, config: &FilterConfig, options: &Options) -> Value {
    let manager = json!({
        "route_config": route_configuration(config),
        "http_filters": http_filters(config),
    });
    let plan = Plan { fallbacks: BTreeMap::new(), ..plan.clone() };
    bootstrap::around(&plan, options, vec![listener::of(options.listen, options.path_normalization, manager)])
}

/// The routes of the twin (Envoy's `RouteConfiguration`), as istiod writes them.
pub fn route_configuration(config: &FilterConfig) -> Value {
    json!({
        "name": "native",
        "ignore_port_in_host_matching": true,
        "max_direct_response_body_size_bytes": DIRECT_RESPONSE_MAX,
        "validate_clusters": false,
        "virtual_hosts": hosts::virtual_hosts(config),
    })
}

/// In istiod's order: faults, CORS, the router.
fn http_filters(config: &FilterConfig) -> Vec<Value> {
    let mut filters = vec![
        proto::extension(shared::FAULT, shared::FAULT_TYPE, json!({})),
        proto::extension(filters::CORS, "envoy.extensions.filters.http.cors.v3.Cors", json!({})),
    ];
    filters.extend(shared::forward_proxy(config));
    filters.push(shared::router());
    filters
}
