//! Behaviour that a request asks for itself, in a header, one word for each attempt: `x-answer: 503 close 200`.
//!
//! So an endpoint needs no script of its own, and any number of requests can be under way that want different things.

use crate::case::{Answer, Behaviour, Request};
use crate::observed::{Arrival, values};

/// The header.
pub const ASKED: &str = "x-answer";

/// What the endpoint does: a status, `close`, `hang`, or `gN` for a gRPC status. 200 where nothing is asked for.
pub fn behaviour(arrival: &Arrival) -> Behaviour {
    let first = |name| values(&arrival.headers, name).next();
    let attempt: usize = first("x-envoy-attempt-count").and_then(|count| count.parse().ok()).unwrap_or(1);
    let word = first(ASKED).and_then(|words| words.split(' ').nth(attempt.saturating_sub(1))).unwrap_or("200");
    let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let mut answer = Answer { headers: vec![header("x-up", "1"), header("x-kept", "kept")], ..Answer::default() };
    match (word, word.strip_prefix('g')) {
        ("close", _) => return Behaviour::Close,
        ("hang", _) => return Behaviour::Hang,
        (_, Some(status)) => {
            answer.headers.extend([header("content-type", "application/grpc"), header("grpc-status", status)]);
        }
        (status, None) => answer.status = status.parse().unwrap_or(200),
    }
    Behaviour::Answer(answer)
}

/// The same request to an endpoint that answers 200 at once.
pub fn answered_at_once(request: &Request) -> Request {
    let mut plain = request.clone();
    for headers in &mut plain.headers {
        headers.retain(|name, _| !name.eq_ignore_ascii_case(ASKED));
    }
    plain
}
