//! What the compiled filter costs in the host: reading a configuration of 1 to 10,000 rules of every kind of match and of
//! action (time, linear memory), and one request through it from open to close. `make bench` runs it; the fastest of
//! several rounds counts.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a benchmark may fail, and measures real time"
)]

#[path = "../../../filter/policy/benches/kinds/mod.rs"]
mod kinds;

use envoy_plan::Plan;
use host_abi::{
    Callout, CalloutError, Callouts, Clock, Entropy, HeaderMap, Log, LogLevel, MetricError, MetricKind, MetricStore,
    Metrics, Module, PluginConfig, Properties, StreamId, Vm,
};
use istio_config::{Config, Diagnostics, FilterConfig};
use kinds::{ACTIONS, MATCHES, Request};
use serde_json::{Value, json};
use std::hint::black_box;
use std::time::{Duration, Instant};

const FILTER: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/filter.wasm"));
const RULES: [usize; 4] = [1, 10, 1_000, 10_000];
const ROUNDS: u32 = 5;
const REQUESTS: u32 = 10_000;
/// Once a configuration has taken so long, it is not tried again.
const PATIENCE: Duration = Duration::from_secs(3);
/// Their places among the kinds.
const WEIGHTS: usize = 1;
const PREFIX: usize = 1;

fn main() {
    let start = Instant::now();
    let module = Module::compile(FILTER).expect("the filter compiles");
    println!(
        "compiling the module: {:.0} ms, {:.2} MB of wasm",
        start.elapsed().as_secs_f64() * 1e3,
        FILTER.len() as f64 / 1e6
    );
    let bench = Bench { module };
    println!("{:<32} {:>7} {:>18} {:>14} {:>14}", "match", "rules", "configure, CPU ms", "memory, MiB", "request, ns");
    // `cargo bench --bench filter -- edits` measures the kinds with this word.
    let word = std::env::args().skip(1).find(|word| !word.starts_with('-')).unwrap_or_default();
    for kind in MATCHES.iter().filter(|kind| kind.name.contains(&word)) {
        for rules in RULES {
            let configuration = configuration(rules, kind.block, ACTIONS[WEIGHTS].fields);
            bench.line(kind.name, rules, configuration, (kind.request)(rules - 1));
        }
    }
    println!("{:<32} {:>7} {:>18} {:>14} {:>14}", "action", "rules", "configure, CPU ms", "memory, MiB", "request, ns");
    for action in ACTIONS.iter().filter(|action| action.name.contains(&word)) {
        for rules in RULES {
            let configuration = configuration(rules, MATCHES[PREFIX].block, action.fields);
            bench.line(action.name, rules, configuration, (MATCHES[PREFIX].request)(rules - 1));
        }
    }
    println!("{:<32} {:>7} {:>18} {:>14} {:>14}", "policy", "rules", "configure, CPU ms", "memory, MiB", "request, ns");
    for (name, policy) in policies().into_iter().filter(|(name, _)| name.contains(&word)) {
        let (block, action) = (MATCHES[PREFIX].block, ACTIONS[WEIGHTS].fields);
        let configuration = with_policy(kinds::virtual_service(1, block, action), policy);
        let mut head = (MATCHES[PREFIX].request)(0);
        head.headers.push(("x-user".to_owned(), "4711".to_owned()));
        bench.line(name, 1, configuration, head);
    }
    println!(
        "making the two header maps, which is the world's part of it: {:.0} ns",
        fastest(|| drop(black_box((request(&Request::default()), response()))))
    );
}

struct Bench {
    module: Module,
}

impl Bench {
    fn line(&self, name: &str, rules: usize, configuration: Vec<u8>, head: Request) {
        let mut configured = f64::INFINITY;
        let mut vm = None;
        let begun = Instant::now();
        for round in 0..ROUNDS {
            if round > 0 && begun.elapsed() > PATIENCE {
                break;
            }
            let configuration = configuration.clone();
            let start = cpu_ns();
            vm = Some(self.vm(configuration));
            configured = configured.min((cpu_ns() - start) as f64 / 1e6);
        }
        let mut vm = vm.expect("there was a round");
        let memory = vm.memory_bytes() as f64 / f64::from(1 << 20);
        let request = fastest(|| exchange(&mut vm, &head));
        println!("{name:<32} {rules:>7} {configured:>18.1} {memory:>14.1} {request:>14.0}");
    }

    fn vm(&self, configuration: Vec<u8>) -> Vm<Still> {
        let config = PluginConfig { name: "shunt".into(), configuration, ..PluginConfig::default() };
        Vm::start(&self.module, Still::default(), config).expect("the filter takes the configuration")
    }
}

