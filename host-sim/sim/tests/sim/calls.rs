//! Services that ask each other: every hop passes a filter, every call is counted apart, and nothing goes in a circle.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use envoy_plan::Plan;
use serde_json::{Value, json};
use traffic_sim::{Control, Judgement, Report, RequestSpec, Rules, Setup, What, Workload, run, trace};

use crate::support::{HOST, MODULE, Mesh, V1, cluster_of, scenario};

const PAGE: &str = "sa-web-app.default.svc.cluster.local";
const PAGES: &str = "outbound|80||sa-web-app.default.svc.cluster.local";

/// The mesh of sa-logic and, before it, sa-web-app, without rules of its own.
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a helper of tests")]
fn rules(mesh: &Mesh) -> Rules {
    let mut configuration: Value = serde_json::from_slice(&mesh.configuration()).unwrap();
    let page = json!({
        "apiVersion": "networking.istio.io/v1", "kind": "ServiceEntry",
        "metadata": {"name": "sa-web-app", "namespace": "default"},
        "spec": {
            "hosts": [PAGE], "location": "MESH_INTERNAL", "resolution": "STATIC",
            "ports": [{"number": 80, "name": "http", "protocol": "HTTP"}],
        },
    });
    configuration["objects"].as_array_mut().unwrap().push(page);
    let mut plan = Plan::clone(&mesh.plan());
    plan.clusters.insert(PAGES.to_owned(), cluster_of(PAGES, "10.0.1.1", &[("app", "page")]));
    Rules::for_all(configuration.to_string(), Arc::new(plan))
}

/// Requests for the page, whose version makes these calls.
fn spec(calls: Value, logic: Value, requests: u64) -> Value {
    json!({
        "requests": requests,
        "services": [
            {"host": "sa-web-app", "versions": [{"calls": calls, "outcomes": [{"latency": "5ms"}]}]},
            {"host": "sa-logic", "versions": [{"outcomes": logic}]},
        ],
        "load": {"closed": {"clients": 1}, "requests": [{"host": PAGE, "path": "/"}]},
    })
}

#[allow(clippy::unwrap_used, reason = "a helper of tests")]
fn play(rules: Rules, spec: Value) -> Report {
    let setup = Setup { module: &MODULE, rules, configured: Vec::new(), later: Vec::new() };
    let report = run(&scenario(spec).unwrap(), setup, Control::default()).unwrap();
    assert!(report.violations.is_empty(), "{report}");
    report
}

#[allow(clippy::unwrap_used, reason = "a helper of tests")]
fn one(calls: Value, logic: Value) -> Report {
    play(rules(&Mesh::split(100, 0)), spec(calls, logic, 1))
}

/// Milliseconds that the one request took, its status, and how many calls were made and succeeded.
#[track_caller]
fn check(calls: Value, logic: Value, expected: (u64, u16, u64, u64)) {
    let report = one(calls, logic);
    let made = report.calls.as_ref().map_or((0, 0), |calls| (calls.totals.begun, calls.totals.succeeded));
    let status = *report.statuses.keys().next().unwrap();
    assert_eq!((report.times.max_us / 1_000, status, made.0, made.1), expected, "{report}");
}

#[test]
fn calls_follow_each_other_or_go_together() {
    let logic = || json!([{"latency": "20ms"}]);
    check(json!([]), logic(), (5, 200, 0, 0));
    check(json!([{"host": HOST}]), logic(), (25, 200, 1, 1));
    check(json!([{"host": HOST, "count": 3}]), logic(), (65, 200, 3, 3));
    check(json!([{"host": HOST, "count": 3, "parallel": true}]), logic(), (25, 200, 3, 3));
    check(json!([{"host": HOST}, {"host": HOST}]), logic(), (45, 200, 2, 2));
    check(json!([{"host": HOST}, {"host": HOST, "alongside": true}, {"host": HOST}]), logic(), (45, 200, 3, 3));
    check(json!([{"host": HOST, "count": 0}]), logic(), (5, 200, 0, 0));
    // Alongside a call that is not made is after the one before that.
    let skipped = json!([{"host": HOST}, {"host": HOST, "share": 0}, {"host": HOST, "alongside": true}]);
    check(skipped, logic(), (45, 200, 2, 2));
}

