//! What finding the rule costs at 1, 10, 1,000 and 10,000 rules of each kind of match: nanoseconds a decision, each beside
//! the cost at one rule.
//!
//! `make bench` runs it. The request meets the last rule; the fastest of several rounds counts, so that a busy machine
//! does not show.

#![allow(
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    reason = "a benchmark measures real time, of its own data"
)]

mod kinds;

use istio_config::{Config, Diagnostics, FilterConfig};
use kinds::{ACTIONS, MATCHES, Match, PLAIN_REGEX, Request};
use std::hint::black_box;
use std::time::{Duration, Instant};
use traffic_policy::{Decision, Policy, RequestHead};

const RULES: [usize; 4] = [1, 10, 1_000, 10_000];
const ROUNDS: u32 = 40;

/// How long a round takes, about.
const ROUND: Duration = Duration::from_millis(2);

fn main() {
    let head: String = RULES.iter().map(|rules| format!(" {rules:>12}")).collect();
    println!("{:<28}{head}   (ns a decision, and times the cost at 1 rule)", "match");
    for kind in MATCHES.iter().chain([&PLAIN_REGEX]) {
        let costs = RULES.map(|rules| cost(rules, kind));
        let cells: String = costs.iter().map(|cost| format!(" {:>6.0} x{:<4.1}", cost, cost / costs[0])).collect();
        println!("{:<28}{cells}", kind.name);
    }
}

fn cost(rules: usize, kind: &Match) -> f64 {
    let policy = policy(rules, kind);
    let Request { path, method, authority, headers } = (kind.request)(rules.saturating_sub(1));
    let mut pairs: Vec<(&[u8], &[u8])> = vec![
        (b":method", method.as_bytes()),
        (b":scheme", b"http"),
        (b":authority", authority.as_bytes()),
        (b":path", path.as_bytes()),
        (b"user-agent", b"bench"),
        (b"accept", b"*/*"),
        (b"x-request-id", b"d2c6a0a4-1b4e-4f0c-9c1b-2f7f4a7f9d10"),
        (b"x-forwarded-proto", b"http"),
        (b"accept-encoding", b"gzip"),
    ];
    pairs.extend(headers.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())));
    let decide = || policy.decide(&RequestHead::new(black_box(&pairs)), &mut || 0);
    assert!(matches!(decide(), Decision::Forward(_)), "{}: some rule takes the request", kind.name);
    let start = Instant::now();
    black_box(decide());
    let decisions = (ROUND.as_nanos() / start.elapsed().as_nanos().max(1)).clamp(1, 5_000) as u32;
    let round = || {
        let start = Instant::now();
        for _ in 0..decisions {
            black_box(decide());
        }
        start.elapsed().as_secs_f64() * 1e9 / f64::from(decisions)
    };
    (0..ROUNDS).map(|_| round()).fold(f64::INFINITY, f64::min)
}

fn policy(rules: usize, kind: &Match) -> Policy {
    let service = kinds::virtual_service(rules, kind.block, ACTIONS[0].fields);
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
