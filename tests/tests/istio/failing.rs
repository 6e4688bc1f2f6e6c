//! A version that fails, in a mesh: another is asked, and then it gets nothing for a while; by a request with a secret all goes to
//! the stable one.

use crate::sidecar::HOST;
use crate::world::{World, rules};
use shunt_tests::istio::render::KINDS;
use shunt_tests::istio::workload::Role;
use std::thread;
use std::time::{Duration, Instant};

/// `printf %s 'the canary is dead' | sha256sum`
const DIGEST: &str = "d27176426b90d2e586ac22ddb2db805db81d318615280d34edd522608c942ca8";

/// How long it may take until the filter is there: istiod sends some kinds after the rest.
const PATIENCE: Duration = Duration::from_secs(10);

fn halves() -> String {
    let destination = |subset| format!("{{destination: {{host: {HOST}, subset: {subset}}}, weight: 50}}");
    rules(HOST, "", &format!("[{{route: [{}, {}]}}]", destination("v1"), destination("v2")))
}

fn policy(parts: &str) -> String {
    format!(
        "apiVersion: shunt.dev/v1alpha1\nkind: ShuntPolicy\nmetadata: {{name: reviews, namespace: default}}\nspec: {{targetRef: {{name: reviews}}, stable: {{subset: v1}}, {parts}}}\n"
    )
}

/// How many of a hundred requests v2 answers, and how many reach it.
fn hundred(world: &World) -> (usize, usize) {
    world.arrivals();
    let answered = world.many(HOST, 100).iter().filter(|from| *from == "reviews-v2").count();
    (answered, world.arrivals().iter().filter(|arrival| arrival.endpoint == "reviews-v2").count())
}

#[test]
#[ignore = "needs istiod: `make test-istio`"]
fn a_version_that_fails_costs_nobody_anything_and_is_left_alone() {
    let mut world = World::start_where(Role::Sidecar, "behaviour: {reviews-v2: 500}");
    world.serve(&halves(), &[]);
    assert!(hundred(&world).0 > 30, "without the filter half of all requests fail");
    for kind in [KINDS[0], KINDS[2]] {
        let parts = "fallback: {budget: {percent: 100}}";
        let manifests = world.rendered(kind, &format!("{}{}", halves(), policy(parts)));
        world.serve(&halves(), &manifests);
        let begun = Instant::now();
        let (answered, reached) = loop {
            let told = hundred(&world);
            if told.0 == 0 || begun.elapsed() > PATIENCE {
                break told;
            }
        };
        assert_eq!(answered, 0, "{kind}: somebody got v2's error\n{}", world.proxy.said());
        assert!((25..=75).contains(&reached), "{kind}: {reached}");

        let parts = format!("{parts}, breaker: {{failurePercent: 50, openFor: 30s}}, killSwitch: {{sha256: {DIGEST}}}");
        let manifests = world.rendered(kind, &format!("{}{}", halves(), policy(&parts)));
        world.serve(&halves(), &manifests);
        let begun = Instant::now();
        while hundred(&world).1 > 0 {
            assert!(begun.elapsed() < PATIENCE, "{kind}: v2 goes on getting requests\n{}", world.proxy.said());
        }
        assert!(world.proxy.statistic("wasmcustom.shunt.breaker.opened") > 0, "{kind}");
        world.serve(&halves(), &[]);
    }
}

#[test]
#[ignore = "needs istiod: `make test-istio`"]
fn whoever_has_the_secret_sends_everything_to_stable() {
    let mut world = World::start(Role::Sidecar);
    let manifests = world.filter(&format!("{}{}", halves(), policy(&format!("killSwitch: {{sha256: {DIGEST}}}"))));
    world.serve(&halves(), &manifests);
    assert!(hundred(&world).0 > 25);
    let turn = |word: &str| world.get(HOST, "/", &[("shunt-kill-switch", word)]).status;
    assert_eq!([turn("on hunter2"), turn("on the canary is dead")], [403, 200]);
    thread::sleep(Duration::from_millis(500));
    assert_eq!(hundred(&world), (0, 0));
    assert_eq!(turn("off the canary is dead"), 200);
    thread::sleep(Duration::from_millis(500));
    assert!(hundred(&world).0 > 25);
}
