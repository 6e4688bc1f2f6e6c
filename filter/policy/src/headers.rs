//! Header edits, flattened to the order in which they take effect.

/// One edit of a header map. Names are in lower case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Edit {
    /// The header has this one value from now on (`set`).
    Set(Box<str>, Box<str>),
    /// The header has this value besides those it had (`add`).
    Add(Box<str>, Box<str>),
    /// The header is gone (`remove`).
    Remove(Box<str>),
}

/// What happens to the headers of requests and responses of one target.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct HeaderEdits {
    pub(crate) request: Box<[Edit]>,
    pub(crate) response: Box<[Edit]>,
}

/// Whether a header is a word between filter and Envoy, which no client may say: `x-shunt-*` chooses clusters and
/// profiles, `x-envoy-fault-*` drives Envoy's fault filter.
pub(crate) fn is_internal(name: &[u8]) -> bool {
    name.starts_with(b"x-shunt-") || name.starts_with(b"x-envoy-fault-")
}
