//! What may be under way at the same time, and who waits, is turned away, or left out.

use super::story::{check, reply_of};
use crate::Flags;

#[test]
fn one_request_too_many_is_turned_away_and_never_tried_again() {
    let set_up = "retries 3 on 5xx; limit requests 2; busy 2";
    check(set_up, "", "reply 503 UO");
    let reply = reply_of(set_up, "");
    assert_eq!(reply.body, "upstream connect error or disconnect/reset before headers. reset reason: overflow");
    assert_eq!(reply.details, "upstream_reset_before_response_started{overflow}");
    assert_eq!((reply.flags, reply.headers), (Flags::UPSTREAM_OVERFLOW, &[("x-envoy-overloaded", "true")][..]));
    check("limit requests 2; busy 1", "200", "try c; deliver");
}

#[test]
fn without_a_free_connection_a_request_waits_for_one_to_its_endpoint() {
    let set_up = "endpoints a; limit connections 1; busy 1";
    check(set_up, "40ms; over; 200", "queue; try a; deliver");
    check(set_up, "refused; 200; 40ms", "queue");
    check("endpoints a; limit connections 1; busy 1; timeout 30ms", "silence", "queue; reply 504 UT");
    check("endpoints a; limit connections 1; limit requests 1; busy 1", "over; 200", "queue; try a; deliver");
}

#[test]
fn an_endpoint_without_a_connection_always_gets_its_first() {
    check("endpoints a b; limit connections 1; busy 1", "200", "try a; deliver");
    check("endpoints a b; limit connections 1; busy 2", "", "queue");
}

#[test]
fn only_so_many_wait() {
    check("endpoints a; limit connections 1; limit pending 1; busy 2", "", "reply 503 UO");
    // A connection that has to be opened is waited for too.
    check("limit pending 1; connecting", "opening; connected; 200", "try b; deliver");
    check("limit pending 0; connecting", "opening", "try b; reply 503 UO");
    check("limit pending 0; connecting", "connected; 200", "try b; deliver");
}

#[test]
fn only_so_many_are_tried_again_at_a_time() {
    let set_up = "retries 2 on 5xx; limit retries 0";
    check(set_up, "500", "try b; deliver UO");
    check(set_up, "refused", "try b; reply 503 UO,UF");
    assert_eq!(reply_of(set_up, "refused").headers, &[]);
    // Of one request the last try makes room for the next.
    check("retries 2 on 5xx; limit retries 1", "500; 500; 200", "try b; wait 12ms; try c; wait 25ms; try a; deliver");
}

#[test]
fn who_fails_in_a_row_is_left_out() {
    check(
        "endpoints a; retries 2 on 5xx; eject after 2; no avoidance",
        "500; 500",
        "try a; wait 12ms; try a; wait 25ms; reply 503 UH",
    );
    check(
        "endpoints a b; retries 3 on 5xx; eject after 1; no avoidance",
        "500; 500",
        "try b; wait 12ms; try a; wait 25ms; reply 503 UH",
    );
    check(
        "endpoints a b; retries 3 on 5xx; eject after 1; no avoidance",
        "closed; 200",
        "try b; wait 12ms; try a; deliver",
    );
    check("endpoints a; retries 1 on 5xx; per-try 10ms; eject after 1", "silence", "try a; wait 12ms; reply 503 UH");
    check("endpoints a; retries 1 on 5xx; eject after 1", "200 grpc-status=14", "try a; deliver");
}
