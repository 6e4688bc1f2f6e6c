//! What a case expects against what an arm observed, as lines for people.

use crate::case::{Expect, Expected, HeaderValues, Pause, Request, Seen};
use crate::chance;
use crate::escapes;
use crate::fleet::{self, means};
use crate::observed::{Arrival, Reply, values};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::time::Duration;

/// Headers between filter and Envoy; no upstream may see them.
const INTERNAL: [&str; 2] = ["x-shunt-", "x-envoy-fault-"];

/// In `shares`: the host answered by itself.
const HOST: &str = "host";

/// How much earlier than expected a response may come in real time: Envoy counts from the last turn of its loop, so on a
/// busy machine its 300 ms were seen to take 294.6.
const EARLY_MAX: Duration = Duration::from_millis(40);

/// Every difference for one request, sent as often as it says. `slack` is how much later than expected a response may
/// come.
pub fn differences(request: &Request, replies: &[Reply], arrivals: &[Arrival], slack: Duration) -> Vec<String> {
    let mut found = Vec::new();
    let Request { expect, times, .. } = request;
    let Expect { status, from, hits, seen, seen_by, response, alike, body, takes, shares, mirrored, meets: _ } = expect;
    for reply in replies {
        one_of(&mut found, "status", &[*status], &reply.status);
        if shares.is_none() {
            let fits = match (from.as_deref(), reply.from()) {
                (Some(name), Some(endpoint)) => means(name, endpoint),
                (None, None) => true,
                // Who answers may be left open where only the counts matter.
                (None, Some(_)) => hits.is_some(),
                (Some(_), None) => false,
            };
            if !fits {
                differ(&mut found, "from", &from.as_deref().unwrap_or("the host itself"), &reply.from());
            }
        }
        for (name, expected) in response {
            let observed: Vec<_> = values(&reply.headers, name).collect();
            same(&mut found, &format!("response header {name}"), expected, &observed);
        }
        let text = String::from_utf8_lossy(&reply.body);
        if let Some(part) = body.as_ref().filter(|part| !text.contains(part.as_str())) {
            differ(&mut found, "body with", part, &text);
        }
        if let Some(Pause(expected)) = takes {
            let fits = reply.took + slack.min(EARLY_MAX) >= *expected && reply.took <= *expected + slack;
            if !fits {
                differ(&mut found, "takes", expected, &reply.took);
            }
        }
    }
    if let Some(shares) = shares {
        check_shares(&mut found, shares, replies);
    }
    check_hits(&mut found, expect, from.as_deref().map(|from| (from, *times)), hits.as_ref(), arrivals);
    for (name, percent) in mirrored {
        let copies = arrivals.iter().filter(|arrival| means(name, arrival.endpoint)).count() as u64;
        let misfit = chance::misfit(&[copies, u64::from(*times).saturating_sub(copies)], &[*percent, 100.0 - percent]);
        if let Some(misfit) = misfit {
            found.push(format!("mirrored: expected {percent} % of {times} at {name}, observed {copies} ({misfit})"));
        }
    }
    if let Some(seen) = seen {
        let answered = replies.last().and_then(Reply::from);
        check_seen(&mut found, "seen", seen, answered, arrivals);
    }
    for (name, seen) in seen_by {
        check_seen(&mut found, &format!("seen-by {name}"), seen, Some(name), arrivals);
    }
    for name in alike {
        let sent: BTreeSet<Vec<_>> = arrivals.iter().map(|arrival| values(&arrival.headers, name).collect()).collect();
        if sent.len() != 1 || sent.iter().any(Vec::is_empty) {
            found.push(format!("{name}: expected the same in every request received, observed {sent:?}"));
        }
    }
    for arrival in arrivals {
        for (name, value) in &arrival.headers {
            if INTERNAL.iter().any(|prefix| name.starts_with(prefix)) {
                found.push(format!("{} received the internal header {name}: {value}", arrival.endpoint));
            }
        }
    }
    summarised(found)
}

