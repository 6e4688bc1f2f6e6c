//! Local replies, and the calls that would crash Envoy.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test may fail")]

mod support;

use host_abi::{Danger, Flow, HeaderMap, Wakeup, Woken};
use support::*;

const DATA: &str = r#"(data (i32.const 1024) "sorry") (data (i32.const 1030) "again")"#;

fn reply_in(callback: &str, body: &str) -> String {
    format!(
        r#"{DATA} (func (export "proxy_on_{callback}") (param i32 i32 i32) (result i32)
            {body} (call $reply (i32.const 403) (i32.const 1024) (i32.const 5)) i32.const 1)"#
    )
}

fn answered() -> Flow {
    Flow::LocalReply { details: "".into() }
}

#[test]
fn a_reply_to_the_request_passes_the_filters_own_response_callbacks() {
    let mut vm = start(&format!(
        r#"{} (data (i32.const 1040) "x-seen")
        (func (export "proxy_on_response_headers") (param i32 i32 i32) (result i32)
            (call $say (local.get 1)) (call $say (local.get 2))
            (drop (call $set_header (i32.const 2) (i32.const 1040) (i32.const 6) (i32.const 1024) (i32.const 5)))
            i32.const 0)
        (func (export "proxy_on_response_body") (param i32 i32 i32) (result i32)
            (call $say (local.get 1)) (call $say (local.get 2)) i32.const 0)"#,
        reply_in("request_headers", "")
    ));
    let stream = vm.open_stream();
    assert_eq!(vm.request_headers(stream, get("/"), true), answered());
    assert_eq!(said(&mut vm), "0 3 0 5 1", "status of the call; 3 headers, more follows; 5 bytes, the end");
    assert_eq!(vm.response(stream).unwrap().get_str("x-seen"), Some("sorry"));
    assert_eq!(response(&mut vm, stream), "403 sorry.");
    assert_eq!(request(&mut vm, stream), "", "the request goes no further");
}

#[test]
fn a_reply_that_the_guest_holds_comes_with_a_wakeup() {
    let mut vm = start(&format!(
        r#"{}
        (func (export "proxy_on_response_headers") (param i32 i32 i32) (result i32)
            (drop (call $set_tick_period (i32.const 1))) i32.const 1)
        (func (export "proxy_on_tick") (param i32)
            (drop (call $set_effective_context (i32.const 2))) (drop (call $resume (i32.const 1))))"#,
        reply_in("request_headers", "")
    ));
    let stream = vm.open_stream();
    assert_eq!(vm.request_headers(stream, get("/"), true), answered());
    assert_eq!(response(&mut vm, stream), "");
    vm.host_mut().now_ns = 1_000_000;
    vm.tick();
    assert_eq!(vm.next_wakeup(), Some(Wakeup { stream, what: Woken::Response }));
    assert_eq!(response(&mut vm, stream), "403 sorry.");
}

#[test]
fn a_reply_from_the_response_side_replaces_the_response_unseen() {
    let body = reply_in("response_headers", "(call $say (i32.const 1))")
        + r#"(func (export "proxy_on_response_body") (param i32 i32 i32) (result i32) (call $say (i32.const 9)) i32.const 0)"#;
    let mut vm = start(&body);
    let stream = vm.open_stream();
    vm.request_headers(stream, get("/"), true);
    let upstream = HeaderMap::from([(":status", "500"), ("x-old", "1")]);
    assert_eq!(vm.response_headers(stream, upstream, false), answered());
    assert_eq!(said(&mut vm), "1 0");
    assert_eq!(vm.response(stream).unwrap().get("x-old"), None);
    assert_eq!(response(&mut vm, stream), "403 sorry.");
}

#[test]
fn a_reply_after_the_response_has_left_cuts_it_off() {
    let mut vm = start(&reply_in("response_body", ""));
    let stream = vm.open_stream();
    vm.request_headers(stream, get("/"), true);
    vm.response_headers(stream, status("200"), false);
    assert_eq!(response(&mut vm, stream), "200");
    assert!(matches!(vm.response_body(stream, "x", true), Flow::Reset { .. }));
}

#[test]
fn the_first_of_two_replies_wins() {
    let twice = "(call $reply (i32.const 401) (i32.const 1030) (i32.const 5))";
    let mut vm = start(&reply_in("request_headers", twice));
    let stream = vm.open_stream();
    assert_eq!(vm.request_headers(stream, get("/"), true), answered());
    assert_eq!(said(&mut vm), "0 0");
    assert_eq!(response(&mut vm, stream), "401 again.");
    assert_eq!(vm.next_wakeup(), None);
}

