//! The inbound side: what of a request goes into its slot, given what is there.

use super::entry::{Entry, Field, Group, Kind};
use super::family::Family;
use super::id::{Id, REQUEST_ID, trace_of};
use super::Propagation;
use crate::request::{HeaderPair, RequestHead};
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
    /// A living request of the same id said something else; what differs is kept of neither.
    pub conflict: bool,
}

impl Propagation {
    /// What becomes of the slot of `id`, which holds `held` (nothing, if it was never written), when `request` comes in.
    pub fn keep(&self, request: &RequestHead<'_>, id: &Id<'_>, held: &[u8], now_ms: u64) -> Kept {
        let expires_ms = now_ms.saturating_add(self.ttl_ms);
        let own = Entry { created_ms: now_ms, expires_ms, id: id.bytes(), fields: self.fields(request) };
        let nothing = Entry { fields: Vec::new(), ..own.clone() };
        let too_large = own.write().is_none();
        let mut entry = if too_large { nothing } else { own };
        let (mut evicted, mut conflict) = (false, false);
        if let Some(old) = Entry::read(held).filter(|old| old.is_alive(now_ms)) {
            match old.id == entry.id {
                true => conflict = reconcile(&mut entry, &old, self.id),
                false => evicted = true,
            }
        }
        // An id and two times always have room.
        Kept { value: entry.write().unwrap_or_default(), too_large, evicted, conflict }
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

/// Names and values of all cookies, as they stand there.
pub(super) fn cookies<'r>(pairs: &[HeaderPair<'r>]) -> impl Iterator<Item = HeaderPair<'r>> {
    let headers = pairs.iter().filter(|(name, _)| *name == b"cookie");
    headers.flat_map(|(_, value)| value.split(|byte| *byte == b';')).filter_map(|pair| {
        let pair = pair.trim_ascii();
        let at = pair.iter().position(|byte| *byte == b'=')?;
        let (name, value) = pair.split_at_checked(at)?;
        Some((name, value.get(1..).unwrap_or_default()))
    })
}
