//! What the proxy is started with, and what a reload replaces.

use envoy_plan::{Application, PathNormalization, Plan};
use host_abi::LogLevel;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// Where log lines go. Called from several threads.
pub type LogSink = Arc<dyn Fn(LogLevel, &str) + Send + Sync>;

/// How the proxy is set up; fixed for its life.
#[derive(Clone)]
pub struct Settings {
    /// Where requests are taken; port 0 is any free one ([`crate::Handle::local_addr`] tells which).
    pub listen: SocketAddr,
    /// The inbound side, if there is to be one: the same filter in front of an application.
    pub application: Option<Application>,
    /// Where the admin pages are; `None`: nowhere.
    pub admin: Option<SocketAddr>,
    /// How many threads serve, at least 1.
    pub workers: usize,
    /// What is done to the path of a request before the filter sees it.
    pub path_normalization: PathNormalization,
    /// What protects the proxy from its clients.
    pub limits: Limits,
    /// The lowest level the filter's log lines are wanted from.
    pub log_level: LogLevel,
    /// Where log lines go.
    pub log: LogSink,
}

impl Settings {
    /// One worker for each processor, no admin pages, default limits, warnings and worse on stderr.
    pub fn new(listen: SocketAddr) -> Self {
        Settings {
            listen,
            application: None,
            admin: None,
            workers: std::thread::available_parallelism().map_or(1, usize::from),
            path_normalization: PathNormalization::default(),
            limits: Limits::default(),
            log_level: LogLevel::Warn,
            log: Arc::new(to_stderr),
        }
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Settings { listen, application, admin, workers, path_normalization, limits, log_level, log: _ } = self;
        f.debug_struct("Settings")
            .field("listen", listen)
            .field("application", application)
            .field("admin", admin)
            .field("workers", workers)
            .field("path_normalization", path_normalization)
            .field("limits", limits)
            .field("log_level", log_level)
            .finish_non_exhaustive()
    }
}

/// A log line on stderr, with its level.
pub fn to_stderr(level: LogLevel, message: &str) {
    let level = match level {
        LogLevel::Trace => "trace",
        LogLevel::Debug => "debug",
        LogLevel::Info => "info",
        LogLevel::Warn => "warning",
        LogLevel::Error => "error",
        LogLevel::Critical => "critical",
    };
    eprintln!("[{level}] {message}");
}

/// Limits on what comes from the network. The defaults are Envoy's where it has one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a request head (Envoy: 60 KiB); more is answered 431.
    pub head_bytes: usize,
    /// Header fields of a request (Envoy: 100); more is answered 431.
    pub headers: usize,
    /// How long a client may take for a request head, and how long it may be silent between two requests.
    pub head_timeout: Duration,
    /// How long nothing may happen on a request before it is given up (Envoy's `stream_idle_timeout`, 5 min).
    pub stream_idle_timeout: Duration,
    /// Client connections of one worker; a further one waits until another closes.
    pub connections: usize,
    /// Requests at one time on an HTTP/2 connection of a client.
    pub concurrent_streams: u32,
    /// Bytes of a request body that are kept so that it can be sent again, that wait for a slow mirror, or that the
    /// filter may hold (Envoy: 1 MiB).
    pub buffer_bytes: usize,
    /// Copies for mirrors that one worker has under way at one time; further ones are dropped and counted.
    pub shadows: u64,
    /// How long a connection to an endpoint is kept without use.
    pub upstream_idle_timeout: Duration,
    /// Unused connections kept for each endpoint and worker.
    pub upstream_idle_connections: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            head_bytes: 60 * 1024,
            headers: 100,
            head_timeout: Duration::from_secs(60),
            stream_idle_timeout: Duration::from_secs(300),
            connections: 10_000,
            concurrent_streams: 1024,
            buffer_bytes: 1 << 20,
            shadows: 1024,
            upstream_idle_timeout: Duration::from_secs(60),
            upstream_idle_connections: 1024,
        }
    }
}

/// What is served: a reload replaces all of it at once.
#[derive(Clone, Debug)]
pub struct Deployment {
    /// What carries the filter's decisions out.
    pub plan: Arc<Plan>,
    /// What the filter reads in `on_configure`.
    pub filter_configuration: Vec<u8>,
    /// The same on the inbound side; means nothing where there is none.
    pub inbound_configuration: Vec<u8>,
}

/// Which side of the application a worker serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    /// Requests leave: the filter says where each goes.
    Outbound,
    /// Requests come in, and all go to the application.
    Inbound,
}

impl Deployment {
    /// What the filter reads on this side.
    pub(crate) fn configuration(&self, side: Side) -> &[u8] {
        match side {
            Side::Outbound => &self.filter_configuration,
            Side::Inbound => &self.inbound_configuration,
        }
    }
}
