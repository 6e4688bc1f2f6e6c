//! Starting, stopping, and clients that go away.

use crate::support::*;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use traffic_proxy::{Limits, Settings, StartError};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_port_in_use_is_said_with_its_address() {
    let upstream = Upstream::saying("hello").await;
    let rules = || all_to("v1", "");
    let plan = || plan(vec![], vec![cluster("v1", &[upstream.address])]);
    let first = start_with(Settings { workers: 2, ..settings() }, plan(), rules());
    let taken = first.local_addr();
    for settings in [
        Settings { listen: taken, ..settings() },
        Settings { listen: taken, workers: 2, ..settings() },
        Settings { admin: Some(taken), ..settings() },
    ] {
        let error = traffic_proxy::serve(settings, module(), deployment(plan(), rules())).err().unwrap();
        assert_eq!(error.to_string(), format!("cannot listen on {taken}: the port is in use by another program"));
    }
    assert_eq!(get(taken, "/").await.body, "hello");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_configuration_does_not_start() {
    let error = traffic_proxy::serve(settings(), module(), deployment(plan(vec![], vec![]), b"{".to_vec()));
    let error = error.err().unwrap();
    assert!(matches!(error, StartError::Filter(_)), "{error}");
    assert!(error.to_string().contains("neither JSON nor"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_goes_away_leaves_nothing_behind() {
    let upstream = Upstream::start(|_, _| never()).await;
    let settings = Settings { admin: Some("127.0.0.1:0".parse().unwrap()), ..settings() };
    let proxy = start_with(settings, plan(vec![], vec![cluster("v1", &[upstream.address])]), all_to("v1", ""));
    let address = proxy.local_addr();
    let clients: Vec<_> = (0..10).map(|_| tokio::spawn(async move { get(address, "/").await })).collect();
    eventually("all requests are under way", || upstream.count() == 10).await;
    for client in clients {
        client.abort();
    }
    eventually("the upstream's connections are closed", || upstream.connections() == 0).await;
    let stats = get(proxy.admin_addr().unwrap(), "/stats/prometheus").await.body;
    for gauge in
        ["shunt_downstream_requests_active 0", "shunt_filter_streams_open 0", "shunt_downstream_connections_active 0"]
    {
        assert!(stats.contains(gauge), "{gauge} is not in\n{stats}");
    }
    assert!(stats.contains("response_code=\"0\",response_flags=\"DC\"} 10\n"), "{stats}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shutdown_finishes_what_is_under_way() {
    let upstream = Upstream::start(|_, _| async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        answer(200, "done")
    })
    .await;
    let proxy = start(plan(vec![], vec![cluster("v1", &[upstream.address])]), all_to("v1", ""));
    let address = proxy.local_addr();
    let mut idle = Client::connect(address).await;
    assert_eq!(idle.get("/").await.body, "done");
    let under_way = tokio::spawn(async move { get(address, "/").await });
    eventually("the request is under way", || upstream.count() == 2).await;
    let begun = Instant::now();
    tokio::task::block_in_place(|| proxy.shutdown(Duration::from_secs(5)));
    assert!(begun.elapsed() < Duration::from_secs(3), "an idle connection holds nothing up");
    assert_eq!(under_way.await.unwrap().body, "done");
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shutdown_does_not_wait_for_ever() {
    let upstream = Upstream::start(|_, _| never()).await;
    let proxy = start(plan(vec![], vec![cluster("v1", &[upstream.address])]), all_to("v1", ""));
    let address = proxy.local_addr();
    let under_way = tokio::spawn(async move {
        Client::connect(address).await.try_send(request("GET", "/").body(Default::default()).unwrap()).await
    });
    eventually("the request is under way", || upstream.count() == 1).await;
    let begun = Instant::now();
    tokio::task::block_in_place(|| proxy.shutdown(Duration::from_millis(200)));
    assert!((200..2000).contains(&begun.elapsed().as_millis()), "{:?}", begun.elapsed());
    assert!(under_way.await.unwrap().is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn limits_hold() {
    let upstream = Upstream::start(|_, _| never()).await;
    let limits = Limits {
        head_timeout: Duration::from_secs(1),
        stream_idle_timeout: Duration::from_secs(2),
        ..Limits::default()
    };
    let settings = Settings { limits, ..settings() };
    let proxy = start_with(settings, plan(vec![], vec![cluster("v1", &[upstream.address])]), all_to("v1", ""));
    // Silent, half a preface, half a head: closed in time.
    for begin in ["", "PRI * HT", "GET / HTTP/1.1\r\nHost: a\r\n"] {
        let mut stream = TcpStream::connect(proxy.local_addr()).await.unwrap();
        stream.write_all(begin.as_bytes()).await.unwrap();
        let closed = tokio::time::timeout(Duration::from_secs(10), stream.read_to_end(&mut Vec::new())).await;
        assert!(closed.is_ok(), "{begin:?}");
    }
    let long = request("GET", "/").header("x", "y".repeat(70_000)).body(Default::default()).unwrap();
    assert_eq!(send(proxy.local_addr(), long).await.status, 431);
    let mut many = request("GET", "/");
    for number in 0..101 {
        many = many.header(format!("x-{number}"), "y");
    }
    assert_eq!(send(proxy.local_addr(), many.body(Default::default()).unwrap()).await.status, 431);
    let got = get(proxy.local_addr(), "/").await;
    assert_eq!((got.status, got.body.as_str()), (504, "stream timeout"));
}
