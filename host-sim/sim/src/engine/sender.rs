//! Whoever sends requests, clients and services alike, does so through a proxy of his own: a filter with his labels, and an
//! upstream side that counts and balances for him alone, as a sidecar does.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use envoy_plan::Plan;
use host_abi::{Clock, Module, PluginConfig, StartError, StreamId, Vm};
use upstream::{Timestamp, Upstreams};

use crate::chance::Chance;
use crate::engine::served::Served;
use crate::engine::slab::Key;
use crate::engine::world::World;

/// Who runs a proxy: what a rule's `sourceNamespace` and `sourceLabels` are compared with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Workload {
    /// Its namespace.
    pub namespace: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
}

/// Writes the filter's configuration for a workload.
pub type Configuration = Arc<dyn Fn(&Workload) -> Vec<u8> + Send + Sync>;

/// What manifests say, ready for the proxy of any workload.
#[derive(Clone)]
pub struct Rules {
    /// The filter's configuration.
    pub configuration: Configuration,
    /// What carries its decisions out; made from the same manifests.
    pub plan: Arc<Plan>,
}

impl Rules {
    /// The same configuration for every workload.
    pub fn for_all(configuration: impl Into<Vec<u8>>, plan: Arc<Plan>) -> Self {
        let configuration = configuration.into();
        Self { configuration: Arc::new(move |_| configuration.clone()), plan }
    }
}

/// One of them. The clients' is number 0.
pub(super) struct Sender {
    /// Tells it from others; the clients' has none.
    pub(super) name: String,
    workload: Workload,
    pub(super) vm: Vm<World>,
    pub(super) upstreams: Upstreams,
    /// Jobs whose connection has become free.
    pub(super) served: Served,
    /// Streams that the guest holds.
    pub(super) held: BTreeMap<StreamId, Key>,
    pub(super) balancing: Chance,
    pub(super) request_ids: Chance,
}

impl Sender {
    /// Starts the filter.
    pub(super) fn start(
        module: &Module,
        rules: &Rules,
        workload: Workload,
        clock: &Arc<AtomicU64>,
        seed: u64,
        name: &str,
    ) -> Result<Self, Box<StartError>> {
        let Rules { configuration, plan } = rules;
        let configuration = configuration(&workload);
        let config = PluginConfig { name: "shunt".into(), configuration, ..PluginConfig::default() };
        let chance = |what: &str| Chance::new(seed, format!("{what} {name}").trim_end());
        Ok(Self {
            name: name.to_owned(),
            vm: Vm::start(module, World::new(Arc::clone(plan), Arc::clone(clock), chance("guest")), config)?,
            workload,
            upstreams: Upstreams::new(Arc::clone(plan), Timestamp::from_nanos(clock.load(Ordering::Relaxed))),
            served: Served::default(),
            held: BTreeMap::new(),
            balancing: chance("balancing"),
            request_ids: chance("request ids"),
        })
    }

    /// Takes other rules, for requests to come; if the filter refuses, everything stays as it was.
    pub(super) fn configure(&mut self, rules: &Rules) -> Result<(), Box<StartError>> {
        let Rules { configuration, plan } = rules;
        self.vm.configure(&configuration(&self.workload))?;
        self.carry_out(plan);
        Ok(())
    }

    /// Takes another plan, for requests to come.
    pub(super) fn carry_out(&mut self, plan: &Arc<Plan>) {
        self.vm.host_mut().plan = Arc::clone(plan);
        let now = Timestamp::from_nanos(self.vm.host_mut().monotonic_ns());
        self.upstreams.replace_plan(Arc::clone(plan), now);
    }
}
