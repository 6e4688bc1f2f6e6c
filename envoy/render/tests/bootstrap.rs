//! The bootstrap as a file: what stands in it, and what must not.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "this is a test")]

mod common;

use envoy_plan::PathNormalization;
use envoy_render::{Format, Options, bootstrap};
use serde_json::Value;
use std::path::Path;

const CONFIG: &str = "apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: reviews}
spec:
  hosts: [reviews]
  resolution: STATIC
  ports: [{number: 80, name: http, protocol: HTTP}, {number: 90, name: grpc, protocol: GRPC}]
  endpoints:
  - {address: 127.0.0.1, ports: {http: 9001}, labels: {version: v1}}
  - {address: '::1', ports: {http: 9002}, labels: {version: v2}, weight: 3}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: reviews}
spec:
  host: reviews
  trafficPolicy: {loadBalancer: {simple: ROUND_ROBIN}, connectionPool: {tcp: {connectTimeout: 2s}}}
  subsets:
  - {name: v1, labels: {version: v1}}
  - {name: v2, labels: {version: v2}, trafficPolicy: {loadBalancer: {simple: RANDOM}}}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: reviews}
spec:
  hosts: [reviews]
  http:
  - match: [{uri: {prefix: /slow}}]
    route: [{destination: {host: reviews, subset: v1, port: {number: 80}}}]
    timeout: 8s
    retries: {attempts: 3, perTryTimeout: 2.5s, retryOn: 'reset,503', backoff: 100ms, retryIgnorePreviousHosts: false}
  - match: [{uri: {prefix: /copied}}]
    route: [{destination: {host: reviews, subset: v1, port: {number: 80}}}]
    retries: {attempts: 0}
    mirror: {host: reviews, subset: v2, port: {number: 80}}
  - route: [{destination: {host: reviews, subset: v1, port: {number: 80}}}]
";

fn render(text: &str) -> Value {
    render_with(text, PathNormalization::default())
}

fn render_with(text: &str, path_normalization: PathNormalization) -> Value {
    let (plan, config) = common::read(text);
    let (listen, admin) = ("127.0.0.1:8080".parse().unwrap(), "[::1]:9901".parse().unwrap());
    let options = Options { listen, admin, path_normalization };
    bootstrap(&plan, &config, b"\0asm\x01\0\0\0", &options)
}

/// The value at a JSON pointer inside the connection manager.
fn manager<'v>(bootstrap: &'v Value, pointer: &str) -> &'v Value {
    let manager = "/static_resources/listeners/0/filter_chains/0/filters/0/typed_config";
    bootstrap.pointer(&format!("{manager}{pointer}")).unwrap_or_else(|| panic!("nothing at {pointer}"))
}

#[test]
fn the_file_is_the_golden_one() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/bootstrap.yaml");
    let text = Format::Yaml.write(&render(CONFIG), &["Written by a test: UPDATE_GOLDEN=1 cargo test -p envoy-render"]);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&golden, &text).unwrap();
    }
    assert_eq!(text, std::fs::read_to_string(&golden).unwrap());
}

#[test]
fn no_route_matches_without_the_filters_header() {
    let bootstrap = render(CONFIG);
    let routes = manager(&bootstrap, "/route_config/virtual_hosts/0/routes").as_array().unwrap();
    assert_eq!(routes.len(), 3);
    for route in routes {
        assert_eq!(route["match"]["headers"][0]["name"], "x-shunt-cluster");
        assert_eq!(route["match"]["headers"][0]["present_match"], true);
        assert_eq!(route["route"]["cluster_header"], "x-shunt-cluster");
        assert_eq!(route["match"]["prefix"], "/");
    }
}

#[test]
fn the_filter_carries_its_module_and_its_configuration() {
    let bootstrap = render(CONFIG);
    let wasm = manager(&bootstrap, "/http_filters/0/typed_config/config");
    assert_eq!(wasm["vm_config"]["code"]["local"]["inline_bytes"], "AGFzbQEAAAA=");
    assert_eq!(wasm["configuration"]["@type"], "type.googleapis.com/google.protobuf.StringValue");
    let config: Value = serde_json::from_str(wasm["configuration"]["value"].as_str().unwrap()).unwrap();
    assert_eq!(config, common::read(CONFIG).1.to_json());
    assert_eq!(config["bindings"][0]["profiles"], serde_json::json!(["p1"]));
}

#[test]
fn the_fault_filter_is_there_for_rules_that_need_it() {
    let names = |text: &str| -> Vec<String> {
        let bootstrap = render(text);
        let filters = manager(&bootstrap, "/http_filters").as_array().unwrap().clone();
        filters
            .iter()
            .map(|filter| filter["name"].as_str().unwrap().trim_start_matches("envoy.filters.http.").to_owned())
            .collect()
    };
    assert_eq!(names(CONFIG), ["wasm", "router"]);
    let faulty = CONFIG.replace(
        "    timeout: 8s\n",
        "    timeout: 8s\n    fault: {delay: {fixedDelay: 1s, percentage: {value: 1}}}\n",
    );
    assert_eq!(names(&faulty), ["wasm", "fault", "router"]);
}

#[test]
fn paths_are_normalised_as_istiod_would_have_it() {
    for (how, normalize, merge, escaped_slashes) in [
        (PathNormalization::None, false, false, "KEEP_UNCHANGED"),
        (PathNormalization::Base, true, false, "KEEP_UNCHANGED"),
        (PathNormalization::MergeSlashes, true, true, "KEEP_UNCHANGED"),
        (PathNormalization::DecodeAndMergeSlashes, true, true, "UNESCAPE_AND_FORWARD"),
    ] {
        let bootstrap = render_with(CONFIG, how);
        assert_eq!(*manager(&bootstrap, "/normalize_path"), normalize, "{how}");
        assert_eq!(*manager(&bootstrap, "/merge_slashes"), merge, "{how}");
        assert_eq!(*manager(&bootstrap, "/path_with_escaped_slashes_action"), escaped_slashes, "{how}");
    }
}
