//! Clusters with their endpoints, as istiod sets them up where a DestinationRule says nothing.

use crate::proto;
use envoy_plan::{Cluster, Endpoint, LoadBalancing, UpstreamProtocol};
use serde_json::{Value, json};

/// istiod's limits: none (`getDefaultCircuitBreakerThresholds`). Envoy's own would be 1024, and 3 for retries.
const UNLIMITED: u32 = u32::MAX;

pub(crate) fn cluster(cluster: &Cluster) -> Value {
    let Cluster { name, load_balancing, connect_timeout, protocol, endpoints } = cluster;
    let message = json!({
        "name": name,
        "type": "STATIC",
        "connect_timeout": proto::duration(*connect_timeout),
        "lb_policy": match load_balancing {
            LoadBalancing::LeastRequest => "LEAST_REQUEST",
            LoadBalancing::RoundRobin => "ROUND_ROBIN",
            LoadBalancing::Random => "RANDOM",
        },
        // Unhealthy endpoints get nothing, even when there are no others.
        "common_lb_config": { "healthy_panic_threshold": { "value": 0 } },
        "circuit_breakers": { "thresholds": [{
            "max_connections": UNLIMITED,
            "max_pending_requests": UNLIMITED,
            "max_requests": UNLIMITED,
            "max_retries": UNLIMITED,
            "track_remaining": true,
        }] },
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [{ "lb_endpoints": endpoints.iter().map(endpoint).collect::<Vec<_>>() }],
        },
    });
    let speak_http2 = || {
        json!({
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": proto::any(
                "envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                json!({ "explicit_http_config": { "http2_protocol_options": {} } }),
            ),
        })
    };
    let options = (*protocol == UpstreamProtocol::Http2).then(speak_http2);
    proto::with(message, [("typed_extension_protocol_options", options)])
}

/// Labels have done their work in the plan: each subset is a cluster.
fn endpoint(endpoint: &Endpoint) -> Value {
    let Endpoint { address, port, weight, labels: _ } = endpoint;
    json!({
        "endpoint": { "address": proto::socket_address(address, *port) },
        "load_balancing_weight": weight,
    })
}
