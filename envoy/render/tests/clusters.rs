//! What a policy says, in Envoy's words: one cluster, of which each test looks at a part.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "this is a test")]

mod common;

use envoy_plan::{Caller, PathNormalization, Plan};
use envoy_render::{Options, bootstrap};
use istio_config::{Config, Diagnostics, yaml};
use serde_json::{Value, json};

/// Three endpoints in three places.
const ENDPOINTS: &str = "[{address: 10.0.0.1, locality: r1/z1}, {address: 10.0.0.2, locality: r1/z2/s1, weight: 3}, {address: 10.0.0.3, locality: r2}]";

/// The cluster of a service on port 80 under this policy, for a caller in `r1/z1`.
fn cluster(policy: &str) -> Value {
    let text = format!(
        "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {{name: s}}\nspec: {{hosts: [a.com], resolution: STATIC, ports: [{{number: 80, name: http, protocol: HTTP}}], endpoints: {ENDPOINTS}, subjectAltNames: [entry.com]}}\n---\napiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {{name: d}}\nspec: {{host: a.com, trafficPolicy: {policy}}}\n"
    );
    let (mut config, mut sources, mut diagnostics) = <(Config, yaml::Sources, Diagnostics)>::default();
    yaml::read("test.yaml", &text, &mut config, &mut sources, &mut diagnostics);
    let caller = Caller { locality: "r1/z1".into(), ..Caller::default() };
    let (plan, _) = Plan::build_for(&config, &caller, None, &mut diagnostics);
    assert_eq!(diagnostics.iter().count(), 0, "{diagnostics:?}");
    let (listen, admin) = ("127.0.0.1:8080".parse().unwrap(), "127.0.0.1:9901".parse().unwrap());
    let options = Options { listen, admin, path_normalization: PathNormalization::default(), application: None };
    let rendered = bootstrap(&plan, &common::read("").1, b"\0asm\x01\0\0\0", &options);
    let clusters = rendered["static_resources"]["clusters"].as_array().unwrap();
    clusters.iter().find(|cluster| cluster["name"] == "outbound|80||a.com").unwrap().clone()
}

/// A part of the cluster by its JSON pointer.
#[track_caller]
fn check(policy: &str, pointer: &str, expected: Value) {
    let cluster = cluster(policy);
    assert_eq!(cluster.pointer(pointer).cloned().unwrap_or_default(), expected, "{cluster:#}");
}

const HTTP: &str = "/typed_extension_protocol_options/envoy.extensions.upstreams.http.v3.HttpProtocolOptions";

#[test]
fn limits_are_circuit_breakers_and_none_is_the_highest_number() {
    let none = u32::MAX;
    let thresholds = |connections: u32, pending: u32, requests: u32, retries: u32| {
        json!({
            "max_connections": connections,
            "max_pending_requests": pending,
            "max_requests": requests,
            "max_retries": retries,
            "track_remaining": true,
        })
    };
    let at = "/circuit_breakers/thresholds/0";
    check("{loadBalancer: {simple: RANDOM}}", at, thresholds(none, none, none, none));
    let pool = "{connectionPool: {tcp: {maxConnections: 1}, http: {http1MaxPendingRequests: 2, http2MaxRequests: 3, maxRetries: 4}}}";
    check(pool, at, thresholds(1, 2, 3, 4));
    let mut budget = thresholds(none, none, none, none);
    budget["retry_budget"] = json!({ "budget_percent": { "value": 20.0 }, "min_retry_concurrency": 3 });
    check("{retryBudget: {}}", at, budget);
    let at = "/circuit_breakers/thresholds/0/retry_budget";
    let budget = json!({ "budget_percent": { "value": 12.5 }, "min_retry_concurrency": 1, "budget_interval": "0.5s" });
    check("{retryBudget: {percent: 12.5, minRetryConcurrency: 1, budgetInterval: 500ms}}", at, budget);
}

