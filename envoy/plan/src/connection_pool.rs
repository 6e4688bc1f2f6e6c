//! The block `connectionPool` and the block `retryBudget`, as istiod reads them (`applyConnectionPool`,
//! `applyRetryBudget`): a number that is not above 0 counts as not said.

use crate::traffic_policy::not_yet;
use crate::{Connections, Limits, PerMillion, Pings, RetryBudget, TcpKeepalive, durations};
use istio_config::destination_rule as raw;
use istio_config::destination_rule::H2UpgradePolicy;
use istio_config::diagnostic::At;
use istio_config::{Diagnostics, GoDuration};
use std::time::Duration;

/// `connectTimeout` of a mesh that does not set one.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// istiod's retry budget where the block does not say: 20 percent, and three at least.
const BUDGET: (f64, u32) = (20.0, 3);

/// The block `connectionPool`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ConnectionPool {
    pub(crate) connect_timeout: Option<Duration>,
    /// Without a retry budget, which is a block of its own.
    pub(crate) limits: Limits,
    pub(crate) connections: Connections,
    /// HTTP/2 whatever the port says.
    pub(crate) upgrades: bool,
}

/// Reads the block at `at`.
pub(crate) fn compile(at: &At<'_>, raw: &raw::ConnectionPoolSettings, diagnostics: &mut Diagnostics) -> ConnectionPool {
    let raw::ConnectionPoolSettings { tcp, http } = raw;
    if tcp.is_none() && http.is_none() {
        diagnostics.error(at, "empty-policy", "a connection pool without a field", "remove it");
    }
    let mut pool = ConnectionPool::default();
    if let Some(tcp) = tcp {
        read_tcp(&at.field("tcp"), tcp, &mut pool, diagnostics);
    }
    if let Some(http) = http {
        read_http(&at.field("http"), http, &mut pool, diagnostics);
    }
    pool
}

fn read_tcp(at: &At<'_>, raw: &raw::TcpSettings, pool: &mut ConnectionPool, diagnostics: &mut Diagnostics) {
    let raw::TcpSettings { max_connections, connect_timeout, tcp_keepalive, max_connection_duration, idle_timeout } =
        raw;
    let mut time = |field: &str, duration: Option<GoDuration>| {
        duration.and_then(|duration| durations::checked(&at.field(field), duration, diagnostics))
    };
    pool.connect_timeout = time("connectTimeout", *connect_timeout);
    pool.connections.duration_max = time("maxConnectionDuration", *max_connection_duration);
    // Zero is a word of its own here: an idle connection is never closed.
    pool.connections.idle_timeout = match idle_timeout {
        Some(GoDuration(Duration::ZERO)) => Some(Duration::ZERO),
        other => time("idleTimeout", *other),
    };
    pool.limits.connections = above_zero(*max_connections);
    pool.connections.keepalive = tcp_keepalive.as_ref().map(|raw| {
        let raw::TcpKeepalive { probes, time, interval } = raw;
        let seconds = |duration: &GoDuration| duration.0.as_secs();
        TcpKeepalive {
            probes: probes.filter(|probes| *probes > 0),
            time_seconds: time.as_ref().map(seconds),
            interval_seconds: interval.as_ref().map(seconds),
        }
    });
}

fn read_http(at: &At<'_>, raw: &raw::HttpSettings, pool: &mut ConnectionPool, diagnostics: &mut Diagnostics) {
    let raw::HttpSettings {
        http1_max_pending_requests,
        http2_max_requests,
        max_requests_per_connection,
        max_retries,
        idle_timeout,
        h2_upgrade_policy,
        use_client_protocol,
        max_concurrent_streams,
        http2_keep_alive,
    } = raw;
    let keeps_protocol = *use_client_protocol == Some(true);
    if keeps_protocol {
        let what = "endpoints are spoken to as their port says, whatever the client speaks";
        not_yet(&at.field("useClientProtocol"), what, diagnostics);
    }
    pool.limits.pending = above_zero(*http1_max_pending_requests);
    pool.limits.requests = above_zero(*http2_max_requests);
    pool.limits.retries = above_zero(*max_retries);
    pool.connections.requests_max = above_zero(*max_requests_per_connection);
    pool.connections.streams_max = above_zero(*max_concurrent_streams);
    // It goes before the one of `tcp`.
    if let Some(duration) = idle_timeout {
        pool.connections.idle_timeout = durations::checked(&at.field("idleTimeout"), *duration, diagnostics);
    }
    pool.connections.pings = http2_keep_alive.as_ref().and_then(|raw| {
        let raw::ConnectionKeepalive { interval, timeout } = raw;
        Some(Pings { interval: interval.as_ref()?.0, timeout: timeout.as_ref()?.0 })
    });
    pool.upgrades = !keeps_protocol && *h2_upgrade_policy == Some(H2UpgradePolicy::Upgrade);
}

fn above_zero(number: Option<i32>) -> Option<u32> {
    number.and_then(|number| u32::try_from(number).ok()).filter(|number| *number > 0)
}

/// Reads the block `retryBudget` at `at`.
pub(crate) fn retry_budget(at: &At<'_>, raw: &raw::RetryBudget, diagnostics: &mut Diagnostics) -> RetryBudget {
    let raw::RetryBudget { percent, min_retry_concurrency, budget_interval } = raw;
    let (percent_by_default, at_least) = BUDGET;
    let percent = percent.unwrap_or(percent_by_default);
    if !(0.0..=100.0).contains(&percent) {
        // Istio says nothing, and Envoy refuses the cluster.
        let message = format!("{percent} is not a percentage");
        diagnostics.error(&at.field("percent"), "bad-percentage", message, "write 0 to 100");
    }
    RetryBudget {
        share: PerMillion::from_percent(percent.clamp(0.0, 100.0)),
        at_least: min_retry_concurrency.filter(|number| *number > 0).unwrap_or(at_least),
        interval: budget_interval.map(|GoDuration(interval)| interval),
    }
}
