//! The bootstrap in real Envoy: it loads, and its routes, profiles and clusters do what the plan says.
//!
//! A guest of a few lines stands in for the filter and repeats what the request tells it to say; so these tests need no
//! filter, and see only what is Envoy's part.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "this is a test")]

mod common;

use envoy_plan::PathNormalization;
use envoy_render::{Format, Options, bootstrap};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// The binary of `$ENVOY`, else the one that `scripts/setup envoy` installs. Without one the test says it is skipped.
fn envoy(test: &str) -> Option<PathBuf> {
    let installed = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.cache/envoy/envoy");
    let left_out = std::env::var("WITHOUT").is_ok_and(|words| words.split_whitespace().any(|word| word == "envoy"));
    let found = std::env::var_os("ENVOY").map(PathBuf::from).or((!left_out && installed.exists()).then_some(installed));
    if found.is_none()
        && let Some(skips) = std::env::var_os("SHUNT_SKIPS")
    {
        let mut skips = std::fs::OpenOptions::new().append(true).create(true).open(skips).unwrap();
        writeln!(skips, "envoy-render {test}: no Envoy").unwrap();
    }
    found
}

/// What an upstream saw: its name, and the head of a request in lower case.
type Seen = Arc<Mutex<Vec<(&'static str, String)>>>;

/// An HTTP/1.1 server that records heads. It answers 200, `/status/N` with N, and `/slow` after a second.
fn upstream(name: &'static str, seen: &Seen) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let seen = Arc::clone(seen);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let seen = Arc::clone(&seen);
            std::thread::spawn(move || answer(name, stream, &seen));
        }
    });
    address
}

fn answer(name: &'static str, mut stream: TcpStream, seen: &Seen) {
    let mut head = String::new();
    let mut lines = BufReader::new(stream.try_clone().unwrap());
    while lines.read_line(&mut head).is_ok_and(|length| length > 2) {}
    let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
    seen.lock().unwrap().push((name, head.to_ascii_lowercase()));
    if path == "/slow" {
        std::thread::sleep(Duration::from_secs(1));
    }
    let status = path.strip_prefix("/status/").unwrap_or("200");
    let _ = write!(stream, "HTTP/1.1 {status} x\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{name}", name.len());
}

struct Running {
    process: Child,
    listen: SocketAddr,
    seen: Seen,
    _directory: tempfile::TempDir,
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Two versions of `web`, two endpoints of which the first cannot be reached, and rules for every kind of profile.
fn config(v1: SocketAddr, v2: SocketAddr, refused: SocketAddr) -> String {
    let rule = |rest: &str| format!("  - {{route: [{{destination: {{host: web.com}}}}], {rest}}}\n");
    let rules = [
        "timeout: 200ms",
        "retries: {attempts: 2, retryOn: '503', backoff: 1ms}",
        "retries: {attempts: 0}",
        "mirror: {host: web.com, subset: v2}",
        "mirror: {host: nowhere.com}",
        "retries: {attempts: 1, perTryTimeout: 100ms, retryOn: 5xx}",
    ];
    format!(
        "apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: web}}
spec:
  hosts: [web.com]
  resolution: STATIC
  ports: [{{number: 80, name: http, protocol: HTTP}}]
  endpoints:
  - {{address: 127.0.0.1, ports: {{http: {}}}, labels: {{version: v1}}}}
  - {{address: 127.0.0.1, ports: {{http: {}}}, labels: {{version: v2}}}}
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: half}}
spec:
  hosts: [half.com]
  resolution: STATIC
  ports: [{{number: 80, name: http, protocol: HTTP}}]
  endpoints:
  - {{address: 127.0.0.1, ports: {{http: {}}}}}
  - {{address: 127.0.0.1, ports: {{http: {}}}}}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{name: half}}
spec: {{host: half.com, trafficPolicy: {{loadBalancer: {{simple: ROUND_ROBIN}}}}}}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{name: web}}
spec:
  host: web.com
  subsets: [{{name: v1, labels: {{version: v1}}}}, {{name: v2, labels: {{version: v2}}}}, {{name: none, labels: {{version: v9}}}}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: web}}
