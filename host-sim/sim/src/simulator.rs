//! Single requests against upstreams that a test scripts, with all that happened to each. It is the engine of
//! [`crate::run()`], looked at more closely.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use envoy_plan::Plan;
use host_abi::{HeaderMap, LogLevel, MetricStore, Module, StartError};
use upstream::{Flags, PathNormalization, Timestamp};

use crate::behaviour::Behaviour;
use crate::engine::{
    AttemptEnd, Cause, Ended, Engine, Given, Observer, Over, RequestSpec, Role, Rules, Sent, Workload,
};
use crate::engine::{Caller, World};

/// The filter and the upstreams of a plan, in virtual time.
pub struct Simulator {
    engine: Engine,
    sent: u64,
}

/// All that one request caused.
#[derive(Clone, Debug)]
pub struct Exchange {
    /// What the client got.
    pub response: ResponseRecord,
    /// What upstreams got for the client's sake, in order.
    pub attempts: Vec<AttemptRecord>,
    /// What mirrors got.
    pub shadows: Vec<AttemptRecord>,
    /// What the filter itself sent.
    pub callouts: Vec<AttemptRecord>,
    /// What upstreams got by the calls of others, copies included.
    pub calls: Vec<AttemptRecord>,
    /// What must never happen and did. Empty unless something is broken.
    pub violations: Vec<String>,
}

/// What the client got.
#[derive(Clone, Debug)]
pub struct ResponseRecord {
    /// How the request ended.
    pub ended: Ended,
    /// The status; `None` where there was no response.
    pub status: Option<u16>,
    /// The head, with pseudo headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
    /// Why the proxy answered itself (`%RESPONSE_CODE_DETAILS%`); empty if it did not.
    pub details: String,
    /// Envoy's response flags.
    pub flags: Flags,
    /// The cluster that the filter chose, known or not; `None` where it chose none.
    pub cluster: Option<String>,
    /// How long the client waited.
    pub took: Duration,
}

/// One thing that an upstream got.
#[derive(Clone, Debug)]
pub struct AttemptRecord {
    /// From 1.
    pub number: u32,
    /// The cluster.
    pub cluster: String,
    /// IP address of the endpoint.
    pub address: String,
    /// TCP port of the endpoint.
    pub port: u16,
    /// Labels of the endpoint.
    pub labels: BTreeMap<String, String>,
    /// The head as the upstream saw it.
    pub headers: HeaderMap,
    /// The body as the upstream saw it.
    pub body: Bytes,
    /// When it was sent, counted from the client's sending the request.
    pub at: Duration,
    /// How it ended.
    pub end: AttemptEnd,
    /// How long that took.
    pub took: Duration,
}

impl Simulator {
    /// Starts the filter with this configuration; `plan` is what carries its decisions out.
    ///
    /// # Errors
    ///
    /// The filter refuses its configuration, or does not start at all.
    pub fn new(
        module: &Module,
        filter_configuration: &[u8],
        plan: Arc<Plan>,
        seed: u64,
    ) -> Result<Self, Box<StartError>> {
        let rules = Rules::for_all(filter_configuration, plan);
        Ok(Self { engine: Engine::new(module, &rules, Workload::default(), seed)?, sent: 0 })
    }

    /// Normalises paths so from now on; by Istio's default (`BASE`) unless told.
    pub fn set_path_normalization(&mut self, how: PathNormalization) {
        self.engine.path_normalization = how;
    }

    /// Takes other rules and another plan, for requests to come.
    ///
    /// # Errors
    ///
    /// The filter refuses; everything stays as it was.
    pub fn configure(&mut self, filter_configuration: &[u8], plan: Arc<Plan>) -> Result<(), Box<StartError>> {
        self.engine.configure(&Rules::for_all(filter_configuration, plan))
    }

