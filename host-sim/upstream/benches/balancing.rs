//! What choosing an endpoint costs, of few and of many, by a hash and in turn: one request from its head to its first attempt. The
//! figure to look at is the ratio to round robin in the same run.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test may fail")]

use std::collections::BTreeMap;
use std::hint::black_box;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use envoy_plan::{Cluster, Endpoint, HashKey, LoadBalancing, Plan, Profile};
use upstream::{Ask, Source, Timestamp, Upstreams};

const REQUESTS: u32 = 200_000;

const METHODS: [LoadBalancing; 4] = [
    LoadBalancing::RoundRobin,
    LoadBalancing::LeastRequest,
    LoadBalancing::RingHash { size_min: 1024 },
    LoadBalancing::Maglev { table_size: 65_537 },
];

fn main() {
    for weights in [[1, 1, 1], [1, 2, 3]] {
        for endpoints in [10, 1_000, 10_000] {
            println!("{endpoints} endpoints, weights {weights:?}");
            let mut in_turn = None;
            for method in METHODS {
                let (making, choosing) = measure(method, endpoints, weights);
                let ratio = choosing / *in_turn.get_or_insert(choosing);
                println!(
                    "  {:13} {choosing:5.0} ns a request, {ratio:4.2} of round robin; made in {making:.1?}",
                    method.name()
                );
            }
        }
    }
}

/// The time that making the cluster takes, and nanoseconds for a request: the best of five runs.
#[allow(clippy::disallowed_methods, reason = "a benchmark measures real time")]
fn measure(method: LoadBalancing, endpoints: u32, weights: [u32; 3]) -> (Duration, f64) {
    let plan = plan(method, endpoints, weights);
    let begun = Instant::now();
    let upstreams = Upstreams::new(plan, Timestamp::default());
    let making = begun.elapsed();
    let users: Vec<String> = (0..1_000).map(|user| format!("user-{user}")).collect();
    let mut draw = 0_u64;
    let mut draws = || {
        draw = draw.wrapping_add(0x9e37_79b9_7f4a_7c15);
        draw
    };
    let remote = SocketAddr::from(([127, 0, 0, 1], 50_000));
    let mut best = f64::MAX;
    for _ in 0..5 {
        let begun = Instant::now();
        for number in 0..REQUESTS {
            let user = users[number as usize % users.len()].as_bytes();
            let head: [(&[u8], &[u8]); 4] =
                [(b":path", b"/"), (b"x-shunt-cluster", b"one"), (b"x-request-id", b"1"), (b"x-user", user)];
            let source = Source {
                headers: &|visit| head.iter().for_each(|(name, value)| visit(name, value)),
                client: remote.ip(),
                remote,
                local: remote,
            };
            let ask = Ask { source: Some(&source), ..Ask::read(head, true) };
            black_box(upstreams.begin(&ask, Timestamp::default(), &mut draws).is_ok());
        }
        best = best.min(begun.elapsed().as_nanos() as f64 / f64::from(REQUESTS));
    }
    (making, best)
}

fn plan(method: LoadBalancing, endpoints: u32, weights: [u32; 3]) -> Arc<Plan> {
    let endpoint = |number: u32| Endpoint {
        address: format!("10.{}.{}.{}", number >> 16, number >> 8 & 255, number & 255),
        port: 80,
        weight: weights[number as usize % 3],
        ..Endpoint::default()
    };
    let cluster = Cluster {
        name: "one".into(),
        load_balancing: method,
        connect_timeout: Duration::from_secs(10),
        endpoints: (0..endpoints).map(endpoint).collect(),
        ..Cluster::default()
    };
    let hash_keys = vec![HashKey::Header("x-user".into())];
    let profile = Profile { name: "default".into(), hash_keys, ..Profile::default() };
    Arc::new(Plan { profiles: vec![profile], clusters: BTreeMap::from([("one".into(), cluster)]), ..Plan::default() })
}
