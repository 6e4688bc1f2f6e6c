//! The plan itself: profiles, clusters and endpoints, in the terms of Envoy and Istio.

use crate::{Connections, HashKey, Limits, Locality, OutlierDetection, UpstreamTls, Warmup};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// The profile of every rule that asks for nothing special; it is the first in [`Plan::profiles`] and the filter
/// names it by writing no profile header at all.
pub const DEFAULT_PROFILE: &str = "default";

/// The request header that names the cluster of the request; the filter writes it, routes read it (`cluster_header`).
pub const CLUSTER_HEADER: &str = "x-shunt-cluster";

/// The request header that names a profile other than [`DEFAULT_PROFILE`]; absent for the default.
pub const PROFILE_HEADER: &str = "x-shunt-profile";

/// The cluster of requests that pass through: to hosts that neither the registry nor a rule knows, under
/// `outboundTrafficPolicy: ALLOW_ANY`. Istio's name.
pub const PASSTHROUGH_CLUSTER: &str = istio_config::names::PASSTHROUGH_CLUSTER;

/// Everything needed to carry decisions out, for one listener.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// Distinct native policies, the default first. Never empty once built.
    pub profiles: Vec<Profile>,
    /// Clusters by their Istio name, `outbound|PORT|SUBSET|HOST`. A name that is not here answers 503 (Envoy's `NC`).
    pub clusters: BTreeMap<String, Cluster>,
    /// Clusters that stand for two, by their names ([`istio_config::names::fallback_cluster`]).
    pub fallbacks: BTreeMap<String, Fallback>,
    /// What the rules ask for together: a profile, and a cluster by its name. Whoever has a route for each of these needs
    /// no other.
    pub uses: BTreeSet<(String, String)>,
}

impl Plan {
    /// The cluster of the version that was chosen, where the filter has named this one.
    pub fn chosen<'a>(&'a self, cluster: &'a str) -> &'a str {
        self.fallbacks.get(cluster).map_or(cluster, |fallback| &fallback.first)
    }
}

/// What one *profile route* carries: the part of a route that Envoy executes and a request header cannot say.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Profile {
    /// What the filter writes into the profile header; [`DEFAULT_PROFILE`] is never written.
    pub name: String,
    /// Limit for the whole request, all attempts and back-off together (`HTTPRoute.timeout`). `None`: no limit.
    pub timeout: Option<Duration>,
    /// `None`: an answer or failure is final (`retries.attempts: 0`).
    pub retry: Option<RetryPolicy>,
    /// Clusters that get a copy of each request, once, whatever becomes of the primary (`HTTPRoute.mirrors`).
    pub mirrors: Vec<String>,
    /// What a cluster that chooses by a hash hashes of a request, in this order. Empty, or nothing of it in the request: chance
    /// chooses.
    pub hash_keys: Vec<HashKey>,
    /// Attempts after the first leave the cluster that failed; for requests to a [`Fallback`].
    pub falls_back: bool,
}

/// Two clusters of which the second is asked where the first fails or has no endpoint in service (`ShuntPolicy.fallback`; Envoy's
/// aggregate cluster, with `previous_priorities` to choose among its clusters for a retry).
///
/// All attempts after the first go to the second. Where of the first's endpoints more than two in seven are ejected, the second
/// takes a part of the first attempts too, as one priority of a cluster takes from another.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fallback {
    /// The name of the cluster that the rule chose.
    pub first: String,
    /// The name of the one that is asked instead.
    pub then: String,
}

/// When and how often a request is tried again (`HTTPRetry`; Envoy's `RetryPolicy`).
#[derive(Clone, Debug, PartialEq)]
pub struct RetryPolicy {
    /// Attempts after the first one (`attempts`; Envoy's `num_retries`).
    pub retries: u32,
    /// Conditions of which any one is enough (`retryOn`).
    pub on: Vec<RetryOn>,
    /// The numbers in `retryOn`; they count under [`RetryOn::RetriableStatusCodes`].
    pub status_codes: Vec<u16>,
    /// Limit for each attempt (`perTryTimeout`). `None`: only the whole request is limited.
    pub per_try_timeout: Option<Duration>,
    /// Draw another endpoint when a retry would meet one already tried (`retryIgnorePreviousHosts`).
    pub avoid_previous_hosts: bool,
    /// How many draws beyond the first [`RetryPolicy::avoid_previous_hosts`] may cost before any endpoint will do
    /// (istiod writes 5; Envoy's `host_selection_retry_max_attempts`).
    pub host_selection_attempts: u32,
    /// Waiting time before each retry.
    pub backoff: Backoff,
}

