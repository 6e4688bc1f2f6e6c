//! Header edits of a rule and its destination, level by level, as Envoy carries them out.
//!
//! In one level Envoy removes first, then works out every value from what is there, then sets, then adds. A rule with one
//! destination has one level, into which istiod merges both; with several, each destination has a level of its own, which
//! runs before the rule's.

use crate::decision::NewAuthority;
use crate::format::Value;
use crate::request::HeaderPair;
use std::borrow::Cow;

/// The request target before a rewrite, for the upstream; Envoy's router writes it when its route changes the path.
pub const ORIGINAL_PATH_HEADER: &[u8] = b"x-envoy-original-path";

/// The authority before a rewrite, likewise.
pub const ORIGINAL_HOST_HEADER: &[u8] = b"x-envoy-original-host";

/// One edit of a header map, ready to be carried out. Names are in lower case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Edit<'p> {
    /// The header has this one value from now on (`set`).
    Set(&'p str, Cow<'p, [u8]>),
    /// The header has this value besides those it had (`add`).
    Add(&'p str, Cow<'p, [u8]>),
    /// The header is gone (`remove`).
    Remove(&'p str),
}

/// The edits of one level, in the order of effect.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Level {
    pub(crate) removes: Vec<Box<str>>,
    pub(crate) sets: Vec<(Box<str>, Value)>,
    pub(crate) adds: Vec<(Box<str>, Value)>,
    /// What `:authority` has become before this level looks: one of several destinations has written it.
    pub(crate) authority: Option<Box<str>>,
}

impl Level {
    /// Values in the order in which they are worked out.
    pub(crate) fn values(&self) -> impl Iterator<Item = &Value> {
        self.sets.iter().chain(&self.adds).map(|(_, value)| value)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.removes.is_empty() && self.sets.is_empty() && self.adds.is_empty()
    }
}

/// What happens to the headers of requests and responses of one target. Empty levels are left out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct HeaderEdits {
    pub(crate) request: Box<[Level]>,
    pub(crate) response: Box<[Level]>,
}

impl HeaderEdits {
    /// Whether an edit of the response looks at the request.
    pub(crate) fn needs_request(&self) -> bool {
        self.response.iter().flat_map(Level::values).any(Value::is_early)
    }
}

/// A header map that edits were tried on.
pub(crate) type Tried = Vec<(Vec<u8>, Vec<u8>)>;

/// The edits with their values. `render` sees the headers as they are when the level begins, less what it removes. A value
/// that comes out empty is no edit, as in Envoy. Also the headers after all of it.
pub(crate) fn resolve<'p>(
    levels: &'p [Level],
    pairs: &[HeaderPair<'_>],
    mut render: impl FnMut(&'p Value, &[HeaderPair<'_>]) -> Cow<'p, [u8]>,
) -> (Vec<Edit<'p>>, Tried) {
    let mut edits = Vec::new();
    let mut tried: Tried = pairs.iter().map(|(name, value)| (name.to_vec(), value.to_vec())).collect();
    for level in levels {
        if let Some(authority) = &level.authority {
            tried.retain(|(key, _)| key != b":authority");
            tried.push((b":authority".to_vec(), authority.as_bytes().to_vec()));
        }
        for name in &level.removes {
            tried.retain(|(key, _)| *key != name.as_bytes());
            edits.push(Edit::Remove(name));
        }
        let seen = borrowed(&tried);
        let values: Vec<_> = level.values().map(|value| render(value, &seen)).collect();
        let mut values = values.into_iter();
        // `zip` asks the names first, so the first value behind the sets is not lost.
        for ((name, _), value) in level.sets.iter().zip(values.by_ref()).filter(|(_, value)| !value.is_empty()) {
            tried.retain(|(key, _)| *key != name.as_bytes());
            tried.push((name.as_bytes().to_vec(), value.to_vec()));
            edits.push(Edit::Set(name, value));
        }
        for ((name, _), value) in level.adds.iter().zip(values).filter(|(_, value)| !value.is_empty()) {
            tried.push((name.as_bytes().to_vec(), value.to_vec()));
            edits.push(Edit::Add(name, value));
        }
    }
    (edits, tried)
}

/// The request as it goes to the upstream, after its edits, which is what edits of the response look at.
pub(crate) fn as_it_leaves<'t>(
    tried: &'t Tried,
    path: Option<&'t [u8]>,
    authority: Option<&'t NewAuthority>,
) -> Vec<HeaderPair<'t>> {
    let first = |name: &[u8]| tried.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_slice());
    let mut pairs = borrowed(tried);
    let mut replace = |name: &'static [u8], value: &'t [u8]| {
        pairs.retain(|(key, _)| *key != name);
        pairs.push((name, value));
    };
    if let (Some(old), Some(new)) = (first(b":path"), path) {
        replace(b":path", new);
        replace(ORIGINAL_PATH_HEADER, old);
    }
    if let (Some(old), Some(new)) = (first(b":authority"), authority) {
        replace(b":authority", new.name().as_bytes());
        if let Some(original) = new.original(old) {
            replace(ORIGINAL_HOST_HEADER, original);
        }
    }
    pairs
}

/// The map as pairs.
pub(crate) fn borrowed(tried: &Tried) -> Vec<HeaderPair<'_>> {
    tried.iter().map(|(name, value)| (name.as_slice(), value.as_slice())).collect()
}

/// The edits where no value depends on anything: the usual case, which needs no header looked at.
pub(crate) fn literal(levels: &[Level]) -> Option<Vec<Edit<'_>>> {
    let mut edits = Vec::new();
    for level in levels {
        edits.extend(level.removes.iter().map(|name| Edit::Remove(name)));
        for (name, value) in &level.sets {
            edits.push(Edit::Set(name, Cow::Borrowed(value.literal()?)));
        }
        for (name, value) in &level.adds {
            edits.push(Edit::Add(name, Cow::Borrowed(value.literal()?)));
        }
    }
    Some(edits)
}

/// Whether a header is a word between filter and Envoy, which no client may say: `x-shunt-*` chooses clusters and
/// profiles, `x-envoy-fault-*` drives Envoy's fault filter.
pub(crate) fn is_internal(name: &[u8]) -> bool {
    name.starts_with(b"x-shunt-") || name.starts_with(b"x-envoy-fault-")
}
