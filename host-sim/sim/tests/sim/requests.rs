//! Single requests: what client, upstreams and mirrors get.

use std::time::Duration;

use serde_json::json;
use traffic_sim::{Answer, AttemptEnd, Behaviour, Ended, RequestSpec, Role};

use crate::support::{HOST, Mesh, V1, V2};

fn get() -> RequestSpec {
    RequestSpec::get(HOST, "/analyse")
}

#[test]
fn a_request_reaches_its_version_and_the_answer_its_client() {
    let mut sim = Mesh::split(100, 0).simulator(1);
    let request = RequestSpec::new("POST", HOST, "/analyse?x=1", [("X-User", "ann")], "body");
    let answer = || Behaviour::of(Answer::new(201, [("x-version", "v1")], "made"));
    let exchange = sim.request(&request, |_| answer().after(Duration::from_millis(20)));
    let response = &exchange.response;
    assert_eq!((response.ended, response.status, &response.body[..]), (Ended::Answered, Some(201), &b"made"[..]));
    assert_eq!(response.headers.get_str("x-version"), Some("v1"));
    assert_eq!((response.cluster.as_deref(), response.took), (Some(V1), Duration::from_millis(20)));
    let [attempt] = exchange.attempts.as_slice() else { panic!("{exchange:?}") };
    assert_eq!((attempt.number, attempt.cluster.as_str(), attempt.address.as_str()), (1, V1, "10.0.0.1"));
    assert_eq!((attempt.labels["version"].as_str(), attempt.end), ("v1", AttemptEnd::Answered(201)));
    assert_eq!(attempt.headers.get_str(":path"), Some("/analyse?x=1"));
    assert_eq!(attempt.headers.get_str("x-user"), Some("ann"));
    assert_eq!(attempt.headers.get_str("x-forwarded-proto"), Some("http"));
    assert_eq!(attempt.headers.get_str("x-request-id").map(str::len), Some(36));
    assert_eq!(&attempt.body[..], b"body");
    assert!(attempt.headers.iter().all(|(name, _)| !name.starts_with(b"x-shunt-")));
    assert!(exchange.shadows.is_empty() && exchange.violations.is_empty());
    assert_eq!(sim.now().as_nanos(), 20_000_000);
}

#[test]
fn failures_are_tried_again_and_the_client_sees_only_the_end() {
    let mut sim = Mesh::split(100, 0).retries(3, 3).simulator(1);
    let exchange = sim.request(&get(), |sent| match sent.number {
        1 => Behaviour::refused(),
        2 => Behaviour::connection_closed(),
        3 => Behaviour::never_answers(),
        _ => Behaviour::status(200),
    });
    let ends: Vec<AttemptEnd> = exchange.attempts.iter().map(|attempt| attempt.end).collect();
    let expected = [AttemptEnd::Refused, AttemptEnd::ConnectionClosed, AttemptEnd::TimedOut, AttemptEnd::Answered(200)];
    assert_eq!(ends, expected);
    assert_eq!(exchange.attempts[2].took, Duration::from_secs(3));
    assert_eq!(exchange.response.status, Some(200));
    assert!(exchange.response.took < Duration::from_secs(4) && exchange.violations.is_empty(), "{exchange:?}");
}

#[test]
fn the_last_failure_is_the_answer() {
    let mut sim = Mesh::split(100, 0).retries(2, 3).simulator(1);
    let exchange = sim.request(&get(), |_| Behaviour::status(500));
    assert_eq!((exchange.response.status, exchange.attempts.len()), (Some(500), 3));
    assert_eq!(exchange.response.flags.to_string(), "URX");
}

#[test]
fn nobody_waits_longer_than_the_timeout() {
    let mut sim = Mesh::split(100, 0).timeout(8).retries(3, 3).simulator(1);
    let exchange = sim.request(&get(), |_| Behaviour::status(200).after(Duration::from_secs(30)));
    assert_eq!((exchange.response.status, exchange.response.took), (Some(504), Duration::from_secs(8)));
    assert_eq!(exchange.response.details, "response_timeout");
    assert_eq!(exchange.attempts[0].headers.get_str("x-envoy-expected-rq-timeout-ms"), Some("3000"));
}

