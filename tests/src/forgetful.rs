//! An application that hands on its `x-request-id` and no other header, as many do.

use crate::case::Request;
use crate::client::Client;
use crate::message::{Message, Reader};
use serde_json::{Value, json};
use std::io::Write;
use std::net::{SocketAddr, TcpListener, TcpStream};

/// Answers each request with what `say` makes of it; the threads end with the process.
pub fn serve(say: impl Fn(&Message) -> Value + Clone + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let say = say.clone();
            std::thread::spawn(move || answer(&stream, &say));
        }
    });
    address
}

fn answer(mut stream: &TcpStream, say: &impl Fn(&Message) -> Value) {
    let _ = stream.set_nodelay(true);
    let mut reader = Reader::new(stream);
    while let Ok(Some(message)) = reader.request() {
        let body = say(&message).to_string();
        let text = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        if stream.write_all(text.as_bytes()).is_err() {
            return;
        }
    }
}

/// All headers that somebody got.
pub fn seen(message: &Message) -> Value {
    json!(message.headers)
}

/// Calls each of `hosts` by way of `outbound` for each request, and tells what they answer by their names, and what it got
/// itself as `app`. What comes as `x-own-baggage` it sends as a `baggage` of its own.
pub fn application(outbound: SocketAddr, hosts: &'static [&str]) -> SocketAddr {
    serve(move |message| {
        let header = |name: &str| message.headers.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_str());
        let mut headers: Vec<_> = header("x-request-id").map(|id| ("x-request-id", id)).into_iter().collect();
        headers.extend(header("x-own-baggage").map(|own| ("baggage", own)));
        let mut told = json!({ "app": seen(message) });
        for host in hosts {
            let reply = Client::new(outbound).send(&Request::get(host, "/", &headers)).expect("an answer");
            let body = String::from_utf8_lossy(&reply.body).into_owned();
            assert_eq!(reply.status, 200, "{host}: {body}");
            told[*host] = serde_json::from_str(&body).unwrap_or(Value::String(body));
        }
        told
    })
}
