//! The fleet as real servers on loopback. Each records what it receives and answers by the case's script.

use crate::case::{Behaviour, Case};
use crate::fleet::{self, DOWN, Fleet, Scripts};
use crate::message::{Message, Reader};
use crate::observed::Arrival;
use socket2::{Domain, Socket, Type};
use std::io::{ErrorKind, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How long copies may take to arrive.
const PATIENCE: Duration = Duration::from_secs(3);

/// Nothing has arrived for so long: nothing more will.
const QUIET: Duration = Duration::from_millis(100);

/// All servers of one case.
pub struct Servers {
    /// Where they are.
    pub fleet: Fleet,
    shared: Arc<Shared>,
    threads: Vec<(SocketAddr, JoinHandle<()>)>,
    /// Keeps the port of [`DOWN`], so that no other server gets it.
    _down: Socket,
}

struct Shared {
    scripts: Mutex<Scripts>,
    arrivals: Mutex<Vec<Arrival>>,
    over: AtomicBool,
}

impl Servers {
    /// Starts every endpoint on a free port but [`DOWN`], whose port is taken and not listened on.
    pub fn start(case: &Case) -> Self {
        let shared = Arc::new(Shared {
            scripts: Mutex::new(Scripts::new(case)),
            arrivals: Mutex::default(),
            over: AtomicBool::new(false),
        });
        let mut fleet = Fleet::imaginary();
        let mut threads = Vec::new();
        let down = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        down.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).expect("a free port");
        for (name, at) in &mut fleet.0 {
            if *name == DOWN {
                *at = down.local_addr().ok().and_then(|at| at.as_socket()).expect("an address");
                continue;
            }
            let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
            *at = listener.local_addr().expect("an address");
            let (name, shared) = (*name, Arc::clone(&shared));
            threads.push((*at, std::thread::spawn(move || accept(name, &listener, &shared))));
        }
        Self { fleet, shared, threads, _down: down }
    }

    /// What has arrived since last asked. Waits until `expected` are there, and if `late` ones may come, until none
    /// has come for a while.
    pub fn arrivals(&self, expected: usize, late: bool) -> Vec<Arrival> {
        let begun = Instant::now();
        let count = || self.shared.arrivals.lock().expect("no panic in a server").len();
        while count() < expected && begun.elapsed() < PATIENCE {
            std::thread::sleep(Duration::from_millis(1));
        }
        while late && begun.elapsed() < PATIENCE {
            let before = count();
            std::thread::sleep(QUIET);
            if count() == before {
                break;
            }
        }
        std::mem::take(&mut *self.shared.arrivals.lock().expect("no panic in a server"))
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::Relaxed);
        for (at, thread) in self.threads.drain(..) {
            // Wakes the thread, which then sees that it is over.
            let _ = TcpStream::connect(at);
            let _ = thread.join();
        }
    }
}

fn accept(name: &'static str, listener: &TcpListener, shared: &Arc<Shared>) {
    for stream in listener.incoming() {
        if shared.over.load(Ordering::Relaxed) {
            return;
        }
        let Ok(stream) = stream else { continue };
        let shared = Arc::clone(shared);
        std::thread::spawn(move || serve(name, &stream, &shared));
    }
}

/// One connection; whatever ends it ends it silently, as the other side tells of it.
fn serve(name: &'static str, stream: &TcpStream, shared: &Shared) {
    let _ = stream.set_nodelay(true);
    let mut reader = Reader::new(stream);
    while let Ok(Some(message)) = reader.request() {
        let method = message.start.0.clone();
        let behaviour = {
            // The script goes on in the order in which arrivals are recorded.
            let mut scripts = shared.scripts.lock().expect("no panic in a server");
            let arrival = arrival(name, message);
            let behaviour = scripts.next(&arrival);
            shared.arrivals.lock().expect("no panic in a server").push(arrival);
            behaviour
        };
        let answer = match behaviour {
            Behaviour::Answer(answer) => answer,
            Behaviour::Close => return,
            Behaviour::Hang => return wait_for_end(stream, shared),
        };
        std::thread::sleep(answer.after);
        let (headers, body) = fleet::written(name, &answer);
        let mut text = format!("HTTP/1.1 {} Scripted\r\n", answer.status).into_bytes();
        for (name, value) in &headers {
            text.extend([name.as_bytes(), b": ", value, b"\r\n"].concat());
        }
        let bodiless = answer.status == 204 || answer.status == 304;
        if !bodiless {
            text.extend(format!("content-length: {}\r\n", body.len()).as_bytes());
        }
        text.extend(b"\r\n");
        if !bodiless && method != "HEAD" {
            text.extend(body.as_bytes());
        }
        let mut to = stream;
        if to.write_all(&text).is_err() {
            return;
        }
    }
}

/// Keeps the connection open until the other side closes it.
fn wait_for_end(stream: &TcpStream, shared: &Shared) {
    let _ = stream.set_read_timeout(Some(Duration::from_millis(50)));
    let mut buffer = [0; 1024];
    while !shared.over.load(Ordering::Relaxed) {
        match std::io::Read::read(&mut &*stream, &mut buffer) {
            Ok(0) => return,
            Ok(_) => {}
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(_) => return,
        }
    }
}

fn arrival(endpoint: &'static str, message: Message) -> Arrival {
    let Message { start: (method, target), mut headers, body } = message;
    let authority = headers.iter().find(|(name, _)| name == "host").map(|(_, host)| host.clone()).unwrap_or_default();
    headers.retain(|(name, _)| name != "host");
    Arrival { endpoint, method, target, authority, headers, body }
}
