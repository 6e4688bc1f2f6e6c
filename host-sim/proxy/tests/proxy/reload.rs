//! New rules under traffic.

use crate::support::*;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reload_under_load_loses_nothing() {
    let (one, two) = (Upstream::saying("one").await, Upstream::saying("two").await);
    let both = || plan(vec![], vec![cluster("v1", &[one.address]), cluster("v2", &[two.address])]);
    let settings = traffic_proxy::Settings { workers: 2, ..settings() };
    let proxy = start_with(settings, both(), all_to("v1", ""));
    let (stop, bad, good) =
        (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let clients: Vec<_> = (0..8)
        .map(|_| {
            let (stop, bad, good, address) = (stop.clone(), bad.clone(), good.clone(), proxy.local_addr());
            tokio::spawn(async move {
                let mut client = Client::connect(address).await;
                while !stop.load(Ordering::Relaxed) {
                    let got = client.get("/").await;
                    let fine = got.status == 200 && matches!(got.body.as_str(), "one" | "two");
                    if fine { &good } else { &bad }.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    for round in 0..10 {
        tokio::time::sleep(Duration::from_millis(20)).await;
        let subset = if round % 2 == 0 { "v2" } else { "v1" };
        tokio::task::block_in_place(|| proxy.deploy(deployment(both(), all_to(subset, "")))).unwrap();
        // All workers have it: from here on nobody goes where the old rules led.
        let (old, new) = if round % 2 == 0 { (&one, "two") } else { (&two, "one") };
        let before = old.count();
        assert_eq!(get(proxy.local_addr(), "/").await.body, new);
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert!(old.count() <= before + 8, "only what was under way");
    }
    stop.store(true, Ordering::Relaxed);
    for client in clients {
        client.await.unwrap();
    }
    assert_eq!(bad.load(Ordering::Relaxed), 0);
    assert!(good.load(Ordering::Relaxed) > 100);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_reload_changes_nothing() {
    let one = Upstream::saying("one").await;
    let plan_of_one = || plan(vec![], vec![cluster("v1", &[one.address])]);
    let proxy = start(plan_of_one(), all_to("v1", ""));
    for bad in ["", "{", r#"{"kind": "Nonsense"}"#] {
        let refused = tokio::task::block_in_place(|| proxy.deploy(deployment(plan(vec![], vec![]), bad.into())));
        let refused = refused.unwrap_err();
        assert!(!refused.reasons.is_empty(), "{refused}");
        assert_eq!(get(proxy.local_addr(), "/").await.body, "one");
    }
    tokio::task::block_in_place(|| proxy.deploy(deployment(plan_of_one(), all_to("v2", "")))).unwrap();
    assert_eq!(get(proxy.local_addr(), "/").await.status, 503);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_under_way_finishes_where_it_began() {
    let slow = Upstream::start(|_, _| async { pieces(vec!["a", "b", "c"], None, Duration::from_millis(100)) }).await;
    let two = Upstream::saying("two").await;
    let proxy = start(plan(vec![], vec![cluster("v1", &[slow.address])]), all_to("v1", ""));
    let address = proxy.local_addr();
    let under_way = tokio::spawn(async move { get(address, "/").await });
    eventually("the request is under way", || slow.count() == 1).await;
    let next = deployment(plan(vec![], vec![cluster("v2", &[two.address])]), all_to("v2", ""));
    tokio::task::block_in_place(|| proxy.deploy(next)).unwrap();
    assert_eq!(get(address, "/").await.body, "two");
    assert_eq!(under_way.await.unwrap().body, "abc");
}
