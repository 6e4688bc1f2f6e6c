//! What `shunt sim`, `shunt ramp` and `shunt schema` promise on the command line.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "this is a test")]

use serde_json::Value;
use shunt_tests::process;
use shunt_tests::schema::Schema;
use std::path::{Path, PathBuf};
use std::process::Command;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// Runs the command at the root; the exit code, what it printed, and what it said.
fn shunt(arguments: &[&str]) -> (i32, String, String) {
    let shunt = process::shunt().unwrap_or_else(|error| panic!("{error}"));
    let output = Command::new(shunt).current_dir(root()).args(arguments).output().expect("it runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().unwrap_or(-1), text(&output.stdout), text(&output.stderr))
}

/// The hello scenario with other expectations, in a folder of its own.
fn hello(expect: &str) -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let example = root().join("examples/hello");
    std::fs::copy(example.join("hello.yaml"), folder.path().join("hello.yaml")).unwrap();
    let scenario = std::fs::read_to_string(example.join("hello.scenario.yaml")).unwrap();
    let (before, _) = scenario.split_once("  expect:\n").expect("the example expects something");
    let file = folder.path().join("own.scenario.yaml");
    std::fs::write(&file, format!("{before}  expect:\n{expect}")).unwrap();
    let name = file.display().to_string();
    (folder, name)
}

#[test]
fn a_failed_expectation_ends_with_1_and_is_named() {
    let (_folder, file) =
        hello("  - {name: all meet v1, measure: share, of: {service: myapp, labels: {version: v1}}, equal: 100%}\n");
    let (code, printed, said) = shunt(&["sim", "-f", &file]);
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("hello: expectation `all meet v1` failed: 75.00 % of 100 seen, 100 % wanted"), "{said}");
    assert!(printed.contains("Expectations: 1 FAILED"), "{printed}");
    let (code, printed, _) = shunt(&["sim", "-f", &file, "-o", "json"]);
    let report: Value = serde_json::from_str(&printed).unwrap();
    assert_eq!((code, &report["expectations"][0]["judgement"]), (1, &"failed".into()));
    let (code, printed, said) = shunt(&["sim", "-f", &file, "--runs", "3"]);
    assert_eq!(code, 1, "{said}");
    assert!(printed.contains("failed with --seed 1, 2, 3"), "{printed}");
}

#[test]
fn an_expectation_that_cannot_be_evaluated_is_refused_with_its_place() {
    let (_folder, file) =
        hello("  - name: typo\n    measure: share\n    of: {service: myap, labels: {version: v1}}\n    atLeast: 10%\n");
    let (code, printed, said) = shunt(&["sim", "-f", &file]);
    let line = std::fs::read_to_string(&file).unwrap().lines().position(|line| line.contains("myap,")).unwrap() + 1;
    assert_eq!((code, printed.as_str()), (1, ""), "{said}");
    let expected = format!(
        "own.scenario.yaml:{line}:10: spec.expect[0].of.service: error[bad-scenario]: the manifests have no service `myap`"
    );
    assert!(said.contains(&expected), "{said}\nand not\n{expected}");
}

#[test]
fn what_cannot_be_read_or_written_is_said_before_the_run() {
    let (folder, file) = hello("  - {name: all, measure: requests, equal: 100}\n");
    std::fs::remove_file(folder.path().join("hello.yaml")).unwrap();
    let (code, _, said) = shunt(&["sim", "-f", &file]);
    let expected = "own.scenario.yaml:9:15: spec.manifests[0]: error[bad-scenario]: this manifest cannot be read: ";
    assert_eq!(code, 1, "{said}");
    assert!(said.contains(expected) && said.contains("hello.yaml: No such file"), "{said}");
    let page = folder.path().join("none").join("page.html").display().to_string();
    let (code, _, said) = shunt(&["sim", "-f", "examples/hello", "-o", &page]);
    assert_eq!((code, said.contains("requests simulated")), (2, false), "{said}");
    assert!(said.contains(&format!("-o {page}: there is no directory")), "{said}");
    let call = ["ramp", "-f", "examples/hello", "--route", "myapp", "--into", &file];
    let (code, _, said) = shunt(&call);
    assert_eq!(code, 2, "{said}");
    assert!(said.contains(&format!("--into {file}: this is not a directory")), "{said}");
}

