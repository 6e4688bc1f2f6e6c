//! Tries a configuration in a fresh instance, as Envoy does before an update: a configuration that makes the guest trap must
//! not cost the running one. Time is the host's and stands still; callouts, metrics and chance go nowhere, so a canary does
//! not shift the draws of the real guest.

use crate::config::PluginConfig;
use crate::host::{Callout, CalloutError, Callouts, Clock, Entropy, Host, Log, Metrics, Properties};
use crate::instance::{self, Failed};
use crate::metrics::{MetricError, MetricStore};
use crate::module::Module;
use crate::shared::SharedStore;
use crate::state::State;
use crate::stream::StreamId;
use crate::types::{LogLevel, MetricKind};

/// The guest's verdict, with its log lines when it is a bad one.
pub(crate) fn try_configuration<H: Host>(
    module: &Module,
    plugin: &PluginConfig,
    host: &H,
    configuration: &[u8],
) -> Result<(), (Failed, Vec<String>)> {
    let level = host.level();
    let canary =
        Canary { realtime_ns: host.realtime_ns(), monotonic_ns: host.monotonic_ns(), level, ..Canary::default() };
    // Its own shared data: nothing it writes may be seen.
    let plugin = PluginConfig { shared: SharedStore::new(), ..plugin.clone() };
    let mut store = instance::store(module, State::new(canary, plugin));
    store.data_mut().lines = Some(Vec::new());
    let result = instance::instantiate(module, &mut store).and_then(|exports| {
        let root = store.data_mut().next_context();
        instance::configure(module, &mut store, &exports, root, configuration)
    });
    result.map_err(|failed| (failed, store.data_mut().lines.take().unwrap_or_default()))
}

/// A host without a world.
#[derive(Debug)]
pub(crate) struct Canary {
    realtime_ns: u64,
    monotonic_ns: u64,
    level: LogLevel,
    metrics: MetricStore,
    draws: u64,
}

impl Default for Canary {
    fn default() -> Self {
        Canary { realtime_ns: 0, monotonic_ns: 0, level: LogLevel::Info, metrics: MetricStore::new(), draws: 0 }
    }
}

impl Clock for Canary {
    fn realtime_ns(&self) -> u64 {
        self.realtime_ns
    }
    fn monotonic_ns(&self) -> u64 {
        self.monotonic_ns
    }
}

impl Entropy for Canary {
    fn fill(&mut self, bytes: &mut [u8]) {
        for byte in bytes {
            self.draws = self.draws.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            *byte = (self.draws >> 56) as u8;
        }
    }
}

impl Log for Canary {
    fn level(&self) -> LogLevel {
        self.level
    }
    fn log(&mut self, _: LogLevel, _: &str) {}
}

impl Metrics for Canary {
    fn define(&mut self, kind: MetricKind, name: &str) -> u32 {
        self.metrics.define(kind, name)
    }
    fn increment(&mut self, id: u32, offset: i64) -> Result<(), MetricError> {
        self.metrics.increment(id, offset)
    }
    fn record(&mut self, id: u32, value: u64) -> Result<(), MetricError> {
        self.metrics.record(id, value)
    }
    fn get(&self, id: u32) -> Result<u64, MetricError> {
        self.metrics.get(id)
    }
}

impl Properties for Canary {
    fn property(&self, _: Option<StreamId>, _: &[&[u8]]) -> Option<Vec<u8>> {
        None
    }
}

impl Callouts for Canary {
    /// Accepted and cancelled, as Envoy cancels what a canary has begun.
    fn dispatch(&mut self, _: u32, _: Callout<'_>) -> Result<(), CalloutError> {
        Ok(())
    }
}
