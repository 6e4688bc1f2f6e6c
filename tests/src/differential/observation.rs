//! What came of one request, at both ends, in a form that two arms can be compared by.

use super::configuration;
use crate::case::Request;
use crate::observed::{Arrival, Reply, values};
use std::collections::BTreeMap;
use std::fmt::Write;

/// Tells requests apart at the endpoints; taken out before anything is compared.
pub const NUMBER: &str = "x-number";

/// Headers of responses that are not decided by rules, or not the same twice.
const UNSTABLE_BACK: [&str; 7] = [
    "date",
    "x-envoy-upstream-service-time",
    "connection",
    "transfer-encoding",
    "content-length",
    "x-request-id",
    "keep-alive",
];

/// The same of requests; a body is compared as a whole. The last one only of copies.
const UNSTABLE: [&str; 5] = ["content-length", "transfer-encoding", "connection", "x-request-id", "x-forwarded-for"];

/// What tells an upstream how much time is left: with a second attempt, some has passed.
const TIME_LEFT: [&str; 2] = ["x-envoy-expected-rq-timeout-ms", "grpc-timeout"];

/// Bodies that the filter gives to answers of its own, where Envoy gives none.
const OWN_BODY: &str = "shunt: ";

/// One request and what came of it, as lines that are the same in every arm.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Observation {
    lines: Vec<String>,
    arrivals: usize,
}

impl Observation {
    /// Of the response, or of what is said in place of one, and of what arrived.
    pub fn new(request: &Request, reply: &Result<Reply, String>, arrivals: &[Arrival]) -> Self {
        let mut lines = Vec::new();
        match reply {
            Err(_) => lines.push("no response".to_owned()),
            Ok(reply) => {
                lines.push(format!("status {}", reply.status));
                let body = String::from_utf8_lossy(&reply.body);
                let is_own = reply.from().is_none() && body.starts_with(OWN_BODY);
                // Only what has a door to the network leaves such a body out, and of Envoy only its codec for HTTP/1.
                let has_none = request.send.method == "HEAD" || [204, 304].contains(&reply.status);
                for (name, values) in sorted(&reply.headers, &UNSTABLE_BACK) {
                    let of_own_body =
                        name == "content-type" && reply.from().is_none() && (is_own || has_none || body.is_empty());
                    let is_own_message = name == "grpc-message" && values[0].starts_with(OWN_BODY);
                    if !(of_own_body || is_own_message || name == "server" && values == ["envoy"]) {
                        lines.push(format!("response {name}: {values:?}"));
                    }
                }
                lines.push(format!("response body: {}", if is_own || has_none { "" } else { &body }));
            }
        }
        let (copies, mut originals): (Vec<&Arrival>, Vec<&Arrival>) =
            arrivals.iter().partition(|arrival| is_copy(arrival));
        originals.sort_by_key(|arrival| attempt(arrival));
        let mut arrived: Vec<String> = originals.iter().map(|arrival| received(arrival)).collect();
        if configuration::is_hashed(request) && may_go_by_a_made_cookie(reply) {
            let called = called(&originals);
            for (line, (endpoint, called)) in arrived.iter_mut().zip(&called) {
                *line = line.replace(endpoint, called);
            }
            // The answer is the last attempt's.
            for line in &mut lines {
                *line = without_cookie(line);
                if let Some((endpoint, called)) = called.last() {
                    *line = line.replace(endpoint, called);
                }
            }
        }
        arrived.extend(copies.iter().map(|arrival| received(arrival)));
        arrived.sort();
        lines.extend(arrived);
        Self { lines, arrivals: arrivals.len() }
    }

    /// How many requests arrived at endpoints.
    pub fn arrivals(&self) -> usize {
        self.arrivals
    }

    /// What is in one and not in the other, for people.
    pub fn difference(&self, other: &Self) -> String {
        let mut text = String::new();
        for (sign, lines, others) in [("native  ", &self.lines, &other.lines), ("observed", &other.lines, &self.lines)]
        {
            for line in lines.iter().filter(|line| !others.contains(line)) {
                let _ = writeln!(text, "  {sign} {line}");
            }
        }
        if text.is_empty() {
            format!("  the same lines, {} and {} times\n", self.lines.len(), other.lines.len())
        } else {
            text
        }
    }
}

/// Whether the endpoint may have been chosen by a cookie that the arm made. Its value is chance, so no other arm, and no second
/// connection, chooses alike. An answer that no endpoint gave does not tell.
fn may_go_by_a_made_cookie(reply: &Result<Reply, String>) -> bool {
    reply.as_ref().map_or(true, |reply| reply.from().is_none() || values(&reply.headers, "set-cookie").next().is_some())
}