/// Counts requests, and dies of the seventh.
const MORTAL: &str = r#"(module
    (memory (export "memory") 1)
    (global $left (mut i32) (i32.const 7))
    (func (export "proxy_abi_version_0_2_1"))
    (func (export "malloc") (param i32) (result i32) (i32.const 1024))
    (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
        (global.set $left (i32.sub (global.get $left) (i32.const 1)))
        (if (i32.eqz (global.get $left)) (then unreachable))
        (i32.const 0)))"#;

#[test]
fn a_filter_that_crashes_is_told_with_the_request_and_the_seed_that_repeat_it() {
    let folder = tempfile::tempdir().unwrap();
    let module = folder.path().join("mortal.wasm");
    std::fs::write(&module, wat::parse_str(MORTAL).unwrap()).unwrap();
    let module = module.display().to_string();
    let play = |more: &[&str]| {
        shunt(&[&["sim", "-f", "examples/hello", "--module", &module, "--seed", "3", "-o", "json"], more].concat())
    };
    let (code, printed, said) = play(&[]);
    assert_eq!(code, 1, "{said}");
    let report: Value = serde_json::from_str(&printed).unwrap();
    let crash = "request 7: the filter crashed in proxy_on_request_headers, after 3.00 s: wasm trap: wasm `unreachable` \
                 instruction executed; `--seed 3 --trace 7` plays it again";
    assert_eq!(report["violations"], serde_json::json!([crash]));
    assert!(said.contains(&format!("error: hello: violation: {crash}\n")), "{said}");
    let given = |request: &str| {
        let (code, printed, said) = play(&["--trace", request]);
        assert_eq!(code, 0, "{said}");
        let trace: Value = serde_json::from_str(&printed).unwrap();
        trace["steps"].as_array().unwrap().last().unwrap()["details"].clone()
    };
    assert_ne!(given("6"), "wasm_fail_stream");
    assert_eq!(given("7"), "wasm_fail_stream");
}

#[test]
fn many_runs_print_the_same_on_one_core_and_on_several() {
    let runs = |jobs: &str, format: &str| {
        let (code, printed, said) =
            shunt(&["sim", "-f", "examples/hello", "--runs", "12", "--jobs", jobs, "-o", format]);
        assert_eq!(code, 0, "{said}");
        printed
    };
    for format in ["text", "json"] {
        assert_eq!(runs("1", format), runs("4", format));
    }
    let text = runs("2", "text");
    assert!(text.contains("hello  (12 runs, seeds 1 to 12)") && text.contains("three quarters meet v1"), "{text}");
}

#[test]
fn a_trace_is_of_one_request_of_one_scenario() {
    let (code, printed, said) = shunt(&["sim", "-f", "examples/hello", "--trace", "3"]);
    assert_eq!(code, 0, "{said}");
    for part in
        ["request 3 of hello", "default/myapp: http[0].match[0]  (examples/hello/hello.yaml:", "attempt 1", "answered"]
    {
        assert!(printed.contains(part), "{printed}\nand not {part}");
    }
    let (code, printed, _) = shunt(&["sim", "-f", "examples/hello", "--trace", "3", "-o", "json"]);
    let trace: Value = serde_json::from_str(&printed).unwrap();
    assert_eq!((code, &trace["request"], &trace["steps"][0]["what"]), (0, &3.into(), &"decided".into()));
    let (code, _, said) = shunt(&["sim", "-f", "examples/hello", "--trace", "101"]);
    assert!(code == 1 && said.contains("--trace 101: the load of hello ends before it"), "{said}");
    let (code, _, said) = shunt(&["sim", "-f", "examples/sentiment", "--trace", "1"]);
    assert!(code == 2 && said.contains("name its file by -f"), "{said}");
    let (code, _, _) = shunt(&["sim", "-f", "examples/hello", "--trace", "1", "--runs", "2"]);
    assert_eq!(code, 2);
}

const SENTIMENT: [&str; 8] = [
    "ramp",
    "-f",
    "examples/sentiment/services.yaml",
    "-f",
    "examples/sentiment/canary",
    "--scenario",
    "examples/sentiment/canary.scenario.yaml",
    "--route=sa-logic",
];

