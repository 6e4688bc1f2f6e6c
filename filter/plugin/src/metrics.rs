//! What the filter counts. Hosts add up what their VMs say under one name: Envoy's `/stats` puts `wasmcustom.` in front of
//! it, Prometheus gets `_` for each dot.
//!
//! A counter is defined once per VM, when it is announced or first counted. A new one takes a line in [`Counter`], one in
//! [`Counter::name`] and its place in [`Counter::ALL`].

use crate::hostcalls;
use std::cell::Cell;
use traffic_policy::{Choice, Policy};

/// A counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Counter {
    /// An inbound request's context was kept.
    PropagateKept,
    /// An outbound request got headers of the inbound request that it belongs to.
    PropagateRestored,
    /// An outbound request had an id that nothing is kept under.
    PropagateMissing,
    /// A request had no id, on either side.
    PropagateWithoutId,
    /// The context of another request had to go while it was alive.
    PropagateEvicted,
    /// A context took more room than there is, and was not kept.
    PropagateTooLarge,
    /// Requests of one id said different things, and what differs was dropped.
    PropagateConflicts,
    /// Another version was asked for a request.
    FallbackAsked,
    /// A request was to fall back, and the budget was spent.
    FallbackOverBudget,
    /// A version went out, or stays out after a probe.
    BreakerOpened,
    /// Probes are sent to a version that is out.
    BreakerHalfOpened,
    /// A version's share comes back.
    BreakerClosed,
    /// A request went to the version that stands in for one that is out.
    BreakerMoved,
    /// A request was a probe.
    BreakerProbes,
    /// A user's key chose the version of a request.
    StickyByKey,
    /// A request had no key, and a cookie was made.
    StickyByNewCookie,
    /// A request named its version.
    StickyByOverride,
    /// A request had no key and got none, so chance chose its version.
    StickyWithoutKey,
}

/// How many there are.
const COUNT: usize = Counter::ALL.len();

thread_local! {
    static IDS: [Cell<Option<u32>>; COUNT] = const { [const { Cell::new(None) }; COUNT] };
}

impl Counter {
    /// All of them, in the order of the enum.
    const ALL: [Self; 18] = [
        Self::PropagateKept,
        Self::PropagateRestored,
        Self::PropagateMissing,
        Self::PropagateWithoutId,
        Self::PropagateEvicted,
        Self::PropagateTooLarge,
        Self::PropagateConflicts,
        Self::FallbackAsked,
        Self::FallbackOverBudget,
        Self::BreakerOpened,
        Self::BreakerHalfOpened,
        Self::BreakerClosed,
        Self::BreakerMoved,
        Self::BreakerProbes,
        Self::StickyByKey,
        Self::StickyByNewCookie,
        Self::StickyByOverride,
        Self::StickyWithoutKey,
    ];

    /// Those that this policy may count.
    pub(crate) fn of(policy: &Policy) -> impl Iterator<Item = Self> {
        let used = [
            ("shunt.propagate.", policy.propagation().is_some()),
            ("shunt.fallback.", !policy.budgets().is_empty()),
            ("shunt.breaker.", !policy.guards().is_empty()),
            ("shunt.sticky.", policy.sticky_rules().next().is_some()),
        ];
        let is_used = move |counter: &Self| used.iter().any(|(of, is_used)| *is_used && counter.name().starts_with(of));
        Self::ALL.into_iter().filter(is_used)
    }

    /// What is counted of a choice.
    pub(crate) fn of_choice(choice: Choice) -> Self {
        match choice {
            Choice::ByKey => Self::StickyByKey,
            Choice::ByNewCookie => Self::StickyByNewCookie,
            Choice::ByOverride => Self::StickyByOverride,
            Choice::ByWeight => Self::StickyWithoutKey,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::PropagateKept => "shunt.propagate.kept",
            Self::PropagateRestored => "shunt.propagate.restored",
            Self::PropagateMissing => "shunt.propagate.missing",
            Self::PropagateWithoutId => "shunt.propagate.without_id",
            Self::PropagateEvicted => "shunt.propagate.evicted",
            Self::PropagateTooLarge => "shunt.propagate.too_large",
            Self::PropagateConflicts => "shunt.propagate.conflicts",
            Self::FallbackAsked => "shunt.fallback.asked",
            Self::FallbackOverBudget => "shunt.fallback.over_budget",
            Self::BreakerOpened => "shunt.breaker.opened",
            Self::BreakerHalfOpened => "shunt.breaker.half_opened",
            Self::BreakerClosed => "shunt.breaker.closed",
            Self::BreakerMoved => "shunt.breaker.moved",
            Self::BreakerProbes => "shunt.breaker.probes",
            Self::StickyByKey => "shunt.sticky.by_key",
            Self::StickyByNewCookie => "shunt.sticky.by_new_cookie",
            Self::StickyByOverride => "shunt.sticky.by_override",
            Self::StickyWithoutKey => "shunt.sticky.without_key",
        }
    }

    /// The host's number for it. A host without metrics is asked again each time, and nothing is counted.
    fn id(self) -> Option<u32> {
        IDS.with(|ids| {
            let known = ids.get(self as usize)?;
            if known.get().is_none() {
                known.set(hostcalls::define_counter(self.name()));
            }
            known.get()
        })
    }
}

/// Something that is so or not, as this worker said it last. Workers say it one after the other, and the last of them right.
#[derive(Default)]
pub(crate) struct Gauge {
    /// The host's number for it, once it is known.
    id: Option<u32>,
    told: Option<bool>,
}

impl Gauge {
    /// 1 where it is so, else 0. The host hears of changes only.
    pub(crate) fn tell(&mut self, name: impl FnOnce() -> String, is_so: bool) {
        if self.told == Some(is_so) {
            return;
        }
        self.id = self.id.or_else(|| hostcalls::define_gauge(&name()));
        if let Some(id) = self.id {
            hostcalls::set_gauge(id, u64::from(is_so));
        }
        self.told = Some(is_so);
    }
}

/// Shows from now on, also while they are 0, those that this policy may count.
pub(crate) fn announce(policy: &Policy) {
    for counter in Counter::of(policy) {
        counter.id();
    }
}

/// One more.
pub(crate) fn increment(counter: Counter) {
    if let Some(id) = counter.id() {
        hostcalls::increment(id);
    }
}
