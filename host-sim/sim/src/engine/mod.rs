//! One request after the other through the filter and the upstreams, all in virtual time.
//!
//! Three tables: a [`Flight`] is a request with its stream in the filter of whoever sends it, a [`Job`] is an exchange with
//! upstreams (the request itself, a copy, a call of the filter), a [`Task`] is a service at work on an attempt, which may
//! send requests itself. A client's request and a service's differ in their owner alone: each passes the [`Sender`] of who
//! sends it. [`Engine::next`] makes the next thing happen; the clock stands wherever that was. What an upstream does is
//! asked of the [`Observer`] at the moment something is sent to it.
//!
//! `client` has what happens between a sender and his filter, `exchange` what happens between filter and upstreams, `task`
//! what happens in a service.

mod client;
mod exchange;
mod observe;
mod queue;
mod sender;
mod served;
mod slab;
mod task;
mod workplace;
mod world;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use host_abi::{Flow, HeaderMap, Module, StartError, StreamId, Vm, Woken};
use upstream::{PathNormalization, Timestamp};

use crate::check::Check;
pub(crate) use crate::engine::client::Caller;
use crate::engine::client::Flight;
use crate::engine::exchange::Job;
use crate::engine::queue::{Queue, What};
use crate::engine::sender::Sender;
use crate::engine::slab::{Key, Slab};
use crate::engine::task::Task;
use crate::engine::workplace::Workplaces;
use crate::engine::world::Crash;
pub(crate) use crate::engine::world::World;
use crate::report::micros;

pub use observe::{AttemptEnd, Cause, Ended, Given, RequestSpec, Role, Sent};
pub(crate) use observe::{Decided, Observer, Over};
pub use sender::{Configuration, Rules, Workload};

/// Which sender.
type Place = usize;

/// The sender that all clients share: the gateway, or the proxy beside a client.
const CLIENTS: Place = 0;

/// Where simulated proxies listen.
const LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 80);

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

/// Why a run cannot go on.
#[derive(Debug)]
pub(crate) enum Broken {
    /// The filter of a caller does not start.
    Start(Box<StartError>),
    /// The rules lead calls in a circle.
    Circle(Cause),
}

