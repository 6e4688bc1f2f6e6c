//! Clusters with their endpoints, as istiod sets them up where a DestinationRule says nothing.

use crate::proto;
use envoy_plan::{Cluster, Discovery, Endpoint, LoadBalancing, UpstreamProtocol};
use serde_json::{Value, json};
use std::time::Duration;

/// istiod's limits: none (`getDefaultCircuitBreakerThresholds`). Envoy's own would be 1024, and 3 for retries.
const UNLIMITED: u32 = u32::MAX;

/// Istio's `MeshConfig.dnsRefreshRate`, by default: for answers without a time to live, and for failures.
const DNS_REFRESH: Duration = Duration::from_secs(60);

pub(crate) fn cluster(cluster: &Cluster) -> Value {
    let Cluster { name, load_balancing, connect_timeout, protocol, discovery, endpoints } = cluster;
    let message = json!({
        "name": name,
        "connect_timeout": proto::duration(*connect_timeout),
        "lb_policy": match (discovery, load_balancing) {
            (Discovery::RequestHost, _) => "CLUSTER_PROVIDED",
            (_, LoadBalancing::LeastRequest) => "LEAST_REQUEST",
            (_, LoadBalancing::RoundRobin) => "ROUND_ROBIN",
            (_, LoadBalancing::Random) => "RANDOM",
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
    });
    let by_name = discovery.is_by_name();
    let assignment = || {
        json!({
            "cluster_name": name,
            "endpoints": [{ "lb_endpoints": endpoints.iter().map(endpoint).collect::<Vec<_>>() }],
        })
    };
    let kind = match discovery {
        Discovery::Static => Some("STATIC"),
        Discovery::StrictDns => Some("STRICT_DNS"),
        Discovery::LogicalDns => Some("LOGICAL_DNS"),
        Discovery::RequestHost => None,
    };
    let speak_http2 = || {
        json!({
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": proto::any(
                "envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                json!({ "explicit_http_config": { "http2_protocol_options": {} } }),
            ),
        })
    };
    let options = (*protocol == UpstreamProtocol::Http2).then(speak_http2);
    proto::with(
        message,
        [
            ("type", kind.map(Value::from)),
            ("load_assignment", kind.is_some().then(assignment)),
            // As istiod for a proxy with addresses of both kinds, whose names it asks for in both.
            ("dns_lookup_family", by_name.then(|| json!(LOOKUP_FAMILY))),
            ("dns_refresh_rate", by_name.then(|| proto::duration(DNS_REFRESH))),
            ("respect_dns_ttl", by_name.then_some(Value::Bool(true))),
            ("cluster_type", kind.is_none().then(forward_proxy)),
            ("typed_extension_protocol_options", options),
        ],
    )
}

/// IPv4 where a name has both.
const LOOKUP_FAMILY: &str = "V4_PREFERRED";

/// What cluster and filter of the forward proxy have to say alike: they share the answers.
pub(crate) fn dns_cache() -> Value {
    json!({ "name": "shunt", "dns_lookup_family": LOOKUP_FAMILY })
}

/// Endpoints by the requests' own Host. Without redirection of packets Envoy knows no original destination, which istiod's
/// cluster of this name goes to.
fn forward_proxy() -> Value {
    proto::extension(
        "envoy.clusters.dynamic_forward_proxy",
        "envoy.extensions.clusters.dynamic_forward_proxy.v3.ClusterConfig",
        json!({ "dns_cache_config": dns_cache() }),
    )
}

/// Labels have done their work in the plan: each subset is a cluster.
fn endpoint(endpoint: &Endpoint) -> Value {
    let Endpoint { address, port, weight, labels: _ } = endpoint;
    json!({
        "endpoint": { "address": proto::socket_address(address, *port) },
        "load_balancing_weight": weight,
    })
}