#[test]
fn a_failed_call_fails_its_caller_or_does_not() {
    let broken = || json!([{"status": 500, "latency": "20ms"}]);
    check(json!([{"host": HOST, "count": 3}]), broken(), (20, 500, 1, 0));
    check(json!([{"host": HOST, "count": 3, "onFailure": {"status": 502}}]), broken(), (20, 502, 1, 0));
    check(json!([{"host": HOST, "count": 3, "onFailure": "ignore"}]), broken(), (65, 200, 3, 0));
    let silent = || json!([{"fault": "neverAnswers"}]);
    check(json!([{"host": HOST, "timeout": "1s"}]), silent(), (1_000, 500, 1, 0));
    let closed = || json!([{"fault": "connectionClosed", "latency": "20ms"}]);
    check(json!([{"host": HOST}]), closed(), (20, 500, 1, 0));
}

#[test]
fn the_first_failure_ends_the_calls_beside_it() {
    let calls = json!([{"host": HOST, "timeout": "10ms"}, {"host": HOST, "alongside": true}]);
    let report = one(calls, json!([{"fault": "neverAnswers"}]));
    let made = report.calls.as_ref().unwrap();
    assert_eq!((made.totals.begun, made.totals.gave_up, made.totals.waiting), (2, 2, 0), "{report}");
    assert_eq!((report.totals.answered, report.times.max_us), (1, 10_000), "{report}");
}

#[test]
fn calls_depend_on_the_request() {
    let calls = json!([
        {"host": HOST, "when": {"path": "/"}},
        {"host": HOST, "when": {"path": {"prefix": "/other"}}},
        {"host": HOST, "when": {"method": "POST"}},
        {"host": HOST, "when": {"headers": {"x-beta": "1"}}},
    ]);
    check(calls, json!([{}]), (5, 200, 1, 1));
}

#[test]
fn numbers_and_shares_are_drawn() {
    let calls = json!([{"host": HOST, "count": {"uniform": [0, 50]}}, {"host": HOST, "path": "/rare", "share": 0.1}]);
    let report = play(rules(&Mesh::split(100, 0)), spec(calls, json!([{}]), 2_000));
    // 2 000 pages of 25 calls (standard deviation of the sum 658) and 200 rare ones.
    let made = report.calls.as_ref().unwrap().totals.begun;
    assert!((47_500..=52_900).contains(&made), "{made}");
    let again = play(rules(&Mesh::split(100, 0)), spec(json!([{"host": HOST, "share": 0.1}]), json!([{}]), 2_000));
    // Standard deviation 13.
    let made = again.calls.as_ref().unwrap().totals.begun;
    assert!((150..=250).contains(&made), "{made}");
}

#[test]
fn an_outcome_depends_on_the_request_and_the_rest_is_not_found() {
    let logic = json!([
        {"when": {"path": "/a"}, "status": 201},
        {"when": {"path": "/b"}, "status": 202},
    ]);
    let calls = json!([{"host": HOST, "path": "/a?x=1"}, {"host": HOST, "path": "/b"}, {"host": HOST, "path": "/c"}]);
    let report = one(calls, logic);
    let statuses: Vec<u16> = report.calls.unwrap().statuses.into_keys().collect();
    assert_eq!(statuses, [201, 202, 404]);
}

