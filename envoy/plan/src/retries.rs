//! `retries`: how often and on what a request is tried again (istio `route/retry/retry.go`, `ValidateHTTPRetry`).
//!
//! No `retries` at all means the mesh default, which tries twice more but only when the request cannot have reached the
//! application. `attempts: 0` means none. A policy with attempts but without `retryOn` keeps the conditions of the
//! default, which few of its authors expect: hence the warning about `perTryTimeout`.

use crate::{Backoff, RetryOn, RetryPolicy, durations};
use istio_config::Diagnostics;
use istio_config::diagnostic::At;
use istio_config::virtual_service::HttpRetry;

/// Conditions of the mesh default. The last has no effect there: it comes without codes.
const DEFAULT_ON: [RetryOn; 5] = [
    RetryOn::ConnectFailure,
    RetryOn::RefusedStream,
    RetryOn::Unavailable,
    RetryOn::Cancelled,
    RetryOn::RetriableStatusCodes,
];

/// Attempts after the first in the mesh default.
const DEFAULT_RETRIES: u32 = 2;

/// What istiod writes for `host_selection_retry_max_attempts`, whatever the rule says.
const HOST_SELECTION_ATTEMPTS: u32 = 5;

/// Conditions under which a try that ran into `perTryTimeout` is followed by another.
const COVERS_PER_TRY_TIMEOUT: [RetryOn; 3] = [RetryOn::FiveXx, RetryOn::GatewayError, RetryOn::Reset];

impl RetryPolicy {
    /// The policy of a rule without `retries` (istiod's built-in `defaultHttpRetryPolicy`).
    pub fn mesh_default() -> Self {
        Self {
            retries: DEFAULT_RETRIES,
            on: DEFAULT_ON.to_vec(),
            status_codes: Vec::new(),
            per_try_timeout: None,
            avoid_previous_hosts: true,
            host_selection_attempts: HOST_SELECTION_ATTEMPTS,
            backoff: Backoff::default(),
        }
    }
}

/// The policy of a rule; `rule` is the place of the rule itself.
pub(crate) fn compile(rule: &At<'_>, raw: Option<&HttpRetry>, diagnostics: &mut Diagnostics) -> Option<RetryPolicy> {
    let default = RetryPolicy::mesh_default();
    let Some(raw) = raw else { return Some(default) };
    let HttpRetry {
        attempts,
        per_try_timeout,
        retry_on,
        retry_remote_localities,
        retry_ignore_previous_hosts,
        backoff,
    } = raw;
    let at = rule.field("retries");

    let attempts = attempts.unwrap_or(0);
    if attempts < 0 {
        diagnostics.error(
            &at.field("attempts"),
            "negative-attempts",
            format!("{attempts} attempts"),
            "write 0 for no retries, or leave `retries` out for the mesh default of 2",
        );
    }
    if attempts == 0 && (per_try_timeout.is_some() || !retry_on.is_empty() || retry_remote_localities.is_some()) {
        diagnostics.error(
            &at,
            "retries-without-attempts",
            "a retry policy with `attempts: 0`, which switches retries off",
            "give `attempts` a number above 0, or remove the other fields",
        );
    }
    if *retry_remote_localities == Some(true) {
        diagnostics.warning(
            &at.field("retryRemoteLocalities"),
            "not-carried-out-yet",
            "retries do not look at localities yet",
            "remove the field",
        );
    }
    let per_try_timeout =
        per_try_timeout.and_then(|duration| durations::checked(&at.field("perTryTimeout"), duration, diagnostics));
    let backoff = backoff.and_then(|duration| durations::checked(&at.field("backoff"), duration, diagnostics));
    let (on, status_codes) = if retry_on.is_empty() {
        (default.on, Vec::new())
    } else {
        conditions(&at.field("retryOn"), retry_on, diagnostics)
    };

    let retries = u32::try_from(attempts).ok().filter(|attempts| *attempts > 0)?;
    if per_try_timeout.is_some() && !on.iter().any(|condition| COVERS_PER_TRY_TIMEOUT.contains(condition)) {
        diagnostics.warning(
            &at.field("perTryTimeout"),
            "per-try-timeout-not-retried",
            "a try that takes longer is answered 504 at once: no condition in `retryOn` covers it",
            "add `5xx`, `gateway-error` or `reset` to `retryOn`, as in `retryOn: 5xx,reset,connect-failure`",
        );
    }
    Some(RetryPolicy {
        retries,
        on,
        status_codes,
        per_try_timeout,
        avoid_previous_hosts: retry_ignore_previous_hosts.unwrap_or(default.avoid_previous_hosts),
        host_selection_attempts: default.host_selection_attempts,
        backoff: backoff.map_or(default.backoff, Backoff::from_base),
    })
}

