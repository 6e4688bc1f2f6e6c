//! Whole scenarios: they repeat themselves, send what they should, and see what users would.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use traffic_sim::{Comparison, ConfiguredShare, Control, Progress, Report, Rules, Setup, Verdict, run};

use crate::support::{MODULE, Mesh, V1, V2, analyse, buggy, passthrough, scenario};

fn closed(clients: u64, requests: u64) -> Value {
    json!({
        "requests": requests, "services": buggy(), "load": {"closed": {"clients": clients}, "requests": analyse()},
    })
}

#[allow(clippy::unwrap_used, reason = "a helper of tests")]
fn bytes(report: &Report) -> String {
    format!("{report}{}", serde_json::to_string(report).unwrap())
}

#[test]
fn the_same_seed_gives_the_same_bytes_and_another_does_not() {
    let with_seed = |seed: u64| {
        let mut spec = closed(10, 2_000);
        spec["seed"] = seed.into();
        spec["load"]["closed"]["thinkTime"] = "1ms".into();
        bytes(&Mesh::split(80, 20).timeout(8).retries(3, 3).run(spec))
    };
    assert_eq!(with_seed(7), with_seed(7));
    assert_ne!(with_seed(7), with_seed(8));
}

#[test]
fn a_closed_load_sends_as_often_as_its_clients_come() {
    // 4 clients, 20 ms for an answer and 80 ms to think: 10 each in a second.
    let spec = json!({
        "duration": "1s", "services": buggy(),
        "load": {"closed": {"clients": 4, "thinkTime": "80ms"}, "requests": analyse()},
    });
    let report = Mesh::split(100, 0).run(spec);
    assert_eq!((report.totals.begun, report.totals.succeeded), (40, 40));
    assert_eq!((report.times.min_us, report.times.max_us), (20_000, 20_000));
}

#[test]
fn an_open_load_sends_at_its_rate() {
    let spec = |arrivals: &str, rate: f64| {
        json!({
            "duration": "100s", "services": buggy(),
            "load": {"open": {"ratePerSecond": rate, "arrivals": arrivals}, "requests": analyse()},
        })
    };
    assert_eq!(Mesh::split(100, 0).run(spec("constant", 2.5)).totals.begun, 250);
    // Poisson: 10 000 expected, standard deviation 100.
    let begun = Mesh::split(100, 0).run(spec("poisson", 100.0)).totals.begun;
    assert!((9_600..=10_400).contains(&begun) && begun != 10_000, "{begun}");
}

#[test]
fn kinds_of_requests_come_by_weight() {
    let mut spec = closed(1, 4_000);
    spec["services"] = json!([]);
    spec["load"]["requests"] = json!([
        {"weight": 3, "host": "sa-logic.default.svc.cluster.local"},
        {"weight": 1, "host": "nobody.example"},
    ]);
    let report = Mesh::split(100, 0).run(spec);
    let lost = report.statuses[&404];
    // 1 000 expected, standard deviation 27.
    assert!((890..=1_110).contains(&lost), "{lost}");
    assert_eq!(report.totals.begun, 4_000);
}

#[test]
fn a_canary_with_bugs_hurts_and_retries_help() {
    let plain = Mesh::split(80, 20).run(closed(50, 6_000));
    let helped = Mesh::split(80, 20).timeout(8).retries(3, 3).run(closed(50, 6_000));
    // A fifth meets v2, of which two thirds are wrong or late.
    assert!((0.92..0.95).contains(&plain.success_rate), "{plain}");
    assert_eq!(plain.times.max_us, 30_000_000);
    // All retries stay with v2, and (2/3)^4 of its requests have no luck: 96 % in all.
    assert!((0.95..0.97).contains(&helped.success_rate), "{helped}");
    assert!(helped.times.max_us <= 8_000_000 && helped.totals.retries > 0, "{helped}");
    assert!(helped.timeouts.attempts > helped.timeouts.requests && helped.timeouts.requests > 0, "{helped}");
    for report in [&plain, &helped] {
        assert!(report.violations.is_empty(), "{report}");
        assert_eq!(report.totals.answered, 6_000);
        assert_eq!(report.attempts.values().sum::<u64>(), 6_000);
    }
    let text = Comparison::new([("plain", &plain), ("with retries", &helped)]).to_string();
    assert!(text.contains("with retries") && text.contains("response time, p99"), "{text}");
}

