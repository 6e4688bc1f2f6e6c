//! The EnvoyFilter as a manifest: what stands in it for sidecars and for gateways.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "this is a test")]

mod common;

use envoy_render::{Code, Format, Manifest, Shipped, TargetRef, envoy_filter};
use istio_config::FilterConfig;
use istio_config::filter_config::Listener;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;

const CONFIG: &str = "apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: reviews}
spec:
  hosts: [reviews]
  resolution: STATIC
  ports: [{number: 9080, name: http, protocol: HTTP}]
  endpoints: [{address: 127.0.0.1, labels: {version: v1}}]
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: other}
spec: {hosts: [other], resolution: STATIC, ports: [{number: 9080, name: http, protocol: HTTP}]}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: reviews}
spec: {host: reviews, subsets: [{name: v1, labels: {version: v1}}]}
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: edge}
spec: {selector: {app: edge}, servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: ['*']}]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: reviews}
spec:
  hosts: [reviews]
  http:
  - match: [{uri: {prefix: /slow}}]
    timeout: 8s
    fault: {abort: {httpStatus: 418, percentage: {value: 1}}}
    route: [{destination: {host: reviews, subset: v1}}]
  - route: [{destination: {host: reviews, subset: v1}}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: edge}
spec: {hosts: [www.example.com], gateways: [edge], http: [{route: [{destination: {host: other}}]}]}
";

fn render(gateway: &str, port: u16, code: Code) -> Value {
    render_rules(CONFIG, gateway, port, code)
}

fn render_rules(text: &str, gateway: &str, port: u16, code: Code) -> Value {
    let (plan, config) = common::read(text);
    let listener = Listener { gateway: gateway.to_owned(), port };
    let shipped =
        Shipped { listener: listener.clone(), port, config: FilterConfig { listener: Some(listener), ..config } };
    let options = Manifest {
        name: "shunt".to_owned(),
        namespace: "shop".to_owned(),
        selector: BTreeMap::from([("app".to_owned(), "web".to_owned())]),
        targets: Vec::new(),
        priority: 0,
        code,
    };
    envoy_filter(&plan, &[shipped], &options)
}

fn in_file() -> Code {
    Code::File("/etc/shunt/filter.wasm".to_owned())
}

/// The values of all patches of one kind.
fn patches<'v>(manifest: &'v Value, apply_to: &str) -> Vec<&'v Value> {
    let patches = manifest["spec"]["configPatches"].as_array().unwrap();
    patches.iter().filter(|patch| patch["applyTo"] == apply_to).collect()
}

fn configuration(filter: &Value) -> Value {
    let text = &filter["typed_config"]["config"]["configuration"]["value"];
    serde_json::from_str(text.as_str().unwrap()).unwrap()
}

#[test]
fn the_manifest_is_the_golden_one() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/envoyfilter.yaml");
    let text = Format::Yaml.write(&render("mesh", 9080, in_file()), &[]);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&golden, &text).unwrap();
    }
    assert_eq!(text, std::fs::read_to_string(&golden).unwrap());
}

#[test]
fn a_proxy_gets_the_rules_that_it_needs_and_no_others() {
    let names = |manifest: &Value, place: &str| -> Vec<String> {
        let config = configuration(patches(manifest, place)[0].pointer("/patch/value").unwrap());
        let name = |object: &Value| {
            format!("{} {}", object["kind"].as_str().unwrap(), object["metadata"]["name"].as_str().unwrap())
        };
        config["objects"].as_array().unwrap().iter().map(name).collect()
    };
    let mesh = render("mesh", 9080, in_file());
    assert_eq!(names(&mesh, "EXTENSION_CONFIG"), ["ServiceEntry reviews", "VirtualService reviews"]);
    let edge = render("default/edge", 80, in_file());
    assert_eq!(names(&edge, "EXTENSION_CONFIG"), ["ServiceEntry other", "Gateway edge", "VirtualService edge"]);
    assert!(patches(&edge, "HTTP_FILTER").iter().all(|patch| patch["match"]["context"] == "GATEWAY"));
}

#[test]
fn profile_routes_stand_before_every_virtual_host_and_match_only_what_the_filter_says() {
    let manifest = render("mesh", 9080, in_file());
    let routes = patches(&manifest, "HTTP_ROUTE");
    assert_eq!(routes.len(), 3);
    for route in routes {
        assert_eq!(route["match"], serde_json::json!({"context": "SIDECAR_OUTBOUND"}));
        assert_eq!(route["patch"]["operation"], "INSERT_FIRST");
        let value = &route["patch"]["value"];
        assert_eq!(value["match"]["headers"][0]["name"], "x-shunt-cluster");
        assert!(value["request_headers_to_remove"].as_array().unwrap().contains(&"x-shunt-cluster".into()));
        assert!(value["typed_per_filter_config"]["envoy.filters.http.fault"]["abort"]["header_abort"].is_object());
    }
    assert_eq!(patches(&manifest, "NETWORK_FILTER")[0]["patch"]["operation"], "MERGE");
}

