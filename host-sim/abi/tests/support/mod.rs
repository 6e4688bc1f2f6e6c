//! A host that records, and a shell of WAT around the few lines that matter in each test.
#![allow(dead_code, unreachable_pub, missing_docs, reason = "each test file uses its part")]

use host_abi::{
    Callout, CalloutError, Callouts, Clock, Danger, Entropy, HeaderMap, Log, LogLevel, MetricError, MetricKind,
    MetricStore, Metrics, Module, PluginConfig, Properties, StartError, StreamId, Vm,
};

/// A world in which nothing happens by itself.
#[derive(Default)]
pub struct TestHost {
    pub now_ns: u64,
    pub lines: Vec<String>,
    pub dangers: Vec<Danger>,
    pub metrics: MetricStore,
    pub calls: Vec<(u32, String, HeaderMap, Vec<u8>)>,
    pub cancelled: Vec<u32>,
    pub properties_set: Vec<String>,
}

impl Clock for TestHost {
    fn realtime_ns(&self) -> u64 {
        1_000_000_000 + self.now_ns
    }
    fn monotonic_ns(&self) -> u64 {
        self.now_ns
    }
}

impl Entropy for TestHost {
    fn fill(&mut self, bytes: &mut [u8]) {
        bytes.fill(7);
    }
}

impl Log for TestHost {
    fn level(&self) -> LogLevel {
        LogLevel::Info
    }
    fn log(&mut self, _: LogLevel, message: &str) {
        self.lines.push(message.to_owned());
    }
    fn danger(&mut self, _: Option<StreamId>, danger: Danger) {
        self.dangers.push(danger);
    }
}

impl Metrics for TestHost {
    fn define(&mut self, kind: MetricKind, name: &str) -> u32 {
        self.metrics.define(kind, name)
    }
    fn increment(&mut self, id: u32, offset: i64) -> Result<(), MetricError> {
        self.metrics.increment(id, offset)
    }
    fn record(&mut self, id: u32, value: u64) -> Result<(), MetricError> {
        self.metrics.record(id, value)
    }
    fn get(&self, id: u32) -> Result<u64, MetricError> {
        self.metrics.get(id)
    }
}

impl Properties for TestHost {
    fn property(&self, stream: Option<StreamId>, path: &[&[u8]]) -> Option<Vec<u8>> {
        match (path, stream) {
            ([b"xds", b"node", b"id"], _) => Some(b"node-1".to_vec()),
            ([b"source", b"port"], Some(_)) => Some(1234u64.to_le_bytes().to_vec()),
            _ => None,
        }
    }
    fn property_set(&mut self, _: StreamId, path: &[&[u8]], value: &[u8]) {
        self.properties_set.push(format!("{}={}", lossy(&path.concat()), lossy(value)));
    }
}

impl Callouts for TestHost {
    fn dispatch(&mut self, token: u32, call: Callout<'_>) -> Result<(), CalloutError> {
        match call.cluster {
            "missing" => Err(CalloutError::UnknownCluster),
            "full" => Err(CalloutError::CannotSend),
            cluster => {
                self.calls.push((token, cluster.to_owned(), call.headers, call.body.to_vec()));
                Ok(())
            }
        }
    }
    fn cancel(&mut self, token: u32) {
        self.cancelled.push(token);
    }
}

pub fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A guest around these function bodies. They can use:
///
/// - the imports, by their names without `proxy_`, and memory: a scratch page at 0 (results of a hostcall at 0 and 4), data
///   segments from 1024 on, the heap from 65536 on, never freed;
/// - `$say n` logs a number; `$note status` logs a status; `$text at len` logs text; `$given` logs what a hostcall has
///   handed over at (0, 4).
pub fn guest(body: &str) -> Vec<u8> {
    wat::parse_str(source(body)).unwrap_or_else(|error| panic!("{error}\n{body}"))
}

