//! Clusters with their endpoints, as istiod sets them up.

use crate::{hashing, limits, localities, proto, tls};
use envoy_plan::{
    Cluster, Connections, Discovery, Fallback, Limits, LoadBalancing, OutlierDetection, TcpKeepalive, UpstreamProtocol,
    UpstreamTls, Warmup,
};
use serde_json::{Value, json};
use std::time::Duration;

/// Istio's `MeshConfig.dnsRefreshRate`, by default: for answers without a time to live, and for failures.
const DNS_REFRESH: Duration = Duration::from_secs(60);

pub(crate) fn cluster(cluster: &Cluster) -> Value {
    let Cluster {
        name,
        load_balancing,
        warmup,
        locality_weights,
        connect_timeout,
        limits,
        connections,
        outliers,
        protocol,
        tls: upstream_tls,
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
        "common_lb_config": proto::with(
            json!({ "healthy_panic_threshold": { "value": healthy_min } }),
            [("locality_weighted_lb_config", locality_weights.as_ref().map(|_| json!({})))],
        ),
        "circuit_breakers": { "thresholds": [limits::thresholds(limits)] },
    });
    let by_name = discovery.is_by_name();
    let assignment = || {
        json!({
            "cluster_name": name,
            "endpoints": localities::endpoints(endpoints, locality_weights.as_ref()),
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
            (slow_start_field(*load_balancing), warmup.as_ref().map(slow_start)),
            (
                "typed_extension_protocol_options",
                protocol_options(*protocol, connections, outliers.as_ref(), upstream_tls.as_ref()),
            ),
            ("transport_socket", upstream_tls.as_ref().map(|tls| tls::transport_socket(tls, *protocol))),
            ("outlier_detection", outliers.as_ref().map(limits::outlier_detection)),
            ("upstream_connection_options", connections.keepalive.as_ref().map(keepalive)),
        ],
    )
}

/// A cluster that stands for two. The second is there twice: a retry leaves out the priorities that it has tried, of two that are
/// one cluster it knows the first only, and so all that follow the first attempt are for the second.
pub(crate) fn fallback(name: &str, fallback: &Fallback) -> Value {
    let Fallback { first, then } = fallback;
    let both = json!({ "clusters": [first, then, then] });
    json!({
        "name": name,
        "lb_policy": "CLUSTER_PROVIDED",
        "cluster_type": proto::extension(
            "envoy.clusters.aggregate",
            "envoy.extensions.clusters.aggregate.v3.ClusterConfig",
            both,
        ),
        // How much may be asked again is for the filter to say: no request is counted as under way in this cluster, so that
        // a budget of Envoy's would be a share of nothing.
        "circuit_breakers": { "thresholds": [limits::thresholds(&Limits::default())] },
    })
}

/// What is spoken, how connections are kept, and which answers are errors; `None` where all of it is Envoy's default.
fn protocol_options(
    protocol: UpstreamProtocol,
    connections: &Connections,
    outliers: Option<&OutlierDetection>,
    tls: Option<&UpstreamTls>,
) -> Option<Value> {
    let common = limits::common_options(connections);
    let errors = outliers.and_then(limits::error_matcher);
    let upstream = tls.and_then(tls::http_options);
    if protocol == UpstreamProtocol::Http1 && common.is_none() && errors.is_none() && upstream.is_none() {
        return None;
    }
    let explicit = match protocol {
        UpstreamProtocol::Http1 => json!({ "http_protocol_options": {} }),
        UpstreamProtocol::Http2 => json!({ "http2_protocol_options": limits::http2_options(connections) }),
    };
    let options = proto::with(
        json!({ "explicit_http_config": explicit }),
        [
            ("common_http_protocol_options", common),
            ("outlier_detection", errors),
            ("upstream_http_protocol_options", upstream),
        ],
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

/// Where the slow start of a method stands.
fn slow_start_field(method: LoadBalancing) -> &'static str {
    match method {
        LoadBalancing::RoundRobin => "round_robin_lb_config",
        _ => "least_request_lb_config",
    }
}

/// How endpoints that join come to their share. istiod names no key for the runtime, and Envoy wants one.
fn slow_start(warmup: &Warmup) -> Value {
    let Warmup { window, least, aggression } = warmup;
    json!({
        "slow_start_config": {
            "slow_start_window": proto::duration(*window),
            "aggression": { "default_value": aggression, "runtime_key": "(" },
            "min_weight_percent": { "value": least.percent() },
        },
    })
}
