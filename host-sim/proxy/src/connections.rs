//! Connections of one worker to endpoints, kept for later requests. HTTP/1.1 connections carry one request at a time and
//! wait in a list, last used first; HTTP/2 has one connection for all requests to an endpoint.
//!
//! A kept connection may have been closed by the endpoint meanwhile. Closed ones are dropped before use, and a request of
//! which nothing was written goes to another connection without anyone noticing. What remains is the endpoint that closes
//! while the request is on its way: that is a failure like any other, and the retry policy decides.

use crate::dns;
use crate::feed::UpstreamBody;
use crate::settings::LogSink;
use crate::tls::Contexts;
use crate::world::Said;
use envoy_plan::{PASSTHROUGH_CLUSTER, UpstreamProtocol};
use host_abi::LogLevel;
use hyper::body::Incoming;
use hyper::client::conn::{TrySendError, http1, http2};
use hyper::header::HeaderValue;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::error::Error;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::rc::Rc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use upstream::{Endpoint, Failure};

/// Spawns on the worker's own thread.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Local;

impl<F: Future + 'static> hyper::rt::Executor<F> for Local {
    fn execute(&self, task: F) {
        tokio::task::spawn_local(async {
            task.await;
        });
    }
}

/// A connection that can take a request.
#[derive(Debug)]
pub(crate) enum Sender {
    Http1(http1::SendRequest<UpstreamBody>),
    Http2(http2::SendRequest<UpstreamBody>),
}

/// An answer, or why there is none.
pub(crate) type Sent = Result<Response<Incoming>, TrySendError<Request<UpstreamBody>>>;

impl Sender {
    /// Sends a request.
    pub(crate) fn send(&mut self, request: Request<UpstreamBody>) -> Pin<Box<dyn Future<Output = Sent>>> {
        match self {
            Sender::Http1(sender) => Box::pin(sender.try_send_request(request)),
            Sender::Http2(sender) => Box::pin(sender.try_send_request(request)),
        }
    }

    fn is_ready(&self) -> bool {
        match self {
            Sender::Http1(sender) => sender.is_ready(),
            Sender::Http2(sender) => sender.is_ready(),
        }
    }

    fn is_closed(&self) -> bool {
        match self {
            Sender::Http1(sender) => sender.is_closed(),
            Sender::Http2(sender) => sender.is_closed(),
        }
    }
}

struct Idle {
    sender: Sender,
    since: Instant,
}

/// What a connection leads to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Target {
    endpoint: u64,
    /// The host that its certificate was looked at for, where that counts: no other host's requests go there.
    host: Option<HeaderValue>,
}

impl Target {
    /// Where a request to `host` leads at this endpoint.
    pub(crate) fn new(endpoint: &Endpoint, host: &HeaderValue) -> Self {
        let by_host = endpoint.tls().is_some_and(|tls| tls.server_name.is_none());
        Target { endpoint: endpoint.id(), host: by_host.then(|| host.clone()) }
    }
}

/// All connections of a worker.
pub(crate) struct Connections {
    idle: RefCell<HashMap<Target, Vec<Idle>>>,
    tls: RefCell<Contexts>,
    log: LogSink,
    said: Said,
    idle_timeout: Duration,
    idle_max: usize,
    opened: Cell<u64>,
    /// Where this proxy listens.
    own: Box<[SocketAddr]>,
}

impl Connections {
    /// `said` keeps the log from telling the same failure more than once.
    pub(crate) fn new(idle_timeout: Duration, idle_max: usize, own: &[SocketAddr], log: LogSink, said: Said) -> Self {
        let (idle, tls, opened) = (RefCell::default(), RefCell::default(), Cell::new(0));
        Connections { idle, tls, log, said, idle_timeout, idle_max, opened, own: own.into() }
    }

    /// Speaks TLS with these from now on.
    pub(crate) fn trust(&self, contexts: Contexts) {
        *self.tls.borrow_mut() = contexts;
    }

    /// How many connections were opened so far.
    pub(crate) fn opened(&self) -> u64 {
        self.opened.get()
    }

    /// A kept connection that can take a request now.
    pub(crate) fn take(&self, target: &Target) -> Option<Sender> {
        let mut all = self.idle.borrow_mut();
        let idle = all.get_mut(target)?;
        let mut place = idle.len();
        while place > 0 {
            place -= 1;
            let sender = &idle.get(place)?.sender;
            if sender.is_closed() {
                idle.remove(place);
                continue;
            }
            if let Sender::Http2(shared) = sender {
                return Some(Sender::Http2(shared.clone()));
            }
            if sender.is_ready() {
                return Some(idle.remove(place).sender);
            }
        }
        None
    }

