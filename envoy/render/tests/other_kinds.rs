//! The filter by kinds that cannot route, and what each gets beside it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "this is a test")]

mod common;

use common::read;
use envoy_render::{
    Code, EnvoyGateway, Manifest, Plugin, Shipped, TargetRef, companion, envoy_filter, envoy_gateway, wasm_plugins,
};
use istio_config::filter_config::Listener;
use istio_config::{Diagnostics, FilterConfig};
use serde_json::{Value, json};
use std::collections::BTreeMap;

const CONFIG: &str = "apiVersion: v1
kind: Service
metadata: {name: shop}
spec: {selector: {app: shop}, ports: [{name: http, port: 80, targetPort: web, nodePort: 30080}]}
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: partner}
spec: {hosts: [partner.example.com], resolution: STATIC, ports: [{number: 80, name: http, protocol: HTTP}], endpoints: [{address: 192.0.2.1}]}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: shop}
spec: {host: shop, subsets: [{name: v1, labels: {version: v1}}, {name: v2, labels: {version: v2}}]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: shop}
spec:
  hosts: [shop.example.com]
  http:
  - match: [{uri: {prefix: /slow}}]
    timeout: 8s
    retries: {attempts: 3, perTryTimeout: 2s, retryOn: '5xx,418,retriable-headers'}
    mirror: {host: shop, subset: v2}
    route: [{destination: {host: shop, subset: v1}}]
  - match: [{uri: {prefix: /partner}}]
    route: [{destination: {host: partner.example.com}}]
  - route: [{destination: {host: shop, subset: v1}, weight: 80}, {destination: {host: shop, subset: v2}, weight: 20}]
";

fn for_gateway(text: &str, url: &str) -> (Vec<Value>, Vec<String>) {
    let (plan, config) = read(text);
    let hosts = config.config.virtual_services.iter().flat_map(|service| service.spec.hosts.clone()).collect();
    let group = "gateway.networking.k8s.io".to_owned();
    let gateway = EnvoyGateway {
        name: "shunt".to_owned(),
        namespace: "default".to_owned(),
        parents: vec![TargetRef { group, kind: "Gateway".to_owned(), name: "eg".to_owned() }],
        hosts,
        url: url.to_owned(),
        sha256: None,
    };
    envoy_gateway(&plan, &config, &gateway)
}

fn of_kind<'v>(objects: &'v [Value], kind: &str) -> Vec<&'v Value> {
    objects.iter().filter(|object| object["kind"] == kind).collect()
}

#[test]
fn a_plugin_stands_first_on_its_port_and_has_what_the_filter_reads() {
    let (plan, config) = read(CONFIG);
    let listener = Listener { gateway: "mesh".to_owned(), port: 80 };
    let config = FilterConfig { listener: Some(listener.clone()), ..config };
    let shipped = [Shipped { listener, port: 80, config }];
    let manifest = Manifest {
        name: "shunt".to_owned(),
        namespace: "shop".to_owned(),
        selector: BTreeMap::from([("app".to_owned(), "web".to_owned())]),
        targets: Vec::new(),
        priority: 7,
        code: Code::File("/etc/filter.wasm".to_owned()),
    };
    let [plugin] = &wasm_plugins(Plugin::WasmPlugin, &plan, &shipped, &manifest)[..] else {
        panic!("one port, one plugin")
    };
    let spec = &plugin["spec"];
    assert_eq!(plugin["metadata"], json!({"name": "shunt-80", "namespace": "shop"}));
    assert_eq!(
        (&spec["phase"], &spec["priority"], &spec["url"]),
        (&json!("AUTHN"), &json!(7), &json!("file:///etc/filter.wasm"))
    );
    assert_eq!(spec["match"], json!([{"mode": "CLIENT", "ports": [{"number": 80}]}]));
    assert_eq!(spec["selector"]["matchLabels"]["app"], "web");
    let mut found = Diagnostics::default();
    let again = FilterConfig::read(spec["pluginConfig"].clone(), &mut found);
    assert!(!found.has_errors() && again.config.virtual_services.len() == 1, "{found:?}");

    let [extension] = &wasm_plugins(Plugin::TrafficExtension, &plan, &shipped, &manifest)[..] else {
        panic!("one extension")
    };
    assert_eq!(extension["spec"]["wasm"]["pluginConfig"], spec["pluginConfig"]);

    // Always with its copy: nobody meets the one without.
    let [Value::String(none), Value::String(bound)] =
        &spec["pluginConfig"]["bindings"][0]["profiles"].as_array().unwrap()[..]
    else {
        panic!("with and without the copy")
    };
    assert_eq!(none, "");
    assert!(bound.starts_with("shop/shunt/p-"), "the companion's name for it: {bound}");
    // The companion is the EnvoyFilter without the filter.
    let patches = |manifest: Value| manifest["spec"]["configPatches"].as_array().unwrap().clone();
    let mut whole = patches(envoy_filter(&plan, &shipped, &manifest));
    whole.retain(|patch| patch["applyTo"] != "HTTP_FILTER" && patch["applyTo"] != "EXTENSION_CONFIG");
    let companion = patches(companion(&plan, &shipped, &manifest));
    assert!(companion.iter().any(|patch| patch["patch"]["value"]["name"] == *bound));
    assert_eq!(companion, whole);
}

