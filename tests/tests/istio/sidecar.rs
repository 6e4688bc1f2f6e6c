//! A sidecar while its objects change: what is loaded, what is left alone, what is refused, what goes live.

use crate::world::{World, header, rules};
use serde_json::Value;
use shunt_tests::case::Request;
use shunt_tests::chance;
use shunt_tests::client::Client;
use shunt_tests::istio::workload::{DRAIN_SECONDS, Role};
use shunt_tests::observed::values;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

pub(crate) const HOST: &str = "reviews.default.svc.cluster.local";

pub(crate) fn to(subset: &str) -> String {
    rules(HOST, "", &format!("[{{route: [{{destination: {{host: {HOST}, subset: {subset}}}}}]}}]"))
}

/// 80 to 20, and dark launch by a header with edits that show how often they act.
pub(crate) fn canary(mark: &str) -> String {
    let http = format!(
        "[{{match: [{{headers: {{x-user: {{exact: tester}}}}}}], headers: {{request: {{add: {{x-rule: {mark}}}}}, response: {{add: {{x-rule: {mark}}}}}}}, \
         mirror: {{host: ratings.default.svc.cluster.local, subset: v2}}, rewrite: {{uri: /rewritten/}}, \
         route: [{{destination: {{host: {HOST}, subset: v3}}}}]}}, \
         {{route: [{{destination: {{host: {HOST}, subset: v1}}, weight: 80}}, {{destination: {{host: {HOST}, subset: v2}}, weight: 20}}]}}]"
    );
    rules(HOST, "", &http)
}

pub(crate) fn check_canary(world: &World, mark: &str) {
    let answers = world.many(HOST, 1000);
    let count = |name: &str| answers.iter().filter(|from| *from == name).count() as u64;
    let counts = [count("reviews-v1"), count("reviews-v2")];
    assert_eq!(counts.iter().sum::<u64>(), 1000);
    assert_eq!(chance::misfit(&counts, &[80.0, 20.0]), None, "{counts:?}");
    world.arrivals();

    let reply = world.get(HOST, "/a", &[("x-user", "tester")]);
    assert_eq!(reply.from(), Some("reviews-v3"));
    let edits: Vec<_> = reply.headers.iter().filter(|(name, _)| name == "x-rule").map(|(_, value)| value).collect();
    assert_eq!(edits, [mark], "edits of the response act once");
    let mut arrivals = world.arrivals();
    arrivals.sort_by_key(|arrival| arrival.endpoint);
    let seen: Vec<_> = arrivals.iter().map(|arrival| (arrival.endpoint, arrival.target.as_str())).collect();
    assert_eq!(seen, [("ratings-v2", "/rewritten/a"), ("reviews-v3", "/rewritten/a")], "one copy, and one rewrite");
    assert_eq!(header(&arrivals, "x-rule"), [("ratings-v2", mark), ("reviews-v3", mark)], "edits act once");
    let internal =
        arrivals.iter().flat_map(|arrival| &arrival.headers).filter(|(name, _)| name.starts_with("x-shunt-"));
    assert_eq!(internal.count(), 0);
}

#[test]
#[ignore = "needs istiod: `make test-istio`"]
fn a_canary_by_istiod_by_the_filter_and_by_both() {
    let mut world = World::start(Role::Sidecar);
    world.serve(&canary("istiod"), &[]);
    check_canary(&world, "istiod");

    let filter = world.filter(&canary("filter"));
    world.serve("", &filter);
    check_canary(&world, "filter");

    world.serve(&canary("istiod"), &filter);
    check_canary(&world, "filter");
}

/// Envoy edits what a filter answers by the route that it had found before, and that is istiod's own.
#[test]
#[ignore = "needs istiod: `make test-istio`"]
fn what_the_filter_answers_is_edited_once() {
    let mut world = World::start(Role::Sidecar);
    let http = "[{match: [{uri: {prefix: /direct}}], headers: {response: {add: {x-rule: once}}}, directResponse: {status: 418}}, \
        {match: [{uri: {prefix: /redirect}}], headers: {response: {add: {x-rule: once}}}, redirect: {uri: /new}}, \
        {match: [{uri: {prefix: /abort}}], headers: {response: {add: {x-rule: once}}}, fault: {abort: {httpStatus: 418, percentage: {value: 100}}}, route: [{destination: {host: reviews}}]}, \
        {route: [{destination: {host: reviews}}]}]";
    let rules = rules("reviews", "", http);
    let filter = world.filter(&rules);
    let stages = [(&rules, vec![]), (&String::new(), filter.clone()), (&rules, filter)];
    for (number, (in_istiod, manifests)) in stages.iter().enumerate() {
        world.serve(in_istiod, manifests);
        for target in ["/direct", "/redirect", "/abort"] {
            let reply = world.get("reviews", target, &[]);
            let edits: Vec<_> = values(&reply.headers, "x-rule").collect();
            assert_eq!(edits, ["once"], "{target} ({}), stage {number}", reply.status);
        }
    }
}

