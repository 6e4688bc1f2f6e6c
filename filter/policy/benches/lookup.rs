//! What finding the rule costs at 1, 100, 1,000 and 10,000 rules: nanoseconds a decision, each beside the cost at one rule.
//!
//! `make bench` runs it. The request meets the last rule; the fastest of several rounds counts, so that a busy machine
//! does not show.

#![expect(clippy::disallowed_methods, reason = "a benchmark measures real time")]

use istio_config::{Config, Diagnostics, FilterConfig};
use serde_json::{Value, json};
use std::hint::black_box;
use std::time::Instant;
use traffic_policy::{Decision, Policy, RequestHead};

const ROUNDS: u32 = 30;
const DECISIONS: u32 = 5_000;

type MatchOf = fn(usize) -> Value;

const KINDS: [(&str, MatchOf); 5] = [
    ("exact uri", |i| json!({"uri": {"exact": path(i)}})),
    ("prefix uri", |i| json!({"uri": {"prefix": path(i)}})),
    ("prefix, any case", |i| json!({"uri": {"prefix": path(i)}, "ignoreUriCase": true})),
    ("header", |i| json!({"uri": {"prefix": "/"}, "headers": {"x-user": {"exact": format!("user-{i}")}}})),
    ("query parameter", |i| json!({"queryParams": {"user": {"exact": format!("{i}")}}})),
];

fn path(i: usize) -> String {
    format!("/api/v1/resource-{i}/")
}

fn main() {
    println!(
        "{:<18} {:>12} {:>12} {:>12} {:>12}   (ns a decision, and times the cost at 1 rule)",
        "match", 1, 100, 1_000, 10_000
    );
    for (name, match_of) in KINDS {
        let costs: Vec<f64> = [1, 100, 1_000, 10_000].iter().map(|rules| cost(*rules, match_of)).collect();
        let base = costs.first().copied().unwrap_or(1.0);
        let cells: String = costs.iter().map(|cost| format!(" {:>6.0} x{:<4.1}", cost, cost / base)).collect();
        println!("{name:<18}{cells}");
    }
}

fn cost(rules: usize, match_of: MatchOf) -> f64 {
    let policy = policy(rules, match_of);
    let last = rules.saturating_sub(1);
    let (target, user) = (format!("{}items?user={last}", path(last)), format!("user-{last}"));
    // An exact path has nothing behind it.
    let target = if match_of(0).pointer("/uri/exact").is_some() { path(last) } else { target };
    let pairs: [(&[u8], &[u8]); 10] = [
        (b":method", b"GET"),
        (b":scheme", b"http"),
        (b":authority", b"shop.example.com"),
        (b":path", target.as_bytes()),
        (b"user-agent", b"bench"),
        (b"accept", b"*/*"),
        (b"x-request-id", b"d2c6a0a4-1b4e-4f0c-9c1b-2f7f4a7f9d10"),
        (b"x-forwarded-proto", b"http"),
        (b"x-user", user.as_bytes()),
        (b"accept-encoding", b"gzip"),
    ];
    let decide = || policy.decide(&RequestHead::new(black_box(&pairs)), &mut || 0);
    assert!(matches!(decide(), Decision::Forward(_)), "the last rule takes the request");
    let round = || {
        let start = Instant::now();
        for _ in 0..DECISIONS {
            black_box(decide());
        }
        start.elapsed().as_secs_f64() * 1e9 / f64::from(DECISIONS)
    };
    (0..ROUNDS).map(|_| round()).fold(f64::INFINITY, f64::min)
}

fn policy(rules: usize, match_of: MatchOf) -> Policy {
    let http: Vec<Value> =
        (0..rules).map(|i| json!({"match": [match_of(i)], "route": [{"destination": {"host": "shop.example.com", "port": {"number": 80}}}]})).collect();
    let service = json!({
        "apiVersion": "networking.istio.io/v1", "kind": "VirtualService", "metadata": {"name": "shop"},
        "spec": {"hosts": ["shop.example.com"], "http": http},
    });
    let (mut config, mut diagnostics) = (Config::default(), Diagnostics::default());
    config.add(service, &mut diagnostics);
    let config = FilterConfig { config, namespace: "default".to_owned(), ..FilterConfig::default() };
    match Policy::compile(&config, &mut diagnostics) {
        Some(policy) => policy,
        None => {
            diagnostics.iter().for_each(|found| eprintln!("{found}"));
            std::process::exit(1)
        }
    }
}
