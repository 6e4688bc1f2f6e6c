//! What all workers know of the versions of one policy, as bytes in the host's shared data.

use super::watcher::{Seen, Tally};
use super::{BreakerRule, Guard, STABLE};
use std::collections::BTreeMap;
use std::fmt;

/// The form of the bytes; what has another is no record, and everything is closed.
const FORM: u8 = 2;

/// Parts of a window.
const SLICES: u64 = 10;

/// How long a probe may be under way before somebody else may send one.
const LEASE_MS: u64 = 10_000;

/// By so many of a hundred requests a version has to fail more than the one that stands in for it.
const MARGIN_PERCENT: u64 = 10;

/// The share that a version begins to come back with, of a thousand.
const FIRST_SHARE: u64 = 100;

/// So long a version is remembered that no configuration knows any more: it may come back, and another plugin of this host may know it.
const REMEMBERED_MS: u64 = 600_000;

/// So often a version that is known is marked as such.
const MARKED_MS: u64 = 60_000;

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

/// By whose settings a version goes out and comes back.
///
/// A host keeps the filter's context of an earlier configuration, and goes on calling it, until its last request has been
/// answered; that may take hours. So the latest settings hold, and whoever has others only looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Settings {
    /// What they are known by.
    pub(super) hash: u64,
    /// When they came.
    pub(super) since_ms: u64,
}

/// One version.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct State {
    settings: Settings,
    /// When a configuration knew it.
    known_ms: u64,
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
    pub(super) fn merge(
        &mut self,
        guard: &Guard,
        settings: Settings,
        tally: &Tally,
        now_ms: u64,
    ) -> (Vec<Change>, Vec<u32>) {
        let (mut changes, mut granted) = (Vec::new(), Vec::new());
        let Some(rule) = guard.breaker else { return (changes, granted) };
        let members = || (STABLE..).zip(&guard.members);
        self.states.retain(|name, state| {
            state.known_ms = state.known_ms.min(now_ms);
            guard.members.contains(name) || now_ms.saturating_sub(state.known_ms) < REMEMBERED_MS
        });
        let mut worst_runs = Vec::new();
        for (member, name) in members() {
            let seen = tally.of(member);
            let state = match self.states.get_mut(name) {
                Some(state) => state,
                None if seen == Seen::default() => {
                    worst_runs.push(0);
                    continue;
                }
                None => self.states.entry(name.clone()).or_insert(State { settings, ..State::default() }),
            };
            let holds = state.is_subject_to(settings, now_ms);
            worst_runs.push(if holds { state.take_in(&rule, &seen, now_ms) } else { 0 });
        }
        let stable = name(guard, STABLE).and_then(|name| self.states.get(name)).cloned().unwrap_or_default();
        for ((member, name), worst_run) in members().zip(worst_runs).skip(1) {
            let room = self.has_room(guard, &rule, member);
            let Some(state) = self.states.get_mut(name).filter(|state| state.settings.hash == settings.hash) else {
                continue;
            };
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
        guard.allows(rule, member, &is_out)
    }
}

/// The cluster of a member.
fn name(guard: &Guard, member: u32) -> Option<&str> {
    guard.members.get(usize::try_from(member).ok()?).map(|name| &**name)
}

impl State {
    /// Whether these settings hold. The latest do; of a clock that has been set back nobody knows which those are.
    fn is_subject_to(&mut self, settings: Settings, now_ms: u64) -> bool {
        let are_latest = settings.since_ms > self.settings.since_ms || self.settings.since_ms > now_ms;
        if self.settings.hash != settings.hash && are_latest {
            self.settings = settings;
        }
        self.settings.hash == settings.hash
    }

    /// Counts. Gives the longest run of failures that there was.
    fn take_in(&mut self, rule: &BreakerRule, seen: &Seen, now_ms: u64) -> u32 {
        // A clock that was set back: nothing has begun later than now.
        self.since_ms = self.since_ms.min(now_ms);
        self.leased_ms = self.leased_ms.min(now_ms);
        if now_ms.saturating_sub(self.known_ms) >= MARKED_MS {
            self.known_ms = now_ms;
        }
        let index = now_ms / slice_ms(rule);
        // One ahead is that of a worker who looked at the clock a moment later, and told of it a moment earlier.
        for slice in self.slices.iter_mut().filter(|slice| slice.index > index.saturating_add(1)) {
            *slice = Slice::default();
        }
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
        let is_worse = is_worse((failures, requests), (stable_failures, of_stable));
        // A run is noticed before it shows in the window; where the other one is well that is enough.
        let is_well = stable_failures.saturating_mul(100) < of_stable.max(1).saturating_mul(MARGIN_PERCENT);
        let by_run = rule.consecutive > 0
            && worst_run >= rule.consecutive
            && stable.run < rule.consecutive
            && (is_worse || is_well);
        let by_share = rule.percent > 0
            && requests >= u64::from(rule.min_requests)
            && failures.saturating_mul(100) >= requests.saturating_mul(rule.percent.into())
            && is_worse;
        if room && (by_run || by_share) {
            let share = failures.saturating_mul(1000).checked_div(requests).unwrap_or(1000);
            self.failed_share = if is_worse { share } else { 1000 };
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
        let Self {
            settings: Settings { hash, since_ms: settings_since_ms },
            known_ms,
            phase,
            since_ms,
            opened,
            failed_share,
            run,
            leases,
            leased_ms,
            succeeded,
            slices,
        } = self;
        let length = u32::try_from(name.len()).unwrap_or_default();
        bytes.extend(length.to_le_bytes());
        bytes.extend(name.bytes().take(usize::try_from(length).unwrap_or_default()));
        bytes.push(*phase as u8);
        [opened, run, leases, succeeded].iter().for_each(|number| bytes.extend(number.to_le_bytes()));
        let times = [hash, settings_since_ms, known_ms, since_ms, failed_share, leased_ms].into_iter();
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
        let Settings { hash, since_ms } = &mut state.settings;
        for field in [hash, since_ms, &mut state.known_ms] {
            *field = number64(bytes)?;
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

/// Whether so many failures of so many requests are clearly more than those of the version that would stand in.
fn is_worse((failures, requests): (u64, u64), (stable_failures, of_stable): (u64, u64)) -> bool {
    let percent = |part: u64, whole: u64| part.saturating_mul(100).checked_div(whole).unwrap_or(0);
    percent(failures, requests) >= percent(stable_failures, of_stable).saturating_add(MARGIN_PERCENT)
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