#[test]
fn every_decision_has_a_rule_of_an_http_route() {
    let (objects, lost) = for_gateway(CONFIG, "https://example.com/filter.wasm");
    let routes = of_kind(&objects, "HTTPRoute");
    let rules: Vec<_> = routes.iter().flat_map(|route| route["spec"]["rules"].as_array().unwrap()).collect();
    assert_eq!(rules.len(), routes.len(), "a decision has an HTTPRoute of its own");
    assert_eq!(rules[0], &json!({}), "one that brings requests to the filter");
    let decisions: Vec<_> = rules[1..]
        .iter()
        .map(|rule| {
            let headers = rule["matches"][0]["headers"].as_array().unwrap();
            let values: Vec<_> = headers.iter().map(|header| header["value"].as_str().unwrap()).collect();
            (values, rule["backendRefs"][0]["name"].as_str().unwrap(), rule["timeouts"]["request"].as_str().unwrap())
        })
        .collect();
    let [v1, v2] = ["v1", "v2"].map(|subset| format!("outbound|80|{subset}|shop.default.svc.cluster.local"));
    let limited = rules.iter().find(|rule| rule["timeouts"]["request"] == "8s").expect("one with a timeout");
    let profile = limited["matches"][0]["headers"][1]["value"].as_str().unwrap();
    for expected in [
        (vec![v1.as_str()], "shop-v1", "0s"),
        (vec![v2.as_str()], "shop-v2", "0s"),
        (vec!["outbound|80||partner.example.com"], "partner-example-com-80", "0s"),
        (vec![v1.as_str(), profile], "shop-v1", "8s"),
    ] {
        assert!(decisions.contains(&expected), "{expected:?} in {decisions:?}");
    }
    let mirrored = rules.iter().find(|rule| rule["timeouts"]["request"] == "8s" && rule["filters"][1].is_object());
    assert_eq!(mirrored.unwrap()["filters"][1]["requestMirror"]["backendRef"]["name"], "shop-v2");
    let chosen = |policy: &Value| {
        let labels = policy["spec"]["targetSelectors"][0]["matchLabels"].as_object().unwrap().clone();
        let has = |route: &&&Value| labels.iter().all(|(key, value)| route["metadata"]["labels"][key] == *value);
        let by_label: Vec<_> = routes.iter().filter(has).map(|route| &route["metadata"]["name"]).collect();
        let named: Vec<_> = policy["spec"]["targetRefs"].as_array().unwrap().iter().map(|to| &to["name"]).collect();
        assert_eq!(named, by_label);
        named.len()
    };
    assert_eq!(chosen(of_kind(&objects, "EnvoyExtensionPolicy")[0]), routes.len(), "the filter is on all of them");
    let retried: Vec<_> = of_kind(&objects, "BackendTrafficPolicy").into_iter().map(chosen).collect();
    assert_eq!(retried.iter().sum::<usize>(), routes.len() - 1, "and each decision's retries: {retried:?}");
    assert_eq!(objects.last().unwrap()["kind"], "EnvoyExtensionPolicy", "it speaks to what is there by then");
    assert!(lost.iter().any(|line| line.contains("retriable-headers")), "{lost:?}");
}