#[test]
fn a_reply_to_the_own_reply_replaces_it() {
    let mut vm = start(&format!(
        r#"{} (func (export "proxy_on_response_headers") (param i32 i32 i32) (result i32)
            (call $reply (i32.const 401) (i32.const 1030) (i32.const 5)) i32.const 0)"#,
        reply_in("request_headers", "")
    ));
    let stream = vm.open_stream();
    assert_eq!(vm.request_headers(stream, get("/"), true), answered());
    assert_eq!(response(&mut vm, stream), "401 again.");
}

#[test]
fn details_lose_their_blanks_and_grpc_status_must_be_known() {
    let mut vm = start(
        r#"(data (i32.const 1024) "no such user")
        (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
            (drop (call $reply_full (i32.const 404) (i32.const 1024) (i32.const 12) (i32.const 0) (i32.const 0)
                (i32.const 0) (i32.const 0) (i32.const 17))) i32.const 1)"#,
    );
    let stream = vm.open_stream();
    let mut head = get("/");
    head.set("content-type", "application/grpc");
    assert_eq!(vm.request_headers(stream, head, true), Flow::LocalReply { details: "no_such_user".into() });
    assert_eq!(vm.response(stream).unwrap().get_str("grpc-status"), Some("12"), "made from 404, not 17");
}

#[test]
fn a_resume_before_the_response_is_harmless_here() {
    let mut vm = start(
        r#"(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
            (call $note (call $resume (i32.const 1))) i32.const 0)"#,
    );
    let stream = vm.open_stream();
    assert_eq!(vm.request_headers(stream, get("/"), true), Flow::Continue);
    assert_eq!((said(&mut vm).as_str(), dangers(&mut vm)), ("0", vec![Danger::ResumeWithoutResponse]));
}

#[test]
fn a_resume_in_the_own_callback_sends_the_request_once() {
    for action in [0, 1] {
        let mut vm = start(&format!(
            r#"(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
                (call $note (call $resume (i32.const 0))) i32.const {action})"#
        ));
        let stream = vm.open_stream();
        assert_eq!(vm.request_headers(stream, get("/"), true), Flow::Continue);
        assert_eq!(request(&mut vm, stream), "H.");
        assert_eq!(request(&mut vm, stream), "");
        assert_eq!((dangers(&mut vm), vm.next_wakeup()), (vec![Danger::ResumeInOwnCallback], None));
    }
}

#[test]
fn replies_and_resumes_in_on_log_and_on_done_do_nothing() {
    let calls = "(call $reply (i32.const 403) (i32.const 0) (i32.const 0)) (call $note (call $resume (i32.const 0))) (call $note (call $resume (i32.const 1)))";
    let mut vm = start(&format!(
        r#"(func (export "proxy_on_log") (param i32) {calls})
        (func (export "proxy_on_done") (param i32) (result i32) {calls} i32.const 1)"#
    ));
    let stream = vm.open_stream();
    vm.request_headers(stream, get("/"), true);
    vm.close_stream(stream);
    assert_eq!(said(&mut vm), "0 0 0 0 0 0");
    assert_eq!(dangers(&mut vm), [Danger::ReplyAfterEnd; 2]);
    assert_eq!(vm.next_wakeup(), None);
}

#[test]
fn an_impossible_status_becomes_500() {
    let mut vm = start(
        r#"(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
            (call $reply (i32.const 99) (i32.const 0) (i32.const 0)) i32.const 1)"#,
    );
    let stream = vm.open_stream();
    vm.request_headers(stream, get("/"), true);
    assert_eq!((response(&mut vm, stream).as_str(), dangers(&mut vm)), ("500.", vec![Danger::StatusOutOfRange]));
}

#[test]
fn a_changed_length_and_a_line_break_are_reported() {
    let mut vm = start(
        r#"(data (i32.const 1024) "x\0d\0ay: z")
        (func (export "proxy_on_response_headers") (param i32 i32 i32) (result i32)
            (drop (call $add_header (i32.const 2) (i32.const 1024) (i32.const 1) (i32.const 1024) (i32.const 7))) i32.const 0)
        (func (export "proxy_on_response_body") (param i32 i32 i32) (result i32)
            (drop (call $set_buffer (i32.const 1) (i32.const 0) (local.get 1) (i32.const 1024) (i32.const 1))) i32.const 0)"#,
    );
    let stream = vm.open_stream();
    vm.request_headers(stream, get("/"), true);
    vm.response_headers(stream, HeaderMap::from([(":status", "200"), ("content-length", "3")]), false);
    assert!(vm.response(stream).unwrap().first_invalid().is_some());
    vm.response_body(stream, "abc", true);
    assert_eq!(dangers(&mut vm), [Danger::LineBreakInValue, Danger::BodyLengthChanged]);
}
