//! A client that sends what it is told, odd bytes included, over one connection while it lasts; over another one what is to
//! come by HTTP/2.

use crate::case::Request;
use crate::escapes;
use crate::http2::Http2;
use crate::message::Reader;
use crate::observed::{Reply, values};
use std::io::{ErrorKind, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// How long a response may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A client of one address.
pub struct Client {
    to: SocketAddr,
    connection: Option<(TcpStream, Reader<TcpStream>)>,
    http2: Option<Http2>,
}

impl Client {
    /// A client; it connects when it sends.
    pub fn new(to: SocketAddr) -> Self {
        Self { to, connection: None, http2: None }
    }

    /// Sends a request and reads its response.
    ///
    /// # Errors
    ///
    /// No response, or one that cannot be read.
    pub fn send(&mut self, request: &Request) -> Result<Reply, String> {
        if request.http2 {
            return self.http2.get_or_insert_with(|| Http2::new(self.to)).send(request);
        }
        let kept = self.connection.is_some();
        match self.exchange(request) {
            // The other side may have closed a connection that it had kept so far.
            Err(error)
                if kept
                    && matches!(
                        error.kind(),
                        ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset | ErrorKind::BrokenPipe
                    ) =>
            {
                self.exchange(request)
            }
            result => result,
        }
        .map_err(|error| format!("no response: {error}"))
    }

    /// As [`send`](Self::send), over HTTP/1.1, and never a second time: what the other side closes with a request under way is lost.
    ///
    /// # Errors
    ///
    /// No response, or one that cannot be read.
    pub fn send_once(&mut self, request: &Request) -> Result<Reply, String> {
        self.exchange(request).map_err(|error| format!("no response: {error}"))
    }

    fn exchange(&mut self, request: &Request) -> std::io::Result<Reply> {
        let begun = Instant::now();
        let (mut stream, mut reader) = match self.connection.take() {
            Some(connection) => connection,
            None => {
                let stream = TcpStream::connect(self.to)?;
                stream.set_nodelay(true)?;
                stream.set_read_timeout(Some(PATIENCE))?;
                let reader = Reader::new(stream.try_clone()?);
                (stream, reader)
            }
        };
        stream.write_all(&bytes(request))?;
        let message = reader.response(request.send.method == "HEAD")?;
        let took = begun.elapsed();
        let closes = values(&message.headers, "connection").any(|value| value.eq_ignore_ascii_case("close"));
        if !closes && !reader.has_rest() {
            self.connection = Some((stream, reader));
        }
        let status = message.start.0.parse().unwrap_or_default();
        Ok(Reply { status, headers: message.headers, body: message.body, took })
    }
}

/// The answer to one GET, over a connection of its own.
///
/// # Errors
///
/// As [`Client::send`].
pub fn get(to: SocketAddr, host: &str, target: &str) -> Result<Reply, String> {
    Client::new(to).send(&Request::get(host, target, &[]))
}

fn bytes(request: &Request) -> Vec<u8> {
    let line = &request.send;
    let mut bytes = Vec::new();
    let mut write = |text: &str| bytes.extend(escapes::bytes(text));
    write(&format!("{} {} HTTP/1.1\r\nHost: {}\r\n", line.method, line.target, line.host));
    request.headers().for_each(|(name, value)| write(&format!("{name}: {value}\r\n")));
    if let Some(body) = &request.body {
        write(&format!("Content-Length: {}\r\n", body.len()));
    }
    write("\r\n");
    bytes.extend(request.body.as_deref().unwrap_or_default().as_bytes());
    bytes
}
