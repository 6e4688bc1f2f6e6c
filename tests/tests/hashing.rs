//! The same key meets the same endpoint in real Envoy, in the standalone proxy and in `upstream`: ring hash and Maglev over eight
//! endpoints at the addresses that they really have, with equal weights and others, with retries that stay or go elsewhere, with
//! several keys, with localities that share by weight, and with one endpoint ejected.
#![allow(clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "this is a test")]

use serde_json::{Value, json};
use shunt_tests::arms::{Arm, Engine, Envoy, Proxy, Running};
use shunt_tests::case::{self, Case, Request};
use shunt_tests::process;
use std::collections::BTreeMap;
use std::time::Duration;

/// Endpoints of the fleet, whatever they are elsewhere.
const ENDPOINTS: [&str; 8] =
    ["reviews-v1", "reviews-v2", "reviews-v3", "ratings-v1", "ratings-v2", "details-a", "details-b", "external"];

/// Not in proportion, and none a divisor of the others.
const WEIGHTS: [u32; 8] = [1, 2, 3, 5, 7, 11, 13, 1];

const KEYS: u32 = 250;

/// Where shares are counted.
const MANY_KEYS: u32 = 1000;

/// A service by its host: its endpoints' weights, its `consistentHash`, and what its rule says beside the route.
struct Service {
    host: &'static str,
    weights: [u32; 8],
    hash: Value,
    rule: Value,
}

fn services() -> Vec<Service> {
    let service = |host, weights, table: Value, rule| {
        let mut hash = json!({ "httpHeaderName": "x-user" });
        hash.as_object_mut().expect("a map").extend(table.as_object().cloned().unwrap_or_default());
        Service { host, weights, hash, rule }
    };
    let maglev = || json!({ "maglev": { "tableSize": 65537 } });
    let elsewhere = || json!({ "attempts": 3, "retryOn": "5xx", "backoff": "1ms", "retryIgnorePreviousHosts": true });
    let here = || json!({ "attempts": 2, "retryOn": "5xx", "backoff": "1ms" });
    vec![
        service("ring.test", [1; 8], json!({}), json!({})),
        service("weighted-ring.test", WEIGHTS, json!({}), json!({})),
        service("small-ring.test", WEIGHTS, json!({ "ringHash": { "minimumRingSize": 10 } }), json!({})),
        service("old-ring.test", [1; 8], json!({ "minimumRingSize": 5000 }), json!({})),
        service("maglev.test", [1; 8], maglev(), json!({})),
        service("weighted-maglev.test", WEIGHTS, maglev(), json!({})),
        service("small-maglev.test", WEIGHTS, json!({ "maglev": { "tableSize": 101 } }), json!({})),
        service("ring-here.test", [1; 8], json!({}), json!({ "retries": here() })),
        service("ring-elsewhere.test", WEIGHTS, json!({}), json!({ "retries": elsewhere() })),
        service("maglev-elsewhere.test", WEIGHTS, maglev(), json!({ "retries": elsewhere() })),
    ]
}

fn object(kind: &str, name: &str, spec: &Value) -> String {
    let object =
        json!({ "apiVersion": "networking.istio.io/v1", "kind": kind, "metadata": { "name": name }, "spec": spec });
    // What stands for a port is a number.
    format!("---\n{object}\n").replace("\"{", "{").replace("}\"", "}")
}

/// With `places` every second endpoint is in another zone.
fn entry(host: &str, weights: &[u32; 8], places: bool) -> Value {
    let zones = ["r/near", "r/far"].into_iter().cycle();
    let endpoints = ENDPOINTS.iter().zip(weights).zip(zones).map(|((name, weight), zone)| {
        let locality = if places { zone } else { "" };
        json!({ "address": "127.0.0.1", "weight": weight, "locality": locality, "ports": { "http": format!("{{{name}}}") } })
    });
    json!({
        "hosts": [host],
        "resolution": "STATIC",
        "ports": [{ "number": 80, "name": "http", "protocol": "HTTP" }],
        "endpoints": endpoints.collect::<Vec<_>>(),
    })
}