pub fn source(body: &str) -> String {
    let has = |name: &str| body.contains(&format!("\"{name}\""));
    let defaults: String = [
        ("proxy_on_vm_start", "(param i32 i32) (result i32) i32.const 1"),
        ("proxy_on_request_headers", "(param i32 i32 i32) (result i32) i32.const 0"),
    ]
    .iter()
    .filter(|(name, _)| !has(name))
    .map(|(name, rest)| format!("(func (export \"{name}\") {rest})\n"))
    .collect();
    format!(
        r#"(module
        (import "env" "proxy_log" (func $log (param i32 i32 i32) (result i32)))
        (import "env" "proxy_get_current_time_nanoseconds" (func $current_time (param i32) (result i32)))
        (import "env" "proxy_set_tick_period_milliseconds" (func $set_tick_period (param i32) (result i32)))
        (import "env" "proxy_set_effective_context" (func $set_effective_context (param i32) (result i32)))
        (import "env" "proxy_done" (func $done (result i32)))
        (import "env" "proxy_get_status" (func $get_status (param i32 i32 i32) (result i32)))
        (import "env" "proxy_call_foreign_function"
            (func $call_foreign_function (param i32 i32 i32 i32 i32 i32) (result i32)))
        (import "env" "proxy_get_buffer_bytes" (func $get_buffer (param i32 i32 i32 i32 i32) (result i32)))
        (import "env" "proxy_set_buffer_bytes" (func $set_buffer (param i32 i32 i32 i32 i32) (result i32)))
        (import "env" "proxy_get_header_map_pairs" (func $get_pairs (param i32 i32 i32) (result i32)))
        (import "env" "proxy_set_header_map_pairs" (func $set_pairs (param i32 i32 i32) (result i32)))
        (import "env" "proxy_get_header_map_value" (func $get_header (param i32 i32 i32 i32 i32) (result i32)))
        (import "env" "proxy_add_header_map_value" (func $add_header (param i32 i32 i32 i32 i32) (result i32)))
        (import "env" "proxy_replace_header_map_value" (func $set_header (param i32 i32 i32 i32 i32) (result i32)))
        (import "env" "proxy_remove_header_map_value" (func $remove_header (param i32 i32 i32) (result i32)))
        (import "env" "proxy_get_property" (func $get_property (param i32 i32 i32 i32) (result i32)))
        (import "env" "proxy_set_property" (func $set_property (param i32 i32 i32 i32) (result i32)))
        (import "env" "proxy_get_shared_data" (func $get_shared (param i32 i32 i32 i32 i32) (result i32)))
        (import "env" "proxy_set_shared_data" (func $set_shared (param i32 i32 i32 i32 i32) (result i32)))
        (import "env" "proxy_register_shared_queue" (func $register_queue (param i32 i32 i32) (result i32)))
        (import "env" "proxy_dequeue_shared_queue" (func $dequeue (param i32 i32 i32) (result i32)))
        (import "env" "proxy_enqueue_shared_queue" (func $enqueue (param i32 i32 i32) (result i32)))
        (import "env" "proxy_continue_stream" (func $resume (param i32) (result i32)))
        (import "env" "proxy_close_stream" (func $close (param i32) (result i32)))
        (import "env" "proxy_send_local_response"
            (func $reply_full (param i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
        (import "env" "proxy_http_call"
            (func $http_call (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
        (import "env" "proxy_grpc_call"
            (func $grpc_call (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
        (import "env" "proxy_define_metric" (func $define_metric (param i32 i32 i32 i32) (result i32)))
        (import "env" "proxy_increment_metric" (func $increment_metric (param i32 i64) (result i32)))
        (import "env" "proxy_record_metric" (func $record_metric (param i32 i64) (result i32)))
        (import "env" "proxy_get_metric" (func $get_metric (param i32 i32) (result i32)))
        (import "wasi_snapshot_preview1" "random_get" (func $random_get (param i32 i32) (result i32)))
        (import "wasi_snapshot_preview1" "clock_time_get" (func $clock_time_get (param i32 i64 i32) (result i32)))
        (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
        (import "wasi_snapshot_preview1" "environ_sizes_get" (func $environ_sizes_get (param i32 i32) (result i32)))
        (import "wasi_snapshot_preview1" "environ_get" (func $environ_get (param i32 i32) (result i32)))
        (import "wasi_snapshot_preview1" "proc_exit" (func $proc_exit (param i32)))
        (memory (export "memory") 4)
        (global $heap (mut i32) (i32.const 65536))
        (func (export "proxy_abi_version_0_2_1"))
        (func (export "malloc") (param $size i32) (result i32)
            (global.get $heap)
            (global.set $heap (i32.add (global.get $heap) (i32.and (i32.add (local.get $size) (i32.const 7)) (i32.const -8)))))
        (func $say (param $n i32)
            (i32.store8 (i32.const 512) (i32.add (i32.const 48) (i32.rem_u (i32.div_u (local.get $n) (i32.const 10)) (i32.const 10))))
            (i32.store8 (i32.const 513) (i32.add (i32.const 48) (i32.rem_u (local.get $n) (i32.const 10))))
            (if (i32.lt_u (local.get $n) (i32.const 10))
                (then (drop (call $log (i32.const 2) (i32.const 513) (i32.const 1))))
                (else (drop (call $log (i32.const 2) (i32.const 512) (i32.const 2))))))
        (func $note (param $status i32) (call $say (local.get $status)))
        (func $text (param $at i32) (param $len i32) (drop (call $log (i32.const 2) (local.get $at) (local.get $len))))
        (func $given (call $text (i32.load (i32.const 0)) (i32.load (i32.const 4))))
        ;; A local reply of some status without headers, body as given.
        (func $reply (param $status i32) (param $at i32) (param $len i32)
            (call $note (call $reply_full (local.get $status) (i32.const 0) (i32.const 0) (local.get $at) (local.get $len)
                (i32.const 0) (i32.const 0) (i32.const -1))))
        {defaults}
        {body})"#
    )
}

/// Starts such a guest.
pub fn start(body: &str) -> Vm<TestHost> {
    start_with(body, PluginConfig::default()).unwrap()
}

pub fn start_with(body: &str, config: PluginConfig) -> Result<Vm<TestHost>, StartError> {
    Vm::start(&Module::compile(&guest(body)).unwrap(), TestHost::default(), config)
}

/// The guest's log lines since last asked, joined by blanks.
pub fn said(vm: &mut Vm<TestHost>) -> String {
    std::mem::take(&mut vm.host_mut().lines).join(" ")
}

pub fn dangers(vm: &mut Vm<TestHost>) -> Vec<Danger> {
    std::mem::take(&mut vm.host_mut().dangers)
}

pub fn get(path: &str) -> HeaderMap {
    HeaderMap::from([(":method", "GET"), (":path", path), (":authority", "host"), (":scheme", "http")])
}

pub fn status(code: &str) -> HeaderMap {
    HeaderMap::from([(":status", code)])
}

/// What may go on in the request direction, as text: `H` head, the body, `T` trailers, `.` end.
pub fn request(vm: &mut Vm<TestHost>, stream: StreamId) -> String {
    show(vm.take_request(stream).unwrap())
}

/// The same for the response; the head is shown by its status.
pub fn response(vm: &mut Vm<TestHost>, stream: StreamId) -> String {
    show(vm.take_response(stream).unwrap())
}

fn show(part: host_abi::Released<'_>) -> String {
    let mut words = Vec::new();
    if let Some(headers) = part.headers {
        words.push(headers.get_str(":status").unwrap_or("H").to_owned());
    }
    if !part.body.is_empty() {
        words.push(lossy(&part.body));
    }
    if part.trailers.is_some() {
        words.push("T".to_owned());
    }
    words.join(" ") + if part.end { "." } else { "" }
}
