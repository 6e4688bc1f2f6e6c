//! The compiled filter, driven through `host-abi`: few hostcalls, no traps whatever comes, bad configurations refused.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "this is a test")]

mod support;

use host_abi::{ConfigureError, Flow, HeaderMap, Module, PluginConfig, StartError, Vm};
use serde_json::{Value, json};
use shunt_tests::process;
use std::collections::BTreeMap;
use std::sync::LazyLock;
use support::{Counting, Random, World, protobuf_struct};

static BYTES: LazyLock<Vec<u8>> =
    LazyLock::new(|| std::fs::read(process::module()).expect("the filter is built: run `make wasm`"));
static MODULE: LazyLock<Module> = LazyLock::new(|| Module::compile(&BYTES).expect("a filter"));

/// A configuration: this VirtualService and its service.
fn configuration(http: Value) -> Value {
    json!({
        "objects": [
            { "apiVersion": "networking.istio.io/v1", "kind": "ServiceEntry", "metadata": { "name": "a" },
              "spec": { "hosts": ["a.com"], "resolution": "STATIC", "ports": [{ "number": 80, "name": "http", "protocol": "HTTP" }] } },
            { "apiVersion": "networking.istio.io/v1", "kind": "VirtualService", "metadata": { "name": "a" },
              "spec": { "hosts": ["a.com"], "http": http } },
        ],
    })
}

fn to(subset: &str) -> Value {
    json!({ "destination": { "host": "a.com", "subset": subset }, "weight": 1 })
}

fn simple(subset: &str) -> Vec<u8> {
    configuration(json!([{ "route": [to(subset)] }])).to_string().into_bytes()
}

fn start(configuration: &[u8], seed: u64) -> Result<Vm<World>, StartError> {
    let config = PluginConfig { configuration: configuration.to_vec(), ..PluginConfig::default() };
    Vm::start(&MODULE, World::new(seed), config)
}

fn get(host: &str, path: &str) -> HeaderMap {
    HeaderMap::from([(":authority", host), (":path", path), (":method", "GET"), (":scheme", "http")])
}

/// The cluster the filter writes, or the status it answers.
fn cluster(vm: &mut Vm<World>, head: HeaderMap) -> String {
    let stream = vm.open_stream();
    let flow = vm.request_headers(stream, head, true);
    let cluster = vm.request(stream).and_then(|head| head.get_str("x-shunt-cluster")).map(str::to_owned);
    let answered = vm.response(stream).and_then(|head| head.get_str(":status")).map(str::to_owned);
    vm.close_stream(stream);
    match flow {
        Flow::Continue => cluster.expect("a cluster"),
        _ => answered.unwrap_or_else(|| panic!("{flow:?}")),
    }
}

const V1: &str = "outbound|80|v1|a.com";
const V2: &str = "outbound|80|v2|a.com";

#[test]
fn the_default_path_makes_two_hostcalls() {
    let mut guest = Counting::start(&BYTES, &simple("v1"));
    let (action, calls) = guest.request(&[(":authority", "a.com"), (":path", "/"), (":method", "GET")]);
    let expected = BTreeMap::from([("proxy_get_header_map_pairs", 1), ("proxy_replace_header_map_value", 1)]);
    let calls: BTreeMap<&str, u32> = calls.iter().map(|(name, count)| (name.as_str(), *count)).collect();
    assert_eq!((action, calls), (0, expected));
    // And none for the rest of the stream.
    assert_eq!(guest.rest_of_stream(), 0);
}