#[test]
fn mirrors_are_counted_and_invisible() {
    let mut spec = closed(10, 3_000);
    spec["tooSlow"] = "10s".into();
    let report = Mesh::mirrored().run(spec);
    assert_eq!((report.totals.succeeded, report.times.max_us), (3_000, 20_000));
    let [mirror] = report.mirrors.as_slice() else { panic!("{report}") };
    assert_eq!((mirror.cluster.as_str(), mirror.sent), (V2, 3_000));
    // One third each; standard deviation 26.
    for part in [mirror.statuses[&500], mirror.too_slow, mirror.succeeded] {
        assert!((890..=1_110).contains(&part), "{report}");
    }
    assert!(report.violations.is_empty());
    assert!(report.to_string().contains("No user saw any of it."), "{report}");
}

#[test]
fn shares_are_compared_with_what_was_configured() {
    let share = |cluster: &str, weight| ConfiguredShare {
        rule: "sa-logic".into(),
        cluster: cluster.into(),
        weight,
        by_user: false,
        guarded: false,
    };
    let judged = |v1: u64, v2: u64| {
        let mesh = Mesh::split(75, 25);
        let configured = vec![share(V1, v1), share(V2, v2)];
        let setup = Setup { module: &MODULE, rules: mesh.rules(), configured, later: Vec::new() };
        run(&scenario(closed(10, 2_000)).unwrap(), setup, Control::default()).unwrap()
    };
    assert!(judged(75, 25).shares.iter().all(|row| row.verdict == Verdict::Inside), "{}", judged(75, 25));
    assert!(judged(50, 50).shares.iter().all(|row| row.verdict == Verdict::Outside));
}

#[test]
fn no_line_of_a_report_is_too_wide() {
    let mut spec = closed(10, 500);
    spec["tooSlow"] = "10s".into();
    for report in [Mesh::mirrored().run(spec), Mesh::split(80, 20).timeout(8).retries(3, 3).run(closed(10, 500))] {
        let text = report.to_string();
        assert!(text.lines().all(|line| line.chars().count() <= 96 && line.trim_end() == line), "{text}");
    }
}

#[test]
fn endpoints_that_nobody_describes_are_named() {
    let mut spec = closed(1, 100);
    spec["services"] = json!([]);
    let report = Mesh::split(50, 50).run(spec);
    assert_eq!((report.undescribed.len(), report.totals.succeeded), (2, 100));
    assert!(report.to_string().contains("sa-logic.default version=v2"), "{report}");
}

#[test]
fn progress_is_told_and_a_stop_is_heeded() {
    let stop = AtomicBool::new(false);
    let mut told = Vec::new();
    let mut progress = |progress: Progress| {
        told.push(progress.fraction);
        stop.store(true, Ordering::Relaxed);
    };
    let mesh = Mesh::split(100, 0);
    let setup = Setup { module: &MODULE, rules: mesh.rules(), configured: Vec::new(), later: Vec::new() };
    let control = Control { progress: Some(&mut progress), stop: Some(&stop) };
    let report = run(&scenario(closed(10, 1_000_000)).unwrap(), setup, control).unwrap();
    assert!(report.stopped && report.totals.begun < 100_000 && report.violations.is_empty(), "{report}");
    assert!(told.iter().all(|fraction| (0.0..=1.0).contains(fraction)) && told.is_sorted(), "{told:?}");
}

#[test]
fn one_more_draw_in_one_source_moves_nothing_in_another() {
    // Poisson arrivals and the split stay as they are when v1's latency begins to be drawn.
    let spec = |latency: Value| {
        json!({
            "duration": "20s",
            "services": [{"host": "sa-logic", "versions": [{"labels": {"version": "v1"}, "outcomes": [{"latency": latency}]}]}],
            "load": {"open": {"ratePerSecond": 100, "arrivals": "poisson"}, "requests": analyse()},
        })
    };
    let constant = Mesh::split(50, 50).run(spec(json!("5ms")));
    let drawn = Mesh::split(50, 50).run(spec(json!({"exponential": "5ms"})));
    assert_eq!((constant.totals.begun, &constant.clusters), (drawn.totals.begun, &drawn.clusters));
    assert_ne!(constant.times, drawn.times);
}