/// Clusters, routes and the filter reach Envoy one after the other, so what is called the same has to be the same.
#[test]
fn a_name_means_the_same_in_every_version_of_the_rules() {
    let faster =
        "  - match: [{uri: {prefix: /fast}}]\n    timeout: 1s\n    route: [{destination: {host: shop, subset: v2}}]\n";
    let (before, _) = for_gateway(CONFIG, "https://example.com/filter.wasm");
    let (after, _) =
        for_gateway(&CONFIG.replace("  http:\n", &format!("  http:\n{faster}")), "https://example.com/filter.wasm");
    let name = |object: &Value| (object["kind"].clone(), object["metadata"]["name"].clone());
    for object in before.iter().filter(|object| object["kind"] != "EnvoyExtensionPolicy") {
        let again = after.iter().find(|other| name(other) == name(object));
        assert_eq!(again, Some(object), "{:?}", name(object));
    }
    assert_eq!(after.len(), before.len() + 2, "a decision, and its retries");
}

#[test]
fn what_nobody_keeps_is_not_looked_for() {
    let policy = |name: &str, spec: &str| {
        format!(
            "---\napiVersion: shunt.dev/v1alpha1\nkind: ShuntPolicy\nmetadata: {{name: {name}}}\nspec: {{{spec}}}\n"
        )
    };
    let both = policy("both", "targetRef: {name: shop}, propagate: {to: [shop]}, sticky: {httpHeaderName: x-user}");
    let text = format!("{CONFIG}{both}{}", policy("context", "propagate: {to: [shop]}"));
    let (objects, lost) = for_gateway(&text, "https://files.example.com/filter.wasm");
    let told: Vec<_> = lost.iter().filter(|line| line.contains("no propagate")).collect();
    assert_eq!(told.len(), 2, "{lost:?}");
    let rendered = Value::from(objects).to_string();
    assert!(!rendered.contains("propagate") && rendered.contains("x-user"), "{rendered}");
}

/// Envoy looks for the virtual host by the new authority, where the decision has to be as well.
#[test]
fn an_authority_that_is_written_is_a_host_of_the_decisions() {
    let rules = "  - match: [{uri: {prefix: /inner}}]\n    rewrite: {authority: 'inner.example.com:8080'}\n    route: [{destination: {host: shop, subset: v1}}]\n  - match: [{uri: {prefix: /set}}]\n    headers: {request: {set: {Host: Other.example.com}}}\n    route: [{destination: {host: shop, subset: v1}}]\n  - match: [{uri: {prefix: /address}}]\n    rewrite: {authority: 10.0.0.1}\n    route: [{destination: {host: shop, subset: v1}}]\n";
    let text = CONFIG.replace("  http:\n", &format!("  http:\n{rules}"));
    let (objects, lost) = for_gateway(&text, "https://example.com/filter.wasm");
    let routes = of_kind(&objects, "HTTPRoute");
    assert_eq!(routes[0]["spec"]["hostnames"], json!(["shop.example.com"]), "clients are asked for their own");
    for route in &routes[1..] {
        let hosts = json!(["shop.example.com", "inner.example.com", "other.example.com"]);
        assert_eq!(route["spec"]["hostnames"], hosts);
    }
    assert!(lost.iter().any(|line| line.contains("`10.0.0.1` are answered 404")), "{lost:?}");
    // A virtual host of its own would take it away from the wildcard's.
    let (objects, _) = for_gateway(&text.replace("[shop.example.com]", "['*.example.com']"), "https://example.com/f");
    assert_eq!(of_kind(&objects, "HTTPRoute")[1]["spec"]["hostnames"], json!(["*.example.com"]));
}

#[test]
fn a_subset_is_a_service_that_selects_fewer_pods() {
    let (objects, _) = for_gateway(CONFIG, "oci://registry.example.com/shunt:1");
    let services = of_kind(&objects, "Service");
    assert_eq!(services[0]["metadata"]["name"], "shop-v1");
    assert_eq!(
        services[0]["spec"],
        json!({"selector": {"app": "shop", "version": "v1"}, "ports": [{"name": "http", "port": 80, "targetPort": "web"}]})
    );
    assert_eq!(
        of_kind(&objects, "Backend")[0]["spec"]["endpoints"],
        json!([{"ip": {"address": "192.0.2.1", "port": 80}}])
    );
    let code = &of_kind(&objects, "EnvoyExtensionPolicy")[0]["spec"]["wasm"][0]["code"];
    assert_eq!(*code, json!({"type": "Image", "image": {"url": "registry.example.com/shunt:1"}}));
}

