//! The filter as Istio's agent fetches it (`--wasm-url`): what requests get while it is fetched, when it is not the one whose sum
//! the manifest has, and when nobody is there.

use crate::sidecar::{HOST, canary, check_canary, to};
use crate::world::{World, programs};
use serde_json::Value;
use shunt_tests::istio::agent::Agent;
use shunt_tests::istio::download::Download;
use shunt_tests::istio::objects;
use shunt_tests::istio::render::{self, KINDS};
use shunt_tests::process::{free_address, skipped};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// How long a change may take: istiod waits for more of them, and the agent fetches.
const PATIENCE: Duration = Duration::from_secs(20);

/// What the agent counts.
const FETCHED: &str = r#"wasm_remote_fetch_count{result="success"}"#;
const OTHER_SUM: &str = r#"wasm_remote_fetch_count{result="checksum_mismatched"}"#;
const NOBODY: &str = r#"wasm_remote_fetch_count{result="download_failure"}"#;

/// A sidecar with an agent, and a place for the filter that it fetches.
struct Fetching {
    // Ended before the folder goes in which it runs.
    agent: Agent,
    world: World,
    at: SocketAddr,
    module: Vec<u8>,
}

/// `None` where no agent can run, which is then counted as skipped.
fn start(test: &str) -> Option<Fetching> {
    let programs = programs();
    if let Err(reason) = Agent::is_possible(&programs) {
        skipped(test, &reason);
        return None;
    }
    let module = render::module(&programs).unwrap_or_else(|error| panic!("{error}"));
    let at = free_address();
    let (world, agent) = World::start_with_agent(format!("http://{at}/filter.wasm"));
    Some(Fetching { agent, world, at, module })
}

impl Fetching {
    /// The filter is there from now on.
    fn publish(&self) -> Download {
        Download::start(self.at, self.module.clone()).unwrap()
    }

    /// Waits until the agent has counted so many of these.
    fn count(&mut self, what: &str, times: u64) {
        self.agent.wait_for(what, times).unwrap_or_else(|error| panic!("{what}: {error}"));
    }

    /// Waits until Envoy has refused what the agent sends in place of a filter.
    fn refusal(&mut self) {
        self.world.proxy.wait_for_refusal().unwrap_or_else(|error| panic!("{error}\n{}", self.agent.said()));
    }

    /// Waits until this is who answers.
    fn until(&self, expected: &str) {
        let begun = Instant::now();
        loop {
            let from = self.world.from(HOST, "/", &[]);
            if from == expected {
                return;
            }
            assert!(begun.elapsed() < PATIENCE, "{from}, not {expected}\n{}", self.agent.said());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Nobody else answers.
    fn always(&self, expected: &str) {
        let answers = self.world.many(HOST, 50);
        assert!(answers.iter().all(|from| from == expected), "not all {expected}: {answers:?}\n{}", self.agent.said());
    }
}

/// The manifests with a sum that no filter has.
fn with_other_sum(manifests: &[Value]) -> Vec<Value> {
    let mut manifests = manifests.to_vec();
    let replaced: usize = manifests.iter_mut().map(spoil).sum();
    assert!(replaced > 0, "no sum in {manifests:?}");
    manifests
}

fn spoil(value: &mut Value) -> usize {
    match value {
        Value::Array(list) => list.iter_mut().map(spoil).sum(),
        Value::Object(fields) => fields
            .iter_mut()
            .map(|(name, field)| match field {
                Value::String(sum) if name == "sha256" => {
                    "f".repeat(64).clone_into(sum);
                    1
                }
                other => spoil(other),
            })
            .sum(),
        _ => 0,
    }
}

#[test]
#[ignore = "needs istiod: `make test-istio`"]
fn a_filter_is_fetched_once_whatever_rules_it_gets() {
    let Some(mut it) = start("a filter that Istio's agent fetches") else { return };
    let there = it.publish();
    it.world.serve(&canary("istiod"), &it.world.filter(&canary("filter")));
    check_canary(&it.world, "filter");
    for subset in ["v2", "v3"] {
        it.world.serve(&to("v1"), &it.world.filter(&to(subset)));
        it.until(&format!("reviews-{subset}"));
    }
    assert_eq!((there.asked(), it.agent.metric(FETCHED)), (1, 1));
}

#[test]
#[ignore = "needs istiod: `make test-istio`"]
fn a_filter_with_another_sum_changes_nothing() {
    let Some(mut it) = start("a filter with another sum than the manifest's") else { return };
    let _there = it.publish();
    it.world.serve(&to("v1"), &[]);
    it.world.put(&to("v1"), &with_other_sum(&it.world.filter(&to("v2"))));
    it.count(OTHER_SUM, 1);
    it.refusal();
    it.always("reviews-v1");

    it.world.serve(&to("v1"), &it.world.filter(&to("v2")));
    it.until("reviews-v2");
    it.world.put(&to("v1"), &with_other_sum(&it.world.filter(&to("v3"))));
    it.count(OTHER_SUM, 2);
    it.refusal();
    it.always("reviews-v2");
    assert!(it.world.proxy.statistic("config_fail") >= 2, "Envoy counts both");
}

/// Until then nothing that istiod sends of other kinds makes the agent try again, as long as it keeps its connection.
#[test]
#[ignore = "needs istiod: `make test-istio`"]
fn a_filter_that_was_not_there_is_fetched_when_an_envoy_filter_changes() {
    let Some(mut it) = start("a filter that nobody serves yet") else { return };
    it.world.serve(&to("v1"), &[]);
    let filter = it.world.filter(&to("v2"));
    it.world.put(&to("v1"), &filter);
    it.count(NOBODY, 1);
    it.refusal();
    it.always("reviews-v1");

    let there = it.publish();
    // The marker of each version is a VirtualService.
    it.world.serve(&to("v1"), &filter);
    std::thread::sleep(Duration::from_millis(500));
    it.always("reviews-v1");
    assert_eq!(there.asked(), 0, "other rules of Istio's, and the same manifest");
    let others = [filter, vec![of_another_workload()]].concat();
    it.world.serve(&to("v1"), &others);
    it.until("reviews-v2");
    assert_eq!(there.asked(), 1, "an EnvoyFilter of another workload");
}

/// An EnvoyFilter that has nothing to do with the proxy.
fn of_another_workload() -> Value {
    let text = "{apiVersion: networking.istio.io/v1alpha3, kind: EnvoyFilter, metadata: {name: other}, \
        spec: {workloadSelector: {labels: {app: other}}, configPatches: [\
        {applyTo: CLUSTER, match: {context: SIDECAR_OUTBOUND}, patch: {operation: MERGE, value: {connect_timeout: 3s}}}]}}";
    objects::read(text).unwrap().remove(0)
}

#[test]
#[ignore = "needs istiod: `make test-istio`"]
fn a_traffic_extension_with_another_sum_denies_everything_until_it_has_its_own() {
    let Some(mut it) = start("a TrafficExtension with another sum") else { return };
    let there = it.publish();
    it.world.serve(&to("v1"), &[]);
    let good = it.world.rendered(KINDS[2], &to("v2"));
    it.world.put(&to("v1"), &with_other_sum(&good));
    it.count(OTHER_SUM, 1);
    it.until("403");
    let reply = it.world.get(HOST, "/", &[]);
    assert_eq!(String::from_utf8_lossy(&reply.body), "RBAC: access denied");
    it.always("nobody");

    it.world.put(&to("v1"), &good);
    it.until("reviews-v2");
    it.always("reviews-v2");
    assert_eq!((there.asked(), it.agent.metric(FETCHED)), (2, 1), "the refused one does not stay");
}
