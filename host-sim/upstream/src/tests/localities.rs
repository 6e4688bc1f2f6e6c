//! Priorities, localities and endpoints that warm up, as a request meets them.

use std::collections::BTreeMap;
use std::time::Duration;

use envoy_plan::{Cluster, Endpoint, LoadBalancing, OutlierDetection, PerMillion, Warmup};

use super::balancing::Seeded;
use super::story::{CLUSTER, ask, cluster, endpoint, header, plan, profile};
use crate::{Answer, Event, Timestamp, Upstreams};

fn at(seconds: u64) -> Timestamp {
    Timestamp::from_nanos(seconds * 1_000_000_000)
}

struct Bench {
    upstreams: Upstreams,
    draws: Seeded,
    now: Timestamp,
}

impl Bench {
    fn new(cluster: Cluster) -> Self {
        let upstreams = Upstreams::new(plan(vec![profile("default")], vec![cluster]), at(0));
        Self { upstreams, draws: Seeded(7), now: at(0) }
    }

    fn replace(&mut self, cluster: Cluster) {
        self.upstreams.replace_plan(plan(vec![profile("default")], vec![cluster]), self.now);
    }

    /// Sends requests, which `broken` answers 500 and all others 200, and tells how many each got; `-` is nobody.
    fn send(&mut self, count: usize, broken: &[&str]) -> BTreeMap<String, usize> {
        let head = [header("x-shunt-cluster", CLUSTER)];
        let mut counts = BTreeMap::new();
        for _ in 0..count {
            let Ok(mut begun) = self.upstreams.begin(&ask(&head, true), self.now, &mut self.draws) else {
                *counts.entry("-".to_owned()).or_default() += 1;
                continue;
            };
            let address = begun.step.attempt().unwrap().endpoint.address().to_owned();
            begun.exchange.on(Event::Connected, self.now, &mut self.draws);
            let status = if broken.contains(&address.as_str()) { 500 } else { 200 };
            begun.exchange.on(Event::Answered(Answer { status, header: &|_| None }), self.now, &mut self.draws);
            *counts.entry(address).or_default() += 1;
        }
        counts
    }

    #[track_caller]
    fn check(&mut self, broken: &[&str], expected: &[(&str, usize)]) {
        let counts = self.send(10_000, broken);
        let near = counts.len() == expected.len()
            && expected
                .iter()
                .all(|(name, count)| counts.get(*name).is_some_and(|found| found.abs_diff(*count) <= 200));
        assert!(near, "{counts:?} instead of {expected:?}");
    }
}

/// Endpoints `a` and so on, with these priorities, of which `a` and every second one is in the first locality.
fn prioritised(priorities: &[u32]) -> Cluster {
    let endpoints = ('a'..).zip(priorities).map(|(name, priority)| Endpoint {
        locality: if (name as u32).is_multiple_of(2) { "r/z2" } else { "r/z1" }.into(),
        priority: *priority,
        ..endpoint(&name.to_string(), 1)
    });
    let outliers = OutlierDetection { errors: 1, ejected_percent_max: 100, ..OutlierDetection::default() };
    Cluster { outliers: Some(outliers), ..cluster(CLUSTER, LoadBalancing::RoundRobin, endpoints.collect()) }
}

#[test]
fn a_lower_priority_helps_out_as_the_first_one_fails() {
    let mut bench = Bench::new(prioritised(&[0, 0, 1]));
    bench.check(&[], &[("a", 5000), ("b", 5000)]);
    bench.send(10, &["a"]);
    // One of two is left: 1.4 times a half.
    bench.check(&[], &[("b", 7000), ("c", 3000)]);
    bench.send(100, &["b"]);
    bench.check(&[], &[("c", 10_000)]);
    bench.send(10, &["c"]);
    bench.check(&[], &[("-", 10_000)]);
    bench.now = at(60);
    bench.check(&[], &[("a", 5000), ("b", 5000)]);
}

#[test]
fn in_panic_all_endpoints_of_a_priority_get_requests() {
    let mut all = prioritised(&[0, 0, 0, 1]);
    if let Some(outliers) = &mut all.outliers {
        outliers.healthy_percent_min = 50;
    }
    let mut bench = Bench::new(all);
    bench.send(10, &["a", "b"]);
    // The two priorities together have enough, so a third is not too little.
    bench.check(&[], &[("c", 4600), ("d", 5400)]);
    bench.send(10, &["d"]);
    // Now they have not: by the number of endpoints, whatever becomes of them.
    bench.check(&[], &[("a", 2500), ("b", 2500), ("c", 2500), ("d", 2500)]);
}

#[test]
fn localities_share_by_weight_and_less_where_endpoints_fail() {
    let weights = BTreeMap::from([("r/z1".into(), 75), ("r/z2".into(), 25)]);
    let mut bench = Bench::new(Cluster { locality_weights: Some(weights), ..prioritised(&[0, 0, 0]) });
    // `a` and `c` are in the first.
    bench.check(&[], &[("a", 3750), ("b", 2500), ("c", 3750)]);
    bench.send(10, &["a"]);
    // 0.7 of 75, and 25.
    bench.check(&[], &[("b", 3226), ("c", 6774)]);
    // Without a weight of its own a locality has that of its endpoints.
    let mut bench = Bench::new(Cluster { locality_weights: Some(BTreeMap::new()), ..prioritised(&[0, 0, 0]) });
    bench.check(&[], &[("a", 3333), ("b", 3333), ("c", 3333)]);
}

#[test]
fn an_endpoint_that_joins_comes_to_its_share_by_and_by() {
    for method in [LoadBalancing::RoundRobin, LoadBalancing::LeastRequest] {
        let warmup =
            Warmup { window: Duration::from_secs(100), least: PerMillion::from_percent(10.0), aggression: 1.0 };
        let of = |names: &[&str]| {
            let endpoints = names.iter().map(|name| endpoint(name, 1)).collect();
            Cluster { warmup: Some(warmup), ..cluster(CLUSTER, method, endpoints) }
        };
        let mut bench = Bench::new(of(&["a", "b"]));
        // All that begin together are equal.
        bench.check(&[], &[("a", 5000), ("b", 5000)]);
        bench.now = at(1000);
        bench.replace(of(&["a", "b", "c"]));
        bench.check(&[], &[("a", 4762), ("b", 4762), ("c", 476)]);
        bench.now = at(1050);
        bench.check(&[], &[("a", 4000), ("b", 4000), ("c", 2000)]);
        bench.now = at(1100);
        bench.check(&[], &[("a", 3333), ("b", 3333), ("c", 3333)]);
        // It has left and joins again.
        bench.replace(of(&["a", "b"]));
        bench.replace(of(&["a", "b", "c"]));
        bench.check(&[], &[("a", 4762), ("b", 4762), ("c", 476)]);
    }
}

#[test]
fn an_endpoint_that_was_ejected_does_not_join_again() {
    let warmup = Warmup { window: Duration::from_secs(100), least: PerMillion::from_percent(10.0), aggression: 1.0 };
    let mut bench = Bench::new(Cluster { warmup: Some(warmup), ..prioritised(&[0, 0]) });
    bench.now = at(200);
    bench.send(10, &["a"]);
    bench.check(&[], &[("b", 10_000)]);
    bench.now = at(300);
    bench.check(&[], &[("a", 5000), ("b", 5000)]);
}
