//! Expectations: what holds is met, what does not hold fails, and what cannot be evaluated is refused before the run.

use serde_json::{Value, json};
use traffic_sim::{Control, Expectation, Judgement, Report, Setup, Spread, run};

use crate::support::{MODULE, Mesh, analyse, buggy, scenario};

/// A fifth meets v2, of which a third is 500 and a third comes after 30 s; v1 takes 20 ms.
fn spec(requests: u64, expect: Value) -> Value {
    json!({
        "requests": requests, "services": buggy(), "expect": expect,
        "load": {"closed": {"clients": 10}, "requests": analyse()},
    })
}

/// One expectation of a run of 3 000 requests, called `it`.
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a helper of tests")]
fn judged(mesh: &Mesh, mut expectation: Value) -> Expectation {
    expectation["name"] = "it".into();
    let mut all = mesh.run(spec(3_000, json!([expectation]))).expectations;
    assert_eq!(all.len(), 1);
    all.pop().unwrap()
}

/// Met as it stands, and failed by every bound beside it.
#[track_caller]
fn check(mesh: &Mesh, measure: Value, met: &[Value], failed: &[Value]) {
    let with = |bound: &Value| {
        let mut all = measure.as_object().cloned().unwrap_or_default();
        all.extend(bound.as_object().cloned().unwrap_or_default());
        judged(mesh, Value::Object(all))
    };
    for (bounds, expected) in [(met, Judgement::Met), (failed, Judgement::Failed)] {
        for bound in bounds {
            let told = with(bound);
            assert_eq!(told.judgement, expected, "{measure} {bound}: {} seen", told.seen);
        }
    }
}

fn v(version: &str) -> Value {
    json!({"service": "sa-logic", "labels": {"version": version}})
}

#[test]
fn shares_are_met_or_not() {
    let mesh = Mesh::split(80, 20);
    let share = |of| json!({"measure": "share", "of": of});
    check(
        &mesh,
        share(v("v1")),
        &[
            json!({"equal": "80%", "confidence": "95%"}),
            json!({"between": ["75%", "85%"]}),
            json!({"atLeast": "75%", "confidence": "99%"}),
        ],
        &[
            json!({"equal": "90%", "confidence": "99.9%"}),
            json!({"between": ["10%", "30%"]}),
            json!({"atMost": "75%", "confidence": "99%"}),
        ],
    );
    let success = json!({"measure": "successRate"});
    check(
        &mesh,
        success.clone(),
        &[json!({"between": ["90%", "96%"]})],
        &[json!({"atLeast": "99%"}), json!({"equal": "100%"})],
    );
    let of_v1 = json!({"measure": "successRate", "of": v("v1")});
    check(&mesh, of_v1, &[json!({"equal": "100%"})], &[json!({"atMost": "99.9999%"})]);
    let of_v2 = json!({"measure": "successRate", "of": v("v2")});
    check(&mesh, of_v2, &[json!({"between": ["60%", "73%"]})], &[json!({"atLeast": "80%", "confidence": "99%"})]);
}

#[test]
fn answers_are_shares_or_counts() {
    let mesh = Mesh::split(80, 20);
    let answers = |status: Value| json!({"measure": "answers", "status": status});
    check(
        &mesh,
        answers(json!("5xx")),
        &[json!({"between": ["4%", "10%"]}), json!({"between": [120, 300]})],
        &[json!({"equal": 0})],
    );
    check(&mesh, answers(json!(200)), &[json!({"atLeast": 2_000})], &[json!({"atMost": "50%"})]);
    check(&mesh, answers(json!("none")), &[json!({"equal": 0})], &[json!({"atLeast": 1})]);
    let helped = Mesh::split(0, 100).timeout(8).retries(3, 3);
    let none = json!({"measure": "answers", "status": "none", "of": v("v2")});
    check(&helped, none, &[json!({"between": ["20%", "40%"]})], &[json!({"atMost": 10})]);
}