#[test]
fn a_ramp_stops_where_a_gate_closes_and_writes_what_has_passed() {
    let folder = tempfile::tempdir().unwrap();
    let into = folder.path().join("steps").display().to_string();
    let (code, printed, said) = shunt(&[&SENTIMENT[..], &["--into", &into]].concat());
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("error: stopped at 20 %: succeeded: "), "{said}");
    assert!(printed.contains("Stopped at 20 %"), "{printed}");
    let written: Vec<String> = std::fs::read_dir(&into)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    assert_eq!(written, ["01-1-percent.yaml"]);
    // What was written is what a user would have written.
    let file = format!("{into}/01-1-percent.yaml");
    let (code, printed, said) =
        shunt(&["explain", "-f", "examples/sentiment/services.yaml", "-f", &file, "http://sa-logic/"]);
    assert!(
        code == 0 && printed.contains("  1 %  outbound|80|v2|sa-logic") && printed.contains(" 99 %  outbound|80|v1|"),
        "{printed}{said}"
    );
}

#[test]
fn a_ramp_whose_gates_are_wide_goes_to_the_end() {
    let wide =
        ["--min-success", "10%", "--max-drop", "100", "--max-rise", "1000000", "--steps", "0.5,100", "-o", "json"];
    let (code, printed, said) = shunt(&[&SENTIMENT[..], &wide].concat());
    assert_eq!(code, 0, "{said}");
    let ramp: Value = serde_json::from_str(&printed).unwrap();
    let shares: Vec<&str> =
        ramp["steps"].as_array().unwrap().iter().filter_map(|step| step["share"].as_str()).collect();
    assert_eq!((shares, &ramp["to"]), (vec!["0%", "0.5%", "100%"], &"v2".into()));
    assert_eq!(ramp["steps"][2]["report"]["versions"][0]["labels"], "version=v2");
    let limited = [&SENTIMENT[..], &wide[..8], &["--max-latency", "p50=10ms"]].concat();
    let (code, _, said) = shunt(&limited);
    assert!(code == 1 && said.contains("stopped at 0.5 %: p50: 40."), "{said}");
}

#[test]
fn a_ramp_that_cannot_be_meant_is_a_wrong_call() {
    for (arguments, told) in [
        (vec!["--route", "sa-logik"], "no rule and no VirtualService is called `sa-logik`; there are "),
        (vec!["--route", "sa-logic", "--to", "v9"], "none is `v9`"),
        (vec!["--route", "sa-logic", "--steps", "20,1"], "--steps: each step is greater than the one before"),
        (vec!["--route", "sa-logic", "--steps", "120"], "more than all there is"),
        (vec!["--route", "sa-logic", "--max-latency", "p99"], "write it like p99=300ms"),
    ] {
        let base = &SENTIMENT[..7];
        let (code, _, said) = shunt(&[base, &arguments].concat());
        assert!(code == 2 && said.contains(told), "{arguments:?}: {code} {said}");
    }
    let (code, _, said) = shunt(&["ramp", "-f", "examples/sentiment", "--route", "sa-logic"]);
    assert!(code == 2 && said.contains("--scenario FILE must name one of"), "{said}");
}

/// Every scenario of the examples, as JSON.
fn scenarios() -> Vec<(PathBuf, Value)> {
    let mut all = Vec::new();
    for folder in std::fs::read_dir(root().join("examples")).unwrap().map(|entry| entry.unwrap().path()) {
        let Ok(files) = std::fs::read_dir(&folder) else { continue };
        for file in files.map(|entry| entry.unwrap().path()) {
            if file.to_string_lossy().ends_with(".scenario.yaml") {
                let text = std::fs::read_to_string(&file).unwrap();
                all.push((file, serde_yaml_ng::from_str(&text).unwrap()));
            }
        }
    }
    assert!(all.len() >= 18, "{}", all.len());
    all
}

