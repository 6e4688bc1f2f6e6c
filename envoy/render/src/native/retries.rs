//! `HTTPRetry` to Envoy's `RetryPolicy` (`route/retry/retry.go`).

use crate::proto;
use istio_config::virtual_service::HttpRetry;
use serde_json::{Value, json};

/// istiod's own conditions, where the mesh says nothing else.
const DEFAULT_ON: &str = "connect-failure,refused-stream,unavailable,cancelled,retriable-status-codes";

/// What a rule asks for; `None`: it wants no retries. `stays`: unless it says so, those that failed are not avoided, as its
/// only destination is chosen by a hash.
pub(super) fn policy(raw: Option<&HttpRetry>, stays: bool) -> Option<Value> {
    let Some(HttpRetry {
        attempts,
        per_try_timeout,
        retry_on,
        // Endpoints have no priorities here.
        retry_remote_localities: _,
        retry_ignore_previous_hosts,
        backoff,
    }) = raw
    else {
        return Some(default(2, DEFAULT_ON, !stays));
    };
    let attempts = attempts.filter(|attempts| *attempts > 0)?;
    let (mut on, mut codes): (Vec<&str>, Vec<u16>) = (vec![DEFAULT_ON], Vec::new());
    if !retry_on.is_empty() {
        on.clear();
        for word in retry_on.split(',') {
            match word.parse() {
                Ok(code) => codes.push(code),
                Err(_) => on.push(word),
            }
        }
        if !codes.is_empty() && !on.contains(&"retriable-status-codes") {
            on.push("retriable-status-codes");
        }
    }
    let policy = default(attempts, &on.join(","), retry_ignore_previous_hosts.unwrap_or(!stays));
    Some(proto::with(
        policy,
        [
            ("retriable_status_codes", (!codes.is_empty()).then(|| json!(codes))),
            ("per_try_timeout", per_try_timeout.map(|limit| proto::duration(limit.0))),
            ("retry_back_off", backoff.map(|base| json!({ "base_interval": proto::duration(base.0) }))),
        ],
    ))
}

fn default(attempts: i32, on: &str, avoids_previous_hosts: bool) -> Value {
    let predicate = || {
        json!([proto::extension(
            "envoy.retry_host_predicates.previous_hosts",
            "envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate",
            json!({}),
        )])
    };
    proto::with(
        json!({ "num_retries": attempts, "retry_on": on, "host_selection_retry_max_attempts": 5 }),
        [("retry_host_predicate", avoids_previous_hosts.then(predicate))],
    )
}