#[test]
fn every_hop_meets_the_rules_and_is_counted_apart() {
    let report = play(rules(&Mesh::split(75, 25)), spec(json!([{"host": HOST, "count": 10}]), json!([{}]), 400));
    let calls = report.calls.as_ref().unwrap();
    assert_eq!((report.totals.begun, report.totals.answered, calls.totals.begun), (400, 400, 4_000));
    assert_eq!(report.clusters, BTreeMap::from([(PAGES.to_owned(), 400)]));
    // 1 000 expected, standard deviation 27.
    let v2 = calls.totals.begun - calls.clusters[V1];
    assert!((890..=1_110).contains(&v2), "{v2}");
    // The page's version stands among the requests, those of sa-logic among the calls.
    assert_eq!(report.versions.iter().map(|row| row.attempts).collect::<Vec<_>>(), [400]);
    assert_eq!(calls.versions.iter().map(|row| row.attempts).sum::<u64>(), 4_000);
    assert_eq!(calls.edges.iter().map(|edge| edge.calls).sum::<u64>(), 4_000);
    assert!(calls.edges.iter().all(|edge| edge.caller == PAGE && edge.caller_labels == "app=page"), "{report}");
    let text = report.to_string();
    assert!(text.contains("4 000 calls, 1000.00 for each hundred requests"), "{text}");
    assert!(text.lines().all(|line| line.chars().count() <= 96 && line.trim_end() == line), "{text}");
}

#[test]
fn calls_are_retried_by_the_proxy_of_their_caller() {
    let mesh = Mesh::split(100, 0).timeout(8).retries(3, 3);
    let report = play(rules(&mesh), spec(json!([{"host": HOST}]), json!([{"status": 500}]), 10));
    let calls = report.calls.as_ref().unwrap();
    assert_eq!((calls.totals.begun, calls.totals.retries, report.totals.retries), (10, 30, 0), "{report}");
    assert_eq!(report.statuses, BTreeMap::from([(500, 10)]));
}

#[test]
fn a_caller_has_its_own_configuration() {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let (base, seen) = (rules(&Mesh::split(100, 0)), asked.clone());
    let inner = base.configuration.clone();
    let configuration = move |workload: &Workload| {
        seen.lock().unwrap().push(workload.clone());
        inner(workload)
    };
    let rules = Rules { configuration: Arc::new(configuration), ..base };
    let mut spec = spec(json!([{"host": HOST, "count": 3}]), json!([{}]), 5);
    spec["labels"] = json!({"app": "shop"});
    play(rules, spec);
    let workload = |app: &str| Workload {
        namespace: "default".to_owned(),
        labels: BTreeMap::from([("app".to_owned(), app.to_owned())]),
    };
    assert_eq!(*asked.lock().unwrap(), [workload("shop"), workload("page")]);
}

#[test]
fn the_application_forwards_what_it_is_told_to() {
    use traffic_sim::{Behaviour, Call, Simulator};
    let rules = rules(&Mesh::split(100, 0));
    let configuration = (rules.configuration)(&Workload::default());
    let mut simulator = Simulator::new(&MODULE, &configuration, rules.plan, 1).unwrap();
    let call = Call {
        request: std::rc::Rc::new(RequestSpec::get(HOST, "/analyse")),
        forwards: ["X-Request-Id".to_owned(), "x-user".to_owned()].into(),
        alongside: false,
        otherwise: None,
    };
    let headers = [("x-user", "ann"), ("x-user", "bob"), ("x-secret", "s")];
    let request = RequestSpec::new("GET", PAGE, "/", headers, "");
    let exchange = simulator.request(&request, |sent| match sent.cause.call {
        0 => Behaviour::status(200).calling(vec![call.clone()]),
        _ => Behaviour::status(204),
    });
    assert_eq!((exchange.response.status, exchange.attempts.len(), exchange.calls.len()), (Some(200), 1, 1));
    let (outer, inner) = (&exchange.attempts[0].headers, &exchange.calls[0].headers);
    assert_eq!(inner.get("x-request-id"), outer.get("x-request-id"));
    assert_eq!(inner.get_all("x-user").collect::<Vec<_>>(), [b"ann", b"bob"]);
    assert_eq!((inner.get_str(":path"), inner.get("x-secret")), (Some("/analyse"), None));
    assert!(exchange.violations.is_empty(), "{exchange:?}");
}

