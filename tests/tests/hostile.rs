//! What no well-behaved client sends, byte by byte, at the front doors of Envoy and of the proxy: two framings of one
//! body, broken chunks, line breaks where none belong, and too much of anything. Both are to answer alike; what arrives
//! at an upstream is what was answered, and nothing that hid in it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "this is a test")]

use shunt_tests::arms::{Arm, Envoy, Proxy};
use shunt_tests::{case, process};
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// Answers hold what a client wrote, so that a line break in it would show.
const CASE: &str = "
name: hostile
about: one host, whose answers repeat a header and the path
rules:
  reviews:
  - match: [{uri: {prefix: /admin}}]
    directResponse: {status: 403}
  - headers: {response: {set: {x-echo: '%REQ(x)%', x-path: '%REQ(:path):40%'}}}
    route: [{destination: {host: reviews, subset: v1}}]
requests:
- {send: GET reviews /, expect: {from: reviews-v1}}
";

/// Nothing has come for so long: nothing more will.
const SILENCE: Duration = Duration::from_millis(300);

/// The answer to one attempt.
#[derive(Clone, Copy)]
enum Expected {
    /// By both.
    Both(u16),
    /// Where the parsers differ, and either answer is safe: Envoy's, and the proxy's.
    Each(u16, u16),
}

/// The connection is closed without an answer.
const CLOSED: u16 = 0;

use Expected::{Both, Each};