/// Every service, and requests with all keys to each.
fn case() -> Case {
    let mut objects = String::new();
    for Service { host, weights, hash, rule } in services() {
        let mut rule = rule;
        rule["route"] = json!([{ "destination": { "host": host } }]);
        let policy = json!({ "loadBalancer": { "consistentHash": hash } });
        objects += &object("ServiceEntry", host, &entry(host, &weights, false));
        objects += &object("DestinationRule", host, &json!({ "host": host, "trafficPolicy": policy }));
        objects += &object("VirtualService", host, &json!({ "hosts": [host], "http": [rule] }));
    }
    // Two destinations with keys of their own, of which the second has all of the traffic.
    let (one, two) = ("keys.test", json!({ "consistentHash": { "httpHeaderName": "x-user" } }));
    let policy = json!({ "loadBalancer": { "consistentHash": { "httpQueryParameterName": "q" } } });
    let subsets = json!([{ "name": "a", "labels": {}, "trafficPolicy": { "loadBalancer": two } }, { "name": "b", "labels": {}, "trafficPolicy": policy }]);
    let to = |subset: &str, weight: u32| json!({ "destination": { "host": one, "subset": subset }, "weight": weight });
    objects += &object("ServiceEntry", one, &entry(one, &WEIGHTS, false));
    objects += &object("DestinationRule", one, &json!({ "host": one, "subsets": subsets }));
    objects += &object(
        "VirtualService",
        one,
        &json!({ "hosts": [one], "http": [{ "route": [to("a", 1), to("b", 1)], "retries": { "attempts": 0 } }] }),
    );
    let outliers = json!({ "consecutive5xxErrors": 1, "maxEjectionPercent": 100, "baseEjectionTime": "300s" });
    let ring = json!({ "httpHeaderName": "x-user" });
    let maglev = json!({ "httpHeaderName": "x-user", "maglev": { "tableSize": 65537 } });
    let places = json!({ "distribute": [{ "from": "r/near/*", "to": { "r/near/*": 70, "r/far/*": 30 } }] });
    for (host, hash, places) in [
        ("sick-ring.test", &ring, None),
        ("sick-maglev.test", &maglev, None),
        ("near-ring.test", &ring, Some(&places)),
        ("near-maglev.test", &maglev, Some(&places)),
    ] {
        let balancer = json!({ "consistentHash": hash, "localityLbSetting": places });
        let policy = json!({ "loadBalancer": balancer, "outlierDetection": outliers });
        objects += &object("ServiceEntry", host, &entry(host, &WEIGHTS, places.is_some()));
        objects += &object("DestinationRule", host, &json!({ "host": host, "trafficPolicy": policy }));
        let rule = json!({ "route": [{ "destination": { "host": host } }], "retries": { "attempts": 0 } });
        objects += &object("VirtualService", host, &json!({ "hosts": [host], "http": [rule] }));
    }
    let text = serde_json::to_string(&json!({
        "name": "keys and endpoints",
        "about": "The objects stand below.",
        "locality": "r/near",
        "behaviour": ENDPOINTS.iter().map(|name| ((*name).to_owned(), json!("as-asked"))).collect::<BTreeMap<_, _>>(),
    }));
    let mut cases = case::read("hashing.rs", &text.expect("JSON")).expect("a case");
    Case { objects, ..cases.remove(0) }
}

/// Of the endpoints that have places.
fn is_near(name: &str) -> bool {
    ENDPOINTS.iter().step_by(2).any(|near| *near == name)
}

fn asked(host: &str, target: &str, key: u32, answers: &str) -> Request {
    let key = format!("user-{key}");
    Request::get(host, target, &[("x-user", &key), ("x-answer", answers)])
}

/// By whom each of these is answered, and who was tried before.
fn met(running: &mut dyn Running, requests: &[Request]) -> Vec<Vec<&'static str>> {
    let met = requests.iter().map(|request| {
        let reply = running.send(request).unwrap_or_else(|error| panic!("{}: {error}", request.send));
        let arrivals = running.arrivals(1);
        assert_eq!(arrivals.last().map(|arrival| arrival.endpoint), reply.from(), "{}", request.send);
        arrivals.iter().map(|arrival| arrival.endpoint).collect()
    });
    met.collect()
}

