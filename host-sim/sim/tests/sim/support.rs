//! The service these tests rehearse: sa-logic with versions v1 and v2, as filter configuration and as plan.
#![allow(clippy::unwrap_used, clippy::panic, reason = "clippy knows tests by their attribute, and these are helpers")]

use std::path::PathBuf;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use envoy_plan::{Backoff, Cluster, Endpoint, Plan, Profile, RetryOn, RetryPolicy};
use host_abi::Module;
use serde_json::{Value, json};
use traffic_sim::{Report, Rules, Scenario, Setup, Simulator, run};

pub(crate) const HOST: &str = "sa-logic.default.svc.cluster.local";
pub(crate) const V1: &str = "outbound|80|v1|sa-logic.default.svc.cluster.local";
pub(crate) const V2: &str = "outbound|80|v2|sa-logic.default.svc.cluster.local";

/// The filter, compiled once for all tests.
pub(crate) static MODULE: LazyLock<Module> = LazyLock::new(|| {
    let built = "../../target/wasm32-unknown-unknown/wasm/traffic_filter.wasm";
    let path = std::env::var_os("SHUNT_MODULE")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(built), PathBuf::from);
    let wasm = std::fs::read(&path).unwrap_or_else(|error| {
        panic!("{}: {error}\nbuild the filter by `make wasm`, or name it by SHUNT_MODULE", path.display())
    });
    Module::compile(&wasm).unwrap()
});

/// Rules and what carries them out.
pub(crate) struct Mesh {
    http: Value,
    profile: Profile,
    /// One name for each combination of mirrors.
    names: Vec<&'static str>,
}

impl Mesh {
    /// `v1` and `v2` get these shares.
    pub(crate) fn split(v1: u64, v2: u64) -> Self {
        let to = |subset: &str, weight| json!({"destination": {"host": HOST, "subset": subset}, "weight": weight});
        Self::rule(json!({"route": [to("v1", v1), to("v2", v2)]}), vec!["own"])
    }

    /// All to `v1`, and a copy to `v2`.
    pub(crate) fn mirrored() -> Self {
        let to = |subset: &str| json!({"host": HOST, "subset": subset});
        let rule = json!({"route": [{"destination": to("v1")}], "mirror": to("v2")});
        let mut mesh = Self::rule(rule, vec!["", "own"]);
        mesh.profile.mirrors.push(V2.to_owned());
        mesh
    }

    /// This rule.
    pub(crate) fn rule(http: Value, names: Vec<&'static str>) -> Self {
        Self { http, profile: profile("own"), names }
    }

    pub(crate) fn timeout(mut self, seconds: u64) -> Self {
        self.profile.timeout = Some(Duration::from_secs(seconds));
        self
    }

    pub(crate) fn retries(mut self, retries: u32, per_try_seconds: u64) -> Self {
        self.profile.retry = Some(RetryPolicy {
            retries,
            on: vec![RetryOn::FiveXx, RetryOn::Reset, RetryOn::ConnectFailure],
            status_codes: Vec::new(),
            per_try_timeout: Some(Duration::from_secs(per_try_seconds)),
            avoid_previous_hosts: true,
            host_selection_attempts: 5,
            backoff: Backoff::default(),
        });
        self
    }

