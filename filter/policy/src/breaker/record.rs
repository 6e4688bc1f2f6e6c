//! What all workers know of the versions of one policy, as bytes in the host's shared data.

use super::watcher::{Seen, Tally};
use super::{BreakerRule, Guard, STABLE};
use std::collections::BTreeMap;
use std::fmt;

/// The form of the bytes; what has another is no record, and everything is closed.
const FORM: u8 = 1;

/// Parts of a window.
const SLICES: u64 = 10;

/// How long a probe may be under way before somebody else may send one.
const LEASE_MS: u64 = 10_000;

/// The share that a version begins to come back with, of a thousand.
const FIRST_SHARE: u64 = 100;

/// Whether a version gets requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Phase {
    /// All that are meant for it.
    #[default]
    Closed,
    /// None.
    Open,
    /// A few, to see whether it is well again.
    HalfOpen,
    /// More and more.
    Returning,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Slice {
    /// Number of the part of time, from 1970.
    index: u64,
    requests: u64,
    failures: u64,
}

/// One version.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct State {
    phase: Phase,
    /// When the phase began.
    since_ms: u64,
    /// How often it has gone out without being back in between.
    opened: u32,
    /// Its failures of a thousand requests when it went out.
    failed_share: u64,
    /// Failures in a row, up to now.
    run: u32,
    /// Probes under way, the moment of the last, and how many have succeeded.
    leases: u32,
    leased_ms: u64,
    succeeded: u32,
    slices: [Slice; 10],
}

/// What is known together, by cluster: so a configuration with other versions leaves those alone that stay.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    states: BTreeMap<Box<str>, State>,
}

/// A version goes out or comes back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Its place in the guard.
    pub member: u32,
    /// Whether it is out from now on; a version that sends probes still is.
    pub out: bool,
    /// Why.
    pub reason: Reason,
}

/// Why a version goes out or comes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// So many failures in a row; out for so many milliseconds.
    Run(u32, u64),
    /// So many failures of so many requests; out for so many milliseconds.
    Share(u64, u64, u64),
    /// A probe has failed; out for so many milliseconds.
    Probe(u64),
    /// The time is over: probes are sent.
    Probing,
    /// So many probes have succeeded: its share comes back.
    Well(u32),
    /// The version that stands in fails as much.
    NoBetter,
    /// All of its share is back.
    Back,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Run(failures, ms) => write!(f, "{failures} failures in a row: out for {ms} ms"),
            Self::Share(failures, requests, ms) => {
                write!(f, "{failures} of {requests} requests failed: out for {ms} ms")
            }
            Self::Probe(ms) => write!(f, "a probe failed: out for another {ms} ms"),
            Self::Probing => f.write_str("the time is over: a few requests are let through"),
            Self::Well(probes) => write!(f, "{probes} probes succeeded: its share comes back"),
            Self::NoBetter => f.write_str("the version that stands in for it fails as much: its share comes back"),
            Self::Back => f.write_str("all of its share is back"),
        }
    }
}

impl Record {
    /// The record that these bytes hold; of anything else an empty one, in which every version is closed.
    pub fn read(bytes: &[u8]) -> Self {
        let Some((&FORM, mut rest)) = bytes.split_first() else { return Self::default() };
        let mut states = BTreeMap::new();
        while !rest.is_empty() {
            let Some((name, state)) = State::read(&mut rest) else { return Self::default() };
            states.insert(name, state);
        }
        Self { states }
    }

    /// As bytes.
    pub fn write(&self) -> Vec<u8> {
        let mut bytes = vec![FORM];
        for (name, state) in &self.states {
            state.write(name, &mut bytes);
        }
        bytes
    }

    /// How a version is reached, and by how much of its share, of a thousand.
    pub(super) fn phase(&self, guard: &Guard, member: u32, now_ms: u64) -> (Phase, u64) {
        let Some((state, rule)) = name(guard, member).and_then(|name| self.states.get(name)).zip(guard.breaker) else {
            return (Phase::Closed, 1000);
        };
        let passed = now_ms.saturating_sub(state.since_ms).min(rule.return_ms);
        let back = (1000 - FIRST_SHARE).saturating_mul(passed).checked_div(rule.return_ms).unwrap_or(1000);
        (state.phase, (FIRST_SHARE + back).min(1000))
    }

