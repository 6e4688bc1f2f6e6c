//! Copies: sent once, seen by nobody, in nobody's way.

use crate::support::*;
use envoy_plan::Profile;
use http_body_util::Full;
use std::time::{Duration, Instant};

async fn mirrored(primary: &Upstream, mirror: std::net::SocketAddr) -> traffic_proxy::Handle {
    let profile = Profile { mirrors: vec![cluster_name("v2")], ..profile("p") };
    let clusters = vec![cluster("v1", &[primary.address]), cluster("v2", &[mirror])];
    start(plan(vec![profile], clusters), all_to("v1", "p"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_is_sent_once_with_head_and_body() {
    let primary = Upstream::saying("primary").await;
    let mirror = Upstream::start(|_, _| async { answer(500, "mirror") }).await;
    let proxy = mirrored(&primary, mirror.address).await;
    let post = request("POST", "/x").header("x-kept", "1").body(Full::from("body")).unwrap();
    let got = send(proxy.local_addr(), post).await;
    assert_eq!((got.status, got.body.as_str()), (200, "primary"));
    eventually("the mirror has its copy", || mirror.count() == 1).await;
    let [copy] = mirror.seen().try_into().unwrap();
    let [original] = primary.seen().try_into().unwrap();
    assert_eq!((copy.line, &copy.body[..]), ("POST /x HTTP/1.1".to_owned(), &b"body"[..]));
    let mut headers = copy.headers;
    assert_eq!(headers.remove("x-envoy-internal").map(|value| value == "true"), Some(true));
    assert_eq!(headers, original.headers);
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!((mirror.count(), primary.count()), (1, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mirror_that_hangs_or_refuses_is_in_nobodys_way() {
    let primary = Upstream::saying("primary").await;
    let hanging = Upstream::start(|_, _| never()).await;
    for mirror in [hanging.address, nobody()] {
        let proxy = mirrored(&primary, mirror).await;
        let mut client = Client::connect(proxy.local_addr()).await;
        let begun = Instant::now();
        for _ in 0..20 {
            assert_eq!(client.get("/").await.body, "primary");
        }
        assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    }
    eventually("the hanging mirror has all copies", || hanging.count() == 20).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mirror_that_does_not_read_holds_no_upload_back() {
    let primary = Upstream::saying("primary").await;
    let deaf = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = mirrored(&primary, deaf.local_addr().unwrap()).await;
    let post = request("POST", "/").body(Full::from(vec![b'x'; 20 << 20])).unwrap();
    assert_eq!(send(proxy.local_addr(), post).await.body, "primary");
    assert_eq!(primary.seen()[0].body.len(), 20 << 20);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_outlives_the_client() {
    let primary = Upstream::start(|_, _| never()).await;
    let mirror = Upstream::start(|_, _| async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        answer(200, "")
    })
    .await;
    let proxy = mirrored(&primary, mirror.address).await;
    let address = proxy.local_addr();
    let client = tokio::spawn(async move { get(address, "/").await });
    eventually("both have the request", || primary.count() == 1 && mirror.count() == 1).await;
    client.abort();
    eventually("the primary's is dropped", || primary.connections() == 0).await;
    assert_eq!(mirror.connections(), 1, "the copy goes on");
}