#[test]
fn silence_for_ever_is_no_violation_and_is_counted() {
    let services = json!([{"host": "sa-logic", "versions": [{"outcomes": [{"fault": "neverAnswers"}]}]}]);
    let load = json!({"closed": {"clients": 3}, "requests": analyse()});
    let spec = json!({"duration": "1m", "services": services, "load": load});
    let report = Mesh::split(50, 50).run(spec.clone());
    assert_eq!((report.totals.begun, report.totals.waiting), (3, 3));
    assert!(report.violations.is_empty(), "{report}");
    let mut impatient = spec;
    impatient["clientTimeout"] = "10s".into();
    let report = Mesh::split(50, 50).run(impatient);
    assert_eq!((report.totals.begun, report.totals.gave_up, report.totals.waiting), (18, 18, 0));
    assert_eq!(report.times.p50_us, Duration::from_secs(10).as_micros() as u64);
}

/// The first line of what is wrong with a scenario, after one change to a sound one.
fn fault(change: impl FnOnce(&mut Value)) -> String {
    let mut spec = closed(1, 1);
    change(&mut spec);
    scenario(spec).map_or_else(|errors| errors, |_| "nothing".to_owned())
}

/// A mesh that lets requests out, and a scenario with the world outside.
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a helper of tests")]
fn outside(host: &str, labels: Value) -> Result<Report, String> {
    let mesh = Mesh::split(100, 0);
    let mut configuration: Value = serde_json::from_slice(&mesh.configuration()).unwrap();
    configuration["outboundTrafficPolicy"] = json!({"mode": "ALLOW_ANY"});
    let configuration = configuration.to_string();
    let mut plan = envoy_plan::Plan::clone(&mesh.plan());
    let name = envoy_plan::PASSTHROUGH_CLUSTER.to_owned();
    plan.clusters.insert(name.clone(), passthrough(name));
    let spec = json!({
        "requests": 100,
        "services": [{"host": "api.example.com", "versions": [{"labels": labels, "outcomes": [{"latency": "20ms"}]}]}],
        "load": {"closed": {"clients": 1}, "requests": [{"host": host, "path": "/"}]},
    });
    let setup = Setup {
        module: &MODULE,
        rules: Rules::for_all(configuration, std::sync::Arc::new(plan)),
        configured: Vec::new(),
        later: Vec::new(),
    };
    run(&scenario(spec)?, setup, Control::default()).map_err(|error| error.to_string())
}

#[test]
fn services_outside_the_registry_are_the_world_that_requests_pass_through_to() {
    let known = outside("API.example.com:8080", json!({})).unwrap();
    assert_eq!((known.totals.succeeded, known.times.max_us), (100, 20_000), "{known}");
    assert!(known.to_string().contains("api.example.com") && known.violations.is_empty(), "{known}");
    for nowhere in ["other.example.com", "api.example.com.evil", "example.com"] {
        let unknown = outside(nowhere, json!({})).unwrap();
        assert_eq!((unknown.totals.begun, unknown.totals.succeeded), (100, 0), "{unknown}");
        assert!(unknown.to_string().contains("dns_resolution_failure") && unknown.violations.is_empty(), "{unknown}");
    }
    let labelled = outside("api.example.com", json!({"version": "v1"})).unwrap_err();
    assert_eq!(labelled, "spec.services[0].versions[0].labels: no endpoint of `api.example.com` has these labels");
}