    /// Takes in what a worker has seen. Tells what changes, and the versions to which it may send a probe.
    pub(super) fn merge(&mut self, guard: &Guard, tally: &Tally, now_ms: u64) -> (Vec<Change>, Vec<u32>) {
        let (mut changes, mut granted) = (Vec::new(), Vec::new());
        let Some(rule) = guard.breaker else { return (changes, granted) };
        let members = || (STABLE..).zip(&guard.members);
        self.states.retain(|name, _| guard.members.contains(name));
        let mut worst_runs = Vec::new();
        for (member, name) in members() {
            let seen = tally.of(member);
            let state = match self.states.get_mut(name) {
                Some(state) => state,
                None if seen == Seen::default() => {
                    worst_runs.push(0);
                    continue;
                }
                None => self.states.entry(name.clone()).or_default(),
            };
            worst_runs.push(state.take_in(&rule, &seen, now_ms));
        }
        let stable = name(guard, STABLE).and_then(|name| self.states.get(name)).cloned().unwrap_or_default();
        for ((member, name), worst_run) in members().zip(worst_runs).skip(1) {
            let room = self.has_room(guard, &rule, member);
            let Some(state) = self.states.get_mut(name) else { continue };
            let seen = tally.of(member);
            let next = match state.phase {
                Phase::Closed | Phase::Returning => state.fails(&rule, &stable, worst_run, now_ms, room),
                Phase::Open | Phase::HalfOpen => state.recovers(&rule, &stable, &seen, now_ms),
            };
            if let Some(reason) = next {
                let out = matches!(state.phase, Phase::Open | Phase::HalfOpen);
                changes.push(Change { member, out, reason });
            }
            if state.phase == Phase::HalfOpen
                && seen.refused
                && state.leases.saturating_add(state.succeeded) < rule.probes
            {
                (state.leases, state.leased_ms) = (state.leases.saturating_add(1), now_ms);
                granted.push(member);
            }
        }
        (changes, granted)
    }

    /// Whether this version may go out beside those that are.
    fn has_room(&self, guard: &Guard, rule: &BreakerRule, member: u32) -> bool {
        let is_out = |other: u32| {
            let state = name(guard, other).and_then(|name| self.states.get(name));
            other == member || state.is_some_and(|state| matches!(state.phase, Phase::Open | Phase::HalfOpen))
        };
        guard.weights.iter().filter(|rule| rule.iter().any(|(other, _)| *other == member)).all(|weights| {
            let sum = |counts: &dyn Fn(u32) -> bool| {
                weights
                    .iter()
                    .filter(|(other, _)| counts(*other))
                    .fold(0_u64, |sum, (_, weight)| sum.saturating_add(*weight))
            };
            let out = sum(&|other| other != STABLE && is_out(other));
            out.saturating_mul(100) <= sum(&|_| true).saturating_mul(u64::from(rule.out_percent_max))
        })
    }
}

/// The cluster of a member.
fn name(guard: &Guard, member: u32) -> Option<&str> {
    guard.members.get(usize::try_from(member).ok()?).map(|name| &**name)
}

impl State {
    /// Counts. Gives the longest run of failures that there was.
    fn take_in(&mut self, rule: &BreakerRule, seen: &Seen, now_ms: u64) -> u32 {
        // A clock that was set back: nothing has begun later than now.
        self.since_ms = self.since_ms.min(now_ms);
        self.leased_ms = self.leased_ms.min(now_ms);
        let index = now_ms / slice_ms(rule);
        let place = usize::try_from(index % SLICES).ok().filter(|_| seen.requests > 0);
        if let Some(slice) = place.and_then(|place| self.slices.get_mut(place)) {
            if slice.index != index {
                *slice = Slice { index, ..Slice::default() };
            }
            slice.requests = slice.requests.saturating_add(seen.requests.into());
            slice.failures = slice.failures.saturating_add(seen.failures.into());
        }
        let first = self.run.saturating_add(seen.leading);
        self.run = if seen.succeeded { seen.trailing } else { first };
        first.max(seen.longest)
    }

    /// Requests and failures of the window.
    fn window(&self, rule: &BreakerRule, now_ms: u64) -> (u64, u64) {
        let index = now_ms / slice_ms(rule);
        let counts = |slice: &&Slice| slice.index <= index && index.saturating_sub(slice.index) < SLICES;
        self.slices.iter().filter(counts).fold((0, 0), |(requests, failures), slice| {
            (slice.requests.saturating_add(requests), slice.failures.saturating_add(failures))
        })
    }

    /// Of a version that gets requests: whether it goes out, or is back.
    fn fails(&mut self, rule: &BreakerRule, stable: &Self, worst_run: u32, now_ms: u64, room: bool) -> Option<Reason> {
        let (requests, failures) = self.window(rule, now_ms);
        let (of_stable, stable_failures) = stable.window(rule, now_ms);
        let by_run = rule.consecutive > 0 && worst_run >= rule.consecutive && stable.run < rule.consecutive;
        let by_share = rule.percent > 0
            && requests >= u64::from(rule.min_requests)
            && failures.saturating_mul(100) >= requests.saturating_mul(rule.percent.into())
            && (of_stable == 0 || failures.saturating_mul(of_stable) > stable_failures.saturating_mul(requests));
        if room && (by_run || by_share) {
            let share = failures.saturating_mul(1000).checked_div(requests).unwrap_or(1000);
            self.failed_share = if by_share { share } else { 1000 };
            let ms = self.open(rule, now_ms);
            return Some(if by_share { Reason::Share(failures, requests, ms) } else { Reason::Run(worst_run, ms) });
        }
        if self.phase == Phase::Returning && now_ms.saturating_sub(self.since_ms) >= rule.return_ms {
            self.enter(Phase::Closed, now_ms);
            self.opened = 0;
            return Some(Reason::Back);
        }
        None
    }

