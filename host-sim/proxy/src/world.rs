//! What the filter sees of the world: the clock, chance, the log, its metrics, properties of the connection, and HTTP
//! calls. A call is only noted here; `callouts` makes it when the filter has returned.

use crate::clock;
use crate::random;
use crate::settings::LogSink;
use crate::worker::Outside;
use host_abi::{
    Callout, CalloutError, Callouts, Clock, Entropy, HeaderMap, Log, LogLevel, MetricError, MetricKind, MetricStore,
    Metrics, Properties, StreamId, Woken,
};
use std::cell::{Cell, RefCell};
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Waker;
use upstream::{Ask, Begun};

/// What the filter and a request's task know of each other.
pub(crate) struct Line {
    /// What happened to the stream from another stream's callback.
    pub(crate) wakeups: RefCell<VecDeque<Woken>>,
    /// Who is to be woken then.
    pub(crate) waker: Cell<Option<Waker>>,
    /// The client.
    pub(crate) peer: SocketAddr,
    /// Where it came to.
    pub(crate) local: SocketAddr,
    /// Who the request is from: not the client where that is a proxy.
    pub(crate) from: SocketAddr,
    /// `HTTP/1.1` or the like.
    pub(crate) protocol: &'static str,
    /// Attempts, once there is an answer.
    pub(crate) attempts: Cell<u32>,
}

/// An HTTP call that the filter wants made.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) token: u32,
    pub(crate) begun: Begun,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

/// Lines that a configuration has caused and that were written already: each worker says the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct Said(Arc<Mutex<BTreeSet<String>>>);

impl Said {
    /// Whether this line is new. Only asked while a configuration is read, and where a connection fails.
    pub(crate) fn first_time(&self, message: &str) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(message.to_owned())
    }

    /// Another configuration comes: its lines are to be seen.
    pub(crate) fn forget(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

/// The filter's world in one worker.
pub(crate) struct World {
    pub(crate) outside: Rc<Outside>,
    pub(crate) metrics: MetricStore,
    /// Open streams, by the number the filter knows them by.
    pub(crate) lines: HashMap<u32, Rc<Line>>,
    pub(crate) calls: Vec<Call>,
    /// A configuration is being read.
    pub(crate) configuring: bool,
    pub(crate) said: Said,
    pub(crate) log: LogSink,
    pub(crate) level: LogLevel,
}

impl Clock for World {
    fn realtime_ns(&self) -> u64 {
        clock::realtime_ns()
    }

    fn monotonic_ns(&self) -> u64 {
        self.outside.clock.monotonic_ns()
    }
}

impl Entropy for World {
    fn fill(&mut self, bytes: &mut [u8]) {
        random::fill(bytes);
    }
}

impl Log for World {
    fn level(&self) -> LogLevel {
        self.level
    }

    fn log(&mut self, level: LogLevel, message: &str) {
        if !self.configuring || self.said.first_time(message) {
            (self.log)(level, message);
        }
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
    fn property(&self, stream: Option<StreamId>, path: &[&[u8]]) -> Option<Vec<u8>> {
        let line = self.lines.get(&stream?.context_id())?;
        let number = |number: u16| u64::from(number).to_le_bytes().to_vec();
        match path {
            [b"source", b"address"] => Some(line.from.to_string().into_bytes()),
            [b"source", b"port"] => Some(number(line.from.port())),
            [b"destination", b"address"] => Some(line.local.to_string().into_bytes()),
            [b"destination", b"port"] => Some(number(line.local.port())),
            [b"connection", b"mtls"] => Some(vec![0]),
            [b"request", b"protocol"] => Some(line.protocol.as_bytes().to_vec()),
            [b"upstream", b"request_attempt_count"] => Some(u64::from(line.attempts.get()).to_le_bytes().to_vec()),
            _ => None,
        }
    }
}

impl Callouts for World {
    /// No retries but those the call asks for itself: a route's policy is not a call's.
    fn dispatch(&mut self, token: u32, call: Callout<'_>) -> Result<(), CalloutError> {
        let timeout_ms = call.timeout.map_or(0, |timeout| timeout.as_millis().max(1)).to_string();
        let asked = Ask::read(call.headers.iter(), true);
        let ask = Ask {
            cluster: Some(call.cluster.as_bytes()),
            profile: None,
            max_retries: asked.max_retries.or(Some(b"0")),
            timeout_ms: Some(timeout_ms.as_bytes()),
            hash_key: asked.authority,
            ..asked
        };
        let outside = &self.outside;
        let begun = outside.upstreams.borrow().begin(&ask, outside.clock.now(), &mut &outside.random);
        let begun = begun.map_err(|reply| match reply.details {
            "cluster_not_found" => CalloutError::UnknownCluster,
            _ => CalloutError::CannotSend,
        })?;
        self.calls.push(Call { token, begun, headers: call.headers, body: call.body.to_vec() });
        Ok(())
    }
}
