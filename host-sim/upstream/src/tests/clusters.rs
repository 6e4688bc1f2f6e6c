//! Finding profile and cluster, and changing the plan under way.

use std::time::Duration;

use envoy_plan::{LoadBalancing, Profile};

use super::story::{CLUSTER, ask, check, cluster, duration, endpoint, half, header, plan, profile};
use crate::{Begun, Event, LocalReply, Step, Timestamp, Upstreams};

const NOW: Timestamp = Timestamp::from_nanos(0);

fn begin(upstreams: &Upstreams, head: &[(&str, &str)]) -> Result<Begun, LocalReply> {
    let head: Vec<_> = head.iter().map(|(name, value)| header(name, value)).collect();
    upstreams.begin(&ask(&head, true), NOW, &mut half)
}

fn two_profiles() -> Vec<Profile> {
    vec![profile("default"), Profile { timeout: Some(duration("1s")), ..profile("p1") }]
}

#[track_caller]
fn check_refusal(head: &[(&str, &str)], status: u16, flags: &str, body: &str) {
    let clusters = vec![cluster(CLUSTER, LoadBalancing::Random, Vec::new())];
    let reply = begin(&Upstreams::new(plan(two_profiles(), clusters), NOW), head).expect_err("no attempt");
    assert_eq!((reply.status, reply.flags.to_string().as_str(), reply.body), (status, flags, body));
}

#[test]
fn an_unknown_empty_or_missing_cluster_is_503_nc_without_a_body() {
    check_refusal(&[("x-shunt-cluster", "outbound|80|v9|story")], 503, "NC", "");
    check_refusal(&[("x-shunt-cluster", "")], 503, "NC", "");
    check_refusal(&[("x-shunt-cluster", "\u{fffd}")], 503, "NC", "");
    check_refusal(&[], 503, "NC", "");
}

#[test]
fn an_unknown_profile_is_404_before_the_cluster_is_looked_at() {
    check_refusal(&[("x-shunt-profile", "p9"), ("x-shunt-cluster", "none")], 404, "NR", "");
}

#[test]
fn a_cluster_without_endpoints_is_503_uh() {
    check_refusal(&[("x-shunt-cluster", CLUSTER)], 503, "UH", "no healthy upstream");
    check("endpoints", "", "reply 503 UH");
}

#[test]
fn the_profile_header_chooses_the_profile_and_its_absence_the_first() {
    let clusters = vec![cluster(CLUSTER, LoadBalancing::Random, vec![endpoint("a", 1)])];
    let upstreams = Upstreams::new(plan(two_profiles(), clusters), NOW);
    let limit = |profile: &[(&str, &str)]| {
        let head = [&[("x-shunt-cluster", CLUSTER)], profile].concat();
        begin(&upstreams, &head).unwrap().exchange.told(NOW).next().map(|(_, millis)| millis)
    };
    assert_eq!(limit(&[]), None);
    assert_eq!(limit(&[("x-shunt-profile", "p1")]), Some("1000".to_owned()));
    assert_eq!(limit(&[("x-shunt-profile", "default")]), None);
}

#[test]
fn an_exchange_finishes_on_the_plan_it_started_with() {
    let clusters = |name| vec![cluster(CLUSTER, LoadBalancing::Random, vec![endpoint(name, 1)])];
    let mut upstreams = Upstreams::new(plan(two_profiles(), clusters("old")), NOW);
    let head = [("x-shunt-cluster", CLUSTER), ("x-envoy-retry-on", "5xx")];
    let mut exchange = begin(&upstreams, &head).unwrap().exchange;
    upstreams.replace_plan(plan(two_profiles(), clusters("new")), NOW);
    exchange.on(Event::Failed(crate::Failure::Connect), NOW, &mut half);
    let due = exchange.wake_at().unwrap();
    let Step::Attempt(attempt) = exchange.on(Event::Woken, due, &mut half) else { panic!("no attempt") };
    assert_eq!(attempt.endpoint.address(), "old");
    assert_eq!(begin(&upstreams, &head).unwrap().step.attempt().unwrap().endpoint.address(), "new");
}

