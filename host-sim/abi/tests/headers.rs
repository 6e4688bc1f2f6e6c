//! Header maps as the guest meets them: what Envoy's context does, call by call.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test may fail")]

mod support;

use host_abi::{Flow, HeaderMap};
use support::*;

/// Notes the status of reading header `x-a` from a map, and the value.
const READ: &str = r#"
    (data (i32.const 1024) "X-a")
    (data (i32.const 1032) "x-new")
    (data (i32.const 1040) "Value")
    (func $read (param $map i32) (local $status i32)
        (local.set $status (call $get_header (local.get $map) (i32.const 1024) (i32.const 3) (i32.const 0) (i32.const 4)))
        (call $note (local.get $status))
        (if (i32.eqz (local.get $status)) (then (call $given))))
    (func $write (param $map i32)
        (call $note (call $set_header (local.get $map)
            (i32.const 1032) (i32.const 5) (i32.const 1040) (i32.const 5))))"#;

fn with_a(values: &[&str]) -> HeaderMap {
    let mut headers = get("/");
    for value in values {
        headers.append("x-a", value);
    }
    headers
}

fn run(body: &str, headers: HeaderMap) -> (String, HeaderMap) {
    let mut vm = start(&format!("{READ} {body}"));
    let stream = vm.open_stream();
    vm.request_headers(stream, headers, true);
    let after = vm.request(stream).unwrap().clone();
    (said(&mut vm), after)
}

