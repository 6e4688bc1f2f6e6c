//! What the compiled filter costs in the host: reading a configuration of 1 to 10,000 rules (time, linear memory), and one
//! request through it from open to close. `make bench` runs it; the fastest of several rounds counts.
#![allow(clippy::expect_used, clippy::disallowed_methods, reason = "a benchmark may fail, and measures real time")]

use host_abi::{
    Callout, CalloutError, Callouts, Clock, Entropy, Flow, HeaderMap, Log, LogLevel, MetricError, MetricKind,
    MetricStore, Metrics, Module, PluginConfig, Properties, StreamId, Vm,
};
use serde_json::json;
use std::hint::black_box;
use std::time::Instant;

const FILTER: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/filter.wasm"));
const ROUNDS: u32 = 5;
const REQUESTS: u32 = 50_000;

fn main() {
    let start = Instant::now();
    let module = Module::compile(FILTER).expect("the filter compiles");
    println!(
        "compiling the module: {:.0} ms, {:.2} MB of wasm",
        start.elapsed().as_secs_f64() * 1e3,
        FILTER.len() as f64 / 1e6
    );
    println!("{:>7} {:>16} {:>16} {:>14}", "rules", "configure, ms", "memory, MiB", "request, ns");
    for rules in [1, 10, 100, 1_000, 10_000] {
        let configuration = configuration(rules);
        let start = Instant::now();
        let mut vm = vm(&module, configuration);
        let configured = start.elapsed().as_secs_f64() * 1e3;
        let memory = vm.memory_bytes() as f64 / f64::from(1 << 20);
        println!("{rules:>7} {configured:>16.1} {memory:>16.1} {:>14.0}", fastest(|| exchange(&mut vm, rules)));
    }
    println!(
        "making the two header maps, which is the world's part of it: {:.0} ns",
        fastest(|| drop(black_box((request(1), response()))))
    );
}

fn fastest(mut work: impl FnMut()) -> f64 {
    let mut round = || {
        let start = Instant::now();
        (0..REQUESTS).for_each(|_| work());
        start.elapsed().as_secs_f64() * 1e9 / f64::from(REQUESTS)
    };
    (0..ROUNDS).map(|_| round()).fold(f64::INFINITY, f64::min)
}

fn vm(module: &Module, configuration: Vec<u8>) -> Vm<Still> {
    let config = PluginConfig { name: "shunt".into(), configuration, ..PluginConfig::default() };
    Vm::start(module, Still::default(), config).expect("the filter takes the configuration")
}

/// One request that meets the last rule, and its answer.
fn exchange(vm: &mut Vm<Still>, rules: usize) {
    let stream = vm.open_stream();
    assert_eq!(vm.request_headers(stream, request(rules), true), Flow::Continue);
    black_box(vm.take_request(stream));
    assert_eq!(vm.response_headers(stream, response(), true), Flow::Continue);
    black_box(vm.take_response(stream));
    black_box(vm.close_stream(stream));
}

fn request(rules: usize) -> HeaderMap {
    let path = format!("/api/v1/resource-{}/items?page=2", rules.saturating_sub(1));
    HeaderMap::from([
        (":method", "GET"),
        (":scheme", "http"),
        (":authority", "shop.example.com"),
        (":path", path.as_str()),
        ("user-agent", "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"),
        ("accept", "application/json"),
        ("accept-encoding", "gzip, deflate, br"),
        ("cookie", "session=6ab7c1f2-9c0e-4d0a-8d43-6d1a5b1f7d11"),
        ("x-forwarded-proto", "http"),
        ("x-request-id", "c2b8a2b1-5a87-4a2e-b6b4-30c0a1ed3f6e"),
    ])
}

fn response() -> HeaderMap {
    HeaderMap::from([(":status", "200"), ("content-type", "application/json"), ("content-length", "0")])
}

fn configuration(rules: usize) -> Vec<u8> {
    let http: Vec<_> = (0..rules)
        .map(|i| {
            let destination = |subset| json!({"host": "shop.example.com", "subset": subset, "port": {"number": 80}});
            json!({
                "match": [{"uri": {"prefix": format!("/api/v1/resource-{i}/")}}],
                "route": [{"destination": destination("v1"), "weight": 80}, {"destination": destination("v2"), "weight": 20}],
            })
        })
        .collect();
    let rules = json!({
        "apiVersion": "networking.istio.io/v1", "kind": "VirtualService", "metadata": {"name": "shop"},
        "spec": {"hosts": ["shop.example.com"], "http": http},
    });
    json!({"objects": [rules]}).to_string().into_bytes()
}

/// A world in which nothing happens.
#[derive(Default)]
struct Still {
    metrics: MetricStore,
}

impl Clock for Still {
    fn realtime_ns(&self) -> u64 {
        0
    }
    fn monotonic_ns(&self) -> u64 {
        0
    }
}

impl Entropy for Still {
    fn fill(&mut self, bytes: &mut [u8]) {
        bytes.fill(7);
    }
}

impl Log for Still {
    fn log(&mut self, _: LogLevel, _: &str) {}
}

impl Metrics for Still {
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

impl Properties for Still {
    fn property(&self, _: Option<StreamId>, _: &[&[u8]]) -> Option<Vec<u8>> {
        None
    }
}

impl Callouts for Still {
    fn dispatch(&mut self, _: u32, _: Callout<'_>) -> Result<(), CalloutError> {
        Err(CalloutError::UnknownCluster)
    }
}
