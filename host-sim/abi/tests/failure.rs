//! Traps, and what traffic meets after one.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test may fail")]

mod support;

use host_abi::{FailurePolicy, Flow, HeaderMap, PluginConfig, Vm, Woken};
use support::*;

/// Traps for a request that has more than the usual four headers, and in on_tick.
const TRAPS: &str = r#"
    (func (export "proxy_on_configure") (param i32 i32) (result i32)
        (drop (call $set_tick_period (i32.const 1000))) i32.const 1)
    (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
        (if (i32.gt_u (local.get 1) (i32.const 4)) (then unreachable)) i32.const 0)
    (func (export "proxy_on_response_headers") (param i32 i32 i32) (result i32) (call $say (i32.const 1)) i32.const 0)
    (func (export "proxy_on_tick") (param i32) unreachable)"#;

fn start_trapping(failure_policy: FailurePolicy) -> Vm<TestHost> {
    start_with(TRAPS, PluginConfig { failure_policy, ..PluginConfig::default() }).unwrap()
}

fn bad() -> HeaderMap {
    let mut headers = get("/");
    headers.set("x-boom", "1");
    headers
}

fn failed() -> Flow {
    Flow::LocalReply { details: "wasm_fail_stream".into() }
}

#[test]
fn the_trapping_stream_gets_one_503_and_no_more_callbacks() {
    let mut vm = start_trapping(FailurePolicy::Closed);
    let stream = vm.open_stream();
    assert_eq!(vm.request_headers(stream, bad(), true), failed());
    assert_eq!(response(&mut vm, stream), "503.");
    let said = said(&mut vm);
    assert!(said.starts_with("the filter crashed in proxy_on_request_headers: "), "no response callback: {said}");
    assert!(vm.is_dead());
    vm.close_stream(stream);
}

#[test]
fn other_streams_of_a_dead_guest_get_503_when_their_response_comes() {
    let mut vm = start_trapping(FailurePolicy::RELOAD);
    let other = vm.open_stream();
    assert_eq!(vm.request_headers(other, get("/"), true), Flow::Continue);
    let stream = vm.open_stream();
    vm.request_headers(stream, bad(), true);
    assert_eq!(vm.response_headers(other, status("200"), false), failed());
    assert_eq!(response(&mut vm, other), "503.");
}

#[test]
fn fail_closed_refuses_later_requests() {
    let mut vm = start_trapping(FailurePolicy::Closed);
    let stream = vm.open_stream();
    vm.request_headers(stream, bad(), true);
    let later = vm.open_stream();
    assert_eq!(vm.request_headers(later, get("/"), true), failed());
    assert_eq!(vm.tick_due(), None);
    vm.close_stream(later);
}

#[test]
fn fail_open_bypasses_the_filter_for_later_requests() {
    let mut vm = start_trapping(FailurePolicy::Open);
    let stream = vm.open_stream();
    assert_eq!(vm.request_headers(stream, bad(), true), failed());
    let later = vm.open_stream();
    assert_eq!(vm.request_headers(later, bad(), false), Flow::Continue);
    assert_eq!(vm.request_body(later, "x", true), Flow::Continue);
    assert_eq!(request(&mut vm, later), "H x.");
    said(&mut vm);
    assert_eq!(vm.response_headers(later, status("200"), true), Flow::Continue);
    assert_eq!((response(&mut vm, later).as_str(), said(&mut vm).as_str()), ("200.", ""));
    vm.close_stream(later);
}

#[test]
fn fail_reload_serves_the_next_request_with_a_new_guest() {
    let mut vm = start_trapping(FailurePolicy::RELOAD);
    let stream = vm.open_stream();
    vm.request_headers(stream, bad(), true);
    let later = vm.open_stream();
    assert_eq!(vm.request_headers(later, get("/"), true), Flow::Continue);
    assert!(!vm.is_dead());
    assert!(vm.tick_due().is_some(), "the new guest has been configured");
    // Within the back-off of one second a second trap is not repaired.
    let second = vm.open_stream();
    vm.request_headers(second, bad(), true);
    let refused = vm.open_stream();
    assert_eq!(vm.request_headers(refused, get("/"), true), failed());
    vm.host_mut().now_ns = 1_000_000_000;
    let served = vm.open_stream();
    assert_eq!(vm.request_headers(served, get("/"), true), Flow::Continue);
    for stream in [stream, later, second, refused, served] {
        vm.close_stream(stream).unwrap();
    }
    assert_eq!(vm.open_streams(), 0);
}

