//! The schema of a ShuntPolicy takes what the reader takes, and no more.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "this is a test")]

use istio_config::shunt_policy::schema;
use istio_config::{Config, Diagnostics};
use serde_json::{Value, json};
use shunt_tests::schema::Schema;

/// Every field there is.
fn whole() -> Value {
    json!({
        "apiVersion": "shunt.dev/v1alpha1",
        "kind": "ShuntPolicy",
        "metadata": {"name": "reviews", "namespace": "shop"},
        "spec": {
            "targetRef": {"group": "networking.istio.io", "kind": "VirtualService", "name": "reviews", "sectionName": "main"},
            "sticky": {
                "httpHeaderName": "x-user",
                "httpCookie": {"name": "user", "path": "/shop", "ttl": "1h30m", "attributes": [{"name": "SameSite", "value": "Lax"}]},
                "httpQueryParameterName": "user",
                "useSourceIp": false,
                "salt": "spring",
                "allowOverride": {"httpHeaderName": "x-version", "httpCookieName": "version"},
            },
            "propagate": {
                "id": "TRACE_ID",
                "headers": ["baggage"],
                "to": ["*.shop.svc.cluster.local"],
                "overwrite": true,
                "capacity": 100,
                "ttl": "5s",
            },
            "stable": {"host": "reviews", "subset": "v1", "port": {"number": 80}},
            "fallback": {
                "retryOn": "5xx,404",
                "attempts": 2,
                "perTryTimeout": "3s",
                "to": [{"subset": "v1"}, {"host": "other.example.com"}],
                "methods": ["GET", "POST"],
                "budget": {"percent": 12.5, "minPerSecond": 3},
            },
            "breaker": {
                "failOn": "gateway-error,429",
                "slowerThan": "2s",
                "consecutiveFailures": 5,
                "failurePercent": 30,
                "minRequests": 20,
                "window": "10s",
                "openFor": "5s",
                "maxOpenFor": "1m",
                "probes": 3,
                "returnOver": "10s",
                "maxOutPercent": 50,
            },
            "killSwitch": {"on": false, "sha256": "0".repeat(64)},
        },
    })
}

/// Whether the reader takes it.
fn is_read(policy: &Value) -> bool {
    let (mut config, mut diagnostics) = (Config::default(), Diagnostics::default());
    config.add(policy.clone(), &mut diagnostics);
    !diagnostics.has_errors() && config.shunt_policies.len() == 1
}

fn check(policy: &Value, is_right: bool, at: &str) {
    let faults = Schema::new(schema::schema()).faults(policy);
    assert_eq!((faults.is_empty(), is_read(policy)), (is_right, is_right), "{at}: {faults:?}");
}

#[test]
fn what_is_right_is_taken_by_both() {
    check(&whole(), true, "all of it");
    for (pointer, right) in [
        ("/spec", json!({})),
        ("/spec/sticky", json!({"httpHeaderName": "x"})),
        ("/spec/sticky/httpCookie/ttl", json!("0")),
        ("/spec/propagate/id", json!("REQUEST_ID")),
        ("/spec/propagate/ttl", json!(".5s")),
    ] {
        let mut policy = whole();
        *policy.pointer_mut(pointer).unwrap() = right;
        check(&policy, true, pointer);
    }
}

#[test]
fn what_is_wrong_is_refused_by_both() {
    for (pointer, wrong) in [
        ("/apiVersion", json!("shunt.dev/v1")),
        ("/kind", json!("ShuntPolicies")),
        ("/spec/targetRef", json!("reviews")),
        ("/spec/targetRef/name", json!(1)),
        ("/spec/sticky/httpHeaderName", json!(["x"])),
        ("/spec/sticky/httpCookie", json!("user")),
        ("/spec/sticky/httpCookie/ttl", json!("30 days")),
        ("/spec/sticky/httpCookie/attributes", json!({"Secure": true})),
        ("/spec/sticky/useSourceIp", json!("yes")),
        ("/spec/sticky/salt", json!(2026)),
        ("/spec/propagate/id", json!("SPAN_ID")),
        ("/spec/stable", json!("v1")),
        ("/spec/stable/port", json!(80)),
        ("/spec/fallback/retryOn", json!(["5xx"])),
        ("/spec/fallback/attempts", json!(-1)),
        ("/spec/fallback/to", json!({"subset": "v1"})),
        ("/spec/fallback/methods", json!("GET")),
        ("/spec/fallback/budget/percent", json!("20%")),
        ("/spec/breaker/failurePercent", json!(30.5)),
        ("/spec/breaker/window", json!(10)),
        ("/spec/breaker/probes", json!("three")),
        ("/spec/killSwitch", json!(true)),
        ("/spec/killSwitch/on", json!("yes")),
        ("/spec/propagate/headers", json!("baggage")),
        ("/spec/propagate/to", json!([1])),
        ("/spec/propagate/capacity", json!(-1)),
        ("/spec/propagate/ttl", json!(5)),
    ] {
        let mut policy = whole();
        *policy.pointer_mut(pointer).unwrap() = wrong;
        check(&policy, false, pointer);
    }
    for parent in [
        "",
        "/spec",
        "/spec/targetRef",
        "/spec/sticky",
        "/spec/sticky/httpCookie",
        "/spec/sticky/allowOverride",
        "/spec/propagate",
    ] {
        let mut policy = whole();
        policy.pointer_mut(parent).unwrap().as_object_mut().unwrap().insert("nobodyKnows".to_owned(), json!(1));
        check(&policy, false, parent);
    }
}