#[test]
fn what_istios_agent_fetches_is_an_extension_configuration_with_its_sum() {
    let sha256 = "ab".repeat(32);
    let code = Code::Url { url: "oci://registry.example.com/shunt:1".to_owned(), sha256: Some(sha256.clone()) };
    let manifest = render("mesh", 9080, code);
    let extension = &patches(&manifest, "EXTENSION_CONFIG")[0]["patch"]["value"];
    let filter = &patches(&manifest, "HTTP_FILTER")[0]["patch"]["value"];
    assert_eq!((&extension["name"], &filter["name"]), (&"shunt.mesh.9080".into(), &"shunt.mesh.9080".into()));
    let code = &extension["typed_config"]["config"]["vm_config"]["code"];
    assert_eq!(code["remote"]["sha256"], sha256);
    assert!(filter["config_discovery"]["type_urls"][0].as_str().unwrap().ends_with(".wasm.v3.Wasm"));
}

#[test]
fn it_is_for_whom_it_is_said_to_be() {
    let (plan, config) = common::read(CONFIG);
    let listener = Listener { gateway: "mesh".to_owned(), port: 9080 };
    let shipped = Shipped { listener, port: 9080, config };
    let options = Manifest {
        name: "edge".to_owned(),
        namespace: "shop".to_owned(),
        selector: BTreeMap::new(),
        targets: vec![TargetRef {
            group: "gateway.networking.k8s.io".to_owned(),
            kind: "Gateway".to_owned(),
            name: "http".to_owned(),
        }],
        priority: -5,
        code: in_file(),
    };
    let manifest = envoy_filter(&plan, &[shipped], &options);
    assert_eq!(manifest["metadata"], serde_json::json!({"name": "edge", "namespace": "shop"}));
    assert_eq!(manifest["spec"]["targetRefs"][0]["name"], "http");
    assert_eq!(manifest["spec"]["priority"], -5);
    assert!(manifest["spec"].get("workloadSelector").is_none());
}

#[test]
fn a_profile_is_named_by_what_it_says_and_a_missing_one_meets_the_default() {
    let profiles = |manifest: &Value| -> Vec<String> {
        let names = patches(manifest, "HTTP_ROUTE").into_iter().map(|patch| patch["patch"]["value"]["name"].clone());
        names.map(|name| name.as_str().unwrap().to_owned()).collect()
    };
    let bound = |manifest: &Value| -> Vec<String> {
        let config = configuration(&patches(manifest, "EXTENSION_CONFIG")[0]["patch"]["value"]);
        let bindings = config["bindings"].as_array().unwrap().iter();
        bindings
            .flat_map(|binding| binding["profiles"].as_array().unwrap())
            .map(|name| name.as_str().unwrap().to_owned())
            .collect()
    };
    let first = render("mesh", 9080, in_file());
    let [any, default, eight] = &profiles(&first)[..] else { panic!("the fallback, the default, and one of 8 s") };
    assert_eq!((any.as_str(), default.as_str()), ("any", "default"));
    assert!(eight.starts_with("shop/shunt/p-"), "{eight}");
    assert_eq!(bound(&first), [eight.as_str()]);

    // What one version calls by a name, no other version calls something else.
    let rules =
        "    timeout: 2s\n    route: [{destination: {host: reviews, subset: v1}}]\n  - match: [{uri: {prefix: /slow}}]";
    let second = CONFIG
        .replace("  - match: [{uri: {prefix: /slow}}]", &format!("  - match: [{{uri: {{prefix: /a}}}}]\n{rules}"));
    let second = render_rules(&second, "mesh", 9080, in_file());
    let [_, _, two, same] = &profiles(&second)[..] else { panic!("one of 2 s in front") };
    assert_eq!(bound(&second), [two.as_str(), same.as_str()]);
    assert_eq!(same, eight);
    assert_ne!(two, eight);

    // The first to go in front is the last to be met: whatever this filter calls a profile, and no other filter.
    let fallback = &patches(&first, "HTTP_ROUTE")[0]["patch"]["value"];
    let headers = serde_json::json!([
        { "name": "x-shunt-cluster", "present_match": true },
        { "name": "x-shunt-profile", "string_match": { "prefix": "shop/shunt/" } },
    ]);
    assert_eq!(fallback["match"]["headers"], headers);
    assert_eq!(fallback["route"], patches(&first, "HTTP_ROUTE")[1]["patch"]["value"]["route"]);
}
