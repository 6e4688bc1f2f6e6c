//! `shunt render envoyfilter`, `wasmplugin`, `trafficextension`, `envoyextensionpolicy` and `wasm` on the command line.
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
    assert_eq!(kinds, ["HTTPRoute", "HTTPRoute", "BackendTrafficPolicy", "EnvoyExtensionPolicy"]);
    assert_eq!(objects[1]["spec"]["hostnames"][0], "www.example.com");
    assert!(stderr.contains("EnvoyExtensionPolicy alone cannot route"), "{stderr}");

    let faults = SERVICE.replace("[{route", "[{fault: {abort: {httpStatus: 503, percentage: {value: 1}}}, route");
    let (code, _, stderr) = run(&options, &faults);
    assert!(code == Some(1) && stderr.contains("VirtualService default/edge: spec.http[0].fault"), "{stderr}");
}

const FILE: [&str; 3] = ["envoyfilter", "--wasm-file", "/etc/filter.wasm"];

#[test]
fn a_listener_has_one_filter() {
    let of_gateway = |ports: &[&str], text: &str| {
        run(
            &[
                &FILE[..],
                &["--gateway", "default/edge"],
                &ports.iter().flat_map(|port| ["--port", port]).collect::<Vec<_>>(),
            ]
            .concat(),
            text,
        )
    };
    let (code, stdout, stderr) = of_gateway(&["80", "80", "80:8080"], SERVICE);
    assert_eq!(code, Some(0), "{stderr}");
    let patches = objects(&stdout)[0]["spec"]["configPatches"].as_array().unwrap().clone();
    assert_eq!(patches.iter().filter(|patch| patch["applyTo"] == "HTTP_FILTER").count(), 1, "one port, said thrice");

    let both =
        SERVICE.replace("servers: [", "servers: [{port: {number: 8080, name: more, protocol: HTTP}, hosts: ['*']}, ");
    for (ports, text) in [(&["80", "8080"][..], SERVICE), (&[], &both)] {
        let (code, stdout, stderr) = of_gateway(ports, text);
        assert!(code == Some(1) && stdout.is_empty(), "{ports:?}: {stderr}");
        assert!(stderr.contains("both on listener 8080") && stderr.contains("--port PORT:LISTENER"), "{stderr}");
    }
}

#[test]
fn a_gateways_own_labels_count_and_what_is_said_fits_every_command() {
    let rules = SERVICE.replace("[{route", "[{match: [{sourceLabels: {istio: edge}}], route");
    let (code, stdout, stderr) = run(&[&FILE[..], &["--gateway", "default/edge"]].concat(), &rules);
    assert!(code == Some(0) && !stderr.contains("no-labels"), "{stderr}");
    assert!(stdout.contains(r#""labels":{"istio":"edge"}"#), "{stdout}");
    let (_, stdout, _) = run(&[&FILE[..], &["--gateway", "default/edge", "-l", "tier=front"]].concat(), &rules);
    assert!(stdout.contains(r#""labels":{"istio":"edge","tier":"front"}"#), "{stdout}");

    let of_mesh = rules.replace("[www.example.com], gateways: [edge]", "[edge]");
    let (_, _, stderr) = run(&[&FILE[..], &["--port", "80"]].concat(), &of_mesh);
    assert!(stderr.contains("no-labels") && !stderr.contains("--labels"), "{stderr}");
}

#[test]
fn a_finding_about_several_listeners_is_told_once() {
    let two = SERVICE
        .replace("targetPort: 8080}", "targetPort: 8080}, {name: more, port: 81}")
        .replace("[www.example.com], gateways: [edge]", "[edge]");
    let (code, _, stderr) = run(&[&FILE[..], &["--port", "80", "--port", "81"]].concat(), &two);
    assert_eq!(code, Some(0), "{stderr}");
    assert_eq!(stderr.matches("IST0112").count(), 1, "{stderr}");
}

#[test]
fn names_that_kubernetes_refuses_are_refused() {
    let gateway = ["--gateway", "default/edge"];
    for (options, part) in [
        (&["--name", "Foo_Bar!"][..], "lower-case letters"),
        (&["-n", "Ba d"], "lower-case letters"),
        (&["-l", "a b=c"], "`a b=c` is no label"),
        (&["--target-ref", "Deployment/foo"], "Gateway, GatewayClass, Service, ServiceEntry"),
    ] {
        let (code, _, stderr) = run(&[&FILE[..], &gateway, options].concat(), SERVICE);
        assert!(code == Some(2) && stderr.contains(part), "{options:?}: {stderr}");
    }
    for word in ["envoyfilter", "wasmplugin", "trafficextension"] {
        let (code, _, stderr) = run(&[&[word, "--wasm-file", "filter.wasm"][..], &gateway].concat(), SERVICE);
        assert!(code == Some(2) && stderr.contains("from the root on"), "{stderr}");
        let (code, _, stderr) = run(&[&[word][..], &gateway].concat(), SERVICE);
        assert!(code == Some(2) && stderr.contains("--wasm-file <FILE>|--wasm-url <URL>"), "{stderr}");
    }
}

#[test]
fn a_manifest_that_is_too_large_is_told() {
    let route = |number: usize| {
        format!(
            "{{match: [{{uri: {{exact: /{number}/{}}}}}], route: [{{destination: {{host: edge}}}}]}}, ",
            "a".repeat(900)
        )
    };
    let large =
        |routes: usize| SERVICE.replace("http: [", &format!("http: [{}", (0..routes).map(route).collect::<String>()));
    for (routes, part) in [(300, "--server-side"), (1600, "--port")] {
        let (code, _, stderr) = run(&[&FILE[..], &["--gateway", "default/edge"]].concat(), &large(routes));
        assert!(code == Some(0) && stderr.contains("EnvoyFilter shunt: ") && stderr.contains(part), "{stderr}");
    }
}

#[test]
fn the_filter_is_written_with_its_sum() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("filter.wasm");
    let output = Command::new(process::shunt().unwrap()).args(["render", "wasm", "-o"]).arg(&file).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(std::fs::read(&file).unwrap().starts_with(b"\0asm"));
    let said = String::from_utf8(output.stdout).unwrap();
    let (sum, name) = said.trim_end().split_once("  ").unwrap();
    assert_eq!(name, file.to_str().unwrap());
    let (_, pinned, _) =
        run(&["envoyfilter", "--gateway", "default/edge", "--wasm-url", "https://example.com/f"], SERVICE);
    assert!(pinned.contains(sum), "the sum that a manifest pins is {sum}");
}
