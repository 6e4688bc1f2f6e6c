//! The little language of these tests. Only this file knows the API.
//!
//! **Set-up**, items separated by `;`: `endpoints a b c` (the default, round robin; [`half`] makes `b` the first),
//! `retries 2 on 5xx,503`, `timeout 1s`, `per-try 300ms`, `backoff 25ms`, `no avoidance`, `streaming` (the request has
//! not been received whole), `connecting` (connections are not there at once), or a request header `name: value`.
//!
//! `fallback s t` adds a cluster of these endpoints, which is asked where the first fails.
//!
//! Limits are those of the cluster: `limit connections 1`, also `pending`, `requests`, `retries`; `busy 2`: so many other
//! requests are under way already. `eject after 2` ejects for so many errors in a row, everyone if need be.
//!
//! **What happens**, to the attempt under way: `503`, `200 grpc-status=14` (a response head), `refused`, `closed`,
//! `closed unsent`, `reset`, `reset unsent`, `refused stream`, `garbage`, `opening`, `connected`, `received`, `unrepeatable`,
//! `over` (another request that was under way is done), `40ms` (time passes), `silence` (time passes until the exchange wants to be woken).
//!
//! **What follows**: `try b`, `queue`, `wait 12ms`, `deliver`, `reply 503 UF`, `abort UT`. Back-off is waited out by itself.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use envoy_plan::{
    Backoff, Cluster, Endpoint, Fallback, Limits, LoadBalancing, OutlierDetection, Plan, Profile, RetryOn, RetryPolicy,
};

use crate::{Answer, Ask, Attempt, Begun, Event, Exchange, Failure, LocalReply, Step, Timestamp, Upstreams};

pub(super) const CLUSTER: &str = "outbound|80||story";

/// What stands in for it, and the name of both together.
const SECOND: &str = "outbound|80|stable|story";
const PAIR: &str = "fallback|story";

/// Draws that always fall in the middle.
pub(super) fn half() -> u64 {
    1 << 63
}

/// Plays `script` on `setup` and compares what follows.
#[track_caller]
pub(super) fn check(setup: &str, script: &str, expected: &str) {
    assert_eq!(Story::new(setup).play(script), expected, "\nset-up: {setup}\nscript: {script}");
}

/// The answer that ends `script` on `setup`.
#[track_caller]
pub(super) fn reply_of(setup: &str, script: &str) -> LocalReply {
    let mut story = Story::new(setup);
    story.play(script);
    story.reply.expect("a reply")
}

pub(super) fn endpoint(name: &str, weight: u32) -> Endpoint {
    Endpoint { address: name.to_owned(), port: 80, weight, ..Endpoint::default() }
}

pub(super) fn cluster(name: &str, load_balancing: LoadBalancing, endpoints: Vec<Endpoint>) -> Cluster {
    let connect_timeout = Duration::from_secs(10);
    Cluster { name: name.to_owned(), load_balancing, connect_timeout, endpoints, ..Cluster::default() }
}

pub(super) fn profile(name: &str) -> Profile {
    Profile { name: name.to_owned(), ..Profile::default() }
}

pub(super) fn plan(profiles: Vec<Profile>, clusters: Vec<Cluster>) -> Arc<Plan> {
    let clusters = clusters.into_iter().map(|cluster| (cluster.name.clone(), cluster)).collect();
    Arc::new(Plan { profiles, clusters, ..Plan::default() })
}

/// A request head as name and value pairs.
pub(super) fn ask<'a>(head: &'a [(String, String)], whole: bool) -> Ask<'a> {
    Ask::read(head.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())), whole)
}

pub(super) fn header(name: &str, value: &str) -> (String, String) {
    (name.to_owned(), value.to_owned())
}

struct Story {
    upstreams: Upstreams,
    head: Vec<(String, String)>,
    streaming: bool,
    connecting: bool,
    now: Timestamp,
    told: Vec<String>,
    reply: Option<LocalReply>,
    /// Other requests under way.
    busy: Vec<Begun>,
}

