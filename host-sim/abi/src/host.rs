//! What the world lends to the guest: time, chance, log, metrics, properties and callouts. All of it comes through these
//! traits, so the same compiled filter runs in virtual time and over sockets. No method blocks: an answer comes later, by
//! token, through [`Vm::callout_answered`](crate::Vm::callout_answered).

use crate::headers::HeaderMap;
use crate::metrics::MetricError;
use crate::stream::StreamId;
use crate::types::{LogLevel, MetricKind};
use std::time::Duration;

/// Time as the guest reads it.
pub trait Clock {
    /// Nanoseconds since the Unix epoch.
    fn realtime_ns(&self) -> u64;
    /// Nanoseconds since any fixed point; never goes back. Ticks and the reload back-off count by it.
    fn monotonic_ns(&self) -> u64;
}

/// Chance as the guest draws it (WASI `random_get`).
pub trait Entropy {
    /// Fills all of `bytes`.
    fn fill(&mut self, bytes: &mut [u8]);
}

/// Where the guest's log lines go.
pub trait Log {
    /// The lowest level that is wanted; lines below it never reach [`Log::log`].
    fn level(&self) -> LogLevel {
        LogLevel::Trace
    }

    /// One line of the guest, or of this crate about the guest.
    fn log(&mut self, level: LogLevel, message: &str);

    /// The guest did what harms a real Envoy; here it is kept harmless. By default a warning in the log.
    fn danger(&mut self, stream: Option<StreamId>, danger: Danger) {
        let at = stream.map_or(0, StreamId::context_id);
        self.log(LogLevel::Warn, &format!("context {at}: {danger}"));
    }

    /// The guest has crashed and is dead: over this stream, or over none, and `during` what ("in proxy_on_tick"). By default a
    /// critical line in the log.
    fn crashed(&mut self, _: Option<StreamId>, during: &str, reason: &str) {
        self.log(LogLevel::Critical, &format!("the filter crashed {during}: {reason}"));
    }
}

/// Things a guest does that would crash Envoy, or split or repeat a message. Seen on Envoy 1.40.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum Danger {
    /// Envoy crashes; here nothing happens.
    #[error("resumed the response before it has arrived (crashes Envoy)")]
    ResumeWithoutResponse,
    /// Envoy crashes; here the reply is dropped.
    #[error("sent a local reply from on_log or on_done (crashes Envoy)")]
    ReplyAfterEnd,
    /// Envoy sends the message twice or hangs; here the message goes on once, whatever the callback returns.
    #[error("resumed a stream from the callback that decides about it (Envoy sends it twice or hangs)")]
    ResumeInOwnCallback,
    /// Envoy writes the status as it is; here it becomes 500.
    #[error("sent a local reply with a status outside 200 to 599 (Envoy writes it to the client)")]
    StatusOutOfRange,
    /// Bytes spill into the next message on that connection; a host must frame the body anew.
    #[error("changed the length of a body after its content-length had left (spills into the next message in Envoy)")]
    BodyLengthChanged,
    /// A response value with CR or LF splits the response in Envoy; see [`HeaderMap::first_invalid`].
    #[error("wrote a line break into a header value (splits a response in Envoy)")]
    LineBreakInValue,
}

/// Counters, gauges and histograms. [`MetricStore`](crate::MetricStore) has Envoy's rules ready to embed.
pub trait Metrics {
    /// Makes a metric, or finds the one of that name and kind, and gives an id for it.
    fn define(&mut self, kind: MetricKind, name: &str) -> u32;
    /// Adds to a counter (only above zero) or a gauge (either way).
    fn increment(&mut self, id: u32, offset: i64) -> Result<(), MetricError>;
    /// Adds to a counter, sets a gauge, or takes a sample into a histogram.
    fn record(&mut self, id: u32, value: u64) -> Result<(), MetricError>;
    /// The value of a counter or gauge.
    fn get(&self, id: u32) -> Result<u64, MetricError>;
}

/// Attributes of the proxy, the connection and the stream.
///
/// This crate itself answers `plugin_name`, `plugin_root_id`, `plugin_vm_id`, what can be read from open header maps
/// (`request.path`, `response.code` and the like), `request.size`, `response.size`, and what the guest has set.
pub trait Properties {
    /// The value at this path, encoded as Envoy does (integers 8 bytes little endian, text raw); `stream` is `None` for a
    /// plugin context.
    fn property(&self, stream: Option<StreamId>, path: &[&[u8]]) -> Option<Vec<u8>>;
    /// The guest has set a property of a stream (filter state `wasm.<name>` in Envoy). It is kept here already; a host
    /// whose routes look at filter state wants to know.
    fn property_set(&mut self, stream: StreamId, path: &[&[u8]], value: &[u8]) {
        let _ = (stream, path, value);
    }
}

/// One HTTP call the guest wants made. Checked already: `:method`, `:path` and `:authority` are present, and a body has
/// its `content-length`.
#[derive(Debug)]
pub struct Callout<'a> {
    /// The cluster to call.
    pub cluster: &'a str,
    /// Request headers with pseudo headers.
    pub headers: HeaderMap,
    /// The whole body; may be empty.
    pub body: &'a [u8],
    /// Request trailers. Envoy accepts and never sends them.
    pub trailers: HeaderMap,
    /// How long the host waits before it answers 504 itself; `None` is for ever.
    pub timeout: Option<Duration>,
    /// The stream from whose callback the call came, if any. The call outlives it.
    pub stream: Option<StreamId>,
}

/// Why a callout cannot be begun. There is no later answer then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CalloutError {
    /// The guest sees `BadArgument`.
    #[error("no such cluster")]
    UnknownCluster,
    /// No endpoint, or the circuit breaker is full. The guest sees `InternalFailure`.
    #[error("the call cannot be sent")]
    CannotSend,
}

/// HTTP calls by the guest.
pub trait Callouts {
    /// Begins a call. The answer comes later, never from inside this method.
    fn dispatch(&mut self, token: u32, call: Callout<'_>) -> Result<(), CalloutError>;
    /// The plugin context that made the call is gone; an answer would find nobody.
    fn cancel(&mut self, token: u32) {
        let _ = token;
    }
}

/// Everything a [`Vm`](crate::Vm) needs from its surroundings.
pub trait Host: Clock + Entropy + Log + Metrics + Properties + Callouts + 'static {}

impl<T: Clock + Entropy + Log + Metrics + Properties + Callouts + 'static> Host for T {}
