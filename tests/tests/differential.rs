//! Random rules in every arm against the native twin. `make differential N=10000 SEED=1` runs more of them.
#![allow(clippy::expect_used, clippy::panic, reason = "this is a test")]

use shunt_tests::arms::{Arm, Engine, Envoy, InSimulator, Proxy};
use shunt_tests::differential::{Run, shares};
use shunt_tests::process;
use std::collections::BTreeSet;

/// What `make test` runs.
const CONFIGURATIONS: u64 = 300;
const SEED: u64 = 20_261_126;

/// Mismatches that are made as small as they get.
const SHRUNK: u64 = 3;

/// Rules of which it is counted how often each choice is made; so many of them for a thousand configurations.
const SHARES: u64 = 20;

/// Mismatches that are printed.
const TOLD: u64 = 20;

fn number(variable: &str, default: u64) -> u64 {
    match std::env::var(variable) {
        Ok(text) if !text.is_empty() => text.parse().unwrap_or_else(|error| panic!("{variable}={text}: {error}")),
        _ => default,
    }
}

#[test]
fn random_rules_mean_the_same_in_every_arm() {
    let Some(envoy) = process::envoy() else {
        return process::skipped("random rules", "no Envoy: name one in ENVOY, or run `make test`");
    };
    let shunt = process::shunt().unwrap_or_else(|error| panic!("{error}"));
    let run = Run {
        from: number("SHUNT_FROM", 0),
        configurations: number("SHUNT_DIFFERENTIAL", CONFIGURATIONS),
        seed: number("SHUNT_SEED", SEED),
        shrunk: usize::try_from(number("SHUNT_SHRUNK", SHRUNK)).unwrap_or(0),
    };
    println!("SHUNT_DIFFERENTIAL={} SHUNT_SEED={} SHUNT_FROM={}", run.configurations, run.seed, run.from);
    let native = Envoy::native(shunt.clone(), envoy.clone()).unwrap_or_else(|error| panic!("{error}"));
    let simulator = InSimulator::new().unwrap_or_else(|error| panic!("{error}"));
    let filter = Envoy::new(shunt.clone(), envoy).unwrap_or_else(|error| panic!("{error}"));
    let proxy = Proxy::new(shunt);
    let arms: [&dyn Arm; 4] = [&Engine, &simulator, &proxy, &filter];
    let report = run.run(&native, &arms);
    println!("{report}");
    let rules = (run.configurations * SHARES / 1000).max(1);
    let mut misfits = Vec::new();
    for arm in arms.iter().chain([&(&native as &dyn Arm)]) {
        misfits.extend(shares::misfits(*arm, rules, run.seed));
    }
    println!("{rules} rules with weights and mirrors, counted in {} arms: {} misfits", arms.len() + 1, misfits.len());
    let told_max = usize::try_from(number("SHUNT_TOLD", TOLD)).unwrap_or(0);
    let mut told = BTreeSet::new();
    for mismatch in &report.mismatches {
        // Much that differs differs alike.
        if told.len() < told_max && told.insert((mismatch.arm, &mismatch.difference)) {
            println!("{mismatch}");
        }
    }
    assert!(report.mismatches.is_empty(), "{} mismatches", report.mismatches.len());
    assert!(misfits.is_empty(), "{}", misfits.join("\n"));
}
