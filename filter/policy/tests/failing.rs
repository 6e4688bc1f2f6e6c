//! Versions that are out, and requests that may be asked of another one.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test may fail")]

use istio_config::filter_config::{Direction, FallbackBinding, ProfileBinding};
use istio_config::{Config, Diagnostics, FilterConfig, yaml};
use std::collections::BTreeMap;
use traffic_policy::breaker::Admission;
use traffic_policy::{Decision, Draw, Forward, Policy, RequestHead};
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

const RULES: &str = "
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: a}
spec:
  hosts: [a.com]
  http:
  - match: [{uri: {prefix: /aborted}}]
    fault: {abort: {httpStatus: 503, percentage: {value: 100}}}
    route: [{destination: {host: a.com, subset: v2}}]
  - match: [{uri: {prefix: /other}}]
    route: [{destination: {host: b.com, subset: v2}}]
  - route:
    - {destination: {host: a.com, subset: v1}, weight: 0, headers: {request: {set: {x-version: v1}}}}
    - {destination: {host: a.com, subset: v2}, weight: 1, headers: {request: {set: {x-version: v2}}}}
---
apiVersion: shunt.dev/v1alpha1
kind: ShuntPolicy
metadata: {name: p}
spec:
  targetRef: {name: a}
  stable: {subset: v1}
  fallback: {}
  breaker: {failurePercent: 50}
";

/// What a host answers to the questions about versions and budgets, and which were asked.
struct Host {
    admission: Admission,
    budget: bool,
    asked: Vec<(u32, u32)>,
}

impl Draw for Host {
    fn draw(&mut self) -> u64 {
        0
    }

    fn admits(&mut self, guard: u32, member: u32) -> Admission {
        self.asked.push((guard, member));
        self.admission
    }

    fn falls_back(&mut self, _: u32) -> bool {
        self.budget
    }
}

/// The cluster that asks v1 where v2 fails.
const BOTH: &str = "fallback|outbound|80|v2|a.com|outbound|80|v1|a.com";

fn v(version: &str) -> String {
    format!("outbound|80|{version}|a.com")
}

fn policy() -> Policy {
    compiled(RULES, Direction::Outbound, BOTH)
}

/// These objects as the filter has them, with `both` as the cluster that stands for v2 and another version.
fn compiled(objects: &str, direction: Direction, both: &str) -> Policy {
    let (mut config, mut sources, mut diagnostics) =
        (Config::default(), yaml::Sources::default(), Diagnostics::default());
    yaml::read("f", objects, &mut config, &mut sources, &mut diagnostics);
    let clusters = BTreeMap::from([(v("v2"), both.to_owned())]);
    let fallback = Some(FallbackBinding { profiles: vec!["p1".to_owned()], clusters });
    let bindings = [0, 2].map(|http| ProfileBinding {
        virtual_service: "default/a".to_owned(),
        http,
        fallback: fallback.clone(),
        profiles: vec![String::new()],
        ..ProfileBinding::default()
    });
    let config = FilterConfig {
        config,
        bindings: bindings.to_vec(),
        namespace: "default".into(),
        direction,
        ..FilterConfig::default()
    };
    // As it gets to the filter.
    let config = FilterConfig::read(config.to_json(), &mut diagnostics);
    let policy = Policy::compile(&config, &mut diagnostics);
    policy.unwrap_or_else(|| panic!("{diagnostics:?}"))
}

fn decide<T>(path: &str, method: &str, host: &mut Host, look: impl FnOnce(&Forward<'_>) -> T) -> T {
    let policy = policy();
    let pairs = [(":authority", "a.com"), (":path", path), (":method", method)];
    let pairs: Vec<_> = pairs.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())).collect();
    match policy.decide(&RequestHead::new(&pairs), host) {
        Decision::Forward(forward) => look(&forward),
        other => panic!("{other:?}"),
    }
}

fn host(admission: Admission) -> Host {
    Host { admission, budget: true, asked: Vec::new() }
}

#[test]
fn who_gets_requests_may_be_stood_in_for() {
    let mut host = host(Admission::Yes);
    decide("/", "GET", &mut host, |forward| {
        assert_eq!((forward.cluster, forward.version, forward.profile), (BOTH, &*v("v2"), Some("p1")));
        assert_eq!(forward.budget, Some(0));
        let watch = forward.watch.unwrap();
        assert_eq!((watch.member, watch.probe, watch.moved), (1, false, false));
    });
    assert_eq!(host.asked, [(0, 1)]);
}

