//! Where requests go, and what they look like there.

use crate::support::*;
use http_body_util::Full;
use serde_json::json;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn weights_share_requests_out() {
    let (one, two) = (Upstream::saying("one").await, Upstream::saying("two").await);
    let mut weighted = [to("v1"), to("v2")];
    weighted[0]["weight"] = json!(75);
    weighted[1]["weight"] = json!(25);
    let clusters = vec![cluster("v1", &[one.address]), cluster("v2", &[two.address])];
    let proxy = start(plan(vec![], clusters), rules(json!([{"route": weighted}]), &[]));
    let mut client = Client::connect(proxy.local_addr()).await;
    for _ in 0..1000 {
        assert_eq!(client.get("/").await.status, 200);
    }
    // More than seven standard deviations to either side.
    assert!((650..850).contains(&one.count()), "{}", one.count());
    assert_eq!(one.count() + two.count(), 1000);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_upstream_sees_the_request_and_no_decision() {
    let upstream = Upstream::saying("hello").await;
    let proxy = start_one(profile("p"), &[upstream.address]);
    let spoofed = request("GET", "/a/./b//%7Ec?x=/../y")
        .header("x-shunt-cluster", "outbound|80|v9|reviews.test")
        .header("x-shunt-profile", "nonsense")
        .header("x-shunt-other", "1")
        .header("x-envoy-upstream-rq-timeout-ms", "1")
        .header("x-envoy-fault-abort-request", "503")
        .header("connection", "x-mine")
        .header("x-mine", "1")
        .header("te", "deflate")
        .header("x-kept", "a")
        .header("x-kept", "b");
    let got = send(proxy.local_addr(), spoofed.body(Full::default()).unwrap()).await;
    assert_eq!((got.status, got.body.as_str()), (200, "hello"));
    assert!(got.headers.keys().all(|name| !name.as_str().starts_with("x-")), "{:?}", got.headers);
    let [seen] = upstream.seen().try_into().unwrap();
    assert_eq!(seen.line, "GET /a/b//~c?x=/../y HTTP/1.1");
    assert_eq!(seen.headers["host"], HOST);
    assert_eq!(seen.headers["x-forwarded-proto"], "http");
    assert_eq!(seen.headers["x-request-id"].len(), 36);
    assert_eq!(seen.headers.get_all("x-kept").iter().count(), 2);
    for absent in ["x-forwarded-for", "x-mine", "te", "connection", "transfer-encoding", "content-length"] {
        assert!(!seen.headers.contains_key(absent), "{absent}");
    }
    assert_eq!(seen.headers["x-envoy-attempt-count"], "1");
    for name in seen.headers.keys().filter(|name| *name != "x-envoy-attempt-count") {
        assert!(!name.as_str().starts_with("x-shunt-") && !name.as_str().starts_with("x-envoy-"), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_has_no_way_is_answered_here() {
    let proxy = start(
        plan(vec![], vec![cluster("v1", &[nobody()]), cluster("v2", &[])]),
        rules(
            json!([
                {"match": [{"uri": {"prefix": "/refused"}}], "route": [to("v1")]},
                {"match": [{"uri": {"prefix": "/empty"}}], "route": [to("v2")]},
                {"route": [to("v3")]},
            ]),
            &[],
        ),
    );
    let mut client = Client::connect(proxy.local_addr()).await;
    let refused = client.get("/refused").await;
    assert_eq!(refused.status, 503);
    assert_eq!(
        refused.body,
        "upstream connect error or disconnect/reset before headers. reset reason: remote connection failure"
    );
    assert_eq!(refused.headers["content-type"], "text/plain");
    let empty = client.get("/empty").await;
    assert_eq!((empty.status, empty.body.as_str()), (503, "no healthy upstream"));
    let unknown = client.get("/unknown").await;
    assert_eq!((unknown.status, unknown.body.as_str()), (503, ""));
    let mut other = request("GET", "/").body(Full::default()).unwrap();
    other.headers_mut().insert("host", "nobody.test".parse().unwrap());
    assert_eq!(client.send(other).await.status, 404);
    assert_eq!(client.get("/%00").await.status, 400);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_are_kept_on_both_sides() {
    let upstream = Upstream::saying("hello").await;
    let proxy = start_one(profile("p"), &[upstream.address]);
    let mut client = Client::connect(proxy.local_addr()).await;
    for _ in 0..20 {
        assert_eq!(client.get("/").await.body, "hello");
    }
    assert!(upstream.seen().iter().all(|seen| seen.connection == 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http2_is_spoken_by_prior_knowledge_on_both_sides() {
    let mut trailers = hyper::HeaderMap::new();
    trailers.insert("grpc-status", "0".parse().unwrap());
    let upstream = Upstream::start(move |_, _| {
        let trailers = trailers.clone();
        async move { pieces(vec!["one", "two"], Some(trailers), std::time::Duration::ZERO) }
    })
    .await;
    let mut speaks_http2 = cluster("v1", &[upstream.address]);
    speaks_http2.protocol = envoy_plan::UpstreamProtocol::Http2;
    let proxy = start(plan(vec![], vec![speaks_http2]), all_to("v1", ""));
    let stream = tokio::net::TcpStream::connect(proxy.local_addr()).await.unwrap();
    let executor = hyper_util::rt::TokioExecutor::new();
    let io = hyper_util::rt::TokioIo::new(stream);
    let (sender, connection) = hyper::client::conn::http2::handshake(executor, io).await.unwrap();
    tokio::spawn(connection);
    let requests = (0..20).map(|number| {
        let uri = format!("http://{HOST}/{number}");
        let request = hyper::Request::post(uri).body(Full::new(bytes::Bytes::from_static(b"body"))).unwrap();
        let mut sender = sender.clone();
        tokio::spawn(async move { read(sender.send_request(request).await.unwrap()).await })
    });
    for got in requests.collect::<Vec<_>>() {
        let got = got.await.unwrap();
        assert_eq!((got.status, got.body.as_str()), (200, "onetwo"));
        assert_eq!(got.trailers.unwrap()["grpc-status"], "0");
    }
    assert_eq!(upstream.count(), 20);
    for seen in upstream.seen() {
        assert!(seen.line.ends_with("HTTP/2.0"), "{}", seen.line);
        assert_eq!(seen.body, "body");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn head_and_answers_without_body_pass() {
    let upstream = Upstream::start(|_, seen| async move {
        match seen.line.split(' ').nth(1) {
            Some("/204") => answer(204, ""),
            Some("/304") => answer(304, ""),
            _ => answer(200, "hello"),
        }
    })
    .await;
    let proxy = start_one(profile("p"), &[upstream.address]);
    let mut client = Client::connect(proxy.local_addr()).await;
    let head = client.send(request("HEAD", "/").body(Full::default()).unwrap()).await;
    assert_eq!((head.status, head.body.as_str(), &head.headers["content-length"]), (200, "", &"5".parse().unwrap()));
    assert_eq!(client.get("/204").await.status, 204);
    assert_eq!(client.get("/304").await.status, 304);
    assert_eq!(client.get("/").await.body, "hello");
    let connect = hyper::Request::connect("reviews.test:80").header("host", HOST).body(Full::default()).unwrap();
    assert_eq!(send(proxy.local_addr(), connect).await.status, 405);
}
