//! Clusters with their endpoints, as istiod sets them up.

use crate::{hashing, limits, proto};
use envoy_plan::{Cluster, Connections, Discovery, Endpoint, OutlierDetection, TcpKeepalive, UpstreamProtocol};
use serde_json::{Value, json};
use std::time::Duration;

/// Istio's `MeshConfig.dnsRefreshRate`, by default: for answers without a time to live, and for failures.
const DNS_REFRESH: Duration = Duration::from_secs(60);

pub(crate) fn cluster(cluster: &Cluster) -> Value {
    let Cluster {
        name,
        load_balancing,
        connect_timeout,
        limits,
        connections,
        outliers,
        protocol,
        discovery,
        endpoints,
    } = cluster;
    let healthy_min = outliers.as_ref().map_or(0, |outliers| outliers.healthy_percent_min);
    let message = json!({
        "name": name,
        "connect_timeout": proto::duration(*connect_timeout),
        "lb_policy": match (discovery, load_balancing) {
            (Discovery::RequestHost, _) => "CLUSTER_PROVIDED",
            (_, balancing) => balancing.name(),
        },
        // Unhealthy endpoints get nothing, even when there are no others, unless the rule says otherwise.
        "common_lb_config": { "healthy_panic_threshold": { "value": healthy_min } },
        "circuit_breakers": { "thresholds": [limits::thresholds(limits)] },
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
    let (sizes, table) = hashing::sizes(*load_balancing).unzip();
    let keepalive = |keepalive: &TcpKeepalive| json!({ "tcp_keepalive": limits::keepalive(keepalive) });
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
            (sizes.unwrap_or_default(), table),
            ("typed_extension_protocol_options", protocol_options(*protocol, connections, outliers.as_ref())),
            ("outlier_detection", outliers.as_ref().map(limits::outlier_detection)),
            ("upstream_connection_options", connections.keepalive.as_ref().map(keepalive)),
        ],
    )
}

/// What is spoken, how connections are kept, and which answers are errors; `None` where all of it is Envoy's default.
fn protocol_options(
    protocol: UpstreamProtocol,
    connections: &Connections,
    outliers: Option<&OutlierDetection>,
) -> Option<Value> {
    let common = limits::common_options(connections);
    let errors = outliers.and_then(limits::error_matcher);
    if protocol == UpstreamProtocol::Http1 && common.is_none() && errors.is_none() {
        return None;
    }
    let explicit = match protocol {
        UpstreamProtocol::Http1 => json!({ "http_protocol_options": {} }),
        UpstreamProtocol::Http2 => json!({ "http2_protocol_options": limits::http2_options(connections) }),
    };
    let options = proto::with(
        json!({ "explicit_http_config": explicit }),
        [("common_http_protocol_options", common), ("outlier_detection", errors)],
    );
    Some(json!({
        "envoy.extensions.upstreams.http.v3.HttpProtocolOptions":
            proto::any("envoy.extensions.upstreams.http.v3.HttpProtocolOptions", options),
    }))
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
