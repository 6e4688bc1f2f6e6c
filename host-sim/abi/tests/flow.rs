//! Pausing, resuming and the order of callbacks.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test may fail")]

mod support;

use host_abi::{Flow, HeaderMap, PluginConfig, Wakeup, Woken};
use support::*;

/// Says a letter for each callback, and pauses in those whose letter is in `paused`.
fn letters(paused: &str) -> String {
    let callback = |name: &str, letter: char, params: usize| {
        let action = i32::from(paused.contains(letter));
        let params = " i32".repeat(params);
        let at = 2000 + u32::from(letter);
        format!(
            r#"(data (i32.const {at}) "{letter}")
            (func (export "proxy_on_{name}") (param{params}) (result i32) (call $text (i32.const {at}) (i32.const 1)) i32.const {action})"#
        )
    };
    let quiet = |name: &str, letter: char, params: &str, result: &str| {
        let at = 2000 + u32::from(letter);
        format!(
            r#"(data (i32.const {at}) "{letter}")
            (func (export "proxy_on_{name}") (param {params}) {result} (call $text (i32.const {at}) (i32.const 1)) {})"#,
            if result.is_empty() { "" } else { "i32.const 0" }
        )
    };
    [
        quiet("context_create", 'c', "i32 i32", ""),
        callback("request_headers", 'H', 3),
        callback("request_body", 'B', 3),
        callback("request_trailers", 'T', 2),
        callback("response_headers", 'h', 3),
        callback("response_body", 'b', 3),
        callback("response_trailers", 't', 2),
        quiet("log", 'l', "i32", ""),
        quiet("done", 'd', "i32", "(result i32)"),
        quiet("delete", 'x', "i32", ""),
    ]
    .concat()
}

/// Resumes the request (0) or response (1) of context 2 from a tick.
fn resume_by_tick(direction: u32) -> String {
    format!(
        r#"(func (export "proxy_on_configure") (param i32 i32) (result i32)
            (drop (call $set_tick_period (i32.const 1))) i32.const 1)
        (func (export "proxy_on_tick") (param i32)
            (drop (call $set_effective_context (i32.const 2)))
            (drop (call $resume (i32.const {direction}))))"#
    )
}

fn tick(vm: &mut host_abi::Vm<TestHost>) {
    vm.host_mut().now_ns = vm.tick_due().unwrap();
    vm.tick();
}

#[test]
fn callbacks_come_in_envoys_order() {
    let mut vm = start(&letters(""));
    said(&mut vm);
    let stream = vm.open_stream();
    vm.request_headers(stream, get("/"), false);
    vm.request_body(stream, "x", false);
    vm.request_trailers(stream, HeaderMap::from([("a", "b")]));
    vm.response_headers(stream, status("200"), false);
    vm.response_body(stream, "y", false);
    vm.response_trailers(stream, HeaderMap::new());
    vm.close_stream(stream);
    assert_eq!(said(&mut vm), "c H B T h b t l d x");
}

#[test]
fn a_malformed_request_has_log_done_and_delete_only() {
    let mut vm = start(&letters(""));
    said(&mut vm);
    let stream = vm.open_stream();
    vm.close_stream(stream);
    assert_eq!(said(&mut vm), "c l d x");
    assert_eq!(vm.open_streams(), 0);
}

#[test]
fn context_ids_are_never_used_again() {
    let mut vm = start("");
    let first = vm.open_stream();
    vm.close_stream(first);
    let second = vm.open_stream();
    assert_eq!((first.context_id(), second.context_id()), (2, 3));
    assert!(matches!(vm.request_headers(first, get("/"), true), Flow::Reset { .. }), "a stale stream is harmless");
    assert!(vm.take_request(first).is_none());
    assert!(vm.close_stream(first).is_none());
}

#[test]
fn a_guest_without_callbacks_lets_everything_pass() {
    let mut vm = start("");
    let stream = vm.open_stream();
    assert_eq!(vm.request_headers(stream, get("/"), false), Flow::Continue);
    assert_eq!(vm.request_body(stream, "x", true), Flow::Continue);
    assert_eq!(request(&mut vm, stream), "H x.");
    vm.response_headers(stream, status("204"), true);
    assert_eq!(response(&mut vm, stream), "204.");
}

#[test]
fn pause_at_the_head_stops_everything_until_the_resume() {
    let mut vm = start(&(letters("H") + &resume_by_tick(0)));
    let stream = vm.open_stream();
    assert_eq!(vm.request_headers(stream, get("/"), false), Flow::Pause);
    assert_eq!(vm.request_body(stream, "abc", false), Flow::Pause);
    assert_eq!(vm.request_body(stream, "def", true), Flow::Pause);
    assert_eq!(request(&mut vm, stream), "");
    assert_eq!(vm.held_bytes(stream), (6, 0));
    said(&mut vm);
    tick(&mut vm);
    assert_eq!(said(&mut vm), "B", "the body comes in one piece after the resume");
    assert_eq!(vm.next_wakeup(), Some(Wakeup { stream, what: Woken::Request }));
    assert_eq!(vm.next_wakeup(), None);
    assert_eq!(request(&mut vm, stream), "H abcdef.");
}