#[test]
fn calls_for_the_sake_of_copies_are_nobodys() {
    // The copy goes to v2, and v2 asks the page.
    let services = json!([
        {"host": "sa-web-app", "versions": [{"outcomes": [{}]}]},
        {"host": "sa-logic", "versions": [
            {"labels": {"version": "v2"}, "calls": [{"host": PAGE}], "outcomes": [{}]},
        ]},
    ]);
    let load = json!({"closed": {"clients": 1}, "requests": [{"host": HOST, "path": "/"}]});
    let report = play(rules(&Mesh::mirrored()), json!({"requests": 50, "services": services, "load": load}));
    let calls = report.calls.as_ref().unwrap();
    assert_eq!((calls.by_copies, calls.totals.begun, report.mirrors[0].sent), (50, 0, 50), "{report}");
    assert!(report.to_string().contains("50 more were made for the sake of copies"), "{report}");
}

#[test]
fn the_same_seed_gives_the_same_bytes() {
    let play = |seed: u64| {
        let calls = json!([{"host": HOST, "count": {"uniform": [0, 5]}, "parallel": true, "share": 0.5}]);
        let mut spec = spec(calls, json!([{"latency": {"exponential": "20ms"}}, {"status": 500}]), 300);
        spec["seed"] = seed.into();
        let report = play(rules(&Mesh::split(50, 50)), spec);
        format!("{report}{}", serde_json::to_string(&report).unwrap())
    };
    assert_eq!(play(3), play(3));
    assert_ne!(play(3), play(4));
}

/// What is said of a scenario in which sa-web-app makes `page` calls and sa-logic makes `logic` calls.
#[track_caller]
fn refused(page: Value, logic: Value, expected: &str) {
    let mut spec = spec(page, json!([{}]), 1);
    spec["services"][1]["versions"][0]["calls"] = logic;
    let setup =
        Setup { module: &MODULE, rules: rules(&Mesh::split(100, 0)), configured: Vec::new(), later: Vec::new() };
    let played = scenario(spec).map(|scenario| run(&scenario, setup, Control::default()));
    let said =
        played.map_or_else(|error| error, |played| played.map_or_else(|error| error.to_string(), |_| "ran".into()));
    assert!(said.starts_with(expected), "{said}");
}

#[test]
fn what_cannot_be_is_refused_before_the_run() {
    let at = "spec.services[0].versions[0].calls[0]";
    let wrong = |field: &str, value: Value| json!([{"host": HOST, field: value}]);
    refused(json!([{"host": HOST}]), json!([]), "ran");
    refused(json!([{"host": "sa-logik"}]), json!([]), &format!("{at}.host: the manifests have no service `sa-logik`"));
    refused(wrong("share", json!(1.5)), json!([]), &format!("{at}.share: a share lies between 0 and 1"));
    refused(wrong("count", json!(-3)), json!([]), &format!("{at}.count: "));
    refused(wrong("count", json!({"uniform": [5, 1]})), json!([]), &format!("{at}.count: the lower end comes first"));
    refused(wrong("timeout", json!("-1s")), json!([]), &format!("{at}.timeout: `-1s` is not a duration"));
    refused(wrong("onFailure", json!({"status": 99})), json!([]), &format!("{at}.onFailure.status: an HTTP status"));
    refused(wrong("alongside", json!(true)), json!([]), &format!("{at}.alongside: there is no call before"));
    refused(wrong("path", json!("x")), json!([]), &format!("{at}.path: a path begins with `/`"));
}

#[test]
fn circles_are_refused_before_the_run() {
    let page = || json!([{"host": HOST, "path": "/analyse"}]);
    let at = "spec.services[0].versions[0].calls[0]: these calls go in a circle without end: sa-web-app asks sa-logic";
    refused(page(), json!([{"host": PAGE}]), at);
    refused(page(), json!([{"host": "sa-web-app:80", "when": {"path": "/analyse"}}]), at);
    // These end: by their path, by their number, by a header that is not forwarded.
    refused(page(), json!([{"host": PAGE, "when": {"path": "/other"}}]), "ran");
    refused(page(), json!([{"host": PAGE, "count": 0}]), "ran");
    refused(page(), json!([{"host": PAGE, "when": {"headers": {"x-deep": "1"}}}]), "ran");
}

