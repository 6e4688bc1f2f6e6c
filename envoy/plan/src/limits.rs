//! What a cluster may have under way at the same time, how its connections live, and when an endpoint is left out: the
//! blocks `connectionPool`, `retryBudget` and `outlierDetection` of a traffic policy, as Envoy takes them.

use std::time::Duration;

/// Limits on what is under way in a cluster at the same time (Envoy's circuit breakers). `None`: no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Connections (`tcp.maxConnections`). An endpoint without any always gets its first.
    pub connections: Option<u32>,
    /// Requests that wait for a connection (`http.http1MaxPendingRequests`).
    pub pending: Option<u32>,
    /// Requests on connections (`http.http2MaxRequests`).
    pub requests: Option<u32>,
    /// Requests that are being tried again (`http.maxRetries`); without effect beside a budget.
    pub retries: Option<u32>,
    /// The same, in proportion to the requests under way (`retryBudget`).
    pub retry_budget: Option<RetryBudget>,
}

/// How many requests may be tried again at the same time, of those under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryBudget {
    /// Share of the requests that are pending or active.
    pub share: PerMillion,
    /// So many always.
    pub at_least: u32,
    /// The time over which requests are counted; `None` or zero: those of the moment. Only Envoy looks at it.
    pub interval: Option<Duration>,
}

/// A percentage in whole ten-thousandths, so that decisions by it are the same everywhere.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct PerMillion(u32);

impl PerMillion {
    /// From percent; what goes beyond four digits is cut off.
    pub fn from_percent(percent: f64) -> Self {
        Self((percent * 10_000.0) as u32)
    }

    /// In percent.
    pub fn percent(self) -> f64 {
        f64::from(self.0) / 10_000.0
    }

    /// This share of `count`, rounded down.
    pub fn of(self, count: u64) -> u64 {
        count.saturating_mul(u64::from(self.0)) / 1_000_000
    }
}

/// How connections are kept (`connectionPool`). `None`: as Envoy does by itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Connections {
    /// A connection without a request is closed after so long (`idleTimeout`; Envoy's own: an hour). Zero: never.
    pub idle_timeout: Option<Duration>,
    /// A connection takes no more requests after so long (`tcp.maxConnectionDuration`).
    pub duration_max: Option<Duration>,
    /// A connection takes so many requests (`http.maxRequestsPerConnection`).
    pub requests_max: Option<u32>,
    /// The system's probes (`tcp.tcpKeepalive`).
    pub keepalive: Option<TcpKeepalive>,
    /// Requests at a time on a connection of HTTP/2 (`http.maxConcurrentStreams`).
    pub streams_max: Option<u32>,
    /// HTTP/2 PINGs (`http.http2KeepAlive`).
    pub pings: Option<Pings>,
}

/// TCP keepalive probes, in whole seconds. `None`: as the system is set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TcpKeepalive {
    /// So many may go unanswered.
    pub probes: Option<u32>,
    /// Idle time before the first.
    pub time_seconds: Option<u64>,
    /// Time between two.
    pub interval_seconds: Option<u64>,
}

/// HTTP/2 PINGs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pings {
    /// Time between two.
    pub interval: Duration,
    /// Time for the answer.
    pub timeout: Duration,
}

/// When an endpoint that fails is left out for a while (`outlierDetection`; Envoy's outlier detection, of which istiod
/// switches off what goes by rates).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutlierDetection {
    /// So many answers 5xx in a row (`consecutive5xxErrors`, by default 5). Unless [`OutlierDetection::local_failures`] are
    /// counted apart, failures of the connection and of time count as 503 and 504. 0: none.
    pub errors: u32,
    /// So many answers 502, 503, 504 in a row (`consecutiveGatewayErrors`). 0: none.
    pub gateway_errors: u32,
    /// So many failures without an answer in a row, counted by themselves (`splitExternalLocalOriginErrors` and
    /// `consecutiveLocalOriginFailures`, by default 5). `None`: they count as answers.
    pub local_failures: Option<u32>,
    /// Between two looks at who may come back (`interval`).
    pub interval: Duration,
    /// Time of the first ejection; the second lasts twice as long, and so on (`baseEjectionTime`).
    pub ejection_time: Duration,
    /// None lasts longer (Envoy's `max_ejection_time`: 300 s, or the first if that is longer).
    pub ejection_time_max: Duration,
    /// So many of the endpoints may be out at the same time (`maxEjectionPercent`).
    pub ejected_percent_max: u32,
    /// With a smaller share of healthy endpoints all get requests (`minHealthPercent`; Envoy's panic threshold). 0: never.
    pub healthy_percent_min: u32,
    /// These answers are errors and no others (`outlierDetectionHttpErrorCodes`). Empty: 5xx.
    pub error_codes: Vec<u16>,
}

impl Default for OutlierDetection {
    /// What `outlierDetection: {}` means.
    fn default() -> Self {
        Self {
            errors: 5,
            gateway_errors: 0,
            local_failures: None,
            interval: Duration::from_secs(10),
            ejection_time: Duration::from_secs(30),
            ejection_time_max: Duration::from_secs(300),
            ejected_percent_max: 10,
            healthy_percent_min: 0,
            error_codes: Vec::new(),
        }
    }
}
