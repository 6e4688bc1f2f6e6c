//! Copies for mirrors.

use envoy_plan::{LoadBalancing, Profile};

use super::story::{CLUSTER, ask, cluster, duration, endpoint, half, header, plan, profile};
use crate::{Event, Failure, Step, Timestamp, Upstreams};

const NOW: Timestamp = Timestamp::from_nanos(0);

fn upstreams(mirrors: &[&str]) -> Upstreams {
    let mirrors = mirrors.iter().map(|name| (*name).to_owned()).collect();
    let profile = Profile { timeout: Some(duration("1s")), mirrors, ..profile("default") };
    let one = |name: &str| cluster(name, LoadBalancing::LeastRequest, vec![endpoint(name, 1)]);
    let clusters = vec![one(CLUSTER), one("m1"), one("m2"), cluster("empty", LoadBalancing::Random, Vec::new())];
    Upstreams::new(plan(vec![profile], clusters), Timestamp::default())
}

fn begin(upstreams: &Upstreams, cluster: &str) -> Result<crate::Begun, crate::LocalReply> {
    let head = [header("x-shunt-cluster", cluster), header("x-envoy-retry-on", "5xx")];
    upstreams.begin(&ask(&head, true), NOW, &mut half)
}

#[test]
fn each_mirror_gets_one_copy_in_the_order_of_the_profile() {
    let begun = begin(&upstreams(&["m2", "m1"]), CLUSTER).unwrap();
    let names: Vec<_> = begun.shadows.iter().map(|shadow| shadow.step.attempt().unwrap().endpoint.address()).collect();
    assert_eq!(names, ["m2", "m1"]);
}

#[test]
fn a_mirror_that_is_unknown_or_empty_is_counted_and_does_no_harm() {
    let upstreams = upstreams(&["nowhere", "empty", "m1"]);
    assert_eq!(begin(&upstreams, CLUSTER).unwrap().shadows.len(), 1);
    assert_eq!(upstreams.dropped_shadows(), 2);
}

#[test]
fn a_request_without_an_upstream_is_not_copied() {
    let upstreams = upstreams(&["m1"]);
    assert!(begin(&upstreams, "empty").is_err());
    assert!(begin(&upstreams, "nowhere").is_err());
    assert_eq!(upstreams.dropped_shadows(), 0);
}

#[test]
fn a_copy_is_not_retried_but_its_original_is() {
    let mut begun = begin(&upstreams(&["m1"]), CLUSTER).unwrap();
    let failed = Event::Failed(Failure::Connect);
    let step = begun.shadows[0].exchange.on(failed, NOW, &mut half);
    assert!(matches!(step, Step::Reply(_)), "{step:?}");
    assert!(matches!(begun.exchange.on(failed, NOW, &mut half), Step::BackOff));
}

#[test]
fn a_copy_has_the_time_of_its_original_and_counts_on_its_endpoint() {
    let mut begun = begin(&upstreams(&["m1"]), CLUSTER).unwrap();
    let mut shadow = begun.shadows.remove(0);
    assert_eq!(shadow.exchange.wake_at(), Some(NOW.after(duration("1s"))));
    assert_eq!(shadow.step.attempt().unwrap().endpoint.active(), 1);
    let step = shadow.exchange.on(Event::Woken, NOW.after(duration("1s")), &mut half);
    assert!(matches!(step, Step::Reply(reply) if reply.status == 504), "{step:?}");
    assert_eq!(shadow.step.attempt().unwrap().endpoint.active(), 0);
}
