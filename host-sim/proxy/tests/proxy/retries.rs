//! Attempts, and the limits on them.

use crate::support::*;
use envoy_plan::{Profile, RetryOn};
use http_body_util::Full;
use std::time::{Duration, Instant};

fn retrying(retries: u32, on: &[RetryOn]) -> Profile {
    Profile { retry: Some(retry(retries, on)), ..profile("p") }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_503_is_tried_again_when_told_and_only_then() {
    let upstream = Upstream::start(|n, _| async move { answer(if n % 3 == 0 { 200 } else { 503 }, "x") }).await;
    let proxy = start_one(retrying(2, &[RetryOn::GatewayError]), &[upstream.address]);
    assert_eq!(get(proxy.local_addr(), "/").await.status, 200);
    assert_eq!(upstream.count(), 3);
    let proxy = start_one(retrying(2, &[RetryOn::ConnectFailure]), &[upstream.address]);
    assert_eq!(get(proxy.local_addr(), "/").await.status, 503);
    assert_eq!(upstream.count(), 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_attempt_has_its_time() {
    let upstream = Upstream::start(|n, _| async move { if n < 3 { never().await } else { answer(200, "at last") } });
    let upstream = upstream.await;
    let mut profile = retrying(2, &[RetryOn::FiveXx]);
    profile.retry.as_mut().unwrap().per_try_timeout = Some(Duration::from_millis(300));
    let proxy = start_one(profile, &[upstream.address]);
    let begun = Instant::now();
    assert_eq!(get(proxy.local_addr(), "/").await.body, "at last");
    assert_eq!(upstream.count(), 3);
    assert!((600..4000).contains(&begun.elapsed().as_millis()), "{:?}", begun.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_whole_request_has_its_time() {
    let upstream = Upstream::start(|_, _| never()).await;
    let profile = Profile { timeout: Some(Duration::from_millis(150)), ..retrying(2, &[RetryOn::FiveXx]) };
    let proxy = start_one(profile, &[upstream.address]);
    let begun = Instant::now();
    let got = get(proxy.local_addr(), "/").await;
    assert_eq!((got.status, got.body.as_str()), (504, "upstream request timeout"));
    assert!((150..2000).contains(&begun.elapsed().as_millis()), "{:?}", begun.elapsed());
    let expected = upstream.seen()[0].headers["x-envoy-expected-rq-timeout-ms"].to_str().unwrap().to_owned();
    assert!(matches!(expected.as_str(), "149" | "150"), "{expected}");
    eventually("the upstream's connection is closed", || upstream.connections() == 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_connection_is_tried_elsewhere() {
    let upstream = Upstream::saying("hello").await;
    let proxy = start_one(retrying(2, &[RetryOn::ConnectFailure]), &[nobody(), upstream.address]);
    let mut client = Client::connect(proxy.local_addr()).await;
    for _ in 0..10 {
        assert_eq!(client.get("/").await.body, "hello");
    }
    let proxy = start_one(retrying(1, &[RetryOn::ConnectFailure]), &[nobody()]);
    let got = get(proxy.local_addr(), "/").await;
    assert_eq!(got.status, 503);
    assert!(got.body.contains("retried and the latest reset reason: remote connection failure"), "{}", got.body);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_attempt_gets_the_whole_body() {
    let upstream = Upstream::start(|n, _| async move { answer(if n == 3 { 200 } else { 503 }, "") }).await;
    let proxy = start_one(retrying(3, &[RetryOn::FiveXx]), &[upstream.address]);
    let body = "0123456789".repeat(50_000);
    let post = request("POST", "/").body(Full::from(body.clone())).unwrap();
    assert_eq!(send(proxy.local_addr(), post).await.status, 200);
    assert_eq!(upstream.count(), 3);
    for seen in upstream.seen() {
        assert_eq!(seen.headers["content-length"], "500000");
        assert!(seen.body == body.as_bytes());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_too_large_to_keep_is_sent_once() {
    let upstream = Upstream::start(|_, _| async move { answer(503, "no") }).await;
    let proxy = start_one(retrying(3, &[RetryOn::FiveXx]), &[upstream.address]);
    let post = request("POST", "/").body(Full::from(vec![b'x'; 3 << 20])).unwrap();
    assert_eq!(send(proxy.local_addr(), post).await.status, 503);
    assert_eq!(upstream.count(), 1);
    assert_eq!(upstream.seen()[0].body.len(), 3 << 20);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upstream_that_closes_instead_of_answering_is_a_reset() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let _ = tokio::io::AsyncReadExt::read(&mut stream, &mut [0; 1000]).await;
        }
    });
    let proxy = start_one(profile("p"), &[address]);
    let got = get(proxy.local_addr(), "/").await;
    assert_eq!(got.status, 503);
    assert!(got.body.ends_with("reset reason: connection termination"), "{}", got.body);
    let upstream = Upstream::saying("hello").await;
    let proxy = start_one(retrying(1, &[RetryOn::Reset]), &[address, upstream.address]);
    assert_eq!(get(proxy.local_addr(), "/").await.body, "hello");
}
