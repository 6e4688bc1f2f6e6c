//! An endpoint that joins a running host comes to its share by and by (`loadBalancer.warmup`), in the proxy and in real Envoy.
//! istiod sends endpoints by themselves (EDS), so here Envoy gets the rendered cluster with its endpoints in a file of their own.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "this is a test")]

use serde_json::{Value, json};
use shunt_tests::arms::{render, start_envoy};
use shunt_tests::case::Request;
use shunt_tests::client::Client;
use shunt_tests::process::{self, Process, free_address, is_ok};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};

const HOST: &str = "warm.example.com";
const CLUSTER: &str = "outbound|80||warm.example.com";
const WINDOW: Duration = Duration::from_secs(6);

/// Puts other endpoints in place of those before.
type Tell = dyn FnMut(&[SocketAddr]);

/// A server that answers every request with its name.
fn server(name: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || drop(answer(name, stream)));
        }
    });
    address
}

fn answer(name: &str, stream: TcpStream) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    loop {
        let mut line = String::new();
        while line != "\r\n" {
            line.clear();
            if stream.read_line(&mut line)? == 0 {
                return Ok(());
            }
        }
        let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{name}", name.len());
        stream.get_mut().write_all(answer.as_bytes())?;
    }
}

/// The service with these endpoints, and a rule for it.
fn manifests(method: &str, endpoints: &[SocketAddr]) -> String {
    let endpoints: Vec<String> =
        endpoints.iter().map(|at| format!("{{address: 127.0.0.1, ports: {{http: {}}}}}", at.port())).collect();
    let window = WINDOW.as_secs();
    format!(
        "apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: warm}}
spec: {{hosts: [{HOST}], resolution: STATIC, ports: [{{number: 80, name: http, protocol: HTTP}}], endpoints: [{}]}}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{name: warm}}
spec: {{host: {HOST}, trafficPolicy: {{loadBalancer: {{simple: {method}, warmup: {{duration: {window}s}}}}}}}}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: warm}}
spec: {{hosts: [{HOST}], http: [{{route: [{{destination: {{host: {HOST}}}}}]}}]}}
",
        endpoints.join(", ")
    )
}

/// Puts a file in its place at once.
fn put(path: &Path, text: &str) {
    let next = path.with_extension("next");
    std::fs::write(&next, text).unwrap();
    std::fs::rename(next, path).unwrap();
}

/// A host of the rules, and how it is told of other endpoints.
struct Host {
    listen: SocketAddr,
    _process: Process,
    tell: Box<Tell>,
}

fn proxy(folder: &Path, method: &'static str, endpoints: &[SocketAddr]) -> Host {
    let file = folder.join("rules.yaml");
    put(&file, &manifests(method, endpoints));
    let (listen, admin) = (free_address(), free_address());
    let arguments = [
        "proxy",
        "-f",
        &file.to_string_lossy(),
        "--listen",
        &listen.to_string(),
        "--admin",
        &admin.to_string(),
        "--workers",
        "1",
    ]
    .map(str::to_owned);
    let mut process = Process::start(&process::shunt().unwrap(), arguments, folder.join("log")).unwrap();
    process.wait_until(|| is_ok(admin, "/ready")).unwrap();
    let tell = Box::new(move |endpoints: &[SocketAddr]| put(&file, &manifests(method, endpoints)));
    Host { listen, _process: process, tell }
}

/// What a rendered bootstrap says of the endpoints.
fn assignment(bootstrap: &Value) -> Value {
    let clusters = bootstrap["static_resources"]["clusters"].as_array().unwrap();
    let cluster = clusters.iter().find(|cluster| cluster["name"] == CLUSTER).unwrap();
    let mut assignment = cluster["load_assignment"].clone();
    assignment["@type"] = "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment".into();
    json!({ "resources": [assignment] })
}