fn check_shares(found: &mut Vec<String>, shares: &BTreeMap<String, u32>, replies: &[Reply]) {
    let answers = |name: &String| -> u64 {
        let by = |reply: &Reply| reply.from().map_or(name == HOST, |from| means(name, from));
        replies.iter().map(|reply| u64::from(by(reply))).sum()
    };
    let counts: Vec<u64> = shares.keys().map(answers).collect();
    let expected: Vec<f64> = shares.values().map(|share| f64::from(*share)).collect();
    let others = replies.len() as u64 - counts.iter().sum::<u64>();
    if others > 0 {
        found.push(format!("shares: {others} of {} answers came from elsewhere", replies.len()));
    } else if let Some(misfit) = chance::misfit(&counts, &expected) {
        let observed: BTreeMap<_, _> = shares.keys().zip(counts).collect();
        found.push(format!("shares: expected {shares:?}, observed {observed:?} ({misfit})"));
    }
}

/// Who got what a request brought, against what is known of the word it is marked by.
pub fn strangers(request: &Request, arrivals: &[Arrival], known: &mut BTreeMap<String, &'static str>) -> Vec<String> {
    let Some(word) = &request.expect.meets else { return Vec::new() };
    let Some(first) = arrivals.first() else { return vec![format!("meets {word}: nothing arrived anywhere")] };
    let expected = *known.entry(word.clone()).or_insert(first.endpoint);
    let others: BTreeSet<_> =
        arrivals.iter().map(|arrival| arrival.endpoint).filter(|endpoint| *endpoint != expected).collect();
    if others.is_empty() { Vec::new() } else { vec![format!("meets {word}: expected {expected}, observed {others:?}")] }
}

/// Requests that arrived, by endpoint; a service stands for all its endpoints.
fn check_hits(
    found: &mut Vec<String>,
    expect: &Expect,
    from: Option<(&str, u32)>,
    hits: Option<&BTreeMap<String, u32>>,
    arrivals: &[Arrival],
) {
    let mut observed: BTreeMap<&str, u32> = BTreeMap::new();
    arrivals.iter().for_each(|arrival| *observed.entry(arrival.endpoint).or_default() += 1);
    let expected: BTreeMap<&str, u32> = match (hits, from) {
        (Some(hits), _) => hits.iter().map(|(name, count)| (name.as_str(), *count)).collect(),
        // Counted elsewhere, as shares.
        (None, _) if expect.shares.is_some() || !expect.mirrored.is_empty() => return,
        (None, Some((from, times))) => BTreeMap::from([(from, times)]),
        (None, None) => BTreeMap::new(),
    };
    let total = |name: &str| observed.iter().filter(|(at, _)| means(name, at)).map(|(_, count)| *count).sum::<u32>();
    let counted = expected.iter().all(|(name, count)| total(name) == *count);
    let elsewhere = observed.keys().any(|at| !expected.keys().any(|name| means(name, at)));
    if !counted || elsewhere {
        differ(found, "hits", &expected, &observed);
    }
}

fn check_seen(found: &mut Vec<String>, what: &str, seen: &Seen, by: Option<&str>, arrivals: &[Arrival]) {
    let Some(arrival) = by.and_then(|by| arrivals.iter().rev().find(|arrival| means(by, arrival.endpoint))) else {
        found.push(format!("{what}: nothing arrived at {by:?}"));
        return;
    };
    let Seen { method, path, authority, body, headers } = seen;
    let text = String::from_utf8_lossy(&arrival.body).into_owned();
    for (field, expected, observed) in [
        ("method", method, &arrival.method),
        ("path", path, &arrival.target),
        ("authority", authority, &arrival.authority),
        ("body", body, &text),
    ] {
        if let Some(expected) = expected {
            one_of(found, &format!("{what} {field}"), &[expected], &observed);
        }
    }
    for (name, expected) in headers {
        let observed: Vec<_> = values(&arrival.headers, name).collect();
        same(found, &format!("{what} header {name}"), expected, &observed);
    }
}

