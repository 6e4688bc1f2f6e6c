//! What the router reads from a request head, and what it keeps from the upstream.
//!
//! Envoy obeys a handful of `x-envoy-*` request headers, removes them, and adds `x-envoy-expected-rq-timeout-ms`. Ours
//! (`x-shunt-*`) and those of the fault filter (`x-envoy-fault-*`) are of no use to an upstream either, and would let
//! a second proxy on the way act on the first one's decisions. Both hosts use these functions, so they remove the same.

use crate::grpc;
use crate::hash_keys::Source;
use envoy_plan::{CLUSTER_HEADER, PROFILE_HEADER};

/// Milliseconds the upstream may take, for its information; [`crate::Exchange::told`] has the value.
pub const EXPECTED_TIMEOUT_HEADER: &str = "x-envoy-expected-rq-timeout-ms";

/// Which attempt an upstream sees, from 1; [`crate::Attempt::number`] in digits. It takes the place of what a client wrote
/// (istiod: `include_request_attempt_count`), also on copies, which are the first attempt of theirs.
pub const ATTEMPT_COUNT_HEADER: &str = "x-envoy-attempt-count";

/// Copies have it with the value `true`: Envoy sends them as requests of its own.
pub(crate) const INTERNAL_HEADER: &str = "x-envoy-internal";

const RETRY_ON: &str = "x-envoy-retry-on";
const RETRY_GRPC_ON: &str = "x-envoy-retry-grpc-on";
const MAX_RETRIES: &str = "x-envoy-max-retries";
const RETRIABLE_STATUS_CODES: &str = "x-envoy-retriable-status-codes";
const RETRIABLE_HEADER_NAMES: &str = "x-envoy-retriable-header-names";
const TIMEOUT: &str = "x-envoy-upstream-rq-timeout-ms";
const PER_TRY_TIMEOUT: &str = "x-envoy-upstream-rq-per-try-timeout-ms";

/// Headers that stop here, apart from those [`PREFIXES`] cover. The last of them are switches of Envoy's router that we
/// do not offer; Envoy would remove them too.
const STOPPED: [&str; 12] = [
    RETRY_ON,
    RETRY_GRPC_ON,
    MAX_RETRIES,
    RETRIABLE_STATUS_CODES,
    RETRIABLE_HEADER_NAMES,
    TIMEOUT,
    PER_TRY_TIMEOUT,
    EXPECTED_TIMEOUT_HEADER,
    "x-envoy-hedge-on-per-try-timeout",
    "x-envoy-upstream-rq-timeout-alt-response",
    "x-envoy-upstream-alt-stat-name",
    "x-envoy-upstream-stream-duration-ms",
];

/// What begins like this stops here.
const PREFIXES: [&str; 2] = ["x-shunt-", "x-envoy-fault-"];

/// Whether a request header may be sent on to an upstream, primary or shadow. Upper and lower case are the same.
///
/// Set [`ATTEMPT_COUNT_HEADER`] afterwards, and what [`crate::Exchange::told`] says.
pub fn reaches_upstream(name: &[u8]) -> bool {
    let starts_with =
        |prefix: &str| name.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix.as_bytes()));
    // Most names end the search here.
    if !starts_with("x-") {
        return true;
    }
    !PREFIXES.iter().any(|prefix| starts_with(prefix))
        && !STOPPED.iter().any(|stopped| name.eq_ignore_ascii_case(stopped.as_bytes()))
}

/// What a request asks of the router: the values of the headers it obeys, as they stand, after the filter has run.
///
/// Of a repeated header the first value counts. Values that make no sense are ignored, as Envoy ignores them.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ask<'a> {
    /// `x-shunt-cluster`.
    pub cluster: Option<&'a [u8]>,
    /// `x-shunt-profile`; absent for the default profile.
    pub profile: Option<&'a [u8]>,
    /// `x-envoy-retry-on`: conditions added to the profile's.
    pub retry_on: Option<&'a [u8]>,
    /// `x-envoy-retry-grpc-on`: gRPC conditions added to the profile's.
    pub retry_grpc_on: Option<&'a [u8]>,
    /// `x-envoy-max-retries`: instead of the profile's number.
    pub max_retries: Option<&'a [u8]>,
    /// `x-envoy-retriable-status-codes`: codes added to the profile's.
    pub retriable_status_codes: Option<&'a [u8]>,
    /// `x-envoy-retriable-header-names`: response headers whose presence counts under `retriable-headers`.
    pub retriable_header_names: Option<&'a [u8]>,
    /// `x-envoy-upstream-rq-timeout-ms`: instead of the profile's; 0 lifts it.
    pub timeout_ms: Option<&'a [u8]>,
    /// `x-envoy-upstream-rq-per-try-timeout-ms`: instead of the profile's; 0 lifts it.
    pub per_try_timeout_ms: Option<&'a [u8]>,
    /// `grpc-timeout`: the limit that a gRPC client asks for.
    pub grpc_timeout: Option<&'a [u8]>,
    /// `content-type`, which tells gRPC requests.
    pub content_type: Option<&'a [u8]>,
    /// `:authority`: where a request goes that passes through.
    pub authority: Option<&'a [u8]>,
    /// What the profile's hash keys are taken from. `None`: it has none of them.
    pub source: Option<&'a Source<'a>>,
    /// A hash key in place of the profile's: the authority of a call that the filter makes itself, as Envoy has it.
    pub hash_key: Option<&'a [u8]>,
    /// Whether the head is the whole request; otherwise [`crate::Event::Received`] tells when the end has come.
    pub whole: bool,
}

