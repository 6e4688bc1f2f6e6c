//! The list of edge cases (`edge-cases.yaml`) against what there is: every edge has a case, a test or a reason, and every
//! case and test that it names exists.
#![allow(clippy::expect_used, clippy::panic, reason = "this is a test")]

use serde::Deserialize;
use shunt_tests::case;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Edges that have a reason in place of a case, or beside one.
const REASONS_MAX: usize = 13;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct List {
    istio: Vec<Entry>,
    envoy: Vec<Entry>,
    security: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    edge: String,
    #[serde(default)]
    cases: Vec<String>,
    #[serde(default)]
    tests: Vec<String>,
    reason: Option<String>,
}

fn list() -> List {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("edge-cases.yaml");
    let text = std::fs::read_to_string(&path).expect("a readable list");
    serde_yaml_ng::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn entries() -> Vec<Entry> {
    let List { istio, envoy, security } = list();
    istio.into_iter().chain(envoy).chain(security).collect()
}

/// Whether a file of the repository has a test of this name.
fn is_test(place: &str) -> bool {
    let (file, name) = place.split_once("::").unwrap_or_else(|| panic!("`{place}`: write file::name"));
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(file);
    let text = std::fs::read_to_string(&path).unwrap_or_default();
    let lines: Vec<_> = text.lines().map(str::trim).collect();
    let named = |line: &str| {
        let line = line.strip_prefix("async ").unwrap_or(line);
        line.strip_prefix("fn ").and_then(|rest| rest.strip_prefix(name)).is_some_and(|rest| rest.starts_with("()"))
    };
    lines.windows(2).any(|pair| matches!(pair, [above, line] if (*above == "#[test]" || above.starts_with("#[tokio::test")) && named(line)))
}

#[test]
fn every_edge_is_tested_or_says_why_not() {
    let List { istio, envoy, security } = list();
    assert!(istio.len() >= 50 && envoy.len() >= 20 && security.len() >= 20, "the list is whole");
    for entry in istio.iter().chain(&envoy).chain(&security) {
        let Entry { edge, cases, tests, reason } = entry;
        assert!(reason.is_some() || !cases.is_empty() || !tests.is_empty(), "no case, no test, no reason: {edge}");
        assert!(reason.as_ref().is_none_or(|reason| reason.len() > 20), "a reason says more: {edge}");
    }
}

#[test]
fn reasons_are_few() {
    let entries = entries();
    let reasons: Vec<_> = entries.iter().filter_map(|entry| entry.reason.as_deref()).collect();
    assert!(reasons.len() <= REASONS_MAX, "more than {REASONS_MAX} reasons: {reasons:#?}");
}

#[test]
fn no_edge_is_there_twice() {
    let entries = entries();
    let edges: BTreeSet<_> = entries.iter().map(|entry| &entry.edge).collect();
    assert_eq!(edges.len(), entries.len());
}

#[test]
fn every_named_case_and_test_exists() {
    let mut served: BTreeMap<String, bool> = BTreeMap::new();
    for (folder, is_served) in [("corpus", true), ("front-door", true), ("pending", false)] {
        served.extend(case::folder(folder).into_iter().map(|case| (case.name, is_served)));
    }
    let mut wrong = Vec::new();
    for Entry { edge, cases, tests, reason } in entries() {
        for name in cases {
            match served.get(&name) {
                None => wrong.push(format!("no case is called `{name}`")),
                Some(false) if reason.is_none() => {
                    wrong.push(format!("`{name}` is pending, and nothing says why: {edge}"))
                }
                Some(_) => {}
            }
        }
        wrong.extend(tests.into_iter().filter(|place| !is_test(place)).map(|place| format!("no test is {place}")));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn tests_are_found_by_file_and_name() {
    assert!(is_test("tests/tests/edge_cases.rs::tests_are_found_by_file_and_name"));
    for nowhere in
        ["tests/tests/edge_cases.rs::is_test", "tests/tests/edge_cases.rs::tests_are_found", "tests/none.rs::a"]
    {
        assert!(!is_test(nowhere), "{nowhere}");
    }
}