/// A read and a write where context is kept, a read where it is restored, and a look at the clock; nothing without an id.
#[test]
fn context_takes_two_calls_for_shared_data_at_most() {
    let mut config = configuration(json!([{ "route": [to("v1")] }]));
    let policy = json!({ "apiVersion": "shunt.dev/v1alpha1", "kind": "ShuntPolicy", "metadata": { "name": "context" },
        "spec": { "propagate": { "to": ["a.com"] } } });
    config["objects"].as_array_mut().unwrap().push(policy);
    let head = [(":authority", "a.com"), (":path", "/"), (":method", "GET"), ("baggage", "a=1"), ("x-request-id", "7")];
    for (direction, expected) in [("INBOUND", [1, 1, 1]), ("OUTBOUND", [1, 0, 1])] {
        config["direction"] = json!(direction);
        let mut guest = Counting::start(&BYTES, config.to_string().as_bytes());
        let count = |calls: BTreeMap<String, u32>| {
            ["proxy_get_shared_data", "proxy_set_shared_data", "proxy_get_current_time_nanoseconds"]
                .map(|name| calls.get(name).copied().unwrap_or_default())
        };
        assert_eq!(count(guest.request(&head).1), expected, "{direction}");
        assert_eq!(count(guest.request(&head[..4]).1), [0; 3], "{direction}");
        assert_eq!(guest.rest_of_stream(), 0, "{direction}");
    }
}

/// The profile and a look at the clock more than usual, and one question when the answer comes; a request that is not protected is
/// asked nothing.
#[test]
fn a_fallback_takes_three_more_calls() {
    let mut config = configuration(json!([{ "route": [to("v2")] }]));
    let policy = json!({ "apiVersion": "shunt.dev/v1alpha1", "kind": "ShuntPolicy", "metadata": { "name": "p" },
        "spec": { "targetRef": { "name": "a" }, "stable": { "subset": "v1" }, "fallback": {} } });
    config["objects"].as_array_mut().unwrap().push(policy);
    config["bindings"] = json!([{ "virtualService": "default/a", "profiles": [""],
        "fallback": { "profiles": ["p1"], "clusters": { V2: "fallback|2|1" } } }]);
    for (method, expected, afterwards) in [("GET", [2, 1], 1), ("POST", [1, 0], 0)] {
        let mut guest = Counting::start(&BYTES, config.to_string().as_bytes());
        let (_, calls) = guest.request(&[(":authority", "a.com"), (":path", "/"), (":method", method)]);
        let count = |name| calls.get(name).copied().unwrap_or_default();
        let found = ["proxy_replace_header_map_value", "proxy_get_current_time_nanoseconds"].map(count);
        assert_eq!((found, calls.values().sum::<u32>()), (expected, 1 + expected.iter().sum::<u32>()), "{method}");
        assert_eq!(guest.rest_of_stream(), afterwards, "{method}");
    }
}

#[test]
fn a_bad_configuration_is_refused_with_every_reason_and_the_running_one_stays() {
    let mut vm = start(&simple("v1"), 1).unwrap();
    assert_eq!(cluster(&mut vm, get("a.com", "/")), V1);
    let bad = configuration(json!([
        { "match": [{ "uri": { "regex": "(" } }], "route": [to("v2")] },
        { "route": [{ "destination": { "host": "a.com" }, "weight": 0 }, { "destination": { "host": "a.com" }, "weight": 0 }] },
    ]));
    let refused = vm.configure(bad.to_string().as_bytes());
    let Err(ConfigureError::Refused { log }) = refused else { panic!("{refused:?}") };
    let log = log.join("\n");
    for reason in ["spec.http[0].match[0].uri: error[bad-regex]", "spec.http[1].route: error[no-weight]", "refused"] {
        assert!(log.contains(reason), "{log}");
    }
    assert_eq!(cluster(&mut vm, get("a.com", "/")), V1, "what ran goes on");
    vm.configure(&simple("v2")).unwrap();
    assert_eq!(cluster(&mut vm, get("a.com", "/")), V2);
}

#[test]
fn a_stream_keeps_the_rules_it_began_with() {
    let rules = |value: &str| {
        let edits = json!({ "response": { "set": { "x-rules": value } } });
        configuration(json!([{ "headers": edits, "route": [to("v1")] }])).to_string().into_bytes()
    };
    let mut vm = start(&rules("old"), 1).unwrap();
    let stream = vm.open_stream();
    assert_eq!(vm.request_headers(stream, get("a.com", "/"), true), Flow::Continue);
    vm.configure(&rules("new")).unwrap();
    assert_eq!(vm.response_headers(stream, HeaderMap::from([(":status", "200")]), true), Flow::Continue);
    assert_eq!(vm.response(stream).unwrap().get_str("x-rules"), Some("old"));
}

