//! Circuit breakers, kept connections and ejection in Envoy's words, as istiod writes them (`applyConnectionPool`,
//! `applyOutlierDetection`).

use crate::proto;
use envoy_plan::{Connections, Limits, OutlierDetection, Pings, RetryBudget, TcpKeepalive};
use serde_json::{Value, json};

/// istiod's limits where a rule has none (`getDefaultCircuitBreakerThresholds`). Envoy's own would be 1024, and 3 for retries.
const UNLIMITED: u32 = u32::MAX;

/// Envoy's `CircuitBreakers.Thresholds`.
pub(crate) fn thresholds(limits: &Limits) -> Value {
    let Limits { connections, pending, requests, retries, retry_budget } = limits;
    let thresholds = json!({
        "max_connections": connections.unwrap_or(UNLIMITED),
        "max_pending_requests": pending.unwrap_or(UNLIMITED),
        "max_requests": requests.unwrap_or(UNLIMITED),
        "max_retries": retries.unwrap_or(UNLIMITED),
        "track_remaining": true,
    });
    let budget = |budget: &RetryBudget| {
        let RetryBudget { share, at_least, interval } = budget;
        let message = json!({ "budget_percent": { "value": share.percent() }, "min_retry_concurrency": at_least });
        proto::with(message, [("budget_interval", interval.map(proto::duration))])
    };
    proto::with(thresholds, [("retry_budget", retry_budget.as_ref().map(budget))])
}

/// Envoy's `OutlierDetection`. What goes by success rates is off; a count of 0 counts but ejects nobody.
pub(crate) fn outlier_detection(outliers: &OutlierDetection) -> Value {
    let OutlierDetection {
        errors,
        gateway_errors,
        local_failures,
        interval,
        ejection_time,
        // Envoy's own by default.
        ejection_time_max: _,
        ejected_percent_max,
        // Stands with the balancing.
        healthy_percent_min: _,
        error_codes: _,
    } = outliers;
    let enforcing = |count: u32| if count > 0 { 100 } else { 0 };
    let message = json!({
        "consecutive_5xx": errors,
        "enforcing_consecutive_5xx": enforcing(*errors),
        "enforcing_success_rate": 0,
        "interval": proto::duration(*interval),
        "base_ejection_time": proto::duration(*ejection_time),
        "max_ejection_percent": ejected_percent_max,
    });
    let gateway = (*gateway_errors > 0).then_some(*gateway_errors);
    proto::with(
        message,
        [
            ("consecutive_gateway_failure", gateway.map(Value::from)),
            ("enforcing_consecutive_gateway_failure", gateway.map(|_| json!(100))),
            ("split_external_local_origin_errors", local_failures.map(|_| Value::Bool(true))),
            ("consecutive_local_origin_failure", local_failures.map(Value::from)),
            ("enforcing_consecutive_local_origin_failure", local_failures.map(|_| json!(100))),
            ("enforcing_local_origin_success_rate", local_failures.map(|_| json!(0))),
        ],
    )
}

/// Which answers are errors; `None`: Envoy's own idea of them (`applyOutlierDetectionErrorCodes`).
pub(crate) fn error_matcher(outliers: &OutlierDetection) -> Option<Value> {
    let rule = |code: &u16| {
        let header = json!({ "name": ":status", "string_match": { "exact": code.to_string() } });
        json!({ "http_response_headers_match": { "headers": [header] } })
    };
    let mut rules: Vec<Value> = outliers.error_codes.iter().map(rule).collect();
    let last = rules.pop()?;
    let matcher = match rules.is_empty() {
        true => last,
        false => {
            rules.push(last);
            json!({ "or_match": { "rules": rules } })
        }
    };
    Some(json!({ "error_matcher": matcher }))
}

/// What holds for connections of either protocol; `None`: Envoy's defaults.
pub(crate) fn common_options(connections: &Connections) -> Option<Value> {
    let Connections { idle_timeout, duration_max, requests_max, keepalive: _, streams_max: _, pings: _ } = connections;
    let options = proto::with(
        json!({}),
        [
            ("idle_timeout", idle_timeout.map(proto::duration)),
            ("max_connection_duration", duration_max.map(proto::duration)),
            ("max_requests_per_connection", requests_max.map(Value::from)),
        ],
    );
    (options != json!({})).then_some(options)
}

/// Envoy's `Http2ProtocolOptions`.
pub(crate) fn http2_options(connections: &Connections) -> Value {
    let Connections { streams_max, pings, idle_timeout: _, duration_max: _, requests_max: _, keepalive: _ } =
        connections;
    let pings = pings.map(|Pings { interval, timeout }| {
        json!({ "interval": proto::duration(interval), "timeout": proto::duration(timeout) })
    });
    proto::with(json!({}), [("max_concurrent_streams", streams_max.map(Value::from)), ("connection_keepalive", pings)])
}

/// Envoy's `TcpKeepalive`.
pub(crate) fn keepalive(keepalive: &TcpKeepalive) -> Value {
    let TcpKeepalive { probes, time_seconds, interval_seconds } = keepalive;
    proto::with(
        json!({}),
        [
            ("keepalive_probes", probes.map(Value::from)),
            ("keepalive_time", time_seconds.map(Value::from)),
            ("keepalive_interval", interval_seconds.map(Value::from)),
        ],
    )
}
