//! Loads that change, that were recorded, and that come from people.

use serde_json::{Value, json};
use traffic_sim::{Control, Report, Scenario, Setup, run};

use crate::support::{HOST, MODULE, Mesh, analyse, buggy, scenario};

fn play(load: Value) -> Report {
    let mut load = load;
    load["requests"] = analyse();
    Mesh::split(100, 0).run(json!({"duration": "20s", "services": buggy(), "load": load}))
}

#[test]
fn a_ramp_sends_what_lies_below_it() {
    // From 0 to 100 a second in 10 s, then 100 a second: 500 and 1 000.
    let ramp = || json!([{"at": "0s", "ratePerSecond": 0}, {"at": "10s", "ratePerSecond": 100}]);
    let constant = play(json!({"open": {"ramp": ramp()}}));
    assert_eq!(constant.totals.begun, 1_500, "{constant}");
    let poisson = play(json!({"open": {"ramp": ramp(), "arrivals": "poisson"}}));
    // Standard deviation 39.
    assert!((1_345..=1_655).contains(&poisson.totals.begun) && poisson.totals.begun != 1_500, "{poisson}");
    // A load that ends by itself.
    let ending = json!([{"at": "0s", "ratePerSecond": 10}, {"at": "10s", "ratePerSecond": 0}]);
    assert_eq!(play(json!({"open": {"ramp": ending}})).totals.begun, 51);
}

#[test]
fn think_times_are_drawn() {
    let begun = |think: Value| play(json!({"closed": {"clients": 10, "thinkTime": think}})).totals.begun;
    // 20 ms for an answer and 180 ms to think: 5 a second each.
    assert_eq!(begun(json!("180ms")), 1_000);
    let drawn = begun(json!({"exponential": "180ms"}));
    assert!((900..=1_120).contains(&drawn) && drawn != 1_000, "{drawn}");
}

/// Plays a trace.
#[allow(clippy::unwrap_used, reason = "a helper of tests")]
fn trace(text: &str, more: Value) -> Result<Report, String> {
    let mut spec = json!({"services": buggy(), "load": {"trace": {"file": "trace.txt"}}});
    more.as_object().unwrap().iter().for_each(|(name, value)| spec[name] = value.clone());
    let whole = json!({
        "apiVersion": "shunt.dev/v1alpha1", "kind": "Scenario", "metadata": {"name": "test"}, "spec": spec,
    });
    let files = |name: &str| if name == "trace.txt" { Ok(text.to_owned()) } else { Err("no such file".to_owned()) };
    let scenario = Scenario::read_with(whole, &files).map_err(|errors| errors[0].to_string())?;
    let mesh = Mesh::split(100, 0);
    let setup = Setup { module: &MODULE, rules: mesh.rules(), configured: Vec::new(), later: Vec::new() };
    run(&scenario, setup, Control::default()).map_err(|error| error.to_string())
}

#[test]
fn a_trace_is_repeated_as_it_was_recorded() {
    let text = format!("# yesterday\n0s GET {HOST} /a\n1s POST {HOST} /b?c=1\n\n5s GET nobody.example /\n");
    let report = trace(&text, json!({})).unwrap();
    assert_eq!((report.totals.begun, report.statuses[&200], report.statuses[&404]), (3, 2, 1), "{report}");
    assert_eq!(report.simulated_us, 5_000_000, "{report}");
    assert_eq!(trace(&text, json!({"duration": "2s"})).unwrap().totals.begun, 2);
    assert_eq!(trace(&text, json!({"requests": 1})).unwrap().totals.begun, 1);
    let broken = trace("0s GET\n", json!({})).unwrap_err();
    assert!(broken.starts_with("spec.load.trace.file: trace.txt:1: a line has four words"), "{broken}");
}

#[test]
fn users_are_told_apart_and_meet_failures() {
    let load = json!({
        "open": {"ratePerSecond": 100}, "users": {"count": 200, "header": "X-User"},
        "requests": [{"host": HOST, "path": "/"}],
    });
    // Only one in the 200 is let down: by his name.
    let outcomes = json!([
        {"status": 500, "when": {"headers": {"x-user": "user-7"}}},
        {"when": {"headers": {"x-user": {"prefix": "user-"}}}, "share": 1},
    ]);
    let services = json!([{"host": "sa-logic", "versions": [{"outcomes": outcomes}]}]);
    let report = Mesh::split(100, 0).run(json!({"duration": "60s", "services": services, "load": load}));
    let users = report.users.unwrap();
    // Each comes 30 times on average: nobody stays away.
    assert_eq!((users.came, users.failed), (200, 1), "{report}");
    assert!(report.to_string().contains("1 of 200 users met a failure at least once: 0.50 %"), "{report}");
    assert!(!report.statuses.contains_key(&404), "{report}");
}

#[test]
fn users_keep_their_cookies() {
    let load = json!({
        "closed": {"clients": 1}, "users": {"count": 3, "cookies": true}, "requests": [{"host": HOST, "path": "/"}],
    });
    // Whoever has no cookie gets one with 201; from then on it is 200.
    let outcomes = json!([
        {"when": {"headers": {"cookie": "seen=yes"}}, "share": 1_000_000},
        {"status": 201, "headers": {"set-cookie": "seen=yes; Path=/; HttpOnly"}},
    ]);
    let services = json!([{"host": "sa-logic", "versions": [{"outcomes": outcomes}]}]);
    let report = Mesh::split(100, 0).run(json!({"requests": 60, "services": services, "load": load}));
    assert_eq!((report.statuses[&201], report.statuses[&200]), (3, 57), "{report}");
}

#[test]
fn what_makes_no_sense_is_refused() {
    let said = |load: Value| {
        let mut load = load;
        load["requests"] = analyse();
        scenario(json!({"duration": "1s", "load": load})).map_or_else(|error| error, |_| "nothing".to_owned())
    };
    assert_eq!(said(json!({"open": {"ratePerSecond": 1}})), "nothing");
    assert_eq!(said(json!({"open": {}})), "spec.load.open: give either `ratePerSecond` or `ramp`");
    assert_eq!(said(json!({"open": {"ratePerSecond": 0}})), "spec.load.open.ratePerSecond: this must be above zero");
    let ramp = json!([{"at": "5s", "ratePerSecond": 1}, {"at": "5s", "ratePerSecond": 2}]);
    let order = said(json!({"open": {"ramp": ramp}}));
    assert!(order.starts_with("spec.load.open.ramp[1].at: moments come in order"), "{order}");
    let nothing = json!([{"at": "5s", "ratePerSecond": 0}]);
    assert_eq!(said(json!({"open": {"ramp": nothing}})), "spec.load.open.ramp: at least one rate must be above zero");
    let users = said(json!({"closed": {"clients": 1}, "users": {"count": 0}}));
    assert_eq!(users, "spec.load.users.count: at least one user is needed");
    let negative = said(json!({"closed": {"clients": 1, "thinkTime": "-1s"}}));
    assert!(negative.starts_with("spec.load.closed.thinkTime: `-1s` is not a duration"), "{negative}");
    let file = said(json!({"trace": {"file": "x"}}));
    assert!(file.starts_with("spec.load.trace.file: there is no file x here"), "{file}");
}