fn one_of<T: PartialEq + Debug>(found: &mut Vec<String>, what: &str, expected: &[T], observed: &T) {
    if !expected.contains(observed) {
        match expected {
            [one] => differ(found, what, one, observed),
            several => differ(found, what, &several, observed),
        }
    }
}

fn same(found: &mut Vec<String>, what: &str, expected: &Expected, observed: &[&str]) {
    match (expected, observed) {
        (Expected::Values(HeaderValues(expected)), _) if expected == observed => {}
        (Expected::Length(length, end), [only])
            if escapes::bytes(only).len() == *length && only.ends_with(end.as_str()) => {}
        (Expected::Values(HeaderValues(expected)), _) => differ(found, what, expected, &observed),
        (Expected::Length(..), _) => differ(found, what, expected, &observed),
    }
}

fn differ(found: &mut Vec<String>, what: &str, expected: &dyn Debug, observed: &dyn Debug) {
    found.push(format!("{what}: expected {expected:?}, observed {observed:?}"));
}

/// The same difference many times is one line with its count.
fn summarised(found: Vec<String>) -> Vec<String> {
    let mut lines: Vec<(String, u32)> = Vec::new();
    for line in found {
        match lines.iter_mut().find(|(known, _)| *known == line) {
            Some((_, count)) => *count += 1,
            None => lines.push((line, 1)),
        }
    }
    lines.into_iter().map(|(line, count)| if count > 1 { format!("{line} ({count} times)") } else { line }).collect()
}

/// How many arrivals a request is sure to bring, so that an arm knows how long to wait for copies.
pub fn arrivals_expected(request: &Request) -> usize {
    let Expect { hits, from, shares, mirrored, .. } = &request.expect;
    let times = request.times as usize;
    let certain = mirrored.values().filter(|percent| **percent >= 100.0).count() * times;
    match hits {
        Some(hits) => hits.values().map(|count| *count as usize).sum(),
        None if from.is_some() || shares.is_some() => times + certain,
        None => certain,
    }
}