#[test]
fn the_schema_takes_every_example_and_refuses_what_the_reader_refuses() {
    let (code, printed, said) = shunt(&["schema", "scenario"]);
    assert_eq!(code, 0, "{said}");
    let schema = Schema::new(serde_json::from_str(&printed).unwrap());
    for (file, scenario) in scenarios() {
        assert_eq!(schema.faults(&scenario), Vec::<String>::new(), "{}", file.display());
    }
    let whole: Value = serde_yaml_ng::from_str(WHOLE).unwrap();
    assert_eq!(schema.faults(&whole), Vec::<String>::new());
    let (code, said) = read(&whole);
    assert!(
        code == 1
            && said.contains("spec.manifests[0]: error[bad-scenario]: this manifest cannot be read: ")
            && said.contains("rules.yaml: "),
        "the reader takes it, and only its manifest is not there: {said}"
    );
    // What excludes what stands there.
    for (pointer, right) in [
        ("/spec/load", "{closed: {clients: 1, thinkTime: {exponential: 1ms}}, requests: [{host: shop}]}"),
        ("/spec/load/open", "{ramp: [{at: 0s, ratePerSecond: 0}, {at: 1s, ratePerSecond: 5}]}"),
        ("/spec/services/0/versions/0/outcomes/0/latency", "{constant: 1ms}"),
    ] {
        let mut scenario = whole.clone();
        *scenario.pointer_mut(pointer).unwrap() = serde_yaml_ng::from_str(right).unwrap();
        assert_eq!(schema.faults(&scenario), Vec::<String>::new(), "{pointer}");
    }
    for (pointer, wrong) in [
        ("/apiVersion", "shunt.dev/v1"),
        ("/kind", "Scenaro"),
        ("/metadata", "1"),
        ("/spec/seed", "-1"),
        ("/spec/duration", "5"),
        ("/spec/pathNormalization", "SOME"),
        ("/spec/services/0/versions", "1"),
        ("/spec/services/0/versions/0/outcomes/0/latency", "{uniform: [1ms]}"),
        ("/spec/services/0/versions/0/outcomes/0/latency", "{even: 1ms}"),
        ("/spec/services/0/versions/0/outcomes/4/fault", "broken"),
        ("/spec/load/open/ratePerSecond", "-1"),
        ("/spec/load/open/ratePerSecond", "0"),
        ("/spec/services/0/versions/0/calls/0/count", "many"),
        ("/spec/services/0/versions/0/calls/0/share", "2"),
        ("/spec/services/0/versions/0/calls/1/onFailure", "retry"),
        ("/spec/services/0/versions/0/capacity/concurrency", "-1"),
        ("/spec/services/0/versions/0/capacity", "2"),
        ("/spec/services/0/versions/0/calls/0/timeout", "-1s"),
        ("/spec/services/0/versions/0/outcomes/1/when", "{path: 1}"),
        ("/spec/timeline/0/at", "soon"),
        ("/spec/timeline/0/scale/endpoints", "-1"),
        ("/spec/timeline/1/break/outcomes", "1"),
        ("/spec/load/users/count", "-1"),
        ("/spec/load/open/arrivals", "often"),
        ("/spec/load/requests/0/headers", "[a]"),
        ("/spec/expect/0/measure", "shares"),
        ("/spec/expect/0/equal", "0.5"),
        ("/spec/expect/0/of", "{service: 1}"),
        ("/spec/expect/1/status", "6xx"),
        ("/spec/expect/2/percentile", "p101"),
    ] {
        let mut scenario = whole.clone();
        *scenario.pointer_mut(pointer).unwrap_or_else(|| panic!("no {pointer}")) =
            serde_yaml_ng::from_str(wrong).unwrap();
        check_refused(&schema, &scenario, pointer);
    }
    // No part takes a field that nobody knows, but `metadata`, where Kubernetes has more.
    let mut objects = Vec::new();
    paths_of_objects(&whole, String::new(), &mut objects);
    let free = ["/metadata", "/annotations", "/headers", "/labels", "/percentiles"];
    for pointer in objects.iter().filter(|pointer| !free.iter().any(|end| pointer.ends_with(end))) {
        let mut scenario = whole.clone();
        scenario.pointer_mut(pointer).unwrap().as_object_mut().unwrap().insert("nobodyKnows".into(), 1.into());
        check_refused(&schema, &scenario, pointer);
    }
}

/// By the schema, and by the command.
fn check_refused(schema: &Schema, scenario: &Value, at: &str) {
    assert!(!schema.faults(scenario).is_empty(), "the schema takes {at}: {scenario}");
    let (code, said) = read(scenario);
    // What it takes fails by its manifest, which is not there.
    assert!(code == 1 && !said.contains("this manifest cannot be read"), "the command takes {at}: {said}");
}

/// What the command says of this scenario.
fn read(scenario: &Value) -> (i32, String) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("one.yaml");
    std::fs::write(&file, serde_yaml_ng::to_string(scenario).unwrap()).unwrap();
    let (code, _, said) = shunt(&["sim", "-f", &file.display().to_string()]);
    (code, said)
}

