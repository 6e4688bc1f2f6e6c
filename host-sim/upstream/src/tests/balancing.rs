//! How choices spread. Draws come from a seeded generator, so a run repeats itself.

use std::collections::BTreeMap;

use envoy_plan::{Cluster, Endpoint, HashKey, LoadBalancing, OutlierDetection, Profile, RetryOn, RetryPolicy};

use super::story::{CLUSTER, ask, cluster, endpoint, half, header, plan, profile};
use crate::{Answer, Ask, Begun, Draws, Event, Source, Step, Timestamp, Upstreams};

const NOW: Timestamp = Timestamp::from_nanos(0);

/// A small generator with a good spread (splitmix64).
pub(super) struct Seeded(pub(super) u64);

impl Draws for Seeded {
    fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

struct Bench {
    upstreams: Upstreams,
    head: [(String, String); 1],
    draws: Seeded,
}

impl Bench {
    fn new(method: LoadBalancing, weights: &[u32], seed: u64) -> Self {
        let endpoints = weights.iter().zip('a'..).map(|(weight, name)| endpoint(&name.to_string(), *weight)).collect();
        let upstreams = Upstreams::new(plan(vec![profile("default")], vec![cluster(CLUSTER, method, endpoints)]), NOW);
        Self { upstreams, head: [header("x-shunt-cluster", CLUSTER)], draws: Seeded(seed) }
    }

    fn begin(&mut self) -> Begun {
        self.upstreams.begin(&ask(&self.head, true), Timestamp::default(), &mut self.draws).unwrap()
    }

    fn next(&mut self) -> String {
        self.begin().step.attempt().unwrap().endpoint.address().to_owned()
    }