    /// Opens a connection for a request to `host`. How long that may take the exchange limits; what it does not see (a kept connection that turned
    /// out closed) the system's own limit ends.
    ///
    /// # Errors
    ///
    /// [`Failure::Connect`] whatever went wrong; of a host that the request has named also [`Failure::Unresolved`] and
    /// [`Failure::Loop`].
    pub(crate) async fn open(&self, endpoint: Rc<Endpoint>, host: HeaderValue) -> Result<Sender, Failure> {
        let addresses = self.addresses(&endpoint).await?;
        let stream = TcpStream::connect(&addresses[..]).await.map_err(|_| Failure::Connect)?;
        stream.set_nodelay(true).map_err(|_| Failure::Connect)?;
        self.opened.set(self.opened.get() + 1);
        let target = Target::new(&endpoint, &host);
        let Some(tls) = endpoint.tls() else { return self.speak(&endpoint, target, stream).await };
        let contexts = self.tls.borrow().clone();
        match contexts.connect(tls, endpoint.protocol(), &host, stream).await {
            Ok(stream) => self.speak(&endpoint, target, stream).await,
            Err(error) => {
                let (cluster, address, port) = (endpoint.cluster(), endpoint.address(), endpoint.port());
                let message = format!("no TLS with {address}:{port} of {cluster}: {error}");
                if self.said.first_time(&message) {
                    (self.log)(LogLevel::Warn, &message);
                }
                Err(Failure::Connect)
            }
        }
    }

    async fn speak<S>(&self, endpoint: &Endpoint, target: Target, stream: S) -> Result<Sender, Failure>
    where
        S: AsyncRead + AsyncWrite + Unpin + 'static,
    {
        let failed = |_| Failure::Connect;
        let io = TokioIo::new(stream);
        match endpoint.protocol() {
            UpstreamProtocol::Http1 => {
                let (sender, connection) = http1::handshake(io).await.map_err(failed)?;
                tokio::task::spawn_local(connection);
                Ok(Sender::Http1(sender))
            }
            UpstreamProtocol::Http2 => {
                let mut builder = http2::Builder::new(Local);
                let (sender, connection) = builder.timer(TokioTimer::new()).handshake(io).await.map_err(failed)?;
                tokio::task::spawn_local(connection);
                self.keep(target, Sender::Http2(sender.clone()));
                Ok(Sender::Http2(sender))
            }
        }
    }

    /// Where to connect. Of endpoints only those are names that requests have named themselves; they are looked up here, and
    /// must not lead back.
    async fn addresses(&self, endpoint: &Endpoint) -> Result<Vec<SocketAddr>, Failure> {
        let (name, port) = (endpoint.address(), endpoint.port());
        let addresses = match name.parse::<IpAddr>() {
            Ok(address) => vec![SocketAddr::new(address, port)],
            Err(_) => {
                let found = tokio::net::lookup_host((name, port)).await.map_err(|_| Failure::Unresolved)?;
                dns::preferred(found.collect())
            }
        };
        let leads_back = |address: &SocketAddr| dns::comes_back(*address, &self.own);
        if endpoint.cluster() == PASSTHROUGH_CLUSTER && addresses.iter().any(leads_back) {
            return Err(Failure::Loop);
        }
        Ok(addresses)
    }

    /// The request on this connection is done; it may carry another.
    pub(crate) fn give_back(self: &Rc<Self>, target: Target, sender: Sender) {
        match sender {
            Sender::Http1(mut sender) if !sender.is_ready() => {
                // The connection has still to notice that the answer is over.
                let own = Rc::clone(self);
                tokio::task::spawn_local(async move {
                    if sender.ready().await.is_ok() {
                        own.keep(target, Sender::Http1(sender));
                    }
                });
            }
            Sender::Http1(sender) => self.keep(target, Sender::Http1(sender)),
            // It is kept since it was opened.
            Sender::Http2(_) => {}
        }
    }

    fn keep(&self, target: Target, sender: Sender) {
        let mut all = self.idle.borrow_mut();
        let idle = all.entry(target).or_default();
        if idle.len() < self.idle_max && !sender.is_closed() {
            idle.push(Idle { sender, since: Instant::now() });
        }
    }

    /// Drops what is closed and what was not used for too long; to be called now and then. An HTTP/2 connection is
    /// renewed after that time: requests on it are finished.
    pub(crate) fn sweep(&self) {
        let mut all = self.idle.borrow_mut();
        for idle in all.values_mut() {
            idle.retain(|idle| !idle.sender.is_closed() && idle.since.elapsed() < self.idle_timeout);
        }
        all.retain(|_, idle| !idle.is_empty());
    }

    /// How many connections are kept.
    pub(crate) fn idle(&self) -> usize {
        self.idle.borrow().values().map(Vec::len).sum()
    }
}

/// What a broken request came to, in the terms of the retry policy.
pub(crate) fn failure(error: &hyper::Error) -> Failure {
    let mut source = error.source();
    while let Some(cause) = source {
        if let Some(h2) = cause.downcast_ref::<h2::Error>() {
            return match h2.reason() {
                Some(h2::Reason::REFUSED_STREAM) => Failure::RefusedStream,
                Some(_) if h2.is_reset() => Failure::Reset { before_request: false },
                Some(h2::Reason::PROTOCOL_ERROR | h2::Reason::FRAME_SIZE_ERROR | h2::Reason::COMPRESSION_ERROR) => {
                    Failure::Protocol
                }
                _ => Failure::Disconnected { before_request: false },
            };
        }
        source = cause.source();
    }
    if error.is_parse() { Failure::Protocol } else { Failure::Disconnected { before_request: false } }
}