/// The filters, the upstreams and the future.
pub(crate) struct Engine {
    module: Module,
    rules: Rules,
    seed: u64,
    senders: Vec<Sender>,
    /// The sender of an endpoint that has made calls, by the proxy that numbered it and its number there.
    callers: BTreeMap<(Place, u64), Place>,
    now: Timestamp,
    /// The same, for the filters.
    clock: Arc<AtomicU64>,
    queue: Queue,
    flights: Slab<Flight>,
    jobs: Slab<Job>,
    tasks: Slab<Task>,
    workplaces: Workplaces,
    /// Calls of services so far.
    calls: u64,
    /// More calls than so many, each for the sake of the one before, run in a circle.
    pub(crate) depth_max: u32,
    broken: Option<Broken>,
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
    pub(crate) fn new(module: &Module, rules: &Rules, clients: Workload, seed: u64) -> Result<Self, Box<StartError>> {
        let clock = Arc::default();
        Ok(Self {
            module: module.clone(),
            rules: rules.clone(),
            seed,
            senders: vec![Sender::start(module, rules, clients, &clock, seed, "")?],
            callers: BTreeMap::new(),
            now: Timestamp::default(),
            clock,
            queue: Queue::default(),
            flights: Slab::default(),
            jobs: Slab::default(),
            tasks: Slab::default(),
            workplaces: Workplaces::default(),
            calls: 0,
            depth_max: u32::MAX,
            broken: None,
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
    pub(crate) fn configure(&mut self, rules: &Rules) -> Result<(), Box<StartError>> {
        for sender in &mut self.senders {
            sender.configure(rules)?;
            sender.stand_in_front(&self.module, rules, &self.clock, self.seed)?;
        }
        self.rules = rules.clone();
        Ok(())
    }

    /// The same filters, with other endpoints.
    pub(crate) fn scale(&mut self, rules: &Rules) {
        self.senders.iter_mut().for_each(|sender| sender.carry_out(&rules.plan));
        self.rules = rules.clone();
    }

    /// Why nothing more will happen, if something is wrong.
    pub(crate) fn broken(&mut self) -> Option<Broken> {
        self.broken.take()
    }

    /// The time.
    pub(crate) fn now(&self) -> Timestamp {
        self.now
    }

    /// The surroundings of the filters, log and metrics: the clients' first.
    pub(crate) fn worlds(&self) -> impl Iterator<Item = &World> {
        self.senders.iter().flat_map(|sender| [Some(&sender.vm), sender.inbound.as_ref()]).flatten().map(Vm::host)
    }

    /// Copies that had no cluster or no endpoint.
    pub(crate) fn dropped_shadows(&self) -> u64 {
        self.senders.iter().map(|sender| sender.upstreams.dropped_shadows()).sum()
    }

    /// Plans something that [`Engine::next`] hands back when its time has come.
    pub(crate) fn plan_outside(&mut self, at: Timestamp, name: u64) {
        self.queue.push(at, What::Outside(name));
    }

    /// Makes the next thing happen. `None`: nothing ever will.
    pub(crate) fn next(&mut self, observer: &mut impl Observer) -> Option<Happened> {
        loop {
            if self.broken.is_some() {
                return None;
            }
            let (at, what) = self.queue.peek()?;
            if !self.is_live(at, what) {
                self.queue.pop();
                continue;
            }
            if let Some((due, place)) = self.tick_due().filter(|(due, _)| *due <= at) {
                self.advance(due);
                if let Some(sender) = self.senders.get_mut(place) {
                    sender.vm.tick();
                }
                self.settle(place, observer);
                return Some(Happened::Inside);
            }
            self.queue.pop();
            self.advance(at);
            let sender = self.sender_of(what);
            match what {
                What::Outside(name) => return Some(Happened::Outside(name)),
                What::Finished { job, .. } => self.finished(job, observer),
                What::Wake(job) => self.wake(job, observer),
                What::Body(flight) => self.body(flight, observer),
                What::SetOut(flight) => self.set_out(flight, observer),
                What::GiveUp(flight) => self.end(flight, Ended::GaveUp, observer),
                What::Idle { flight, .. } => self.idle(flight, observer),
                What::GoOn(task) => self.go_on(task, observer),
                What::Done(task) => self.done(task, None, observer),
            }
            if let Some(sender) = sender {
                self.settle(sender, observer);
            }
            return Some(Happened::Inside);
        }
    }

    /// The first tick that a guest wants, and whose it is.
    fn tick_due(&self) -> Option<(Timestamp, Place)> {
        let due = |(place, sender): (Place, &Sender)| Some((Timestamp::from_nanos(sender.vm.tick_due()?), place));
        self.senders.iter().enumerate().filter_map(due).min()
    }

    /// Whose proxy an event concerns. What a task does may concern several, and it sees to that itself.
    fn sender_of(&self, what: What) -> Option<Place> {
        match what {
            What::Finished { job, .. } | What::Wake(job) => self.jobs.get(job).map(|job| job.sender),
            What::Body(flight) | What::SetOut(flight) | What::GiveUp(flight) | What::Idle { flight, .. } => {
                self.flights.get(flight).map(|flight| flight.sender)
            }
            What::Outside(_) | What::GoOn(_) | What::Done(_) => None,
        }
    }

    /// Whether an event still means something. Stale ones must not move the clock.
    fn is_live(&self, at: Timestamp, what: What) -> bool {
        match what {
            What::Outside(_) => true,
            What::Finished { job, serial } => self.jobs.get(job).is_some_and(|job| job.waits_for(serial)),
            What::Wake(job) => self.jobs.get(job).is_some_and(|job| job.is_armed(at)),
            What::SetOut(flight) | What::GiveUp(flight) => self.flights.get(flight).is_some(),
            What::Body(flight) => self.flights.get(flight).is_some_and(Flight::waits_for_body),
            What::GoOn(task) | What::Done(task) => self.tasks.get(task).is_some(),
            What::Idle { flight, hold } => self.flights.get(flight).is_some_and(|flight| flight.is_held(hold)),
        }
    }

    fn advance(&mut self, to: Timestamp) {
        self.now = self.now.max(to);
        self.clock.store(self.now.as_nanos(), Ordering::Relaxed);
    }

    /// Carries out what has been moved elsewhere: streams that go on and calls, by the guest's callbacks, and requests that have waited
    /// for a connection, by the end of others.
    fn settle(&mut self, place: Place, observer: &mut impl Observer) {
        self.notice_crash(place, None);
        loop {
            while let Some(wakeup) = self.senders.get_mut(place).and_then(|sender| sender.vm.next_wakeup()) {
                let Some(flight) = self.flight_of(place, wakeup.stream) else { continue };
                let flow = match wakeup.what {
                    Woken::Request | Woken::Response => Flow::Continue,
                    Woken::LocalReply { details } => Flow::LocalReply { details },
                    Woken::Reset { details } => Flow::Reset { details },
                };
                self.flow(flight, flow, observer);
            }
            let Some(sender) = self.senders.get_mut(place) else { return };
            if let Some(job) = sender.served.next() {
                self.wake(job, observer);
                continue;
            }
            if sender.vm.host().calls.is_empty() {
                return;
            }
            for call in std::mem::take(&mut sender.vm.host_mut().calls) {
                self.call_out(place, call, observer);
            }
        }
    }

    /// A filter that has crashed is a violation, told with what it was doing, for whom, and how to see it again. `over` is a
    /// request that has just come to its end.
    fn notice_crash(&mut self, place: Place, over: Option<(StreamId, Cause)>) {
        let crash = self.senders.get_mut(place).and_then(|sender| sender.vm.host_mut().crash.take());
        let Some(Crash { stream, during, reason }) = crash else { return };
        let cause = stream.and_then(|stream| match over {
            Some((own, cause)) if own == stream => Some(cause),
            _ => self.flight_of(place, stream).and_then(|flight| self.flights.get(flight)).map(|flight| flight.cause),
        });
        let (at, seed) = (micros(self.now.as_nanos() / 1_000), self.seed);
        match cause {
            Some(cause) => self.check.violated(format_args!(
                "{cause}: the filter crashed {during}, after {at}: {reason}; `--seed {seed} --trace {}` plays it again",
                cause.request
            )),
            None => self.check.violated(format_args!(
                "the filter crashed {during}, after {at}: {reason}; `--seed {seed}` plays it again"
            )),
        }
    }

    fn flight_of(&self, place: Place, stream: StreamId) -> Option<Key> {
        let held = self.senders.get(place)?.held.get(&stream).copied();
        let is_it = |flight: &Flight| flight.sender == place && flight.stream == stream;
        held.or_else(|| self.flights.iter().find(|(_, flight)| is_it(flight)).map(|(key, _)| key))
    }

    /// The run is over: whoever still waits is told so. Gives what the checks have found.
    ///
    /// `calm` says that all there was to do has been done; then only those may still wait whose upstream never answers.
    pub(crate) fn close(&mut self, calm: bool, observer: &mut impl Observer) -> Vec<String> {
        let jobs: Vec<Key> = self.jobs.iter().map(|(key, _)| key).collect();
        let flights: Vec<Key> = self.flights.iter().map(|(key, _)| key).collect();
        let tasks: Vec<Key> = self.tasks.iter().map(|(key, _)| key).collect();
        for key in tasks {
            if calm && !self.tasks.get(key).is_some_and(Task::may_hang) {
                self.check.violated(format_args!("a service did not finish its work"));
            }
        }
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
        let tasks: Vec<Key> = self.tasks.iter().map(|(key, _)| key).collect();
        for key in tasks {
            self.tasks.remove(key);
        }
        self.workplaces.clear();
        let open: usize = self.senders.iter().map(|sender| sender.vm.open_streams()).sum();
        if open > 0 {
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
