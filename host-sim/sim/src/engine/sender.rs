//! Whoever sends requests, clients and services alike, does so through a proxy of his own: a filter with his labels, and an
//! upstream side that counts and balances for him alone, as a sidecar does.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use envoy_plan::Plan;
use host_abi::{Clock, HeaderMap, Module, PluginConfig, SharedStore, StartError, StreamId, Vm};
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
    /// The filter's configuration in front of a workload. `None`: there is no filter, as it would have nothing to do.
    pub inbound: Option<Configuration>,
}

impl Rules {
    /// The same configuration for every workload.
    pub fn for_all(configuration: impl Into<Vec<u8>>, plan: Arc<Plan>) -> Self {
        let configuration = configuration.into();
        Self { configuration: Arc::new(move |_| configuration.clone()), plan, inbound: None }
    }
}

/// One of them. The clients' is number 0.
pub(super) struct Sender {
    /// Tells it from others; the clients' has none.
    pub(super) name: String,
    workload: Workload,
    pub(super) vm: Vm<World>,
    /// The filter in front of the workload, for what comes in.
    pub(super) inbound: Option<Vm<World>>,
    /// What both filters share.
    shared: SharedStore,
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
        let Rules { configuration, plan, inbound: _ } = rules;
        let configuration = configuration(&workload);
        let shared = SharedStore::new();
        let config =
            PluginConfig { name: "shunt".into(), configuration, shared: shared.clone(), ..PluginConfig::default() };
        let chance = |what: &str| Chance::new(seed, format!("{what} {name}").trim_end());
        let mut sender = Self {
            name: name.to_owned(),
            vm: Vm::start(module, World::new(Arc::clone(plan), Arc::clone(clock), chance("guest")), config)?,
            workload,
            inbound: None,
            shared,
            upstreams: Upstreams::new(Arc::clone(plan), Timestamp::from_nanos(clock.load(Ordering::Relaxed))),
            served: Served::default(),
            held: BTreeMap::new(),
            balancing: chance("balancing"),
            request_ids: chance("request ids"),
        };
        sender.stand_in_front(module, rules, clock, seed)?;
        Ok(sender)
    }

    /// Puts the filter in front of the workload too, where there is something to do for it. Nothing comes in to clients.
    pub(super) fn stand_in_front(
        &mut self,
        module: &Module,
        rules: &Rules,
        clock: &Arc<AtomicU64>,
        seed: u64,
    ) -> Result<(), Box<StartError>> {
        let Some(configuration) = rules.inbound.as_ref().filter(|_| !self.name.is_empty()) else {
            self.inbound = None;
            return Ok(());
        };
        let configuration = configuration(&self.workload);
        match &mut self.inbound {
            Some(vm) => vm.configure(&configuration)?,
            None => {
                let chance = Chance::new(seed, &format!("inbound guest {}", self.name));
                let world = World::new(Arc::clone(&rules.plan), Arc::clone(clock), chance);
                let (name, shared) = ("shunt-inbound".into(), self.shared.clone());
                let config = PluginConfig { name, configuration, shared, ..PluginConfig::default() };
                self.inbound = Some(Vm::start(module, world, config)?);
            }
        }
        Ok(())
    }

    /// A request has come in. What the filter in front of the workload makes of it is no more than what it keeps: it lets every
    /// request pass.
    pub(super) fn comes_in(&mut self, head: HeaderMap) {
        if let Some(inbound) = &mut self.inbound {
            let stream = inbound.open_stream();
            inbound.request_headers(stream, head, true);
            inbound.close_stream(stream);
        }
    }

    /// Takes other rules, for requests to come; if the filter refuses, everything stays as it was.
    pub(super) fn configure(&mut self, rules: &Rules) -> Result<(), Box<StartError>> {
        let Rules { configuration, plan, inbound: _ } = rules;
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