/// Each attempt's endpoint and what to call it, in their order: one that a hash may have chosen is the first, the second and so on of
/// those that are met, and when it is met again, one of these: where all have been tried, Envoy asks the ring once more. Not of
/// copies: no hash chooses where these go.
fn called(originals: &[&Arrival]) -> Vec<(&'static str, String)> {
    let mut met: Vec<&str> = Vec::new();
    let mut name = |endpoint: &'static str| {
        if !configuration::is_hash_chosen(endpoint) {
            endpoint.to_owned()
        } else if met.contains(&endpoint) {
            "one of these endpoints".to_owned()
        } else {
            met.push(endpoint);
            format!("endpoint {}", met.len())
        }
    };
    originals.iter().map(|arrival| (arrival.endpoint, name(arrival.endpoint))).collect()
}

/// A cookie that is made without its value, which is the connection's.
fn without_cookie(line: &str) -> String {
    if !line.starts_with("response set-cookie") {
        return line.to_owned();
    }
    // One cookie for each attempt that made one.
    let mut parts = line.split("session=\\\"");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |line, rest| format!("{line}session=~{}", rest.split_once("\\\"").map_or("", |(_, end)| end)))
}

/// Which attempt this is, from one.
fn attempt(arrival: &Arrival) -> u32 {
    values(&arrival.headers, "x-envoy-attempt-count").next().and_then(|count| count.parse().ok()).unwrap_or(1)
}

fn is_copy(arrival: &Arrival) -> bool {
    values(&arrival.headers, "x-envoy-internal").next().is_some()
}

fn received(arrival: &Arrival) -> String {
    let is_copy = is_copy(arrival);
    let Arrival { endpoint, method, target, authority, headers, body } = arrival;
    // To a copy Envoy adds its own address, which the others do not.
    let is_retry = attempt(arrival) != 1;
    let unstable = if is_copy { &UNSTABLE[..] } else { &UNSTABLE[..UNSTABLE.len() - 1] };
    let headers: Vec<String> = sorted(headers, unstable)
        .filter(|(name, _)| *name != NUMBER)
        .map(|(name, values)| match is_retry && TIME_LEFT.contains(&name) {
            true => format!("{name}: ~"),
            false => format!("{name}: {values:?}"),
        })
        .collect();
    format!(
        "{endpoint} got {method} {authority} {target} {{{}}} {:?}",
        headers.join(", "),
        String::from_utf8_lossy(body)
    )
}

/// By name; the values of one in their order.
fn sorted<'h>(headers: &'h [(String, String)], without: &'h [&str]) -> impl Iterator<Item = (&'h str, Vec<&'h str>)> {
    let mut by_name: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (name, value) in headers.iter().filter(|(name, _)| !without.contains(&name.as_str())) {
        // On the wire, blanks around a value mean nothing.
        by_name.entry(name).or_default().push(value.trim());
    }
    by_name.into_iter()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Attempts that met these endpoints, as they are called.
    fn met(endpoints: &[&'static str]) -> Vec<String> {
        let arrival = |endpoint: &&'static str| Arrival {
            endpoint,
            method: "GET".to_owned(),
            target: "/".to_owned(),
            authority: "h1.test".to_owned(),
            headers: Vec::new(),
            body: Vec::new(),
        };
        let arrivals: Vec<Arrival> = endpoints.iter().map(arrival).collect();
        called(&arrivals.iter().collect::<Vec<_>>()).into_iter().map(|(_, called)| called).collect()
    }

    #[test]
    fn what_chance_chose_is_told_by_its_place() {
        assert_eq!(met(&["reviews-v1", "reviews-v2"]), met(&["ratings-v1", "reviews-v1"]));
        assert_eq!(met(&["reviews-v1", "reviews-v2", "reviews-v1"]), met(&["reviews-v1", "reviews-v2", "reviews-v2"]));
    }

    /// A retry that meets the same endpoint although another is left is a difference, and so is one whose endpoint no hash chose.
    #[test]
    fn what_chance_has_no_part_in_is_told() {
        assert_ne!(met(&["reviews-v1", "reviews-v1"]), met(&["reviews-v1", "reviews-v2"]));
        assert_ne!(met(&["reviews-v1", "reviews-v2", "ratings-v1"]), met(&["reviews-v1", "reviews-v2", "reviews-v1"]));
        assert_ne!(met(&["details-v1"]), met(&["productpage-v1"]));
    }
}