/// Time this thread was on a processor, as the system counts it: on a busy machine the clock on the wall says nothing.
/// Elsewhere than on Linux, the clock on the wall.
fn cpu_ns() -> u64 {
    static START: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    let charged = std::fs::read_to_string("/proc/thread-self/schedstat").ok();
    let charged = charged.and_then(|text| text.split(' ').next()?.parse().ok());
    charged.unwrap_or_else(|| START.get_or_init(Instant::now).elapsed().as_nanos() as u64)
}

fn fastest(mut work: impl FnMut()) -> f64 {
    let mut round = || {
        let start = Instant::now();
        (0..REQUESTS).for_each(|_| work());
        start.elapsed().as_secs_f64() * 1e9 / f64::from(REQUESTS)
    };
    (0..ROUNDS).map(|_| round()).fold(f64::INFINITY, f64::min)
}

/// One request that meets the last rule, and its answer.
fn exchange(vm: &mut Vm<Still>, head: &Request) {
    let stream = vm.open_stream();
    // Some rules forward it, some answer.
    black_box(vm.request_headers(stream, request(head), true));
    black_box(vm.take_request(stream));
    black_box(vm.response_headers(stream, response(), true));
    black_box(vm.take_response(stream));
    black_box(vm.close_stream(stream));
}

fn request(head: &Request) -> HeaderMap {
    let mut map = HeaderMap::from([
        (":method", head.method.as_str()),
        (":scheme", "http"),
        (":authority", head.authority.as_str()),
        (":path", head.path.as_str()),
        ("user-agent", "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"),
        ("accept", "application/json"),
        ("accept-encoding", "gzip, deflate, br"),
        ("cookie", "session=6ab7c1f2-9c0e-4d0a-8d43-6d1a5b1f7d11"),
        ("x-forwarded-proto", "http"),
        ("x-request-id", "c2b8a2b1-5a87-4a2e-b6b4-30c0a1ed3f6e"),
    ]);
    for (name, value) in &head.headers {
        map.append(name.as_bytes(), value.as_bytes());
    }
    map
}

fn response() -> HeaderMap {
    HeaderMap::from([(":status", "200"), ("content-type", "application/json"), ("content-length", "0")])
}

/// What a `ShuntPolicy` says of a rule with two versions; the first line is that without one.
fn policies() -> [(&'static str, Value); 8] {
    [
        ("versions drawn for each request", Value::Null),
        ("versions by user, a header", json!({ "sticky": { "httpHeaderName": "x-user" } })),
        ("versions by user, a cookie", json!({ "sticky": { "httpCookie": { "name": "session" } } })),
        ("versions by user, a new cookie", json!({ "sticky": { "httpCookie": { "name": "user" } } })),
        ("another version where one fails", json!({ "stable": { "subset": "stable" }, "fallback": {} })),
        (
            "a breaker that has seen no failure",
            json!({ "stable": { "subset": "stable" }, "breaker": { "failurePercent": 50 } }),
        ),
        (
            "a breaker and another version where one fails",
            json!({ "stable": { "subset": "stable" }, "fallback": {}, "breaker": { "failurePercent": 50 } }),
        ),
        ("context looked up, none kept", json!({ "propagate": { "to": ["*.default.svc.cluster.local"] } })),
    ]
}

fn with_policy(rules: Value, mut policy: Value) -> Vec<u8> {
    let name = rules["metadata"]["name"].clone();
    let mut config = Config::default();
    let mut diagnostics = Diagnostics::default();
    config.add(rules, &mut diagnostics);
    if policy.is_object() {
        policy["targetRef"] = json!({ "name": name });
        let object = json!({
            "apiVersion": "shunt.dev/v1alpha1",
            "kind": "ShuntPolicy",
            "metadata": { "name": name },
            "spec": policy,
        });
        config.add(object, &mut diagnostics);
    }
    rendered(config, diagnostics)
}

/// As `shunt render` writes it: with the bindings that tie rules to profile routes.
fn configuration(rules: usize, block: fn(usize) -> Value, action: fn(usize) -> Value) -> Vec<u8> {
    let (mut config, mut diagnostics) = (Config::default(), Diagnostics::default());
    config.add(kinds::virtual_service(rules, block, action), &mut diagnostics);
    rendered(config, diagnostics)
}

fn rendered(config: Config, mut diagnostics: Diagnostics) -> Vec<u8> {
    let (_, bindings) = Plan::build(&config, &mut diagnostics);
    assert!(!diagnostics.has_errors(), "{:?}", diagnostics.iter().collect::<Vec<_>>());
    let config = FilterConfig { config, bindings, namespace: "default".to_owned(), ..FilterConfig::default() };
    config.to_json().to_string().into_bytes()
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
