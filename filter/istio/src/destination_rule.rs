//! `DestinationRule` (istio/api `networking/v1alpha3/destination_rule.proto`): what happens behind the route.

use crate::GoDuration;
use crate::virtual_service::PortSelector;
use serde::Deserialize;
use std::collections::BTreeMap;

raw! {
    /// Policies and subsets of a host.
    pub struct DestinationRule {
        /// Service host; a name without a dot gets the rule's namespace.
        pub host: String,
        /// Policy for every port and subset.
        pub traffic_policy: Option<TrafficPolicy>,
        /// Named groups of endpoints.
        pub subsets: Vec<Subset>,
        /// Namespaces that see the rule. Empty means all.
        pub export_to: Vec<String>,
        /// Calling workloads for which the rule holds.
        pub workload_selector: Option<WorkloadSelector>,
    }

    /// Selects workloads by labels.
    pub struct WorkloadSelector {
        /// All must be present.
        pub match_labels: BTreeMap<String, String>,
    }

    /// Balancing, pools, ejection and TLS towards a host.
    pub struct TrafficPolicy {
        /// How an endpoint is chosen.
        pub load_balancer: Option<LoadBalancerSettings>,
        /// Limits.
        pub connection_pool: Option<ConnectionPoolSettings>,
        /// Ejection of failing endpoints.
        pub outlier_detection: Option<OutlierDetection>,
        /// TLS towards the endpoints.
        pub tls: Option<ClientTlsSettings>,
        /// Policies that replace this one for a port.
        pub port_level_settings: Vec<PortTrafficPolicy>,
        /// Tunnel over CONNECT or POST.
        pub tunnel: Option<TunnelSettings>,
        /// PROXY protocol.
        pub proxy_protocol: Option<ProxyProtocol>,
        /// Limit on concurrent retries.
        pub retry_budget: Option<RetryBudget>,
    }

    /// Policy of one port.
    pub struct PortTrafficPolicy {
        /// Which port.
        pub port: Option<PortSelector>,
        /// How an endpoint is chosen.
        pub load_balancer: Option<LoadBalancerSettings>,
        /// Limits.
        pub connection_pool: Option<ConnectionPoolSettings>,
        /// Ejection of failing endpoints.
        pub outlier_detection: Option<OutlierDetection>,
        /// TLS towards the endpoints.
        pub tls: Option<ClientTlsSettings>,
    }

    /// Tunnel settings.
    pub struct TunnelSettings {
        /// CONNECT or POST.
        pub protocol: String,
        /// Host behind the tunnel.
        pub target_host: String,
        /// Port behind the tunnel.
        pub target_port: u32,
    }

    /// PROXY protocol settings.
    pub struct ProxyProtocol {
        /// Version; absent means V1.
        pub version: Option<ProxyProtocolVersion>,
    }

    /// Limit on concurrent retries.
    pub struct RetryBudget {
        /// Share of active requests in percent; absent means 20.
        pub percent: Option<f64>,
        /// Retries that are always allowed; absent means 3.
        pub min_retry_concurrency: Option<u32>,
        /// Window.
        pub budget_interval: Option<GoDuration>,
    }

    /// A named group of endpoints.
    pub struct Subset {
        /// Its name.
        pub name: String,
        /// Labels that its endpoints carry, all of them.
        pub labels: BTreeMap<String, String>,
        /// Policy that goes over the host's, block by block.
        pub traffic_policy: Option<TrafficPolicy>,
    }

    /// How an endpoint is chosen.
    pub struct LoadBalancerSettings {
        /// One of the standard algorithms.
        pub simple: Option<SimpleLb>,
        /// By hash of a key.
        pub consistent_hash: Option<ConsistentHashLb>,
        /// By locality.
        pub locality_lb_setting: Option<LocalityLoadBalancerSetting>,
        /// By zone.
        pub zone_aware_lb_setting: Option<ZoneAwareLoadBalancerSetting>,
        /// Deprecated form of `warmup.duration`.
        pub warmup_duration_secs: Option<GoDuration>,
        /// Slow start of new endpoints.
        pub warmup: Option<WarmupConfiguration>,
    }

    /// Slow start.
    pub struct WarmupConfiguration {
        /// How long.
        pub duration: Option<GoDuration>,
        /// Share at the beginning; absent means 10.
        pub minimum_percent: Option<f64>,
        /// Shape; absent means 1.0.
        pub aggression: Option<f64>,
    }

    /// Choice by hash: one key and one algorithm.
    pub struct ConsistentHashLb {
        /// Key: a request header.
        pub http_header_name: Option<String>,
        /// Key: a cookie.
        pub http_cookie: Option<HttpCookie>,
        /// Key: the client's address.
        pub use_source_ip: Option<bool>,
        /// Key: a query parameter.
        pub http_query_parameter_name: Option<String>,
        /// Ring hash; the default algorithm.
        pub ring_hash: Option<RingHash>,
        /// Maglev.
        pub maglev: Option<Maglev>,
        /// Deprecated form of `ringHash.minimumRingSize`.
        pub minimum_ring_size: Option<u64>,
    }

    /// Ring hash.
    pub struct RingHash {
        /// Absent means 1024.
        pub minimum_ring_size: Option<u64>,
    }

    /// Maglev.
    pub struct Maglev {
        /// Prime; absent means 65537.
        pub table_size: Option<u64>,
    }

    /// A cookie to hash by.
    pub struct HttpCookie {
        /// Name.
        pub name: String,
        /// Path of a cookie that is made.
        pub path: String,
        /// Life of a cookie that is made; absent means none is made.
        pub ttl: Option<GoDuration>,
        /// Further attributes.
        pub attributes: Vec<CookieAttribute>,
    }

    /// A cookie attribute.
    #[cfg_attr(feature = "tools", derive(schemars::JsonSchema))]
    pub struct CookieAttribute {
        /// Name.
        pub name: String,
        /// Value.
        pub value: String,
    }

    /// Limits.
    pub struct ConnectionPoolSettings {
        /// Of connections.
        pub tcp: Option<TcpSettings>,
        /// Of requests.
        pub http: Option<HttpSettings>,
    }

    /// Limits of connections.
    pub struct TcpSettings {
        /// Most connections.
        pub max_connections: Option<i32>,
        /// Limit for opening a connection.
        pub connect_timeout: Option<GoDuration>,
        /// Keepalive probes.
        pub tcp_keepalive: Option<TcpKeepalive>,
        /// Longest life of a connection.
        pub max_connection_duration: Option<GoDuration>,
        /// Longest idle time.
        pub idle_timeout: Option<GoDuration>,
    }

    /// Keepalive probes.
    pub struct TcpKeepalive {
        /// How many may go unanswered.
        pub probes: Option<u32>,
        /// Idle time before the first.
        pub time: Option<GoDuration>,
        /// Time between two.
        pub interval: Option<GoDuration>,
    }

    /// Limits of requests.
    pub struct HttpSettings {
        /// Most requests waiting for a connection.
        pub http1_max_pending_requests: Option<i32>,
        /// Most active requests.
        pub http2_max_requests: Option<i32>,
        /// Most requests on a connection.
        pub max_requests_per_connection: Option<i32>,
        /// Most concurrent retries.
        pub max_retries: Option<i32>,
        /// Longest idle time.
        pub idle_timeout: Option<GoDuration>,
        /// Whether HTTP/1.1 becomes HTTP/2.
        pub h2_upgrade_policy: Option<H2UpgradePolicy>,
        /// Keep the client's protocol.
        pub use_client_protocol: Option<bool>,
        /// Most concurrent HTTP/2 streams.
        pub max_concurrent_streams: Option<i32>,
        /// HTTP/2 PINGs.
        pub http2_keep_alive: Option<ConnectionKeepalive>,
    }

    /// HTTP/2 PINGs.
    pub struct ConnectionKeepalive {
        /// Time between two.
        pub interval: Option<GoDuration>,
        /// Time to wait for the answer.
        pub timeout: Option<GoDuration>,
    }

    /// Ejection of failing endpoints.
    pub struct OutlierDetection {
        /// Deprecated.
        pub consecutive_errors: Option<i32>,
        /// Count local and remote failures apart.
        pub split_external_local_origin_errors: Option<bool>,
        /// Run of local failures that ejects.
        pub consecutive_local_origin_failures: Option<u32>,
        /// Run of 502, 503 and 504 that ejects.
        pub consecutive_gateway_errors: Option<u32>,
        /// Run of 5xx that ejects; absent means 5, 0 switches it off.
        #[serde(rename = "consecutive5xxErrors")]
        pub consecutive_5xx_errors: Option<u32>,
        /// Time between two sweeps.
        pub interval: Option<GoDuration>,
        /// Ejection time, multiplied by the number of ejections.
        pub base_ejection_time: Option<GoDuration>,
        /// Most endpoints that may be out, in percent; absent means 10.
        pub max_ejection_percent: Option<i32>,
        /// Share of healthy endpoints below which ejection is ignored.
        pub min_health_percent: Option<i32>,
        /// Codes that count as errors.
        pub outlier_detection_http_error_codes: Vec<u32>,
    }

    /// TLS towards the endpoints.
    pub struct ClientTlsSettings {
        /// Mode.
        pub mode: Option<ClientTlsMode>,
        /// Certificate file.
        pub client_certificate: String,
        /// Key file.
        pub private_key: String,
        /// CA file.
        pub ca_certificates: String,
        /// Name of a secret.
        pub credential_name: String,
        /// Names that the server's certificate may carry.
        pub subject_alt_names: Vec<String>,
        /// Server name to ask for.
        pub sni: String,
        /// Accept any certificate.
        pub insecure_skip_verify: Option<bool>,
        /// Revocation list file.
        pub ca_crl: String,
    }

    /// Balancing by locality.
    pub struct LocalityLoadBalancerSetting {
        /// Shares by locality.
        pub distribute: Vec<Distribute>,
        /// Where to go when a region fails.
        pub failover: Vec<Failover>,
        /// Labels by which endpoints are preferred.
        pub failover_priority: Vec<String>,
        /// Whether it applies.
        pub enabled: Option<bool>,
    }

    /// Shares by locality.
    pub struct Distribute {
        /// Locality of the caller.
        pub from: String,
        /// Shares in percent by locality.
        pub to: BTreeMap<String, u32>,
    }

    /// Where to go when a region fails.
    pub struct Failover {
        /// Region of the caller.
        pub from: String,
        /// Region to go to.
        pub to: String,
    }

    /// Balancing by zone.
    pub struct ZoneAwareLoadBalancerSetting {
        /// Whether it applies.
        pub enabled: Option<bool>,
        /// Where to go when a region fails.
        pub failover: Vec<Failover>,
        /// Labels by which endpoints are preferred.
        pub failover_priority: Vec<String>,
        /// Fewest endpoints for it to apply; absent means 6.
        pub min_cluster_size: Option<u64>,
    }
}

/// The standard algorithms.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum SimpleLb {
    /// Istio's default, least request.
    Unspecified,
    /// Deprecated name of [`SimpleLb::LeastRequest`].
    LeastConn,
    /// At random.
    Random,
    /// The address the client meant.
    Passthrough,
    /// One after the other.
    RoundRobin,
    /// The less busy of two.
    LeastRequest,
}

/// Whether HTTP/1.1 becomes HTTP/2.
#[allow(missing_docs, reason = "Istio's names say it")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum H2UpgradePolicy {
    Default,
    DoNotUpgrade,
    Upgrade,
}

/// TLS modes towards endpoints.
#[allow(missing_docs, reason = "Istio's names say it")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ClientTlsMode {
    Disable,
    Simple,
    Mutual,
    IstioMutual,
}

/// Versions of the PROXY protocol.
#[allow(missing_docs, reason = "Istio's names say it")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum ProxyProtocolVersion {
    V1,
    V2,
}
