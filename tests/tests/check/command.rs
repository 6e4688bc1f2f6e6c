//! The command: its forms of output, its exit codes, and what it leaves out when asked.

use serde_json::Value;
use shunt_tests::process;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use tempfile::TempDir;

const SERVICE: &str = "apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: reviews}
spec:
  hosts: [reviews]
  resolution: STATIC
  ports: [{number: 80, name: http, protocol: HTTP}]
  endpoints: [{address: 127.0.0.1, labels: {version: v1}}]
";

const RULES: &str = "apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: reviews, annotations: {}}
spec:
  hosts: [reviews]
  http:
  - match: [{uri: {prefix: /a}}]
    route: [{destination: {host: reviews}}]
  - match: [{uri: {prefix: /a/b}}]
    route: [{destination: {host: reviews}}]
";

fn folder(rules: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("rules.yaml"), rules).unwrap();
    fs::write(folder.path().join("service.yaml"), SERVICE).unwrap();
    folder
}

/// Exit code, what a program reads, and what a person is told.
fn shunt(at: &Path, arguments: &[&str]) -> (Option<i32>, String, String) {
    let command = process::shunt().unwrap_or_else(|error| panic!("{error}"));
    let output = Command::new(command).current_dir(at).arg("check").args(arguments).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

fn check(rules: &str, arguments: &[&str], code: i32, out: &[&str], said: &[&str]) {
    let folder = folder(rules);
    let arguments: Vec<&str> = ["-f", "."].iter().chain(arguments).copied().collect();
    let (status, stdout, stderr) = shunt(folder.path(), &arguments);
    assert_eq!(status, Some(code), "{arguments:?}\n{stdout}{stderr}");
    for part in out {
        assert!(stdout.contains(part), "{arguments:?}\n{stdout}\nlacks {part}");
    }
    assert_eq!(stdout.is_empty(), out.is_empty(), "{stdout}");
    for part in said {
        assert!(stderr.contains(part), "{arguments:?}\n{stderr}\nlacks {part}");
    }
    assert!(!stdout.contains('\u{1b}') && !stderr.contains('\u{1b}'), "colour is for terminals");
}

const UNREACHABLE: &str = "rules.yaml:9:5: spec.http[1]: warning[IST0130]: this rule is never used";

#[test]
fn thresholds_decide_what_is_shown_and_what_fails() {
    check(RULES, &[], 0, &[UNREACHABLE, "  help: "], &["1 warning in 2 objects of 2 files; 2 notes not shown"]);
    check(RULES, &["--strict"], 1, &[UNREACHABLE], &[]);
    check(RULES, &["--failure-threshold", "Warning"], 1, &[UNREACHABLE], &[]);
    check(RULES, &["--failure-threshold", "note", "--output-threshold", "error"], 1, &[], &["nothing found"]);
    check(
        RULES,
        &["--output-threshold", "info"],
        0,
        &[UNREACHABLE, "note[prefix-of-word]"],
        &["1 warning, 2 notes in"],
    );
    let fine = RULES.replace("/a/b", "/c").replace("/a", "/a/").replace("/c", "/c/");
    check(&fine, &["--failure-threshold", "note"], 0, &[], &["nothing found in 2 objects of 2 files"]);
    check(
        &RULES.replace("host: reviews}", "hots: reviews}"),
        &[],
        1,
        &["error[unknown-field]: unknown field `hots` [IST0106]"],
        &["4 errors"],
    );
}

#[test]
fn owners_can_suppress_what_they_know() {
    for suppressed in ["IST0130=VirtualService reviews.default", "IST0130=VirtualService *", "*=* reviews.*"] {
        check(RULES, &["-S", suppressed, "--strict"], 0, &[], &["nothing found", " suppressed"]);
    }
    check(RULES, &["-S", "IST0131=VirtualService reviews.default"], 0, &[UNREACHABLE], &[]);
    check(RULES, &["-S", "IST0130=VirtualService reviews.other"], 0, &[UNREACHABLE], &[]);
    for annotation in ["galley.istio.io/analyze-suppress: 'IST0001,IST0130'", "shunt.dev/check-suppress: '*'"] {
        let rules = RULES.replace("annotations: {}", &format!("annotations: {{{annotation}}}"));
        check(&rules, &["--strict"], 0, &[], &[" suppressed"]);
    }
    // Errors stay, by whatever name they are called.
    let rules = RULES
        .replace("annotations: {}", "annotations: {shunt.dev/check-suppress: 'IST0106'}")
        .replace("- match", "- mtach");
    check(&rules, &[], 1, &["error[unknown-field]"], &["; errors cannot be suppressed"]);
    check(&rules, &["-S", "*=*"], 1, &["error[unknown-field]"], &["; errors cannot be suppressed"]);
}

#[test]
fn a_suppression_that_can_leave_nothing_out_is_doubted() {
    check(
        RULES,
        &["-S", "IST9999=* *"],
        0,
        &[UNREACHABLE],
        &["warning: --suppress IST9999=* *: no finding has the code"],
    );
    check(RULES, &["-S", "IST0130=reviews"], 0, &[UNREACHABLE], &["no object is called `reviews`"]);
    check(RULES, &["-S", "IST0109=VirtualService *"], 0, &[UNREACHABLE], &["1 warning in"]);
}

#[test]
fn why_it_fails_is_said_where_nothing_is_shown() {
    let arguments = ["--strict", "--output-threshold", "error"];
    check(RULES, &arguments, 1, &[], &["nothing found", "it fails because of what is not shown: from warning on"]);
    let (_, _, said) = shunt(folder(RULES).path(), &["-f", ".", "--strict"]);
    assert!(!said.contains("not shown:"), "{said}");
}

#[test]
fn names_of_files_are_shown_and_not_obeyed() {
    let folder = folder(RULES);
    fs::rename(folder.path().join("rules.yaml"), folder.path().join("ru\u{1b}[31mles.YAML")).unwrap();
    let (status, stdout, _) = shunt(folder.path(), &["-f", "."]);
    assert_eq!(status, Some(0));
    assert!(stdout.contains(r"ru\u{1b}[31mles.YAML:9:5: spec.http[1]: warning[IST0130]"), "{stdout}");
}

#[test]
fn json_says_everything_once() {
    let folder = folder(RULES);
    let (status, stdout, _) = shunt(folder.path(), &["-f", "rules.yaml", "-f", "service.yaml", "-o", "json"]);
    let report: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!((status, &report["kind"]), (Some(0), &Value::from("CheckReport")));
    assert_eq!(report["summary"], serde_json::json!({"errors": 0, "warnings": 1, "notes": 2, "suppressed": 0}));
    let finding = &report["findings"][0];
    assert_eq!(finding["code"], "IST0130");
    assert_eq!((&finding["file"], &finding["line"], &finding["column"]), (&"rules.yaml".into(), &9.into(), &5.into()));
    assert_eq!(
        finding["object"],
        serde_json::json!({"kind": "VirtualService", "namespace": "default", "name": "reviews"})
    );
    assert_eq!(finding["path"], "spec.http[1]");
    assert!(finding["message"].is_string() && finding["help"].is_string());
}

/// The fields that SARIF 2.1.0 requires, and the types of those used.
#[test]
fn sarif_is_well_formed() {
    let folder = folder(RULES);
    let (_, _, said) = shunt(folder.path(), &["-f", ".", "-o", "out.sarif", "--output-threshold", "note"]);
    assert!(said.contains("wrote out.sarif"), "{said}");
    let log: Value = serde_json::from_slice(&fs::read(folder.path().join("out.sarif")).unwrap()).unwrap();
    assert_eq!(log["version"], "2.1.0");
    let run = &log["runs"][0];
    let rules = run["tool"]["driver"]["rules"].as_array().unwrap();
    let results = run["results"].as_array().unwrap();
    assert_eq!(results.len(), 3);
    for result in results {
        let rule = &rules[usize::try_from(result["ruleIndex"].as_u64().unwrap()).unwrap()];
        assert_eq!(rule["id"], result["ruleId"]);
        assert!(rule["shortDescription"]["text"].is_string(), "{rule}");
        assert!(["note", "warning", "error"].contains(&result["level"].as_str().unwrap()));
        assert!(result["message"]["text"].is_string());
        let place = &result["locations"][0]["physicalLocation"];
        assert_eq!(place["artifactLocation"]["uri"], "rules.yaml");
        assert!(place["region"]["startLine"].as_u64().unwrap() > 0);
    }
}

#[test]
fn files_that_cannot_be_read_leave_the_others_checked() {
    let folder = folder(RULES);
    let at = folder.path();
    std::os::unix::fs::symlink("nowhere.yaml", at.join("link.yaml")).unwrap();
    let huge = fs::File::create(at.join("huge.yaml")).unwrap();
    huge.set_len(65 << 20).unwrap();
    fs::write(at.join("binary.yaml"), [0x7f, b'E', b'L', b'F', 2, 0, 0, b'x', b'x', b'x', b'x', b'x']).unwrap();
    let (status, stdout, stderr) = shunt(at, &["-f", "."]);
    assert_eq!(status, Some(1), "{stdout}{stderr}");
    for part in [
        "link.yaml:1:1: error[unreadable]: cannot be read: the link leads nowhere",
        "huge.yaml:1:1: error[unreadable]: cannot be read: 68157440 bytes; a manifest has at most 67108864",
        "binary.yaml:1:6: error[syntax]: this is no text",
        UNREACHABLE,
    ] {
        assert!(stdout.contains(part), "{stdout}\nlacks {part}");
    }
}

#[test]
fn standard_input_is_read_as_well() {
    let command = process::shunt().unwrap_or_else(|error| panic!("{error}"));
    let mut child = Command::new(command)
        .args(["check", "-f", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(format!("{RULES}---\n{SERVICE}").as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && said.contains("<stdin>:9:5: spec.http[1]: warning[IST0130]"), "{said}");
}

#[test]
fn a_chain_says_how_retries_multiply() {
    let retries =
        "    retries: {attempts: 3, retryOn: '5xx', perTryTimeout: 1s}\n    route: [{destination: {host: reviews}}]\n";
    let rules = RULES.replace("/a/b", "/c/").replace("    route: [{destination: {host: reviews}}]\n", retries);
    let other = format!("{rules}---\n{}", rules.replace("reviews", "ratings"));
    let others = format!("{other}---\n{}", SERVICE.replace("reviews", "ratings"));
    check(
        &others,
        &["--chain", "reviews,ratings"],
        0,
        &["warning[retries-multiply]: one request can become 16 at"],
        &[],
    );
    check(
        &others,
        &["--chain", "reviews.default,ratings.default.svc"],
        0,
        &["warning[retries-multiply]: one request can become 16 at `ratings.default.svc.cluster.local`"],
        &[],
    );
    check(&others, &["--chain", "reviews,ratngs"], 2, &[], &["knows the host `ratngs.default.svc.cluster.local`"]);
    check(&others, &[], 0, &[], &["not shown"]);
    check(
        &others,
        &["--output-threshold", "note"],
        0,
        &["note[retries-multiply]: if these hosts call each other, one request can become 16"],
        &[],
    );
}

#[test]
fn a_call_that_cannot_be_understood_ends_with_2() {
    let folder = folder(RULES);
    for arguments in [
        &["-f", "nosuch.yaml"][..],
        &["-f", ".", "-S", "IST0130"],
        &["-f", ".", "--chain", "a"],
        &["-f", ".", "-o", "yaml"],
        &["-f", ".", "--failure-threshold", "fatal"],
        &[],
    ] {
        let (status, stdout, stderr) = shunt(folder.path(), arguments);
        assert_eq!(status, Some(2), "{arguments:?}\n{stdout}{stderr}");
    }
}
