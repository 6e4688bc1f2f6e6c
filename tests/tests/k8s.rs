//! `envoy/k8s` is what `shunt render envoyfilter` prints, and what kustomize takes. `UPDATE_GOLDEN=1` writes it anew.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "this is a test")]

use serde::Deserialize;
use serde_json::Value;
use shunt_tests::process;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What `image/image.yaml` holds until its user says it.
const URL: &str = "oci://registry.example.com/shunt/traffic-filter:1";
const NO_SHA256: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// The steps for the callers of `sa-logic`, each with rules of its own.
const STEPS: [&str; 4] = ["dark-launch", "canary-20", "canary-50", "all-v2"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn overlay(name: &str) -> PathBuf {
    root().join("envoy/k8s/overlays").join(name)
}

/// The manifest that belongs into an overlay.
fn printed(name: &str) -> String {
    let rules = format!("envoy/k8s/overlays/{name}/rules.yaml");
    let arguments = match name {
        "gateway" => {
            vec![
                "--gateway",
                "default/http-gateway",
                "-n",
                "istio-system",
                "--port",
                "80:8080",
                "--name",
                "shunt-gateway",
            ]
        }
        _ => vec!["-f", &rules, "-l", "app=sa-web-app"],
    };
    let output = Command::new(process::shunt().unwrap_or_else(|error| panic!("{error}")))
        .args(["render", "envoyfilter", "--wasm-url", &format!("{URL}@sha256:{NO_SHA256}")])
        .args(["-f", "examples/sentiment/services.yaml"])
        .args(arguments)
        .current_dir(root())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    // The component tells address and sum apart.
    text.replace(&format!("@sha256:{NO_SHA256}"), "")
}

fn documents(text: &str) -> Vec<Value> {
    serde_yaml_ng::Deserializer::from_str(text).map(|document| Value::deserialize(document).unwrap()).collect()
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn each_overlay_holds_what_the_command_prints() {
    for name in STEPS.into_iter().chain(["gateway"]) {
        let (held, printed) = (overlay(name).join("envoyfilter.yaml"), printed(name));
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(&held, &printed).unwrap();
        }
        assert!(read(&held) == printed, "{}: UPDATE_GOLDEN=1 writes it anew", held.display());
    }
    let [off, on] =
        ["off", "canary-20"].map(|name| documents(&read(&overlay(name).join("envoyfilter.yaml"))).remove(0));
    assert_eq!(off["metadata"], on["metadata"], "it takes the place of the others");
    assert_eq!(off["spec"], serde_json::json!({ "configPatches": [] }));
}

#[test]
fn each_kustomization_leads_to_files_that_are_there_and_leaves_none_out() {
    let folders = ["base", "image"].map(|name| root().join("envoy/k8s").join(name));
    let overlays: Vec<PathBuf> =
        std::fs::read_dir(root().join("envoy/k8s/overlays")).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(overlays.len(), STEPS.len() + 2, "a new overlay belongs into this test");
    for folder in folders.into_iter().chain(overlays) {
        let kustomization = documents(&read(&folder.join("kustomization.yaml"))).remove(0);
        let list = |field: &str| kustomization[field].as_array().cloned().unwrap_or_default();
        let named: Vec<Value> = [list("resources"), list("components")].concat();
        for path in named.iter().map(|path| folder.join(path.as_str().unwrap())) {
            let is_there = path.is_file() || path.join("kustomization.yaml").is_file();
            assert!(is_there, "{}: no {}", folder.display(), path.display());
        }
        for entry in std::fs::read_dir(&folder).unwrap() {
            let file = entry.unwrap().file_name().into_string().unwrap();
            let is_ours = ["kustomization.yaml", "rules.yaml"].contains(&file.as_str());
            assert!(is_ours || named.contains(&Value::from(file.as_str())), "{}: {file} is not used", folder.display());
        }
    }
}

#[test]
fn kustomize_writes_address_and_sum_into_every_filter() {
    let found =
        [("kubectl", &["kustomize"][..]), ("kustomize", &["build"])].into_iter().find(|(program, arguments)| {
            Command::new(program).args(*arguments).arg("--help").output().is_ok_and(|output| output.status.success())
        });
    let Some((program, arguments)) = found else {
        return process::skipped("kustomize on envoy/k8s", "neither kubectl nor kustomize is here");
    };
    let copy = tempfile::tempdir().unwrap();
    let copied = Command::new("cp").arg("-r").arg(root().join("envoy/k8s")).arg(copy.path()).status().unwrap();
    assert!(copied.success());
    let image = copy.path().join("k8s/image/image.yaml");
    let (url, sum) = ("oci://mine.example.com/filter:2", "ab".repeat(32));
    std::fs::write(&image, read(&image).replace(URL, url).replace(NO_SHA256, &sum)).unwrap();
    for name in STEPS.into_iter().chain(["gateway", "off"]) {
        let output =
            Command::new(program).args(arguments).arg(copy.path().join("k8s/overlays").join(name)).output().unwrap();
        assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
        let built = documents(&String::from_utf8(output.stdout).unwrap());
        let mut expected =
            documents(&read(&overlay(name).join("envoyfilter.yaml")).replace(URL, url).replace(NO_SHA256, &sum));
        if name != "gateway" {
            expected.insert(0, documents(&read(&root().join("envoy/k8s/base/subsets.yaml"))).remove(0));
        }
        assert_eq!(built, expected, "{name}");
    }
}