spec:
  hosts: [web.com]
  http:
{}",
        v1.port(),
        v2.port(),
        refused.port(),
        v1.port(),
        rules.map(rule).concat(),
    )
}

/// Where nobody serves: `tcpmux`.
const NOBODY: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 1);

/// Two addresses to listen on, as options.
fn options() -> Options {
    // Both are held until both are known.
    let held = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    let [listen, admin] = held.map(|listener| listener.local_addr().unwrap());
    Options { listen, admin, path_normalization: PathNormalization::default(), application: None }
}

fn write_bootstrap(directory: &Path, file: &str, config: &str, options: &Options) -> PathBuf {
    let (plan, config) = common::read(config);
    let guest = wat::parse_str(include_str!("guest.wat")).unwrap();
    let path = directory.join(file);
    let text = Format::of_file(&path).write(&bootstrap(&plan, &config, &guest, options), &["A comment."]);
    std::fs::write(&path, text).unwrap();
    path
}

fn start(envoy: &Path) -> Running {
    let seen = Seen::default();
    let (v1, v2) = (upstream("v1", &seen), upstream("v2", &seen));
    let directory = tempfile::tempdir().unwrap();
    let options = options();
    let path = write_bootstrap(directory.path(), "bootstrap.yaml", &config(v1, v2, NOBODY), &options);
    let log = std::fs::File::create(directory.path().join("log")).unwrap();
    let process = Command::new(envoy)
        .args(["--concurrency", "1", "--disable-hot-restart", "--log-level", "warn", "-c"])
        .arg(&path)
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .unwrap();
    let mut running = Running { process, listen: options.listen, seen, _directory: directory };
    let patience = Instant::now() + Duration::from_secs(30);
    while TcpStream::connect(options.listen).is_err() {
        let log = || std::fs::read_to_string(path.with_file_name("log")).unwrap();
        assert!(running.process.try_wait().unwrap().is_none(), "Envoy ended: {}", log());
        assert!(Instant::now() < patience, "Envoy does not listen: {}", log());
        std::thread::sleep(Duration::from_millis(20));
    }
    running
}