    /// How often each endpoint is chosen for `count` requests, one after the other.
    fn counts(&mut self, count: usize) -> Vec<usize> {
        let mut counts = BTreeMap::new();
        for _ in 0..count {
            *counts.entry(self.next()).or_default() += 1;
        }
        counts.into_values().collect()
    }
}

#[track_caller]
fn check_near(counts: &[usize], expected: &[usize], within: usize) {
    let near = counts.len() == expected.len()
        && counts.iter().zip(expected).all(|(count, expected)| count.abs_diff(*expected) <= within);
    assert!(near, "{counts:?} is not {expected:?} within {within}");
}

#[test]
fn round_robin_takes_turns_exactly_from_a_start_of_its_own() {
    let mut starts = BTreeMap::new();
    for seed in 0..300 {
        let mut bench = Bench::new(LoadBalancing::RoundRobin, &[1, 1, 1], seed);
        let order: Vec<_> = (0..6).map(|_| bench.next()).collect();
        assert_eq!(order[..3], order[3..]);
        *starts.entry(order[0].clone()).or_insert(0_usize) += 1;
    }
    check_near(&starts.into_values().collect::<Vec<_>>(), &[100, 100, 100], 40);
}

#[test]
fn weighted_round_robin_keeps_its_shares_in_every_round() {
    for seed in 0..100 {
        let mut bench = Bench::new(LoadBalancing::RoundRobin, &[1, 2, 7], seed);
        for _ in 0..20 {
            check_near(&bench.counts(10), &[1, 2, 7], 1);
        }
        check_near(&bench.counts(1000), &[100, 200, 700], 1);
    }
}

#[test]
fn weighted_round_robin_is_spaced_not_bunched() {
    let mut bench = Bench::new(LoadBalancing::RoundRobin, &[1, 1, 2], 7);
    let order: String = (0..400).map(|_| bench.next()).collect();
    assert!(!order.contains("ccc"), "{order}");
}

#[test]
fn large_weights_keep_their_shares() {
    let mut bench = Bench::new(LoadBalancing::RoundRobin, &[u32::MAX, u32::MAX / 3], 1);
    check_near(&bench.counts(4000), &[3000, 1000], 2);
}

#[test]
fn random_is_even_and_ignores_weights_as_envoy_does() {
    for weights in [[1, 1, 1], [1, 5, 94]] {
        let mut bench = Bench::new(LoadBalancing::Random, &weights, 1);
        check_near(&bench.counts(30_000), &[10_000; 3], 300);
    }
}

#[test]
fn least_request_spreads_evenly_while_idle() {
    let mut bench = Bench::new(LoadBalancing::LeastRequest, &[1; 4], 1);
    check_near(&bench.counts(40_000), &[10_000; 4], 300);
}

#[test]
fn least_request_takes_the_less_busy_of_two_and_of_equals_the_first_drawn() {
    let bench = Bench::new(LoadBalancing::LeastRequest, &[1, 1], 1);
    let (a, b) = (0, u64::MAX);
    let draw = |first: u64, second: u64| {
        let mut pair = [first, second].into_iter();
        let mut draws = || pair.next().unwrap();
        bench.upstreams.begin(&ask(&bench.head, true), Timestamp::default(), &mut draws).unwrap()
    };
    let chosen = |first, second| {
        let begun = draw(first, second);
        let address = begun.step.attempt().unwrap().endpoint.address().to_owned();
        (address, begun)
    };
    assert_eq!(chosen(a, b).0, "a");
    assert_eq!(chosen(b, a).0, "b");
    let (_, held) = chosen(a, a);
    assert_eq!(chosen(a, b).0, "b");
    assert_eq!(chosen(b, a).0, "b");
    assert_eq!(chosen(a, a).0, "a");
    drop(held);
    assert_eq!(chosen(a, b).0, "a");
}

#[test]
fn least_request_keeps_away_from_a_slow_endpoint() {
    let mut bench = Bench::new(LoadBalancing::LeastRequest, &[1; 3], 3);
    // Answers of `a` never come; those of the others come at once.
    let mut stuck = Vec::new();
    for _ in 0..3000 {
        let begun = bench.begin();
        if begun.step.attempt().unwrap().endpoint.address() == "a" {
            stuck.push(begun);
        }
    }
    // After the first few only a double draw of `a`, one in nine, falls on it.
    check_near(&[stuck.len()], &[333], 60);
}

#[test]
fn weighted_least_request_follows_weights_while_idle_and_load_when_busy() {
    let mut bench = Bench::new(LoadBalancing::LeastRequest, &[1, 3], 5);
    check_near(&bench.counts(4000), &[1000, 3000], 1);
    // With four requests held by `b` its weight counts as 3 / 5.
    let held: Vec<_> = std::iter::repeat_with(|| bench.begin())
        .filter(|begun| begun.step.attempt().unwrap().endpoint.address() == "b")
        .take(4)
        .collect();
    check_near(&bench.counts(1600), &[1000, 600], 12);
    drop(held);
    check_near(&bench.counts(4000), &[1000, 3000], 12);
}

#[test]
fn a_weight_of_zero_counts_as_one() {
    let mut bench = Bench::new(LoadBalancing::RoundRobin, &[0, 1], 1);
    check_near(&bench.counts(100), &[50, 50], 0);
}

#[test]
fn a_seed_repeats_its_choices() {
    for method in [LoadBalancing::LeastRequest, LoadBalancing::RoundRobin, LoadBalancing::Random] {
        let run = || {
            let mut bench = Bench::new(method, &[1, 2, 3, 4], 42);
            (0..100).map(|_| bench.next()).collect::<String>()
        };
        assert_eq!(run(), run());
    }
}

#[test]
fn one_endpoint_is_always_chosen() {
    for method in [LoadBalancing::LeastRequest, LoadBalancing::RoundRobin, LoadBalancing::Random] {
        let one = vec![cluster(CLUSTER, method, vec![endpoint("a", 9)])];
        let upstreams = Upstreams::new(plan(vec![profile("default")], one), NOW);
        let head = [header("x-shunt-cluster", CLUSTER)];
        for _ in 0..10 {
            assert!(upstreams.begin(&ask(&head, true), Timestamp::default(), &mut half).is_ok());
        }
    }
}

const HASHED: [LoadBalancing; 2] =
    [LoadBalancing::RingHash { size_min: 1024 }, LoadBalancing::Maglev { table_size: 65_537 }];

/// Five endpoints, chosen from by the header `x-user`; a retry avoids who has failed, or not.
fn hashed(method: LoadBalancing, avoid_previous_hosts: bool) -> Upstreams {
    let on = vec![RetryOn::FiveXx];
    let retry = RetryPolicy { retries: 3, on, avoid_previous_hosts, ..RetryPolicy::mesh_default() };
    let hash_keys = vec![HashKey::Header("X-User".to_owned())];
    let profile = Profile { retry: Some(retry), hash_keys, ..profile("default") };
    let endpoints = "abcde".chars().map(|name| endpoint(&name.to_string(), 1)).collect();
    Upstreams::new(plan(vec![profile], vec![cluster(CLUSTER, method, endpoints)]), NOW)
}

/// By whom a request is answered whose first `failures` attempts fail: all that were tried.
fn tried(upstreams: &Upstreams, user: Option<&str>, failures: usize, draws: &mut Seeded) -> Vec<String> {
    let mut head = vec![header("x-shunt-cluster", CLUSTER)];
    head.extend(user.map(|user| header("x-user", user)));
    let address = "10.0.0.9:1".parse().unwrap();
    let source = Source {
        headers: &|visit| head.iter().for_each(|(name, value)| visit(name.as_bytes(), value.as_bytes())),
        client: "10.0.0.9".parse().unwrap(),
        remote: address,
        local: address,
    };
    let mut now = Timestamp::default();
    let Begun { mut exchange, mut step, .. } =
        upstreams.begin(&Ask { source: Some(&source), ..ask(&head, true) }, now, draws).unwrap();
    let mut tried = Vec::new();
    loop {
        match step {
            Step::Attempt(attempt) => {
                tried.push(attempt.endpoint.address().to_owned());
                let status = if tried.len() <= failures { 503 } else { 200 };
                step = exchange.on(Event::Answered(Answer { status, header: &|_| None }), now, draws);
            }
            Step::BackOff => {
                now = exchange.wake_at().unwrap();
                step = exchange.on(Event::Woken, now, draws);
            }
            Step::Deliver { .. } => return tried,
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_key_stays_with_its_endpoint_and_no_key_is_left_to_chance() {
    for method in HASHED {
        let (upstreams, mut draws) = (hashed(method, true), Seeded(1));
        let mut counts = BTreeMap::new();
        for user in 0..500 {
            let user = format!("user-{user}");
            let first = tried(&upstreams, Some(&user), 0, &mut draws);
            assert_eq!(tried(&upstreams, Some(&user), 0, &mut draws), first);
            *counts.entry(first).or_insert(0_usize) += 1;
        }
        check_near(&counts.into_values().collect::<Vec<_>>(), &[100; 5], 45);
        let mut counts = BTreeMap::new();
        for _ in 0..5000 {
            *counts.entry(tried(&upstreams, None, 0, &mut draws)).or_insert(0_usize) += 1;
        }
        check_near(&counts.into_values().collect::<Vec<_>>(), &[1000; 5], 200);
    }
}

/// What each endpoint gets of 3000 users: `a` in one locality, `b`, `c` and `d`, which weighs 2, in another, with these weights.
/// `broken` is ejected.
fn met(method: LoadBalancing, weights: &[(&str, u32)], broken: Option<&str>) -> BTreeMap<String, usize> {
    let hash_keys = vec![HashKey::Header("x-user".to_owned())];
    let retry = RetryPolicy { retries: 0, ..RetryPolicy::mesh_default() };
    let profile = Profile { retry: Some(retry), hash_keys, ..profile("default") };
    let places = ["r/z1", "r/z2", "r/z2", "r/z2"];
    let endpoints = "abcd".chars().zip(places).map(|(name, place)| Endpoint {
        locality: place.into(),
        ..endpoint(&name.to_string(), if name == 'd' { 2 } else { 1 })
    });
    let outliers = OutlierDetection { errors: 1, ejected_percent_max: 100, ..OutlierDetection::default() };
    let cluster = Cluster {
        locality_weights: Some(weights.iter().map(|(place, weight)| ((*place).into(), *weight)).collect()),
        outliers: Some(outliers),
        ..cluster(CLUSTER, method, endpoints.collect())
    };
    let (upstreams, mut draws) = (Upstreams::new(plan(vec![profile], vec![cluster]), NOW), Seeded(1));
    if let Some(broken) = broken {
        let mut users = (0..).map(|user| tried(&upstreams, Some(&format!("user-{user}")), 0, &mut draws)[0] == broken);
        let user = users.position(|meets| meets).unwrap();
        tried(&upstreams, Some(&format!("user-{user}")), 1, &mut draws);
    }
    let mut counts = BTreeMap::new();
    for user in 0..3000 {
        let met = tried(&upstreams, Some(&format!("user-{user}")), 0, &mut draws);
        *counts.entry(met[0].clone()).or_default() += 1;
    }
    counts
}

#[test]
fn in_a_table_localities_have_their_weights_and_their_endpoints_share_them() {
    let check = |weights: &[(&str, u32)], broken, expected: &[usize]| {
        for method in [LoadBalancing::RingHash { size_min: 100_000 }, LoadBalancing::Maglev { table_size: 65_537 }] {
            check_near(&met(method, weights, broken).into_values().collect::<Vec<_>>(), expected, 150);
        }
    };
    check(&[("r/z1", 75), ("r/z2", 25)], None, &[2250, 188, 188, 375]);
    // Who is left in a locality has all of its weight, however few they are; otherwise `a` would have more.
    check(&[("r/z1", 75), ("r/z2", 25)], Some("d"), &[2250, 375, 375]);
    // A locality of which nothing is said weighs what its endpoints do.
    check(&[], None, &[600, 600, 600, 1200]);
    // What a locality has whose endpoints are all out is shared by the others in proportion.
    check(&[("r/z1", 75), ("r/z2", 25)], Some("a"), &[750, 750, 1500]);
}

#[test]
fn a_retry_stays_unless_it_is_to_avoid_who_failed() {
    for method in HASHED {
        let (stays, leaves) = (hashed(method, false), hashed(method, true));
        let mut away = 0;
        for user in 0..100 {
            let user = format!("user-{user}");
            let met = tried(&stays, Some(&user), 2, &mut Seeded(1));
            assert!(met.len() == 3 && met.iter().all(|endpoint| *endpoint == met[0]), "{met:?}");
            let others = tried(&leaves, Some(&user), 2, &mut Seeded(2));
            assert_eq!((others.len(), &others[0]), (3, &met[0]));
            // Six places are looked at, which may all be those of endpoints that have failed.
            away += usize::from(others[0] != others[1] && others[2] != others[0] && others[2] != others[1]);
            // The same again, whatever is drawn.
            assert_eq!(tried(&leaves, Some(&user), 2, &mut Seeded(3)), others);
        }
        assert!(away > 90, "{away}");
    }
}