fn compare(arm: &dyn Arm) {
    let case = case();
    let mut running = arm.start(&case).unwrap_or_else(|error| panic!("{error}"));
    let mut engine = Engine::at(running.fleet().clone(), &case).unwrap_or_else(|error| panic!("{error}"));
    let mut check = |what: &str, requests: &[Request]| {
        let (theirs, ours) = (met(&mut *running, requests), met(&mut *engine, requests));
        let apart: Vec<_> = (0..).zip(theirs.iter().zip(&ours)).filter(|(_, (theirs, ours))| theirs != ours).collect();
        assert!(
            apart.is_empty(),
            "{what}: {} of {} differ: {:?}",
            apart.len(),
            requests.len(),
            &apart[..apart.len().min(5)]
        );
        ours
    };
    for Service { host, weights, .. } in services() {
        let answers = if host.ends_with("here.test") { "503 503 200" } else { "200" };
        let requests: Vec<Request> = (0..KEYS).map(|key| asked(host, "/", key, answers)).collect();
        let met = check(host, &requests);
        let mut counts: BTreeMap<&str, u32> = BTreeMap::new();
        met.iter().for_each(|met| *counts.entry(met[0]).or_default() += 1);
        // Few places in a ring may lie close together.
        let light = if host == "small-ring.test" { 5 } else { 2 };
        let heavy = ENDPOINTS.iter().zip(weights).filter(|(_, weight)| *weight > light || weights == [1; 8]);
        heavy.for_each(|(name, _)| assert!(counts.contains_key(name), "{host}: nobody meets {name}: {counts:?}"));
        match host {
            "ring-here.test" => assert!(met.iter().all(|met| met.len() == 3 && met[0] == met[2])),
            "ring-elsewhere.test" | "maglev-elsewhere.test" => {
                assert!(met.iter().all(|met| met.len() == 3));
                assert!(met.iter().filter(|met| met[0] != met[1] && met[1] != met[2]).count() > KEYS as usize / 2);
            }
            _ => assert!(met.iter().all(|met| met.len() == 1)),
        }
    }
    let several = |first: &str, second: &str| -> Vec<Request> {
        let request = |key| {
            let [first, second] = [first, second].map(|name| format!("{name}-{key}"));
            Request::get(services()[0].host, "/", &[("x-user", &first), ("x-user", &second), ("x-answer", "200")])
        };
        (0..KEYS).map(request).collect()
    };
    let in_order = check("a header with two values", &several("a", "b"));
    assert_eq!(check("the same in another order", &several("b", "a")), in_order);

    // Both clusters have the same endpoints and the same keys, so it does not matter which is drawn.
    let both: Vec<Request> = (0..KEYS).map(|key| asked("keys.test", &format!("/?q={}", key % 7), key, "200")).collect();
    let together = check("two keys", &both);
    let first: Vec<Request> = (0..KEYS).map(|key| asked("keys.test", "/", key, "200")).collect();
    assert_ne!(check("the first of two keys", &first), together);

    for host in ["sick-ring.test", "sick-maglev.test", "near-ring.test", "near-maglev.test"] {
        let keys = if host.starts_with("near") { MANY_KEYS } else { KEYS };
        let requests: Vec<Request> = (0..keys).map(|key| asked(host, "/", key, "200")).collect();
        let healthy = check(host, &requests);
        let sick = healthy[0][0];
        check(host, &[asked(host, "/", 0, "503")]);
        // Ejection comes to Envoy's workers by way of its main thread.
        std::thread::sleep(Duration::from_secs(2));
        let after = check(&format!("{host} without {sick}"), &requests);
        assert!(after.iter().all(|met| met[0] != sick), "{sick} is not ejected");
        if host.starts_with("near") {
            // Who stays near by has all that is near by: keys move to them from afar, too.
            let near = |met: &[Vec<&str>]| met.iter().filter(|met| is_near(met[0])).count();
            let both = [&healthy, &after].map(|met| near(met));
            assert!(both.iter().all(|near| (600..800).contains(near)), "{both:?}");
            continue;
        }
        let moved = healthy.iter().zip(&after).filter(|(before, after)| before[0] != sick && before != after).count();
        assert!(moved <= KEYS as usize / 4, "{host}: {moved} keys moved that did not have to");
    }
}

#[test]
fn the_proxy_chooses_as_upstream_does() {
    compare(&Proxy::new(process::shunt().unwrap_or_else(|error| panic!("{error}"))));
}

#[test]
fn envoy_chooses_as_upstream_does() {
    let Some(envoy) = process::envoy() else {
        return process::skipped("hashing", "no Envoy: name one in ENVOY, or run `make test`");
    };
    let shunt = || process::shunt().unwrap_or_else(|error| panic!("{error}"));
    compare(&Envoy::new(shunt(), envoy.clone()).unwrap_or_else(|error| panic!("{error}")));
    compare(&Envoy::native(shunt(), envoy).unwrap_or_else(|error| panic!("{error}")));
}
