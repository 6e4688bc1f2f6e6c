//! What changes while a scenario is played: rules, numbers of endpoints, the health of a version.

use serde_json::{Value, json};
use traffic_sim::{ConfiguredShare, Control, Later, Report, Setup, Verdict, run};

use crate::support::{MODULE, Mesh, V1, V2, analyse, scenario};

/// 100 requests a second for 10 s, answered after 300 ms, with these moments and the rules that they apply.
#[allow(clippy::unwrap_used, reason = "a helper of tests")]
fn play(first: &Mesh, moments: Value, later: &[(&Mesh, u64)]) -> Result<Report, String> {
    let version = |name: &str| json!({"labels": {"version": name}, "outcomes": [{"latency": "300ms"}]});
    let spec = json!({
        "duration": "10s", "services": [{"host": "sa-logic", "versions": [version("v1"), version("v2")]}],
        "timeline": moments, "load": {"open": {"ratePerSecond": 100}, "requests": analyse()},
    });
    let share = |cluster: &str, weight| ConfiguredShare {
        rule: "sa-logic".into(),
        cluster: cluster.into(),
        weight,
        by_user: false,
        guarded: false,
    };
    let configured = |v1: u64| vec![share(V1, v1), share(V2, 100 - v1)];
    let later = later.iter().map(|(mesh, v1)| Later { rules: mesh.rules(), configured: configured(*v1) }).collect();
    let setup = Setup { module: &MODULE, rules: first.rules(), configured: configured(100), later };
    let report = run(&scenario(spec)?, setup, Control::default()).map_err(|error| error.to_string())?;
    assert!(report.violations.is_empty(), "{report}");
    Ok(report)
}

#[test]
fn other_manifests_hold_from_their_moment_on_and_nothing_is_lost() {
    let (first, half) = (Mesh::split(100, 0), Mesh::split(50, 50));
    let moments = json!([{"at": "4s", "apply": ["half.yaml"]}]);
    let report = play(&first, moments, &[(&half, 50)]).unwrap();
    assert_eq!((report.totals.begun, report.totals.succeeded), (1_000, 1_000), "{report}");
    // 300 expected of the 600 after the change, standard deviation 12.
    let v2 = report.clusters[V2];
    assert!((250..=350).contains(&v2), "{v2}");
    // Each set of rules is judged by its own requests.
    let told: Vec<(&str, u64)> = report.shares.iter().map(|share| (share.rule.as_str(), share.total)).collect();
    let then = "sa-logic (from 4.00 s on)";
    assert_eq!(told, [("sa-logic", 400), ("sa-logic", 400), (then, 600), (then, 600)]);
    assert!(report.shares.iter().all(|share| share.verdict == Verdict::Inside), "{report}");
}

#[test]
fn a_version_is_broken_and_mended() {
    let which = json!({"host": "sa-logic", "labels": {"version": "v1"}});
    let mut breaks = which.clone();
    breaks["outcomes"] = json!([{"status": 500}]);
    let moments = json!([{"at": "2s", "break": breaks}, {"at": "5s", "mend": which}]);
    let report = play(&Mesh::split(100, 0), moments, &[]).unwrap();
    assert_eq!((report.statuses[&200], report.statuses[&500]), (700, 300), "{report}");
}

#[test]
fn a_version_is_scaled() {
    let scale = |at: &str, endpoints: u64| json!({"at": at, "scale": {"host": "sa-logic", "labels": {"version": "v1"}, "endpoints": endpoints}});
    // Nobody from 2 s to 5 s: 503. Those under way at 2 s are answered.
    let report = play(&Mesh::split(100, 0), json!([scale("2s", 0), scale("5s", 3)]), &[]).unwrap();
    assert_eq!((report.statuses[&200], report.statuses[&503]), (700, 300), "{report}");
    assert_eq!(report.details["no_healthy_upstream"], 300, "{report}");
    // A change of rules keeps the number of endpoints.
    let (first, same) = (Mesh::split(100, 0), Mesh::split(100, 0));
    let moments = json!([scale("2s", 0), {"at": "3s", "apply": ["same.yaml"]}]);
    let report = play(&first, moments, &[(&same, 100)]).unwrap();
    assert_eq!(report.statuses[&503], 800, "{report}");
}

#[test]
fn more_endpoints_do_more() {
    let version =
        json!({"labels": {"version": "v1"}, "capacity": {"concurrency": 1}, "outcomes": [{"latency": "100ms"}]});
    let spec = json!({
        "duration": "10s", "services": [{"host": "sa-logic", "versions": [version]}],
        "timeline": [{"at": "5s", "scale": {"host": "sa-logic", "labels": {"version": "v1"}, "endpoints": 4}}],
        "load": {"closed": {"clients": 4}, "requests": analyse()},
    });
    let spec_with_pause = {
        let mut spec = spec;
        spec["load"]["closed"]["thinkTime"] = "10ms".into();
        spec
    };
    let report = Mesh::split(100, 0).run(spec_with_pause);
    // About 9 a second by one endpoint, then about 36 by four.
    let served = report.statuses[&200];
    assert!((200..=235).contains(&served), "{report}");
}

#[test]
fn what_makes_no_sense_is_refused() {
    #[track_caller]
    fn check(moments: Value, expected: &str) {
        let said = play(&Mesh::split(100, 0), moments, &[]).map_or_else(|error| error, |_| "ran".to_owned());
        assert!(said.starts_with(expected), "{said}");
    }
    let which = |version: &str| json!({"host": "sa-logic", "labels": {"version": version}});
    check(json!([{"at": "1s", "mend": which("v1")}]), "ran");
    check(json!([{"at": "1s"}]), "spec.timeline[0]: say what happens");
    check(json!([{"at": "1s", "mend": which("v9")}]), "spec.timeline[0].mend: no version of `sa-logic`");
    check(
        json!([{"at": "1s", "scale": {"host": "sa-logik", "endpoints": 1}}]),
        "spec.timeline[0].scale: the manifests have no endpoint of `sa-logik`",
    );
    check(
        json!([{"at": "2s", "mend": which("v1")}, {"at": "1s", "mend": which("v1")}]),
        "spec.timeline[1].at: moments come in the order of time",
    );
    check(json!([{"at": "1s", "apply": []}]), "spec.timeline[0].apply: name at least one file");
    let mut breaks = which("v1");
    breaks["outcomes"] = json!([{"status": 99}]);
    check(json!([{"at": "1s", "break": breaks}]), "spec.timeline[0].break.outcomes[0].status: an HTTP status");
}
