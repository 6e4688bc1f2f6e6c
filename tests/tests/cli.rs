//! What the command says about bad input, and with which exit code it ends: 0 for success, 1 for findings and failures,
//! 2 for a call that cannot be understood.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "this is a test")]

use shunt_tests::process;
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use tempfile::TempDir;

const RULES: &str = "apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: reviews}
spec:
  hosts: [reviews.example.com]
  http:
  - match:
    - uri: {prefix: /a}
    route:
    - destination: {host: reviews.example.com, subset: v1, port: {number: 80}}
      weight: 1
    - destination: {host: reviews.example.com}
      weight: 1
";

const SERVICE: &str = "apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: reviews}
spec:
  hosts: [reviews.example.com]
  resolution: STATIC
  ports: [{number: 80, name: http, protocol: HTTP}]
  endpoints: [{address: 127.0.0.1, labels: {version: v1}}]
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: reviews}
spec:
  host: reviews.example.com
  subsets: [{name: v1, labels: {version: v1}}]
";

/// A folder with these rules and their service.
fn folder(rules: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("rules.yaml"), rules).unwrap();
    std::fs::write(folder.path().join("service.yaml"), SERVICE).unwrap();
    folder
}

/// Runs the command in a folder; the exit code, and what it said.
fn shunt(at: &Path, arguments: &str) -> (Option<i32>, String) {
    let shunt = process::shunt().unwrap_or_else(|error| panic!("{error}"));
    let output = Command::new(shunt).current_dir(at).args(arguments.split_whitespace()).output().expect("it runs");
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

const RENDER: &str = "render envoy --listen 127.0.0.1:15001 --admin 127.0.0.1:15000 -o out.json -f";

/// `parts` must be in what the command says.
fn check(at: &Path, arguments: &str, code: i32, parts: &[&str]) {
    let (status, said) = shunt(at, arguments);
    assert_eq!(status, Some(code), "shunt {arguments}\n{said}");
    for part in parts {
        assert!(said.contains(part), "shunt {arguments}\nsays\n{said}\nand not\n{part}");
    }
    assert!(!said.contains('\u{1b}'), "colour is for terminals: {said:?}");
    assert_eq!(
        at.join("out.json").exists(),
        code == 0 && arguments.contains("render"),
        "a file is written whole or not"
    );
}

/// The finding for rules in which `from` has become `to`.
fn check_rules(from: &str, to: &str, code: i32, parts: &[&str]) {
    assert!(RULES.contains(from), "{from}");
    let folder = folder(&RULES.replace(from, to));
    check(folder.path(), &format!("{RENDER} ."), code, parts);
}

#[test]
fn good_rules_pass_in_silence() {
    let folder = folder(RULES);
    let (status, said) = shunt(folder.path(), &format!("{RENDER} ."));
    assert_eq!(status, Some(0), "{said}");
    assert!(!said.contains("error") && !said.contains("warning"), "{said}");
}

#[test]
fn faults_have_file_line_column_and_field() {
    check_rules("prefix: /a}", "prefix: [}", 1, &["rules.yaml:8:", "error[syntax]"]);
    let unknown = ["rules.yaml:11:7: spec.http[0].route[0].wieght: error[unknown-field]", "did you mean `weight`?"];
    check_rules("80}}\n      weight: 1", "80}}\n      wieght: 1", 1, &unknown);
    check_rules("weight: 1", "weight: 0", 1, &["rules.yaml:9:5: spec.http[0].route: error[no-weight]"]);
    check_rules("{prefix: /a}", "{regex: '(a'}", 1, &["rules.yaml:8:7: spec.http[0].match[0].uri: error[bad-regex]"]);
}

#[test]
fn every_fault_is_told_at_once() {
    let rules = RULES.replace("weight: 1", "weight: 0").replace("{prefix: /a}", "{regex: '(a'}");
    let folder = folder(&rules);
    check(folder.path(), &format!("{RENDER} ."), 1, &["error[no-weight]", "error[bad-regex]"]);
}

#[test]
fn what_istiod_serves_as_503_is_a_warning() {
    let host = ["rules.yaml:10:21: spec.http[0].route[0].destination.host: warning[IST0101]"];
    check_rules("destination: {host: reviews.example.com,", "destination: {host: elsewhere.example.com,", 0, &host);
    check_rules(
        "number: 80",
        "number: 81",
        0,
        &["rules.yaml:10:", "spec.http[0].route[0].destination.port", "warning["],
    );
    check_rules(
        "subset: v1",
        "subset: v9",
        0,
        &["rules.yaml:10:", "spec.http[0].route[0].destination.subset", "warning["],
    );
}

#[test]
fn strict_refuses_warnings() {
    let folder = folder(&RULES.replace("subset: v1", "subset: v9"));
    check(folder.path(), &format!("{RENDER} . --strict"), 1, &["destination.subset"]);
}

#[test]
fn a_call_that_cannot_be_understood_ends_with_2() {
    let folder = folder(RULES);
    let at = folder.path();
    std::fs::create_dir(at.join("empty")).unwrap();
    std::fs::write(at.join("bad.wasm"), "x").unwrap();
    check(at, &format!("{RENDER} . --frobnicate"), 2, &["unexpected argument '--frobnicate'"]);
    check(at, &format!("{RENDER} nosuch.yaml"), 2, &["nosuch.yaml: No such file"]);
    check(at, &format!("{RENDER} empty"), 2, &["empty: no .yaml, .yml or .json file"]);
    check(at, &format!("{RENDER} . --module no.wasm"), 2, &["no.wasm", "--module"]);
    check(at, &format!("{RENDER} . --module bad.wasm"), 2, &["bad.wasm: not a wasm module"]);
    check(at, "render envoy -f .", 2, &["--listen"]);
    check(at, "proxy -f . --listen nowhere", 2, &["--listen"]);
    check(at, "nosuch", 2, &["nosuch"]);
}

const DYNAMIC: &str =
    "render envoy --listen 127.0.0.1:15001 --admin 127.0.0.1:15000 -f rules.yaml -f service.yaml --dynamic";

#[test]
fn nobody_elses_file_is_overwritten() {
    let folder = folder(RULES);
    let at = folder.path();
    std::fs::create_dir(at.join("envoy")).unwrap();
    for file in ["bootstrap.json", "clusters.json", "routes.json", "filter.json", "listeners.json"] {
        for text in [r#"{"resources":[{"name":"mine"}]}"#, "notes", ""] {
            std::fs::write(at.join("envoy").join(file), text).unwrap();
            let (code, said) = shunt(at, &format!("{DYNAMIC} envoy"));
            assert_eq!(code, Some(1), "{said}");
            assert!(
                said.contains(&format!("envoy/{file}: this was not written by")) && said.contains("move it away"),
                "{said}"
            );
            let files = std::fs::read_dir(at.join("envoy")).unwrap().count();
            assert_eq!(files, 1, "nothing is written");
        }
        std::fs::remove_file(at.join("envoy").join(file)).unwrap();
    }
    for _ in 0..2 {
        let (code, said) = shunt(at, &format!("{DYNAMIC} envoy"));
        assert_eq!(code, Some(0), "its own files are: {said}");
    }
    std::fs::write(at.join("envoy/routes.json"), r#"{"resources":[{"name":"mine"}]}"#).unwrap();
    assert_eq!(shunt(at, &format!("{DYNAMIC} envoy")).0, Some(1), "and not what took the place of one");
}

#[test]
fn a_folder_has_to_be_one_that_files_can_name() {
    use std::os::unix::ffi::OsStrExt;
    let folder = folder(RULES);
    let at = folder.path();
    for (name, part) in
        [("rules.yaml", "--dynamic rules.yaml: this is no directory"), ("-", "--dynamic -: these are several files")]
    {
        let (code, said) = shunt(at, &format!("{DYNAMIC} {name}"));
        assert!(code == Some(2) && said.contains(part), "{said}");
    }
    let name = std::ffi::OsStr::from_bytes(b"en\xffvoy");
    let mut command = Command::new(process::shunt().unwrap());
    let output = command.current_dir(at).args(DYNAMIC.split_whitespace()).arg(name).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(2) && said.contains("is not UTF-8"), "{said}");
    assert!(!at.join(name).exists());
}

#[test]
fn an_address_that_envoy_cannot_have_is_refused() {
    let folder = folder(RULES);
    for (listen, admin, part) in [
        ("127.0.0.1:0", "127.0.0.1:15000", "--listen 127.0.0.1:0: name a port"),
        ("127.0.0.1:15001", "127.0.0.1:0", "--admin 127.0.0.1:0: name a port"),
        ("127.0.0.1:15001", "127.0.0.1:15001", "are one port"),
        ("0.0.0.0:15001", "127.0.0.1:15001", "are one port"),
    ] {
        check(folder.path(), &format!("render envoy -f . --listen {listen} --admin {admin} -o out.json"), 2, &[part]);
    }
}

#[test]
fn a_port_that_is_taken_is_told() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let folder = folder(RULES);
    let says = format!("cannot listen on {address}: the port is in use");
    check(folder.path(), &format!("proxy -f . --listen {address}"), 1, &[&says]);
    check(folder.path(), &format!("proxy -f . --listen 127.0.0.1:0 --admin {address}"), 1, &[&says]);
}

