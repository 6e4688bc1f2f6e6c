//! The files that a running Envoy watches: what changes with the rules, and what stays for those who still need it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "this is a test")]

mod common;

use envoy_plan::PathNormalization;
use envoy_render::{DYNAMIC_FILES, Dynamic, Options, dynamic, is_ours};
use istio_config::outbound::OutboundMode;
use serde_json::Value;
use std::path::Path;

const CONFIG: &str = "apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: reviews}
spec:
  hosts: [reviews]
  resolution: STATIC
  ports: [{number: 80, name: http, protocol: HTTP}]
  endpoints: [{address: 127.0.0.1, labels: {version: v1}}, {address: 127.0.0.2, labels: {version: v2}}]
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: reviews}
spec:
  host: reviews
  subsets:
  - {name: v1, labels: {version: v1}}
  - {name: v2, labels: {version: v2}}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: reviews}
spec:
  hosts: [reviews]
  http:
  - match: [{uri: {prefix: /slow}}]
    timeout: 8s
    route: [{destination: {host: reviews, subset: v1}}]
  - timeout: 1s
    route: [{destination: {host: reviews, subset: v1}, weight: 80}, {destination: {host: reviews, subset: v2}, weight: 20}]
";

/// When the first version is rendered.
const START: u64 = 1_800_000_000;

fn render_with(text: &str, outbound: Option<OutboundMode>, before: Option<&Dynamic>, now: u64) -> Dynamic {
    let (listen, admin) = ("127.0.0.1:8080".parse().unwrap(), "127.0.0.1:9901".parse().unwrap());
    let options = Options { listen, admin, path_normalization: PathNormalization::default(), application: None };
    let (mut plan, config) = common::read(text);
    let config = istio_config::FilterConfig { outbound: outbound.map(|mode| plan.let_out(mode)), ..config };
    let before = |file: &str| Some(content(before?, file).clone());
    dynamic(&plan, &config, b"\0asm\x01\0\0\0", &options, Path::new("/etc/envoy"), before, now)
}

/// `after`: so many seconds after the first one.
fn render(text: &str, before: Option<&Dynamic>, after: u64) -> Dynamic {
    render_with(text, None, before, START + after)
}

fn content<'a>(dynamic: &'a Dynamic, file: &str) -> &'a Value {
    dynamic.files.iter().find(|(name, _)| *name == file).map(|(_, content)| content).unwrap()
}

/// The names of the files that differ.
fn changed(one: &Dynamic, other: &Dynamic) -> Vec<&'static str> {
    assert_eq!(one.bootstrap, other.bootstrap);
    one.files.iter().zip(&other.files).filter(|(one, other)| one != other).map(|(one, _)| one.0).collect()
}

/// The names of entries, and which of them stay only until the next version.
fn names(entries: &Value) -> Vec<(&str, bool)> {
    let is_kept = |entry: &Value| entry.pointer("/metadata/filter_metadata/shunt/kept").is_some();
    entries.as_array().unwrap().iter().map(|entry| (entry["name"].as_str().unwrap(), is_kept(entry))).collect()
}

fn clusters(dynamic: &Dynamic) -> Vec<(&str, bool)> {
    names(&content(dynamic, "clusters.json")["resources"])
}

fn profiles(dynamic: &Dynamic) -> Vec<(&str, bool)> {
    names(content(dynamic, "routes.json").pointer("/resources/0/virtual_hosts/0/routes").unwrap())
}

fn configuration(dynamic: &Dynamic) -> Value {
    let filter = content(dynamic, "filter.json").pointer("/resources/0/typed_config/config/configuration/value");
    serde_json::from_str(filter.unwrap().as_str().unwrap()).unwrap()
}

#[test]
fn the_bootstrap_leads_to_every_file() {
    let rendered = render(CONFIG, None, 0);
    let manager = "/resources/0/filter_chains/0/filters/0/typed_config";
    let listeners = content(&rendered, "listeners.json").pointer(manager).unwrap();
    for (place, file) in [
        (rendered.bootstrap.pointer("/dynamic_resources/cds_config"), "clusters.json"),
        (rendered.bootstrap.pointer("/dynamic_resources/lds_config"), "listeners.json"),
        (listeners.pointer("/rds/config_source"), "routes.json"),
        (listeners.pointer("/http_filters/0/config_discovery/config_source"), "filter.json"),
    ] {
        assert_eq!(place.unwrap()["path_config_source"]["path"], format!("/etc/envoy/{file}"));
        let version = content(&rendered, file)["version_info"].as_str().unwrap();
        assert_eq!(version.len(), 16, "{file}");
    }
    let filter = content(&rendered, "filter.json");
    assert_eq!(filter.pointer("/resources/0/name"), listeners.pointer("/http_filters/0/name"), "its name in both");
    let routes = content(&rendered, "routes.json");
    assert_eq!(routes.pointer("/resources/0/name"), listeners.pointer("/rds/route_config_name"));
}

