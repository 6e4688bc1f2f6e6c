//! Context that survives an application which does not hand it on.
//!
//! The filter on the inbound side keeps chosen headers of each request under an id; the filter on the outbound side gives
//! them to the requests with the same id that the application sends. In between is a store that several VMs share and that
//! cannot be deleted from (Proxy-Wasm's shared data), so it is a table of slots: an id has one slot, and of two ids in one slot the later stays.
//! Store and clock are handed in; everything here is pure.
//!
//! - [`id`](mod@id): what a request is known by, and its slot
//! - [`entry`](mod@entry): a slot as bytes
//! - [`family`](mod@family): headers that belong together
//! - [`gone`](mod@gone): who had to leave a slot
//! - [`keeping`](mod@keeping): the inbound side
//! - [`restoring`](mod@restoring): the outbound side
//! - [`receivers`](mod@receivers): which hosts may get something
//!
//! **Nothing of one request reaches another**, as long as none is under way for longer than the time to live, and all came in while
//! contexts were kept. An entry is found by its whole id. Where two living requests say they have the
//! same one, only what they say alike remains, and nothing where the slot has forgotten what the first one said. Nothing is given to a host outside `to`, and none has a say in where a
//! request goes that then leads outside.

mod entry;
mod family;
mod gone;
mod id;
mod keeping;
mod receivers;
mod restoring;

pub use entry::ENTRY_BYTES_MAX;
pub use id::Id;
pub(crate) use id::REQUEST_ID;
pub use keeping::Kept;
pub(crate) use receivers::Receivers;
pub use restoring::Context;

use crate::breaker::Admission;
use crate::decision::Decision;
use crate::headers::Edit;
use crate::request::RequestHead;
use crate::route::Policy;
use crate::select::Draw;
use istio_config::shunt_policy::ContextId;
use std::collections::BTreeMap;

/// All that the policies of a configuration say about context.
#[derive(Clone, Debug)]
pub struct Propagation {
    pub(crate) inbound: bool,
    pub(crate) id: ContextId,
    /// Slots of the store.
    pub(crate) capacity: u32,
    pub(crate) ttl_ms: u64,
    /// At most 64.
    pub(crate) rules: Box<[Rule]>,
    /// Cookies that say which version a user is on; with each rule.
    pub(crate) cookies: Box<[Box<str>]>,
    /// The rules that give something to each destination: bit `i` for rule `i`.
    pub(crate) by_target: Box<[u64]>,
}

/// What one policy says.
#[derive(Clone, Debug)]
pub(crate) struct Rule {
    /// Names in lower case, each once.
    pub(crate) headers: Box<[Box<str>]>,
    pub(crate) overwrite: bool,
    pub(crate) to: Receivers,
    /// Whether it acts where no rule decides: it has no `targetRef`.
    pub(crate) everywhere: bool,
}

impl Propagation {
    /// Whether this side keeps; otherwise it restores.
    pub fn is_inbound(&self) -> bool {
        self.inbound
    }

    /// What the request's context goes by; `None` where it has no id.
    pub fn id<'r>(&self, request: &RequestHead<'r>) -> Option<Id<'r>> {
        Id::of(request, self.id)
    }

    /// The key of an id's slot.
    pub fn key(&self, id: &Id<'_>) -> String {
        id.key(self.capacity)
    }

    /// Slots of the store: what the configuration asks for, until [`Policy::keep_context_slots`] says otherwise.
    pub fn capacity(&self) -> u32 {
        self.capacity
    }

    /// The most bytes that the store can come to.
    pub fn store_bytes_max(&self) -> u64 {
        u64::from(self.capacity).saturating_mul(ENTRY_BYTES_MAX as u64)
    }

    /// The headers that any of `rules` is about, with whether one of those may overwrite it.
    fn find(&self, rules: u64, name: &[u8]) -> Option<(&str, bool)> {
        let mut found = None;
        for (number, rule) in (0..).zip(&self.rules) {
            if is_set(rules, number)
                && let Some(known) = rule.headers.iter().find(|known| known.as_bytes() == name)
            {
                let (_, overwrite) = *found.get_or_insert((&**known, false));
                found = Some((&**known, overwrite || rule.overwrite));
            }
        }
        found
    }

    /// Whether one of `rules` may overwrite.
    fn overwrites(&self, rules: u64) -> bool {
        (0..).zip(&self.rules).any(|(number, rule)| is_set(rules, number) && rule.overwrite)
    }

    /// All rules.
    fn every(&self) -> u64 {
        (0..).zip(&self.rules).fold(0, |all, (number, _): (u32, _)| all | bit(number))
    }

    /// The rules that give something to where the request goes.
    fn receiving(&self, decision: &Decision<'_>, request: &RequestHead<'_>) -> u64 {
        let by_authority = |everywhere: bool| {
            let rules = (0..).zip(&self.rules).filter(|(_, rule)| rule.everywhere || !everywhere);
            let rules = rules.filter(|(_, rule)| rule.to.take_authority(request.authority()));
            rules.fold(0, |all, (number, _): (u32, _)| all | bit(number))
        };
        match decision {
            Decision::Forward(forward) => match forward.passes_through() {
                true => by_authority(true),
                false => crate::route::at(&self.by_target, forward.target).copied().unwrap_or_default(),
            },
            Decision::Pass => by_authority(true),
            // Nobody gets it but who asks.
            Decision::Reply(_) => self.every(),
        }
    }
}