/// The configuration of one kind, as Envoy serves it.
pub(crate) fn dumped<'a>(configuration: &'a Value, kind: &str, part: &str) -> Vec<&'a Value> {
    let configs = configuration["configs"].as_array().unwrap();
    let dump = configs.iter().find(|dump| dump["@type"].as_str().unwrap().ends_with(kind)).unwrap();
    dump[part].as_array().map(|list| list.iter().collect()).unwrap_or_default()
}

pub(crate) fn names(list: &Value) -> Vec<&str> {
    list.as_array().unwrap().iter().map(|item| item["name"].as_str().unwrap_or_default()).collect()
}

#[test]
#[ignore = "needs istiod: `make test-istio`"]
fn every_patch_finds_its_place() {
    let mut world = World::start(Role::Sidecar);
    world.serve(&canary("istiod"), &[]);
    let before = world.proxy.configuration();
    world.serve(&canary("istiod"), &world.filter(&canary("filter")));
    let after = world.proxy.configuration();

    let manager = |configuration: &Value| {
        let listeners = dumped(configuration, ".ListenersConfigDump", "dynamic_listeners");
        let name = format!("{}_80", world.proxy.address);
        let listener = listeners.iter().find(|listener| listener["name"] == *name).expect("a listener on port 80");
        listener["active_state"]["listener"]["filter_chains"][0]["filters"][0]["typed_config"].clone()
    };
    let (native, patched) = (manager(&before), manager(&after));
    let filters = names(&native["http_filters"]);
    let with_ours = names(&patched["http_filters"]);
    // A filter that Envoy discovers has the name of its resource.
    assert!(with_ours[0] == "envoy.filters.http.wasm" || with_ours[0].starts_with("shunt."), "{with_ours:?}");
    assert_eq!(with_ours[1..], filters[..]);
    assert!(native["early_header_mutation_extensions"].is_null(), "{native}");
    assert_eq!(names(&patched["early_header_mutation_extensions"]).len(), 1);
    assert_eq!(native["rds"], patched["rds"], "the rest is as it was");

    let routes = |configuration: &Value| -> Vec<(String, Vec<Value>)> {
        let configurations = dumped(configuration, ".RoutesConfigDump", "dynamic_route_configs");
        let routes =
            configurations.iter().find(|routes| routes["route_config"]["name"] == "80").expect("routes of port 80");
        let hosts = routes["route_config"]["virtual_hosts"].as_array().unwrap();
        let name = |host: &Value| host["name"].as_str().unwrap().to_owned();
        hosts.iter().map(|host| (name(host), host["routes"].as_array().unwrap().clone())).collect()
    };
    let (native, patched) = (routes(&before), routes(&after));
    let mut looked_at = 0;
    for (name, patched) in &patched {
        // The marker of each version is a host of its own.
        let Some((_, native)) = native.iter().find(|(own, _)| own == name) else { continue };
        let added = patched.len() - native.len();
        let ours: Vec<_> = patched[..added].iter().map(|route| route["name"].as_str().unwrap()).collect();
        let [mirror, "default", "any"] = ours[..] else { panic!("{name}: {ours:?}") };
        assert!(mirror.contains("/p-"), "{name}: the one with the mirror is {mirror}");
        assert_eq!(&patched[added..], &native[..], "{name}: istiod's own come behind");
        looked_at += 1;
    }
    assert!(looked_at >= 3, "only {looked_at} virtual hosts");
    assert!(world.proxy.statistic("wasm.envoy.wasm.runtime.v8.active") > 0, "the filter runs");
}

