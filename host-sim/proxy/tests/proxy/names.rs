//! Endpoints with names: those of the plan, and those that requests name themselves.

use crate::support::*;
use envoy_plan::{Cluster, Discovery, Endpoint, Plan};
use http_body_util::Full;
use hyper::Request;
use serde_json::json;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Everything to a cluster whose endpoint is this name, at the port of `address`.
fn named(name: &str, address: SocketAddr) -> Plan {
    let mut cluster = cluster("v1", &[address]);
    cluster.discovery = Discovery::StrictDns;
    cluster.endpoints.iter_mut().for_each(|endpoint| name.clone_into(&mut endpoint.address));
    plan(vec![], vec![cluster])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_is_looked_up_before_the_first_request() {
    let upstream = Upstream::saying("hello").await;
    let proxy = start(named("localhost", upstream.address), all_to("v1", ""));
    assert_eq!(get(proxy.local_addr(), "/").await.body, "hello");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_that_is_nowhere_is_503_and_a_new_deployment_is_served_at_once() {
    let upstream = Upstream::saying("hello").await;
    let lines = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&lines);
    let log: traffic_proxy::LogSink = Arc::new(move |_, line| sink.lock().unwrap().push(line.to_owned()));
    let settings = traffic_proxy::Settings { log, ..settings() };
    let proxy = start_with(settings, named("nowhere.invalid", upstream.address), all_to("v1", ""));
    let got = get(proxy.local_addr(), "/").await;
    assert_eq!((got.status, got.body.as_str()), (503, "no healthy upstream"));
    assert!(lines.lock().unwrap().iter().any(|line| line.starts_with("cannot look up nowhere.invalid")));
    let next = deployment(named("localhost", upstream.address), all_to("v1", ""));
    tokio::task::block_in_place(|| proxy.deploy(next)).unwrap();
    assert_eq!(get(proxy.local_addr(), "/").await.body, "hello");
    // Longer than names are looked up again: what was served is served still.
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert_eq!(get(proxy.local_addr(), "/").await.body, "hello");
}

/// A proxy that lets every request out.
fn allow_any(settings: traffic_proxy::Settings) -> traffic_proxy::Handle {
    let passthrough = Cluster {
        name: envoy_plan::PASSTHROUGH_CLUSTER.to_owned(),
        discovery: Discovery::RequestHost,
        endpoints: Vec::<Endpoint>::new(),
        ..cluster("", &[])
    };
    let configuration = json!({
        "apiVersion": "shunt.dev/v1alpha1", "kind": "FilterConfig", "objects": [],
        "outboundTrafficPolicy": {"mode": "ALLOW_ANY"},
    });
    start_with(settings, plan(vec![], vec![passthrough]), configuration.to_string().into_bytes())
}

async fn ask(address: SocketAddr, host: &str) -> Got {
    send(address, Request::get("/").header("host", host).body(Full::default()).unwrap()).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unknown_host_is_called_and_its_connection_kept() {
    let upstream = Upstream::saying("outside").await;
    let proxy = allow_any(settings());
    let port = upstream.address.port();
    for host in ["localhost", "127.0.0.1", "LOCALHOST"] {
        for _ in 0..2 {
            let got = ask(proxy.local_addr(), &format!("{host}:{port}")).await;
            assert_eq!((got.status, got.body.as_str()), (200, "outside"), "{host}");
        }
    }
    let seen = upstream.seen();
    assert_eq!(seen[0].headers["host"], format!("localhost:{port}"));
    // One connection for the name and one for the address.
    assert!(seen.iter().all(|seen| seen.connection <= 2), "{seen:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_nowhere_or_no_host_is_503() {
    let proxy = allow_any(settings());
    for host in ["nowhere.invalid", "a:0", "a:70000", "[::g]"] {
        let got = ask(proxy.local_addr(), host).await;
        assert_eq!((got.status, got.body.as_str()), (503, "DNS resolution failure"), "{host}");
    }
    let got = ask(proxy.local_addr(), &nobody().to_string()).await;
    assert_eq!(got.status, 503);
    assert!(got.body.contains("remote connection failure"), "{}", got.body);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_does_not_come_back_to_the_proxy() {
    let admin = Some("127.0.0.1:0".parse().unwrap());
    let everywhere = "0.0.0.0:0".parse().unwrap();
    let proxy = allow_any(traffic_proxy::Settings { workers: 1, admin, ..traffic_proxy::Settings::new(everywhere) });
    let (port, admin) = (proxy.local_addr().port(), proxy.admin_addr().unwrap().port());
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    for host in [format!("localhost:{port}"), format!("127.0.0.2:{port}"), format!("127.0.0.1:{admin}")] {
        let got = ask(address, &host).await;
        assert_eq!(got.status, 502, "{host}: {}", got.body);
        assert!(got.body.contains("this proxy itself"), "{}", got.body);
    }
}
