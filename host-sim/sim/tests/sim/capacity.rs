//! Services that are overloaded, and failures that come and go.

use serde_json::{Value, json};
use traffic_sim::Report;

use crate::support::{Mesh, analyse, scenario};

/// All of sa-logic, with this capacity and these outcomes, under this load.
fn play(capacity: Value, outcomes: Value, load: Value) -> Report {
    let version = json!({"capacity": capacity, "outcomes": outcomes});
    let mut load = load;
    load["requests"] = analyse();
    let spec = json!({
        "duration": "10s", "services": [{"host": "sa-logic", "versions": [version]}], "load": load,
    });
    let report = Mesh::split(100, 0).run(spec);
    assert!(report.violations.is_empty(), "{report}");
    report
}

#[test]
fn who_finds_no_room_waits_and_then_is_refused() {
    // Ten clients at once, two of whom are served in 100 ms, three wait, five are refused and come again in a second.
    let load = json!({"closed": {"clients": 10, "thinkTime": "1s"}});
    let report = play(json!({"concurrency": 2, "queue": 3}), json!([{"latency": "100ms"}]), load);
    assert_eq!(report.times.max_us, 300_000, "{report}");
    assert!(report.statuses[&200] > 0 && report.statuses[&503] > 0, "{report}");
    let of_first_second = |report: &Report, status| report.statuses.get(&status).copied().unwrap_or(0);
    assert_eq!(of_first_second(&report, 200) + of_first_second(&report, 503), report.totals.begun, "{report}");
}

#[test]
fn an_endpoint_serves_what_its_capacity_allows() {
    // 4 at once, 100 ms each: 40 a second, whatever comes.
    let served = |rate: u64| {
        let load = json!({"open": {"ratePerSecond": rate}});
        let report = play(json!({"concurrency": 4, "queue": 8}), json!([{"latency": "100ms"}]), load);
        report.statuses[&200]
    };
    assert_eq!(served(20), 200);
    // The queue is served after the load has ended.
    assert!((400..=412).contains(&served(100)), "{}", served(100));
}

#[test]
fn a_service_does_not_notice_that_nobody_waits() {
    // Each answer takes 1 s, and clients wait for 0.5 s: no answer ever reaches one, and the service is busy all the time.
    let mut load = json!({"open": {"ratePerSecond": 2}});
    load["requests"] = analyse();
    let version = json!({"capacity": {"concurrency": 1, "queue": 100}, "outcomes": [{"latency": "1s"}]});
    let spec = json!({
        "duration": "10s", "clientTimeout": "500ms",
        "services": [{"host": "sa-logic", "versions": [version]}], "load": load,
    });
    let report = Mesh::split(100, 0).run(spec);
    assert_eq!((report.totals.begun, report.totals.gave_up), (20, 20), "{report}");
    assert_eq!(report.simulated_us, 20_000_000, "{report}");
    assert!(report.violations.is_empty(), "{report}");
}

#[test]
fn a_hung_worker_is_lost() {
    let load = json!({"open": {"ratePerSecond": 1}});
    let outcomes = json!([{"fault": "neverAnswers", "untilRequest": 1}, {"latency": "10ms", "from": "1s"}]);
    let report = play(json!({"concurrency": 1, "queue": 100}), outcomes, load);
    assert_eq!((report.totals.begun, report.totals.waiting), (10, 10), "{report}");
}

#[test]
fn failures_have_their_time_and_their_number() {
    let load = || json!({"open": {"ratePerSecond": 10}});
    // From 2 s to 5 s all is lost.
    let outcomes = json!([{"until": "2s"}, {"status": 500, "from": "2s", "until": "5s"}, {"from": "5s"}]);
    let report = play(Value::Null, outcomes, load());
    assert_eq!((report.statuses[&200], report.statuses[&500]), (70, 30), "{report}");
    // The first seven, and of the rest a fifth.
    let outcomes = json!([
        {"status": 500, "untilRequest": 7, "share": 1_000_000}, {"share": 4}, {"status": 503},
    ]);
    let report = play(Value::Null, outcomes, load());
    assert_eq!(report.statuses[&500], 7, "{report}");
    // 18.6 expected, standard deviation 3.9.
    assert!((4..=34).contains(&report.statuses[&503]), "{report}");
    // Where nothing may happen, nothing is found.
    let report = play(Value::Null, json!([{"until": "1s"}]), load());
    assert_eq!((report.statuses[&200], report.statuses[&404]), (10, 90), "{report}");
}

#[test]
fn a_slow_body_takes_its_time_and_may_be_cut_off() {
    let load = || json!({"closed": {"clients": 1}});
    let outcomes = || json!([{"latency": "100ms", "body": "page", "bodyTakes": "2s"}]);
    let report = play(Value::Null, outcomes(), load());
    assert_eq!((report.times.min_us, report.times.max_us), (2_100_000, 2_100_000), "{report}");
    // The attempt was answered when its head was there.
    assert_eq!(report.versions[0].times.max_us, 100_000, "{report}");
    let spec = json!({
        "requests": 5, "services": [{"host": "sa-logic", "versions": [{"outcomes": outcomes()}]}],
        "load": {"closed": {"clients": 1}, "requests": analyse()},
    });
    let report = Mesh::split(100, 0).timeout(1).run(spec);
    assert_eq!((report.totals.reset, report.times.max_us), (5, 1_000_000), "{report}");
    assert!(report.violations.is_empty(), "{report}");
}

#[test]
fn what_makes_no_sense_is_refused() {
    let said = |capacity: Value, outcome: Value| {
        let version = json!({"capacity": capacity, "outcomes": [outcome]});
        let load = json!({"closed": {"clients": 1}, "requests": analyse()});
        let spec = json!({"requests": 1, "services": [{"host": "sa-logic", "versions": [version]}], "load": load});
        scenario(spec).map_or_else(|error| error, |_| "nothing".to_owned())
    };
    let at = "spec.services[0].versions[0]";
    assert_eq!(said(json!({"concurrency": 1}), json!({})), "nothing");
    assert_eq!(
        said(json!({"concurrency": 0}), json!({})),
        format!("{at}.capacity.concurrency: this must be above zero")
    );
    let window = said(Value::Null, json!({"from": "2s", "until": "1s"}));
    assert!(window.starts_with(&format!("{at}.outcomes[0].until: this must come after `from`")), "{window}");
    let slow = said(Value::Null, json!({"bodyTakes": "1s"}));
    assert_eq!(slow, format!("{at}.outcomes[0].bodyTakes: there is no body that could be slow"));
    let number = said(Value::Null, json!({"untilRequest": 0}));
    assert_eq!(number, format!("{at}.outcomes[0].untilRequest: this must be above zero"));
}
