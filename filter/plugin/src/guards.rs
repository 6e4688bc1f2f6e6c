//! Versions that are watched: what this worker has seen of them, and what all workers know together.
//!
//! On the way of a request nothing is asked of the host but the status of its answer. Ten times a second, and when a configuration
//! comes, each worker reads the common record of each guard from shared data and puts its counts into it, by a write that holds only
//! if nobody has written in between.

use crate::hostcalls::{self, LogLevel, Written};
use crate::metrics::{self, Counter, Gauge};
use std::cell::RefCell;
use traffic_policy::Policy;
use traffic_policy::breaker::{Admission, Change, Guard, Reason, Watch, Watcher};

/// How often workers look at what they know together, in milliseconds.
pub(crate) const PERIOD_MS: u32 = 100;

/// Writes before the counts wait for the next look.
const ATTEMPTS: u32 = 4;

/// The watchers of one policy, by the numbers of its guards.
#[derive(Default)]
pub(crate) struct Guards(RefCell<Vec<Watched>>);

/// What a worker knows of the versions of one guard.
struct Watched {
    watcher: Watcher,
    /// By version: whether it is out.
    out: Vec<Gauge>,
    /// Whether the switch is on.
    killed: Gauge,
}

impl Guards {
    /// Of a policy that begins to serve: with what is known of its versions already.
    pub(crate) fn new(policy: &Policy) -> Self {
        let now_ms = hostcalls::now_ms();
        let watched = |guard: &Guard| Watched {
            watcher: Watcher::new(guard, now_ms),
            out: guard.members.iter().map(|_| Gauge::default()).collect(),
            killed: Gauge::default(),
        };
        let guards = Self(RefCell::new(policy.guards().iter().map(watched).collect()));
        guards.look(policy);
        guards
    }

    /// In which turn of the version a request is let through to it.
    pub(crate) fn turn(&self, watch: Watch) -> u32 {
        self.with(watch.guard, |watcher| watcher.turn(watch.member)).unwrap_or_default()
    }

    /// Whether the version gets a request.
    pub(crate) fn admits(&self, guard: u32, member: u32) -> Admission {
        let draw = crate::random::draw;
        let admission = self.with(guard, |watcher| watcher.admits(member, draw)).unwrap_or(Admission::Yes);
        match admission {
            Admission::Yes => {}
            Admission::Probe => metrics::increment(Counter::BreakerProbes),
            Admission::No => metrics::increment(Counter::BreakerMoved),
        }
        admission
    }

    /// The answer to a request of this turn has come: by another version, if that was asked in between.
    pub(crate) fn answered(&self, guard: &Guard, watch: Watch, turn: u32, asked_another: bool, took_ms: Option<u64>) {
        let failed = asked_another || status().is_some_and(|status| guard.failures.include(status, took_ms));
        self.record(watch, turn, failed);
    }

    /// Nobody waits for the answer any more. Who has waited for too long knows that it is slow; who has not knows nothing.
    pub(crate) fn left(&self, guard: &Guard, watch: Watch, turn: u32, took_ms: u64) {
        if guard.failures.slower_than_ms.is_some_and(|limit| took_ms > limit) {
            self.record(watch, turn, true);
        }
    }

    fn record(&self, watch: Watch, turn: u32, failed: bool) {
        let Watch { guard, member, probe, .. } = watch;
        self.with(guard, |watcher| watcher.record(member, turn, failed, probe));
    }

    /// Tells the other workers what this one has seen, and learns what they have.
    pub(crate) fn look(&self, policy: &Policy) {
        let now_ms = hostcalls::now_ms();
        for (guard, watched) in policy.guards().iter().zip(self.0.borrow_mut().iter_mut()) {
            let Watched { watcher, out, killed } = watched;
            if let Some(sha256) = guard.switch.as_ref().and_then(|switch| switch.sha256.as_ref())
                && let Some((state, _)) = hostcalls::shared_data(&crate::switch::key(sha256))
            {
                watcher.kill(is_on(guard) || state == crate::switch::ON);
            }
            if guard.switch.is_some() {
                let name = || format!("shunt.kill_switch.on.{}", guard.policy.replace('/', "."));
                killed.tell(name, watcher.is_killed());
            }
            if guard.breaker.is_some() {
                merge(guard, watcher, now_ms);
                // For the first, which stands in for the others, nothing is there to tell.
                for ((member, name), gauge) in (0..).zip(&guard.members).zip(out).skip(1) {
                    gauge.tell(|| format!("shunt.breaker.open.{name}"), watcher.is_out(member));
                }
            }
        }
    }

    /// Everything goes to the version that stands in, or no longer.
    pub(crate) fn kill(&self, guard: u32, on: bool) {
        self.with(guard, |watcher| watcher.kill(on));
    }

    /// Whether everything goes to the version that stands in.
    pub(crate) fn is_killed(&self, guard: u32) -> bool {
        self.with(guard, |watcher| watcher.is_killed()).unwrap_or_default()
    }

    fn with<T>(&self, guard: u32, what: impl FnOnce(&mut Watcher) -> T) -> Option<T> {
        self.0.borrow_mut().get_mut(usize::try_from(guard).ok()?).map(|watched| what(&mut watched.watcher))
    }
}

/// Whether the files say that everything goes to the version that stands in; nobody can say otherwise at run time.
pub(crate) fn is_on(guard: &Guard) -> bool {
    guard.switch.as_ref().is_some_and(|switch| switch.on)
}

/// The status of the answer that the client gets.
fn status() -> Option<u16> {
    std::str::from_utf8(&hostcalls::response_header(b":status")?).ok()?.parse().ok()
}

fn merge(guard: &Guard, watcher: &mut Watcher, now_ms: u64) {
    let key = guard.key();
    for _ in 0..ATTEMPTS {
        let (bytes, version) = hostcalls::shared_data(&key).unwrap_or((Vec::new(), hostcalls::NEVER));
        let merged = watcher.merge(guard, &bytes, now_ms);
        let written = match &merged.record {
            Some(record) => hostcalls::set_shared_data(&key, record, version),
            None => Written::Done,
        };
        match written {
            Written::Done => {
                merged.changes.iter().for_each(|change| tell(guard, change));
                return watcher.keep(merged);
            }
            Written::Overtaken => {}
            // A host without shared data: each worker is on its own, and knows what it saw last.
            Written::Failed => return watcher.keep(merged),
        }
    }
}

/// One line in the log, and the counters.
fn tell(guard: &Guard, change: &Change) {
    let Change { member, out: _, reason } = change;
    let name = |member: u32| usize::try_from(member).ok().and_then(|member| guard.members.get(member));
    let (version, stable) = (name(*member).map_or("", |name| name), name(0).map_or("", |name| name));
    match reason {
        Reason::Run(..) | Reason::Share(..) | Reason::Probe(_) => metrics::increment(Counter::BreakerOpened),
        Reason::Probing => metrics::increment(Counter::BreakerHalfOpened),
        Reason::Well(_) | Reason::NoBetter => metrics::increment(Counter::BreakerClosed),
        Reason::Back => {}
    }
    hostcalls::log(LogLevel::Warn, &format!("shunt: breaker {}: {version}: {reason} (stable: {stable})", guard.policy));
}
