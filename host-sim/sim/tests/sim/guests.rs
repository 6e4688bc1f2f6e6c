//! Guests that wait: for a tick, for an answer of their own, for ever.

use std::time::Duration;

use host_abi::Module;
use traffic_sim::{AttemptEnd, Behaviour, Ended, Exchange, RequestSpec, Role, Simulator};

use crate::support::{Mesh, V1, V2};

#[test]
fn a_crash_is_told_with_what_led_to_it() {
    let violation = |on_request: &str, others: &str| {
        let violations = send(&mut simulator(on_request, others)).violations;
        let [only] = violations.as_slice() else { panic!("{violations:?}") };
        only.split(", after").next().unwrap().to_owned()
    };
    let end = r#"(func (export "proxy_on_log") (param i32) (unreachable))"#;
    assert_eq!(violation("(i32.const 0)", end), "request 1: the filter crashed in proxy_on_log");
    let answer = r#"(func (export "proxy_on_response_headers") (param i32 i32 i32) (result i32) (unreachable))"#;
    assert_eq!(violation("(i32.const 0)", answer), "request 1: the filter crashed in proxy_on_response_headers");
    let tick = r#"(func (export "proxy_on_tick") (param i32) (unreachable))"#;
    let wait = "(drop (call $become (i32.const 1))) (drop (call $tick (i32.const 50)))
        (drop (call $become (global.get $stream))) (i32.const 1)";
    assert_eq!(violation(wait, tick), "the filter crashed in proxy_on_tick");
}