#[test]
fn nothing_is_kept_with_the_host() {
    // What is put into a shared store or queue can never be taken out again, so a client could make it grow.
    let http = json!([
        { "match": [{ "headers": { "x": { "exact": "a" } } }], "directResponse": { "status": 404 } },
        { "fault": { "delay": { "fixedDelay": "1s", "percentage": { "value": 50 } } }, "mirror": { "host": "a.com" },
          "corsPolicy": { "allowOrigins": [{ "prefix": "h" }] }, "headers": { "response": { "set": { "x": "%REQ(x)%" } } },
          "route": [to("v1"), to("v2")] },
    ]);
    let mut guest = Counting::start(&BYTES, configuration(http).to_string().as_bytes());
    for (host, value) in [("a.com", "a"), ("a.com", "b"), ("b.com", "c")] {
        let head = [(":authority", host), (":path", "/"), (":method", "GET"), ("x", value), ("origin", "http://b.com")];
        let (_, calls) = guest.request(&head);
        assert!(!calls.is_empty());
        let kept: Vec<_> = calls.keys().filter(|name| name.contains("shared") || name.contains("queue")).collect();
        assert!(kept.is_empty(), "{kept:?}");
    }
}

#[test]
fn no_configuration_traps() {
    let good = simple("v1");
    let mut random = Random(7);
    let refused = |bytes: &[u8]| match start(bytes, 1) {
        Ok(_) => false,
        Err(StartError::Refused { .. }) => true,
        Err(other) => panic!("{other}\n{}", String::from_utf8_lossy(bytes)),
    };
    for bytes in [&b""[..], b"{}", b"[]", b"null", b"\xff\xfe", b"\n\n\n", b"{\"objects\": [1]}", &[b'['; 10_000]] {
        let _ = refused(bytes);
    }
    for _ in 0..200 {
        let mut bytes = good.clone();
        match random.below(3) {
            0 => bytes.truncate(random.below(bytes.len())),
            1 => (0..4).for_each(|_| bytes[random.below(good.len())] = random.byte()),
            _ => bytes = random.bytes(300),
        }
        let _ = refused(&bytes);
    }
    assert!(refused(b"x") && !refused(&good));
}

#[test]
fn no_request_traps() {
    let http = json!([
        { "match": [{ "headers": { "x": { "regex": ".*é" } } }, { "queryParams": { "a": { "regex": "\\d+" } } }], "rewrite": { "uri": "/b" }, "route": [to("v1")] },
        { "match": [{ "withoutHeaders": { "y": { "exact": "1" } }, "uri": { "prefix": "/a" }, "ignoreUriCase": true }],
          "rewrite": { "uri": "/b" }, "headers": { "request": { "add": { "x": "1" } }, "response": { "remove": ["x"] } }, "route": [to("v1"), to("v2")] },
        { "route": [to("v2")] },
    ]);
    let mut vm = start(configuration(http).to_string().as_bytes(), 1).unwrap();
    let mut random = Random(11);
    let names: [&[u8]; 9] = [
        b":authority",
        b":path",
        b":method",
        b"x",
        b"y",
        b"cookie",
        b"x-shunt-cluster",
        b"x-envoy-fault-abort-request",
        b"\xff",
    ];
    let values: [&[u8]; 8] = [b"a.com", b"a.com.:80", b"/a?a=1&%", b"/A#?", b"", b"\xff\xfe", b"caf\xe9", b"????&&==;"];
    for _ in 0..3_000 {
        let mut head = HeaderMap::new();
        for _ in 0..random.below(12) {
            let name = names[random.below(names.len())];
            let value =
                if random.below(4) == 0 { random.bytes(40) } else { values[random.below(values.len())].to_vec() };
            head.append(name, value);
        }
        let stream = vm.open_stream();
        let flow = vm.request_headers(stream, head, random.below(2) == 0);
        assert!(matches!(flow, Flow::Continue | Flow::LocalReply { .. }), "{flow:?}");
        if flow == Flow::Continue {
            vm.response_headers(stream, HeaderMap::from([(":status", &b"200"[..]), ("x", b"\xff")]), true);
        }
        vm.close_stream(stream);
        assert!(!vm.is_dead(), "{:?}", vm.host().lines);
    }
    assert_eq!(cluster(&mut vm, get("a.com", "/z")), V2, "and it still decides");
}

