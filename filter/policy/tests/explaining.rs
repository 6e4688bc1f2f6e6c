//! What the engine says about its decisions: rules as Istio YAML, a request as text, the explanation as JSON.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test may fail")]

use istio_config::{Config, Diagnostics, FilterConfig, yaml};
use serde_json::{Value, json};
use traffic_policy::explain::Explanation;
use traffic_policy::{Decision, Policy, RequestHead};
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

const RULES: &str = "
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: r}
spec: {hosts: [r], resolution: STATIC, ports: [{number: 80, name: http, protocol: HTTP}]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: r}
spec:
  hosts: [r, '*.shop.com']
  http:
  - match:
    - {uri: {prefix: /a}, headers: {End-User: {exact: ann}}}
    - {method: {exact: PUT}, queryParams: {v: {exact: '2'}}}
    - {withoutHeaders: {x: {}}, uri: {exact: /w}}
    route: [{destination: {host: r, subset: v1}}]
  - match: [{uri: {prefix: /split}}]
    fault: {delay: {fixedDelay: 2s, percentage: {value: 25}}, abort: {httpStatus: 503, percentage: {value: 0.5}}}
    rewrite: {uri: /new}
    mirrors: [{destination: {host: r, subset: v3}, percentage: {value: 10}}]
    headers: {response: {set: {x-code: 'was %RESPONSE_CODE% %RESP(a?b):3%'}}}
    route:
    - destination: {host: r, subset: v1}
      weight: 3
      headers: {request: {set: {x-who: '%REQ(who)% by %PROTOCOL%'}, remove: [gone]}}
    - {destination: {host: r, subset: v2}, weight: 1}
  - match: [{uri: {exact: /moved}}]
    headers: {response: {add: {x-a: '1'}}}
    redirect: {uri: /there, redirectCode: 308}
  - match: [{uri: {prefix: /cors}}]
    corsPolicy: {allowOrigins: [{exact: 'https://o'}]}
    route: [{destination: {host: r, subset: v1}}]
  - match: [{uri: {prefix: /said}}]
    headers: {response: {set: {x-a: '1'}}}
    directResponse: {status: 200, body: {string: hello}}
";

