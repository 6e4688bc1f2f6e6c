//! One worker's side: what it has seen since it last told the others, and what it acts on until then.

use super::record::{Change, Phase, Record, Settings};
use super::{BreakerRule, Guard, STABLE};

/// Whether a version gets a request that is meant for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// It does.
    Yes,
    /// It does, and from the answer it is seen whether the version is well again.
    Probe,
    /// Another version stands in.
    No,
}

/// Answers of one version, in the order in which they came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) requests: u32,
    pub(super) failures: u32,
    /// Failures before the first success, after the last, and the most in a row.
    pub(super) leading: u32,
    pub(super) trailing: u32,
    pub(super) longest: u32,
    pub(super) succeeded: bool,
    pub(super) probes_succeeded: u32,
    pub(super) probes_failed: u32,
    /// A request was kept from it.
    pub(super) refused: bool,
}

/// What a worker has seen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally(Vec<Seen>);

impl Tally {
    pub(super) fn of(&self, member: u32) -> Seen {
        usize::try_from(member).ok().and_then(|member| self.0.get(member)).copied().unwrap_or_default()
    }
}

/// How requests reach a version, until the next look at the record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reach {
    All,
    None,
    /// So many may still be sent.
    Probes(u32),
    /// So many of a thousand.
    Share(u64),
}

impl Reach {
    /// Whether requests that come by one tell nothing of the time of the other.
    fn is_other_turn(self, after: Self) -> bool {
        !matches!(
            (self, after),
            (Self::All | Self::Share(_), Self::All | Self::Share(_))
                | (Self::None, Self::None)
                | (Self::Probes(_), Self::Probes(_))
        )
    }
}

/// One worker's counts and what it acts on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Watcher {
    settings: Settings,
    tally: Tally,
    reach: Vec<Reach>,
    /// By version: how often it has gone out and come back, as far as this worker knows.
    turns: Vec<u32>,
    /// Everything goes to the version that stands in.
    killed: bool,
}

/// What comes of a look at the record, to be kept once the record is written.
#[derive(Clone, Debug)]
pub struct Merged {
    /// The record, where it is another than before.
    pub record: Option<Vec<u8>>,
    /// What changes by it.
    pub changes: Vec<Change>,
    reach: Vec<Reach>,
}

impl Watcher {
    /// Of a policy whose versions are these, which comes now, before it has looked at any record.
    pub fn new(guard: &Guard, now_ms: u64) -> Self {
        let count = guard.members.len();
        let killed = guard.switch.as_ref().is_some_and(|switch| switch.on);
        let hash = guard.breaker.as_ref().map(BreakerRule::hash).unwrap_or_default();
        Self {
            settings: Settings { hash, since_ms: now_ms },
            tally: Tally(vec![Seen::default(); count]),
            reach: vec![Reach::All; count],
            turns: vec![0; count],
            killed,
        }
    }

    /// Whether the version gets this request. `draw` is asked only while its share comes back.
    pub fn admits(&mut self, member: u32, draw: impl FnOnce() -> u64) -> Admission {
        if self.killed {
            return Admission::No;
        }
        let place = usize::try_from(member).unwrap_or(usize::MAX);
        let Some(reach) = self.reach.get_mut(place) else { return Admission::Yes };
        let admission = match reach {
            Reach::All => return Admission::Yes,
            Reach::Probes(left) if *left > 0 => {
                *left = left.saturating_sub(1);
                Admission::Probe
            }
            Reach::Share(share) if crate::select::scale(draw(), 1000) < *share => Admission::Yes,
            Reach::None | Reach::Probes(_) | Reach::Share(_) => Admission::No,
        };
        if let Some(seen) = self.tally.0.get_mut(place) {
            seen.refused |= admission == Admission::No;
        }
        admission
    }

    /// In which turn of the version a request comes to it: to be told with its answer.
    pub fn turn(&self, member: u32) -> u32 {
        usize::try_from(member).ok().and_then(|place| self.turns.get(place)).copied().unwrap_or_default()
    }

    /// An answer has come, to a request of this turn. That of a turn before tells nothing of the version as it is now: what hung
    /// when it went out is answered when it is back.
    pub fn record(&mut self, member: u32, turn: u32, failed: bool, probe: bool) {
        if turn != self.turn(member) {
            return;
        }
        let Some(seen) = usize::try_from(member).ok().and_then(|place| self.tally.0.get_mut(place)) else { return };
        seen.requests = seen.requests.saturating_add(1);
        if failed {
            seen.failures = seen.failures.saturating_add(1);
            seen.trailing = seen.trailing.saturating_add(1);
            seen.longest = seen.longest.max(seen.trailing);
            seen.leading = seen.leading.saturating_add(u32::from(!seen.succeeded));
        } else {
            (seen.succeeded, seen.trailing) = (true, 0);
        }
        let probes = if failed { &mut seen.probes_failed } else { &mut seen.probes_succeeded };
        *probes = probes.saturating_add(u32::from(probe));
    }

    /// Whether everything goes to the version that stands in, from now on.
    pub fn kill(&mut self, on: bool) {
        self.killed = on;
    }

    /// Whether it does.
    pub fn is_killed(&self) -> bool {
        self.killed
    }

    /// Puts what was seen into the record that these bytes hold. Nothing changes here until it is [kept](Self::keep).
    pub fn merge(&self, guard: &Guard, bytes: &[u8], now_ms: u64) -> Merged {
        let before = Record::read(bytes);
        let mut record = before.clone();
        let (changes, granted) = record.merge(guard, self.settings, &self.tally, now_ms);
        let members = (STABLE..).zip(&guard.members).zip(self.reach.iter());
        let reach = members.map(|((member, _), before)| match (record.phase(guard, member, now_ms), before) {
            ((Phase::Closed, _), _) => Reach::All,
            ((Phase::Open, _), _) => Reach::None,
            ((Phase::Returning, share), _) => Reach::Share(share),
            ((Phase::HalfOpen, _), before) => {
                let left = if let Reach::Probes(left) = before { *left } else { 0 };
                Reach::Probes(left.saturating_add(u32::from(granted.contains(&member))))
            }
        });
        let reach = reach.collect();
        let record = (record != before || bytes.is_empty()).then(|| record.write());
        Merged { record, changes, reach }
    }

    /// The record is written: what was seen has been told.
    pub fn keep(&mut self, merged: Merged) {
        self.tally.0.iter_mut().for_each(|seen| *seen = Seen::default());
        for ((turn, before), after) in self.turns.iter_mut().zip(&self.reach).zip(&merged.reach) {
            *turn = turn.wrapping_add(u32::from(before.is_other_turn(*after)));
        }
        self.reach = merged.reach;
    }

    /// Whether the version is out, as far as this worker knows.
    pub fn is_out(&self, member: u32) -> bool {
        let reach = usize::try_from(member).ok().and_then(|place| self.reach.get(place));
        matches!(reach, Some(Reach::None | Reach::Probes(_)))
    }
}