#[test]
#[ignore = "needs istiod: `make test-istio`"]
fn istio_has_what_the_filter_has_no_rules_for_and_everything_without_it() {
    let mut world = World::start(Role::Sidecar);
    let ratings = rules(
        "ratings.default.svc.cluster.local",
        "",
        "[{headers: {request: {add: {x-by: istiod}}}, route: [{destination: {host: ratings.default.svc.cluster.local, subset: v2}}]}]",
    );
    let filter = world.filter(&to("v2"));
    let in_istiod = to("v1") + &ratings;
    world.serve(&in_istiod, &filter);
    assert_eq!(world.from("reviews", "/", &[]), "reviews-v2", "the filter's rule");
    assert_eq!(world.from("ratings", "/", &[]), "ratings-v2", "istiod's rule");
    assert_eq!(header(&world.arrivals(), "x-by"), [("ratings-v2", "istiod")]);
    assert!(world.from("details", "/", &[]).starts_with("details"), "no rule at all");

    world.serve(&ratings, &filter);
    assert_eq!(world.from("reviews", "/", &[]), "reviews-v2", "a rule that istiod does not know");

    world.serve(&in_istiod, &[]);
    assert_eq!(world.from("reviews", "/", &[]), "reviews-v1", "without the EnvoyFilter, istiod's rule");
    assert_eq!(world.proxy.statistic("early_header"), 0);
    let configuration = world.proxy.configuration().to_string();
    assert!(!configuration.contains("x-shunt-"), "nothing of ours is left");
}

/// The manifest without the filter itself.
fn without_filter(manifests: &[Value]) -> Vec<Value> {
    let mut manifests = manifests.to_vec();
    let patches = manifests[0]["spec"]["configPatches"].as_array_mut().unwrap();
    let before = patches.len();
    patches.retain(|patch| patch["applyTo"] != "HTTP_FILTER" && patch["applyTo"] != "EXTENSION_CONFIG");
    assert!(patches.len() < before, "the filter was there");
    manifests
}

#[test]
#[ignore = "needs istiod: `make test-istio`"]
fn no_client_reaches_the_profile_routes() {
    let mut world = World::start(Role::Sidecar);
    let forged = [
        ("x-shunt-cluster", "outbound|80|v3|reviews.default.svc.cluster.local"),
        ("x-shunt-profile", "p1"),
        ("X-Shunt-Profile", "p2"),
    ];
    let filter = world.filter(&to("v2"));
    let stages =
        [("with the filter", filter.clone(), "reviews-v2"), ("without it", without_filter(&filter), "reviews-v1")];
    for (stage, manifests, expected) in stages {
        world.serve(&to("v1"), &manifests);
        for headers in [&forged[..1], &forged[..2], &forged[..]] {
            assert_eq!(world.from("reviews", "/", headers), expected, "{stage}");
        }
        let arrivals = world.arrivals();
        assert_eq!(arrivals.len(), 3, "{stage}");
        let internal = arrivals.iter().flat_map(|arrival| &arrival.headers);
        assert_eq!(internal.filter(|(name, _)| name.starts_with("x-shunt-")).count(), 0, "{stage}");
    }
}

/// Replaces what the filter reads.
fn with_configuration(manifests: &[Value], text: &str) -> Vec<Value> {
    let mut manifests = manifests.to_vec();
    let patches = manifests[0]["spec"]["configPatches"].as_array_mut().unwrap();
    let mut replaced = 0;
    for patch in patches {
        if let Some(value) = patch.pointer_mut("/patch/value/typed_config/config/configuration/value") {
            *value = text.into();
            replaced += 1;
        }
    }
    assert!(replaced > 0);
    manifests
}

#[test]
#[ignore = "needs istiod: `make test-istio`"]
fn what_the_filter_refuses_changes_nothing() {
    let mut world = World::start(Role::Sidecar);
    let good = world.filter(&to("v2"));
    world.serve(&to("v1"), &good);
    let mut kept = Client::new(world.proxy.at(world.port));
    let request = Request::get("reviews", "/", &[]);
    assert_eq!(kept.send(&request).unwrap().from(), Some("reviews-v2"));

    world.put(&to("v1"), &with_configuration(&good, "{\"kind\": \"FilterConfig\", \"objects\": 1}"));
    world.proxy.wait_for_refusal().unwrap_or_else(|error| panic!("{error}"));
    for _ in 0..20 {
        assert_eq!(kept.send(&request).unwrap().from(), Some("reviews-v2"), "over the connection that was there");
        assert_eq!(world.from("reviews", "/", &[]), "reviews-v2", "over a new one");
    }

    world.serve(&to("v1"), &world.filter(&to("v3")));
    assert_eq!(world.from("reviews", "/", &[]), "reviews-v3", "the next good one is served");
}

