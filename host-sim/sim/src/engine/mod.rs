//! One request after the other through the filter and the upstreams, all in virtual time.
//!
//! Two tables: a [`Flight`] is a client's request with its stream in the filter, a [`Job`] is an exchange with upstreams
//! (the request itself, a copy, a call of the filter). [`Engine::next`] makes the next thing happen; the clock stands
//! wherever that was. What an upstream does is asked of the [`Observer`] at the moment something is sent to it.
//!
//! `client` has what happens between client and filter, `exchange` what happens between filter and upstreams.

mod client;
mod exchange;
mod observe;
mod queue;
mod served;
mod slab;
mod world;

use std::collections::BTreeMap;
use std::sync::Arc;

use envoy_plan::Plan;
use host_abi::{Flow, HeaderMap, Module, PluginConfig, StartError, StreamId, Vm, Woken};
use upstream::{PathNormalization, Timestamp, Upstreams};

use crate::chance::Chance;
use crate::check::Check;
use crate::engine::client::Flight;
use crate::engine::exchange::Job;
use crate::engine::queue::{Queue, What};
use crate::engine::served::Served;
use crate::engine::slab::{Key, Slab};
use crate::engine::world::World;

pub use observe::{AttemptEnd, Ended, Given, RequestSpec, Role, Sent};
pub(crate) use observe::{Observer, Over};

/// Header maps that are kept for reuse.
const SPARE_MAX: usize = 64;

/// Something happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Happened {
    /// Inside the engine; the observer has heard of it.
    Inside,
    /// What was planned by [`Engine::plan_outside`] under this name.
    Outside(u64),
}

/// The filter, the upstreams and the future.
pub(crate) struct Engine {
    vm: Vm<World>,
    upstreams: Upstreams,
    now: Timestamp,
    queue: Queue,
    flights: Slab<Flight>,
    jobs: Slab<Job>,
    /// Jobs whose connection has become free.
    served: Served,
    /// Streams that the guest holds.
    held: BTreeMap<StreamId, Key>,
    balancing: Chance,
    request_ids: Chance,
    /// What is done to the path of a request before the filter sees it.
    pub(crate) path_normalization: PathNormalization,
    check: Check,
    spare: Vec<HeaderMap>,
    /// Of the last thing that was sent to an upstream.
    serial: u64,
}

impl Engine {
    /// Starts the filter.
    ///
    /// # Errors
    ///
    /// Whatever the filter or its host say at the start; among it the filter's reasons to refuse its configuration.
    pub(crate) fn new(
        module: &Module,
        configuration: &[u8],
        plan: Arc<Plan>,
        seed: u64,
    ) -> Result<Self, Box<StartError>> {
        let config =
            PluginConfig { name: "shunt".into(), configuration: configuration.to_vec(), ..PluginConfig::default() };
        Ok(Self {
            vm: Vm::start(module, World::new(Arc::clone(&plan), seed), config)?,
            upstreams: Upstreams::new(plan, Timestamp::default()),
            now: Timestamp::default(),
            queue: Queue::default(),
            flights: Slab::default(),
            jobs: Slab::default(),
            served: Served::default(),
            held: BTreeMap::new(),
            balancing: Chance::new(seed, "balancing"),
            request_ids: Chance::new(seed, "request ids"),
            path_normalization: PathNormalization::default(),
            check: Check::default(),
            spare: Vec::new(),
            serial: 0,
        })
    }

    /// Takes other rules and another plan, for requests to come.
    ///
    /// # Errors
    ///
    /// The filter refuses; then everything stays as it was.
    pub(crate) fn configure(&mut self, configuration: &[u8], plan: Arc<Plan>) -> Result<(), Box<StartError>> {
        self.vm.configure(configuration)?;
        self.vm.host_mut().plan = Arc::clone(&plan);
        self.upstreams.replace_plan(plan, self.now);
        Ok(())
    }

    /// The time.
    pub(crate) fn now(&self) -> Timestamp {
        self.now
    }

    /// The filter's surroundings: log and metrics.
    pub(crate) fn world(&self) -> &World {
        self.vm.host()
    }

    /// Copies that had no cluster or no endpoint.
    pub(crate) fn dropped_shadows(&self) -> u64 {
        self.upstreams.dropped_shadows()
    }

    /// Plans something that [`Engine::next`] hands back when its time has come.
    pub(crate) fn plan_outside(&mut self, at: Timestamp, name: u64) {
        self.queue.push(at, What::Outside(name));
    }

