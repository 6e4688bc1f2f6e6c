//! The ways an attempt can end without an answer, and what Envoy says of each when it was the last.

use crate::reply::{Flags, LocalReply};

/// How an attempt ended without a response head, or how a response broke off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Failure {
    /// The connection could not be opened: refused, unreachable, no such host.
    Connect,
    /// The connection did not open in time. The exchange notices by itself when woken; a host need not report it.
    ConnectTimeout,
    /// The attempt's own time was over. The exchange notices by itself when woken; a host need not report it.
    AttemptTimeout,
    /// The upstream closed the connection, also with an empty reply.
    Disconnected {
        /// Nothing of the request had been sent.
        before_request: bool,
    },
    /// The upstream reset the stream, not the connection (HTTP/2).
    Reset {
        /// Nothing of the request had been sent.
        before_request: bool,
    },
    /// The upstream refused the stream without looking at it (HTTP/2 `REFUSED_STREAM`).
    RefusedStream,
    /// What came was not HTTP.
    Protocol,
    /// More is under way than the cluster allows. The exchange notices by itself; it is never tried again.
    Overflow,
    /// The host that the request names cannot be looked up. It is never tried again: in Envoy the router never hears of it.
    Unresolved,
    /// The host that the request names is this one. It is never tried again.
    Loop,
}

/// The two bodies and the two details of a reset reason.
struct Texts {
    first: &'static str,
    retried: &'static str,
    before_answer: &'static str,
    after_answer: &'static str,
}

macro_rules! texts {
    ($reason:literal, $detail:literal) => {
        Texts {
            first: concat!("upstream connect error or disconnect/reset before headers. reset reason: ", $reason),
            retried: concat!(
                "upstream connect error or disconnect/reset before headers. retried and the latest reset reason: ",
                $reason
            ),
            before_answer: concat!("upstream_reset_before_response_started{", $detail, "}"),
            after_answer: concat!("upstream_reset_after_response_started{", $detail, "}"),
        }
    };
}

impl Failure {
    /// Whether the upstream cannot have seen any of the request.
    pub(crate) const fn is_before_request(self) -> bool {
        match self {
            Self::Connect | Self::ConnectTimeout | Self::Overflow | Self::Unresolved | Self::Loop => true,
            Self::Disconnected { before_request } | Self::Reset { before_request } => before_request,
            Self::AttemptTimeout | Self::RefusedStream | Self::Protocol => false,
        }
    }

    /// The answer when it cannot be retried; `retried` if it was not the first attempt.
    pub(crate) const fn reply(self, retried: bool) -> LocalReply {
        match self {
            Self::AttemptTimeout => return LocalReply::PER_TRY_TIMEOUT,
            Self::Unresolved => return LocalReply::DNS_RESOLUTION_FAILURE,
            Self::Loop => return LocalReply::LOOP,
            _ => {}
        }
        let texts = self.texts();
        LocalReply {
            status: if matches!(self, Self::Protocol) { 502 } else { 503 },
            body: if retried { texts.retried } else { texts.first },
            flags: self.flags(),
            details: texts.before_answer,
            headers: if matches!(self, Self::Overflow) { LocalReply::OVERLOADED } else { &[] },
            grpc_status: None,
        }
    }

    /// The details when a response that has begun breaks off.
    pub(crate) const fn abort_details(self) -> &'static str {
        self.texts().after_answer
    }

    /// The response flag.
    pub(crate) const fn flags(self) -> Flags {
        match self {
            Self::Connect | Self::ConnectTimeout => Flags::UPSTREAM_CONNECTION_FAILURE,
            Self::AttemptTimeout => Flags::UPSTREAM_TIMEOUT,
            Self::Disconnected { .. } => Flags::UPSTREAM_CONNECTION_TERMINATION,
            Self::Reset { .. } | Self::RefusedStream => Flags::UPSTREAM_REMOTE_RESET,
            Self::Protocol => Flags::UPSTREAM_PROTOCOL_ERROR,
            Self::Unresolved => Flags::DNS_RESOLUTION_FAILED,
            Self::Overflow => Flags::UPSTREAM_OVERFLOW,
            Self::Loop => Flags::NONE,
        }
    }

    const fn texts(self) -> Texts {
        match self {
            // The last two happen before anything is sent, and are worded elsewhere.
            Self::Connect | Self::Unresolved | Self::Loop => {
                texts!("remote connection failure", "remote_connection_failure")
            }
            Self::Overflow => texts!("overflow", "overflow"),
            Self::ConnectTimeout => texts!("connection timeout", "connection_timeout"),
            Self::AttemptTimeout => texts!("local reset", "local_reset"),
            Self::Disconnected { .. } => texts!("connection termination", "connection_termination"),
            Self::Reset { .. } => texts!("remote reset", "remote_reset"),
            Self::RefusedStream => texts!("remote refused stream reset", "remote_refused_stream_reset"),
            Self::Protocol => texts!("protocol error", "protocol_error"),
        }
    }
}
