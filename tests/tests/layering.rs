//! Who may know whom. The table is the architecture; a new arrow between crates is a decision, and is taken here.
#![allow(clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "this is a test")]

use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

/// A crate, which of ours it may use, and which of others' it must never use. Only what is built into the crate counts;
/// its tests are free.
const TABLE: [(&str, &[&str], &[&str]); 16] = [
    ("istio-config", &[], &["proxy-wasm", "wasmtime", "tokio", "hyper", "log", "rand", "getrandom"]),
    ("traffic-policy", &["istio-config"], &["proxy-wasm", "wasmtime", "tokio", "hyper", "log", "rand", "getrandom"]),
    ("traffic-filter", &["traffic-policy", "istio-config"], &["wasmtime", "tokio", "regex"]),
    ("host-abi", &[], &["tokio", "hyper", "rand", "getrandom", "proxy-wasm"]),
    ("envoy-plan", &["istio-config"], &["wasmtime", "tokio", "proxy-wasm"]),
    ("rule-analysis", &["istio-config", "traffic-policy", "envoy-plan"], &["wasmtime", "tokio", "proxy-wasm", "rand"]),
    ("upstream", &["envoy-plan"], &["wasmtime", "tokio", "hyper", "socket2", "rand", "getrandom"]),
    ("traffic-sim", &["host-abi", "upstream", "envoy-plan"], &["tokio", "hyper", "rand", "getrandom", "proxy-wasm"]),
    ("traffic-proxy", &["host-abi", "upstream", "envoy-plan"], &["proxy-wasm"]),
    (
        "traffic-explain",
        &["istio-config", "traffic-policy", "host-abi", "envoy-plan", "envoy-render", "upstream"],
        &["tokio", "hyper", "proxy-wasm"],
    ),
    ("envoy-render", &["istio-config", "traffic-policy", "envoy-plan"], &["wasmtime", "tokio", "hyper", "socket2"]),
    (
        "shunt",
        &[
            "istio-config",
            "traffic-policy",
            "rule-analysis",
            "host-abi",
            "envoy-plan",
            "upstream",
            "traffic-sim",
            "traffic-proxy",
            "traffic-explain",
            "envoy-render",
        ],
        &["proxy-wasm"],
    ),
    // Guests to measure and to test with, which know nothing of ours.
    ("guest-empty", &[], &[]),
    ("guest-one-header", &[], &[]),
    // Fuzz targets reach what takes bytes from outside, the filter's own readers among it.
    (
        "shunt-fuzz",
        &["istio-config", "traffic-policy", "traffic-filter", "envoy-plan", "envoy-render", "upstream"],
        &["proxy-wasm", "wasmtime", "tokio", "hyper"],
    ),
    // Tests may use everything but the filter, which they only have compiled.
    (
        "shunt-tests",
        &[
            "istio-config",
            "traffic-policy",
            "rule-analysis",
            "host-abi",
            "envoy-plan",
            "upstream",
            "traffic-sim",
            "traffic-proxy",
            "envoy-render",
        ],
        &["proxy-wasm"],
    ),
];

/// What each crate of the workspace is built with, by name.
fn dependencies() -> BTreeMap<String, BTreeSet<String>> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("../Cargo.toml");
    let output = Command::new(cargo)
        .args(["metadata", "--no-deps", "--offline", "--format-version", "1", "--manifest-path"])
        .arg(manifest)
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("cargo writes JSON");
    let text = |value: &Value| value.as_str().expect("a name").to_owned();
    let packages = metadata["packages"].as_array().expect("a list of packages");
    let normal = |package: &Value| {
        let list = package["dependencies"].as_array().expect("a list of dependencies");
        list.iter()
            .filter(|dependency| dependency["kind"].is_null())
            .map(|dependency| text(&dependency["name"]))
            .collect()
    };
    packages.iter().map(|package| (text(&package["name"]), normal(package))).collect()
}

#[test]
fn crates_use_what_the_table_allows() {
    let all = dependencies();
    let mut wrong = Vec::new();
    for (name, used) in &all {
        let Some((_, allowed, never)) = TABLE.iter().find(|(own, ..)| own == name) else {
            wrong.push(format!("{name} is not in the table"));
            continue;
        };
        for other in used {
            if all.contains_key(other) && !allowed.contains(&other.as_str()) {
                wrong.push(format!("{name} must not use {other}"));
            }
            if never.contains(&other.as_str()) {
                wrong.push(format!("{name} must never know {other}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn there_were_crates_to_look_at() {
    let all = dependencies();
    for (name, ..) in TABLE {
        assert!(all.contains_key(name), "{name} is in the table and not in the workspace");
    }
    let arrows: usize = all.values().map(|used| used.iter().filter(|other| all.contains_key(*other)).count()).sum();
    assert!(arrows >= 20, "only {arrows} dependencies between our crates");
    assert!(all["traffic-policy"].contains("istio-config"), "a dependency that is known to be there");
}