#[test]
fn endpoints_that_stay_keep_their_number_and_count() {
    let clusters = |names: &[(&str, u32)]| {
        let endpoints = names.iter().map(|(name, weight)| endpoint(name, *weight)).collect();
        vec![cluster(CLUSTER, LoadBalancing::LeastRequest, endpoints)]
    };
    let head = [("x-shunt-cluster", CLUSTER)];
    let mut upstreams = Upstreams::new(plan(two_profiles(), clusters(&[("a", 1)])), NOW);
    let first = begin(&upstreams, &head).unwrap();
    upstreams.replace_plan(plan(two_profiles(), clusters(&[("b", 1), ("a", 1)])), NOW);
    // The middle draw falls on `a` twice, which is as busy as before.
    let second = begin(&upstreams, &head).unwrap();
    assert_eq!(second.step.attempt().unwrap().endpoint.address(), "a");
    assert_eq!(second.step.attempt().unwrap().endpoint.id(), first.step.attempt().unwrap().endpoint.id());
    assert_eq!(second.step.attempt().unwrap().endpoint.active(), 2);
    drop(first);
    assert_eq!(second.step.attempt().unwrap().endpoint.active(), 1);
}

#[test]
fn an_unchanged_cluster_keeps_its_turn() {
    let clusters = |other: &str| {
        let three = ["a", "b", "c"].map(|name| endpoint(name, 1)).to_vec();
        let other = cluster("other", LoadBalancing::Random, vec![endpoint(other, 1)]);
        vec![cluster(CLUSTER, LoadBalancing::RoundRobin, three), other]
    };
    let mut upstreams = Upstreams::new(plan(two_profiles(), clusters("x")), NOW);
    let next = |upstreams: &Upstreams| {
        let step = begin(upstreams, &[("x-shunt-cluster", CLUSTER)]).unwrap().step;
        step.attempt().unwrap().endpoint.address().to_owned()
    };
    assert_eq!((next(&upstreams), next(&upstreams)), ("b".to_owned(), "c".to_owned()));
    upstreams.replace_plan(plan(two_profiles(), clusters("y")), NOW);
    assert_eq!(next(&upstreams), "a");
}

#[test]
fn an_endpoint_counts_as_busy_until_the_answer_has_been_passed_on() {
    let clusters = vec![cluster(CLUSTER, LoadBalancing::Random, vec![endpoint("a", 1)])];
    let upstreams = Upstreams::new(plan(two_profiles(), clusters), NOW);
    let Begun { mut exchange, step, .. } = begin(&upstreams, &[("x-shunt-cluster", CLUSTER)]).unwrap();
    assert_eq!(step.attempt().unwrap().endpoint.active(), 1);
    exchange.on(Event::Answered(crate::Answer { status: 200, header: &|_| None }), NOW, &mut half);
    assert_eq!(step.attempt().unwrap().endpoint.active(), 1);
    drop(exchange);
    assert_eq!(step.attempt().unwrap().endpoint.active(), 0);
}

#[test]
fn who_waits_under_a_new_plan_gets_what_a_request_under_the_old_one_leaves() {
    let limited = |connect_seconds| {
        let limits = envoy_plan::Limits { connections: Some(1), ..envoy_plan::Limits::default() };
        let connect_timeout = Duration::from_secs(connect_seconds);
        let one = cluster(CLUSTER, LoadBalancing::Random, vec![endpoint("a", 1)]);
        plan(two_profiles(), vec![envoy_plan::Cluster { limits, connect_timeout, ..one }])
    };
    let mut upstreams = Upstreams::new(limited(1), NOW);
    let head = [("x-shunt-cluster", CLUSTER)];
    let old = begin(&upstreams, &head).unwrap();
    upstreams.replace_plan(limited(2), NOW);
    let mut new = begin(&upstreams, &head).unwrap();
    assert!(matches!(new.step, Step::Queue));
    drop(old);
    let step = new.exchange.on(Event::Woken, Timestamp::default(), &mut half);
    assert!(matches!(step, Step::Attempt(_)), "{step:?}");
}
