//! Requests, three of four made to meet a match block, and then often changed in one thing.

use super::words::{HEADERS, METHODS, ORIGINS, PATHS, QUERIES, VALUES};
use crate::asked::ASKED;
use crate::case::{Expect, Request, RequestLine, Scalar};
use crate::chance::SplitMix;
use std::collections::BTreeMap;

/// How many of a hundred requests come over HTTP/2.
const HTTP2: usize = 20;

/// A request but for its host.
#[derive(Clone, Debug)]
pub struct Sketch {
    /// The method.
    pub method: String,
    /// The path.
    pub path: String,
    /// What follows the `?`; nothing if empty.
    pub query: String,
    /// In order.
    pub headers: Vec<(String, String)>,
}

impl Sketch {
    /// Anything.
    pub fn any(draw: &mut SplitMix) -> Self {
        let mut sketch = Self {
            method: draw.pick(&METHODS).to_owned(),
            path: draw.pick(&PATHS).to_owned(),
            query: draw.pick(&QUERIES).to_owned(),
            headers: Vec::new(),
        };
        for _ in 0..draw.below(4) {
            sketch.headers.push((draw.pick(&HEADERS).to_owned(), draw.pick(&VALUES).to_owned()));
        }
        sketch
    }

    /// One thing otherwise.
    pub fn change(&mut self, draw: &mut SplitMix) {
        let other = Self::any(draw);
        match draw.below(6) {
            0 => self.method = other.method,
            1 => self.path = other.path,
            2 => self.query = other.query,
            3 if !self.headers.is_empty() => {
                self.headers.remove(draw.below(self.headers.len()));
            }
            4 if !self.headers.is_empty() => {
                let place = draw.below(self.headers.len());
                self.headers[place].1 = draw.pick(&VALUES).to_owned();
            }
            _ => self.headers.push((draw.pick(&HEADERS).to_owned(), draw.pick(&VALUES).to_owned())),
        }
    }

    /// The request, with what endpoints are asked to do and what a browser might add.
    pub fn to(mut self, host: &str, can_hang: bool, draw: &mut SplitMix) -> Request {
        if draw.percent(15) {
            self.headers.push(("origin".to_owned(), draw.pick(&ORIGINS).to_owned()));
            if draw.percent(50) {
                self.method = "OPTIONS".to_owned();
                self.headers.push(("access-control-request-method".to_owned(), draw.pick(&["GET", "PUT"]).to_owned()));
            }
        }
        let is_grpc = draw.percent(8);
        if is_grpc {
            self.method = "POST".to_owned();
            self.headers.push(("content-type".to_owned(), "application/grpc".to_owned()));
        }
        if draw.percent(if is_grpc { 80 } else { 35 }) {
            self.headers.push((ASKED.to_owned(), answers(draw, is_grpc, can_hang)));
        }
        let body = match self.method.as_str() {
            "POST" | "PUT" if !is_grpc && draw.percent(70) => Some(draw.pick(&["hello", "{\"a\": 1}", ""]).to_owned()),
            _ => None,
        };
        let target = if self.query.is_empty() { self.path } else { format!("{}?{}", self.path, self.query) };
        let header = |(name, value)| BTreeMap::from([(name, Scalar(value))]);
        Request {
            send: RequestLine { method: self.method, host: host.to_owned(), target },
            headers: self.headers.into_iter().map(header).collect(),
            body,
            http2: draw.percent(HTTP2),
            times: 1,
            expect: Expect::default(),
        }
    }
}

/// For `x-answer`: something for each attempt.
fn answers(draw: &mut SplitMix, is_grpc: bool, can_hang: bool) -> String {
    let words: &[&str] = match (is_grpc, can_hang) {
        (true, _) => &["g0", "g1", "g4", "g8", "g13", "g14", "503"],
        (false, true) => &["200", "503", "hang", "close", "504"],
        (false, false) => &["200", "201", "204", "304", "404", "409", "429", "500", "502", "503", "504", "close"],
    };
    let count = 1 + draw.below(4);
    (0..count).map(|_| draw.pick(words)).collect::<Vec<_>>().join(" ")
}