fn in_request_headers(body: &str) -> String {
    format!(r#"(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) {body} i32.const 0)"#)
}

#[test]
fn get_gives_the_first_value_only() {
    let (said, _) = run(&in_request_headers("(call $read (i32.const 0))"), with_a(&["one", "two"]));
    assert_eq!(said, "0 one");
}

#[test]
fn get_gives_not_found_for_an_absent_header() {
    assert_eq!(run(&in_request_headers("(call $read (i32.const 0))"), get("/")).0, "1");
}

#[test]
fn get_gives_bad_argument_for_a_closed_map_and_for_no_map() {
    // Response headers, request trailers, callout headers, and a number that is no map.
    let body =
        "(call $read (i32.const 2)) (call $read (i32.const 1)) (call $read (i32.const 6)) (call $read (i32.const 99))";
    assert_eq!(run(&in_request_headers(body), get("/")).0, "2 2 2 2");
}

#[test]
fn values_need_not_be_text() {
    let mut headers = get("/");
    headers.append("x-a", b"\xff\xfe");
    let (said, _) = run(&in_request_headers("(call $read (i32.const 0))"), headers);
    assert_eq!(said, "0 \u{fffd}\u{fffd}");
}

#[test]
fn pairs_of_a_closed_map_are_none_and_ok() {
    let body = "(i32.store (i32.const 4) (i32.const 9)) (call $note (call $get_pairs (i32.const 2) (i32.const 0) (i32.const 4))) (call $say (i32.load (i32.const 4)))";
    assert_eq!(run(&in_request_headers(body), get("/")).0, "0 0");
}

#[test]
fn set_replaces_all_and_lower_cases_the_name() {
    let body = in_request_headers(
        "(drop (call $set_header (i32.const 0) (i32.const 1024) (i32.const 3) (i32.const 1040) (i32.const 5)))",
    );
    let (_, after) = run(&body, with_a(&["one", "two"]));
    assert_eq!(after.iter().filter(|(name, _)| *name == b"x-a").count(), 1);
    assert_eq!(after.get_str("x-a"), Some("Value"));
}

#[test]
fn add_leaves_the_others_and_remove_takes_all() {
    let add = "(drop (call $add_header (i32.const 0) (i32.const 1024) (i32.const 3) (i32.const 1040) (i32.const 5)))";
    let (_, after) = run(&in_request_headers(add), with_a(&["one"]));
    assert_eq!(after.get_all("x-a").count(), 2);
    let remove = "(drop (call $remove_header (i32.const 0) (i32.const 1024) (i32.const 3)))";
    let (_, after) = run(&in_request_headers(remove), with_a(&["one", "two"]));
    assert_eq!(after.get("x-a"), None);
}

#[test]
fn set_pairs_replaces_the_whole_map() {
    let body = r#"(data (i32.const 2048) "\01\00\00\00\05\00\00\00\01\00\00\00:path\00/\00")"#;
    let call = in_request_headers("(call $note (call $set_pairs (i32.const 0) (i32.const 2048) (i32.const 20)))");
    let (said, after) = run(&format!("{body} {call}"), with_a(&["one"]));
    assert_eq!(said, "0");
    assert_eq!(after, HeaderMap::from([(":path", "/")]));
}

#[test]
fn broken_pairs_and_bad_addresses_are_a_status_and_change_nothing() {
    let body = "(call $note (call $set_pairs (i32.const 0) (i32.const 1024) (i32.const 8)))
        (call $note (call $set_pairs (i32.const 0) (i32.const -8) (i32.const 100)))
        (call $note (call $get_header (i32.const 0) (i32.const 1024) (i32.const 3) (i32.const -1) (i32.const -1)))
        (call $note (call $get_header (i32.const 0) (i32.const -1) (i32.const -1) (i32.const 0) (i32.const 4)))";
    let (said, after) = run(&in_request_headers(body), with_a(&["one"]));
    assert_eq!(said, "4 6 6 6");
    assert_eq!(after, with_a(&["one"]));
}

#[test]
fn the_request_map_closes_with_continue_and_opens_again_in_on_log() {
    let mut vm = start(&format!(
        r#"{READ}
        (func (export "proxy_on_request_body") (param i32 i32 i32) (result i32)
            (call $read (i32.const 0)) (call $write (i32.const 0)) i32.const 0)
        (func (export "proxy_on_response_headers") (param i32 i32 i32) (result i32)
            (call $read (i32.const 0)) (call $read (i32.const 2)) i32.const 0)
        (func (export "proxy_on_log") (param i32)
            (call $read (i32.const 0)) (call $read (i32.const 2)) (call $read (i32.const 3)) (call $write (i32.const 0)))"#
    ));
    let stream = vm.open_stream();
    vm.request_headers(stream, with_a(&["one"]), false);
    vm.request_body(stream, "x", true);
    assert_eq!(said(&mut vm), "2 2");
    vm.response_headers(stream, HeaderMap::from([(":status", "200"), ("x-a", "re")]), true);
    assert_eq!(said(&mut vm), "2 0 re");
    vm.close_stream(stream);
    assert_eq!(said(&mut vm), "0 one 0 re 1 2");
}

#[test]
fn on_log_without_headers_finds_nothing() {
    let mut vm = start(&format!(r#"{READ} (func (export "proxy_on_log") (param i32) (call $read (i32.const 0)))"#));
    let stream = vm.open_stream();
    vm.close_stream(stream);
    assert_eq!(said(&mut vm), "1");
}

#[test]
fn every_write_to_the_request_map_clears_the_route() {
    let mut vm = start(&format!("{READ} {}", in_request_headers("(call $write (i32.const 0))")));
    let stream = vm.open_stream();
    assert!(!vm.take_route_cleared(stream));
    vm.request_headers(stream, get("/"), true);
    assert!(vm.take_route_cleared(stream));
    assert!(!vm.take_route_cleared(stream));
}

#[test]
fn the_foreign_function_clears_the_route_and_others_are_not_found() {
    let body = format!(
        r#"(data (i32.const 2048) "clear_route_cache") {}"#,
        in_request_headers(
            "(call $note (call $call_foreign_function (i32.const 2048) (i32.const 17) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 4)))
             (call $note (call $call_foreign_function (i32.const 2048) (i32.const 5) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 4)))"
        )
    );
    let mut vm = start(&body);
    let stream = vm.open_stream();
    vm.request_headers(stream, get("/"), true);
    assert_eq!(said(&mut vm), "0 1");
    assert!(vm.take_route_cleared(stream));
}

#[test]
fn trailers_can_be_made_at_the_end_of_the_body() {
    let mut vm = start(&format!(
        r#"{READ}
        (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) (call $write (i32.const 1)) i32.const 0)
        (func (export "proxy_on_request_body") (param i32 i32 i32) (result i32) (call $write (i32.const 1)) i32.const 0)"#
    ));
    let stream = vm.open_stream();
    vm.request_headers(stream, get("/"), false);
    vm.request_body(stream, "a", false);
    vm.request_body(stream, "b", true);
    assert_eq!(said(&mut vm), "2 2 0");
    assert_eq!(request(&mut vm, stream), "H ab T.");
}

#[test]
fn a_held_map_can_be_changed_until_the_resume() {
    let mut vm = start(&format!(
        r#"{READ}
        (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
            (call $note (call $set_tick_period (i32.const 1))) i32.const 1)
        (func (export "proxy_on_tick") (param i32)
            (call $note (call $set_effective_context (i32.const 2)))
            (call $write (i32.const 0))
            (call $note (call $resume (i32.const 0)))
            (call $write (i32.const 0)))"#
    ));
    let stream = vm.open_stream();
    assert_eq!(vm.request_headers(stream, get("/"), true), Flow::Pause);
    vm.host_mut().now_ns = 1_000_000;
    vm.tick();
    assert_eq!(said(&mut vm), "0 0 0 0 2", "set_tick, context, write, resume, and a write after the resume");
    assert_eq!(vm.request(stream).unwrap().get_str("x-new"), Some("Value"));
    assert_eq!(request(&mut vm, stream), "H.");
}