#[test]
fn connections_live_as_they_are_told() {
    let pool = "{connectionPool: {tcp: {connectTimeout: 30ms, idleTimeout: 5s, maxConnectionDuration: 6s, tcpKeepalive: {probes: 2, time: 3s, interval: 4s}}, http: {maxRequestsPerConnection: 7, maxConcurrentStreams: 8, h2UpgradePolicy: UPGRADE, http2KeepAlive: {interval: 9s, timeout: 10s}}}}";
    check(pool, "/connect_timeout", json!("0.03s"));
    let keepalive = json!({ "keepalive_probes": 2, "keepalive_time": 3, "keepalive_interval": 4 });
    check(pool, "/upstream_connection_options/tcp_keepalive", keepalive);
    let common = json!({ "idle_timeout": "5s", "max_connection_duration": "6s", "max_requests_per_connection": 7 });
    check(pool, &format!("{HTTP}/common_http_protocol_options"), common);
    let http2 = json!({ "max_concurrent_streams": 8, "connection_keepalive": { "interval": "9s", "timeout": "10s" } });
    check(pool, &format!("{HTTP}/explicit_http_config"), json!({ "http2_protocol_options": http2 }));
    let idle = "{connectionPool: {tcp: {idleTimeout: 0s}}}";
    check(idle, &format!("{HTTP}/common_http_protocol_options"), json!({ "idle_timeout": "0s" }));
    check(idle, &format!("{HTTP}/explicit_http_config"), json!({ "http_protocol_options": {} }));
    check("{retryBudget: {}}", "/typed_extension_protocol_options", Value::Null);
    check("{retryBudget: {}}", "/upstream_connection_options", Value::Null);
}

#[test]
fn ejection_goes_by_rows_and_never_by_rates() {
    let at = "/outlier_detection";
    let default = json!({
        "consecutive_5xx": 5,
        "enforcing_consecutive_5xx": 100,
        "enforcing_success_rate": 0,
        "interval": "10s",
        "base_ejection_time": "30s",
        "max_ejection_percent": 10,
    });
    check("{outlierDetection: {}}", at, default.clone());
    check("{retryBudget: {}}", at, Value::Null);
    let mut off = default.clone();
    off["consecutive_5xx"] = json!(0);
    off["enforcing_consecutive_5xx"] = json!(0);
    check("{outlierDetection: {consecutive5xxErrors: 0, consecutiveGatewayErrors: 0}}", at, off);
    let mut gateway = default.clone();
    gateway["consecutive_gateway_failure"] = json!(2);
    gateway["enforcing_consecutive_gateway_failure"] = json!(100);
    check("{outlierDetection: {consecutiveGatewayErrors: 2}}", at, gateway);
    let mut split = default;
    split["split_external_local_origin_errors"] = json!(true);
    split["consecutive_local_origin_failure"] = json!(3);
    split["enforcing_consecutive_local_origin_failure"] = json!(100);
    split["enforcing_local_origin_success_rate"] = json!(0);
    let policy = "{outlierDetection: {splitExternalLocalOriginErrors: true, consecutiveLocalOriginFailures: 3}}";
    check(policy, at, split);
    check("{outlierDetection: {minHealthPercent: 40}}", "/common_lb_config/healthy_panic_threshold/value", json!(40));
}

#[test]
fn codes_that_are_errors_are_matched_one_by_one() {
    let rule = |code: &str| json!({ "http_response_headers_match": { "headers": [{ "name": ":status", "string_match": { "exact": code } }] } });
    let at = format!("{HTTP}/outlier_detection/error_matcher");
    check("{outlierDetection: {outlierDetectionHttpErrorCodes: [429]}}", &at, rule("429"));
    let both = json!({ "or_match": { "rules": [rule("429"), rule("503")] } });
    check("{outlierDetection: {outlierDetectionHttpErrorCodes: [429, 503]}}", &at, both);
}

#[test]
fn a_warm_up_is_the_slow_start_of_its_method() {
    let slow_start = |window: &str, aggression: f64, least: f64| {
        json!({ "slow_start_config": {
            "slow_start_window": window,
            "aggression": { "default_value": aggression, "runtime_key": "(" },
            "min_weight_percent": { "value": least },
        } })
    };
    let least_request = "/least_request_lb_config";
    check("{loadBalancer: {warmup: {duration: 30s}}}", least_request, slow_start("30s", 1.0, 10.0));
    check("{loadBalancer: {warmupDurationSecs: 5s}}", least_request, slow_start("5s", 1.0, 10.0));
    let both = "{loadBalancer: {simple: ROUND_ROBIN, warmupDurationSecs: 5s, warmup: {duration: 1m, aggression: 2, minimumPercent: 25}}}";
    check(both, "/round_robin_lb_config", slow_start("60s", 2.0, 25.0));
    check(both, least_request, Value::Null);
    let random = cluster("{loadBalancer: {simple: RANDOM, warmup: {duration: 30s}}}");
    assert!(!random.to_string().contains("slow_start"), "{random:#}");
}