#[test]
fn times_are_compared_at_any_percentile() {
    let mesh = Mesh::split(80, 20);
    let time = |percentile: &str| json!({"measure": "responseTime", "percentile": percentile});
    check(&mesh, time("p50"), &[json!({"equal": "20ms"})], &[json!({"atMost": "19ms"}), json!({"atLeast": "21ms"})]);
    check(&mesh, time("p99.9"), &[json!({"atLeast": "29s"})], &[json!({"atMost": "20s"})]);
    check(&mesh, time("p100"), &[json!({"equal": "30s"})], &[json!({"atMost": "29s"})]);
    let of_v1 = json!({"measure": "responseTime", "percentile": "p100", "of": v("v1")});
    check(&mesh, of_v1, &[json!({"equal": "20ms"})], &[json!({"atLeast": "1s"})]);
    // Both versions together, although neither alone has half of all times.
    let of_both = json!({"measure": "responseTime", "percentile": "p96", "of": {"service": "sa-logic"}});
    check(&mesh, of_both, &[json!({"atLeast": "29s"})], &[json!({"atMost": "1s"})]);
    let mean = json!({"measure": "meanResponseTime"});
    check(&mesh, mean, &[json!({"between": ["1s", "3s"]})], &[json!({"atMost": "100ms"})]);
}

#[test]
fn counts_are_compared_as_they_are() {
    let mesh = Mesh::split(80, 20).timeout(8).retries(3, 3);
    let of = |measure: &str, of: Option<Value>| {
        let mut all = json!({"measure": measure});
        if let Some(of) = of {
            all["of"] = of;
        }
        all
    };
    check(&mesh, of("requests", None), &[json!({"equal": 3_000})], &[json!({"equal": 3_001})]);
    check(&mesh, of("requests", Some(v("v2"))), &[json!({"between": [500, 700]})], &[json!({"atLeast": 1_000})]);
    check(&mesh, of("attempts", None), &[json!({"atLeast": 3_300})], &[json!({"atMost": 3_000})]);
    check(&mesh, of("retries", Some(v("v1"))), &[json!({"equal": 0})], &[json!({"atLeast": 1})]);
    check(&mesh, of("retries", None), &[json!({"atLeast": 300})], &[json!({"equal": 0})]);
    check(&mesh, of("timeouts", Some(v("v2"))), &[json!({"atLeast": 100})], &[json!({"equal": 0})]);
    check(&mesh, of("timeouts", None), &[json!({"atLeast": 1})], &[json!({"atMost": 0})]);
    let mirrored = Mesh::mirrored();
    check(&mirrored, of("mirrors", Some(v("v2"))), &[json!({"equal": 3_000})], &[json!({"atMost": 2_999})]);
    check(&mirrored, of("mirrors", Some(v("v1"))), &[json!({"equal": 0})], &[json!({"atLeast": 1})]);
    check(
        &mirrored,
        of("mirrorSuccessRate", None),
        &[json!({"between": ["60%", "73%"]})],
        &[json!({"atLeast": "90%"})],
    );
}

#[test]
fn users_who_met_a_failure_are_counted() {
    let judged = |bound: Value| {
        let mut expectation = json!({"name": "it", "measure": "usersFailed"});
        bound.as_object().into_iter().flatten().for_each(|(name, value)| expectation[name] = value.clone());
        let mut spec = spec(3_000, json!([expectation]));
        spec["load"]["users"] = json!({"count": 10, "header": "x-user"});
        Mesh::split(80, 20).run(spec).expectations[0].judgement
    };
    // Each of the ten sends some three hundred requests, and one in fifteen fails.
    assert_eq!(judged(json!({"equal": "100%"})), Judgement::Met);
    assert_eq!(judged(json!({"equal": 10})), Judgement::Met);
    assert_eq!(judged(json!({"atMost": "50%"})), Judgement::Failed);
}

#[test]
fn nothing_to_look_at_is_not_as_expected() {
    let told = judged(&Mesh::split(100, 0), json!({"measure": "successRate", "of": v("v2"), "atLeast": "1%"}));
    assert_eq!((told.judgement, &*told.remark), (Judgement::Failed, "nothing came that could be judged"));
}

#[test]
fn a_short_run_does_not_tell() {
    let expect =
        json!([{"name": "it", "measure": "successRate", "of": v("v1"), "atLeast": "99%", "confidence": "95%"}]);
    let told = |requests| Mesh::split(100, 0).run(spec(requests, expect.clone()));
    let short = told(100);
    assert_eq!(short.expectations[0].judgement, Judgement::Undecided);
    assert!(short.failed().next().is_none());
    assert!(short.to_string().contains("299 of these would tell, if the share stays"), "{short}");
    assert_eq!(told(299).expectations[0].judgement, Judgement::Met);
}

