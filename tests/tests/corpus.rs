//! The corpus in its four arms. `CASE=words` runs only the cases whose name contains them, `CORPUS=pending` those that
//! wait for a host to serve them right.
#![allow(clippy::expect_used, clippy::panic, reason = "this is a test")]

use shunt_tests::arms::{self, Engine, Envoy, InSimulator, Proxy};
use shunt_tests::case::{self, Case};
use shunt_tests::envoy_version::Version;
use shunt_tests::{check, corpus, process};
use std::collections::BTreeMap;

/// Cases that some arm may leave out.
const SKIPS_MAX: usize = 0;

#[test]
fn engine() {
    corpus::run(&Engine, case::corpus());
}

#[test]
fn simulator() {
    corpus::run(&InSimulator::new().unwrap_or_else(|error| panic!("{error}")), case::corpus());
}

#[test]
fn proxy() {
    run_in_proxy(case::corpus());
}

#[test]
fn envoy() {
    run_in_envoy("the corpus", case::corpus());
}

#[test]
fn native_twin_in_envoy() {
    let Some(envoy) = process::envoy() else {
        return process::skipped("the native twin", "no Envoy: name one in ENVOY, or run `make test`");
    };
    if Version::of(&envoy).unwrap_or_else(|error| panic!("{error}")) < Version::NATIVE {
        let reason = "Envoy's own routes matched otherwise then: docs/envoy-versions.md";
        return process::skipped("the native twin", reason);
    }
    let twin = process::shunt().and_then(|shunt| Envoy::native(shunt, envoy));
    corpus::run(&twin.unwrap_or_else(|error| panic!("{error}")), case::corpus());
}

#[test]
fn proxy_at_the_front_door() {
    run_in_proxy(case::front_door());
}

#[test]
fn envoy_at_the_front_door() {
    run_in_envoy("the front door", case::front_door());
}

fn run_in_proxy(cases: Vec<Case>) {
    corpus::run(&Proxy::new(process::shunt().unwrap_or_else(|error| panic!("{error}"))), cases);
}

fn run_in_envoy(what: &str, cases: Vec<Case>) {
    let Some(envoy) = process::envoy() else {
        return process::skipped(&format!("{what} in Envoy"), "no Envoy: name one in ENVOY, or run `make test`");
    };
    let arm = process::shunt().and_then(|shunt| Envoy::new(shunt, envoy));
    corpus::run(&arm.unwrap_or_else(|error| panic!("{error}")), cases);
}

#[test]
#[expect(clippy::absurd_extreme_comparisons, reason = "the maximum happens to be 0 now")]
fn every_case_runs_in_every_arm() {
    let cases = [case::corpus(), case::front_door()].concat();
    let skips = cases.iter().flat_map(|case| &case.skip);
    let differences = cases.iter().flat_map(|case| &case.differs);
    assert!(differences.clone().all(|(arm, _)| arm == "native"), "our arms are alike");
    for (arm, reason) in skips.clone().chain(differences) {
        assert!(arms::NAMES.contains(&arm.as_str()), "no arm is called {arm}");
        assert!(reason.len() > 10, "a reason says more than `{reason}`");
    }
    assert!(skips.count() <= SKIPS_MAX, "more than {SKIPS_MAX} skips");
}

#[test]
fn the_corpus_is_there_and_every_case_has_a_name_of_its_own() {
    let cases = [case::folder("corpus"), case::folder("front-door"), case::folder("pending")].concat();
    assert!(case::folder("corpus").len() >= 50, "only {} cases", case::folder("corpus").len());
    assert!(!case::front_door().is_empty(), "nothing for the front door");
    let mut names: BTreeMap<&str, &str> = BTreeMap::new();
    for case in &cases {
        let before = names.insert(&case.name, &case.file);
        assert!(before.is_none(), "`{}` is in {} and in {before:?}", case.name, case.file);
        assert_ne!(case.requests.is_empty(), case.refused.is_empty(), "`{}`: requests, or refused", case.name);
        let reason = case.since.as_ref().map(|since| since.because.as_str());
        assert!(reason.is_none_or(|reason| reason.len() > 10), "`{}`: `since` wants a reason", case.name);
        for request in &case.requests {
            let unknown = check::unknown_names(&request.expect, case.behaviour.keys());
            assert!(unknown.is_empty(), "`{}` names {unknown:?}, which are no endpoints", case.name);
        }
    }
}