#[test]
fn headers_that_are_not_text_are_matched_as_bytes() {
    let http = json!([
        { "match": [{ "headers": { "x": { "prefix": "caf" } } }], "route": [to("v1")] },
        { "route": [to("v2")] },
    ]);
    let mut vm = start(configuration(http).to_string().as_bytes(), 1).unwrap();
    let mut head = get("a.com", "/\u{e9}");
    head.append("x", b"caf\xe9");
    head.append("other", b"\xff\xfe\x80");
    assert_eq!(cluster(&mut vm, head), V1);
}

#[test]
fn a_struct_is_as_good_as_text() {
    let http = json!([{ "match": [{ "port": 80 }], "route": [to("v1")], "timeout": "1s" }]);
    let value = configuration(http);
    let mut vm = start(&protobuf_struct(&value), 1).unwrap();
    assert_eq!(cluster(&mut vm, get("a.com", "/")), V1);
    let bad = protobuf_struct(&json!({ "objets": [] }));
    assert!(matches!(start(&bad, 1), Err(StartError::Refused { log }) if log.join(" ").contains("objets")));
}

#[test]
fn chance_is_the_hosts() {
    let even = configuration(json!([{ "route": [to("v1"), to("v2")] }])).to_string().into_bytes();
    let draws = |seed| {
        let mut vm = start(&even, seed).unwrap();
        (0..64).map(|_| cluster(&mut vm, get("a.com", "/")) == V1).collect::<Vec<_>>()
    };
    let first = draws(1);
    assert_eq!(first, draws(1), "the same seed, the same draws");
    assert_ne!(first, draws(2), "another seed, others");
    let v1 = first.iter().filter(|is_v1| **is_v1).count();
    assert!((12..=52).contains(&v1), "{v1} of 64");
}

#[test]
fn a_request_goes_on_under_a_span_of_its_own_when_asked() {
    const SPANS: [(&str, &str); 2] =
        [("x-b3-traceid", "80f198ee56343ba864fe8b2a57d3eff7"), ("x-b3-spanid", "e457b5a2e4d86bd1")];
    let sent = |fresh: bool| {
        let mut configuration = configuration(json!([{ "route": [to("v1")] }]));
        configuration["tracing"] = json!({ "freshSpans": fresh });
        let mut vm = start(configuration.to_string().as_bytes(), 7).unwrap();
        let stream = vm.open_stream();
        let mut head = get("a.com", "/");
        head.extend(SPANS);
        vm.request_headers(stream, head, true);
        let head = vm.request(stream).expect("a request").clone();
        let value = |name: &str| head.get_str(name).map(str::to_owned);
        [value("x-b3-traceid"), value("x-b3-spanid"), value("x-b3-parentspanid")]
    };
    let text = |text: &str| Some(text.to_owned());
    assert_eq!(sent(false), [text(SPANS[0].1), text(SPANS[1].1), None], "untouched");
    let [trace, span, parent] = sent(true);
    assert_eq!((trace, parent), (text(SPANS[0].1), text(SPANS[1].1)));
    let span = span.expect("a span");
    assert!(span != SPANS[1].1 && span.len() == 16 && span.bytes().all(|digit| digit.is_ascii_hexdigit()), "{span}");
}
