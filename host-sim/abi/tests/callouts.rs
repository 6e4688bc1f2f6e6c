//! HTTP calls by the guest.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test may fail")]

mod support;

use host_abi::{CalloutAnswer, Flow, HeaderMap, Wakeup, Woken};
use support::*;

/// Calls cluster `c` (or the bytes at 1100) with the pairs at 1200, and notes the status and token.
fn caller(cluster: &str, headers: &[(&str, &str)], timeout: i32, rest: &str) -> String {
    let mut pairs = (headers.len() as u32).to_le_bytes().to_vec();
    for (name, value) in headers {
        pairs.extend((name.len() as u32).to_le_bytes());
        pairs.extend((value.len() as u32).to_le_bytes());
    }
    for part in headers.iter().flat_map(|(name, value)| [name, value]) {
        pairs.extend(part.bytes().chain([0]));
    }
    let escaped: String = pairs.iter().map(|byte| format!("\\{byte:02x}")).collect();
    format!(
        r#"(data (i32.const 1100) "{cluster}") (data (i32.const 1200) "{escaped}") (data (i32.const 1020) "body")
        (func $dispatch
            (call $note (call $http_call (i32.const 1100) (i32.const {}) (i32.const 1200) (i32.const {})
                (i32.const 1020) (i32.const 4) (i32.const 0) (i32.const 0) (i32.const {timeout}) (i32.const 8))))
        (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
            (call $dispatch) (call $say (i32.load (i32.const 8))) i32.const 1)
        {rest}"#,
        cluster.len(),
        pairs.len()
    )
}

const GOOD: &[(&str, &str)] = &[(":method", "POST"), (":path", "/"), (":authority", "a")];

fn dispatch(cluster: &str, headers: &[(&str, &str)], timeout: i32) -> String {
    let mut vm = start(&caller(cluster, headers, timeout, ""));
    let stream = vm.open_stream();
    vm.request_headers(stream, get("/"), true);
    said(&mut vm)
}

#[test]
fn tokens_step_by_four_and_a_body_brings_its_length() {
    let mut vm = start(&caller("c", GOOD, 100, ""));
    for token in [4, 8] {
        let stream = vm.open_stream();
        vm.request_headers(stream, get("/"), true);
        assert_eq!(said(&mut vm), format!("0 {token}"));
    }
    let (token, cluster, headers, body) = &vm.host().calls[0];
    assert_eq!((*token, cluster.as_str(), body.as_slice()), (4, "c", &b"body"[..]));
    assert_eq!(headers.get_str("content-length"), Some("4"));
}

#[test]
fn what_is_wrong_with_a_call_is_told_at_once() {
    assert_eq!(dispatch("missing", GOOD, 0), "2 0");
    assert_eq!(dispatch("full", GOOD, 0), "10 0");
    assert_eq!(dispatch("c", GOOD, -1), "2 0");
    for missing in 0..3 {
        let mut headers = GOOD.to_vec();
        headers.remove(missing);
        assert_eq!(dispatch("c", &headers, 0), "2 0");
    }
}

const ON_ANSWER: &str = r#"
    (data (i32.const 1050) ":status")
    (func (export "proxy_on_http_call_response") (param i32 i32 i32 i32 i32)
        (call $say (local.get 0)) (call $say (local.get 1)) (call $say (local.get 2)) (call $say (local.get 3))
        (call $note (call $get_header (i32.const 6) (i32.const 1050) (i32.const 7) (i32.const 0) (i32.const 4)))
        (call $note (call $get_status (i32.const 12) (i32.const 0) (i32.const 4)))
        (call $say (i32.load (i32.const 12)))
        (call $given)
        (call $note (call $get_buffer (i32.const 4) (i32.const 0) (i32.const 99) (i32.const 0) (i32.const 4)))
        (call $given)
        (drop (call $set_effective_context (i32.const 2)))
        (drop (call $resume (i32.const 0))))"#;

#[test]
fn an_answer_comes_to_the_plugin_context_and_may_resume_the_stream() {
    let mut vm = start(&caller("c", GOOD, 100, ON_ANSWER));
    let stream = vm.open_stream();
    assert_eq!(vm.request_headers(stream, get("/"), true), Flow::Pause);
    said(&mut vm);
    assert!(vm.callout_answered(4, CalloutAnswer::new(status("200"), "hello")));
    assert_eq!(said(&mut vm), "1 4 1 5 0 0 0  0 hello");
    assert_eq!(vm.next_wakeup(), Some(Wakeup { stream, what: Woken::Request }));
    assert!(!vm.callout_answered(4, CalloutAnswer::new(status("200"), "")), "each token is answered once");
}

#[test]
fn a_broken_call_has_no_headers_and_a_status() {
    let mut vm = start(&caller("c", GOOD, 100, ON_ANSWER));
    let stream = vm.open_stream();
    vm.request_headers(stream, get("/"), true);
    said(&mut vm);
    vm.callout_answered(4, CalloutAnswer::failed());
    assert_eq!(said(&mut vm), "1 4 0 0 2 0 11 reset 1 reset");
}

#[test]
fn a_call_outlives_its_stream() {
    let mut vm = start(&caller("c", GOOD, 100, ON_ANSWER));
    let stream = vm.open_stream();
    vm.request_headers(stream, get("/"), true);
    vm.close_stream(stream);
    assert!(vm.host().cancelled.is_empty());
    assert!(vm.callout_answered(4, CalloutAnswer::new(HeaderMap::new(), "")));
    assert_eq!(vm.next_wakeup(), None);
}

#[test]
fn calls_of_a_replaced_plugin_context_are_cancelled_when_it_goes() {
    let mut vm = start(&caller("c", GOOD, 100, ON_ANSWER));
    let stream = vm.open_stream();
    vm.request_headers(stream, get("/"), true);
    vm.configure(b"new").unwrap();
    assert!(vm.host().cancelled.is_empty(), "the old stream still lives in the old context");
    vm.close_stream(stream);
    assert_eq!(vm.host().cancelled, [4]);
    assert!(!vm.callout_answered(4, CalloutAnswer::failed()));
}

#[test]
fn grpc_calls_fail_with_a_status_the_sdk_knows() {
    let mut vm = start(
        r#"(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
            (call $note (call $grpc_call (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)
                (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0))) i32.const 0)"#,
    );
    let stream = vm.open_stream();
    vm.request_headers(stream, get("/"), true);
    assert_eq!(said(&mut vm), "10");
}