/// What is tried, its bytes and the answer.
fn attempts() -> Vec<(&'static str, Vec<u8>, Expected)> {
    let get = |rest: &[u8]| [b"GET / HTTP/1.1\r\nHost: reviews\r\n", rest, b"\r\n"].concat();
    let post = |rest: &str| format!("POST / HTTP/1.1\r\nHost: reviews\r\n{rest}").into_bytes();
    let target = |target: &str| format!("GET {target} HTTP/1.1\r\nHost: reviews\r\n\r\n").into_bytes();
    let line = |line: &str| format!("{line}\r\nHost: reviews\r\n\r\n").into_bytes();
    let hidden = "GET /hidden HTTP/1.1\r\nHost: reviews\r\n\r\n";
    let numbered =
        |form: fn(usize) -> String, count: usize, between: &str| (0..count).map(form).collect::<Vec<_>>().join(between);
    let long = |bytes: usize| "a".repeat(bytes);
    let header = |name: &str, value: &str| get(format!("{name}: {value}\r\n").as_bytes());
    vec![
        ("a plain request", get(b""), Both(200)),
        ("two in a row", [get(b""), get(b"")].concat(), Both(200)),
        // Framing.
        (
            "length, then chunks",
            post(&format!("Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{hidden}")),
            Each(400, 200),
        ),
        (
            "chunks, then length",
            post(&format!("Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n{hidden}")),
            Each(400, 200),
        ),
        (
            "two lengths",
            post(&format!("Content-Length: 0\r\nContent-Length: {}\r\n\r\n{hidden}", hidden.len())),
            Both(400),
        ),
        ("one length twice", post("Content-Length: 4\r\nContent-Length: 4\r\n\r\nabcd"), Each(400, 200)),
        ("a list of lengths", post("Content-Length: 4, 4\r\n\r\nabcd"), Both(400)),
        ("a length with a sign", post("Content-Length: +4\r\n\r\nabcd"), Both(400)),
        ("a negative length", post("Content-Length: -1\r\n\r\nabcd"), Both(400)),
        ("a hexadecimal length", post("Content-Length: 0x4\r\n\r\nabcd"), Both(400)),
        ("a length beyond all numbers", post("Content-Length: 99999999999999999999999\r\n\r\nabcd"), Both(400)),
        (
            "a coding nobody knows",
            post(&format!("Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n{hidden}")),
            Each(501, 400),
        ),
        ("compressed chunks", post(&format!("Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n{hidden}")), Both(501)),
        ("no coding", post("Transfer-Encoding: identity\r\n\r\n"), Each(501, 400)),
        (
            "chunks of chunks",
            post("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
            Both(501),
        ),
        ("a blank before the colon", post(&format!("Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n{hidden}")), Both(400)),
        (
            "a chunk size that is none",
            post("Transfer-Encoding: chunked\r\n\r\nzz\r\nabc\r\n0\r\n\r\n"),
            Each(400, CLOSED),
        ),
        ("a negative chunk size", post("Transfer-Encoding: chunked\r\n\r\n-1\r\nabc\r\n0\r\n\r\n"), Each(400, CLOSED)),
        (
            "a chunk size beyond all numbers",
            post("Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\nabc\r\n0\r\n\r\n"),
            Each(400, CLOSED),
        ),
        // Lines.
        ("a carriage return in a value", get(b"x: a\rset-cookie: evil\r\n"), Each(200, 400)),
        ("a line feed in a value", get(b"x: a\nset-cookie: evil\r\n"), Both(200)),
        ("a folded line", get(b"x: a\r\n set-cookie: evil\r\n"), Each(200, 400)),
        ("a zero byte in a value", get(b"x: a\0b\r\n"), Both(400)),
        ("a zero byte in a name", get(b"x\0: ab\r\n"), Both(400)),
        ("a control character in a value", get(b"x: a\x01b\r\n"), Both(400)),
        ("a blank in a name", get(b"x y: ab\r\n"), Both(400)),
        ("no name", get(b": ab\r\n"), Both(400)),
        ("no colon", get(b"abc\r\n"), Both(400)),
        ("a pseudo header", get(b":path: /admin\r\n"), Both(400)),
        (
            "a blank before the first header",
            b"GET / HTTP/1.1\r\n Host: ratings\r\nHost: reviews\r\n\r\n".to_vec(),
            Both(400),
        ),
        ("bytes that are no text in a value", get(b"x: \xff\xfe\r\n"), Both(200)),
        ("bytes that are no text in a name", get(b"x\xff: a\r\n"), Both(400)),
        ("bytes that are no text in Host", b"GET / HTTP/1.1\r\nHost: reviews\xff\r\n\r\n".to_vec(), Both(400)),
        ("a control character in the path", target("/\x01"), Both(400)),
        ("a blank in Host", b"GET / HTTP/1.1\r\nHost: reviews x\r\n\r\n".to_vec(), Both(400)),
        ("a path in Host", b"GET / HTTP/1.1\r\nHost: reviews/../x\r\n\r\n".to_vec(), Both(400)),
        ("no Host", b"GET / HTTP/1.1\r\n\r\n".to_vec(), Both(400)),
        // Versions.
        ("the first version", line("GET / HTTP/1.0"), Both(426)),
        ("no version", b"GET /\r\n\r\n".to_vec(), Each(426, 400)),
        ("another version", line("GET / HTTP/1.2"), Each(426, 400)),
        ("the next version in words", line("GET / HTTP/2.0"), Each(426, 400)),
        ("no HTTP at all", b"\x16\x03\x01\x00\xff\r\n\r\n".to_vec(), Both(400)),
        ("a tunnel", b"CONNECT reviews:80 HTTP/1.1\r\nHost: reviews:80\r\n\r\n".to_vec(), Each(404, 405)),
        (
            "an upgrade to what is not offered",
            get(b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n"),
            Both(200),
        ),
        // Too much.
        ("a header of 60 KiB", header("x", &long(60 << 10)), Both(431)),
        ("a header just below", header("y", &long((60 << 10) - 300)), Both(200)),
        ("a path of 60 KiB", target(&format!("/{}", long(60 << 10))), Both(431)),
        ("a path just below", target(&format!("/{}", long((60 << 10) - 300))), Both(200)),
        ("a forbidden path of 50 KiB", target(&format!("/admin{}", "/x".repeat(25 << 10))), Both(403)),
        ("10,000 steps back to a forbidden path", target(&format!("{}/../admin", "/x/..".repeat(10_000))), Both(403)),
        (
            "1,000 query parameters",
            target(&format!("/?{}", numbered(|number| format!("k{number}=v"), 1000, "&"))),
            Both(200),
        ),
        (
            "1,000 cookies in a line",
            header("cookie", &numbered(|number| format!("k{number}=v"), 1000, "; ")),
            Both(200),
        ),
        (
            "1,000 lines of cookies",
            get(numbered(|number| format!("cookie: k{number}=v\r\n"), 1000, "").as_bytes()),
            Both(431),
        ),
        ("100 headers", get(numbered(|number| format!("x{number}: v\r\n"), 99, "").as_bytes()), Both(200)),
        ("101 headers", get(numbered(|number| format!("x{number}: v\r\n"), 100, "").as_bytes()), Both(431)),
        ("a method of 100 letters", line(&format!("{} / HTTP/1.1", "A".repeat(100))), Both(400)),
    ]
}

/// Everything the other side answers, until it closes or says nothing more.
fn exchange(to: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(to).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    // The other side may close before it has read all.
    let _ = stream.write_all(bytes);
    let (mut answer, mut buffer) = (Vec::new(), [0; 16 << 10]);
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(length) => answer.extend_from_slice(&buffer[..length]),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => break,
            Err(_) => break,
        }
        stream.set_read_timeout(Some(SILENCE)).unwrap();
    }
    String::from_utf8_lossy(&answer).into_owned()
}

