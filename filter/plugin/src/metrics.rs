//! What the filter counts. Hosts add up what their VMs say under one name: Envoy's `/stats` puts `wasmcustom.` in front of
//! it, Prometheus gets `_` for each dot.
//!
//! A counter is defined once per VM, when it is announced or first counted. A new one takes a line in [`Counter`], one in
//! [`Counter::name`] and its place in [`Counter::ALL`].

use crate::hostcalls;
use std::cell::Cell;

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
}

/// How many there are.
const COUNT: usize = Counter::ALL.len();

thread_local! {
    static IDS: [Cell<Option<u32>>; COUNT] = const { [const { Cell::new(None) }; COUNT] };
}

impl Counter {
    /// All of them, in the order of the enum.
    const ALL: [Self; 7] = [
        Self::PropagateKept,
        Self::PropagateRestored,
        Self::PropagateMissing,
        Self::PropagateWithoutId,
        Self::PropagateEvicted,
        Self::PropagateTooLarge,
        Self::PropagateConflicts,
    ];

    /// Those about context.
    pub(crate) const PROPAGATE: [Self; 7] = Self::ALL;

    fn name(self) -> &'static str {
        match self {
            Self::PropagateKept => "shunt.propagate.kept",
            Self::PropagateRestored => "shunt.propagate.restored",
            Self::PropagateMissing => "shunt.propagate.missing",
            Self::PropagateWithoutId => "shunt.propagate.without_id",
            Self::PropagateEvicted => "shunt.propagate.evicted",
            Self::PropagateTooLarge => "shunt.propagate.too_large",
            Self::PropagateConflicts => "shunt.propagate.conflicts",
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

/// Shows them from now on, also while they are 0.
pub(crate) fn announce(counters: &[Counter]) {
    for counter in counters {
        counter.id();
    }
}

/// One more.
pub(crate) fn increment(counter: Counter) {
    if let Some(id) = counter.id() {
        hostcalls::increment(id);
    }
}