#[test]
fn every_route_has_a_name_of_its_own_and_what_leads_nowhere_is_told() {
    let mut text = CONFIG.replace("[{name: v1,", "[SUBSETS{name: v1,").replace("http:\n", "http:\nRULES");
    let (mut subsets, mut rules) = (String::new(), String::new());
    for number in 0..40 {
        subsets += &format!("{{name: s{number}, labels: {{s: s{number}}}}}, ");
        rules += &format!(
            "  - match: [{{uri: {{exact: /{number}}}}}]\n    route: [{{destination: {{host: shop, subset: s{number}}}}}]\n"
        );
    }
    rules += "  - match: [{uri: {exact: /none}}]\n    route: [{destination: {host: shop, subset: none}}]\n";
    text = text.replace("SUBSETS", &subsets).replace("RULES", &rules);
    let (objects, lost) = for_gateway(&text, "https://example.com/filter.wasm");
    let routes = of_kind(&objects, "HTTPRoute");
    assert!(routes.len() > 43, "{}", routes.len());
    let mut names: Vec<_> = routes.iter().map(|route| route["metadata"]["name"].as_str().unwrap()).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), routes.len(), "each has a name of its own");
    assert!(of_kind(&objects, "Service").iter().all(|service| service["metadata"]["labels"].is_null()));
    assert!(lost.iter().any(|line| line.contains("outbound|80|none|")), "{lost:?}");
}

#[test]
fn no_two_clusters_share_a_name_and_none_is_somebody_elses() {
    let entry = |name: &str, host: &str| {
        format!(
            "---\napiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {{name: {name}}}\nspec: {{hosts: ['{host}'], resolution: STATIC, ports: [{{number: 80, name: http, protocol: HTTP}}], endpoints: [{{address: 192.0.2.1}}]}}\n"
        )
    };
    let service = |name: &str| {
        format!(
            "---\napiVersion: v1\nkind: Service\nmetadata: {{name: {name}}}\nspec: {{selector: {{app: {name}}}, ports: [{{name: http, port: 80}}]}}\n"
        )
    };
    let more = ["api.v1.example.com", "api-v1.example.com"].map(|host| {
        format!("  - match: [{{uri: {{prefix: /{host}}}}}]\n    route: [{{destination: {{host: {host}}}}}]\n")
    });
    let text = CONFIG.replace("{name: v1, labels: {version: v1}}", "{name: v1, labels: {version: v1}}, {name: V2, labels: {version: V2}}, {name: V3, labels: {version: V3}}")
        .replace("  http:\n", &format!("  http:\n{}  - match: [{{uri: {{prefix: /V2}}}}]\n    route: [{{destination: {{host: shop, subset: V2}}, weight: 1}}, {{destination: {{host: shop, subset: V3}}, weight: 1}}]\n", more.concat()));
    let text =
        [text, entry("dots", "api.v1.example.com"), entry("dash", "api-v1.example.com"), service("shop-v1")].concat();
    let (objects, lost) = for_gateway(&text, "https://example.com/filter.wasm");
    assert!(!lost.iter().any(|line| line.contains("leads nowhere")), "{lost:?}");
    let names = |kind| {
        of_kind(&objects, kind).iter().map(|object| object["metadata"]["name"].as_str().unwrap()).collect::<Vec<_>>()
    };

    let backends = names("Backend");
    assert_eq!(backends.iter().filter(|name| name.starts_with("api-v1-example-com-80-")).count(), 2, "{backends:?}");
    assert!(backends.contains(&"partner-example-com-80"), "no checksum without need: {backends:?}");
    let services = names("Service");
    assert!(!services.contains(&"shop-v1"), "that one is the user's: {services:?}");
    assert_eq!(services.iter().filter(|name| name.starts_with("shop-v1-")).count(), 1, "{services:?}");
    assert_eq!(services.iter().filter(|name| name.starts_with("shop-v2-")).count(), 2, "v2 and V2: {services:?}");
    assert!(services.contains(&"shop-v3"), "in lower case: {services:?}");
    for name in backends.iter().chain(&services) {
        let is_letter = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        assert!(
            name.len() <= 63 && name.bytes().all(is_letter) && !name.starts_with('-') && !name.ends_with('-'),
            "{name}"
        );
    }
}
