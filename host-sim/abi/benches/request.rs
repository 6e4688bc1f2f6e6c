//! How long the host takes for one request through a filter that does little: it reads all header pairs, sets one header,
//! and has all the other callbacks. A second run without the guest's callbacks shows what the guest's border costs.
//! `cargo bench` is not used: `cargo bench --profile release -p host-abi` runs it with the usual profile.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test may fail")]

#[path = "../tests/support/mod.rs"]
mod support;

use host_abi::{Flow, HeaderMap, Module, PluginConfig, Vm};
use std::hint::black_box;
use support::TestHost;

/// The heap is set back in each request, as a real allocator would reuse what was freed.
const FILTER: &str = r#"
    (data (i32.const 1024) "x-clusteroutbound|80|v2|reviews.default.svc.cluster.local")
    (func (export "proxy_on_context_create") (param i32 i32) (global.set $heap (i32.const 65536)))
    (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
        (drop (call $get_pairs (i32.const 0) (i32.const 0) (i32.const 4)))
        (drop (call $set_header (i32.const 0) (i32.const 1024) (i32.const 9) (i32.const 1033) (i32.const 47)))
        i32.const 0)
    (func (export "proxy_on_response_headers") (param i32 i32 i32) (result i32) i32.const 0)
    (func (export "proxy_on_log") (param i32))
    (func (export "proxy_on_done") (param i32) (result i32) i32.const 1)
    (func (export "proxy_on_delete") (param i32))"#;

const REQUESTS: u32 = 400_000;

fn main() {
    let (head, answer) = (request_head(), response_head());
    time("making the two header maps (the world's work)", || (request_head(), response_head()));
    time("cloning the two header maps", || (head.clone(), answer.clone()));
    measure("filter that reads pairs and sets a header", FILTER);
    measure("filter without callbacks", "");
}

fn measure(name: &str, body: &str) {
    let module = Module::compile(&support::guest(body)).expect("the guest compiles");
    let mut vm = Vm::start(&module, TestHost::default(), PluginConfig::default()).expect("the guest starts");
    let (head, answer) = (request_head(), response_head());
    time(name, || exchange(&mut vm, head.clone(), answer.clone()));
}

#[allow(clippy::disallowed_methods, reason = "a benchmark measures real time")]
fn time<T>(name: &str, mut work: impl FnMut() -> T) {
    let mut best = f64::MAX;
    for _ in 0..5 {
        let begun = std::time::Instant::now();
        for _ in 0..REQUESTS {
            black_box(work());
        }
        best = best.min(begun.elapsed().as_nanos() as f64 / f64::from(REQUESTS));
    }
    println!("{name}: {best:.0} ns");
}

fn request_head() -> HeaderMap {
    HeaderMap::from([
        (":method", "GET"),
        (":path", "/api/v1/products/1/reviews?limit=10"),
        (":authority", "reviews.default.svc.cluster.local:9080"),
        (":scheme", "http"),
        ("user-agent", "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"),
        ("accept", "application/json"),
        ("accept-encoding", "gzip, deflate, br"),
        ("cookie", "session=6ab7c1f2-9c0e-4d0a-8d43-6d1a5b1f7d11"),
        ("x-forwarded-proto", "http"),
        ("x-request-id", "c2b8a2b1-5a87-4a2e-b6b4-30c0a1ed3f6e"),
    ])
}

fn response_head() -> HeaderMap {
    HeaderMap::from([(":status", "200"), ("content-type", "application/json"), ("content-length", "0")])
}

fn exchange(vm: &mut Vm<TestHost>, head: HeaderMap, answer: HeaderMap) {
    let stream = vm.open_stream();
    assert_eq!(vm.request_headers(stream, head, true), Flow::Continue);
    black_box(vm.take_request(stream));
    assert_eq!(vm.response_headers(stream, answer, true), Flow::Continue);
    black_box(vm.take_response(stream));
    black_box(vm.close_stream(stream));
}