fn explain(request: &str, limit: usize) -> Value {
    let (mut config, mut sources, mut diagnostics) =
        (Config::default(), yaml::Sources::default(), Diagnostics::default());
    yaml::read("f", RULES, &mut config, &mut sources, &mut diagnostics);
    let config = FilterConfig { config, namespace: "default".into(), ..FilterConfig::default() };
    let policy = Policy::compile(&config, &mut diagnostics).unwrap_or_else(|| panic!("{diagnostics:?}"));
    let mut lines = request.lines();
    let words: Vec<_> = lines.next().expect("a request line").split(' ').collect();
    let [method, host, target] = words[..] else { panic!("METHOD host /target") };
    let mut pairs = vec![(":method", method), (":scheme", "http"), (":authority", host), (":path", target)];
    pairs.extend(lines.map(|line| line.trim().split_once(": ").expect("name: value")));
    let pairs: Vec<_> = pairs.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())).collect();
    let head = RequestHead::new(&pairs);
    let explanation = policy.explain(&head, limit);
    // What is told is what is done.
    let decided = policy.decide(&head, &mut || 0);
    match (&decided, explanation.reply.as_ref().map(|reply| reply.status)) {
        (Decision::Reply(reply), told) => assert_eq!(Some(reply.status), told),
        (Decision::Forward(forward), None) => {
            assert!(explanation.destinations.iter().any(|told| told.cluster == forward.cluster));
            let rule = explanation.rule.as_ref().expect("a rule");
            assert_eq!((rule.http, rule.r#match), (forward.rule.http, forward.rule.match_block));
        }
        (decided, told) => panic!("{decided:?} and {told:?}"),
    }
    let text = serde_json::to_string(&explanation).unwrap();
    // It can be read back, whole.
    assert_eq!(serde_json::from_str::<Explanation<'static>>(&text).unwrap(), explanation);
    serde_json::from_str(&text).unwrap()
}

#[test]
fn each_block_before_says_what_failed_first() {
    let told = explain("GET R:80 /split/x?v=1\nend-user: bob\nend-user: cid", 9);
    assert_eq!(told["domain"], "r");
    assert_eq!(told["rule"], json!({"owner": "default/r", "http": 1, "match": 0}));
    let rule = |block: u32| json!({"owner": "default/r", "http": 0, "match": block});
    assert_eq!(
        told["tried"],
        json!([
            {"rule": rule(0), "condition": "uri", "found": ["/split/x"]},
            {"rule": rule(1), "condition": "method", "found": ["GET"]},
            {"rule": rule(2), "condition": "uri", "found": ["/split/x"]},
        ])
    );
    let told = explain("PUT r /a?v=1\nend-user: bob\nend-user: cid\nx: 1", 2);
    assert_eq!(told["tried"][0]["condition"], "headers[end-user]");
    assert_eq!(told["tried"][0]["found"], json!(["bob", "cid"]));
    assert_eq!(told["tried"][1], json!({"rule": rule(1), "condition": "queryParams[v]", "found": ["1"]}));
    assert_eq!((&told["untold"], &told["action"]), (&json!(5), &json!("noRule")));
    let told = explain("GET r /w\nx: 1", 3);
    assert_eq!(told["tried"][2]["condition"], "withoutHeaders[x]");
}

#[test]
fn every_outcome_has_its_probability_and_its_edits() {
    let told = explain("GET a.shop.com /split/x?q\nwho: ann\ngone: 1", 0);
    assert_eq!(told["domain"], "*.shop.com");
    assert_eq!(told["delay"], json!({"probability": 0.25, "delayMs": 2000}));
    assert_eq!(told["abort"], json!({"probability": 0.005, "httpStatus": 503}));
    assert_eq!((&told["rewritten"], &told["mirrors"]), (&json!("/new/x?q"), &json!([0.1])));
    let response = json!([{"set": ["x-code", "was %RESPONSE_CODE% %RESP(a?b):3%"]}]);
    assert_eq!(
        told["destinations"],
        json!([
            {"cluster": "outbound|80|v1|r.default.svc.cluster.local", "weight": 3, "probability": 0.75,
             "requestEdits": [{"remove": "gone"}, {"set": ["x-who", "ann by %PROTOCOL%"]}], "responseEdits": response},
            {"cluster": "outbound|80|v2|r.default.svc.cluster.local", "weight": 1, "probability": 0.25, "responseEdits": response},
        ])
    );
    assert_eq!(told["untold"], 3);
}

#[test]
fn answers_of_the_filter_are_told_as_a_client_gets_them() {
    let told = explain("GET r /moved?a", 0);
    assert_eq!(told["action"], "redirect");
    assert_eq!(
        told["reply"],
        json!({"status": 308, "headers": [["location", "http://r/there?a"], ["x-a", "1"]], "bodyBytes": 0})
    );
    let told = explain("GET r /cors\norigin: https://o", 0);
    assert_eq!(
        told["destinations"][0]["responseEdits"],
        json!([{"set": ["access-control-allow-origin", "https://o"]}])
    );
    let told = explain("GET r /said", 0);
    assert_eq!(told["reply"], json!({"status": 200, "headers": [["x-a", "1"]], "bodyBytes": 5}));
    let allowed = json!([["access-control-allow-origin", "https://o"]]);
    let told = explain("OPTIONS r /cors\norigin: https://o\naccess-control-request-method: GET", 0);
    assert_eq!((&told["action"], &told["reply"]["headers"]), (&json!("preflight"), &allowed));
    let told = explain("GET nobody /", 0);
    assert_eq!(
        (&told["action"], &told["reply"]["status"], &told["domain"]),
        (&json!("unknownHost"), &json!(404), &Value::Null)
    );
}
