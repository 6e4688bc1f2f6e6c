//! The inbound side: what of a request goes into its slot, given what is there.

use super::Propagation;
use super::entry::{Entry, Field, Group, Kind};
use super::family::Family;
use super::gone::Gone;
use super::id::{Id, REQUEST_ID, trace_of};
use crate::cookies::cookies;
use crate::request::RequestHead;
use istio_config::shunt_policy::ContextId;
use std::collections::BTreeSet;

/// What is to be written, and what there is to say about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// The slot from now on. It never stays as it was: what it held of the same id must not pass for this request's.
    pub value: Vec<u8>,
    /// The context took more room than there is; only the id is kept.
    pub too_large: bool,
    /// Another request's context was alive, and goes.
    pub evicted: bool,
    /// A living request of the same id said something else, and what differs is kept of neither; or it had to leave, and nothing is.
    pub conflict: bool,
}

impl Propagation {
    /// What becomes of the slot of `id`, which holds `held` (nothing, if it was never written), when `request` comes in.
    pub fn keep(&self, request: &RequestHead<'_>, id: &Id<'_>, held: &[u8], now_ms: u64) -> Kept {
        let expires_ms = now_ms.saturating_add(self.ttl_ms);
        let mut old = Entry::read(held);
        let mut gone = old.as_mut().and_then(|old| old.gone.take()).and_then(|gone| gone.at(now_ms, self.ttl_ms));
        let (same, other) = match old.filter(|old| old.may_be_alive(now_ms)) {
            Some(old) if old.id == id.bytes() => (Some(old), None),
            other => (None, other),
        };
        if let Some(other) = &other {
            gone.get_or_insert_with(|| Gone::new(now_ms)).add(other.id);
        }
        let has_left = same.is_none() && gone.as_ref().is_some_and(|gone| gone.has(id.bytes()));
        let fields = if has_left { Vec::new() } else { self.fields(request) };
        let mut entry = Entry { created_ms: now_ms, expires_ms, id: id.bytes(), gone, fields };
        let too_large = entry.write().is_none();
        if too_large {
            entry.fields.clear();
        }
        let differs = same.is_some_and(|old| reconcile(&mut entry, &old, self.id));
        let (evicted, conflict) = (other.is_some(), has_left || differs);
        // An id, two times and two filters always have room.
        Kept { value: entry.write().unwrap_or_default(), too_large, evicted, conflict }
    }

    /// What a slot becomes when others were quicker time and again: nobody knows who was there, so nobody's context is kept there
    /// for a while.
    pub fn give_way(&self, id: &Id<'_>, now_ms: u64) -> Vec<u8> {
        let gone = Some(Gone::everything(now_ms));
        let entry = Entry { created_ms: now_ms, expires_ms: now_ms, id: id.bytes(), gone, fields: Vec::new() };
        entry.write().unwrap_or_default()
    }

    /// What of the request is kept.
    fn fields<'r>(&self, request: &RequestHead<'r>) -> Vec<Field<'r>> {
        let is_id = |name: &[u8]| self.id == ContextId::RequestId && name == REQUEST_ID;
        let headers = request.pairs().iter().filter(|(name, _)| !is_id(name) && self.find(u64::MAX, name).is_some());
        let headers = headers.map(|(name, value)| Field { kind: Kind::Header, name, value });
        let cookies = cookies(request.pairs());
        let cookies = cookies.filter(|(name, _)| self.cookies.iter().any(|known| known.as_bytes() == *name));
        headers.chain(cookies.map(|(name, value)| Field { kind: Kind::Cookie, name, value })).collect()
    }
}

/// Takes from `new` what `old`, of the same id, does not say alike; whether there was anything. Who goes on with a trace says
/// something new in each span: of one trace the newest position counts.
fn reconcile(new: &mut Entry<'_>, old: &Entry<'_>, id: ContextId) -> bool {
    let is_one_trace = id == ContextId::TraceId || trace_of(old).is_some_and(|trace| trace_of(new) == Some(trace));
    let groups: BTreeSet<Group<'_>> = old.fields.iter().chain(&new.fields).map(Field::group).collect();
    let differs = |group: &Group<'_>| {
        let may_differ = is_one_trace && matches!(group, Group::Family(Family::W3c | Family::B3));
        !may_differ && !new.of_group(*group).eq(old.of_group(*group))
    };
    let lost: BTreeSet<Group<'_>> = groups.into_iter().filter(differs).collect();
    let conflict = !lost.is_empty();
    let fields = new.fields.iter().filter(|field| !lost.contains(&field.group())).copied().collect();
    new.fields = fields;
    conflict
}
