//! The limits on time: for a connection, an attempt, and the whole request.

use super::story::{CLUSTER, ask, check, cluster, duration, endpoint, half, header, plan, profile, reply_of};
use crate::request_head::EXPECTED_TIMEOUT_HEADER;
use crate::{Event, Timestamp, Upstreams};
use envoy_plan::LoadBalancing;

#[test]
fn without_a_limit_an_answer_is_waited_for() {
    check("", "silence", "try b; wait for ever");
}

#[test]
fn the_whole_request_has_its_time() {
    check("timeout 100ms", "99ms; 200", "try b; deliver");
    check("timeout 100ms", "100ms", "try b; reply 504 UT");
    let reply = reply_of("timeout 100ms", "silence");
    assert_eq!((reply.body, reply.details), ("upstream request timeout", "response_timeout"));
}

#[test]
fn it_covers_all_attempts_and_the_waits_between() {
    check("timeout 100ms; retries 5 on 5xx", "80ms; 503; 7ms; 200", "try b; wait 12ms; try c; deliver");
    check("timeout 100ms; retries 5 on 5xx", "80ms; 503; 8ms", "try b; wait 12ms; try c; reply 504 UT");
}

#[test]
fn it_can_end_during_a_wait() {
    check("timeout 100ms; retries 5 on 5xx", "95ms; 503", "try b; wait 5ms; reply 504 UT");
}

#[test]
fn it_starts_when_the_request_is_whole() {
    check("streaming; timeout 100ms", "500ms; received; 99ms; 200", "try b; deliver");
    check("streaming; timeout 100ms", "500ms; received; silence", "try b; reply 504 UT");
    check("streaming; timeout 100ms", "silence", "try b; wait for ever");
}

#[test]
fn it_goes_on_until_the_response_is_whole() {
    check("timeout 100ms", "50ms; 200; 50ms", "try b; deliver; abort UT");
}

#[test]
fn the_request_can_ask_for_another_limit_or_none() {
    check("timeout 100ms; x-envoy-upstream-rq-timeout-ms: 300", "299ms; 200", "try b; deliver");
    check("timeout 100ms; x-envoy-upstream-rq-timeout-ms: 0", "silence", "try b; wait for ever");
    check("x-envoy-upstream-rq-timeout-ms: 10", "silence", "try b; reply 504 UT");
    check("timeout 100ms; x-envoy-upstream-rq-timeout-ms: soon", "100ms", "try b; reply 504 UT");
}

#[test]
fn each_attempt_has_its_time() {
    check("retries 1 on 5xx; per-try 40ms", "40ms; 39ms; 200", "try b; wait 12ms; try c; deliver");
    check("retries 1 on 5xx; per-try 40ms", "40ms; 40ms", "try b; wait 12ms; try c; reply 504 URX,UT");
    for condition in ["gateway-error", "reset"] {
        check(&format!("retries 1 on {condition}; per-try 40ms"), "40ms; 200", "try b; wait 12ms; try c; deliver");
    }
    assert_eq!(reply_of("retries 1 on 5xx; per-try 40ms", "40ms; 40ms").details, "upstream_per_try_timeout");
}

#[test]
fn it_ends_in_504_after_one_try_where_no_condition_covers_it() {
    let istio = "retries 2 on connect-failure,refused-stream,unavailable,cancelled; per-try 40ms";
    check(istio, "40ms", "try b; reply 504 UT");
}

#[test]
fn an_attempts_limit_as_long_as_the_requests_is_ignored() {
    check("timeout 100ms; retries 1 on 5xx; per-try 100ms", "100ms", "try b; reply 504 UT");
    check("timeout 100ms; retries 1 on 5xx; per-try 2s", "100ms", "try b; reply 504 UT");
}

#[test]
fn the_request_can_ask_for_a_limit_on_each_attempt() {
    let setup = "x-envoy-retry-on: reset; x-envoy-upstream-rq-per-try-timeout-ms: 40";
    check(setup, "40ms; 200", "try b; wait 12ms; try c; deliver");
    check(
        "retries 1 on 5xx; per-try 40ms; x-envoy-upstream-rq-per-try-timeout-ms: 0",
        "silence",
        "try b; wait for ever",
    );
}