#[test]
fn the_proxy_refuses_what_render_refuses() {
    let folder = folder(&RULES.replace("weight: 1", "weight: 0"));
    check(folder.path(), "proxy -f . --listen 127.0.0.1:0", 1, &["error[no-weight]"]);
}

/// What `kubectl get svc,endpointslices,pods -o yaml` prints, cut down.
#[test]
fn services_of_kubernetes_are_served() {
    let cluster = "apiVersion: v1
kind: List
items:
- apiVersion: v1
  kind: Service
  metadata: {name: reviews, namespace: default}
  spec: {clusterIP: 10.96.0.1, selector: {app: reviews}, ports: [{name: http, port: 80, protocol: TCP, targetPort: 8080}]}
  status: {loadBalancer: {}}
- apiVersion: discovery.k8s.io/v1
  kind: EndpointSlice
  metadata: {name: reviews-abc, namespace: default, labels: {kubernetes.io/service-name: reviews}}
  addressType: IPv4
  ports: [{name: http, port: 8080, protocol: TCP}]
  endpoints: [{addresses: [10.244.0.7], conditions: {ready: true}, targetRef: {kind: Pod, name: reviews-1, namespace: default}}]
- apiVersion: v1
  kind: Pod
  metadata: {name: reviews-1, namespace: default, labels: {app: reviews, version: v1}}
  spec: {containers: []}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: reviews}