#[test]
fn who_is_out_gets_nothing_and_the_edits_are_those_of_the_stable_version() {
    decide("/", "GET", &mut host(Admission::No), |forward| {
        assert_eq!((forward.cluster, forward.version, forward.profile), (&*v("v1"), &*v("v1"), None));
        let watch = forward.watch.unwrap();
        assert_eq!((watch.member, watch.probe, watch.moved), (0, false, true));
        assert_eq!(
            format!("{:?}", forward.edits),
            format!("{:?}", [traffic_policy::Edit::Set("x-version", b"v1".into())])
        );
    });
}

#[test]
fn a_probe_is_told_from_other_requests() {
    decide("/", "GET", &mut host(Admission::Probe), |forward| {
        assert_eq!((forward.version, forward.watch.unwrap().probe), (&*v("v2"), true));
    });
}

#[test]
fn a_spent_budget_and_a_method_that_is_not_idempotent_leave_one_version() {
    let spent = &mut Host { budget: false, ..host(Admission::Yes) };
    decide("/", "GET", spent, |forward| assert_eq!((forward.cluster, forward.budget), (&*v("v2"), None)));
    let yes = &mut host(Admission::Yes);
    decide("/", "POST", yes, |forward| assert_eq!((forward.cluster, forward.budget), (&*v("v2"), None)));
}

#[test]
fn an_injected_abort_is_no_versions_failure() {
    let mut host = host(Admission::Yes);
    decide("/aborted", "GET", &mut host, |forward| {
        assert_eq!((forward.watch, forward.budget), (None, None));
    });
    assert_eq!(host.asked, []);
}

/// `stable` without a host is a version of the destination's own service.
#[test]
fn versions_of_another_service_are_watched_apart() {
    let mut host = host(Admission::No);
    decide("/other", "GET", &mut host, |forward| {
        assert_eq!((forward.cluster, forward.watch.unwrap().member), ("outbound|80|v1|b.com", 0));
    });
    let (other, member) = host.asked[0];
    assert_eq!(member, 1);
    host.asked.clear();
    decide("/", "GET", &mut host, |_| ());
    assert_ne!(host.asked[0].0, other);
}

/// A request as the application sends it: without what came to it.
const LEAVES: [(&[u8], &[u8]); 4] =
    [(b":authority", b"a.com"), (b":path", b"/"), (b":method", b"GET"), (b"x-request-id", b"7")];

/// The rules, and context for these hosts.
fn with_context(to: &str) -> String {
    format!(
        "{RULES}---\napiVersion: shunt.dev/v1alpha1\nkind: ShuntPolicy\nmetadata: {{name: c}}\nspec: {{propagate: {{to: {to}, headers: [baggage]}}}}\n"
    )
}

/// Which cluster is chosen for `LEAVES`, and how many headers it gets back, where it came with `baggage`.
fn leaves(to: &str, both: &str, host: &mut Host) -> (String, usize) {
    let objects = with_context(to);
    let [inbound, outbound] =
        [Direction::Inbound, Direction::Outbound].map(|direction| compiled(&objects, direction, both));
    let (keeping, giving) = (inbound.propagation().unwrap(), outbound.propagation().unwrap());
    let came: Vec<_> = LEAVES.into_iter().chain([(&b"baggage"[..], &b"a=1"[..])]).collect();
    let (came, leaves) = (RequestHead::new(&came), RequestHead::new(&LEAVES));
    let id = keeping.id(&came).unwrap();
    let kept = keeping.keep(&came, &id, &[], 5);
    let context = giving.context(&id, &kept.value, 6).unwrap();
    match outbound.decide_in(Some(&context), &leaves, host) {
        (Decision::Forward(forward), edits) => (forward.cluster.to_owned(), edits.len()),
        other => panic!("{other:?}"),
    }
}

/// Such a request may be decided twice, and is admitted, and paid for, once.
#[test]
fn context_that_a_request_gets_back_lets_it_past_nobody_who_is_out() {
    let mut out = host(Admission::No);
    assert_eq!(leaves("[a.com]", BOTH, &mut out), (v("v1"), 1));
    assert_eq!(out.asked.len(), 1);
    let mut poor = Host { budget: false, ..host(Admission::Yes) };
    assert_eq!(leaves("[a.com]", BOTH, &mut poor), (v("v2"), 1));
    // Decided a second time without the context, which does not go there.
    let mut out = host(Admission::No);
    assert_eq!(leaves("[b.com]", BOTH, &mut out), (v("v1"), 0));
    assert_eq!(out.asked.len(), 1);
}

/// The other version gets the same request, so its host has to be in `to` as well.
#[test]
fn context_goes_to_no_host_that_is_only_asked_where_another_fails() {
    let other = "fallback|outbound|80|v2|a.com|outbound|80|v1|b.com";
    for (to, gets) in [("[a.com]", 0), ("[a.com, b.com]", 1), ("[b.com]", 0)] {
        assert_eq!(leaves(to, other, &mut host(Admission::Yes)), (other.to_owned(), gets), "{to}");
    }
}