/// Conditions and status codes, each once and in the order written. Numbers are codes, and having any appends
/// `retriable-status-codes`. Blanks are not trimmed: Istio's validation does not either.
pub(crate) fn conditions(at: &At<'_>, text: &str, diagnostics: &mut Diagnostics) -> (Vec<RetryOn>, Vec<u16>) {
    let (mut on, mut codes) = (Vec::new(), Vec::new());
    for name in text.split(',') {
        if let Some(condition) = RetryOn::from_name(name) {
            push_once(&mut on, condition);
        } else if let Some(code) = name.parse().ok().filter(|code| is_known_status(*code)) {
            push_once(&mut codes, code);
        } else {
            let help =
                if RetryOn::from_name(name.trim()).is_some() || name.trim().parse::<u16>().is_ok_and(is_known_status) {
                    "remove the blanks: Istio refuses them here".to_owned()
                } else {
                    let names: Vec<&str> = RetryOn::ALL.iter().map(|(name, _)| *name).collect();
                    format!("use a known HTTP status code, or one of {}", names.join(", "))
                };
            diagnostics.error(at, "unknown-retry-condition", format!("`{name}` is no condition for a retry"), help);
        }
    }
    if !codes.is_empty() {
        push_once(&mut on, RetryOn::RetriableStatusCodes);
    }
    (on, codes)
}

/// Appends what is not there yet.
pub(crate) fn push_once<T: PartialEq>(list: &mut Vec<T>, item: T) {
    if !list.contains(&item) {
        list.push(item);
    }
}