#[test]
fn what_a_mirror_does_nobody_sees() {
    let mut sim = Mesh::mirrored().simulator(1);
    let exchange = sim.request(&get(), |sent| match sent.role {
        Role::Primary => Behaviour::status(200).after(Duration::from_millis(5)),
        _ => Behaviour::status(500).after(Duration::from_secs(30)),
    });
    assert_eq!((exchange.response.status, exchange.response.took), (Some(200), Duration::from_millis(5)));
    let [shadow] = exchange.shadows.as_slice() else { panic!("{exchange:?}") };
    assert_eq!((shadow.cluster.as_str(), shadow.end), (V2, AttemptEnd::Answered(500)));
    assert_eq!(shadow.headers.get("x-request-id"), exchange.attempts[0].headers.get("x-request-id"));
    assert!(exchange.violations.is_empty());
}

#[test]
fn an_unknown_cluster_is_503() {
    let rule = json!({"route": [{"destination": {"host": HOST, "subset": "v9"}}]});
    let exchange = Mesh::rule(rule, vec!["own"]).simulator(1).request(&get(), |_| Behaviour::status(200));
    assert_eq!(exchange.response.status, Some(503));
    assert_eq!(exchange.response.details, "cluster_not_found");
    assert!(exchange.attempts.is_empty() && exchange.violations.is_empty());
}

#[test]
fn an_unknown_host_is_answered_by_the_filter() {
    let request = RequestSpec::get("nobody.example", "/");
    let exchange = Mesh::split(1, 1).simulator(1).request(&request, |_| Behaviour::status(200));
    assert_eq!((exchange.response.status, exchange.attempts.len()), (Some(404), 0));
    assert!(exchange.violations.is_empty());
}

#[test]
fn a_client_may_lose_patience() {
    let mut sim = Mesh::split(100, 0).simulator(1);
    let exchange = sim.request(&get().with_timeout(Duration::from_secs(2)), |_| Behaviour::never_answers());
    assert_eq!((exchange.response.ended, exchange.response.took), (Ended::GaveUp, Duration::from_secs(2)));
    assert_eq!(exchange.attempts[0].end, AttemptEnd::Abandoned);
    assert!(exchange.violations.is_empty());
}

#[test]
fn who_is_never_answered_is_told_at_the_end() {
    let exchange = Mesh::split(100, 0).simulator(1).request(&get(), |_| Behaviour::never_answers());
    assert_eq!((exchange.response.ended, exchange.attempts[0].end), (Ended::Waiting, AttemptEnd::Waiting));
    assert!(exchange.violations.is_empty(), "{exchange:?}");
}

#[test]
fn other_rules_serve_the_next_request() {
    let mut sim = Mesh::split(100, 0).simulator(1);
    let next = Mesh::split(0, 100);
    sim.configure(&next.configuration(), next.plan()).unwrap();
    assert_eq!(sim.request(&get(), |_| Behaviour::status(200)).attempts[0].cluster, V2);
    let refused = sim.configure(b"{", next.plan());
    assert!(refused.is_err());
    assert_eq!(sim.request(&get(), |_| Behaviour::status(200)).attempts[0].cluster, V2);
}

#[test]
fn head_gets_no_body() {
    let request = RequestSpec::new("HEAD", HOST, "/", [("", ""); 0], "");
    let answer = || Behaviour::of(Answer::new(200, [("", ""); 0], "hidden"));
    let exchange = Mesh::split(1, 0).simulator(1).request(&request, |_| answer());
    assert_eq!(exchange.response.headers.get_str("content-length"), Some("6"));
    assert!(exchange.response.body.is_empty());
}
