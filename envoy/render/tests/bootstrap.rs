//! The bootstrap as a file: what stands in it, and what must not.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "this is a test")]

mod common;

use envoy_plan::PathNormalization;
use envoy_render::{Format, Options, bootstrap};
use istio_config::outbound::OutboundMode;
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
    let options = Options { listen, admin, path_normalization, application: None };
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
        assert_eq!(route["match"]["prefix"], "");
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

#[test]
fn names_are_left_to_envoy_to_look_up() {
    let entry = |resolution: &str| {
        format!(
            "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {{name: s}}\nspec: {{hosts: [a.example.com], resolution: {resolution}, ports: [{{number: 80, name: http}}]}}\n"
        )
    };
    for (resolution, kind) in [("DNS", "STRICT_DNS"), ("DNS_ROUND_ROBIN", "LOGICAL_DNS")] {
        let cluster = render(&entry(resolution))["static_resources"]["clusters"][0].clone();
        assert_eq!(cluster["type"], kind);
        assert_eq!(cluster["dns_lookup_family"], "V4_PREFERRED");
        assert_eq!(cluster["dns_refresh_rate"], "60s");
        assert_eq!(cluster["respect_dns_ttl"], true);
        let address = "/load_assignment/endpoints/0/lb_endpoints/0/endpoint/address/socket_address/address";
        assert_eq!(cluster.pointer(address).unwrap(), "a.example.com");
    }
    assert!(render(CONFIG)["static_resources"]["clusters"][0].get("dns_lookup_family").is_none());
}

#[test]
fn the_forward_proxy_is_there_for_requests_that_pass_through() {
    let rendered = |mode| {
        let (mut plan, config) = common::read(CONFIG);
        let config = istio_config::FilterConfig { outbound: Some(plan.let_out(mode)), ..config };
        let (listen, admin) = ("127.0.0.1:8080".parse().unwrap(), "[::1]:9901".parse().unwrap());
        bootstrap(
            &plan,
            &config,
            b"\0asm\x01\0\0\0",
            &Options { listen, admin, path_normalization: Default::default(), application: None },
        )
    };
    let is_there = |bootstrap: &Value| {
        let clusters = bootstrap["static_resources"]["clusters"].as_array().unwrap();
        let cluster = clusters.iter().find(|cluster| cluster["name"] == "PassthroughCluster").cloned();
        let filters = manager(bootstrap, "/http_filters").as_array().unwrap();
        (cluster, filters.iter().map(|filter| filter["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>())
    };
    let (cluster, filters) = is_there(&rendered(OutboundMode::AllowAny));
    let cluster = cluster.unwrap();
    assert_eq!(cluster["cluster_type"]["name"], "envoy.clusters.dynamic_forward_proxy");
    assert_eq!(cluster["lb_policy"], "CLUSTER_PROVIDED");
    assert!(cluster.get("type").is_none() && cluster.get("load_assignment").is_none());
    assert_eq!(filters[1..], ["envoy.filters.http.dynamic_forward_proxy", "envoy.filters.http.router"]);
    let (cluster, filters) = is_there(&rendered(OutboundMode::RegistryOnly));
    assert!(cluster.is_none() && filters.len() == 2);
}