#[test]
fn a_change_is_a_change_of_the_files_that_say_it() {
    let first = render(CONFIG, None, 0);
    assert_eq!(changed(&first, &render(CONFIG, Some(&first), 0)), [""; 0]);
    let weights = CONFIG.replace("weight: 80", "weight: 50").replace("weight: 20", "weight: 50");
    assert_eq!(changed(&first, &render(&weights, Some(&first), 0)), ["filter.json"]);
    let fault = CONFIG.replace(
        "  - timeout: 1s\n",
        "  - timeout: 1s\n    fault: {abort: {httpStatus: 418, percentage: {value: 1}}}\n",
    );
    assert_eq!(changed(&first, &render(&fault, Some(&first), 0)), ["filter.json"]);
    let timeout = CONFIG.replace("timeout: 1s", "timeout: 2s");
    assert_eq!(changed(&first, &render(&timeout, Some(&first), 0)), ["routes.json", "filter.json"]);
    let endpoint = CONFIG.replace("127.0.0.2", "127.0.0.3");
    assert_eq!(changed(&first, &render(&endpoint, Some(&first), 0)), ["clusters.json"]);
    let open = render_with(CONFIG, Some(OutboundMode::AllowAny), Some(&first), START);
    assert_eq!(changed(&first, &open), ["clusters.json", "routes.json", "filter.json", "listeners.json"]);
}

#[test]
fn a_cluster_that_is_no_longer_called_for_stays_for_one_version_and_a_minute() {
    let less = CONFIG.replace("  - {name: v2, labels: {version: v2}}\n", "");
    let v2 = "outbound|80|v2|reviews.default.svc.cluster.local";
    let first = render(CONFIG, None, 0);
    assert!(clusters(&first).contains(&(v2, false)));
    let second = render(&less, Some(&first), 0);
    assert!(clusters(&second).contains(&(v2, true)), "the filter before may name it");
    let third = render(&less, Some(&second), 59);
    assert!(clusters(&third).contains(&(v2, true)), "Envoy may not have come so far yet");
    let fourth = render(&less, Some(&third), 60);
    assert!(clusters(&fourth).iter().all(|(name, _)| *name != v2), "nobody names it any more");
    let late = render(&less, Some(&first), 10_000);
    assert!(clusters(&late).contains(&(v2, true)), "always one version");
    assert!(clusters(&render(CONFIG, Some(&second), 0)).contains(&(v2, false)), "it is back");
}

#[test]
fn a_profile_is_named_by_what_it_says_and_stays_for_one_version() {
    let first = render(CONFIG, None, 0);
    let [("default", false), (eight, false), (one, false), ("any", false)] = profiles(&first)[..] else {
        panic!("three profiles, and what a missing one meets")
    };
    let bound = |dynamic: &Dynamic| -> Vec<Value> {
        let bindings = configuration(dynamic)["bindings"].as_array().unwrap().clone();
        bindings.iter().map(|binding| binding["profiles"].clone()).collect()
    };
    assert_eq!(bound(&first), [serde_json::json!([eight]), serde_json::json!([one])]);

    let second = render(&CONFIG.replace("    timeout: 8s\n", ""), Some(&first), 0);
    assert_eq!(
        profiles(&second),
        [(eight, true), ("default", false), (one, false), ("any", false)],
        "not numbered anew"
    );
    assert_eq!(bound(&second), [serde_json::json!([one])]);
    let third = render(&CONFIG.replace("    timeout: 8s\n", ""), Some(&second), 60);
    assert_eq!(profiles(&third), [("default", false), (one, false), ("any", false)], "the last one takes all");
    let routes = content(&first, "routes.json").pointer("/resources/0/virtual_hosts/0/routes").unwrap();
    assert_eq!(routes[1]["match"]["headers"][1]["string_match"]["exact"], eight, "the name is what the filter says");

    let open = render_with(CONFIG, Some(OutboundMode::AllowAny), None, START);
    let passes = configuration(&open)["outboundTrafficPolicy"]["profile"].as_str().unwrap().to_owned();
    assert!(profiles(&open).contains(&(passes.as_str(), false)), "{passes}");
}

#[test]
fn nothing_of_other_origin_is_kept_or_taken_for_ours() {
    let mut first = render_with(CONFIG, Some(OutboundMode::AllowAny), None, START);
    assert!(is_ours(DYNAMIC_FILES[0], &first.bootstrap));
    assert!(first.files.iter().all(|(file, content)| is_ours(file, content)));
    let foreign = serde_json::json!({ "resources": [{ "name": "mine" }] });
    assert!(DYNAMIC_FILES.iter().all(|file| !is_ours(file, &foreign) && !is_ours(file, &Value::Null)));

    let mine = serde_json::json!({ "@type": "type.googleapis.com/envoy.config.cluster.v3.Cluster", "name": "mine" });
    for entry in [mine, foreign["resources"][0].clone()] {
        let (_, file) = first.files.iter_mut().find(|(file, _)| *file == "clusters.json").unwrap();
        file["resources"].as_array_mut().unwrap().push(entry);
        assert!(!is_ours("clusters.json", file));
        let second = render(CONFIG, Some(&first), 0);
        assert!(clusters(&second).iter().all(|(name, _)| *name != "mine"));
    }
}