/// Envoy's exponential back-off with full jitter: retry `n` waits `[0, min(base * 2^(n - 1), max))`. For a base of
/// 25 ms the upper ends are 25, 50, 100, 200, 250, 250 ms, as measured on Envoy 1.40 (its documentation says
/// `(2^n - 1) * base`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// `retries.backoff`; Envoy's default is 25 ms.
    pub base: Duration,
    /// Ten times the base, as Envoy has it.
    pub max: Duration,
}

impl Backoff {
    /// The back-off with Envoy's ceiling of ten times the base.
    pub const fn from_base(base: Duration) -> Self {
        Self { base, max: base.saturating_mul(10) }
    }
}

impl Default for Backoff {
    fn default() -> Self {
        Self::from_base(Duration::from_millis(25))
    }
}

/// One condition of `retryOn`, by Envoy's names (`x-envoy-retry-on`, `x-envoy-retry-grpc-on`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RetryOn {
    /// `5xx`: any 5xx answer, and no answer at all (connect failure, reset, per-try timeout).
    FiveXx,
    /// `gateway-error`: 502, 503, 504, and no answer at all.
    GatewayError,
    /// `reset`: no answer at all (disconnect, reset, per-try timeout).
    Reset,
    /// `reset-before-request`: no answer, and nothing of the request was sent (connect failures among them).
    ResetBeforeRequest,
    /// `connect-failure`: the connection could not be opened.
    ConnectFailure,
    /// `retriable-4xx`: 409 only.
    Retriable4xx,
    /// `refused-stream`: HTTP/2 REFUSED_STREAM.
    RefusedStream,
    /// `retriable-status-codes`: the codes in [`RetryPolicy::status_codes`].
    RetriableStatusCodes,
    /// `retriable-headers`: response headers named elsewhere.
    RetriableHeaders,
    /// `envoy-ratelimited`: an answer with `x-envoy-ratelimited`.
    EnvoyRatelimited,
    /// `http3-post-connect-failure`.
    Http3PostConnectFailure,
    /// `cancelled`: gRPC status 1.
    Cancelled,
    /// `deadline-exceeded`: gRPC status 4.
    DeadlineExceeded,
    /// `resource-exhausted`: gRPC status 8.
    ResourceExhausted,
    /// `internal`: gRPC status 13.
    Internal,
    /// `unavailable`: gRPC status 14.
    Unavailable,
}

impl RetryOn {
    /// Every condition with the name users write.
    pub const ALL: [(&'static str, Self); 16] = [
        ("5xx", Self::FiveXx),
        ("gateway-error", Self::GatewayError),
        ("reset", Self::Reset),
        ("reset-before-request", Self::ResetBeforeRequest),
        ("connect-failure", Self::ConnectFailure),
        ("retriable-4xx", Self::Retriable4xx),
        ("refused-stream", Self::RefusedStream),
        ("retriable-status-codes", Self::RetriableStatusCodes),
        ("retriable-headers", Self::RetriableHeaders),
        ("envoy-ratelimited", Self::EnvoyRatelimited),
        ("http3-post-connect-failure", Self::Http3PostConnectFailure),
        ("cancelled", Self::Cancelled),
        ("deadline-exceeded", Self::DeadlineExceeded),
        ("resource-exhausted", Self::ResourceExhausted),
        ("internal", Self::Internal),
        ("unavailable", Self::Unavailable),
    ];

    /// The condition a user means by `name`.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(known, _)| *known == name).map(|(_, condition)| *condition)
    }

    /// The name Envoy and Istio have for it.
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(_, condition)| *condition == self).map_or("", |(name, _)| *name)
    }
}

