//! The rendered bootstrap serves by the filter alone: with the filter taken out, real Envoy answers 404 to everything.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "this is a test")]

use serde_json::Value;
use shunt_tests::arms::{render, start_envoy};
use shunt_tests::client::Client;
use shunt_tests::process::{self, free_address};
use shunt_tests::servers::Servers;
use shunt_tests::{case, observed::Reply};

/// Rules of every kind, and requests that they would serve.
const CASE: &str = "
name: bare
about: rules that must not be in the routes
rules:
  reviews:
  - match: [{uri: {prefix: /v1}}]
    route: [{destination: {host: reviews, subset: v1}}]
    mirror: {host: ratings}
    timeout: 1s
  - route:
    - {destination: {host: reviews, subset: v2}, weight: 80}
    - {destination: {host: reviews, subset: v3}, weight: 20}
    retries: {attempts: 2, retryOn: 5xx}
requests:
- {send: GET reviews /v1, expect: {status: 404}}
- {send: GET reviews.default.svc.cluster.local /, expect: {status: 404}}
- {send: GET details /, expect: {status: 404}}
- send: GET reviews /
  headers: [x-shunt-cluster: outbound|80|v1|reviews.default.svc.cluster.local]
  expect: {status: 404}
- send: GET reviews /
  headers: [x-shunt-cluster: outbound|80|v1|reviews.default.svc.cluster.local, x-shunt-profile: p1]
  expect: {status: 404}
";

#[test]
fn envoy_serves_nothing_when_the_filter_is_taken_out() {
    let Some(envoy) = process::envoy() else {
        return process::skipped("the bootstrap without the filter", "no Envoy: name one in ENVOY, or run `make test`");
    };
    let shunt = process::shunt().unwrap_or_else(|error| panic!("{error}"));
    let [case] = &case::read("bare", CASE).unwrap()[..] else { panic!("one case") };
    let servers = Servers::start(case);
    let folder = tempfile::tempdir().unwrap();
    let files = folder.path().join("files");
    std::fs::create_dir(&files).unwrap();
    for (name, text) in servers.fleet.manifests(case) {
        std::fs::write(files.join(name), text).unwrap();
    }
    let bootstrap = folder.path().join("bootstrap.json");
    let (listen, admin) = (free_address(), free_address());
    render(&shunt, &files, listen, admin, &[], &bootstrap).unwrap_or_else(|error| panic!("{error}"));
    let serve = |expected| {
        let _envoy = start_envoy(&envoy, &bootstrap, admin).unwrap_or_else(|error| panic!("{error}"));
        let mut client = Client::new(listen);
        let replies: Vec<Reply> = case.requests.iter().map(|request| client.send(request).unwrap()).collect();
        (replies.iter().map(|reply| reply.status).collect::<Vec<_>>(), servers.arrivals(expected, true).len())
    };

    let (statuses, arrived) = serve(6);
    assert_eq!(statuses, [200; 5], "with the filter all of them are served");
    assert_eq!(arrived, 6, "five requests and a copy");

    let text = std::fs::read_to_string(&bootstrap).unwrap();
    let mut json: Value = serde_json::from_str(&text).expect("a JSON bootstrap");
    let manager = &mut json["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"];
    let filters = manager["http_filters"].as_array_mut().expect("HTTP filters");
    let before = filters.len();
    filters.retain(|filter| filter["name"] != "envoy.filters.http.wasm");
    assert_eq!(filters.len(), before - 1, "the filter was there");
    std::fs::write(&bootstrap, json.to_string()).unwrap();
    let (statuses, arrived) = serve(0);
    assert_eq!((statuses, arrived), (vec![404; 5], 0), "without it none is");
}
