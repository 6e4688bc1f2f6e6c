//! The inbound side in every form that is rendered: where the filter stands, and what it is told.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "this is a test")]

mod common;

use envoy_plan::{Application, PathNormalization};
use envoy_render::{
    Code, DYNAMIC_FILES, Manifest, Options, Plugin, Shipped, bootstrap, dynamic, envoy_filter, is_ours, wasm_plugins,
};
use istio_config::FilterConfig;
use istio_config::filter_config::Listener;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;

const RULES: &str = "apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: reviews}
spec: {hosts: [reviews], resolution: STATIC, ports: [{number: 80, name: http, protocol: HTTP}]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: reviews}
spec: {hosts: [reviews], http: [{route: [{destination: {host: reviews}}]}]}
";

const POLICY: &str = "---
apiVersion: shunt.dev/v1alpha1
kind: ShuntPolicy
metadata: {name: context}
spec: {propagate: {to: [reviews]}}
";

fn options(application: Option<Application>) -> Options {
    let (listen, admin) = (([127, 0, 0, 1], 8080).into(), ([127, 0, 0, 1], 9901).into());
    Options { listen, admin, path_normalization: PathNormalization::default(), application }
}

fn application() -> Option<Application> {
    Some(Application { listen: ([127, 0, 0, 1], 8081).into(), address: ([127, 0, 0, 1], 3000).into() })
}

/// What a filter is called, and the direction and kinds of objects that it is told.
fn told(wasm: &Value) -> (String, Value, Vec<String>) {
    let config = &wasm["typed_config"]["config"];
    let text = config["configuration"]["value"].as_str().unwrap();
    let read: Value = serde_json::from_str(text).unwrap();
    let kinds = read["objects"].as_array().unwrap().iter().map(|object| object["kind"].as_str().unwrap().to_owned());
    assert_eq!(config["name"], config["root_id"]);
    assert_eq!(config["vm_config"]["vm_id"], "shunt", "both sides share one store");
    (config["name"].as_str().unwrap().to_owned(), read["direction"].clone(), kinds.collect())
}

fn inbound() -> (String, Value, Vec<String>) {
    ("shunt-inbound".to_owned(), json!("INBOUND"), vec!["ShuntPolicy".to_owned()])
}

#[test]
fn a_bootstrap_has_a_second_listener_that_leads_to_the_application() {
    let (plan, config) = common::read(&format!("{RULES}{POLICY}"));
    let rendered = bootstrap(&plan, &config, b"module", &options(application()));
    let listeners = rendered["static_resources"]["listeners"].as_array().unwrap();
    let [outbound, second] = &listeners[..] else { panic!("two listeners") };
    assert_eq!((&outbound["name"], outbound.get("traffic_direction")), (&json!("shunt"), None));
    assert_eq!((&second["name"], &second["traffic_direction"]), (&json!("shunt-inbound"), &json!("INBOUND")));
    assert_eq!(second["address"]["socket_address"], json!({"address": "127.0.0.1", "port_value": 8081}));
    let manager = &second["filter_chains"][0]["filters"][0]["typed_config"];
    assert_eq!(manager["generate_request_id"], true);
    assert_eq!(told(&manager["http_filters"][0]), inbound());
    let route = &manager["route_config"]["virtual_hosts"][0]["routes"][0]["route"];
    assert_eq!((&route["cluster"], &route["timeout"], route.get("retry_policy")), (&json!("app"), &json!("0s"), None));
    let clusters = rendered["static_resources"]["clusters"].as_array().unwrap();
    let app = clusters.iter().find(|cluster| cluster["name"] == "app").unwrap();
    assert_eq!(
        app["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"]["address"]["socket_address"],
        json!({"address": "127.0.0.1", "port_value": 3000})
    );
    let alone = bootstrap(&plan, &config, b"module", &options(None));
    assert_eq!(alone["static_resources"]["listeners"].as_array().unwrap().len(), 1);
}

#[test]
fn watched_files_have_one_for_the_inbound_filter() {
    let (plan, config) = common::read(&format!("{RULES}{POLICY}"));
    let rendered = dynamic(&plan, &config, b"module", &options(application()), Path::new("/f"), |_| None, 0);
    assert!(is_ours(DYNAMIC_FILES[0], &rendered.bootstrap));
    assert!(rendered.files.iter().all(|(file, content)| is_ours(file, content)));
    let file = |name: &str| &rendered.files.iter().find(|(file, _)| *file == name).unwrap().1["resources"];
    assert_eq!(told(&file("inbound.json")[0]), inbound());
    let listener = &file("listeners.json")[1];
    let filter = &listener["filter_chains"][0]["filters"][0]["typed_config"]["http_filters"][0];
    assert_eq!(filter["name"], "shunt-inbound");
    assert_eq!(filter["config_discovery"]["config_source"]["path_config_source"]["path"], "/f/inbound.json");
    // Rendered again, the application is nothing that was left over.
    let before = |name: &str| rendered.files.iter().find(|(file, _)| *file == name).map(|(_, content)| content.clone());
    let again = dynamic(&plan, &config, b"module", &options(application()), Path::new("/f"), before, 1);
    assert_eq!(again, rendered);
}

fn manifest() -> Manifest {
    Manifest {
        name: "shunt".to_owned(),
        namespace: "shop".to_owned(),
        selector: BTreeMap::new(),
        targets: Vec::new(),
        priority: 0,
        code: Code::File("/etc/shunt/filter.wasm".to_owned()),
    }
}

#[test]
fn in_a_mesh_it_stands_before_the_router_where_there_is_something_to_keep() {
    for (text, sides) in [(RULES.to_owned(), 0), (format!("{RULES}{POLICY}"), 1)] {
        let (plan, config) = common::read(&text);
        let listener = Listener { gateway: "mesh".to_owned(), port: 80 };
        let config = FilterConfig { listener: Some(listener.clone()), ..config };
        let shipped = [Shipped { listener, port: 80, config }];
        let rendered = envoy_filter(&plan, &shipped, &manifest());
        let patches = rendered["spec"]["configPatches"].as_array().unwrap();
        let inbound_patches: Vec<_> =
            patches.iter().filter(|patch| patch["match"]["context"] == "SIDECAR_INBOUND").collect();
        assert_eq!(inbound_patches.len(), 3 * sides);
        if let [_, resource, place] = inbound_patches[..] {
            let value = resource.pointer("/patch/value").unwrap();
            assert_eq!(told(value), inbound());
            assert_eq!(place["patch"]["operation"], "INSERT_BEFORE");
            assert_eq!(place["patch"]["value"]["name"], value["name"]);
            let filter = &place["match"]["listener"]["filterChain"]["filter"];
            assert_eq!(filter["subFilter"]["name"], "envoy.filters.http.router");
        }
        let plugins = wasm_plugins(Plugin::WasmPlugin, &plan, &shipped, &manifest());
        assert_eq!(plugins.len(), 1 + sides);
        if let Some(plugin) = plugins.get(1) {
            assert_eq!(plugin["metadata"]["name"], "shunt-inbound");
            assert_eq!(plugin["spec"]["match"], json!([{"mode": "SERVER"}]));
            assert_eq!(plugin["spec"]["pluginConfig"]["direction"], "INBOUND");
        }
    }
}