/// One group of endpoints that answers for a service port, whole or by subset.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Cluster {
    /// `outbound|PORT|SUBSET|HOST`, the subset empty for the whole service.
    pub name: String,
    /// How an endpoint is chosen (`trafficPolicy.loadBalancer`).
    pub load_balancing: LoadBalancing,
    /// How an endpoint that joins comes to its share (`loadBalancer.warmup`). `None`: it has it at once.
    pub warmup: Option<Warmup>,
    /// Localities of one priority share requests by weight before an endpoint is chosen there (Envoy's locality weighted
    /// balancing): by this weight, or where there is none by the weights of its endpoints together. `None`: localities do not
    /// matter within a priority.
    pub locality_weights: Option<BTreeMap<Locality, u32>>,
    /// Limit for opening a connection (`connectionPool.tcp.connectTimeout`, default 10 s).
    pub connect_timeout: Duration,
    /// What may be under way at the same time (`connectionPool`, `retryBudget`).
    pub limits: Limits,
    /// How connections are kept (`connectionPool`).
    pub connections: Connections,
    /// When an endpoint is left out for a while (`outlierDetection`). `None`: never.
    pub outliers: Option<OutlierDetection>,
    /// What is spoken to the endpoints (the protocol of the service port, or `connectionPool.http.h2UpgradePolicy`).
    pub protocol: UpstreamProtocol,
    /// TLS towards the endpoints (`trafficPolicy.tls`). `None`: none.
    pub tls: Option<UpstreamTls>,
    /// What stands in [`Endpoint::address`], and when it is looked up.
    pub discovery: Discovery,
    /// By priority, then by locality, then in file order. Empty: every request gets 503 (Envoy's `UH`).
    pub endpoints: Vec<Endpoint>,
}

/// How the endpoints of a cluster are found (Envoy's `Cluster.type`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Discovery {
    /// Addresses are IP addresses (`ServiceEntry.resolution: STATIC`).
    #[default]
    Static,
    /// Addresses may be names; each address that a name stands for is an endpoint (`DNS`).
    StrictDns,
    /// The address may be a name; the first address that it stands for is the endpoint (`DNS_ROUND_ROBIN`).
    LogicalDns,
    /// There are no endpoints: each request goes where its Host says ([`PASSTHROUGH_CLUSTER`]).
    RequestHost,
}

impl Discovery {
    /// Whether endpoints may be names that are looked up beforehand.
    pub fn is_by_name(self) -> bool {
        matches!(self, Self::StrictDns | Self::LogicalDns)
    }
}

/// What is spoken to the endpoints of a cluster.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum UpstreamProtocol {
    /// HTTP/1.1, whatever the client speaks; Istio's default.
    #[default]
    Http1,
    /// HTTP/2 without negotiation: the service port is declared `HTTP2`, `GRPC` or `GRPC-WEB`.
    Http2,
}

/// How an endpoint is chosen within a cluster (`LoadBalancerSettings.simple`, or the table of `consistentHash`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LoadBalancing {
    /// The less busy one of two drawn at random; Istio's default.
    #[default]
    LeastRequest,
    /// One after the other.
    RoundRobin,
    /// Drawn at random.
    Random,
    /// By a hash of the profile's keys on a ring, on which each endpoint has places in proportion to its weight.
    RingHash {
        /// So many places at least, all together (`ringHash.minimumRingSize`).
        size_min: u64,
    },
    /// By a hash of the profile's keys in a table that the endpoints fill in turns (Maglev).
    Maglev {
        /// So many places (`maglev.tableSize`), of [which there may be](crate::is_table_size): in simulator and proxy another
        /// number counts as [the default](crate::TABLE_SIZE); Envoy refuses it.
        table_size: u64,
    },
}

impl LoadBalancing {
    /// Whether a hash of the request decides.
    pub fn is_hashed(self) -> bool {
        matches!(self, Self::RingHash { .. } | Self::Maglev { .. })
    }

    /// The name Istio has for it, or Envoy.
    pub fn name(self) -> &'static str {
        match self {
            Self::LeastRequest => "LEAST_REQUEST",
            Self::RoundRobin => "ROUND_ROBIN",
            Self::Random => "RANDOM",
            Self::RingHash { .. } => "RING_HASH",
            Self::Maglev { .. } => "MAGLEV",
        }
    }
}

/// One place that answers requests.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Endpoint {
    /// IP address, or a DNS name where [`Cluster::discovery`] allows it.
    pub address: String,
    /// TCP port.
    pub port: u16,
    /// Share relative to its neighbours; 1 unless the ServiceEntry says otherwise.
    pub weight: u32,
    /// Labels of the workload, `version` and the like.
    pub labels: BTreeMap<String, String>,
    /// Where it is.
    pub locality: Locality,
    /// From 0, none left out: endpoints of a higher number get requests only as those of lower ones fail.
    pub priority: u32,
}
