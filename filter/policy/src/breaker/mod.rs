//! `ShuntPolicy.breaker`: a version that keeps failing gets no requests for a while.
//!
//! ```text
//!            too many failures                    time is over
//!  Closed ─────────────────────► Open ──────────────────────────► HalfOpen
//!    ▲                            ▲ ▲  a probe fails                 │
//!    │ all of the share is back   │ └────────────────────────────────┤
//!    └───────── Returning ────────┘ too many failures                │ enough probes succeed
//!                   ▲────────────────────────────────────────────────┘
//! ```
//!
//! Each worker counts for itself ([`Watcher`]) and acts on what it saw when it last looked; now and then it puts its counts into
//! the [`Record`] that all workers share, which is where a version goes out and comes back. So nothing is asked of the host on the
//! way of a request, and all workers turn within one such interval.
//!
//! Nobody is to be worse off: a version goes out only while it fails more than the one that stands in for it, and comes back at
//! once when that one fails as much.

mod record;
#[cfg(test)]
mod tests;
mod watcher;

pub use record::{Change, Reason, Record};
pub use watcher::{Admission, Merged, Watcher};

use crate::select::Draw;
use twox_hash::XxHash64;

/// When a version goes out, for how long, and how it comes back (`spec.breaker`). Times in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BreakerRule {
    /// So many failures in a row are too many; 0: no number is.
    pub consecutive: u32,
    /// So many of a hundred requests within the window are too many; 0: no share is.
    pub percent: u32,
    /// With fewer requests within the window a share says nothing.
    pub min_requests: u32,
    /// How far back requests count.
    pub window_ms: u64,
    /// How long a version is out for the first time. Each time it goes out again before it is back this doubles.
    pub open_ms: u64,
    /// The longest that it is out without a probe.
    pub open_max_ms: u64,
    /// So many probes must succeed.
    pub probes: u32,
    /// How long its share takes to come back.
    pub return_ms: u64,
    /// So much of a rule's weight may be out at once.
    pub out_percent_max: u32,
}

impl BreakerRule {
    /// What a policy that says none of this gets, which counts nothing as too many.
    pub(crate) const UNSAID: Self = Self {
        consecutive: 0,
        percent: 0,
        min_requests: 20,
        window_ms: 10_000,
        open_ms: 5_000,
        open_max_ms: 60_000,
        probes: 3,
        return_ms: 10_000,
        out_percent_max: 100,
    };

    /// What tells settings from others.
    fn hash(&self) -> u64 {
        let Self {
            consecutive,
            percent,
            min_requests,
            window_ms,
            open_ms,
            open_max_ms,
            probes,
            return_ms,
            out_percent_max,
        } = self;
        let counts = [consecutive, percent, min_requests, probes, out_percent_max].map(|count| u64::from(*count));
        let numbers = counts.into_iter().chain([*window_ms, *open_ms, *open_max_ms, *return_ms]);
        XxHash64::oneshot(0, &numbers.flat_map(u64::to_le_bytes).collect::<Vec<u8>>())
    }
}

/// What each version of a rule weighs there, by its place.
pub type RuleWeights = Box<[(u32, u64)]>;

/// Versions of one policy for which the same one stands in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Guard {
    /// `namespace/name` of the policy.
    pub policy: Box<str>,
    /// Clusters. The first is the one that stands in for the others.
    pub members: Box<[Box<str>]>,
    /// The weights of the members in each rule, by their places.
    pub weights: Box<[RuleWeights]>,
    /// `None`: nobody goes out but by the kill switch.
    pub breaker: Option<BreakerRule>,
    /// Which answers are failures.
    pub failures: Failures,
    /// `spec.killSwitch`.
    pub switch: Option<Switch>,
}

