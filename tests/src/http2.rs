//! A client that speaks HTTP/2 by prior knowledge, over one connection while it lasts.

use crate::case::Request;
use crate::client::PATIENCE;
use crate::escapes;
use crate::observed::Reply;
use bytes::Bytes;
use h2::client::SendRequest;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Uri, Version};
use std::error::Error;
use std::net::SocketAddr;
use std::time::Instant;
use tokio::net::TcpStream;
use tokio::runtime::Runtime;

/// A client of one address.
pub struct Http2 {
    to: SocketAddr,
    /// The connection lives on it, and moves only while something is sent.
    runtime: Runtime,
    connection: Option<SendRequest<Bytes>>,
}

impl Http2 {
    /// A client; it connects when it sends.
    ///
    /// # Panics
    ///
    /// The system gives no more file descriptors.
    pub fn new(to: SocketAddr) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        Self { to, runtime, connection: None }
    }

    /// Sends a request and reads its response. A body is followed by trailers, and a cookie comes in crumbs.
    ///
    /// # Errors
    ///
    /// No response, or one that cannot be read.
    pub fn send(&mut self, request: &Request) -> Result<Reply, String> {
        let kept = self.connection.is_some();
        match self.exchange(request) {
            // The other side may have closed a connection that it had kept so far.
            Err(error) if kept && !is_reset(&*error) => self.exchange(request),
            result => result,
        }
        .map_err(|error| format!("no response: {error}"))
    }

    fn exchange(&mut self, request: &Request) -> Result<Reply, Box<dyn Error>> {
        let Self { to, runtime, connection } = self;
        runtime.block_on(async { tokio::time::timeout(PATIENCE, exchange(*to, connection, request)).await? })
    }
}

/// Whether it is about this request alone, and not about the connection.
fn is_reset(error: &(dyn Error + 'static)) -> bool {
    error.downcast_ref::<h2::Error>().is_some_and(h2::Error::is_reset)
}

async fn exchange(
    to: SocketAddr,
    kept: &mut Option<SendRequest<Bytes>>,
    request: &Request,
) -> Result<Reply, Box<dyn Error>> {
    let begun = Instant::now();
    let sender = match kept.take() {
        Some(sender) => sender,
        None => connect(to).await?,
    };
    let mut sender = sender.ready().await?;
    let body = request.body.as_deref().unwrap_or_default();
    let (response, mut stream) = sender.send_request(head(request)?, body.is_empty())?;
    if !body.is_empty() {
        stream.send_data(Bytes::copy_from_slice(body.as_bytes()), false)?;
        stream.send_trailers(HeaderMap::from_iter([(
            HeaderName::from_static("x-trailer"),
            HeaderValue::from_static("1"),
        )]))?;
    }
    let result = response.await;
    *kept = Some(sender);
    let (head, mut rest) = result?.into_parts();
    let mut body = Vec::new();
    while let Some(part) = rest.data().await {
        let part = part?;
        rest.flow_control().release_capacity(part.len())?;
        body.extend_from_slice(&part);
    }
    let header = |(name, value): (&HeaderName, &HeaderValue)| (name.to_string(), escapes::text(value.as_bytes()));
    let headers = head.headers.iter().map(header).collect();
    Ok(Reply { status: head.status.as_u16(), headers, body, took: begun.elapsed() })
}

async fn connect(to: SocketAddr) -> Result<SendRequest<Bytes>, Box<dyn Error>> {
    let stream = TcpStream::connect(to).await?;
    stream.set_nodelay(true)?;
    let (sender, connection) = h2::client::handshake(stream).await?;
    tokio::spawn(connection);
    Ok(sender)
}

fn head(request: &Request) -> Result<hyper::Request<()>, Box<dyn Error>> {
    let line = &request.send;
    let target = escapes::bytes(&line.target);
    let uri = Uri::builder().scheme("http").authority(line.host.as_str()).path_and_query(target.as_slice()).build()?;
    let mut head = hyper::Request::builder().version(Version::HTTP_2).method(line.method.as_str()).uri(uri).body(())?;
    let headers = head.headers_mut();
    for (name, value) in request.headers() {
        let name = HeaderName::try_from(name)?;
        let whole = name != header::COOKIE;
        let crumbs: Vec<&str> = if whole { vec![value] } else { value.split("; ").collect() };
        for crumb in crumbs {
            headers.append(&name, HeaderValue::from_bytes(&escapes::bytes(crumb))?);
        }
    }
    if let Some(body) = &request.body {
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(body.len()));
    }
    Ok(head)
}