fn envoy(envoy: &Path, folder: &Path, method: &'static str, endpoints: &[SocketAddr]) -> Host {
    let (listen, admin) = (free_address(), free_address());
    let (files, rendered, eds) = (folder.join("rules.yaml"), folder.join("rendered.json"), folder.join("eds.json"));
    let render = move |endpoints: &[SocketAddr]| -> Value {
        std::fs::write(&files, manifests(method, endpoints)).unwrap();
        render(&process::shunt().unwrap(), &files, listen, admin, &[], &rendered).unwrap();
        serde_json::from_slice(&std::fs::read(&rendered).unwrap()).unwrap()
    };
    let mut bootstrap = render(endpoints);
    put(&eds, &assignment(&bootstrap).to_string());
    let clusters = bootstrap["static_resources"]["clusters"].as_array_mut().unwrap();
    let cluster = clusters.iter_mut().find(|cluster| cluster["name"] == CLUSTER).unwrap().as_object_mut().unwrap();
    cluster.remove("load_assignment");
    cluster.insert("type".to_owned(), json!("EDS"));
    let source = json!({ "path_config_source": { "path": eds }, "resource_api_version": "V3" });
    cluster.insert("eds_cluster_config".to_owned(), json!({ "eds_config": source }));
    let file = folder.join("bootstrap.json");
    std::fs::write(&file, bootstrap.to_string()).unwrap();
    let process = start_envoy(envoy, &file, admin).unwrap();
    let tell = Box::new(move |endpoints: &[SocketAddr]| put(&eds, &assignment(&render(endpoints)).to_string()));
    Host { listen, _process: process, tell }
}

/// Who answers for this time, in percent.
fn shares(host: &Host, time: Duration) -> BTreeMap<String, f64> {
    let mut counts: BTreeMap<String, u32> = BTreeMap::new();
    let (mut client, request) = (Client::new(host.listen), Request::get(HOST, "/", &[]));
    let begun = Instant::now();
    while begun.elapsed() < time {
        let reply = client.send(&request).unwrap();
        *counts.entry(String::from_utf8(reply.body).unwrap()).or_default() += 1;
    }
    let all: u32 = counts.values().sum();
    counts.into_iter().map(|(name, count)| (name, 100.0 * f64::from(count) / f64::from(all))).collect()
}

fn check(name: &str, host: &mut Host, all: &[SocketAddr; 3]) {
    let near = |shares: &BTreeMap<String, f64>, name: &str, low: f64, high: f64| {
        shares.get(name).is_some_and(|share| (low..high).contains(share))
    };
    // All that begin together are equal, also while they are new.
    let first = shares(host, WINDOW + Duration::from_millis(500));
    assert!(near(&first, "a", 40.0, 60.0) && near(&first, "b", 40.0, 60.0), "{name}: {first:?}");
    (host.tell)(all);
    let begun = Instant::now();
    while !shares(host, Duration::from_millis(50)).contains_key("c") {
        assert!(begun.elapsed() < Duration::from_secs(20), "{name}: the third endpoint never came");
    }
    // From a tenth to a half of its weight: a ninth of the requests, where in the end it gets a third.
    let young = shares(host, WINDOW / 2);
    assert!(near(&young, "c", 5.0, 20.0), "{name}: {young:?}");
    std::thread::sleep(WINDOW / 2);
    let grown = shares(host, Duration::from_secs(1));
    assert!(near(&grown, "c", 27.0, 40.0), "{name}: {grown:?}");
}

#[test]
fn an_endpoint_that_joins_gets_less_than_its_share_at_first() {
    let all = [server("a"), server("b"), server("c")];
    for method in ["ROUND_ROBIN", "LEAST_REQUEST"] {
        let folder = tempfile::tempdir().unwrap();
        check(&format!("proxy, {method}"), &mut proxy(folder.path(), method, &all[..2]), &all);
        match process::envoy() {
            Some(binary) => {
                let folder = tempfile::tempdir().unwrap();
                check(&format!("envoy, {method}"), &mut envoy(&binary, folder.path(), method, &all[..2]), &all);
            }
            None => process::skipped("endpoints that warm up", "no Envoy: name one in ENVOY, or run `make test`"),
        }
    }
}