fn paths_of_objects(value: &Value, at: String, all: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            all.push(at.clone());
            fields.iter().for_each(|(name, value)| paths_of_objects(value, format!("{at}/{name}"), all));
        }
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(index, item)| paths_of_objects(item, format!("{at}/{index}"), all));
        }
        _ => {}
    }
}

/// Every kind of field once, but those that exclude others.
const WHOLE: &str = "
apiVersion: shunt.dev/v1alpha1
kind: Scenario
metadata: {name: whole, annotations: {a: b}}
spec:
  description: All.
  seed: 1
  manifests: [rules.yaml]
  duration: 1h30m
  requests: 10
  clientTimeout: .5s
  freshSpans: true
  labels: {app: shop}
  locality: eu/eu-1/a
  pathNormalization: BASE
  envoyVersion: '1.38'
  outboundTrafficPolicy: REGISTRY_ONLY
  tooSlow: 8s
  services:
  - host: shop
    versions:
    - labels: {version: v1}
      capacity: {concurrency: 2, queue: 3, status: 503}
      calls:
      - host: cart
        when: {path: {prefix: /}, method: GET, headers: {a: b}}
        share: 0.5
        count: {uniform: [1, 2]}
        parallel: true
        method: GET
        path: /
        headers: {a: b}
        body: b
        timeout: 1s
        onFailure: {status: 502}
      - {host: cart, alongside: true, count: 1, onFailure: ignore}
      forwards: [x-request-id]
      outcomes:
      - {share: 1, status: 200, latency: 1ms, body: b, headers: {a: b}}
      - {when: {path: /}, from: 1s, until: 2s, untilRequest: 3, body: b, bodyTakes: 1ms}
      - {latency: {logNormal: {p50: 1ms, p99: 2ms}}}
      - {latency: {samples: [1ms, 2ms]}}
      - {fault: neverAnswers, latency: {constant: 1ms}}
      - {latency: {uniform: [1ms, 2ms]}}
      - {latency: {exponential: 2ms}}
      - {latency: {percentiles: {p50: 1ms, p99.9: 2ms}}}
  load:
    open: {ratePerSecond: 0.5, arrivals: poisson}
    users: {count: 10, header: x-user, cookies: true}
    files: true
    requests:
    - {weight: 1, method: GET, host: shop, path: /, headers: {a: b}, body: b}
  timeline:
  - {at: 1s, apply: [other.yaml], scale: {host: shop, labels: {version: v1}, endpoints: 2}}
  - {at: 2s, break: {host: shop, labels: {version: v1}, outcomes: [{status: 500}]}}
  - {at: 3s, mend: {host: shop, labels: {version: v1}}}
  expect:
  - {name: a, measure: share, of: {service: shop, labels: {version: v1}}, equal: 75 %, confidence: 95%}
  - {name: b, measure: answers, status: 5xx, atMost: 1}
  - {name: c, measure: responseTime, percentile: p99.9, between: [1ms, 2s]}
  - {name: e, measure: requests, of: {calls: true}, atLeast: 1}
  - {name: d, measure: answers, status: 503, atLeast: 0.5%}
";

#[test]
fn a_page_stands_alone_and_escapes_what_a_scenario_says() {
    let folder = tempfile::tempdir().unwrap();
    let page = folder.path().join("page.html").display().to_string();
    let (_own, file) = hello("  - {name: <b>all</b> & more, measure: answers, status: 200, equal: 100%}\n");
    let (code, printed, said) = shunt(&["sim", "-f", &file, "-o", &page]);
    assert_eq!((code, printed.as_str()), (0, ""), "{said}");
    let page = std::fs::read_to_string(page).unwrap();
    assert!(page.contains("&lt;b&gt;all&lt;/b&gt; &amp; more") && !page.contains("<b>all"), "{page}");
    for part in ["<svg", "75.00 % of 100", "class=\"met\"", "The whole report"] {
        assert!(page.contains(part), "no {part} in {page}");
    }
    assert!(!page.contains("http://") && !page.contains("https://") && !page.contains("<script"), "{page}");
    let (code, _, said) = shunt(&["sim", "-f", &file, "--runs", "2", "-o", "html"]);
    assert!(code == 2 && said.contains("a page shows single runs"), "{said}");
}