/// Names in a case that mean no endpoint.
pub fn unknown_names<'a>(expect: &'a Expect, behaviour: impl Iterator<Item = &'a String>) -> Vec<&'a str> {
    let Expect { from, hits, seen_by, shares, mirrored, .. } = expect;
    let names = from
        .iter()
        .chain(hits.iter().flat_map(|hits| hits.keys()))
        .chain(seen_by.keys())
        .chain(shares.iter().flat_map(|shares| shares.keys()).filter(|name| *name != HOST))
        .chain(mirrored.keys());
    let nobody = |name: &&str| !fleet::endpoints().any(|endpoint| means(name, endpoint));
    let named = names.map(String::as_str).filter(nobody);
    let scripted = behaviour.map(String::as_str).filter(|name| !fleet::endpoints().any(|endpoint| endpoint == *name));
    named.chain(scripted).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observed::FROM;

    fn reply(status: u16, from: &str) -> Reply {
        let headers = vec![(FROM.to_owned(), from.to_owned()), ("x".to_owned(), "1".to_owned())];
        Reply { status, headers, body: b"hello".to_vec(), took: Duration::from_millis(5) }
    }

    fn arrival(endpoint: &'static str, headers: &[(&str, &str)]) -> Arrival {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let (method, target, authority) = ("GET".to_owned(), "/a".to_owned(), "reviews".to_owned());
        Arrival { endpoint, method, target, authority, headers, body: Vec::new() }
    }

    /// What is found for one answer of `reviews-v1` with status 200, which received `x: 1`.
    fn check(expect: &str, found: &[&str]) {
        let text = format!("name: a\nabout: b\nrequests:\n- {{send: GET a /, expect: {{{expect}}}}}\n");
        let cases = crate::case::read("f", &text).unwrap_or_else(|error| panic!("{error}"));
        let arrivals = [arrival("reviews-v1", &[("x", "1")])];
        let lines = differences(&cases[0].requests[0], &[reply(200, "reviews-v1")], &arrivals, Duration::ZERO);
        assert_eq!(lines, found, "{expect}");
    }

    #[test]
    fn what_is_as_expected_is_not_told() {
        for expect in [
            "from: reviews-v1",
            "from: reviews",
            "hits: {reviews-v1: 1}",
            "hits: {reviews: 1, ratings: 0}",
            "from: reviews-v1, response: {x: 1, y: null}, body: ell, takes: 5ms",
            "from: reviews-v1, seen: {method: GET, path: /a, authority: reviews, body: '', headers: {x: 1, y: null}}",
            "shares: {reviews-v1: 1, reviews-v2: 0, host: 0}",
            "from: reviews-v1, mirrored: {ratings-v1: 0}",
            "from: reviews-v1, alike: [x], response: {x: {length: 1}}",
        ] {
            check(expect, &[]);
        }
    }

    #[test]
    fn every_difference_is_told() {
        check("from: reviews-v1, status: 404", &["status: expected 404, observed 200"]);
        check("hits: {reviews-v1: 2}", &[r#"hits: expected {"reviews-v1": 2}, observed {"reviews-v1": 1}"#]);
        check("hits: {}", &[r#"hits: expected {}, observed {"reviews-v1": 1}"#]);
        check(
            "",
            &[
                r#"from: expected "the host itself", observed Some("reviews-v1")"#,
                r#"hits: expected {}, observed {"reviews-v1": 1}"#,
            ],
        );
        check("from: ratings, hits: {reviews: 1}", &[r#"from: expected "ratings", observed Some("reviews-v1")"#]);
        check("from: reviews, response: {x: null}", &[r#"response header x: expected [], observed ["1"]"#]);
        check("from: reviews, response: {x: [1, 1]}", &[r#"response header x: expected ["1", "1"], observed ["1"]"#]);
        check("from: reviews, body: other", &[r#"body with: expected "other", observed "hello""#]);
        check("from: reviews, takes: 10ms", &["takes: expected 10ms, observed 5ms"]);
        check("from: reviews, takes: 4ms", &["takes: expected 4ms, observed 5ms"]);
        check("from: reviews, seen: {path: /b}", &[r#"seen path: expected "/b", observed "/a""#]);
        check("from: reviews, seen: {headers: {x: 2}}", &[r#"seen header x: expected ["2"], observed ["1"]"#]);
        check(
            "from: reviews, seen-by: {ratings: {path: /}}",
            &[r#"seen-by ratings: nothing arrived at Some("ratings")"#],
        );
        check(
            "from: reviews, response: {x: {length: 2}}",
            &[r#"response header x: expected Length(2, ""), observed ["1"]"#],
        );
        check("from: reviews, alike: [y]", &["y: expected the same in every request received, observed {[]}"]);
        check("shares: {ratings: 1}", &["shares: 1 of 1 answers came from elsewhere"]);
    }

    #[test]
    fn internal_headers_are_told_unasked() {
        let cases =
            crate::case::read("f", "name: a\nabout: b\nrequests:\n- {send: GET a /, expect: {from: reviews}}\n");
        let arrivals = [arrival("reviews-v1", &[("x-shunt-cluster", "c"), ("x-envoy-fault-delay-request", "1")])];
        let request = &cases.expect("a case")[0].requests[0];
        let found = differences(request, &[reply(200, "reviews-v1")], &arrivals, Duration::ZERO);
        assert_eq!(
            found,
            [
                "reviews-v1 received the internal header x-shunt-cluster: c",
                "reviews-v1 received the internal header x-envoy-fault-delay-request: 1",
            ]
        );
    }
}