#[test]
fn a_response_can_be_held_and_resumed() {
    let mut vm = start(&(letters("h") + &resume_by_tick(1)));
    let stream = vm.open_stream();
    vm.request_headers(stream, get("/"), true);
    assert_eq!(vm.response_headers(stream, status("200"), true), Flow::Pause);
    tick(&mut vm);
    assert_eq!(vm.next_wakeup(), Some(Wakeup { stream, what: Woken::Response }));
    assert_eq!(response(&mut vm, stream), "200.");
}

#[test]
fn pause_at_the_head_alone_is_asked_for_and_shows_the_body() {
    let config = PluginConfig { body_while_head_paused: true, ..PluginConfig::default() };
    let mut vm = start_with(&letters("H"), config).unwrap();
    let stream = vm.open_stream();
    assert_eq!(vm.request_headers(stream, get("/"), false), Flow::Pause);
    assert_eq!(vm.request_body(stream, "abc", true), Flow::Continue);
    assert_eq!(request(&mut vm, stream), "H abc.");
}

#[test]
fn a_body_held_back_is_seen_whole_and_can_be_replaced() {
    let mut vm = start(
        r#"(data (i32.const 1024) "NEW")
        (func (export "proxy_on_request_body") (param i32 i32 i32) (result i32)
            (call $say (local.get 1))
            (drop (call $get_buffer (i32.const 0) (i32.const 0) (local.get 1) (i32.const 0) (i32.const 4)))
            (call $given)
            (if (local.get 2) (then
                (call $note (call $set_buffer (i32.const 0) (i32.const 0) (local.get 1) (i32.const 1024) (i32.const 3)))
                (return (i32.const 0))))
            i32.const 1)"#,
    );
    let stream = vm.open_stream();
    vm.request_headers(stream, get("/"), false);
    assert_eq!(request(&mut vm, stream), "H");
    assert_eq!(vm.request_body(stream, "abc", false), Flow::Pause);
    assert_eq!(vm.request_body(stream, "def", true), Flow::Continue);
    assert_eq!(said(&mut vm), "3 abc 6 abcdef 0");
    assert_eq!(request(&mut vm, stream), "NEW.");
}

#[test]
fn a_closed_body_reads_empty_and_cannot_be_written() {
    let mut vm = start(
        r#"(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
            (i32.store (i32.const 4) (i32.const 9))
            (call $note (call $get_buffer (i32.const 0) (i32.const 0) (i32.const 99) (i32.const 0) (i32.const 4)))
            (call $say (i32.load (i32.const 4)))
            (call $note (call $set_buffer (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 1)))
            (call $note (call $get_buffer (i32.const 7) (i32.const 0) (i32.const 99) (i32.const 0) (i32.const 4)))
            (call $note (call $get_buffer (i32.const 77) (i32.const 0) (i32.const 99) (i32.const 0) (i32.const 4)))
            i32.const 0)"#,
    );
    let stream = vm.open_stream();
    vm.request_headers(stream, get("/"), true);
    assert_eq!(said(&mut vm), "0 0 2 1 2", "read, its length, write, plugin configuration, no such buffer");
}

#[test]
fn a_stream_can_be_cut_off() {
    let mut vm = start(
        r#"(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
            (call $note (call $close (i32.const 0))) i32.const 1)"#,
    );
    let stream = vm.open_stream();
    assert_eq!(vm.request_headers(stream, get("/"), true), Flow::Reset { details: "wasm_close_stream".into() });
    assert_eq!(said(&mut vm), "0");
}

#[test]
fn only_living_contexts_can_be_spoken_for() {
    let mut vm = start(
        r#"(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
            (call $note (call $set_effective_context (i32.const 1)))
            (call $note (call $set_effective_context (local.get 0)))
            (call $note (call $set_effective_context (i32.const 2)))
            (call $note (call $set_effective_context (i32.const 99)))
            i32.const 0)"#,
    );
    let gone = vm.open_stream();
    vm.close_stream(gone);
    let stream = vm.open_stream();
    vm.request_headers(stream, get("/"), true);
    assert_eq!(said(&mut vm), "0 0 2 2");
}

#[test]
fn one_stream_can_resume_another() {
    let mut vm = start(
        r#"(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
            (if (i32.eq (local.get 0) (i32.const 2)) (then (return (i32.const 1))))
            (drop (call $set_effective_context (i32.const 2)))
            (drop (call $resume (i32.const 0)))
            i32.const 0)"#,
    );
    let (first, second) = (vm.open_stream(), vm.open_stream());
    assert_eq!(vm.request_headers(first, get("/"), true), Flow::Pause);
    assert_eq!(vm.request_headers(second, get("/"), true), Flow::Continue);
    assert_eq!(vm.next_wakeup(), Some(Wakeup { stream: first, what: Woken::Request }));
    assert_eq!(request(&mut vm, first), "H.");
}