    /// Makes the next thing happen. `None`: nothing ever will.
    pub(crate) fn next(&mut self, observer: &mut impl Observer) -> Option<Happened> {
        loop {
            let (at, what) = self.queue.peek()?;
            if !self.is_live(at, what) {
                self.queue.pop();
                continue;
            }
            if self.vm.tick_due().is_some_and(|due| due <= at.as_nanos()) {
                let due = self.vm.tick_due().map_or(at, Timestamp::from_nanos);
                self.advance(due);
                self.vm.tick();
                self.settle(observer);
                return Some(Happened::Inside);
            }
            self.queue.pop();
            self.advance(at);
            match what {
                What::Outside(name) => return Some(Happened::Outside(name)),
                What::Finished { job, .. } => self.finished(job, observer),
                What::Wake(job) => self.wake(job, observer),
                What::SetOut(flight) => self.set_out(flight, observer),
                What::GiveUp(flight) => self.end(flight, Ended::GaveUp, observer),
                What::Idle { flight, .. } => self.idle(flight, observer),
            }
            self.settle(observer);
            return Some(Happened::Inside);
        }
    }

    /// Whether an event still means something. Stale ones must not move the clock.
    fn is_live(&self, at: Timestamp, what: What) -> bool {
        match what {
            What::Outside(_) => true,
            What::Finished { job, serial } => self.jobs.get(job).is_some_and(|job| job.waits_for(serial)),
            What::Wake(job) => self.jobs.get(job).is_some_and(|job| job.is_armed(at)),
            What::SetOut(flight) | What::GiveUp(flight) => self.flights.get(flight).is_some(),
            What::Idle { flight, hold } => self.flights.get(flight).is_some_and(|flight| flight.is_held(hold)),
        }
    }

    fn advance(&mut self, to: Timestamp) {
        self.now = self.now.max(to);
        self.vm.host_mut().now_ns = self.now.as_nanos();
    }

    /// Carries out what has been moved elsewhere: streams that go on and calls, by the guest's callbacks, and requests that have waited
    /// for a connection, by the end of others.
    fn settle(&mut self, observer: &mut impl Observer) {
        loop {
            while let Some(wakeup) = self.vm.next_wakeup() {
                let Some(flight) = self.flight_of(wakeup.stream) else { continue };
                let flow = match wakeup.what {
                    Woken::Request | Woken::Response => Flow::Continue,
                    Woken::LocalReply { details } => Flow::LocalReply { details },
                    Woken::Reset { details } => Flow::Reset { details },
                };
                self.flow(flight, flow, observer);
            }
            if let Some(job) = self.served.next() {
                self.wake(job, observer);
                continue;
            }
            if self.vm.host().calls.is_empty() {
                return;
            }
            for call in std::mem::take(&mut self.vm.host_mut().calls) {
                self.call_out(call, observer);
            }
        }
    }

    fn flight_of(&self, stream: StreamId) -> Option<Key> {
        let held = self.held.get(&stream).copied();
        held.or_else(|| self.flights.iter().find(|(_, flight)| flight.stream == stream).map(|(key, _)| key))
    }

    /// The run is over: whoever still waits is told so. Gives what the checks have found.
    ///
    /// `calm` says that all there was to do has been done; then only those may still wait whose upstream never answers.
    pub(crate) fn close(&mut self, calm: bool, observer: &mut impl Observer) -> Vec<String> {
        let jobs: Vec<Key> = self.jobs.iter().map(|(key, _)| key).collect();
        let flights: Vec<Key> = self.flights.iter().map(|(key, _)| key).collect();
        for key in flights {
            let hangs = self.flights.get(key).is_some_and(|flight| self.may_hang(flight));
            if calm && !hangs {
                self.check.violated(format_args!("a request was left without an answer, and nothing was under way"));
            }
            self.end(key, Ended::Waiting, observer);
        }
        for key in jobs {
            let hangs = self.jobs.get(key).is_none_or(Job::may_hang);
            if calm && !hangs {
                self.check.violated(format_args!("an exchange did not come to its end"));
            }
            self.drop_job(key, AttemptEnd::Waiting, observer);
        }
        if self.vm.open_streams() > 0 {
            let open = self.vm.open_streams();
            self.check.violated(format_args!("{open} streams of the filter were left open"));
        }
        self.check.finish()
    }

    fn may_hang(&self, flight: &Flight) -> bool {
        flight.primary.and_then(|primary| self.jobs.get(primary)).is_some_and(Job::may_hang)
    }

    fn spare_map(&mut self) -> HeaderMap {
        self.spare.pop().unwrap_or_default()
    }

    fn keep_map(&mut self, mut map: HeaderMap) {
        if self.spare.len() < SPARE_MAX {
            map.clear();
            self.spare.push(map);
        }
    }
}
