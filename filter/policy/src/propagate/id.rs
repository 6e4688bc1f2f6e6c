//! What an inbound request and the outbound requests that belong to it have in common.

use super::entry::Entry;
use crate::request::RequestHead;
use crate::{select, trace};
use istio_config::shunt_policy::ContextId;
use std::borrow::Cow;
use twox_hash::XxHash64;

/// The header of a request's own id.
pub(crate) const REQUEST_ID: &[u8] = b"x-request-id";

/// Bytes of an id; what is longer is none.
const ID_BYTES_MAX: usize = 256;

/// Keys in the shared store begin so: in a mesh all filters of a proxy have one.
const KEY_PREFIX: &str = "shunt.context.";

/// The id of a request's context. It may be anything that a client sends, and is shown to nobody.
#[derive(Clone, PartialEq, Eq)]
pub struct Id<'r>(Cow<'r, [u8]>);

impl<'r> Id<'r> {
    /// The id of a request; `None` where it has none, or one that can be none. A repeated header is no id: nobody could
    /// tell which of its values the application will hand on.
    pub(crate) fn of(request: &RequestHead<'r>, which: ContextId) -> Option<Self> {
        let only = |name: &[u8]| {
            let mut values = request.values(name);
            values.next().filter(|_| values.next().is_none())
        };
        let id = match which {
            ContextId::RequestId => Cow::Borrowed(only(REQUEST_ID)?),
            ContextId::TraceId => Cow::Owned(trace::trace_id(only)?.to_vec()),
        };
        (1..=ID_BYTES_MAX).contains(&id.len()).then_some(Self(id))
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// The key of its slot, one of `capacity`. Whoever can choose ids can make two meet in one slot; there the later pushes
    /// the earlier out, which he could do by sending many, too.
    pub(crate) fn key(&self, capacity: u32) -> String {
        let slot = select::scale(XxHash64::oneshot(0, &self.0), u64::from(capacity));
        format!("{KEY_PREFIX}{slot}")
    }
}

/// The trace that a context belongs to.
pub(crate) fn trace_of(entry: &Entry<'_>) -> Option<[u8; 32]> {
    trace::trace_id(|name| entry.only(name))
}
