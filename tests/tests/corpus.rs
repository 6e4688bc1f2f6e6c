//! The corpus in its four arms. `CASE=words` runs only the cases whose name contains them.
#![allow(clippy::expect_used, clippy::panic, reason = "this is a test")]

use shunt_tests::arms::{self, Engine, Envoy, InSimulator, Proxy};
use shunt_tests::{case, check, corpus, process};
use std::collections::BTreeMap;

/// Cases that some arm may leave out.
const SKIPS_MAX: usize = 0;

#[test]
fn engine() {
    corpus::run(&Engine);
}

#[test]
fn simulator() {
    corpus::run(&InSimulator::new().unwrap_or_else(|error| panic!("{error}")));
}

#[test]
fn proxy() {
    corpus::run(&Proxy::new(process::shunt().unwrap_or_else(|error| panic!("{error}"))));
}

#[test]
fn envoy() {
    let Some(envoy) = process::envoy() else {
        return process::skipped("the corpus in Envoy", "no Envoy: name one in ENVOY, or run `make test`");
    };
    corpus::run(&Envoy { shunt: process::shunt().unwrap_or_else(|error| panic!("{error}")), envoy });
}

#[test]
#[expect(clippy::absurd_extreme_comparisons, reason = "the maximum happens to be 0 now")]
fn every_case_runs_in_every_arm() {
    let cases = case::corpus();
    let skips = cases.iter().flat_map(|case| &case.skip);
    for (arm, reason) in skips.clone() {
        assert!(arms::NAMES.contains(&arm.as_str()), "no arm is called {arm}");
        assert!(reason.len() > 10, "a reason says more than `{reason}`");
    }
    assert!(skips.count() <= SKIPS_MAX, "more than {SKIPS_MAX} skips");
}

#[test]
fn the_corpus_is_there_and_every_case_has_a_name_of_its_own() {
    let cases = case::corpus();
    assert!(cases.len() >= 20, "only {} cases", cases.len());
    let mut names: BTreeMap<&str, &str> = BTreeMap::new();
    for case in &cases {
        let before = names.insert(&case.name, &case.file);
        assert!(before.is_none(), "`{}` is in {} and in {before:?}", case.name, case.file);
        assert!(!case.requests.is_empty(), "`{}` sends nothing", case.name);
        for request in &case.requests {
            let unknown = check::unknown_names(&request.expect, case.behaviour.keys());
            assert!(unknown.is_empty(), "`{}` names {unknown:?}, which are no endpoints", case.name);
        }
    }
}
