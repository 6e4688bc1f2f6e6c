//! What limits are for, in the proxy and in real Envoy, with the examples' own files and in real time: a sick version takes down
//! whoever waits for it, unless `connectionPool` and `outlierDetection` say how long that may go on; and a sick instance fails
//! its share of requests for as long as nobody leaves it out.
//!
//! Pauses are shorter than in the examples' scenarios. Shares may be off by 14 points and more: the machine has other work.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, reason = "this is a test")]

use serde_json::{Value, json};
use shunt_tests::arms::{self, Arm};
use shunt_tests::case::{self, Case, Request};
use shunt_tests::client::Client;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::mpsc::{TrySendError, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// An application that asks a service before it answers, and what is asked of it.
struct Caller {
    /// So many requests are worked on at a time, so many more wait for their turn, and others are answered 503.
    workers: usize,
    queue: usize,
    per_second: u32,
    lasting: Duration,
    /// Every so many-th request is one for which nothing has to be asked.
    page: u32,
    asks: Request,
}

/// An answer of the application.
struct Answer {
    /// When it was asked for.
    at: Duration,
    is_page: bool,
    status: u16,
}

/// Files of an example, with these ports taken by these endpoints of the fleet, which do as `behaviour` says.
fn story(files: &[&str], ports: &[(&str, &str)], behaviour: &Value) -> Case {
    let read = |file: &&str| {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples").join(file);
        std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    };
    let mut objects = files.iter().map(read).collect::<Vec<_>>().join("\n---\n");
    for (port, endpoint) in ports {
        assert!(objects.contains(port), "no port {port}");
        objects = objects.replace(port, &format!("{{{endpoint}}}"));
    }
    let text = json!({ "name": "limits", "about": "Of an example.", "behaviour": behaviour }).to_string();
    Case { objects, ..case::read("bulkhead.rs", &text).unwrap().remove(0) }
}

/// Everything that is asked of the application, while its own calls go to `to`.
fn answers(caller: &Caller, to: SocketAddr) -> Vec<Answer> {
    let (jobs, waiting) = sync_channel::<(Duration, bool)>(caller.queue);
    let (waiting, answers, begun) = (Mutex::new(waiting), Mutex::new(Vec::new()), Instant::now());
    let answer = |at, is_page, status| {
        answers.lock().unwrap_or_else(PoisonError::into_inner).push(Answer { at, is_page, status });
    };
    let work = || {
        let mut client = Client::new(to);
        let next = || waiting.lock().unwrap_or_else(PoisonError::into_inner).recv();
        while let Ok((at, is_page)) = next() {
            // Who still waits at the end has not been answered.
            let status = match begun.elapsed() < caller.lasting {
                false => 503,
                true if is_page => 200,
                true => client.send(&caller.asks).map_or(503, |reply| if reply.status == 200 { 200 } else { 500 }),
            };
            thread::sleep(Duration::from_millis(5));
            answer(at, is_page, status);
        }
    };
    thread::scope(|scope| {
        for _ in 0..caller.workers {
            scope.spawn(work);
        }
        for number in 0.. {
            let at = Duration::from_secs(1) * number / caller.per_second;
            if at >= caller.lasting {
                break;
            }
            thread::sleep(at.saturating_sub(begun.elapsed()));
            let is_page = number % caller.page == 0;
            if let Err(TrySendError::Full(_)) = jobs.try_send((at, is_page)) {
                answer(at, is_page, 503);
            }
        }
        drop(jobs);
    });
    answers.into_inner().unwrap()
}

/// The share of these that are 200, of those from `from` on, in percent.
fn succeed(answers: &[Answer], from: Duration, which: impl Fn(&Answer) -> bool) -> usize {
    let all = || answers.iter().filter(|answer| answer.at >= from && which(answer));
    all().filter(|answer| answer.status == 200).count() * 100 / all().count()
}

/// The same load without limits and with them, at the same time, and how many requests have reached the sick one.
fn play(arm: &dyn Arm, caller: &Caller, stories: [&Case; 2], sick: &str) -> [(Vec<Answer>, usize); 2] {
    let play = |story| {
        let mut running = arm.start(story).unwrap_or_else(|error| panic!("{}: {error}", arm.name()));
        let answers = answers(caller, running.address().unwrap());
        let met = running.arrivals(0).iter().filter(|arrival| arrival.endpoint == sick).count();
        (answers, met)
    };
    thread::scope(|scope| stories.map(|story| scope.spawn(move || play(story))).map(|played| played.join().unwrap()))
}

/// The proxy and Envoy with the filter; clusters are those of the native twin too.
fn arms() -> impl Iterator<Item = Box<dyn Arm>> {
    arms::of_sockets("limits in the examples").into_iter().filter(|arm| arm.name() != "native")
}

/// `examples/sentiment/bulkhead`. v2 takes a fifth of the calls, and would keep 48 workers busy. As soon as all twenty wait for
/// it, which is after a second, hardly anything succeeds: a fifth of what comes, while v2 lets go of some. With limits all but
/// v2's share does, 84 of 100, and all pages do.
#[test]
fn a_sick_version_takes_its_caller_down_unless_there_are_limits() {
    let files = ["sentiment/services.yaml", "sentiment/canary/sa-logic.yaml", "sentiment/bulkhead/limits.yaml"];
    let ports = [("18094", "reviews-v1"), ("18095", "reviews-v2")];
    let behaviour = json!({ "reviews-v1": { "after": "20ms" }, "reviews-v2": { "status": 500, "after": "2500ms" } });
    let [with, without] = [&files[..], &files[..2]].map(|files| story(files, &ports, &behaviour));
    let asks = Request::get("sa-logic", "/analyse/sentiment", &[]);
    let caller = Caller { workers: 20, queue: 20, per_second: 120, lasting: Duration::from_secs(5), page: 5, asks };
    for arm in arms() {
        let told = play(&*arm, &caller, [&without, &with], "reviews-v2").map(|(answers, met)| {
            let from = Duration::from_millis(1500);
            (succeed(&answers, from, |_| true), succeed(&answers, from, |answer| answer.is_page), met)
        });
        let [(all, pages, met), (all_with, pages_with, met_with)] = told;
        let arm = arm.name();
        println!("{arm}: {all} % succeed, {pages} % of pages, {met} requests to v2 without limits");
        println!("{arm}: {all_with} % succeed, {pages_with} % of pages, {met_with} requests to v2 with limits");
        assert!(all <= 50 && pages <= 60, "{arm}: the caller is not down: {all} %, {pages} % of pages");
        assert!(all_with >= 70 && pages_with >= 85, "{arm}: the caller is down: {all_with} %, {pages_with} % of pages");
        // Ten connections and one that waits for one; a few more while the first answers come, and then v2 is out.
        assert!(met_with <= 20 && met > met_with + 5, "{arm}: {met} requests to v2 without limits, {met_with} with");
    }
}

/// `examples/purchase-history`, step 10: half of the instances are sick, and least request leaves them a quarter of the
/// requests. With the circuit breaker these fail until the fifth in a row has, which is after a second.
#[test]
fn a_sick_instance_fails_its_share_until_the_circuit_breaker_leaves_it_out() {
    let files = ["services.yaml", "steps/06-no-retries.yaml", "steps/10-circuit-breaker.yaml"];
    let files = files.map(|file| format!("purchase-history/{file}"));
    let files: Vec<&str> = files.iter().map(String::as_str).collect();
    let ports = [("18103", "reviews-v1"), ("18104", "reviews-v2"), ("18105", "reviews-v3")];
    let sick = json!({ "status": 500, "after": "600ms" });
    let behaviour = json!({ "reviews-v2": { "after": "10ms" }, "reviews-v3": sick });
    let [with, without] = [&files[..], &files[..2]].map(|files| story(files, &ports, &behaviour));
    let asks = Request::get("purchase-history.istioinaction.svc.cluster.local", "/", &[]);
    let caller =
        Caller { workers: 60, queue: 60, per_second: 50, lasting: Duration::from_secs(8), page: u32::MAX, asks };
    for arm in arms() {
        let told = play(&*arm, &caller, [&without, &with], "reviews-v3").map(|(answers, met)| {
            let from = |seconds| succeed(&answers, Duration::from_secs(seconds), |_| true);
            (from(0), from(3), met)
        });
        let [(all, late, met), (all_with, late_with, met_with)] = told;
        let arm = arm.name();
        println!("{arm}: {all} % succeed, {late} % after 3 s, {met} requests to the sick one without limits");
        println!(
            "{arm}: {all_with} % succeed, {late_with} % after 3 s, {met_with} requests to the sick one with limits"
        );
        assert!((55..=88).contains(&all) && late <= 88, "{arm}: without limits {all} % succeed, {late} % after 3 s");
        assert!(all_with >= 90 && late_with >= 97, "{arm}: with limits {all_with} % succeed, {late_with} % after 3 s");
        assert!((5..=40).contains(&met_with) && met > 2 * met_with, "{arm}: {met} and {met_with} requests");
    }
}
