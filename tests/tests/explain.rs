//! `shunt explain` as people call it: the forms in which it takes a request, and what it says of shares, keys, hosts and
//! findings. What an answer says of the rules is held by the corpus.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "this is a test")]

use serde_json::Value;
use shunt_tests::process;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use tempfile::TempDir;

const RULES: &str = "apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: reviews}
spec:
  hosts: [reviews.example.com]
  http:
  - match: [{uri: {exact: /Exact}, ignoreUriCase: true, method: {exact: PUT}}]
    directResponse: {status: 204}
  - match: [{uri: {prefix: /faulty}}]
    fault: {abort: {percentage: {value: 5}, httpStatus: 503}}
    mirror: {host: reviews.example.com, subset: v2}
    route:
    - destination: {host: reviews.example.com, subset: v1}
      weight: 90
    - destination: {host: reviews.example.com, subset: v2}
      weight: 10
  - match: [{uri: {prefix: /gone}}]
    fault: {abort: {percentage: {value: 100}, httpStatus: 503}}
    route: [{destination: {host: reviews.example.com, subset: v1}}]
  - match: [{uri: {prefix: /rare}}]
    route:
    - destination: {host: reviews.example.com, subset: v1}
      weight: 9999999
    - destination: {host: reviews.example.com, subset: v2}
      weight: 1
  - route: [{destination: {host: reviews.example.com, subset: v2}}]
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: reviews}
spec:
  hosts: [reviews.example.com]
  resolution: STATIC
  ports: [{number: 80, name: http, protocol: HTTP}]
  endpoints: [{address: 127.0.0.1, labels: {version: v1}}, {address: 127.0.0.2, labels: {version: v2}}]
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: reviews}
spec:
  host: reviews.example.com
  subsets:
  - {name: v1, labels: {version: v1}}
  - name: v2
    labels: {version: v2}
    trafficPolicy: {loadBalancer: {consistentHash: {httpHeaderName: user}}}
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: billing, namespace: pay}
spec:
  hosts: [billing.pay.svc.cluster.local]
  resolution: STATIC
  ports: [{number: 80, name: http, protocol: HTTP}]
  endpoints: [{address: 127.0.0.1}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: edge, namespace: pay}
spec:
  hosts: [billing]
  gateways: [nowhere]
  http: [{route: [{destination: {host: missing}}]}]
";

struct Told {
    code: Option<i32>,
    out: String,
    err: String,
}

fn folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("rules.yaml"), RULES).unwrap();
    folder
}

fn explain(at: &Path, arguments: &[&str], stdin: &str) -> Told {
    let shunt = process::shunt().unwrap_or_else(|error| panic!("{error}"));
    let mut command = Command::new(shunt);
    // The cache of a user who has none yet, shared by the tests so that the filter is compiled once.
    let cache = Path::new(env!("CARGO_TARGET_TMPDIR")).join("cache");
    command.current_dir(at).arg("explain").args(arguments).env("XDG_CACHE_HOME", cache);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("it runs");
    child.stdin.take().unwrap().write_all(stdin.as_bytes()).unwrap_or_default();
    let output = child.wait_with_output().expect("it ends");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Told { code: output.status.code(), out: text(&output.stdout), err: text(&output.stderr) }
}

/// What one request is answered, as text and as JSON.
fn one(words: &[&str]) -> (String, Value, String) {
    let folder = folder();
    let text = explain(folder.path(), &[&["-f", "rules.yaml"], words].concat(), "");
    assert_eq!(text.code, Some(0), "{words:?}\n{}", text.err);
    let json = explain(folder.path(), &[&["-f", "rules.yaml", "-o", "json"], words].concat(), "");
    (text.out, serde_json::from_str(&json.out).unwrap_or_else(|error| panic!("{error}\n{}", json.out)), text.err)
}

/// All parts stand in the text.
fn check(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "not in it: {part}\n{text}");
    }
}

/// What the call is refused with: exit code 2, and a reason.
fn refused(arguments: &[&str], parts: &[&str]) {
    let folder = folder();
    let told = explain(folder.path(), arguments, "");
    assert_eq!(told.code, Some(2), "{arguments:?}\n{}", told.err);
    check(&told.err, parts);
}