#[test]
fn the_report_tells_each_and_json_has_the_numbers() {
    let expect = json!([
        {"name": "most are well", "measure": "successRate", "atLeast": "99%"},
        {"name": "a fifth meets v2", "measure": "share", "of": v("v2"), "equal": "20%", "confidence": "95%"},
    ]);
    let report = Mesh::split(80, 20).run(spec(3_000, expect));
    let text = report.to_string();
    assert!(text.contains("\nExpectations: 1 met, 1 FAILED\n"), "{text}");
    assert!(
        text.lines().any(|line| line.contains("most are well") && line.ends_with("at least 99 %  FAILED")),
        "{text}"
    );
    assert!(
        text.lines().any(|line| line.contains("a fifth meets v2") && line.ends_with("20 % (95 % sure)     met")),
        "{text}"
    );
    assert!(text.lines().all(|line| line.chars().count() <= 96), "{text}");
    let json = serde_json::to_value(&report).unwrap();
    let first = &json["expectations"][0];
    assert_eq!((&first["judgement"], &first["wanted"]), (&json!("failed"), &json!("at least 99 %")));
    assert_eq!(first["seen"]["share"], json!({"part": report.totals.succeeded, "whole": 3_000}));
    assert_eq!(json["expectations"][1]["confidence"], json!("95%"));
}

#[allow(clippy::unwrap_used, reason = "a helper of tests")]
fn refused(expect: Value) -> String {
    let mesh = Mesh::mirrored();
    let setup = Setup { module: &MODULE, rules: mesh.rules(), configured: Vec::new(), later: Vec::new() };
    match scenario(spec(10, json!([expect]))) {
        Err(errors) => errors,
        Ok(scenario) => {
            run(&scenario, setup, Control::default()).map_or_else(|error| error.to_string(), |_| "ran".into())
        }
    }
}

#[test]
fn what_cannot_be_evaluated_is_refused_with_its_field() {
    let share = |bound: Value| {
        let mut all = json!({"name": "a", "measure": "share", "of": v("v1")});
        bound.as_object().into_iter().flatten().for_each(|(name, value)| all[name] = value.clone());
        refused(all)
    };
    assert_eq!(share(json!({"atLeast": "1%"})), "ran");
    for (wrong, told) in [
        (share(json!({})), "spec.expect[0]: give one of `atLeast`, `atMost`, `between` and `equal`"),
        (share(json!({"atLeast": "1%", "atMost": "2%"})), "spec.expect[0]: give one of"),
        (share(json!({"atLeast": "101%"})), "spec.expect[0].atLeast: `101%` is more than all there is"),
        (share(json!({"atLeast": 0.5})), "spec.expect[0].atLeast: `0.5` is no count; write a share like `99.5%`"),
        (share(json!({"atLeast": 5})), "spec.expect[0].atLeast: 5 is a count, and here belongs a share"),
        (share(json!({"between": ["80%", "70%"]})), "spec.expect[0].between: the lower end comes first"),
        (share(json!({"equal": "75%"})), "spec.expect[0].equal: chance never gives just this"),
        (share(json!({"equal": "75%", "confidence": "100%"})), "spec.expect[0].confidence: this lies between"),
        (share(json!({"equal": "75%", "sure": "95%"})), "spec.expect[0].sure: unknown field `sure`"),
        (
            share(json!({"atLeast": "1%", "percentile": "p9"})),
            "spec.expect[0].percentile: this belongs to the measure `responseTime`",
        ),
        (share(json!({"measure": "shares", "atLeast": "1%"})), "spec.expect[0].measure: unknown variant `shares`"),
        (
            share(json!({"of": {"service": "sa-logik", "labels": {"version": "v1"}}, "atLeast": "1%"})),
            "spec.expect[0].of.service: the manifests have no service `sa-logik`",
        ),
        (
            share(json!({"of": {"service": "sa-logic", "labels": {"version": "v9"}}, "atLeast": "1%"})),
            "spec.expect[0].of.labels: no endpoint of `sa-logic` has these labels",
        ),
        (
            share(json!({"of": {"service": "sa-logic"}, "atLeast": "1%"})),
            "spec.expect[0].of: a share is that of some versions",
        ),
        (
            refused(json!({"name": "a", "measure": "answers", "atMost": 1})),
            "spec.expect[0]: the measure `answers` needs a `status`",
        ),
        (
            refused(json!({"name": "a", "measure": "answers", "status": 99, "atMost": 1})),
            "spec.expect[0].status: 99 is no status",
        ),
        (
            refused(json!({"name": "a", "measure": "responseTime", "percentile": "p101", "atMost": "1s"})),
            "spec.expect[0].percentile: `p101` is no percentile",
        ),
        (
            refused(json!({"name": "a", "measure": "responseTime", "percentile": "p99", "atMost": 1})),
            "spec.expect[0].atMost: 1 is a count, and here belongs a time",
        ),
        (
            refused(json!({"name": "a", "measure": "retries", "atMost": 1, "confidence": "95%"})),
            "spec.expect[0].confidence: only shares are judged by it",
        ),
        (refused(json!({"name": "", "measure": "retries", "atMost": 1})), "spec.expect[0].name: "),
        (refused(json!({"measure": "retries", "atMost": 1})), "spec.expect[0]: missing field `name`"),
        (
            refused(json!({"name": "a", "measure": "usersFailed", "atMost": "1%"})),
            "spec.expect[0].measure: the load has no `users`",
        ),
        (
            refused(json!({"name": "a", "measure": "retries", "of": {"calls": true}, "atMost": 1})),
            "spec.expect[0].of.calls: no service makes any `calls`",
        ),
        (
            refused(json!({"name": "a", "measure": "retries", "of": {"service": "a", "calls": true}, "atMost": 1})),
            "spec.expect[0].of: give either a `service` or `calls: true`",
        ),
        (
            refused(json!({"name": "a", "measure": "retries", "of": {}, "atMost": 1})),
            "spec.expect[0].of: give either a `service` or `calls: true`",
        ),
    ] {
        assert!(wrong.starts_with(told), "{wrong}\nand not\n{told}");
    }
    let twice = json!({"name": "a", "measure": "retries", "atMost": 1});
    let errors = scenario(spec(10, json!([twice, twice]))).unwrap_err();
    assert_eq!(errors, "spec.expect[1].name: another expectation has this name");
}