#[test]
fn an_attempts_time_starts_with_its_connection_and_a_whole_request() {
    check("connecting; retries 1 on reset; per-try 40ms", "500ms; connected; 39ms; 200", "try b; deliver");
    check("streaming; retries 1 on 503; per-try 40ms", "500ms; received; 39ms; 200", "try b; deliver");
    check("streaming; retries 1 on 503; per-try 40ms", "500ms; received; 40ms", "try b; reply 504 UT");
}

#[test]
fn an_attempts_time_ends_with_the_response_head() {
    check("retries 1 on 5xx; per-try 40ms", "39ms; 200; silence", "try b; deliver; wait for ever");
}

#[test]
fn a_connection_has_ten_seconds() {
    check("connecting", "9999ms; connected; silence", "try b; wait for ever");
    check("connecting", "10000ms", "try b; reply 503 UF");
    let body = "upstream connect error or disconnect/reset before headers. reset reason: connection timeout";
    assert_eq!(reply_of("connecting", "silence").body, body);
}

#[test]
fn being_woken_early_or_told_late_changes_nothing() {
    check("timeout 100ms", "1ms; 1ms; connected; received; 200", "try b; deliver");
    check("timeout 100ms", "silence; 200; closed; silence", "try b; reply 504 UT; wait for ever");
}

#[test]
fn a_wait_that_meets_an_outgrown_request_ends_it() {
    let mut profile = profile("default");
    profile.retry = Some(envoy_plan::RetryPolicy {
        retries: 1,
        on: vec![envoy_plan::RetryOn::FiveXx],
        status_codes: Vec::new(),
        per_try_timeout: None,
        avoid_previous_hosts: false,
        host_selection_attempts: 0,
        backoff: envoy_plan::Backoff::default(),
    });
    let one = vec![cluster(CLUSTER, LoadBalancing::Random, vec![endpoint("a", 1)])];
    let upstreams = Upstreams::new(plan(vec![profile], one), Timestamp::default());
    let head = [header("x-shunt-cluster", CLUSTER)];
    let now = Timestamp::default();
    let mut exchange = upstreams.begin(&ask(&head, false), now, &mut half).unwrap().exchange;
    assert!(exchange.may_repeat());
    exchange.on(Event::Failed(crate::Failure::Connect), now, &mut half);
    let step = exchange.on(Event::Unrepeatable, now, &mut half);
    assert!(matches!(step, crate::Step::Reply(reply) if reply.status == 507), "{step:?}");
    assert!(!exchange.may_repeat() && exchange.wake_at().is_none());
}

/// What a second attempt 60 ms after the request was whole tells its upstream about its time.
#[track_caller]
fn check_expected(timeout: &str, per_try: &str, expected: Option<u64>) {
    let one = vec![cluster(CLUSTER, LoadBalancing::Random, vec![endpoint("a", 1)])];
    let upstreams = Upstreams::new(plan(vec![profile("default")], one), Timestamp::default());
    let head = [
        header("x-shunt-cluster", CLUSTER),
        header("x-envoy-upstream-rq-timeout-ms", timeout),
        header("x-envoy-upstream-rq-per-try-timeout-ms", per_try),
        header("x-envoy-retry-on", "connect-failure"),
    ];
    let start = Timestamp::default();
    let mut begun = upstreams.begin(&ask(&head, true), start, &mut half).unwrap();
    begun.exchange.on(Event::Failed(crate::Failure::Connect), start, &mut half);
    let due = begun.exchange.wake_at().unwrap();
    assert!(matches!(begun.exchange.on(Event::Woken, due, &mut half), crate::Step::Attempt(_)));
    let expected = expected.map(|millis| (EXPECTED_TIMEOUT_HEADER, millis.to_string()));
    assert_eq!(begun.exchange.told(start.after(duration("60ms"))).next(), expected);
}

#[test]
fn the_upstream_is_told_the_time_that_is_left_to_it() {
    check_expected("100", "0", Some(40));
    check_expected("100", "30", Some(30));
    check_expected("100", "50", Some(40));
    check_expected("50", "0", Some(1));
    check_expected("0", "30", Some(30));
    check_expected("0", "0", None);
}
