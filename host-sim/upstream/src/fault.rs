//! Injected faults, by the headers that Envoy's fault filter reads (`header_delay`, `header_abort`).
//!
//! The filter decides, these headers say so, and whoever hosts it obeys before it forwards: first the delay, which no timeout
//! counts, then the abort, after which nothing is forwarded, retried or mirrored.

use crate::reply::{Flags, LocalReply};
use std::time::Duration;

/// Milliseconds to wait.
const DELAY_HEADER: &str = "x-envoy-fault-delay-request";
/// HTTP status to answer with.
const ABORT_HEADER: &str = "x-envoy-fault-abort-request";
/// gRPC status to answer with.
const ABORT_GRPC_HEADER: &str = "x-envoy-fault-abort-grpc-request";

/// A fault to inject.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fault {
    /// Wait so long first.
    pub delay: Option<Duration>,
    /// Answer with this instead of forwarding.
    pub abort: Option<LocalReply>,
}

/// Envoy's answer to an aborted request.
fn aborted(status: u16, grpc_status: Option<u16>) -> LocalReply {
    let (flags, details) = (Flags::FAULT_INJECTED, "fault_filter_abort");
    LocalReply { status, body: "fault filter abort", flags, details, headers: &[], grpc_status }
}

impl Fault {
    /// What the headers ask for; names in lower case. Values that are no numbers ask for nothing, as in Envoy.
    pub fn read<'a>(headers: impl IntoIterator<Item = (&'a [u8], &'a [u8])>) -> Self {
        let mut fault = Self::default();
        for (name, value) in headers {
            // Most headers are none of these: one look at the beginning is enough.
            if !name.starts_with(b"x-envoy-fault-") {
                continue;
            }
            let Some(number) = std::str::from_utf8(value).ok().and_then(|text| text.parse::<u64>().ok()) else {
                continue;
            };
            if name == DELAY_HEADER.as_bytes() {
                fault.delay = (number > 0).then(|| Duration::from_millis(number));
            } else if name == ABORT_HEADER.as_bytes() {
                let status = u16::try_from(number).ok().filter(|status| (200..600).contains(status));
                fault.abort = status.map(|status| aborted(status, None)).or(fault.abort);
            } else if name == ABORT_GRPC_HEADER.as_bytes()
                && let Some(status) = u16::try_from(number).ok().filter(|status| *status <= 16)
            {
                // To a client that does not speak gRPC Envoy says 200 (seen on 1.40).
                fault.abort = Some(aborted(200, Some(status)));
            }
        }
        fault
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(headers: &[(&str, &str)]) -> Fault {
        Fault::read(headers.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())))
    }

    #[test]
    fn headers_ask_for_delay_and_abort() {
        let both = read(&[("a", "1"), (DELAY_HEADER, "250"), (ABORT_HEADER, "418")]);
        let abort = Some(aborted(418, None));
        assert_eq!(both, Fault { delay: Some(Duration::from_millis(250)), abort });
        let grpc = read(&[(ABORT_GRPC_HEADER, "14")]);
        assert_eq!(grpc.abort, Some(aborted(200, Some(14))));
    }

    #[test]
    fn what_is_no_number_asks_for_nothing() {
        assert_eq!(
            read(&[(DELAY_HEADER, "soon"), (ABORT_HEADER, "99"), (ABORT_GRPC_HEADER, "17"), (DELAY_HEADER, "0")]),
            Fault::default()
        );
    }
}
