//! Answers to HTTP calls of the guest.

use crate::headers::HeaderMap;
use bytes::Bytes;

/// What came back, or that nothing did.
#[derive(Clone, Debug, Default)]
pub struct CalloutAnswer {
    /// Response headers with `:status`; empty after a failure.
    pub headers: HeaderMap,
    /// The whole body.
    pub body: Bytes,
    /// Response trailers.
    pub trailers: HeaderMap,
    pub(crate) failed: bool,
}

impl CalloutAnswer {
    /// An answer of some status. A refused connection is a 503 and a timeout a 504, as Envoy's router writes them.
    pub fn new(headers: HeaderMap, body: impl Into<Bytes>) -> Self {
        CalloutAnswer { headers, body: body.into(), ..CalloutAnswer::default() }
    }

    /// The call broke off without any status (in Envoy: an answer above 32 MiB): no headers, no body, status
    /// (11, "reset").
    pub fn failed() -> Self {
        CalloutAnswer { failed: true, ..CalloutAnswer::default() }
    }
}

/// `proxy_get_status` after a failed call: BrokenConnection and Envoy's word for it.
pub(crate) const BROKEN: (u32, &str) = (11, "reset");