    /// Of a version that is out: whether it comes back.
    fn recovers(&mut self, rule: &BreakerRule, stable: &Self, seen: &Seen, now_ms: u64) -> Option<Reason> {
        let (of_stable, stable_failures) = stable.window(rule, now_ms);
        let fails_as_much = (of_stable >= u64::from(rule.min_requests.max(1))
            && stable_failures.saturating_mul(1000) >= self.failed_share.saturating_mul(of_stable))
            || (rule.consecutive > 0 && stable.run >= rule.consecutive);
        if fails_as_much {
            self.return_to_service(now_ms);
            return Some(Reason::NoBetter);
        }
        if self.phase == Phase::Open {
            let over = now_ms.saturating_sub(self.since_ms) >= self.open_ms(rule);
            return over.then(|| {
                self.enter(Phase::HalfOpen, now_ms);
                Reason::Probing
            });
        }
        if seen.probes_failed > 0 {
            return Some(Reason::Probe(self.open(rule, now_ms)));
        }
        self.succeeded = self.succeeded.saturating_add(seen.probes_succeeded);
        self.leases = self.leases.saturating_sub(seen.probes_succeeded);
        if self.succeeded >= rule.probes {
            let probes = self.succeeded;
            self.return_to_service(now_ms);
            return Some(Reason::Well(probes));
        }
        if now_ms.saturating_sub(self.leased_ms) >= LEASE_MS {
            self.leases = 0;
        }
        None
    }

    /// Out it goes, for so many milliseconds.
    fn open(&mut self, rule: &BreakerRule, now_ms: u64) -> u64 {
        self.opened = self.opened.saturating_add(1);
        self.enter(Phase::Open, now_ms);
        self.open_ms(rule)
    }

    fn open_ms(&self, rule: &BreakerRule) -> u64 {
        let doubled = rule.open_ms.saturating_mul(1_u64.checked_shl(self.opened.saturating_sub(1)).unwrap_or(u64::MAX));
        doubled.min(rule.open_max_ms)
    }

    /// What it failed at before counts no more.
    fn return_to_service(&mut self, now_ms: u64) {
        self.enter(Phase::Returning, now_ms);
        self.run = 0;
        self.slices = [Slice::default(); 10];
    }

    fn enter(&mut self, phase: Phase, now_ms: u64) {
        (self.phase, self.since_ms) = (phase, now_ms);
        (self.leases, self.succeeded) = (0, 0);
    }

    fn write(&self, name: &str, bytes: &mut Vec<u8>) {
        let Self { phase, since_ms, opened, failed_share, run, leases, leased_ms, succeeded, slices } = self;
        let length = u32::try_from(name.len()).unwrap_or_default();
        bytes.extend(length.to_le_bytes());
        bytes.extend(name.bytes().take(usize::try_from(length).unwrap_or_default()));
        bytes.push(*phase as u8);
        [opened, run, leases, succeeded].iter().for_each(|number| bytes.extend(number.to_le_bytes()));
        let times = [since_ms, failed_share, leased_ms].into_iter();
        let counts = slices.iter().flat_map(|slice| [&slice.index, &slice.requests, &slice.failures]);
        times.chain(counts).for_each(|number| bytes.extend(number.to_le_bytes()));
    }

    fn read(bytes: &mut &[u8]) -> Option<(Box<str>, Self)> {
        let length = usize::try_from(number32(bytes)?).ok()?;
        let (name, rest) = bytes.split_at_checked(length)?;
        let name = std::str::from_utf8(name).ok()?.into();
        let (phase, rest) = rest.split_first()?;
        let phase = match phase {
            0 => Phase::Closed,
            1 => Phase::Open,
            2 => Phase::HalfOpen,
            3 => Phase::Returning,
            _ => return None,
        };
        *bytes = rest;
        let mut state = Self { phase, ..Self::default() };
        for field in [&mut state.opened, &mut state.run, &mut state.leases, &mut state.succeeded] {
            *field = number32(bytes)?;
        }
        for field in [&mut state.since_ms, &mut state.failed_share, &mut state.leased_ms] {
            *field = number64(bytes)?;
        }
        for Slice { index, requests, failures } in &mut state.slices {
            for field in [index, requests, failures] {
                *field = number64(bytes)?;
            }
        }
        Some((name, state))
    }
}

/// How long a part of the window is.
fn slice_ms(rule: &BreakerRule) -> u64 {
    (rule.window_ms / SLICES).max(1)
}

fn number32(bytes: &mut &[u8]) -> Option<u32> {
    let (number, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(u32::from_le_bytes(*number))
}

fn number64(bytes: &mut &[u8]) -> Option<u64> {
    let (number, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(u64::from_le_bytes(*number))
}
