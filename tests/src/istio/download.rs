//! A file for whoever asks by HTTP, as the compiled filter is published.

use super::server::Server;
use crate::message::Reader;
use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The file at every path of an address, as long as this is there.
pub struct Download {
    asked: Arc<AtomicUsize>,
    _server: Server,
}

impl Download {
    /// Serves these bytes here.
    ///
    /// # Errors
    ///
    /// The port is taken.
    pub fn start(at: SocketAddr, bytes: Vec<u8>) -> std::io::Result<Self> {
        let asked = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&asked);
        let server = Server::start(at, move |stream, _| {
            // Whoever asked may be gone, and nobody else misses the rest.
            let _ = serve(stream, &bytes, &counted);
        })?;
        Ok(Self { asked, _server: server })
    }

    /// How often it was asked for.
    pub fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }
}

fn serve(stream: &TcpStream, bytes: &[u8], asked: &AtomicUsize) -> std::io::Result<()> {
    let mut reader = Reader::new(stream);
    let mut to = stream;
    while reader.request()?.is_some() {
        asked.fetch_add(1, Ordering::Relaxed);
        let head = "HTTP/1.1 200 OK\r\ncontent-type: application/wasm\r\n";
        write!(to, "{head}content-length: {}\r\n\r\n", bytes.len())?;
        to.write_all(bytes)?;
    }
    Ok(())
}
