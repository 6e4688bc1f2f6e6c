//! Headers that follow a request through an application beside a sidecar, which hands on its request id alone.

use crate::sidecar::{HOST, to};
use crate::world::{World, header};
use shunt_tests::case::Request;
use shunt_tests::client::Client;
use shunt_tests::forgetful;
use shunt_tests::istio::render::KINDS;
use shunt_tests::istio::workload::Role;
use shunt_tests::observed::Arrival;
use std::time::{Duration, Instant};

/// One with rules, one without, and one that may not get anything.
const CALLED: &[&str] = &[HOST, "details.default.svc.cluster.local", "ratings.default.svc.cluster.local"];

/// Where requests for the application come in.
const INBOUND: u16 = 9000;

/// How long it may take until both filters are there: istiod sends some kinds after the rest.
const PATIENCE: Duration = Duration::from_secs(10);

const POLICY: &str = "apiVersion: shunt.dev/v1alpha1
kind: ShuntPolicy
metadata: {name: context, namespace: default}
spec: {propagate: {to: [reviews, details], headers: [x-user, baggage]}}
";

/// What arrives at the services of a request that comes in to the application.
fn ask(world: &World, id: &str, user: &str) -> Vec<Arrival> {
    let request = Request::get("app", "/", &[("x-request-id", id), ("x-user", user), ("baggage", "a=1")]);
    let reply = Client::new(world.proxy.at(INBOUND)).send(&request).unwrap_or_else(|error| panic!("{id}: {error}"));
    assert_eq!(reply.status, 200, "{id}: {}", String::from_utf8_lossy(&reply.body));
    let arrivals = world.arrivals();
    assert_eq!(arrivals.len(), CALLED.len(), "{id}: {arrivals:?}");
    assert_eq!(header(&arrivals, "x-request-id").len(), CALLED.len(), "{id}: {arrivals:?}");
    arrivals
}

#[test]
#[ignore = "needs istiod: `make test-istio`"]
fn an_application_that_hands_on_the_id_alone_keeps_the_chain() {
    let mut world = World::start(Role::Sidecar);
    world.inbound = Some((INBOUND, forgetful::application(world.proxy.at(world.port), CALLED)));
    world.serve(&to("v1"), &[]);
    assert!(header(&ask(&world, "none", "anna"), "x-user").is_empty(), "without the filter the chain ends");
    for kind in [KINDS[0], KINDS[2]] {
        let manifests = world.rendered(kind, &format!("{}{POLICY}", to("v1")));
        world.serve("", &manifests);
        let begun = Instant::now();
        while header(&ask(&world, &format!("{kind}-{:?}", begun.elapsed()), "nobody"), "x-user").is_empty() {
            assert!(begun.elapsed() < PATIENCE, "{kind}: nothing is restored\n{}", world.proxy.said());
        }
        for number in 0..10 {
            let user = format!("user-{number}");
            let arrivals = ask(&world, &format!("{kind}-{number}"), &user);
            for (name, value) in [("x-user", &*user), ("baggage", "a=1")] {
                let mut got = header(&arrivals, name);
                got.retain(|(who, own)| *own == value && !who.starts_with("ratings"));
                assert_eq!(got.len(), 2, "{kind}: {name}: {arrivals:?}");
                assert_eq!(header(&arrivals, name).len(), 2, "{kind}: {name}: {arrivals:?}");
            }
        }
        assert!(world.proxy.statistic("wasmcustom.shunt.propagate.restored") > 0, "{kind}");
    }
}
