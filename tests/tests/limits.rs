//! Limits under requests that come at the same time, in the proxy and in real Envoy. The corpus sends one after the other.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "this is a test")]

use shunt_tests::arms::{self, Running};
use shunt_tests::case::{self, Case};
use shunt_tests::client::Client;
use shunt_tests::observed::{Reply, values};
use std::sync::Barrier;
use std::thread;

/// `reviews` in version v1, under this policy, with these rules and this behaviour.
fn case(policy: &str, route: &str, behaviour: &str) -> Case {
    let text = format!(
        "name: limits
about: what comes at the same time
objects: |
  apiVersion: networking.istio.io/v1
  kind: DestinationRule
  metadata: {{name: reviews}}
  spec: {{host: reviews, trafficPolicy: {policy}, subsets: [{{name: v1, labels: {{version: v1}}}}]}}
rules:
  reviews:
  - {{{route} route: [{{destination: {{host: reviews, subset: v1}}}}]}}
behaviour: {{reviews-v1: {behaviour}}}
requests:
- {{send: GET reviews /, expect: {{}}}}
"
    );
    case::read("limits", &text).unwrap().remove(0)
}

/// So many requests at the same time: nobody sends before all are ready. Answers take so long that even a busy machine
/// has sent the last request before the first is answered.
fn together(running: &dyn Running, case: &Case, count: usize) -> Vec<Reply> {
    let (to, request) = (running.address().unwrap(), &case.requests.first().unwrap());
    let ready = Barrier::new(count);
    thread::scope(|scope| {
        let send = || {
            let mut client = Client::new(to);
            ready.wait();
            client.send(request).unwrap()
        };
        let sent: Vec<_> = (0..count).map(|_| scope.spawn(send)).collect();
        sent.into_iter().map(|reply| reply.join().unwrap()).collect()
    })
}

fn with_status(replies: &[Reply], status: u16) -> usize {
    replies.iter().filter(|reply| reply.status == status).count()
}

#[test]
fn requests_beyond_the_limit_are_turned_away_and_say_so() {
    let case =
        case("{connectionPool: {http: {http2MaxRequests: 2}}}", "retries: {attempts: 3, retryOn: 5xx},", "{after: 2s}");
    for arm in arms::of_sockets("limits on requests") {
        let mut running = arm.start(&case).unwrap_or_else(|error| panic!("{}: {error}", arm.name()));
        let replies = together(&*running, &case, 5);
        assert_eq!((with_status(&replies, 200), with_status(&replies, 503)), (2, 3), "{}", arm.name());
        for reply in replies.iter().filter(|reply| reply.status == 503) {
            let body = String::from_utf8_lossy(&reply.body);
            let expected = "upstream connect error or disconnect/reset before headers. reset reason: overflow";
            assert_eq!(body, expected, "{}", arm.name());
            assert_eq!(values(&reply.headers, "x-envoy-overloaded").collect::<Vec<_>>(), ["true"], "{}", arm.name());
        }
        assert_eq!(running.arrivals(2).len(), 2, "{}", arm.name());
    }
}

#[test]
fn so_many_connections_so_many_who_wait_and_no_more() {
    let policy = "{connectionPool: {tcp: {maxConnections: 1}, http: {http1MaxPendingRequests: 1}}}";
    let case = case(policy, "", "{after: 2s}");
    for arm in arms::of_sockets("limits on connections") {
        let mut running = arm.start(&case).unwrap_or_else(|error| panic!("{}: {error}", arm.name()));
        // The first connection: whoever waits for its opening is pending.
        assert_eq!(with_status(&together(&*running, &case, 1), 200), 1, "{}", arm.name());
        let replies = together(&*running, &case, 5);
        assert_eq!((with_status(&replies, 200), with_status(&replies, 503)), (2, 3), "{}", arm.name());
        // Who did not wait has two seconds; who did may have begun a little after the first.
        assert!(replies.iter().any(|reply| reply.status == 200 && reply.took.as_millis() >= 3500), "{}", arm.name());
        assert_eq!(running.arrivals(3).len(), 3, "{}", arm.name());
    }
}

#[test]
fn retries_beyond_the_limit_are_not_made() {
    let retries = "retries: {attempts: 1, retryOn: '503', backoff: 2s},";
    for policy in ["{connectionPool: {http: {maxRetries: 1}}}", "{retryBudget: {percent: 0, minRetryConcurrency: 1}}"] {
        let case = case(policy, retries, "503");
        for arm in arms::of_sockets("limits on retries") {
            let mut running = arm.start(&case).unwrap_or_else(|error| panic!("{}: {error}", arm.name()));
            assert_eq!(with_status(&together(&*running, &case, 6), 503), 6, "{}", arm.name());
            // Six and one more; others could follow if the first waits were drawn very short. Without a limit they are twelve.
            let arrived = running.arrivals(7).len();
            assert!((7..=9).contains(&arrived), "{}: {arrived} instead of 7", arm.name());
        }
    }
}