/// Whether Go's `http.StatusText` has a name for the code: what Istio asks.
fn is_known_status(code: u16) -> bool {
    matches!(
        code,
        100..=103 | 200..=208 | 226 | 300..=305 | 307 | 308 | 400..=418 | 421..=426 | 428 | 429 | 431 | 451 | 500..=508 | 510 | 511
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{check_findings, profile_of};
    use std::time::Duration;

    /// A rule with these `retries`, as the policy of its only profile.
    fn policy(retries: &str) -> Option<RetryPolicy> {
        profile_of(&format!("{{route: [{{destination: {{host: a}}}}], retries: {retries}}}")).retry
    }

    /// Finding codes with their paths below `retries`.
    fn check(retries: &str, expected: &[&str]) {
        let expected: Vec<String> =
            expected.iter().map(|finding| format!("VirtualService spec.http[0].retries{finding}")).collect();
        let rule = format!("{{route: [{{destination: {{host: a}}}}], retries: {retries}}}");
        check_findings(&crate::testing::rules(&[&rule]), &expected.iter().map(String::as_str).collect::<Vec<_>>());
    }

    #[test]
    fn a_rule_without_retries_has_the_mesh_default() {
        let rule = profile_of("{route: [{destination: {host: a}}]}");
        assert_eq!(rule.retry, Some(RetryPolicy::mesh_default()));
        let RetryPolicy { retries, on, status_codes, avoid_previous_hosts, host_selection_attempts, .. } =
            RetryPolicy::mesh_default();
        let names: Vec<_> = on.iter().map(|condition| condition.name()).collect();
        assert_eq!(names.join(","), "connect-failure,refused-stream,unavailable,cancelled,retriable-status-codes");
        assert_eq!((retries, status_codes, avoid_previous_hosts, host_selection_attempts), (2, vec![], true, 5));
    }

    #[test]
    fn no_attempts_mean_no_policy() {
        assert_eq!(policy("{attempts: 0}"), None);
        assert_eq!(policy("{}"), None);
        check("{attempts: 0, backoff: 1s, retryIgnorePreviousHosts: true}", &[]);
    }

    #[test]
    fn no_attempts_with_other_fields_are_refused() {
        check("{attempts: 0, perTryTimeout: 1s}", &[": error[retries-without-attempts]"]);
        check("{retryOn: 5xx}", &[": error[retries-without-attempts]"]);
        check("{retryRemoteLocalities: false}", &[": error[retries-without-attempts]"]);
        check("{attempts: -1}", &[".attempts: error[negative-attempts]"]);
    }

    #[test]
    fn attempts_alone_keep_the_default_conditions() {
        let policy = policy("{attempts: 5}").unwrap();
        assert_eq!(policy, RetryPolicy { retries: 5, ..RetryPolicy::mesh_default() });
    }

    #[test]
    fn numbers_become_codes_and_append_their_condition() {
        let policy = policy("{attempts: 1, retryOn: '503,5xx,429,503'}").unwrap();
        assert_eq!(policy.on, [RetryOn::FiveXx, RetryOn::RetriableStatusCodes]);
        assert_eq!(policy.status_codes, [503, 429]);
    }

    #[test]
    fn every_condition_is_taken() {
        for (name, condition) in RetryOn::ALL {
            let policy = policy(&format!("{{attempts: 1, retryOn: {name}}}")).unwrap();
            assert_eq!(policy.on, [condition], "{name}");
        }
    }

    #[test]
    fn blanks_unknown_names_and_unknown_codes_are_refused() {
        for text in ["5xx, 503", " 5xx", "5XX", "999", "306", "509", "0", "5xx,", "timeout"] {
            check(&format!("{{attempts: 1, retryOn: '{text}'}}"), &[".retryOn: error[unknown-retry-condition]"]);
        }
        check("{attempts: 1, retryOn: 'a,b'}", &[".retryOn: error[unknown-retry-condition]"; 2]);
    }

    #[test]
    fn durations_and_hosts_are_carried() {
        let policy = policy(
            "{attempts: 3, retryOn: reset, perTryTimeout: 2.5s, backoff: 100ms, retryIgnorePreviousHosts: false}",
        )
        .unwrap();
        assert_eq!(policy.per_try_timeout, Some(Duration::from_millis(2500)));
        assert_eq!(policy.backoff, Backoff { base: Duration::from_millis(100), max: Duration::from_secs(1) });
        assert!(!policy.avoid_previous_hosts);
    }

    #[test]
    fn durations_below_a_millisecond_or_between_two_are_refused() {
        check("{attempts: 1, retryOn: 5xx, perTryTimeout: 0s}", &[".perTryTimeout: error[bad-duration]"]);
        check("{attempts: 1, backoff: 1500us}", &[".backoff: error[bad-duration]"]);
    }

    #[test]
    fn a_per_try_timeout_that_no_condition_covers_is_a_finding() {
        check("{attempts: 3, perTryTimeout: 3s}", &[".perTryTimeout: warning[per-try-timeout-not-retried]"]);
        check(
            "{attempts: 3, perTryTimeout: 3s, retryOn: '504'}",
            &[".perTryTimeout: warning[per-try-timeout-not-retried]"],
        );
        check("{attempts: 3, perTryTimeout: 3s, retryOn: '5xx,reset,connect-failure'}", &[]);
    }

    #[test]
    fn remote_localities_are_not_carried_out_yet() {
        check("{attempts: 3, retryRemoteLocalities: true}", &[".retryRemoteLocalities: warning[not-carried-out-yet]"]);
        check("{attempts: 3, retryRemoteLocalities: false}", &[]);
    }
}