/// Addresses with their weights, priorities and the weights of their localities.
#[track_caller]
fn check_localities(policy: &str, expected: Value) {
    let cluster = cluster(policy);
    let all = cluster["load_assignment"]["endpoints"].as_array().unwrap().iter().map(|group| {
        let addresses = group["lb_endpoints"].as_array().unwrap().iter();
        let addresses = addresses.map(|endpoint| endpoint["endpoint"]["address"]["socket_address"]["address"].clone());
        json!([group["locality"], group["priority"], group["load_balancing_weight"], addresses.collect::<Value>()])
    });
    assert_eq!(all.collect::<Value>(), expected, "{cluster:#}");
    let weighted = cluster["common_lb_config"].get("locality_weighted_lb_config").is_some();
    assert_eq!(weighted, !expected[0][2].is_null(), "{cluster:#}");
}

#[test]
fn localities_have_priorities_and_weights_where_these_matter() {
    let first = || json!({ "region": "r1", "zone": "z1" });
    let second = || json!({ "region": "r1", "zone": "z2", "sub_zone": "s1" });
    let third = || json!({ "region": "r2" });
    check_localities(
        "{retryBudget: {}}",
        json!([
            [first(), null, null, ["10.0.0.1"]],
            [second(), null, null, ["10.0.0.2"]],
            [third(), null, null, ["10.0.0.3"]]
        ]),
    );
    check_localities(
        "{outlierDetection: {}}",
        json!([
            [first(), null, null, ["10.0.0.1"]],
            [second(), 1, null, ["10.0.0.2"]],
            [third(), 2, null, ["10.0.0.3"]]
        ]),
    );
    check_localities(
        "{outlierDetection: {}, loadBalancer: {localityLbSetting: {failover: [{from: r1, to: r2}]}}}",
        json!([[first(), null, 1, ["10.0.0.1"]], [second(), 1, 3, ["10.0.0.2"]], [third(), 2, 1, ["10.0.0.3"]]]),
    );
    check_localities(
        "{loadBalancer: {localityLbSetting: {distribute: [{from: r1/*, to: {r1/z2/*: 80, r2: 20}}]}}}",
        json!([[second(), null, 80, ["10.0.0.2"]], [third(), null, 20, ["10.0.0.3"]]]),
    );
}

#[test]
fn tls_is_a_transport_socket_that_reads_files() {
    let at = "/transport_socket/typed_config";
    let versions = json!({ "tls_minimum_protocol_version": "TLSv1_2", "tls_maximum_protocol_version": "TLSv1_3" });
    let context = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext";
    check("{tls: {mode: DISABLE}}", "/transport_socket", Value::Null);
    let expected = json!({
        "@type": context,
        "common_tls_context": {
            "tls_params": versions,
            "validation_context": {
                "system_root_certs": {},
                "match_subject_alt_names": [{ "exact": "entry.com" }],
            },
        },
    });
    check("{tls: {mode: SIMPLE}}", at, expected);
    let upstream = format!("{HTTP}/upstream_http_protocol_options");
    check("{tls: {mode: SIMPLE}}", &upstream, json!({ "auto_sni": true, "auto_san_validation": true }));
    let expected = json!({
        "@type": context,
        "sni": "b.com",
        "common_tls_context": {
            "tls_params": versions,
            "tls_certificates": [{
                "certificate_chain": { "filename": "/c.pem" },
                "private_key": { "filename": "/k.pem" },
            }],
            "validation_context": {
                "trusted_ca": { "filename": "/ca.pem" },
                "match_subject_alt_names": [{ "exact": "b" }, { "exact": "c" }],
                "crl": { "filename": "/crl.pem" },
            },
            "alpn_protocols": ["h2"],
        },
    });
    let mutual = "{connectionPool: {http: {h2UpgradePolicy: UPGRADE}}, tls: {mode: MUTUAL, clientCertificate: /c.pem, privateKey: /k.pem, caCertificates: /ca.pem, caCrl: /crl.pem, subjectAltNames: [b, c], sni: b.com}}";
    check(mutual, at, expected);
    check(mutual, &upstream, Value::Null);
    let anybody = "{tls: {mode: SIMPLE, insecureSkipVerify: true}}";
    check(anybody, &format!("{at}/common_tls_context/validation_context"), json!({}));
    check(anybody, &upstream, json!({ "auto_sni": true }));
}