#[test]
fn many_runs_are_judged_together() {
    let expect = json!([
        {"name": "a fifth meets v2", "measure": "share", "of": v("v2"), "equal": "20%", "confidence": "80%"},
        {"name": "v1 is well", "measure": "successRate", "of": v("v1"), "atLeast": "99%", "confidence": "95%"},
        {"name": "no error", "measure": "answers", "status": "5xx", "equal": 0},
    ]);
    let reports: Vec<Report> = (1..=20)
        .map(|seed: u64| {
            let mut spec = spec(100, expect.clone());
            spec["seed"] = seed.into();
            Mesh::split(80, 20).run(spec).slim()
        })
        .collect();
    let spread = Spread::new(reports.clone());
    let json: Value = serde_json::from_str(&spread.to_json().unwrap()).unwrap();
    let [fifth, well, none] = json["expectations"].as_array().unwrap().as_slice() else { panic!("{json}") };
    // At 80 % a few of the runs are expected outside of the band, and all together hold.
    assert!((1..=9).contains(&fifth["failed"].as_u64().unwrap()), "{json}");
    assert_eq!(fifth["judgement"], "met", "{json}");
    // 80 requests tell nothing, 1 600 do.
    assert_eq!((&well["undecided"], &well["judgement"]), (&json!(20), &json!("met")));
    // What is exact must hold in each.
    assert_eq!((&none["judgement"], &none["failedSeeds"].as_array().unwrap().len()), (&json!("failed"), &5));
    assert_eq!(spread.failed().map(|failed| failed.name).collect::<Vec<_>>(), ["no error"]);
    let text = spread.to_string();
    assert!(text.starts_with("test  (20 runs, seeds 1 to 20)"), "{text}");
    assert!(text.lines().all(|line| line.chars().count() <= 96 && line.trim_end() == line), "{text}");
    // The least and the greatest are those of the runs.
    let succeeded = reports.iter().map(|report| report.totals.succeeded);
    let shown = |number: Option<u64>| format!("{}.00 %", number.unwrap_or(0));
    let row = json["figures"].as_array().unwrap().iter().find(|row| row["figure"] == "succeeded").unwrap();
    assert_eq!((&row["min"], &row["max"]), (&json!(shown(succeeded.clone().min())), &json!(shown(succeeded.max()))));
}