impl Story {
    fn new(setup: &str) -> Self {
        let mut names = vec!["a", "b", "c"];
        let mut profile = profile("default");
        let mut per_try_timeout = None;
        let mut backoff = Backoff::default();
        let mut avoid_previous_hosts = true;
        let mut head = vec![header("x-shunt-cluster", CLUSTER)];
        let (mut streaming, mut connecting) = (false, false);
        let (mut limits, mut outliers, mut busy) = (Limits::default(), None, 0);
        let mut fallback: Vec<Endpoint> = Vec::new();
        for item in setup.split(';').map(str::trim).filter(|item| !item.is_empty()) {
            if let Some((name, value)) = item.split_once(": ") {
                head.push(header(name, value));
                continue;
            }
            match item.split_once(' ').unwrap_or((item, "")) {
                ("endpoints", list) => names = list.split_whitespace().collect(),
                ("timeout", limit) => profile.timeout = Some(duration(limit)),
                ("per-try", limit) => per_try_timeout = Some(duration(limit)),
                ("backoff", base) => backoff = Backoff::from_base(duration(base)),
                ("limit", limit) => {
                    let (resource, max) = limit.split_once(' ').expect("limit WHAT N");
                    let max = Some(max.parse().expect("a number"));
                    match resource {
                        "connections" => limits.connections = max,
                        "pending" => limits.pending = max,
                        "requests" => limits.requests = max,
                        "retries" => limits.retries = max,
                        _ => panic!("unknown limit: {resource}"),
                    }
                }
                ("eject", after) => {
                    let errors = after.strip_prefix("after ").and_then(|n| n.parse().ok()).expect("eject after N");
                    let all = OutlierDetection { ejected_percent_max: 100, ..OutlierDetection::default() };
                    outliers = Some(OutlierDetection { errors, ..all });
                }
                ("fallback", list) => fallback = list.split_whitespace().map(|name| endpoint(name, 1)).collect(),
                ("busy", others) => busy = others.parse().expect("a number"),
                ("no", "avoidance") => avoid_previous_hosts = false,
                ("streaming", "") => streaming = true,
                ("connecting", "") => connecting = true,
                ("retries", policy) => {
                    let (retries, on) = policy.split_once(" on").expect("retries N on LIST");
                    let words: Vec<&str> = on.trim().split(',').filter(|word| !word.is_empty()).collect();
                    profile.retry = Some(RetryPolicy {
                        retries: retries.parse().expect("a number"),
                        on: words.iter().filter_map(|word| RetryOn::from_name(word)).collect(),
                        status_codes: words.iter().filter_map(|word| word.parse().ok()).collect(),
                        per_try_timeout: None,
                        avoid_previous_hosts: true,
                        host_selection_attempts: 5,
                        backoff,
                    });
                }
                _ => panic!("unknown set-up: {item}"),
            }
        }
        if let Some(retry) = &mut profile.retry {
            if !retry.status_codes.is_empty() {
                retry.on.push(RetryOn::RetriableStatusCodes);
            }
            *retry = RetryPolicy { per_try_timeout, backoff, avoid_previous_hosts, ..retry.clone() };
        }
        let endpoints = names.iter().map(|name| endpoint(name, 1)).collect();
        let cluster = Cluster { limits, outliers, ..cluster(CLUSTER, LoadBalancing::RoundRobin, endpoints) };
        let mut clusters = vec![cluster];
        let mut fallbacks = BTreeMap::new();
        if !fallback.is_empty() {
            clusters.push(self::cluster(SECOND, LoadBalancing::RoundRobin, fallback));
            fallbacks.insert(PAIR.to_owned(), Fallback { first: CLUSTER.to_owned(), then: SECOND.to_owned() });
            head[0] = header("x-shunt-cluster", PAIR);
            profile.falls_back = true;
        }
        let plan = Arc::unwrap_or_clone(plan(vec![profile], clusters));
        let upstreams = Upstreams::new(Arc::new(Plan { fallbacks, ..plan }), Timestamp::default());
        let other = [header("x-shunt-cluster", CLUSTER)];
        let begin = |_| upstreams.begin(&ask(&other, true), Timestamp::default(), &mut half).expect("room for it");
        let busy = (0..busy).map(begin).collect();
        Self {
            upstreams,
            busy,
            head,
            streaming,
            connecting,
            now: Timestamp::from_nanos(1_000_000_000),
            told: Vec::new(),
            reply: None,
        }
    }

