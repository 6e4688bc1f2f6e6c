//! One connection of a client: HTTP/1.1, or HTTP/2 by prior knowledge, told apart by the first bytes.

use crate::connections::Local;
use crate::conversation;
use crate::worker::Worker;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::timeout;

/// What an HTTP/2 client says first.
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// How long to wait for the rest of a preface that has come in part.
const PREFACE_PAUSE: Duration = Duration::from_millis(5);
/// Streams that a client opened and cancelled before they were looked at; more is an attack ("rapid reset").
const RESET_STREAMS_MAX: usize = 50;

/// Serves a connection in a task of its own.
pub(crate) fn spawn(worker: Rc<Worker>, stream: TcpStream, peer: SocketAddr) {
    // Counted before the task runs, so that the limit on connections holds and draining waits for it.
    let counted = Counted::enter(Rc::clone(&worker));
    tokio::task::spawn_local(async move {
        serve(&worker, stream, peer).await;
        drop(counted);
    });
}

/// Waits until a connection has been closed.
pub(crate) async fn left(worker: &Worker) {
    worker.left.notified().await;
}

struct Counted(Rc<Worker>);

impl Counted {
    fn enter(worker: Rc<Worker>) -> Self {
        worker.outside.stats.connections.enter();
        Counted(worker)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.outside.stats.connections.leave();
        self.0.left.notify_one();
    }
}

async fn serve(worker: &Rc<Worker>, stream: TcpStream, peer: SocketAddr) {
    let Ok(local) = stream.local_addr() else { return };
    if stream.set_nodelay(true).is_err() {
        return;
    }
    let mut draining = worker.draining.subscribe();
    let limits = &worker.outside.limits;
    let speaks_http2 = tokio::select! {
        told = timeout(limits.head_timeout, speaks_http2(&stream)) => match told {
            Ok(Some(told)) => told,
            // Gone, or silent for too long.
            Ok(None) | Err(_) => return,
        },
        // Nothing was asked on it yet.
        _ = draining.wait_for(|draining| *draining) => return,
    };
    let io = TokioIo::new(stream);
    let service = {
        let worker = Rc::clone(worker);
        service_fn(move |request| conversation::answer(Rc::clone(&worker), request, peer, local))
    };
    // What ends a connection early (a client that goes away, bytes that are not HTTP) ends it alone.
    if speaks_http2 {
        let mut builder = http2::Builder::new(Local);
        let connection = builder
            .timer(TokioTimer::new())
            .max_concurrent_streams(limits.concurrent_streams)
            .max_header_list_size(u32::try_from(limits.head_bytes).unwrap_or(u32::MAX))
            .max_pending_accept_reset_streams(RESET_STREAMS_MAX)
            .keep_alive_interval(limits.head_timeout)
            .serve_connection(io, service);
        let _ = until_drained(connection, http2::Connection::graceful_shutdown, draining).await;
    } else {
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(limits.head_timeout)
            .max_header_size(limits.head_bytes)
            .serve_connection(io, service);
        let _ = until_drained(connection, http1::Connection::graceful_shutdown, draining).await;
    }
}

/// Runs a connection to its end, which comes soon once the worker drains.
async fn until_drained<C: Future>(
    connection: C,
    shut_down: impl FnOnce(Pin<&mut C>),
    mut draining: watch::Receiver<bool>,
) -> C::Output {
    let mut connection = pin!(connection);
    tokio::select! {
        result = connection.as_mut() => return result,
        _ = draining.wait_for(|draining| *draining) => {}
    }
    shut_down(connection.as_mut());
    connection.await
}

/// Whether the client begins with the preface of HTTP/2; `None` if it is gone before that is clear.
async fn speaks_http2(stream: &TcpStream) -> Option<bool> {
    let mut first = [0; PREFACE.len()];
    loop {
        let len = stream.peek(&mut first).await.ok().filter(|len| *len > 0)?;
        if PREFACE.get(..len) != first.get(..len) {
            return Some(false);
        }
        if len == PREFACE.len() {
            return Some(true);
        }
        tokio::time::sleep(PREFACE_PAUSE).await;
    }
}
