//! What the engine tells whoever watches a run, and the one thing it asks: how an upstream behaves.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use host_abi::HeaderMap;
use upstream::arrival::{self, is_kept};
use upstream::referer;
use upstream::{Endpoint, Flags, Timestamp};

use crate::behaviour::Behaviour;

/// A request before it is sent.
#[derive(Clone, Debug)]
pub struct RequestSpec {
    pub(crate) head: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) timeout: Option<Duration>,
    /// The client names the request itself.
    pub(crate) has_id: bool,
    pub(crate) over_http2: bool,
}

impl RequestSpec {
    /// A request as a client sends it over plain HTTP. What a proxy drops is dropped ([`upstream::arrival::is_kept`]), what
    /// it adds is added: `x-forwarded-proto`, and, when it is sent, `x-request-id`; `content-length` where there is a body.
    /// `path` is the request target as it stands on the wire, and may be one that is refused.
    pub fn new<N, V>(
        method: &str,
        host: &str,
        path: impl AsRef<[u8]>,
        headers: impl IntoIterator<Item = (N, V)>,
        body: impl Into<Bytes>,
    ) -> Self
    where
        N: AsRef<[u8]>,
        V: AsRef<[u8]>,
    {
        let body = body.into();
        let mut head = HeaderMap::from([(":authority", host.as_bytes()), (":path", path.as_ref())]);
        head.extend([(":method", method), (":scheme", "http")]);
        for (name, value) in headers {
            if is_kept(&name.as_ref().to_ascii_lowercase()) {
                head.append(name, value);
            }
        }
        if head.get("referer").is_some_and(referer::is_removed) {
            head.remove("referer");
        }
        let mut default = |name: &str, value: &str| {
            if head.get(name).is_none() {
                head.append(name, value);
            }
        };
        default("x-forwarded-proto", "http");
        if !body.is_empty() {
            default("content-length", &body.len().to_string());
        }
        // An empty one is none, for Envoy too.
        let has_id = head.get("x-request-id").is_some_and(|id| !id.is_empty());
        Self { head, body, timeout: None, has_id, over_http2: false }
    }

    /// A GET without more.
    pub fn get(host: &str, path: &str) -> Self {
        Self::new("GET", host, path, [("", ""); 0], Bytes::new())
    }

    /// The client gives up after this time.
    #[must_use]
    pub fn with_timeout(self, timeout: Duration) -> Self {
        Self { timeout: Some(timeout), ..self }
    }

    /// It comes over HTTP/2, which `%PROTOCOL%` tells, and where any method may stand. Several cookies are crumbs of one.
    #[must_use]
    pub fn over_http2(mut self) -> Self {
        let cookie = arrival::cookie(self.head.get_all("cookie"));
        self.head.remove("cookie");
        if let Some(cookie) = cookie {
            self.head.append("cookie", cookie);
        }
        Self { over_http2: true, ..self }
    }
}

/// Which request something belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cause {
    /// The client's request, as its sender numbered it; `u64::MAX` for a callout.
    pub request: u64,
    /// The call of a service that it has led to, numbered over the whole run from 1; 0: the client's request itself.
    pub call: u64,
    /// What has led to the call was a copy, so no user has to do with it.
    pub by_copy: bool,
    /// How many calls led here, one for the sake of the other.
    pub(crate) depth: u32,
}

impl Cause {
    /// Callouts belong to no request.
    pub(crate) const CALLOUT: Self = Self::of_client(u64::MAX);

    pub(crate) const fn of_client(request: u64) -> Self {
        Self { request, call: 0, by_copy: false, depth: 0 }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.call {
            0 => write!(f, "request {}", self.request),
            call => write!(f, "call {call} (for request {})", self.request),
        }
    }
}

/// Why an upstream gets something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// An attempt to answer the client.
    Primary,
    /// A copy; nobody waits for the answer.
    Shadow,
    /// A call of the filter itself.
    Callout,
}

/// The filter has let a request go.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Decided<'a> {
    /// The request.
    pub(crate) cause: Cause,
    /// Its head as the filter left it, with the words for the host.
    pub(crate) headers: &'a HeaderMap,
    /// When.
    pub(crate) at: Timestamp,
}

/// Something arrives at an upstream.
#[derive(Clone, Copy, Debug)]
pub struct Sent<'a> {
    /// The request that caused it.
    pub cause: Cause,
    /// Whose proxy sends it: 0 for the clients', and a number of its own for each endpoint that makes calls. Endpoints are
    /// numbered anew by each.
    pub sender: usize,
    /// A number of its own.
    pub serial: u64,
    /// Why.
    pub role: Role,
    /// Which attempt it is, from 1.
    pub number: u32,
    /// Where it arrives; knows its cluster and labels.
    pub endpoint: &'a Endpoint,
    /// The head as the upstream sees it.
    pub headers: &'a HeaderMap,
    /// The body as the upstream sees it.
    pub body: &'a Bytes,
    /// When.
    pub at: Timestamp,
}

/// How an attempt ended, seen from the proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttemptEnd {
    /// With this status.
    Answered(u16),
    /// The upstream closed the connection.
    ConnectionClosed,
    /// The upstream did not accept the connection.
    Refused,
    /// The proxy stopped waiting.
    TimedOut,
    /// Nobody was there any more: the client had gone, or the filter had answered.
    Abandoned,
    /// Still waiting when the run ended.
    Waiting,
}

/// An attempt, copy or callout is over.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Over<'a> {
    pub(crate) cause: Cause,
    pub(crate) sender: usize,
    pub(crate) serial: u64,
    pub(crate) role: Role,
    pub(crate) endpoint: &'a Endpoint,
    pub(crate) took: Duration,
    /// When.
    pub(crate) at: Timestamp,
    pub(crate) end: AttemptEnd,
}

/// How a request ended for the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// With a response.
    Answered,
    /// The connection broke off.
    Reset,
    /// The client lost patience.
    GaveUp,
    /// The client was still waiting when the run ended.
    Waiting,
}

/// What a client gets, or a service for its call.
#[derive(Clone, Copy, Debug)]
pub struct Given<'a> {
    /// The request.
    pub cause: Cause,
    /// The endpoint of the service that sent it; `None`: a client did.
    pub caller: Option<&'a Endpoint>,
    /// How it ended.
    pub ended: Ended,
    /// The status, if there is a response.
    pub status: Option<u16>,
    /// The head of the response; empty if there is none.
    pub headers: &'a HeaderMap,
    /// The body of the response.
    pub body: &'a Bytes,
    /// Why the proxy answered itself, if it did: Envoy's `%RESPONSE_CODE_DETAILS%`.
    pub details: &'a str,
    /// Envoy's response flags.
    pub flags: Flags,
    /// The cluster the filter chose, known or not.
    pub cluster: Option<&'a str>,
    /// How many attempts were made.
    pub attempts: u32,
    /// When the client sent the request.
    pub begun: Timestamp,
    /// When this happened.
    pub at: Timestamp,
}

/// Whoever watches a run.
pub(crate) trait Observer {
    /// The filter has decided, and the request goes on.
    fn decided(&mut self, _: &Decided<'_>) {}
    /// Says how the upstream behaves.
    fn behave(&mut self, sent: &Sent<'_>) -> Behaviour;
    /// An attempt is over.
    fn over(&mut self, over: &Over<'_>);
    /// A client or a service has its answer, or has none and never will.
    fn given(&mut self, given: &Given<'_>);
}
