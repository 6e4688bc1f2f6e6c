//! The open load of a scenario in real time: each request has its moment, whether or not earlier ones are answered.

use super::story::{Arrivals, Kind, Load, uniform};
use crate::chance::SplitMix;
use crate::message::Reader;
use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// One request's end.
#[derive(Clone, Copy, Debug)]
pub(super) struct Answered {
    /// `None`: the connection broke.
    pub(super) status: Option<u16>,
    /// From the connection's opening to the end of the body.
    pub(super) took: Duration,
}

/// Sends the load for so long, and waits for all answers.
pub(super) fn send(load: &Load, to: SocketAddr, lasting: Duration, seed: u64) -> Result<Vec<Answered>, String> {
    let Load { open, requests } = load;
    let [kind] = requests.as_slice() else { return Err("only one kind of request is played in real time".to_owned()) };
    let (head, mut chance) = (head(kind), SplitMix::new(seed));
    let (begun, mut at) = (Instant::now(), Duration::ZERO);
    let mut sent: Vec<JoinHandle<Answered>> = Vec::new();
    loop {
        let gaps = match open.arrivals {
            Arrivals::Constant => 1.0,
            Arrivals::Poisson => -uniform(&mut chance).ln(),
        };
        at += Duration::from_secs_f64(gaps / open.rate_per_second);
        if at >= lasting {
            break;
        }
        std::thread::sleep(at.saturating_sub(begun.elapsed()));
        let head = head.clone();
        sent.push(std::thread::spawn(move || ask(to, &head)));
    }
    sent.into_iter().map(|answer| answer.join().map_err(|_| "a client panicked".to_owned())).collect()
}

fn head(kind: &Kind) -> Vec<u8> {
    let Kind { method, host, path, headers, body } = kind;
    let mut text = format!("{method} {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n");
    for (name, value) in headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    text.push_str(&format!("content-length: {}\r\n\r\n{body}", body.len()));
    text.into_bytes()
}

fn ask(to: SocketAddr, request: &[u8]) -> Answered {
    let begun = Instant::now();
    let answer = TcpStream::connect(to).and_then(|mut stream| {
        stream.set_nodelay(true)?;
        stream.write_all(request)?;
        Reader::new(stream).response(false)
    });
    let status = answer.ok().and_then(|message| message.start.0.parse().ok());
    Answered { status, took: begun.elapsed() }
}
