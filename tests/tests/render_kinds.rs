//! `shunt render wasmplugin`, `trafficextension` and `envoyextensionpolicy` on the command line.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "this is a test")]

use serde::Deserialize;
use serde_json::Value;
use shunt_tests::process;
use std::process::Command;
use tempfile::TempDir;

const SERVICE: &str = "apiVersion: v1
kind: Service
metadata: {name: edge}
spec: {selector: {istio: edge}, ports: [{name: http, port: 80, targetPort: 8080}]}
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: edge}
spec: {selector: {istio: edge}, servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: ['*']}]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: edge}
spec: {hosts: [www.example.com], gateways: [edge], http: [{route: [{destination: {host: edge}}]}]}
";

/// Exit code, stdout and stderr.
fn run(arguments: &[&str], text: &str) -> (Option<i32>, String, String) {
    let folder = TempDir::new().unwrap();
    std::fs::write(folder.path().join("rules.yaml"), text).unwrap();
    let mut command = Command::new(process::shunt().unwrap());
    let output = command.arg("render").args(arguments).arg("-f").arg(folder.path()).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

fn objects(text: &str) -> Vec<Value> {
    serde_yaml_ng::Deserializer::from_str(text).map(|document| Value::deserialize(document).unwrap()).collect()
}

const SUM: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

#[test]
fn each_kind_comes_with_its_companion_and_says_so() {
    for (word, kind) in [("wasmplugin", "WasmPlugin"), ("trafficextension", "TrafficExtension")] {
        let options = [word, "--gateway", "default/edge", "--wasm-file", "/etc/filter.wasm"];
        let (code, stdout, stderr) = run(&options, SERVICE);
        assert_eq!(code, Some(0), "{stderr}");
        let objects = objects(&stdout);
        let kinds: Vec<_> = objects.iter().map(|object| object["kind"].as_str().unwrap()).collect();
        assert_eq!(kinds, ["EnvoyFilter", kind]);
        assert_eq!(objects[1]["spec"]["match"][0]["ports"][0]["number"], 8080, "the port that the Service maps to");
        for said in [&stderr, &stdout] {
            assert!(said.contains(&format!("{kind} alone cannot route")), "{said}");
        }
        let (_, json, _) = run(&[&options[..], &["-o", "json"]].concat(), SERVICE);
        let list: Value = serde_json::from_str(&json).unwrap();
        assert_eq!((&list["kind"], &list["items"]), (&"List".into(), &Value::Array(objects)));
    }
}

#[test]
fn an_image_is_pinned_by_its_own_sum_or_not_at_all() {
    let render = |word: &str, url: &str| run(&[word, "--gateway", "default/edge", "--wasm-url", url], SERVICE);
    let (_, plain, said) = render("envoyfilter", "oci://example.com/filter:1");
    assert!(plain.contains("sha256: nil") && said.contains("not pinned"), "{said}");
    let pinned = format!("oci://example.com/filter@sha256:{SUM}");
    let (_, stdout, said) = render("wasmplugin", &pinned);
    assert_eq!(objects(&stdout)[1]["spec"]["sha256"], SUM);
    assert!(!said.contains("not pinned"), "{said}");
    let (_, stdout, _) = render("wasmplugin", "https://example.com/filter.wasm");
    assert_eq!(objects(&stdout)[1]["spec"]["sha256"].as_str().map(str::len), Some(64));
    for url in ["file:///filter.wasm", "oci://example.com/filter@sha256:abc", "oci://example.com/filter@md5:abc"] {
        let (code, _, stderr) = render("wasmplugin", url);
        assert!(code == Some(2) && stderr.contains("--wasm-url"), "{url}: {stderr}");
    }
}

#[test]
fn envoy_gateway_gets_routes_and_refuses_faults() {
    let options = ["envoyextensionpolicy", "--target-ref", "Gateway/eg", "--wasm-url", "https://example.com/f.wasm"];
    let (code, stdout, stderr) = run(&options, SERVICE);
    assert_eq!(code, Some(0), "{stderr}");
    let objects = objects(&stdout);
    let kinds: Vec<_> = objects.iter().map(|object| object["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["EnvoyExtensionPolicy", "HTTPRoute", "HTTPRoute", "BackendTrafficPolicy"]);
    assert_eq!(objects[2]["spec"]["hostnames"][0], "www.example.com");
    assert!(stderr.contains("EnvoyExtensionPolicy alone cannot route"), "{stderr}");

    let faults = SERVICE.replace("[{route", "[{fault: {abort: {httpStatus: 503, percentage: {value: 1}}}, route");
    let (code, _, stderr) = run(&options, &faults);
    assert!(code == Some(1) && stderr.contains("VirtualService default/edge: spec.http[0].fault"), "{stderr}");
}