    pub(crate) fn configuration(&self) -> Vec<u8> {
        let meta = |name: &str| json!({"name": name, "namespace": "default"});
        let endpoint = |address: &str, version: &str| json!({"address": address, "labels": {"version": version}});
        let subset = |version: &str| json!({"name": version, "labels": {"version": version}});
        let objects = json!([
            {
                "apiVersion": "networking.istio.io/v1", "kind": "ServiceEntry", "metadata": meta("sa-logic"),
                "spec": {
                    "hosts": [HOST], "location": "MESH_INTERNAL", "resolution": "STATIC",
                    "ports": [{"number": 80, "name": "http", "protocol": "HTTP"}],
                    "endpoints": [endpoint("10.0.0.1", "v1"), endpoint("10.0.0.2", "v2")],
                },
            },
            {
                "apiVersion": "networking.istio.io/v1", "kind": "DestinationRule", "metadata": meta("sa-logic"),
                "spec": {"host": HOST, "subsets": [subset("v1"), subset("v2")]},
            },
            {
                "apiVersion": "networking.istio.io/v1", "kind": "VirtualService", "metadata": meta("sa-logic"),
                "spec": {"hosts": [HOST], "http": [self.http]},
            },
        ]);
        let binding = json!({"virtualService": "default/sa-logic", "http": 0, "profiles": self.names});
        let config = json!({
            "apiVersion": "shunt.dev/v1alpha1", "kind": "FilterConfig", "objects": objects, "bindings": [binding],
        });
        config.to_string().into_bytes()
    }

    pub(crate) fn plan(&self) -> Arc<Plan> {
        let clusters = [cluster(V1, "10.0.0.1", "v1"), cluster(V2, "10.0.0.2", "v2")];
        Arc::new(Plan {
            profiles: vec![profile("default"), self.profile.clone()],
            clusters: clusters.into_iter().map(|cluster| (cluster.name.clone(), cluster)).collect(),
            ..Plan::default()
        })
    }

    pub(crate) fn rules(&self) -> Rules {
        Rules::for_all(self.configuration(), self.plan())
    }

    pub(crate) fn simulator(&self, seed: u64) -> Simulator {
        Simulator::new(&MODULE, &self.configuration(), self.plan(), seed).unwrap()
    }

    /// Plays a scenario of this `spec` with nobody watching.
    pub(crate) fn run(&self, spec: Value) -> Report {
        let setup = Setup { module: &MODULE, rules: self.rules(), configured: Vec::new(), later: Vec::new() };
        run(&scenario(spec).unwrap(), setup, traffic_sim::Control::default()).unwrap()
    }
}

fn profile(name: &str) -> Profile {
    Profile { name: name.to_owned(), ..Profile::default() }
}

fn cluster(name: &str, address: &str, version: &str) -> Cluster {
    cluster_of(name, address, &[("version", version)])
}

/// A cluster of one endpoint.
pub(crate) fn cluster_of(name: &str, address: &str, labels: &[(&str, &str)]) -> Cluster {
    let labels = labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Cluster {
        name: name.to_owned(),
        connect_timeout: Duration::from_secs(10),
        endpoints: vec![Endpoint { address: address.to_owned(), port: 80, weight: 1, labels, ..Endpoint::default() }],
        ..Cluster::default()
    }
}

/// The cluster of requests that pass through.
pub(crate) fn passthrough(name: String) -> Cluster {
    let discovery = envoy_plan::Discovery::RequestHost;
    Cluster { name, discovery, endpoints: Vec::new(), ..cluster("", "", "") }
}

/// A scenario around this `spec`.
pub(crate) fn scenario(spec: Value) -> Result<Scenario, String> {
    let whole = json!({
        "apiVersion": "shunt.dev/v1alpha1", "kind": "Scenario", "metadata": {"name": "test"}, "spec": spec,
    });
    Scenario::read(whole).map_err(|errors| errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
}

/// v1 answers after 20 ms; a third of v2's answers is right, a third 500, a third comes after 30 s.
pub(crate) fn buggy() -> Value {
    json!([{"host": "sa-logic", "versions": [
        {"labels": {"version": "v1"}, "outcomes": [{"latency": "20ms"}]},
        {"labels": {"version": "v2"}, "outcomes": [{"latency": "30s"}, {"status": 500}, {"latency": "20ms"}]},
    ]}])
}

/// One kind of request.
pub(crate) fn analyse() -> Value {
    json!([{"method": "POST", "host": HOST, "path": "/analyse/sentiment", "body": "{}"}])
}
