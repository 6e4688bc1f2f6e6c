//! `shunt sim` from outside: what stands in a scenario is what is played, and what cannot be played is refused with file,
//! line and field.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "this is a test")]

use serde_json::Value;
use shunt_tests::process;
use std::path::Path;
use std::process::Command;

/// A page that asks for numbers, in two versions; who carries `app: page` meets v2.
const RULES: &str = "apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: numbers}
spec:
  hosts: [numbers]
  http:
  - match: [{sourceLabels: {app: page}}]
    route: [{destination: {host: numbers, subset: v2}}]
  - route: [{destination: {host: numbers, subset: v1}}]
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: numbers}
spec:
  host: numbers
  subsets:
  - {name: v1, labels: {version: v1}}
  - {name: v2, labels: {version: v2}}
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: numbers}
spec:
  hosts: [numbers.default.svc.cluster.local]
  location: MESH_INTERNAL
  resolution: STATIC
  ports: [{number: 80, name: http, protocol: HTTP}]
  endpoints:
  - {address: 127.0.0.1, labels: {version: v1}}
  - {address: 127.0.0.2, labels: {version: v2}}
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: page}
spec:
  hosts: [page.default.svc.cluster.local]
  location: MESH_INTERNAL
  resolution: STATIC
  ports: [{number: 80, name: http, protocol: HTTP}]
  endpoints:
  - {address: 127.0.0.3, labels: {app: page}}
";

const SCENARIO: &str = "apiVersion: shunt.dev/v1alpha1
kind: Scenario
metadata: {name: pages}
spec:
  manifests: [rules.yaml]
  requests: 100
  services:
  - host: page
    versions:
    - calls:
      - {host: numbers, count: 2}
      outcomes: [{latency: 1ms}]
  - host: numbers
    versions:
    - outcomes: [{latency: {samplesFrom: times.txt}}]
  timeline:
  - at: 10ms
    scale: {host: numbers, endpoints: 2}
  load:
    closed: {clients: 1}
    requests:
    - {host: page, path: /}
    - {host: numbers, path: /}
";

/// Plays the scenario after one change of its text; the exit code, the report, and what was said beside it.
fn play(from: &str, to: &str) -> (Option<i32>, Value, String) {
    assert!(SCENARIO.contains(from), "{from}");
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write("rules.yaml", RULES);
    write("times.txt", "# measured\n10ms\n30ms\n");
    write("s.yaml", &SCENARIO.replacen(from, to, 1));
    sim(folder.path(), "s.yaml")
}

fn sim(at: &Path, file: &str) -> (Option<i32>, Value, String) {
    let shunt = process::shunt().unwrap_or_else(|error| panic!("{error}"));
    let output = Command::new(shunt).current_dir(at).args(["sim", "-o", "json", "-f", file]).output().expect("it runs");
    let report = serde_json::from_slice(&output.stdout).unwrap_or(Value::Null);
    (output.status.code(), report, String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn every_caller_meets_the_rules_with_its_own_labels() {
    let (code, report, said) = play("", "");
    assert_eq!(code, Some(0), "{said}");
    let of = |report: &Value, version: &str| {
        let cluster = format!("outbound|80|{version}|numbers.default.svc.cluster.local");
        report["clusters"][&cluster].as_u64().unwrap_or(0)
    };
    let (clients, services) = (&report, &report["calls"]);
    let pages = report["clusters"]["outbound|80||page.default.svc.cluster.local"].as_u64().unwrap();
    assert_eq!((of(clients, "v1"), of(clients, "v2")), (100 - pages, 0), "{report:#}");
    assert_eq!((of(services, "v1"), of(services, "v2")), (0, 2 * pages), "{report:#}");
    // Two calls in a row, of 10 or 30 ms each, and 1 ms of the page's own.
    let longest = report["times"]["maxUs"].as_u64().unwrap();
    assert_eq!(longest, 61_000, "{report:#}");
}

/// `place` and `message` must be in what is said.
#[track_caller]
fn refused(from: &str, to: &str, place: &str, message: &str) {
    let (code, _, said) = play(from, to);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains(place) && said.contains(message), "{said}");
}

#[test]
fn what_cannot_be_played_is_refused_with_its_place() {
    let call = "{host: numbers, count: 2}";
    let at = "s.yaml:11:";
    let field = "spec.services[0].versions[0].calls[0]";
    refused(
        call,
        "{host: numbrs}",
        at,
        &format!("{field}.host: error[bad-scenario]: the manifests have no service `numbrs`"),
    );
    refused(
        call,
        "{host: numbers, share: 1.5}",
        at,
        &format!("{field}.share: error[bad-scenario]: a share lies between"),
    );
    refused(call, "{host: numbers, timeout: -1s}", at, &format!("{field}.timeout: error[bad-scenario]: `-1s` is not"));
    refused(call, "{host: page}", at, &format!("{field}: error[bad-scenario]: these calls go in a circle without end"));
    refused(call, "{host: numbers, often: 2}", at, "unknown field `often`");
    let latency = "spec.services[1].versions[0].outcomes[0].latency.samplesFrom";
    refused("times.txt", "none.txt", "s.yaml:15:", &format!("{latency}: error[bad-scenario]: none.txt: No such file"));
    refused(
        "times.txt",
        "rules.yaml",
        "s.yaml:15:",
        "rules.yaml:1: `apiVersion: networking.istio.io/v1` is not a duration",
    );
    let scale = "scale: {host: numbers, endpoints: 2}";
    refused(scale, "scale: {host: nobody, endpoints: 2}", "s.yaml:18:", "spec.timeline[0].scale: error[bad-scenario]");
    refused(scale, "mend: {host: page, labels: {a: b}}", "s.yaml:18:", "no version of `page` with these labels");
}

/// 1 % of the calls fail, and a page makes 0 to 50 of them: by arithmetic, 21.4 % of the pages fail.
#[test]
fn the_refactor_story_predicts_who_meets_the_broken_release() {
    let (code, report, said) =
        sim(&Path::new(env!("CARGO_MANIFEST_DIR")).join(".."), "examples/refactor/01-users.scenario.yaml");
    assert_eq!(code, Some(0), "{said}");
    let number = |pointer: &str| report.pointer(pointer).and_then(Value::as_f64).unwrap();
    let failed = 1.0 - number("/successRate");
    // Some 3 600 pages: the standard deviation is 0.7 points.
    assert!((0.186..0.242).contains(&failed), "{failed}");
    let calls = 1.0 - number("/calls/successRate");
    assert!((0.008..0.012).contains(&calls), "{calls}");
    // A user who comes k times is spared with 0.786^k, k about Poisson of 3.6: 1 - exp(-3.6 * 0.214) = 53.7 %.
    let (came, met) = (number("/users/came"), number("/users/failed"));
    assert!((950.0..=1_000.0).contains(&came) && (480.0..=600.0).contains(&met), "{met} of {came}");
    assert_eq!(report["violations"].as_array().map(Vec::len), Some(0));
}