    fn play(&mut self, script: &str) -> String {
        let begun = self.upstreams.begin(&ask(&self.head, !self.streaming), self.now, &mut half);
        match begun {
            Err(reply) => self.follow(None, &Step::Reply(reply)),
            Ok(begun) => {
                let mut exchange = begun.exchange;
                self.follow(Some(&mut exchange), &begun.step);
                for word in script.split(';').map(str::trim).filter(|word| !word.is_empty()) {
                    self.happens(&mut exchange, word);
                }
            }
        }
        self.told.join("; ")
    }

    fn happens(&mut self, exchange: &mut Exchange, word: &str) {
        if word == "silence" {
            let Some(until) = exchange.wake_at() else { return self.told.push("wait for ever".to_owned()) };
            self.now = until;
            return self.event(exchange, Event::Woken);
        }
        if word.ends_with("ms") {
            self.now = self.now.after(duration(word));
            return self.event(exchange, Event::Woken);
        }
        let failure = match word {
            "refused" => Some(Failure::Connect),
            "closed" => Some(Failure::Disconnected { before_request: false }),
            "closed unsent" => Some(Failure::Disconnected { before_request: true }),
            "reset" => Some(Failure::Reset { before_request: false }),
            "reset unsent" => Some(Failure::Reset { before_request: true }),
            "refused stream" => Some(Failure::RefusedStream),
            "garbage" => Some(Failure::Protocol),
            _ => None,
        };
        match (failure, word) {
            (Some(failure), _) => self.event(exchange, Event::Failed(failure)),
            (None, "opening") => self.event(exchange, Event::Opening),
            (None, "over") => {
                self.busy.pop();
                self.event(exchange, Event::Woken);
            }
            (None, "connected") => self.event(exchange, Event::Connected),
            (None, "received") => self.event(exchange, Event::Received),
            (None, "unrepeatable") => self.event(exchange, Event::Unrepeatable),
            (None, answer) => {
                let (status, head) = answer.split_once(' ').unwrap_or((answer, ""));
                let head: Vec<_> = head.split_whitespace().filter_map(|pair| pair.split_once('=')).collect();
                let lookup = |name: &str| head.iter().find(|(n, _)| *n == name).map(|(_, value)| value.as_bytes());
                let status = status.parse().unwrap_or_else(|_| panic!("unknown event: {word}"));
                self.event(exchange, Event::Answered(Answer { status, header: &lookup }));
            }
        }
    }

    fn event(&mut self, exchange: &mut Exchange, event: Event<'_>) {
        let step = exchange.on(event, self.now, &mut half);
        self.follow(Some(exchange), &step);
    }

    fn started(&mut self, exchange: &mut Exchange, attempt: &Attempt) {
        assert_eq!(attempt.number, exchange.attempts());
        self.told.push(format!("try {}", attempt.endpoint.address()));
        if !self.connecting {
            self.event(exchange, Event::Connected);
        }
    }

    fn follow(&mut self, exchange: Option<&mut Exchange>, step: &Step) {
        match (step, exchange) {
            (Step::Continue, _) => {}
            (Step::Attempt(attempt), Some(exchange)) => self.started(exchange, attempt),
            (Step::Queue, _) => self.told.push("queue".to_owned()),
            (Step::BackOff, Some(exchange)) => {
                let until = exchange.wake_at().expect("a back-off ends");
                self.told.push(format!("wait {}ms", until.since(self.now).as_millis()));
                self.now = until;
                self.event(exchange, Event::Woken);
            }
            (Step::Deliver { flags }, _) if *flags == crate::Flags::NONE => self.told.push("deliver".to_owned()),
            (Step::Deliver { flags }, _) => self.told.push(format!("deliver {flags}")),
            (Step::Reply(reply), _) => {
                self.told.push(format!("reply {} {}", reply.status, reply.flags));
                self.reply = Some(*reply);
            }
            (Step::Abort { flags, .. }, _) => self.told.push(format!("abort {flags}")),
            (Step::Attempt(_) | Step::BackOff, None) => panic!("{step:?} without an exchange"),
        }
    }
}

pub(super) fn duration(text: &str) -> Duration {
    match text.strip_suffix("ms") {
        Some(millis) => Duration::from_millis(millis.parse().expect("milliseconds")),
        None => Duration::from_secs(text.strip_suffix('s').expect("s or ms").parse().expect("seconds")),
    }
}
