//! The plugin as a whole: loading, configuring, ticks, queues, shared data, properties, metrics, WASI.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test may fail")]

mod support;

use host_abi::{AskError, CompileError, Module, PluginConfig, SharedStore, StartError, Vm};
use support::*;

fn compile_wat(text: &str) -> Result<Module, CompileError> {
    Module::compile(&wat::parse_str(text).unwrap())
}

#[test]
fn what_is_no_filter_is_refused_with_a_reason() {
    assert!(matches!(Module::compile(b"hello"), Err(CompileError::Invalid(_))));
    assert!(matches!(compile_wat("(module)"), Err(CompileError::NoAbiMarker)));
    let marker = r#"(func (export "proxy_abi_version_0_2_0"))"#;
    assert!(matches!(compile_wat(&format!("(module {marker})")), Err(CompileError::NoAllocator)));
    let allocator = r#"(func (export "proxy_on_memory_allocate") (param i32) (result i32) i32.const 0)"#;
    assert!(matches!(compile_wat(&format!("(module {marker} {allocator})")), Err(CompileError::NoMemory)));
    let memory = r#"(memory (export "memory") 1)"#;
    assert!(compile_wat(&format!("(module {marker} {allocator} {memory})")).is_ok());
    let error = compile_wat(r#"(module (import "env" "proxy_fly" (func)))"#).err().unwrap();
    assert_eq!(error.to_string(), "the module imports env.proxy_fly, which this host does not offer");
    let newer = compile_wat(&format!(r#"(module (func (export "proxy_abi_version_0_3_0")) {allocator} {memory})"#));
    assert!(matches!(newer, Err(CompileError::NoAbiMarker)));
}

#[test]
fn a_hostcall_of_another_signature_does_not_load() {
    let module = compile_wat(
        r#"(module (import "env" "proxy_log" (func (param i64)))
        (func (export "proxy_abi_version_0_2_1")) (memory (export "memory") 1)
        (func (export "malloc") (param i32) (result i32) i32.const 0))"#,
    );
    let started = Vm::start(&module.unwrap(), TestHost::default(), PluginConfig::default());
    assert!(matches!(started, Err(StartError::Link(_))));
}

/// Says its configuration, refuses one that starts with `!`, traps at `?`.
const CONFIGURED: &str = r#"
    (global $root (mut i32) (i32.const 0))
    (func (export "_initialize") (call $say (i32.const 7)))
    (func (export "proxy_on_configure") (param i32 i32) (result i32) (local $first i32)
        (drop (call $get_buffer (i32.const 7) (i32.const 0) (i32.const 99) (i32.const 0) (i32.const 4)))
        (call $given)
        (local.set $first (i32.load8_u (i32.load (i32.const 0))))
        (if (i32.eq (local.get $first) (i32.const 63)) (then unreachable))
        (i32.ne (local.get $first) (i32.const 33)))
    (func (export "proxy_on_context_create") (param i32 i32)
        (if (local.get 1) (then (call $say (local.get 1)))))
    (func (export "proxy_on_done") (param i32) (result i32)
        (call $say (i32.add (i32.const 10) (local.get 0))) i32.const 1)
    (func (export "proxy_on_delete") (param i32) (call $say (i32.add (i32.const 20) (local.get 0))))"#;

fn configured(text: &str) -> Result<Vm<TestHost>, StartError> {
    start_with(CONFIGURED, PluginConfig { configuration: text.into(), ..PluginConfig::default() })
}

#[test]
fn the_guest_is_initialised_and_then_configured() {
    let mut vm = configured("good").unwrap();
    assert_eq!(said(&mut vm), "7 good");
}

#[test]
fn a_refusal_at_the_start_has_the_guests_words() {
    let error = configured("!bad").err().unwrap();
    assert_eq!(error.to_string(), "the filter refuses its configuration\n  7\n  !bad");
    assert!(matches!(configured("?"), Err(StartError::Trap { .. })));
}

#[test]
fn a_new_configuration_serves_new_streams_and_the_old_goes_when_its_streams_are_gone() {
    let mut vm = configured("one").unwrap();
    let old = vm.open_stream();
    said(&mut vm);
    vm.configure(b"two").unwrap();
    let new = vm.open_stream();
    assert_eq!(said(&mut vm), "two 3", "the context of the new stream belongs to plugin context 3");
    vm.close_stream(old);
    assert_eq!(said(&mut vm), "12 22 11 21", "the stream, then the old plugin context, are done and deleted");
    vm.close_stream(new);
    assert_eq!(said(&mut vm), "14 24");
}

#[test]
fn a_refused_or_crashing_configuration_leaves_the_old_one_alone() {
    let mut vm = configured("one").unwrap();
    said(&mut vm);
    assert!(matches!(vm.configure(b"!no"), Err(StartError::Refused { .. })));
    assert!(matches!(vm.configure(b"?"), Err(StartError::Trap { .. })));
    assert_eq!(said(&mut vm), "", "it was only tried in a canary");
    assert!(!vm.is_dead());
    vm.open_stream();
    assert_eq!(said(&mut vm), "1");
}

#[test]
fn a_plugin_context_may_ask_for_time_before_it_goes() {
    let mut vm = start(
        r#"(func (export "proxy_on_configure") (param i32 i32) (result i32)
            (drop (call $set_tick_period (i32.const 1))) i32.const 1)
        (func (export "proxy_on_done") (param i32) (result i32) i32.const 0)
        (func (export "proxy_on_tick") (param i32) (call $note (call $done)))
        (func (export "proxy_on_delete") (param i32) (call $say (i32.add (i32.const 20) (local.get 0))))"#,
    );
    vm.configure(b"new").unwrap();
    assert_eq!(said(&mut vm), "");
    vm.host_mut().now_ns = 1_000_000;
    vm.tick();
    assert_eq!(said(&mut vm), "0 21 1", "the old one is done and deleted; the new one was not asked to go");
}

#[test]
fn ticks_come_one_period_after_another_until_switched_off() {
    let mut vm = start(
        r#"(global $left (mut i32) (i32.const 2))
        (func (export "proxy_on_configure") (param i32 i32) (result i32)
            (drop (call $set_tick_period (i32.const 5))) i32.const 1)
        (func (export "proxy_on_tick") (param i32)
            (call $say (local.get 0))
            (global.set $left (i32.sub (global.get $left) (i32.const 1)))
            (if (i32.eqz (global.get $left)) (then (drop (call $set_tick_period (i32.const 0))))))"#,
    );
    assert_eq!(vm.tick_due(), Some(5_000_000));
    vm.tick();
    assert_eq!(said(&mut vm), "", "not yet");
    vm.host_mut().now_ns = 7_000_000;
    vm.tick();
    assert_eq!((said(&mut vm).as_str(), vm.tick_due()), ("1", Some(12_000_000)));
    vm.host_mut().now_ns = 100_000_000;
    vm.tick();
    assert_eq!((said(&mut vm).as_str(), vm.tick_due()), ("1", None));
}

#[test]
fn shared_data_is_shared_by_vm_id_and_guarded_by_its_number() {
    let body = r#"(data (i32.const 1024) "key") (data (i32.const 1030) "one")
        (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
            (call $note (call $get_shared (i32.const 1024) (i32.const 3) (i32.const 0) (i32.const 4) (i32.const 8)))
            (call $note (call $set_shared (i32.const 1024) (i32.const 3) (i32.const 1030) (i32.const 3) (i32.const 0)))
            (call $note (call $get_shared (i32.const 1024) (i32.const 3) (i32.const 0) (i32.const 4) (i32.const 8)))
            (call $given)
            (call $note (call $set_shared (i32.const 1024) (i32.const 3) (i32.const 1030) (i32.const 3)
                (i32.add (i32.const 1) (i32.load (i32.const 8)))))
            i32.const 0)"#;
    let shared = SharedStore::new();
    let with_id = |vm_id: &str| {
        let config = PluginConfig { shared: shared.clone(), vm_id: vm_id.into(), ..PluginConfig::default() };
        let mut vm = start_with(body, config).unwrap();
        let stream = vm.open_stream();
        vm.request_headers(stream, get("/"), true);
        said(&mut vm)
    };
    assert_eq!(with_id(""), "1 0 0 one 8");
    assert_eq!(with_id(""), "0 0 0 one 8");
    assert_eq!(with_id("other"), "1 0 0 one 8");
}

#[test]
fn a_queue_wakes_the_plugin_context_that_registered_it() {
    let mut vm = start(
        r#"(data (i32.const 1024) "item")
        (func (export "proxy_on_configure") (param i32 i32) (result i32)
            (call $note (call $register_queue (i32.const 1024) (i32.const 1) (i32.const 8))) i32.const 1)
        (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
            (call $note (call $enqueue (i32.load (i32.const 8)) (i32.const 1024) (i32.const 4)))
            (call $note (call $enqueue (i32.const 99) (i32.const 1024) (i32.const 4)))
            i32.const 0)
        (func (export "proxy_on_queue_ready") (param i32 i32)
            (call $note (call $dequeue (local.get 1) (i32.const 0) (i32.const 4))) (call $given)
            (call $note (call $dequeue (local.get 1) (i32.const 0) (i32.const 4))))"#,
    );
    let stream = vm.open_stream();
    vm.request_headers(stream, get("/"), true);
    assert_eq!(said(&mut vm), "0 0 1");
    assert_eq!(vm.tick_due(), Some(0), "the queue waits");
    vm.tick();
    assert_eq!((said(&mut vm).as_str(), vm.tick_due()), ("0 item 7", None));
}

#[test]
fn a_queue_that_is_filled_while_it_is_emptied_waits_for_the_next_tick() {
    let mut vm = start(
        r#"(func $put (drop (call $enqueue (i32.load (i32.const 8)) (i32.const 1024) (i32.const 1))))
        (func (export "proxy_on_configure") (param i32 i32) (result i32)
            (drop (call $register_queue (i32.const 1024) (i32.const 1) (i32.const 8))) (call $put) i32.const 1)
        (func (export "proxy_on_queue_ready") (param i32 i32) (call $say (local.get 1)) (call $put))"#,
    );
    vm.tick();
    assert_eq!((said(&mut vm).as_str(), vm.tick_due()), ("1", Some(0)));
}

/// Says what a property is, or its status.
fn property_in(callback: &str, paths: &[&str]) -> String {
    let mut data = String::new();
    let mut calls = String::new();
    for (number, path) in paths.iter().enumerate() {
        let at = 2048 + 64 * number;
        data += &format!(r#"(data (i32.const {at}) "{}")"#, path.replace('.', "\\00"));
        calls += &format!("(call $property (i32.const {at}) (i32.const {}))", path.len());
    }
    format!(
        r#"{data}
        (func $property (param $at i32) (param $len i32) (local $status i32)
            (local.set $status (call $get_property (local.get $at) (local.get $len) (i32.const 0) (i32.const 4)))
            (if (local.get $status) (then (call $note (local.get $status))) (else (call $given))))
        (func (export "proxy_on_{callback}") (param i32 i32 i32) (result i32) {calls} i32.const 0)"#
    )
}

#[test]
fn request_properties_come_from_the_open_map() {
    let paths =
        ["request.path", "request.url_path", "request.query", "request.host", "request.headers.x-a", "response.code"];
    let mut vm = start(&property_in("request_headers", &paths));
    let stream = vm.open_stream();
    let mut head = get("/a?b=c");
    head.append("X-A", "yes");
    vm.request_headers(stream, head, true);
    assert_eq!(said(&mut vm), "/a?b=c /a b=c host yes 1");
}

#[test]
fn request_properties_are_gone_with_the_map_and_the_code_has_come() {
    let mut vm = start(&property_in("response_headers", &["request.path", "response.headers.x", "response.code"]));
    let stream = vm.open_stream();
    vm.request_headers(stream, get("/"), true);
    let mut head = status("65");
    head.append("x", "y");
    vm.response_headers(stream, head, true);
    assert_eq!(said(&mut vm), "1 y A\0\0\0\0\0\0\0");
}

#[test]
fn the_plugins_name_and_the_hosts_properties_are_found() {
    let body = property_in("request_headers", &["plugin_name", "plugin_root_id", "xds.node.id", "no.such"]);
    let config = PluginConfig { name: "shunt".into(), root_id: "root".into(), ..PluginConfig::default() };
    let mut vm = start_with(&body, config).unwrap();
    let stream = vm.open_stream();
    vm.request_headers(stream, get("/"), true);
    assert_eq!(said(&mut vm), "shunt root node-1 1");
}

#[test]
fn a_property_set_by_the_guest_is_read_back_in_one_part_and_told_to_the_host() {
    let mut vm = start(
        &(property_in("response_headers", &["rk", "filter_state.wasm|rk", "a.b"]).replace('|', ".")
            + r#"(data (i32.const 1024) "rk") (data (i32.const 1028) "yes") (data (i32.const 1032) "a\00b")
        (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
            (call $note (call $set_property (i32.const 1024) (i32.const 2) (i32.const 1028) (i32.const 3)))
            (call $note (call $set_property (i32.const 1032) (i32.const 3) (i32.const 1028) (i32.const 3)))
            i32.const 0)"#),
    );
    let stream = vm.open_stream();
    vm.request_headers(stream, get("/"), true);
    vm.response_headers(stream, status("200"), true);
    assert_eq!(said(&mut vm), "0 0 yes yes 1", "a path of two parts cannot be read back");
    assert_eq!(vm.host().properties_set, ["rk=yes", "ab=yes"]);
    assert_eq!(vm.property(stream, b"rk"), Some(&b"yes"[..]));
}

#[test]
fn metrics_follow_envoys_rules() {
    let mut vm = start(
        r#"(data (i32.const 1024) "hits")
        (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
            (call $note (call $define_metric (i32.const 0) (i32.const 1024) (i32.const 4) (i32.const 8)))
            (call $note (call $define_metric (i32.const 3) (i32.const 1024) (i32.const 4) (i32.const 8)))
            (call $note (call $increment_metric (i32.load (i32.const 8)) (i64.const 3)))
            (call $note (call $increment_metric (i32.load (i32.const 8)) (i64.const 0)))
            (call $note (call $increment_metric (i32.const 400) (i64.const 1)))
            (call $note (call $record_metric (i32.load (i32.const 8)) (i64.const 2)))
            (call $note (call $get_metric (i32.load (i32.const 8)) (i32.const 16)))
            (call $say (i32.load (i32.const 16)))
            i32.const 0)"#,
    );
    let stream = vm.open_stream();
    vm.request_headers(stream, get("/"), true);
    assert_eq!(said(&mut vm), "0 2 0 2 1 0 0 5");
    assert_eq!(vm.host().metrics.counter("hits"), 5);
}

#[test]
fn wasi_gives_time_chance_environment_and_log_lines() {
    let body = r#"(data (i32.const 1024) "hello\0a") (data (i32.const 1032) "\00\04\00\00\06\00\00\00")
        (func (export "proxy_on_configure") (param i32 i32) (result i32)
            (call $note (call $random_get (i32.const 16) (i32.const 8)))
            (call $say (i32.load8_u (i32.const 23)))
            (call $note (call $random_get (i32.const 16) (i32.const 65537)))
            (call $note (call $random_get (i32.const -4) (i32.const 8)))
            (call $note (call $clock_time_get (i32.const 1) (i64.const 0) (i32.const 16)))
            (call $say (i32.wrap_i64 (i64.load (i32.const 16))))
            (call $note (call $clock_time_get (i32.const 5) (i64.const 0) (i32.const 16)))
            (call $note (call $environ_sizes_get (i32.const 16) (i32.const 20)))
            (call $say (i32.load (i32.const 20)))
            (call $note (call $environ_get (i32.const 16) (i32.const 64)))
            (call $text (i32.load (i32.const 16)) (i32.const 5))
            (call $note (call $fd_write (i32.const 1) (i32.const 1032) (i32.const 1) (i32.const 16)))
            (call $say (i32.load (i32.const 16)))
            (call $note (call $fd_write (i32.const 7) (i32.const 1032) (i32.const 1) (i32.const 16)))
            i32.const 1)"#;
    let environment = vec![("A".to_owned(), "bcd".to_owned())];
    let mut vm = start_with(body, PluginConfig { environment, ..PluginConfig::default() }).unwrap();
    assert_eq!(said(&mut vm), "0 7 28 21 0 0 52 0 6 0 A=bcd hello 0 6 8");
}

#[test]
fn a_guest_may_allocate_badly_and_only_hurt_itself() {
    let module = compile_wat(
        r#"(module
        (import "env" "proxy_get_header_map_pairs" (func $get_pairs (param i32 i32 i32) (result i32)))
        (import "env" "proxy_log" (func $log (param i32 i32 i32) (result i32)))
        (func (export "proxy_abi_version_0_2_1")) (memory (export "memory") 1)
        (global $at (mut i32) (i32.const 0))
        (func (export "proxy_on_memory_allocate") (param i32) (result i32)
            (global.set $at (i32.sub (global.get $at) (i32.const 1))) (i32.add (global.get $at) (i32.const 1)))
        (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
            (i32.store8 (i32.const 64) (i32.add (i32.const 48) (call $get_pairs (i32.const 0) (i32.const 0) (i32.const 4))))
            (i32.store8 (i32.const 65) (i32.add (i32.const 48) (call $get_pairs (i32.const 0) (i32.const 0) (i32.const 4))))
            (drop (call $log (i32.const 2) (i32.const 64) (i32.const 2)))
            i32.const 0))"#,
    );
    let mut vm = Vm::start(&module.unwrap(), TestHost::default(), PluginConfig::default()).unwrap();
    let stream = vm.open_stream();
    vm.request_headers(stream, get("/"), true);
    assert_eq!(said(&mut vm), "66", "null, then an address outside the memory");
}

/// Answers a question with the question itself, one byte less; dies over an empty one, points outside at `!`.
const ASKED: &str = r#"
    (func (export "echo") (param i32 i32) (result i64)
        (if (i32.eqz (local.get 1)) (then unreachable))
        (if (i32.eq (i32.load8_u (local.get 0)) (i32.const 33)) (then (return (i64.const -1))))
        (i64.or (i64.shl (i64.extend_i32_u (local.get 0)) (i64.const 32))
                (i64.sub (i64.extend_i32_u (local.get 1)) (i64.const 1))))"#;

#[test]
fn a_question_beside_the_callbacks_is_answered() {
    let mut vm = start_with(ASKED, PluginConfig::default()).unwrap();
    assert_eq!(vm.ask_guest("echo", b"hello").unwrap(), b"hell");
    assert!(matches!(vm.ask_guest("fly", b"hello"), Err(AskError::NoSuchFunction(_))));
    assert!(matches!(vm.ask_guest("proxy_on_memory_allocate", b""), Err(AskError::NoSuchFunction(_))));
    assert!(matches!(vm.ask_guest("echo", b"!"), Err(AskError::Trapped(_))));
    assert!(matches!(vm.ask_guest("echo", b"hello"), Err(AskError::Dead)));
    let mut vm = start_with(ASKED, PluginConfig::default()).unwrap();
    assert!(matches!(vm.ask_guest("echo", b""), Err(AskError::Trapped(_))));
}
