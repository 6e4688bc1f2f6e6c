//! The filter by Istio's own kinds for Wasm, each with its companion for the routes.
//!
//! An istiod that reads a folder knows TrafficExtensions only: it makes them of WasmPlugins (`translateWasmPlugin`) where they
//! come from Kubernetes. So a WasmPlugin is seen to pass its validation, and to say what the TrafficExtension says.

use crate::sidecar::{HOST, canary, check_canary, dumped, names, to};
use crate::world::{World, rules};
use serde_json::Value;
use shunt_tests::istio::render::KINDS;
use shunt_tests::istio::workload::Role;
use std::time::{Duration, Instant};

const KIND: &str = KINDS[2];

/// How long it may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// The names of the HTTP filters on the proxy's listener at this port.
fn filters(configuration: &Value, listener: &str) -> Vec<String> {
    let listeners = dumped(configuration, ".ListenersConfigDump", "dynamic_listeners");
    let listener = listeners.iter().find(|known| known["name"] == listener).expect("a listener of this name");
    let manager = &listener["active_state"]["listener"]["filter_chains"][0]["filters"][0]["typed_config"];
    names(&manager["http_filters"]).into_iter().map(str::to_owned).collect()
}

/// istiod sends what these kinds say after the rest, at times; so the proxy is asked whether it has the filter.
fn has_filter(world: &World) -> bool {
    let configuration = world.proxy.configuration();
    let dumps = configuration["configs"].as_array().into_iter().flatten();
    let mut named = dumps.filter(|dump| dump.to_string().contains("extensions.istio.io/"));
    named.any(|dump| dump["@type"].as_str().is_some_and(|kind| kind.ends_with(".EcdsConfigDump")))
}

/// Serves it, and waits until the filter is there, or is gone.
fn serve(world: &mut World, rules: &str, manifests: &[Value], with_filter: bool) {
    world.serve(rules, manifests);
    let begun = Instant::now();
    while has_filter(world) != with_filter {
        assert!(begun.elapsed() < PATIENCE, "with the filter: {with_filter}\n{}", world.mesh.said());
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
#[ignore = "needs istiod: `make test-istio`"]
fn a_canary_by_a_traffic_extension() {
    let mut world = World::start(Role::Sidecar);
    let listener = format!("{}_80", world.proxy.address);
    world.serve(&to("v1"), &[]);
    let native = filters(&world.proxy.configuration(), &listener);

    let manifests = world.rendered(KIND, &canary("filter"));
    let kinds: Vec<_> = manifests.iter().map(|object| object["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds[0], "EnvoyFilter");
    assert!(kinds.len() > 1 && kinds[1..].iter().all(|found| *found == "TrafficExtension"), "{kinds:?}");
    serve(&mut world, "", &manifests, true);
    check_canary(&world, "filter");
    serve(&mut world, &canary("istiod"), &manifests, true);
    check_canary(&world, "filter");

    let patched = filters(&world.proxy.configuration(), &listener);
    assert!(patched[0].starts_with("extensions.istio.io/"), "the filter is the first: {patched:?}");
    assert_eq!(patched[1..], native[..], "and nothing else is new");

    serve(&mut world, &to("v1"), &[], false);
    assert_eq!(world.from(HOST, "/", &[]), "reviews-v1", "without it, istiod's rule");
    let configuration = world.proxy.configuration();
    assert_eq!(filters(&configuration, &listener), native);
    assert!(!configuration.to_string().contains("x-shunt-"), "nothing of ours is left");
}

#[test]
#[ignore = "needs istiod: `make test-istio`"]
fn neither_the_filter_alone_nor_its_routes_alone_change_a_version() {
    let mut world = World::start(Role::Sidecar);
    let manifests = world.rendered(KIND, &to("v2"));
    let forged = [("x-shunt-cluster", "outbound|80|v3|reviews.default.svc.cluster.local")];
    world.serve(&to("v1"), &manifests[..1]);
    assert_eq!(world.from(HOST, "/", &[]), "reviews-v1", "routes without the filter");
    assert_eq!(world.from(HOST, "/", &forged), "reviews-v1", "and nobody else can speak to them");
    serve(&mut world, &to("v1"), &manifests[1..], true);
    assert_eq!(world.from(HOST, "/", &[]), "reviews-v1", "the filter without routes");
    serve(&mut world, &to("v1"), &manifests, true);
    assert_eq!(world.from(HOST, "/", &[]), "reviews-v2", "both");
    assert_eq!(world.from(HOST, "/", &forged), "reviews-v2", "whatever a client says");
}

#[test]
#[ignore = "needs istiod: `make test-istio`"]
fn a_gateway_by_a_traffic_extension() {
    let mut world = World::start(Role::Gateway);
    let edge = |subset: &str| {
        let http = format!("[{{route: [{{destination: {{host: {HOST}, subset: {subset}}}}}]}}]");
        rules("www.example.com", "shop", &http)
    };
    let manifests = world.rendered(KIND, &edge("v2"));
    serve(&mut world, &edge("v1"), &manifests, true);
    assert_eq!(world.from("www.example.com", "/", &[]), "reviews-v2");
    serve(&mut world, &edge("v1"), &[], false);
    assert_eq!(world.from("www.example.com", "/", &[]), "reviews-v1");
}

/// As istiod's own `translateWasmPlugin` does it.
fn translated(plugin: &Value) -> Value {
    let mut extension = plugin.clone();
    extension["kind"] = "TrafficExtension".into();
    let spec = extension["spec"].as_object_mut().unwrap();
    let scope = ["selector", "targetRefs", "phase", "priority", "match"];
    let (kept, wasm) = std::mem::take(spec).into_iter().partition(|(field, _)| scope.contains(&field.as_str()));
    *spec = kept;
    spec.insert("wasm".to_owned(), Value::Object(wasm));
    extension
}

#[test]
#[ignore = "needs istiod: `make test-istio`"]
fn a_wasm_plugin_is_valid_and_says_what_the_traffic_extension_says() {
    let world = World::start(Role::Sidecar);
    let (plugins, extensions) = (world.rendered(KINDS[1], &canary("filter")), world.rendered(KIND, &canary("filter")));
    assert_eq!(plugins[0], extensions[0], "one companion");
    for (plugin, extension) in plugins[1..].iter().zip(&extensions[1..]) {
        world.mesh.validate(plugin).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(translated(plugin), *extension);
    }
    let mut broken = plugins[1].clone();
    broken["spec"]["sha256"] = "none".into();
    assert!(world.mesh.validate(&broken).is_err(), "the validation knows the kind");
}