#[test]
fn an_abort_leaves_the_rest() {
    let (text, json, _) = one(&["http://reviews.example.com/faulty"]);
    check(
        &text,
        &[
            "abort       5 % are answered 503",
            "goes to       85.5 %  outbound|80|v1|",
            "goes to        9.5 %",
            "copied to       95 %",
        ],
    );
    let shares: Vec<_> =
        json["destinations"].as_array().unwrap().iter().map(|to| to["probability"].as_f64().unwrap()).collect();
    assert!((shares[0] - 0.855).abs() < 1e-9 && (shares[1] - 0.095).abs() < 1e-9, "{shares:?}");
    assert!((json["mirrors"][0].as_f64().unwrap() - 0.95).abs() < 1e-9, "{json}");
    let (text, json, _) = one(&["http://reviews.example.com/gone"]);
    check(&text, &["abort       100 % are answered 503", "goes to          0 %"]);
    assert_eq!(json["destinations"][0]["probability"], 0.0);
}

#[test]
fn a_share_that_is_small_is_not_nothing() {
    let (text, ..) = one(&["http://reviews.example.com/rare"]);
    check(&text, &["99.99999 %", "0.00001 %"]);
}

#[test]
fn a_hash_key_is_said() {
    let (text, json, err) = one(&["http://reviews.example.com/"]);
    check(&text, &["hash key    header `user`\n"]);
    assert_eq!(json["hashKeys"], serde_json::json!([{"by": "header", "name": "user"}]));
    assert_eq!(json["clusters"]["outbound|80|v2|reviews.example.com"]["loadBalancer"], "RING_HASH");
    check(&err, &["elsewhere: shunt check"]);
    assert!(!err.contains("missing"), "{err}");
    let (text, ..) = one(&["http://reviews.example.com/gone"]);
    assert!(!text.contains("hash key"), "{text}");
}

#[test]
fn a_host_without_rules_names_those_that_are_not_asked() {
    let (text, json, err) = one(&["http://billing/"]);
    check(
        &text,
        &[
            "not asked   pay/edge, which names billing: bound to gateway nowhere only",
            "known is    billing.pay, or ask with -n pay",
        ],
    );
    assert_eq!(json["elsewhere"][0]["why"], "gateways");
    assert_eq!(json["nearHosts"][0]["host"], "billing.pay");
    check(&err, &["missing"]);
    let (text, ..) = one(&["http://reviews.exampel.com/"]);
    check(&text, &["known is    reviews.example.com"]);
    let (_, json, _) = one(&["http://billing.pay/"]);
    assert_eq!((&json["rule"]["http"], &json["elsewhere"][0]["owner"]), (&Value::Null, &"pay/edge".into()));
}

#[test]
fn what_was_wanted_says_whether_case_counts() {
    let (text, json, _) = one(&["http://reviews.example.com/other"]);
    check(&text, &["uri is \"/other\", wanted exact \"/Exact\" in any case of letters"]);
    let tried = &json["tried"][0];
    assert_eq!((&tried["wanted"]["exact"], &tried["ignoresCase"]), (&"/Exact".into(), &true.into()));
    assert_eq!(tried["place"], "rules.yaml:7");
}

#[test]
fn what_is_refused_before_the_rules_is_named() {
    let (text, json, _) = one(&["GET", "http://reviews.example.com/a b"]);
    check(&text, &["400: refused before any rule is asked: a blank at character 3 of the path"]);
    assert_eq!(json["why"], "a blank at character 3 of the path");
}

#[test]
fn control_characters_stay_in_the_answer() {
    let long = format!("x: {}\u{1b}[2J", "a".repeat(300));
    let rules = RULES.replace("method: {exact: PUT}", "headers: {x: {exact: b}}").replace("exact: /Exact", "prefix: /");
    let folder = folder();
    std::fs::write(folder.path().join("rules.yaml"), rules).unwrap();
    let words = ["-f", "rules.yaml", "http://reviews.example.com/", "-H", long.as_str(), "-H", "x: \u{1b}]0;t\u{7}"];
    let told = explain(folder.path(), &words, "");
    check(&told.out, &["(104 characters more)", "\\u{1b}]0;t\\u{7}"]);
    assert!(!told.out.contains('\u{1b}'), "{:?}", told.out);
}

