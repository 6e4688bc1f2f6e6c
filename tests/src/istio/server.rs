//! A server on loopback with a thread for each connection, which ends when it is dropped.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

/// The server.
pub struct Server {
    /// Where it is, by plain HTTP.
    pub address: SocketAddr,
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Starts one here; port 0 is any free one. `serve` gets each connection, and a flag that says when all is over.
    ///
    /// # Errors
    ///
    /// The port is taken.
    pub fn start(
        at: SocketAddr,
        serve: impl Fn(&TcpStream, &AtomicBool) + Send + Sync + 'static,
    ) -> std::io::Result<Self> {
        let listener = TcpListener::bind(at)?;
        let address = listener.local_addr()?;
        let over = Arc::new(AtomicBool::new(false));
        let (shared, serve) = (Arc::clone(&over), Arc::new(serve));
        let accept = move || {
            for stream in listener.incoming() {
                if shared.load(Ordering::Relaxed) {
                    return;
                }
                let Ok(stream) = stream else { continue };
                let (shared, serve) = (Arc::clone(&shared), Arc::clone(&serve));
                std::thread::spawn(move || serve(&stream, &shared));
            }
        };
        Ok(Self { address, over, thread: Some(std::thread::spawn(accept)) })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        // Wakes the thread, which then sees that it is over.
        let _ = TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