impl<'a> Ask<'a> {
    /// Reads a request head once; names must be in lower case.
    pub fn read(headers: impl IntoIterator<Item = (&'a [u8], &'a [u8])>, whole: bool) -> Self {
        let mut ask = Self { whole, ..Self::default() };
        for (name, value) in headers {
            if !matches!(name, [b'x', b'-', ..] | b":authority" | b"grpc-timeout" | b"content-type") {
                continue;
            }
            if let Some(field) = ask.field(name) {
                field.get_or_insert(value);
            }
        }
        ask
    }

    fn field(&mut self, name: &[u8]) -> Option<&mut Option<&'a [u8]>> {
        match std::str::from_utf8(name).ok()? {
            CLUSTER_HEADER => Some(&mut self.cluster),
            PROFILE_HEADER => Some(&mut self.profile),
            RETRY_ON => Some(&mut self.retry_on),
            RETRY_GRPC_ON => Some(&mut self.retry_grpc_on),
            MAX_RETRIES => Some(&mut self.max_retries),
            RETRIABLE_STATUS_CODES => Some(&mut self.retriable_status_codes),
            RETRIABLE_HEADER_NAMES => Some(&mut self.retriable_header_names),
            TIMEOUT => Some(&mut self.timeout_ms),
            PER_TRY_TIMEOUT => Some(&mut self.per_try_timeout_ms),
            ":authority" => Some(&mut self.authority),
            grpc::TIMEOUT_HEADER => Some(&mut self.grpc_timeout),
            "content-type" => Some(&mut self.content_type),
            _ => None,
        }
    }
}

/// The entries of a comma-separated value, without the blanks around them; what is not UTF-8 is skipped.
pub(crate) fn list(value: Option<&[u8]>) -> impl Iterator<Item = &str> {
    value
        .unwrap_or_default()
        .split(|byte| *byte == b',')
        .filter_map(|entry| std::str::from_utf8(entry.trim_ascii()).ok())
        .filter(|entry| !entry.is_empty())
}

/// A whole number, or nothing if the value is none.
pub(crate) fn number(value: Option<&[u8]>) -> Option<u64> {
    std::str::from_utf8(value?.trim_ascii()).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decisions_and_switches_stop_at_the_router() {
        for name in STOPPED {
            assert!(!reaches_upstream(name.as_bytes()), "{name}");
        }
        for name in ["x-shunt-cluster", "X-Shunt-Anything", "x-envoy-fault-delay-request", "X-Envoy-Max-Retries"] {
            assert!(!reaches_upstream(name.as_bytes()), "{name}");
        }
    }

    #[test]
    fn other_headers_pass() {
        for name in ["host", "x", "", "x-", "x-shunt", "x-request-id", "x-envoy-attempt-count", "x-envoy-internal"] {
            assert!(reaches_upstream(name.as_bytes()), "{name}");
        }
    }

    #[test]
    fn of_a_repeated_header_the_first_value_counts() {
        let head: [(&[u8], &[u8]); 4] = [
            (b":path", b"/"),
            (b"x-shunt-cluster", b"one"),
            (b"x-shunt-cluster", b"two"),
            (b"x-envoy-retry-on", b"5xx"),
        ];
        let ask = Ask::read(head, true);
        assert_eq!(ask.cluster, Some(&b"one"[..]));
        assert_eq!(ask.retry_on, Some(&b"5xx"[..]));
        assert!(ask.profile.is_none() && ask.whole);
    }

    #[test]
    fn lists_and_numbers_forgive_blanks_and_nothing_else() {
        assert_eq!(list(Some(b" 5xx, ,reset ,\xff")).collect::<Vec<_>>(), ["5xx", "reset"]);
        assert_eq!(number(Some(b" 12 ")), Some(12));
        for bad in [&b"-1"[..], b"1.5", b"", b"ms"] {
            assert_eq!(number(Some(bad)), None);
        }
    }
}
