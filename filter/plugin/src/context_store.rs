//! The store of contexts: one slot of the host's shared data for each inbound request, read and written by the filters on
//! both sides of an application, in all workers.
//!
//! Two hostcalls inbound, a read and a write that holds only if nobody has written in between; one outbound. What to write
//! says the engine.

use crate::hostcalls::{self, Written};
use crate::metrics::{self, Counter};
use traffic_policy::propagate::{Context, Id, Kept, Propagation};
use traffic_policy::{Policy, RequestHead};

/// How many slots the store has, for all who use it: whoever comes first says so.
const SLOTS_KEY: &str = "shunt.context.slots";

/// Writes before one gives way to others.
const ATTEMPTS: u32 = 8;

/// How many slots the store has, if others have made it; if not, it gets `wanted`.
///
/// A store is never made anew while the proxy runs. What was kept before would be in other slots, so of two requests with one id
/// the second would be taken for the only one, and the first get what is the second's. Smaller it could not become anyway, as the
/// host forgets no key.
pub(crate) fn slots(wanted: u32) -> u32 {
    for _ in 0..ATTEMPTS {
        let (held, version) = hostcalls::shared_data(SLOTS_KEY).unwrap_or((Vec::new(), hostcalls::NEVER));
        if let Ok(held) = <[u8; 4]>::try_from(held) {
            return u32::from_le_bytes(held);
        }
        match hostcalls::set_shared_data(SLOTS_KEY, &wanted.to_le_bytes(), version) {
            Written::Done | Written::Failed => break,
            Written::Overtaken => {}
        }
    }
    wanted
}

/// What the store has for an outbound request.
pub(crate) struct Held<'r> {
    id: Id<'r>,
    bytes: Vec<u8>,
    now_ms: u64,
}

impl Held<'_> {
    /// The context that an outbound request belongs to.
    pub(crate) fn context(&self, policy: &Policy) -> Option<Context<'_>> {
        let context = policy.propagation()?.context(&self.id, &self.bytes, self.now_ms);
        if context.is_none() {
            metrics::increment(Counter::PropagateMissing);
        }
        context
    }
}

/// Keeps what is to be kept of an inbound request; gives what is held for an outbound one.
pub(crate) fn meet<'r>(policy: &Policy, request: &RequestHead<'r>) -> Option<Held<'r>> {
    let propagation = policy.propagation()?;
    let Some(id) = propagation.id(request) else {
        metrics::increment(Counter::PropagateWithoutId);
        return None;
    };
    let now_ms = hostcalls::now_ms();
    let key = propagation.key(&id);
    if propagation.is_inbound() {
        keep(propagation, request, &id, &key, now_ms);
        return None;
    }
    let bytes = hostcalls::shared_data(&key).map(|(bytes, _)| bytes).unwrap_or_default();
    Some(Held { id, bytes, now_ms })
}

fn keep(propagation: &Propagation, request: &RequestHead<'_>, id: &Id<'_>, key: &str, now_ms: u64) {
    for _ in 0..ATTEMPTS {
        let (held, version) = hostcalls::shared_data(key).unwrap_or((Vec::new(), hostcalls::NEVER));
        let Kept { value, too_large, evicted, conflict } = propagation.keep(request, id, &held, now_ms);
        match hostcalls::set_shared_data(key, &value, version) {
            Written::Done => {
                let counted = [
                    (!too_large, Counter::PropagateKept),
                    (too_large, Counter::PropagateTooLarge),
                    (evicted, Counter::PropagateEvicted),
                    (conflict, Counter::PropagateConflicts),
                ];
                counted.into_iter().filter(|(is, _)| *is).for_each(|(_, counter)| metrics::increment(counter));
                return;
            }
            Written::Overtaken => {}
            // A host without shared data: nothing will ever be restored.
            Written::Failed => return,
        }
    }
    hostcalls::set_shared_data(key, &propagation.give_way(id, now_ms), 0);
    metrics::increment(Counter::PropagateConflicts);
}