#[test]
#[ignore = "needs istiod: `make test-istio`"]
fn a_change_goes_live_under_load_without_a_lost_request() {
    for (asked_to_close, answers) in under_load() {
        assert_eq!(asked_to_close, 0, "no listener is replaced, so connections are kept");
        println!("{} requests", answers.len());
    }
}

/// What clients get that send without a pause while the rules change: who answers, and how often a connection was to be
/// closed.
fn under_load() -> Vec<(usize, Vec<String>)> {
    let mut world = World::start(Role::Sidecar);
    // Another profile each, so that the change needs routes and filter, which arrive apart.
    let filter = |subset: &str, native: &str| {
        world.filter(&rules(
            HOST,
            "",
            &format!("[{{{native}, route: [{{destination: {{host: {HOST}, subset: {subset}}}}}]}}]"),
        ))
    };
    let (before, after) =
        (filter("v1", "timeout: 8s"), filter("v2", "timeout: 9s, retries: {attempts: 1, retryOn: 5xx}"));
    // A request that Istio's own route took would come from v3.
    world.serve(&to("v3"), &before);
    let (over, at) = (AtomicBool::new(false), world.proxy.at(world.port));
    let load = || {
        let mut client = Client::new(at);
        let request = Request::get(HOST, "/", &[]);
        let (mut answers, mut asked_to_close) = (Vec::new(), 0);
        while !over.load(Ordering::Relaxed) {
            let reply = client.send_once(&request).unwrap_or_else(|error| panic!("request {}: {error}", answers.len()));
            assert_eq!(reply.status, 200, "request {}", answers.len());
            asked_to_close += values(&reply.headers, "connection").filter(|value| *value == "close").count();
            answers.push(reply.from().unwrap_or_default().to_owned());
        }
        (asked_to_close, answers)
    };
    let all: Vec<_> = std::thread::scope(|scope| {
        let clients = [scope.spawn(load), scope.spawn(load)];
        std::thread::sleep(Duration::from_millis(500));
        world.serve(&to("v3"), &after);
        // Longer than Envoy drains what went before.
        std::thread::sleep(Duration::from_secs(u64::from(DRAIN_SECONDS) + 2));
        over.store(true, Ordering::Relaxed);
        clients.into_iter().map(|client| client.join().expect("no request is lost")).collect()
    });
    for (_, answers) in &all {
        assert!(answers.len() > 500, "only {} requests", answers.len());
        assert_eq!(answers.first().map(String::as_str), Some("reviews-v1"));
        let changed = answers.iter().position(|from| from == "reviews-v2").expect("the change goes live");
        assert!(answers[..changed].iter().all(|from| from == "reviews-v1"), "the rules before, not Istio's");
        assert!(answers[changed..].iter().all(|from| from == "reviews-v2"), "once changed, it stays so");
    }
    all
}

/// What Istio's agent sends in place of a filter that it cannot fetch: one that denies every request.
fn denied(manifests: &[Value]) -> Vec<Value> {
    let mut manifests = manifests.to_vec();
    let patches = manifests[0]["spec"]["configPatches"].as_array_mut().unwrap();
    let filters = patches.iter_mut().filter(|patch| patch["applyTo"] == "EXTENSION_CONFIG");
    let denial =
        serde_json::json!({ "@type": "type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBAC", "rules": {} });
    let replaced = filters.map(|patch| patch["patch"]["value"]["typed_config"] = denial.clone()).count();
    assert!(replaced > 0);
    manifests
}

#[test]
#[ignore = "needs istiod: `make test-istio`"]
fn a_filter_that_never_came_leaves_everything_to_istio() {
    for spoil in [denied, |manifests: &[Value]| with_configuration(manifests, "{\"objects\": 1}")] {
        let mut world = World::start(Role::Sidecar);
        let good = world.filter(&to("v2"));
        world.serve(&to("v1"), &[]);
        world.put(&to("v1"), &spoil(&good));
        world.proxy.wait_for_refusal().unwrap_or_else(|error| panic!("{error}"));
        for _ in 0..20 {
            assert_eq!(world.from("reviews", "/", &[]), "reviews-v1", "Istio's own routes");
        }
        world.serve(&to("v1"), &good);
        assert_eq!(world.from("reviews", "/", &[]), "reviews-v2", "a good one is taken");
        world.put(&to("v1"), &spoil(&world.filter(&to("v3"))));
        world.proxy.wait_for_refusal().unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(world.from("reviews", "/", &[]), "reviews-v2", "and stays");
    }
}
