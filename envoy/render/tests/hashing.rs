//! `consistentHash` in everything that is rendered: keys in routes, tables in clusters.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "this is a test")]

mod common;

use common::read;
use envoy_plan::PathNormalization;
use envoy_render::{
    Code, EnvoyGateway, Manifest, Options, Shipped, TargetRef, bootstrap, dynamic, envoy_filter, envoy_gateway, native,
};
use istio_config::filter_config::Listener;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;

const CONFIG: &str = "apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: shop}
spec:
  hosts: [shop]
  resolution: STATIC
  ports: [{number: 80, name: http, protocol: HTTP}]
  endpoints: [{address: 127.0.0.1, labels: {version: v1}}, {address: 127.0.0.2, labels: {version: v2}}]
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: alone}
spec: {hosts: [alone], resolution: STATIC, ports: [{number: 80, name: http, protocol: HTTP}], endpoints: [{address: 127.0.0.3}]}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: alone}
spec: {host: alone, trafficPolicy: {loadBalancer: {consistentHash: {useSourceIp: true, maglev: {tableSize: 101}}}}}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: shop}
spec:
  host: shop
  trafficPolicy: {loadBalancer: {consistentHash: {httpHeaderName: x-user, ringHash: {minimumRingSize: 7}}}}
  subsets:
  - {name: v1, labels: {version: v1}}
  - name: v2
    labels: {version: v2}
    trafficPolicy:
      loadBalancer: {consistentHash: {httpCookie: {name: user, ttl: 60s, path: /, attributes: [{name: Secure}]}}}
      portLevelSettings: [{port: {number: 80}, loadBalancer: {consistentHash: {httpQueryParameterName: u}}}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: shop}
spec:
  hosts: [shop]
  http:
  - match: [{uri: {prefix: /one}}]
    route: [{destination: {host: shop, subset: v1}}]
  - match: [{uri: {prefix: /port}}]
    retries: {attempts: 1, retryIgnorePreviousHosts: true}
    route: [{destination: {host: shop, subset: v2, port: {number: 80}}}]
  - route: [{destination: {host: shop, subset: v1}, weight: 80}, {destination: {host: shop, subset: v2}, weight: 20}]
";

fn options() -> Options {
    Options {
        listen: "127.0.0.1:8080".parse().unwrap(),
        admin: "127.0.0.1:9901".parse().unwrap(),
        path_normalization: PathNormalization::default(),
        application: None,
    }
}

/// Every value under this key, wherever it stands, in order.
fn all<'v>(value: &'v Value, key: &str, found: &mut Vec<&'v Value>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                if name == key {
                    found.push(value);
                }
                all(value, key, found);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| all(item, key, found)),
        _ => {}
    }
}

fn every(value: &Value, key: &str) -> Vec<Value> {
    let mut found = Vec::new();
    all(value, key, &mut found);
    found.into_iter().cloned().collect()
}

fn keys() -> [Value; 4] {
    let header = json!({"header": {"header_name": "x-user"}});
    let attributes = json!([{"name": "Secure", "value": ""}]);
    let cookie = json!({"cookie": {"name": "user", "ttl": "60s", "path": "/", "attributes": attributes}});
    [
        json!([header]),
        json!([{"query_parameter": {"name": "u"}}]),
        json!([header, cookie]),
        json!([{"connection_properties": {"source_ip": true}}]),
    ]
}

#[test]
fn profile_routes_and_the_twin_have_the_same_keys() {
    let (plan, config) = read(CONFIG);
    let profiles = bootstrap(&plan, &config, b"module", &options());
    assert_eq!(every(&profiles, "hash_policy"), keys());
    assert_eq!(every(&native(&plan, &config, &options()), "hash_policy"), keys());
}

/// Whether the routes with these keys avoid those who failed, by the twin's and the profiles' own word.
#[test]
fn a_retry_stays_where_the_only_destination_has_a_key() {
    let (plan, config) = read(CONFIG);
    let avoids = |rendered: &Value| -> Vec<bool> {
        let mut routes = every(rendered, "route");
        routes.retain(|route| route.get("hash_policy").is_some());
        routes.iter().map(|route| route["retry_policy"].get("retry_host_predicate").is_some()).collect()
    };
    let expected = [false, true, true, true];
    assert_eq!(avoids(&bootstrap(&plan, &config, b"module", &options())), expected);
    assert_eq!(avoids(&native(&plan, &config, &options())), expected);
}

