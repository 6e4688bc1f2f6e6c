//! The guest's surroundings: a clock that the engine sets, chance from the seed, a log that is kept.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use envoy_plan::Plan;
use host_abi::{
    Callout, CalloutError, Callouts, Clock, Entropy, HeaderMap, Log, LogLevel, MetricError, MetricKind, MetricStore,
    Metrics, Properties, StreamId,
};

use crate::chance::Chance;

/// Virtual time begins on 1 January 2026, 00:00 UTC.
const EPOCH_NS: u64 = 1_767_225_600_000_000_000;

/// Different lines that are kept; more are counted under the last.
const LINES_MAX: usize = 100;

/// What the guest sees around it.
pub(crate) struct World {
    /// Nanoseconds since the start of the run; the engine sets it, for all worlds at once.
    clock: Arc<AtomicU64>,
    pub(crate) plan: Arc<Plan>,
    /// Calls of the guest that wait for the engine.
    pub(crate) calls: Vec<Call>,
    pub(crate) lines: Lines,
    /// What the guest died of, until the engine has told.
    pub(crate) crash: Option<Crash>,
    /// How requests came, as long as they are under way.
    pub(crate) connections: BTreeMap<StreamId, Connection>,
    chance: Chance,
    metrics: MetricStore,
}

/// The end of a guest.
#[derive(Debug)]
pub(crate) struct Crash {
    pub(crate) stream: Option<StreamId>,
    /// Said after "the filter crashed".
    pub(crate) during: String,
    /// In a line; the log has all of it.
    pub(crate) reason: String,
}

/// How a request came.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Connection {
    pub(crate) over_http2: bool,
    /// Who sent it, as `x-forwarded-for` says where there is one.
    pub(crate) client: SocketAddr,
    /// Attempts so far.
    pub(crate) attempts: u32,
}

/// An HTTP call of the guest.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) token: u32,
    pub(crate) cluster: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) timeout: Option<Duration>,
}

/// Log lines in the order in which each came first, with how often it came.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    pub(crate) all: Vec<(LogLevel, String, u64)>,
}

impl Lines {
    fn add(&mut self, level: LogLevel, message: &str) {
        if let Some((.., count)) = self.all.iter_mut().find(|(own, text, _)| *own == level && text == message) {
            *count += 1;
        } else if self.all.len() < LINES_MAX {
            self.all.push((level, message.to_owned(), 1));
        } else if let Some((_, text, count)) = self.all.last_mut() {
            "(and others)".clone_into(text);
            *count += 1;
        }
    }
}

impl World {
    pub(crate) fn new(plan: Arc<Plan>, clock: Arc<AtomicU64>, chance: Chance) -> Self {
        Self {
            clock,
            plan,
            calls: Vec::new(),
            lines: Lines::default(),
            crash: None,
            connections: BTreeMap::new(),
            chance,
            metrics: MetricStore::new(),
        }
    }

    pub(crate) fn metrics(&self) -> &MetricStore {
        &self.metrics
    }
}

impl Clock for World {
    fn realtime_ns(&self) -> u64 {
        EPOCH_NS.saturating_add(self.monotonic_ns())
    }

    fn monotonic_ns(&self) -> u64 {
        self.clock.load(Ordering::Relaxed)
    }
}

impl Entropy for World {
    fn fill(&mut self, bytes: &mut [u8]) {
        self.chance.fill(bytes);
    }
}

impl Log for World {
    fn level(&self) -> LogLevel {
        LogLevel::Info
    }

    fn log(&mut self, level: LogLevel, message: &str) {
        self.lines.add(level, message);
    }

    /// Without the number of the stream, so that the same danger counts as one line.
    fn danger(&mut self, _: Option<StreamId>, danger: host_abi::Danger) {
        self.lines.add(LogLevel::Warn, &danger.to_string());
    }

    fn crashed(&mut self, stream: Option<StreamId>, during: &str, reason: &str) {
        self.lines.add(LogLevel::Critical, &format!("the filter crashed {during}: {reason}"));
        // The cause of causes stands last, behind where it happened.
        let reason = reason.lines().map(str::trim).rfind(|line| !line.is_empty()).unwrap_or_default().to_owned();
        self.crash = Some(Crash { stream, during: during.to_owned(), reason });
    }
}

impl Metrics for World {
    fn define(&mut self, kind: MetricKind, name: &str) -> u32 {
        self.metrics.define(kind, name)
    }

    fn increment(&mut self, id: u32, offset: i64) -> Result<(), MetricError> {
        self.metrics.increment(id, offset)
    }

    fn record(&mut self, id: u32, value: u64) -> Result<(), MetricError> {
        self.metrics.record(id, value)
    }

    fn get(&self, id: u32) -> Result<u64, MetricError> {
        self.metrics.get(id)
    }
}

impl Properties for World {
    /// host-abi answers what can be read from the stream.
    fn property(&self, stream: Option<StreamId>, path: &[&[u8]]) -> Option<Vec<u8>> {
        let Connection { over_http2, client, attempts } = *self.connections.get(&stream?)?;
        match path {
            [b"request", b"protocol"] => Some(if over_http2 { "HTTP/2" } else { "HTTP/1.1" }.into()),
            [b"source", b"address"] => Some(client.to_string().into()),
            [b"upstream", b"request_attempt_count"] => Some(u64::from(attempts).to_le_bytes().into()),
            _ => None,
        }
    }
}

impl Callouts for World {
    fn dispatch(&mut self, token: u32, call: Callout<'_>) -> Result<(), CalloutError> {
        let cluster = self.plan.clusters.get(call.cluster).ok_or(CalloutError::UnknownCluster)?;
        if cluster.endpoints.is_empty() {
            return Err(CalloutError::CannotSend);
        }
        self.calls.push(Call {
            token,
            cluster: call.cluster.to_owned(),
            headers: call.headers,
            body: Bytes::copy_from_slice(call.body),
            timeout: call.timeout,
        });
        Ok(())
    }
}
