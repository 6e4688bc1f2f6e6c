//! The usual path allocates nothing: a request that finds its endpoint and is answered costs no call of the allocator.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use envoy_plan::{Backoff, Cluster, Endpoint, HashCookie, HashKey, LoadBalancing, Plan, Profile, RetryOn, RetryPolicy};
use upstream::{Answer, Ask, Event, Source, Step, Timestamp, Upstreams};

/// The system's allocator, counting calls per thread.
struct Counting;

thread_local! {
    static CALLS: Cell<u64> = const { Cell::new(0) };
}

// SAFETY: every call is handed on unchanged to the system's allocator; the counter is plain thread-local data.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        CALLS.with(|calls| calls.set(calls.get() + 1));
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract of `dealloc`, and the pointer came from `System`.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn plan(method: LoadBalancing, weights: [u32; 3]) -> Arc<Plan> {
    let retry = RetryPolicy {
        retries: 2,
        on: vec![RetryOn::ConnectFailure, RetryOn::Unavailable],
        status_codes: vec![503],
        per_try_timeout: Some(Duration::from_millis(100)),
        avoid_previous_hosts: true,
        host_selection_attempts: 5,
        backoff: Backoff::default(),
    };
    let endpoint = |weight| Endpoint { address: "10.0.0.1".into(), port: 80, weight, ..Endpoint::default() };
    let cluster = Cluster {
        name: "one".into(),
        load_balancing: method,
        connect_timeout: Duration::from_secs(10),
        // A response is counted, whatever it is.
        outliers: Some(envoy_plan::OutlierDetection::default()),
        endpoints: weights.map(endpoint).into(),
        ..Cluster::default()
    };
    let profile = Profile {
        name: "default".into(),
        timeout: Some(Duration::from_secs(1)),
        retry: Some(retry),
        mirrors: Vec::new(),
        falls_back: false,
        hash_keys: vec![
            HashKey::Header("x-user".into()),
            HashKey::SourceIp,
            HashKey::QueryParameter("u".into()),
            HashKey::Cookie(HashCookie { name: "user".into(), path: String::new(), ttl: None, attributes: Vec::new() }),
        ],
    };
    Arc::new(Plan { profiles: vec![profile], clusters: BTreeMap::from([("one".into(), cluster)]), ..Plan::default() })
}

#[test]
fn a_request_answered_at_once_allocates_nothing() {
    let head: [(&[u8], &[u8]); 4] =
        [(b":path", b"/?u=1"), (b"x-shunt-cluster", b"one"), (b"x-user", b"ann"), (b"cookie", b"user=ann")];
    let remote = SocketAddr::from(([127, 0, 0, 1], 50_000));
    let source = Source {
        headers: &|visit| head.iter().for_each(|(name, value)| visit(name, value)),
        client: remote.ip(),
        remote,
        local: remote,
    };
    for method in [
        LoadBalancing::LeastRequest,
        LoadBalancing::RoundRobin,
        LoadBalancing::Random,
        LoadBalancing::RingHash { size_min: 1024 },
        LoadBalancing::Maglev { table_size: 65_537 },
    ] {
        for weights in [[1, 1, 1], [1, 2, 3]] {
            let upstreams = Upstreams::new(plan(method, weights), Timestamp::default());
            let mut draw = 0_u64;
            let mut draws = || {
                draw = draw.wrapping_add(0x9e37_79b9_7f4a_7c15);
                draw
            };
            let mut request = || {
                let now = Timestamp::default();
                let ask = Ask { source: Some(&source), ..Ask::read(head, true) };
                let mut begun = upstreams.begin(&ask, now, &mut draws).unwrap();
                begun.exchange.on(Event::Connected, now, &mut draws);
                let answer = Answer { status: 200, header: &|_| None };
                let step = begun.exchange.on(Event::Answered(answer), now, &mut draws);
                assert!(matches!(step, Step::Deliver { .. }));
            };
            request(); // A schedule is filled at the first choice.
            let before = CALLS.get();
            (0..100).for_each(|_| request());
            assert_eq!(CALLS.get(), before, "{method:?} {weights:?}");
        }
    }
}