    /// Sends one request and lets all happen that it causes, mirrors included. `behave` is asked for each attempt, copy
    /// and callout at the moment it is sent; [`Sent`] says which it is.
    pub fn request(&mut self, request: &RequestSpec, behave: impl FnMut(&Sent<'_>) -> Behaviour) -> Exchange {
        self.sent += 1;
        let mut recorder = Recorder { behave, begun: self.engine.now(), records: Vec::new(), response: None };
        self.engine.begin(self.sent, request, Caller::NEIGHBOUR, &mut recorder);
        while self.engine.next(&mut recorder).is_some() {}
        let violations = self.engine.close(true, &mut recorder);
        let Recorder { records, response, .. } = recorder;
        let mut exchange = Exchange {
            response: response.unwrap_or_default(),
            attempts: Vec::new(),
            shadows: Vec::new(),
            callouts: Vec::new(),
            calls: Vec::new(),
            violations,
        };
        for (cause, role, _, record) in records {
            match role {
                _ if cause.call > 0 => exchange.calls.push(record),
                Role::Primary => exchange.attempts.push(record),
                Role::Shadow => exchange.shadows.push(record),
                Role::Callout => exchange.callouts.push(record),
            }
        }
        exchange
    }

    /// Lets virtual time pass, ticks of the filter included.
    pub fn wait(&mut self, span: Duration) {
        let mut nobody = Recorder {
            behave: |_: &Sent<'_>| Behaviour::status(200),
            begun: self.engine.now(),
            records: Vec::new(),
            response: None,
        };
        self.engine.plan_outside(self.engine.now().after(span), 0);
        while self.engine.next(&mut nobody).is_some() {}
    }

    /// The virtual time since the start.
    pub fn now(&self) -> Timestamp {
        self.engine.now()
    }

    /// The filter's log lines from `Info` up: level, text and how often it came, by first occurrence.
    pub fn log(&self) -> &[(LogLevel, String, u64)] {
        self.engine.worlds().next().map_or(&[], |world| &world.lines.all)
    }

    /// The filter's metrics.
    pub fn metrics(&self) -> Option<&MetricStore> {
        self.engine.worlds().next().map(World::metrics)
    }

    /// Copies that had no cluster or no endpoint to go to.
    pub fn dropped_shadows(&self) -> u64 {
        self.engine.dropped_shadows()
    }
}

impl Default for ResponseRecord {
    fn default() -> Self {
        Self {
            ended: Ended::Waiting,
            status: None,
            headers: HeaderMap::new(),
            body: Bytes::new(),
            details: String::new(),
            flags: Flags::NONE,
            cluster: None,
            took: Duration::ZERO,
        }
    }
}

struct Recorder<F> {
    behave: F,
    begun: Timestamp,
    /// With what it belongs to, its role and its number.
    records: Vec<(Cause, Role, u64, AttemptRecord)>,
    response: Option<ResponseRecord>,
}

impl<F: FnMut(&Sent<'_>) -> Behaviour> Observer for Recorder<F> {
    fn behave(&mut self, sent: &Sent<'_>) -> Behaviour {
        let record = AttemptRecord {
            number: sent.number,
            cluster: sent.endpoint.cluster().to_owned(),
            address: sent.endpoint.address().to_owned(),
            port: sent.endpoint.port(),
            labels: sent.endpoint.labels().clone(),
            headers: sent.headers.clone(),
            body: sent.body.clone(),
            at: sent.at.since(self.begun),
            end: AttemptEnd::Waiting,
            took: Duration::ZERO,
        };
        self.records.push((sent.cause, sent.role, sent.serial, record));
        (self.behave)(sent)
    }

    fn over(&mut self, over: &Over<'_>) {
        if let Some((.., record)) = self.records.iter_mut().find(|(_, _, serial, _)| *serial == over.serial) {
            (record.end, record.took) = (over.end, over.took);
        }
    }

    fn given(&mut self, given: &Given<'_>) {
        if given.cause.call > 0 {
            return;
        }
        self.response = Some(ResponseRecord {
            ended: given.ended,
            status: given.status,
            headers: given.headers.clone(),
            body: given.body.clone(),
            details: given.details.to_owned(),
            flags: given.flags,
            cluster: given.cluster.map(str::to_owned),
            took: given.at.since(given.begun),
        });
    }
}