spec: {host: reviews, subsets: [{name: v1, labels: {version: v1}}]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: reviews}
spec: {hosts: [reviews], http: [{route: [{destination: {host: reviews, subset: v1}}]}]}
";
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("cluster.yaml"), cluster).unwrap();
    check(folder.path(), &format!("{RENDER} cluster.yaml"), 0, &[]);
    let written = std::fs::read_to_string(folder.path().join("out.json")).unwrap();
    for part in ["outbound|80|v1|reviews.default.svc.cluster.local", "10.244.0.7", "8080"] {
        assert!(written.contains(part), "{part}");
    }
}

/// Without it the others would say something else, and nobody would know.
#[test]
fn a_manifest_that_cannot_be_read_is_not_left_out() {
    let folder = folder(RULES);
    let at = folder.path();
    std::os::unix::fs::symlink("nowhere", at.join("policy.yaml")).unwrap();
    let said = "./policy.yaml: the link leads nowhere";
    check(at, &format!("{RENDER} ."), 2, &[said]);
    check(at, "explain -f . http://reviews.example.com/a", 2, &[said]);
    check(at, "proxy --listen 127.0.0.1:15001 -f .", 2, &[said]);
    check(at, "diff rules.yaml .", 2, &[said]);
    // What editors leave is nobody's business.
    std::fs::rename(at.join("policy.yaml"), at.join(".#policy.yaml")).unwrap();
    check(at, &format!("{RENDER} ."), 0, &[]);
}

#[test]
fn strict_refuses_to_lose_what_others_cannot_say() {
    let policy = "---
apiVersion: shunt.dev/v1alpha1
kind: ShuntPolicy
metadata: {name: reviews}
spec:
  targetRef: {name: reviews}
  stable: {subset: v1}
  killSwitch: {on: true}
";
    let folder = folder(&format!("{RULES}{policy}"));
    let native = RENDER.replace("render envoy", "render envoy --native");
    let lost = "killSwitch: it is on, and the versions that get nothing by it get their share again";
    check(folder.path(), &format!("{native} . --strict"), 1, &[lost, "with --strict nothing may be lost"]);
    check(folder.path(), &format!("{native} ."), 0, &[lost]);
}

#[test]
fn diff_ends_with_0_unless_asked_and_finds_faults_of_both_sides() {
    let folder = folder(RULES);
    let at = folder.path();
    for (name, rules) in [
        ("old", RULES.to_owned()),
        ("new", RULES.replacen("weight: 1", "weight: 3", 1)),
        ("bad", RULES.replace("weight: 1", "weight: 0")),
        ("worse", RULES.replace("uri:", "ury:")),
    ] {
        std::fs::create_dir(at.join(name)).unwrap();
        // Of one version alone, the service and its subset would be one end.
        let service = SERVICE.replace("endpoints: [", "endpoints: [{address: 127.0.0.2, labels: {version: v2}}, ");
        std::fs::write(at.join(name).join("rules.yaml"), rules + "---\n" + &service).unwrap();
    }
    std::fs::write(at.join("requests.txt"), "{\"url\": \"http://reviews.example.com/a\"}\nno request\n").unwrap();
    check(at, "diff old new", 0, &[]);
    check(at, "diff --exit-code old new", 1, &[]);
    check(at, "diff --exit-code old old", 0, &[]);
    check(at, "diff old new -o told.json", 0, &["wrote told.json"]);
    let told = std::fs::read_to_string(at.join("told.json")).unwrap();
    assert!(told.contains("\"kind\": \"DiffReport\"") && told.contains("\"share\": 0.25"), "{told}");
    check(
        at,
        "diff bad worse",
        1,
        &["bad/rules.yaml:", "error[no-weight]", "worse/rules.yaml:", "error[unknown-field]"],
    );
    check(at, "diff old new --requests requests.txt", 1, &["requests.txt:2: ", "1 of 2 lines are no request"]);
    check(at, "diff old", 2, &["NEW"]);
    check(at, "diff old missing", 2, &["missing: "]);
    check(at, "diff - -", 2, &["standard input can be read once only"]);
    check(at, "diff old new --samples 0", 2, &["--samples"]);
    check(at, "diff old new -o yaml", 2, &["the formats here are text and json"]);
}