impl Guard {
    /// Whether each rule that has this version lets so many be out at once.
    fn allows(&self, rule: &BreakerRule, member: u32, is_out: &dyn Fn(u32) -> bool) -> bool {
        self.weights.iter().filter(|weights| weights.iter().any(|(other, _)| *other == member)).all(|weights| {
            let sum = |counts: &dyn Fn(u32) -> bool| {
                let counted = weights.iter().filter(|(other, _)| counts(*other));
                counted.fold(0_u64, |sum, (_, weight)| sum.saturating_add(*weight))
            };
            let out = sum(&|other| other != STABLE && is_out(other));
            out.saturating_mul(100) <= sum(&|_| true).saturating_mul(u64::from(rule.out_percent_max))
        })
    }

    /// Versions that never go out, because each alone has more of some rule than may be out at once.
    pub(crate) fn too_heavy(&self) -> impl Iterator<Item = &str> {
        let is_too_heavy = |member: u32| {
            let only = |other| other == member;
            self.breaker.is_some_and(|rule| member != STABLE && !self.allows(&rule, member, &only))
        };
        (0..).zip(&self.members).filter(move |(member, _)| is_too_heavy(*member)).map(|(_, name)| &**name)
    }
}

/// The place of the version that stands in.
pub const STABLE: u32 = 0;

/// Which answers are failures (`breaker.failOn`, `slowerThan`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Failures {
    /// First and last status of each range.
    pub statuses: Box<[(u16, u16)]>,
    /// What takes longer is one too, in milliseconds.
    pub slower_than_ms: Option<u64>,
}

impl Failures {
    /// Whether an answer is one.
    pub fn include(&self, status: u16, took_ms: Option<u64>) -> bool {
        let is_slow = self.slower_than_ms.zip(took_ms).is_some_and(|(limit, took)| took > limit);
        is_slow || self.statuses.iter().any(|(first, last)| (*first..=*last).contains(&status))
    }
}

/// Who may send everything to the version that stands in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Switch {
    /// It is on by configuration.
    pub on: bool,
    /// SHA-256 of the secret that turns it at run time.
    pub sha256: Option<[u8; 32]>,
}

impl Guard {
    /// The key of the record that all workers share.
    pub fn key(&self) -> String {
        let stable = self.members.first().map_or("", |name| name);
        format!("shunt.breaker.{}.{stable}", self.policy)
    }
}

/// The versions of one rule that are watched.
#[derive(Clone, Debug, Default)]
pub(crate) struct GuardRule(pub(crate) Box<[Guarded]>);

/// One of them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Guarded {
    pub(crate) target: u32,
    /// Index into `Policy::guards`.
    pub(crate) guard: u32,
    pub(crate) member: u32,
    /// The target of the version that stands in.
    pub(crate) stable: u32,
}

impl GuardRule {
    /// The target of the version that stands in for that of this target, if one does.
    pub(crate) fn stands_in(&self, target: u32) -> Option<u32> {
        let guarded = self.0.iter().find(|guarded| guarded.target == target)?;
        (guarded.member != STABLE).then_some(guarded.stable)
    }

    /// Where a request goes that is meant for this target, and what its answer counts for. `None`: nobody watches it.
    pub(crate) fn pass(&self, target: u32, draws: &mut impl Draw) -> Option<(u32, Watch)> {
        let Guarded { guard, member, stable, .. } = *self.0.iter().find(|guarded| guarded.target == target)?;
        let watch = Watch { guard, member, probe: false, moved: false };
        if member == STABLE {
            return Some((target, watch));
        }
        Some(match draws.admits(guard, member) {
            Admission::Yes => (target, watch),
            Admission::Probe => (target, Watch { probe: true, ..watch }),
            Admission::No => (stable, Watch { member: STABLE, moved: true, ..watch }),
        })
    }
}

/// What the answer to a request counts for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Watch {
    /// Index of the guard in the policy.
    pub guard: u32,
    /// The version that the request went to.
    pub member: u32,
    /// It was let through to see whether the version is well again.
    pub probe: bool,
    /// It was meant for another version, which is out.
    pub moved: bool,
}
