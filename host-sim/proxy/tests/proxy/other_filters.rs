//! What our filter does not do but a Proxy-Wasm module may: hold a request, call out, tick, collect bodies, answer late.

use crate::support::*;
use host_abi::Module;
use http_body_util::Full;
use std::time::{Duration, Instant};

/// Calls out with each request head and holds it; the first tick after the answer lets it go, or with `/late` answers
/// 418 in its place. Request bodies are collected to their end.
fn holding_filter() -> Module {
    let cluster = cluster_name("v1");
    let call = [(":method", "GET"), (":path", "/call"), (":authority", "callee")];
    let mut pairs: Vec<u8> = u32::try_from(call.len()).unwrap().to_le_bytes().to_vec();
    for (name, value) in call {
        pairs.extend([name, value].iter().flat_map(|text| u32::try_from(text.len()).unwrap().to_le_bytes()));
    }
    for (name, value) in call {
        pairs.extend([name.as_bytes(), b"\0", value.as_bytes(), b"\0"].concat());
    }
    let escaped: String = pairs.iter().map(|byte| format!("\\{byte:02x}")).collect();
    let text = format!(
        r#"(module
        (import "env" "proxy_set_tick_period_milliseconds" (func $set_tick (param i32) (result i32)))
        (import "env" "proxy_set_effective_context" (func $speak_for (param i32) (result i32)))
        (import "env" "proxy_continue_stream" (func $continue (param i32) (result i32)))
        (import "env" "proxy_add_header_map_value" (func $add_header (param i32 i32 i32 i32 i32) (result i32)))
        (import "env" "proxy_http_call"
            (func $call (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
        (import "env" "proxy_send_local_response"
            (func $answer (param i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
        (memory (export "memory") 2)
        (global $heap (mut i32) (i32.const 65536))
        (global $held (mut i32) (i32.const 0))
        (global $late (mut i32) (i32.const 0))
        (global $called_back (mut i32) (i32.const 0))
        (data (i32.const 1024) "x-shunt-cluster{cluster}")
        (data (i32.const 2048) "{escaped}")
        (func (export "proxy_abi_version_0_2_1"))
        (func (export "malloc") (param i32) (result i32)
            global.get $heap
            (global.set $heap (i32.add (global.get $heap) (local.get 0))))
        (func (export "proxy_on_context_create") (param i32 i32))
        (func (export "proxy_on_vm_start") (param i32 i32) (result i32) i32.const 1)
        (func (export "proxy_on_configure") (param i32 i32) (result i32)
            (drop (call $set_tick (i32.const 20))) i32.const 1)
        (func (export "proxy_on_request_headers") (param $stream i32) (param $headers i32) (param $end i32) (result i32)
            (global.set $held (local.get $stream))
            (global.set $late (local.get $end))
            (drop (call $add_header (i32.const 0) (i32.const 1024) (i32.const 15) (i32.const 1039) (i32.const {cluster_len})))
            (drop (call $call (i32.const 1039) (i32.const {cluster_len}) (i32.const 2048) (i32.const {pairs_len})
                (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 1000) (i32.const 0)))
            i32.const 1)
        (func (export "proxy_on_request_body") (param i32 i32 i32) (result i32) (i32.eqz (local.get 2)))
        (func (export "proxy_on_http_call_response") (param i32 i32 i32 i32 i32)
            (global.set $called_back (i32.const 1)))
        (func (export "proxy_on_tick") (param i32)
            (if (global.get $called_back) (then
                (drop (call $speak_for (global.get $held)))
                (if (global.get $late)
                    (then (drop (call $answer (i32.const 418) (i32.const 0) (i32.const 0) (i32.const 1024) (i32.const 7)
                        (i32.const 0) (i32.const 0) (i32.const -1))))
                    (else (drop (call $continue (i32.const 0)))))
                (global.set $called_back (i32.const 0))))))"#,
        cluster_len = cluster.len(),
        pairs_len = pairs.len(),
    );
    Module::compile(&wat::parse_str(text).unwrap()).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_is_held_called_out_for_and_let_go() {
    let upstream = Upstream::start(|_, seen| async move {
        if seen.line.contains("/call") {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        answer(200, seen.body)
    })
    .await;
    let deployment = deployment(plan(vec![], vec![cluster("v1", &[upstream.address])]), Vec::new());
    let proxy = traffic_proxy::serve(settings(), holding_filter(), deployment).unwrap();
    let begun = Instant::now();
    let body = "0123456789".repeat(20_000);
    let post = request("POST", "/held").body(Full::from(body.clone())).unwrap();
    let got = send(proxy.local_addr(), post).await;
    assert!(begun.elapsed() >= Duration::from_millis(100), "held until the call was answered");
    assert_eq!(got.status, 200);
    assert!(got.body == body);
    let lines: Vec<_> = upstream.seen().into_iter().map(|seen| seen.line).collect();
    assert_eq!(lines, ["GET /call HTTP/1.1", "POST /held HTTP/1.1"]);

    // Without a body it answers itself, from the tick.
    let got = get(proxy.local_addr(), "/late").await;
    assert_eq!((got.status, got.body.as_str()), (418, "x-shunt"));
    assert_eq!(upstream.count(), 3, "the second call and no request");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_leaves_a_held_request_leaves_nothing_behind() {
    let upstream = Upstream::start(|_, _| never()).await;
    let settings = traffic_proxy::Settings { admin: Some("127.0.0.1:0".parse().unwrap()), ..settings() };
    let deployment = deployment(plan(vec![], vec![cluster("v1", &[upstream.address])]), Vec::new());
    let proxy = traffic_proxy::serve(settings, holding_filter(), deployment).unwrap();
    let address = proxy.local_addr();
    let client = tokio::spawn(async move { get(address, "/").await });
    eventually("the call is under way", || upstream.count() == 1).await;
    client.abort();
    // The call ends after its second.
    eventually("the call is given up", || upstream.connections() == 0).await;
    let stats = get(proxy.admin_addr().unwrap(), "/stats/prometheus").await.body;
    for line in ["shunt_filter_streams_open 0", "shunt_callouts_active 0", "shunt_callouts_total 1"] {
        assert!(stats.contains(line), "{line} is not in\n{stats}");
    }
}