#[test]
fn a_circle_that_the_rules_make_is_stopped() {
    // sa-logic's v1 asks for /other, which a rule rewrites into what v1 is asked for.
    let rule = json!({
        "match": [{"uri": {"prefix": "/other"}}], "rewrite": {"uri": "/analyse"},
        "route": [{"destination": {"host": HOST, "subset": "v1"}}],
    });
    let calls = json!([{"host": HOST, "path": "/other", "when": {"path": "/analyse"}}]);
    let services = json!([{"host": "sa-logic", "versions": [{"calls": calls, "outcomes": [{}]}]}]);
    let load = json!({"closed": {"clients": 1}, "requests": [{"host": HOST, "path": "/other"}]});
    let spec = json!({"requests": 1, "services": services, "load": load});
    let setup = Setup {
        module: &MODULE,
        rules: rules(&Mesh::rule(rule, vec!["own"])),
        configured: Vec::new(),
        later: Vec::new(),
    };
    let error = run(&scenario(spec).unwrap(), setup, Control::default()).unwrap_err().to_string();
    assert!(error.starts_with("spec.services: the rules lead calls in a circle: call 2"), "{error}");
}

#[test]
fn calls_have_expectations_of_their_own() {
    let mut spec = spec(json!([{"host": HOST, "count": 2}]), json!([{"latency": "20ms"}]), 3);
    let of_calls = |measure: &str, bound: &str, value: Value| json!({"name": format!("{measure} {bound}"), "measure": measure, "of": {"calls": true}, bound: value});
    spec["expect"] = json!([
        of_calls("requests", "equal", json!(6)),
        of_calls("attempts", "equal", json!(6)),
        of_calls("successRate", "equal", json!("100%")),
        of_calls("meanResponseTime", "equal", json!("20ms")),
        {"name": "reached", "measure": "requests", "of": {"service": "sa-logic"}, "equal": 6},
        {"name": "pages", "measure": "requests", "equal": 3},
        of_calls("requests", "atMost", json!(5)),
        of_calls("meanResponseTime", "atLeast", json!("21ms")),
    ]);
    let report = play(rules(&Mesh::split(100, 0)), spec);
    let judgements: Vec<Judgement> = report.expectations.iter().map(|it| it.judgement).collect();
    let (met, failed) = judgements.split_at(6);
    assert!(met.iter().all(|it| *it == Judgement::Met) && failed.iter().all(|it| *it == Judgement::Failed), "{report}");
}

#[test]
fn calls_are_part_of_a_trace() {
    let spec = spec(json!([{"host": HOST, "count": 2}]), json!([{"latency": "20ms"}]), 3);
    let setup =
        Setup { module: &MODULE, rules: rules(&Mesh::split(100, 0)), configured: Vec::new(), later: Vec::new() };
    let trace = trace(&scenario(spec).unwrap(), setup, Control::default(), 2).unwrap().unwrap();
    let of = |call: u64| -> Vec<&str> {
        let steps = trace.steps.iter().filter(|step| step.call == call);
        let what = steps.map(|step| match &step.what {
            What::Decided { .. } => "decided",
            What::Sent { .. } => "sent",
            What::Over { .. } => "over",
            What::Given { .. } => "given",
        });
        what.collect()
    };
    for call in 0..=2 {
        assert_eq!(of(call), ["decided", "sent", "over", "given"], "call {call}\n{trace}");
    }
    assert!(of(3).is_empty(), "{trace}");
    let line = trace.to_string().lines().find(|line| line.contains("call 2 decided")).map(str::to_owned);
    assert!(line.is_some_and(|line| line.contains(&format!("GET {HOST}/: "))), "{trace}");
}