fn bit(number: u32) -> u64 {
    1_u64.checked_shl(number).unwrap_or_default()
}

fn is_set(rules: u64, number: u32) -> bool {
    rules & bit(number) != 0
}

impl Policy {
    /// What it says about context; `None`: nothing.
    pub fn propagation(&self) -> Option<&Propagation> {
        self.propagation.as_ref()
    }

    /// The store has so many slots, whatever the configuration asks for: one that was there before it. In another number of slots
    /// an id has another one, where nobody would find the request that has it already.
    pub fn keep_context_slots(&mut self, slots: u32) {
        if let Some(propagation) = &mut self.propagation {
            propagation.capacity = slots.max(1);
        }
    }

    /// [`Policy::decide`] for a request that belongs to an inbound one, and the edits that give it what was kept of that, to
    /// be made before all others.
    ///
    /// Rules, weights and sticky keys see the request with what it gets. Should it then go where it may not get all of that, it is
    /// decided again without the rest, on the same draws, so that nothing of it counts.
    pub fn decide_in<'p, 'c>(
        &'p self,
        context: Option<&Context<'c>>,
        request: &RequestHead<'_>,
        draws: &mut impl Draw,
    ) -> (Decision<'p>, Vec<Edit<'c>>)
    where
        'p: 'c,
    {
        let (Some(context), Some(propagation)) = (context, &self.propagation) else {
            return (self.decide(request, draws), Vec::new());
        };
        let mut draws =
            Replay { draws, known: Vec::new(), next: 0, budgets: BTreeMap::new(), admissions: BTreeMap::new() };
        let mut rules = propagation.every();
        loop {
            let edits = propagation.edits(rules, context, request);
            let pairs = restoring::edited(request.pairs(), &edits);
            draws.next = 0;
            let decision = self.decide(&RequestHead::new(&pairs), &mut draws);
            let left = rules & propagation.receiving(&decision, request);
            if left == rules || edits.is_empty() || propagation.edits(left, context, request) == edits {
                let goes_on = !matches!(decision, Decision::Reply(_));
                return (decision, if goes_on { edits } else { Vec::new() });
            }
            rules = left;
        }
    }
}

/// Draws, and what was said of budgets and versions, that can be had again.
struct Replay<'d, D> {
    draws: &'d mut D,
    known: Vec<u64>,
    next: usize,
    budgets: BTreeMap<u32, bool>,
    admissions: BTreeMap<(u32, u32), Admission>,
}

impl<D: Draw> Draw for Replay<'_, D> {
    fn draw(&mut self) -> u64 {
        let draw = match self.known.get(self.next) {
            Some(known) => *known,
            None => {
                let draw = self.draws.draw();
                self.known.push(draw);
                draw
            }
        };
        self.next = self.next.saturating_add(1);
        draw
    }

    fn falls_back(&mut self, budget: u32) -> bool {
        *self.budgets.entry(budget).or_insert_with(|| self.draws.falls_back(budget))
    }

    fn admits(&mut self, guard: u32, member: u32) -> Admission {
        *self.admissions.entry((guard, member)).or_insert_with(|| self.draws.admits(guard, member))
    }

    fn fact(&mut self, fact: crate::format::Fact) -> Option<Vec<u8>> {
        self.draws.fact(fact)
    }
}