impl Running {
    /// Status and body of one request, and what the upstreams saw of it.
    fn ask(&self, path: &str, headers: &[(&str, &str)]) -> (u16, String, Vec<(&'static str, String)>) {
        self.seen.lock().unwrap().clear();
        let mut stream = TcpStream::connect(self.listen).unwrap();
        let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        write!(stream, "GET {path} HTTP/1.1\r\nhost: web.com:8080\r\n{headers}connection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_default();
        let (_, body) = answer.split_once("\r\n\r\n").unwrap_or_default();
        (status, body.to_owned(), self.seen.lock().unwrap().clone())
    }

    /// How often each upstream is reached within two seconds, once `expected` are there.
    fn wait_for(&self, expected: usize) -> BTreeMap<&'static str, usize> {
        let patience = Instant::now() + Duration::from_secs(2);
        while self.seen.lock().unwrap().len() < expected && Instant::now() < patience {
            std::thread::sleep(Duration::from_millis(5));
        }
        let mut counts = BTreeMap::new();
        for (name, _) in self.seen.lock().unwrap().iter() {
            *counts.entry(*name).or_default() += 1;
        }
        counts
    }
}

const V1: (&str, &str) = ("say-cluster", "outbound|80|v1|web.com");

#[test]
fn envoy_accepts_the_bootstrap_as_yaml_and_as_json() {
    let Some(envoy) = envoy("envoy_accepts_the_bootstrap_as_yaml_and_as_json") else { return };
    let directory = tempfile::tempdir().unwrap();
    let options = options();
    let text = config(NOBODY, NOBODY, NOBODY)
        .replace("timeout: 200ms", "timeout: 200ms, fault: {delay: {fixedDelay: 1s, percentage: {value: 1}}}")
        .replace("protocol: HTTP}", "protocol: HTTP2}");
    for file in ["bootstrap.yaml", "bootstrap.json", "bootstrap"] {
        let path = write_bootstrap(directory.path(), file, &text, &options);
        let output =
            Command::new(&envoy).args(["--mode", "validate", "--log-level", "warn", "-c"]).arg(&path).output().unwrap();
        let log = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{file}: {log}");
        // This one istiod writes too; there is nothing else that does the same.
        let known = |line: &&str| !line.contains("RouteAction.max_grpc_timeout");
        assert!(!log.lines().filter(known).any(|line| line.contains("eprecated")), "{file}: {log}");
    }
}

#[test]
fn envoy_carries_the_plan_out() {
    let Some(envoy) = envoy("envoy_carries_the_plan_out") else { return };
    let envoy = start(&envoy);

    // Nothing is served unless the filter says where to.
    let (status, _, seen) = envoy.ask("/", &[]);
    assert_eq!((status, seen.len()), (404, 0));
    let forged = [("x-shunt-cluster", "outbound|80|v1|web.com"), ("X-Shunt-Profile", "p1")];
    assert_eq!(envoy.ask("/", &forged).0, 404, "a client cannot say it");

    // The cluster is the one the filter names, and nobody behind sees what was said.
    let forged = [
        V1,
        ("x-shunt-other", "1"),
        ("x-envoy-fault-delay-request", "5000"),
        ("x-envoy-fault-new", "1"),
        ("x-request-id", "mine"),
    ];
    let (status, body, seen) = envoy.ask("/a/../b%61//c%2F?q=%61", &forged);
    assert_eq!((status, body.as_str()), (200, "v1"));
    let head = &seen[0].1;
    assert!(head.starts_with("get /ba//c%2f?q=%61 http/1.1"), "{head}");
    assert!(!head.contains("x-shunt-") && !head.contains("x-envoy-fault-"), "{head}");
    assert!(head.contains("host: web.com:8080\r\n") && head.contains("x-request-id: mine\r\n"), "{head}");
    assert!(head.contains("x-envoy-attempt-count: 1\r\n"), "{head}");
    assert_eq!(envoy.ask("/", &[("say-cluster", "outbound|80|v2|web.com")]).1, "v2");

    // What does not exist is 503: no cluster, and no endpoint.
    assert_eq!(envoy.ask("/", &[("say-cluster", "outbound|80|v7|web.com")]).0, 503);
    assert_eq!(envoy.ask("/", &[("say-cluster", "outbound|80|none|web.com")]).0, 503);
    // A profile that does not exist matches no route.
    assert_eq!(envoy.ask("/", &[V1, ("say-profile", "p99")]).0, 404);

    // Timeouts: none by default.
    assert_eq!(envoy.ask("/slow", &[V1]).0, 200);
    assert_eq!(envoy.ask("/slow", &[V1, ("say-profile", "p1")]).0, 504);
    let (status, _, seen) = envoy.ask("/slow", &[V1, ("say-profile", "p6")]);
    assert_eq!((status, seen.len()), (504, 2), "the per-try timeout is retried once");

    // Retries: the default does not repeat what the application answered.
    assert_eq!(envoy.ask("/status/503", &[V1]).2.len(), 1);
    assert_eq!(envoy.ask("/status/503", &[V1, ("say-profile", "p2")]).2.len(), 3);
    assert_eq!(envoy.ask("/status/500", &[V1, ("say-profile", "p2")]).2.len(), 1);
    // But it does repeat what never arrived, elsewhere.
    let half = ("say-cluster", "outbound|80||half.com");
    let refused = (0..20).filter(|_| envoy.ask("/", &[half, ("say-profile", "p3")]).0 == 503).count();
    assert!(refused > 0, "without retries some requests meet the endpoint that is not there");
    assert!((0..20).all(|_| envoy.ask("/", &[half]).0 == 200), "the default avoids it");

    // Mirrors: one copy, clean, under the same name; a mirror that does not exist costs nothing.
    let (status, body, _) = envoy.ask("/", &[V1, ("say-profile", "p4")]);
    assert_eq!((status, body.as_str()), (200, "v1"));
    assert_eq!(envoy.wait_for(2), BTreeMap::from([("v1", 1), ("v2", 1)]));
    for (_, head) in envoy.seen.lock().unwrap().iter() {
        assert!(head.contains("host: web.com:8080\r\n") && !head.contains("x-shunt-"), "{head}");
    }
    assert_eq!(envoy.ask("/", &[V1, ("say-profile", "p5")]).0, 200);
}
