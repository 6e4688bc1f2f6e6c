//! An ingress gateway.

use crate::world::{World, rules};
use shunt_tests::chance;
use shunt_tests::istio::workload::Role;

const HOST: &str = "shop.example.org";

fn canary(first: u32, second: u32, mark: &str) -> String {
    let http = format!(
        "[{{match: [{{uri: {{prefix: /marked}}}}], headers: {{response: {{add: {{x-rule: {mark}}}}}}}, \
         route: [{{destination: {{host: reviews.default.svc.cluster.local, subset: v3, port: {{number: 80}}}}}}]}}, \
         {{route: [{{destination: {{host: reviews.default.svc.cluster.local, subset: v1}}, weight: {first}}}, \
         {{destination: {{host: reviews.default.svc.cluster.local, subset: v2}}, weight: {second}}}]}}]"
    );
    rules(HOST, "shop", &http)
}

fn check(world: &World, shares: [f64; 2], mark: &str) {
    let answers = world.many(HOST, 1000);
    let count = |name: &str| answers.iter().filter(|from| *from == name).count() as u64;
    let counts = [count("reviews-v1"), count("reviews-v2")];
    assert_eq!(counts.iter().sum::<u64>(), 1000);
    assert_eq!(chance::misfit(&counts, &shares), None, "{counts:?}");
    let reply = world.get(HOST, "/marked/a", &[]);
    assert_eq!(reply.from(), Some("reviews-v3"));
    let edits: Vec<_> = reply.headers.iter().filter(|(name, _)| name == "x-rule").map(|(_, value)| value).collect();
    assert_eq!(edits, [mark]);
    assert_eq!(world.from("other.example.org", "/", &[]), "404", "a host without rules");
}

#[test]
#[ignore = "needs istiod: `make test-istio`"]
fn a_gateway_by_istiod_by_the_filter_and_by_istiod_again() {
    let mut world = World::start(Role::Gateway);
    world.serve(&canary(80, 20, "istiod"), &[]);
    check(&world, [80.0, 20.0], "istiod");
    let filter = world.filter(&canary(10, 90, "filter"));
    world.serve(&canary(80, 20, "istiod"), &filter);
    check(&world, [10.0, 90.0], "filter");
    assert!(world.proxy.statistic("wasm.envoy.wasm.runtime.v8.active") > 0, "the filter runs");
    world.serve(&canary(80, 20, "istiod"), &[]);
    check(&world, [80.0, 20.0], "istiod");
}
