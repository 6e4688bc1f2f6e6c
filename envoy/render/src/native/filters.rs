//! What a rule asks of other filters: faults and CORS, as configuration of its route.

use super::matches;
use crate::{filters, proto};
use istio_config::virtual_service::{
    Abort, CorsPolicy, Delay, HttpFaultInjection, HttpRoute, Percent, UnmatchedPreflights,
};
use serde_json::{Map, Value, json};

/// The name by which Envoy and istiod know the CORS filter.
pub(super) const CORS: &str = "envoy.filters.http.cors";

/// `typed_per_filter_config` of a rule's routes; `None` where it asks for nothing.
pub(super) fn per_filter_config(rule: &HttpRoute) -> Option<Value> {
    let mut filters = Map::new();
    if let Some(fault) = rule.fault.as_deref().and_then(fault) {
        filters.insert(filters::FAULT.to_owned(), fault);
    }
    if let Some(policy) = &rule.cors_policy {
        filters.insert(CORS.to_owned(), cors(policy));
    }
    (!filters.is_empty()).then_some(Value::Object(filters))
}

/// Parts of a million, cut off (`translatePercentToFractionalPercent`).
pub(super) fn fraction(percent: &Percent) -> Value {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "as istiod does; 0 to 100 was checked")]
    let numerator = (percent.value * 10_000.0) as u32;
    json!({ "numerator": numerator, "denominator": "MILLION" })
}

/// Whole percents.
pub(super) fn whole_percent(percent: u32) -> Value {
    json!({ "numerator": percent, "denominator": "HUNDRED" })
}

/// `TranslateFault`.
fn fault(raw: &HttpFaultInjection) -> Option<Value> {
    let HttpFaultInjection { delay, abort } = raw;
    let delay = delay.as_ref().and_then(|Delay { percent, fixed_delay, exponential_delay: _, percentage }| {
        let share = match percentage {
            Some(percentage) => fraction(percentage),
            None => whole_percent(u32::try_from(percent.unwrap_or(0)).unwrap_or(0)),
        };
        fixed_delay.map(|delay| json!({ "fixed_delay": proto::duration(delay.0), "percentage": share }))
    });
    let abort = abort.as_ref().and_then(|Abort { http_status, grpc_status, http2_error: _, percentage }| {
        let (name, status) = match (http_status, grpc_status) {
            (Some(status), _) => ("http_status", json!(status)),
            (None, Some(status)) => ("grpc_status", json!(grpc_number(status)?)),
            (None, None) => return None,
        };
        Some(proto::with(json!({ name: status }), [("percentage", percentage.as_ref().map(fraction))]))
    });
    if delay.is_none() && abort.is_none() {
        return None;
    }
    Some(proto::any(filters::FAULT_TYPE, proto::with(json!({}), [("delay", delay), ("abort", abort)])))
}

/// The number behind a gRPC status' name.
fn grpc_number(status: &str) -> Option<u16> {
    let number = match status {
        "OK" => 0,
        "CANCELLED" => 1,
        "UNKNOWN" => 2,
        "INVALID_ARGUMENT" => 3,
        "DEADLINE_EXCEEDED" => 4,
        "NOT_FOUND" => 5,
        "ALREADY_EXISTS" => 6,
        "PERMISSION_DENIED" => 7,
        "RESOURCE_EXHAUSTED" => 8,
        "FAILED_PRECONDITION" => 9,
        "ABORTED" => 10,
        "OUT_OF_RANGE" => 11,
        "UNIMPLEMENTED" => 12,
        "INTERNAL" => 13,
        "UNAVAILABLE" => 14,
        "DATA_LOSS" => 15,
        "UNAUTHENTICATED" => 16,
        number => return number.parse().ok(),
    };
    Some(number)
}

/// `TranslateCORSPolicy`.
fn cors(raw: &CorsPolicy) -> Value {
    let CorsPolicy {
        allow_origin,
        allow_origins,
        allow_methods,
        allow_headers,
        expose_headers,
        max_age,
        allow_credentials,
        unmatched_preflights,
    } = raw;
    let origins: Vec<Value> = match allow_origins.as_slice() {
        [] => allow_origin.iter().map(|origin| json!({ "exact": origin })).collect(),
        origins => origins.iter().map(matches::string).collect(),
    };
    let forwards = *unmatched_preflights != Some(UnmatchedPreflights::Ignore);
    let policy = json!({
        "allow_origin_string_match": origins,
        "allow_methods": allow_methods.join(","),
        "allow_headers": allow_headers.join(","),
        "expose_headers": expose_headers.join(","),
        "forward_not_matching_preflights": forwards,
        "filter_enabled": { "default_value": whole_percent(100) },
    });
    let max_age = max_age.map(|max_age| json!(max_age.0.as_secs().to_string()));
    let fields = [("max_age", max_age), ("allow_credentials", allow_credentials.map(Value::Bool))];
    proto::any("envoy.extensions.filters.http.cors.v3.CorsPolicy", proto::with(policy, fields))
}