#[test]
fn a_trap_in_a_tick_kills_the_guest_and_nobody_is_woken() {
    let mut vm = start_trapping(FailurePolicy::Closed);
    let stream = vm.open_stream();
    vm.request_headers(stream, get("/"), true);
    vm.host_mut().now_ns = 1_000_000_000;
    vm.tick();
    assert!(vm.is_dead());
    assert_eq!(vm.next_wakeup(), None);
    assert_eq!(vm.response_headers(stream, status("200"), true), failed());
}

#[test]
fn a_trap_in_the_response_body_cuts_the_response_off() {
    let mut vm = start(r#"(func (export "proxy_on_response_body") (param i32 i32 i32) (result i32) unreachable)"#);
    let stream = vm.open_stream();
    vm.request_headers(stream, get("/"), true);
    vm.response_headers(stream, status("200"), false);
    assert_eq!(response(&mut vm, stream), "200");
    assert_eq!(vm.response_body(stream, "x", true), Flow::Reset { details: "wasm_fail_stream".into() });
}

#[test]
fn a_trap_in_on_log_leaves_the_client_alone() {
    let mut vm = start(r#"(func (export "proxy_on_log") (param i32) unreachable)"#);
    let stream = vm.open_stream();
    vm.request_headers(stream, get("/"), true);
    vm.response_headers(stream, status("200"), true);
    assert_eq!(response(&mut vm, stream), "200.");
    assert!(vm.close_stream(stream).is_some());
    assert!(vm.is_dead());
}

#[test]
fn a_trap_takes_back_what_the_stream_had_wished_for_but_not_what_others_had() {
    let mut vm = start(
        r#"(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
            (if (i32.eq (local.get 0) (i32.const 2)) (then (return (i32.const 1))))
            (drop (call $reply_full (i32.const 403) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)
                (i32.const 0) (i32.const 0) (i32.const -1)))
            (drop (call $set_effective_context (i32.const 2)))
            (drop (call $resume (i32.const 0)))
            unreachable)"#,
    );
    let (first, second) = (vm.open_stream(), vm.open_stream());
    vm.request_headers(first, get("/"), true);
    assert_eq!(vm.request_headers(second, get("/"), true), failed());
    assert_eq!(vm.next_wakeup().map(|wakeup| wakeup.what), Some(Woken::Request));
    assert_eq!(request(&mut vm, first), "H.");
}

#[test]
fn proc_exit_and_exhausted_memory_are_traps() {
    for body in [
        "(call $proc_exit (i32.const 3))",
        "(if (i32.eq (memory.grow (i32.const 20000)) (i32.const -1)) (then unreachable))",
    ] {
        let mut vm = start(&format!(
            r#"(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) {body} i32.const 0)"#
        ));
        let stream = vm.open_stream();
        assert_eq!(vm.request_headers(stream, get("/"), true), failed());
    }
}

#[test]
fn an_endless_loop_can_be_stopped() {
    let wasm = guest(
        r#"(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) (loop $for_ever (br $for_ever)) i32.const 0)"#,
    );
    let module = host_abi::Module::compile_interruptible(&wasm, 1).unwrap();
    let mut vm = Vm::start(&module, TestHost::default(), PluginConfig::default()).unwrap();
    let stream = vm.open_stream();
    let stopper = std::thread::spawn({
        let module = module.clone();
        move || {
            for _ in 0..500 {
                std::thread::sleep(std::time::Duration::from_millis(2));
                module.advance_epoch();
            }
        }
    });
    assert_eq!(vm.request_headers(stream, get("/"), true), failed());
    stopper.join().unwrap();
}