#[test]
fn the_call_may_be_a_curl_command_of_any_kind() {
    for words in [
        &["curl", "http://reviews.example.com/", "-s"][..],
        &["--", "curl", "-sXPOST", "http://reviews.example.com/"],
        &["/usr/bin/curl", "-o", "/dev/null", "http://reviews.example.com/", "-m", "3"],
    ] {
        let (text, ..) = one(words);
        check(&text, &["goes to        100 %  outbound|80|v2|"]);
    }
}

#[test]
fn a_call_that_cannot_be_understood_says_what_to_write() {
    let better = ["unexpected argument '-X'", "write METHOD URL", "curl command behind --"];
    refused(&["-f", "rules.yaml", "-X", "POST", "http://a/"], &better);
    refused(&["-f", "rules.yaml", "GET"], &["`GET` is a method: the URL is missing"]);
    refused(&["-f", "rules.yaml", "G T", "http://a"], &["`G T` is no method"]);
    refused(
        &["-f", "rules.yaml", "--", "curl", "--frobnicate", "x", "http://a"],
        &["`--frobnicate` is no option of curl"],
    );
    refused(&["-f", "-", "--requests", "-"], &["standard input can be read once only"]);
    refused(&["-f", "rules.yaml"], &["name a request"]);
}

#[test]
fn a_spoilt_cache_is_as_none() {
    let folder = folder();
    let at = folder.path();
    let shunt = process::shunt().unwrap_or_else(|error| panic!("{error}"));
    let ask = || {
        let mut command = Command::new(&shunt);
        command.current_dir(at).env("XDG_CACHE_HOME", at.join("cache"));
        let output = command.args(["explain", "-f", "rules.yaml", "http://reviews.example.com/rare"]).output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let first = ask();
    let files: Vec<_> = std::fs::read_dir(at.join("cache/shunt")).unwrap().map(|entry| entry.unwrap().path()).collect();
    let [file] = &files[..] else { panic!("{files:?}") };
    assert_eq!(ask(), first);
    std::fs::write(file, "spoilt").unwrap();
    assert_eq!(ask(), first);
    assert!(std::fs::metadata(file).unwrap().len() > 1 << 20, "it is written anew");
    check(&first.1, &["goes to"]);
}

#[test]
fn files_are_read_line_by_line_and_refused_as_a_whole() {
    let folder = folder();
    let at = folder.path();
    let requests = "\u{feff}GET http://reviews.example.com/ -H 'user: ann'\n\
        curl \\\n  -sX POST \\\n  http://reviews.example.com/\n\
        odd \u{1b}[1m\n{\"url\": \"http://reviews.example.com/\", \"method\": \"G T\"}\n";
    let told = explain(at, &["-f", "rules.yaml", "--requests", "-"], requests);
    assert_eq!(told.code, Some(1), "{}", told.err);
    let lines: Vec<Value> = told.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((&lines[0]["request"]["method"], &lines[1]["request"]["method"]), (&"GET".into(), &"POST".into()));
    assert_eq!((&lines[2]["line"], &lines[3]["line"]), (&5.into(), &6.into()));
    check(&told.err, &["-:6: `G T` is no method", "2 of 4 lines are no request"]);
    let told = explain(at, &["-f", "rules.yaml", "--requests", "-", "-o", "text"], requests);
    check(&told.out, &["line 5 is no request: not a request", "takes it"]);
    let pretty = "{\n  \"url\": \"http://a\"\n}\n";
    let told = explain(at, &["-f", "rules.yaml", "--requests", "-"], pretty);
    assert_eq!((told.code, told.err.matches("error:").count()), (Some(2), 1), "{}", told.err);
    check(&told.err, &["looks like JSON over several lines"]);
}