#[test]
fn errors_name_the_field() {
    assert_eq!(fault(|_| {}), "nothing");
    let closed = |spec: &mut Value| spec["load"]["closed"]["clients"] = 0.into();
    assert_eq!(fault(closed), "spec.load.closed.clients: at least one client is needed");
    let unknown = fault(|spec| spec["load"]["closed"]["client"] = 1.into());
    assert!(unknown.starts_with("spec.load.closed.client: unknown field `client`"), "{unknown}");
    let latency = fault(|spec| spec["services"][0]["versions"][0]["outcomes"][0]["latency"] = "5".into());
    let at = "spec.services[0].versions[0].outcomes[0].latency: `5` is not a duration";
    assert!(latency.starts_with(at), "{latency}");
    let negative = fault(|spec| spec["services"][0]["versions"][0]["outcomes"][0]["share"] = (-1).into());
    assert!(negative.ends_with("integer `-1`, expected a whole number that is not negative"), "{negative}");
    let both = fault(|spec| spec["services"][0]["versions"][1]["outcomes"][1]["fault"] = "refused".into());
    assert!(both.starts_with("spec.services[0].versions[1].outcomes[1].fault: "), "{both}");
    let endless = fault(|spec| spec["requests"] = Value::Null);
    assert!(endless.starts_with("spec: give `duration`, `requests` or both"), "{endless}");
    let twice = fault(|spec| spec["load"]["open"] = json!({"ratePerSecond": 1}));
    assert_eq!(twice, "spec.load: give one of `closed`, `open` and `trace`");
}

#[test]
fn a_service_that_the_manifests_do_not_have_is_named() {
    let mesh = Mesh::split(1, 1);
    let told = |host: &str, version: &str| {
        let mut spec = closed(1, 1);
        let outcomes = json!([{}]);
        spec["services"] =
            json!([{"host": host, "versions": [{"labels": {"version": version}, "outcomes": outcomes}]}]);
        let setup = Setup { module: &MODULE, rules: mesh.rules(), configured: Vec::new(), later: Vec::new() };
        run(&scenario(spec).unwrap(), setup, Control::default())
            .map_or_else(|error| error.to_string(), |_| "ran".into())
    };
    assert_eq!(told("sa-logic", "v1"), "ran");
    assert_eq!(told("sa-logik", "v1"), "spec.services[0].host: the manifests have no service `sa-logik`");
    assert_eq!(
        told("sa-logic", "v3"),
        "spec.services[0].versions[0].labels: no endpoint of `sa-logic` has these labels"
    );
}

#[test]
fn a_configuration_the_filter_refuses_does_not_run() {
    let setup = Setup {
        module: &MODULE,
        rules: Rules::for_all("{", Mesh::split(1, 1).plan()),
        configured: Vec::new(),
        later: Vec::new(),
    };
    let error = run(&scenario(closed(1, 1)).unwrap(), setup, Control::default()).unwrap_err();
    assert!(error.to_string().starts_with("the filter refuses its configuration"), "{error}");
}

/// What a user sees, and what every machine must print alike. `UPDATE_GOLDEN=1` rewrites it.
#[test]
fn reports_are_as_in_the_golden_file() {
    let canary = |mesh: &Mesh, name: &str| {
        let share = |cluster: &str, weight| ConfiguredShare {
            rule: "sa-logic".into(),
            cluster: cluster.into(),
            weight,
            by_user: false,
            guarded: false,
        };
        let configured = vec![share(V1, 80), share(V2, 20)];
        let setup = Setup { module: &MODULE, rules: mesh.rules(), configured, later: Vec::new() };
        let mut spec = closed(10, 2_000);
        spec["description"] = name.into();
        run(&scenario(spec).unwrap(), setup, Control::default()).unwrap()
    };
    let plain = canary(&Mesh::split(80, 20), "A fifth of the users meets the buggy v2.");
    let helped = canary(&Mesh::split(80, 20).timeout(8).retries(3, 3), "The same, with a timeout and retries.");
    let mut spec = closed(10, 3_000);
    spec["tooSlow"] = "10s".into();
    spec["description"] = "All users stay with v1, and v2 gets a copy.".into();
    let mirrored = Mesh::mirrored().run(spec);
    let comparison = Comparison::new([("plain", &plain), ("timeout, retries", &helped), ("mirrored", &mirrored)]);
    let text = format!("{plain}\n{0}\n{helped}\n{0}\n{mirrored}\n{0}\n{comparison}", "-".repeat(96));
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sim/reports.golden.txt");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    assert_eq!(text, std::fs::read_to_string(&path).unwrap_or_default(), "`make golden` rewrites {}", path.display());
}