fn run(arm: &dyn Arm) {
    let [case] = &case::read("hostile", CASE).unwrap()[..] else { panic!("one case") };
    let mut running = arm.start(case).unwrap_or_else(|error| panic!("{error}"));
    let at = running.address().expect("a host with sockets");
    let mut wrong = Vec::new();
    for (what, bytes, expected) in attempts() {
        let expected = match expected {
            Both(status) => status,
            Each(envoy, proxy) => {
                if arm.name() == "envoy" {
                    envoy
                } else {
                    proxy
                }
            }
        };
        let answer = exchange(at, &bytes);
        let statuses: Vec<_> = answer.split("HTTP/1.").skip(1).filter_map(|rest| rest.get(2..5)).collect();
        let sent = bytes.windows(6).filter(|part| part == b"GET / ").count().max(1);
        let (answers, arrivals) = match expected {
            CLOSED => (0, 0),
            200 => (sent, sent),
            _ => (1, 0),
        };
        if statuses != vec![expected.to_string(); answers] {
            wrong.push(format!("{what}: expected {expected}, observed {statuses:?}"));
        }
        let lines = answer.lines().map(|line| line.trim().to_ascii_lowercase());
        wrong
            .extend(lines.filter(|line| line.starts_with("set-cookie")).map(|line| format!("{what}: the line {line}")));
        let arrived = running.arrivals(arrivals);
        if arrived.len() != arrivals {
            let targets: Vec<_> = arrived.iter().map(|arrival| (&arrival.method, &arrival.target)).collect();
            wrong.push(format!("{what}: an upstream received {targets:?}"));
        }
    }
    let last = running.send(&case.requests[0]).map(|reply| reply.status);
    assert_eq!(last, Ok(200), "what is good is served as ever");
    assert!(wrong.is_empty(), "{}:\n{}\n{}", arm.name(), wrong.join("\n"), running.log());
}

#[test]
fn proxy() {
    run(&Proxy::new(process::shunt().unwrap_or_else(|error| panic!("{error}"))));
}

#[test]
fn envoy() {
    let Some(envoy) = process::envoy() else {
        return process::skipped("hostile clients of Envoy", "no Envoy: name one in ENVOY, or run `make test`");
    };
    let arm = process::shunt().and_then(|shunt| Envoy::new(shunt, envoy));
    run(&arm.unwrap_or_else(|error| panic!("{error}")));
}