/// Names the cluster, does `on_request` (1 is pause), and has these other functions.
#[allow(clippy::unwrap_used, reason = "a helper of tests")]
fn simulator(on_request: &str, others: &str) -> Simulator {
    // A header map as guests write it: count, lengths, then names and values, each ended by a zero.
    let headers = [(":method", "GET"), (":path", "/ask"), (":authority", "v2")];
    let number = |number: usize| u32::try_from(number).unwrap().to_le_bytes();
    let mut map = number(headers.len()).to_vec();
    headers.iter().for_each(|(name, value)| map.extend([number(name.len()), number(value.len())].concat()));
    headers.iter().for_each(|(name, value)| map.extend(format!("{name}\0{value}\0").bytes()));
    let map: String = map.iter().map(|byte| format!("\\{byte:02x}")).collect();
    let (v1, v2) = (V1.len(), V2.len());
    let text = format!(
        r#"(module
        (import "env" "proxy_add_header_map_value" (func $add (param i32 i32 i32 i32 i32) (result i32)))
        (import "env" "proxy_set_tick_period_milliseconds" (func $tick (param i32) (result i32)))
        (import "env" "proxy_set_effective_context" (func $become (param i32) (result i32)))
        (import "env" "proxy_continue_stream" (func $resume (param i32) (result i32)))
        (import "env" "proxy_http_call" (func $call (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
        (import "env" "proxy_send_local_response" (func $reply (param i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
        (memory (export "memory") 4)
        (data (i32.const 1024) "x-shunt-cluster")
        (data (i32.const 1100) "{V1}")
        (data (i32.const 1200) "{V2}")
        (data (i32.const 1300) "{map}")
        (global $stream (mut i32) (i32.const 0))
        (func (export "proxy_abi_version_0_2_1"))
        (func (export "malloc") (param i32) (result i32) (i32.const 65536))
        (func (export "proxy_on_vm_start") (param i32 i32) (result i32) (i32.const 1))
        (func $ask (param $timeout i32)
            (drop (call $call (i32.const 1200) (i32.const {v2}) (i32.const 1300) (i32.const {size})
                (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (local.get $timeout) (i32.const 0))))
        (func $go_on
            (drop (call $become (global.get $stream)))
            (drop (call $resume (i32.const 0))))
        (func (export "proxy_on_request_headers") (param $id i32) (param i32 i32) (result i32)
            (global.set $stream (local.get $id))
            (drop (call $add (i32.const 0) (i32.const 1024) (i32.const 15) (i32.const 1100) (i32.const {v1})))
            {on_request})
        {others})"#,
        size = map.len() / 3,
    );
    let module = Module::compile(&wat::parse_str(text).unwrap()).unwrap();
    Simulator::new(&module, b"", Mesh::split(1, 0).plan(), 1).unwrap()
}

/// A callout is answered 200 after 30 ms, an attempt at once.
fn send(sim: &mut Simulator) -> Exchange {
    sim.request(&RequestSpec::new("POST", "host", "/", [("", ""); 0], "body"), |sent| match sent.role {
        Role::Callout => Behaviour::status(200).after(Duration::from_millis(30)),
        Role::Primary | Role::Shadow => Behaviour::status(204),
    })
}

#[test]
fn a_tick_lets_a_request_go() {
    let tick = r#"(func (export "proxy_on_tick") (param i32)
        (drop (call $tick (i32.const 0)))
        (call $go_on))"#;
    // The period belongs to the plugin context, which is the first.
    let wait = "(drop (call $become (i32.const 1))) (drop (call $tick (i32.const 50)))
        (drop (call $become (global.get $stream))) (i32.const 1)";
    let exchange = send(&mut simulator(wait, tick));
    assert_eq!((exchange.response.status, exchange.response.took), (Some(204), Duration::from_millis(50)));
    assert_eq!(&exchange.attempts[0].body[..], b"body");
    assert!(exchange.violations.is_empty(), "{exchange:?}");
}

#[test]
fn a_callout_is_an_exchange_of_its_own() {
    let answered = r#"(func (export "proxy_on_http_call_response") (param i32 i32 i32 i32 i32) (call $go_on))"#;
    let exchange = send(&mut simulator("(call $ask (i32.const 1000)) (i32.const 1)", answered));
    assert_eq!((exchange.response.status, exchange.response.took), (Some(204), Duration::from_millis(30)));
    let [callout] = exchange.callouts.as_slice() else { panic!("{exchange:?}") };
    assert_eq!((callout.cluster.as_str(), callout.end), (V2, AttemptEnd::Answered(200)));
    assert_eq!(callout.headers.get_str(":path"), Some("/ask"));
    assert!(exchange.violations.is_empty(), "{exchange:?}");
}

#[test]
fn a_callout_has_its_time() {
    let answered = r#"(func (export "proxy_on_http_call_response") (param i32 i32 i32 i32 i32) (call $go_on))"#;
    let exchange = send(&mut simulator("(call $ask (i32.const 10)) (i32.const 1)", answered));
    assert_eq!((exchange.response.status, exchange.response.took), (Some(204), Duration::from_millis(10)));
    assert_eq!(exchange.callouts[0].end, AttemptEnd::TimedOut);
}

#[test]
fn a_request_held_for_ever_is_given_up() {
    let exchange = send(&mut simulator("(i32.const 1)", ""));
    assert_eq!((exchange.response.status, exchange.response.took), (Some(504), Duration::from_secs(300)));
    assert_eq!(exchange.response.details, "stream_idle_timeout");
    assert!(exchange.attempts.is_empty() && exchange.violations.is_empty(), "{exchange:?}");
}

#[test]
fn an_answer_of_the_filter_takes_the_place_of_the_upstreams() {
    let replace = r#"(func (export "proxy_on_response_headers") (param i32 i32 i32) (result i32)
        (drop (call $reply (i32.const 418) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)
            (i32.const 0) (i32.const 0) (i32.const -1)))
        (i32.const 1))"#;
    let exchange = send(&mut simulator("(i32.const 0)", replace));
    assert_eq!((exchange.response.ended, exchange.response.status), (Ended::Answered, Some(418)));
    assert_eq!((exchange.response.cluster.as_deref(), exchange.attempts.len()), (Some(V1), 1));
    assert!(exchange.violations.is_empty(), "{exchange:?}");
}

#[test]
fn a_guest_that_traps_takes_nothing_else_down() {
    let mut sim = simulator("(unreachable)", "");
    let crash = "request 1: the filter crashed in proxy_on_request_headers, after 0 ms: wasm trap: wasm `unreachable` \
                 instruction executed; `--seed 1 --trace 1` plays it again";
    for violations in [&[crash][..], &[]] {
        let exchange = send(&mut sim);
        assert_eq!((exchange.response.status, exchange.attempts.len()), (Some(503), 0));
        assert_eq!(exchange.violations, violations);
    }
    assert!(sim.log().iter().any(|(_, line, _)| line.starts_with("the filter crashed")), "{:?}", sim.log());
}