#[test]
fn clusters_have_tables_of_their_sizes() {
    let (plan, config) = read(CONFIG);
    let rendered = bootstrap(&plan, &config, b"module", &options());
    let clusters = &every(&rendered, "clusters")[0];
    let said = |name: &str| {
        let mut clusters = clusters.as_array().unwrap().iter();
        let cluster = clusters.find(|cluster| cluster["name"].as_str().unwrap().contains(name)).unwrap();
        (cluster["lb_policy"].clone(), cluster["ring_hash_lb_config"].clone(), cluster["maglev_lb_config"].clone())
    };
    let ring = |size: u32| (json!("RING_HASH"), json!({"minimum_ring_size": size}), Value::Null);
    assert_eq!(said("||shop."), ring(7));
    assert_eq!(said("|v1|shop."), ring(7));
    // What is said of the port replaces all that is said beside it.
    assert_eq!(said("|v2|shop."), ring(1024));
    assert_eq!(said("||alone."), (json!("MAGLEV"), Value::Null, json!({"table_size": 101})));
}

#[test]
fn watched_routes_have_the_keys_under_names_that_say_so() {
    let (plan, config) = read(CONFIG);
    let rendered = |text: &str| {
        let (plan, config) = read(text);
        dynamic(&plan, &config, b"module", &options(), Path::new("/folder"), |_| None, 0)
    };
    let files = dynamic(&plan, &config, b"module", &options(), Path::new("/folder"), |_| None, 0).files;
    let routes = &files.iter().find(|(name, _)| *name == "routes.json").unwrap().1;
    assert_eq!(every(routes, "hash_policy"), keys());
    let bound =
        |text: &str| every(&Value::Array(rendered(text).files.iter().map(|(_, file)| file.clone()).collect()), "name");
    assert_ne!(bound(CONFIG), bound(&CONFIG.replace("x-user", "x-other")));
}

#[test]
fn the_routes_of_a_mesh_have_the_keys_of_its_rules() {
    let (mut plan, mut config) = read(CONFIG);
    let listener = Listener { gateway: "mesh".to_owned(), port: 80 };
    let (caller, mut found) = (envoy_plan::Caller::default(), istio_config::Diagnostics::default());
    let (here, bindings) = envoy_plan::Plan::build_for(&config.config, &caller, Some(&listener), &mut found);
    (plan.profiles, config.bindings, config.listener) = (here.profiles, bindings, Some(listener.clone()));
    let manifest = Manifest {
        name: "shunt".to_owned(),
        namespace: "default".to_owned(),
        selector: BTreeMap::new(),
        targets: Vec::new(),
        priority: 0,
        code: Code::File("/shunt.wasm".to_owned()),
    };
    let rendered = envoy_filter(&plan, &[Shipped { listener, port: 80, config }], &manifest);
    // The service without rules has istiod's own route.
    assert_eq!(every(&rendered, "hash_policy"), keys()[..3]);
}

#[test]
fn envoy_gateway_is_said_to_have_none() {
    let (plan, config) = read(CONFIG);
    let group = "gateway.networking.k8s.io".to_owned();
    let gateway = EnvoyGateway {
        name: "shunt".to_owned(),
        namespace: "default".to_owned(),
        parents: vec![TargetRef { group, kind: "Gateway".to_owned(), name: "eg".to_owned() }],
        hosts: Vec::new(),
        url: "oci://example.com/shunt".to_owned(),
        sha256: None,
    };
    let (objects, lost) = envoy_gateway(&plan, &config, &gateway);
    let said: Vec<_> = lost.iter().filter_map(|line| Some(line.split_once("endpoints are ")?.1)).collect();
    assert_eq!(
        said,
        [
            "not chosen by header `x-user`",
            "not chosen by query parameter `u`",
            "not chosen by header `x-user`",
            "not chosen by cookie `user`",
            "not chosen by address of the client",
        ]
    );
    assert_eq!(every(&Value::Array(objects), "hash_policy"), Vec::<Value>::new());
}
