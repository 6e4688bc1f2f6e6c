//! A request head as the engine sees it: slices over the raw header pairs, bytes and not text.

use crate::headers::is_internal;
use istio_config::filter_config::OWN_PREFIX;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

/// A name, and all its values as one.
type JoinedPair<'a> = (&'a [u8], Cow<'a, [u8]>);

/// One header: lower-case name and value. Pseudo-headers (`:path` …) are among them, as HTTP/2 and Proxy-Wasm have it.
pub type HeaderPair<'a> = (&'a [u8], &'a [u8]);

/// A request head; borrowed, nothing is copied.
#[derive(Clone, Copy, Debug)]
pub struct RequestHead<'a> {
    pairs: &'a [HeaderPair<'a>],
    authority: &'a [u8],
    path: &'a [u8],
    query: Option<&'a [u8]>,
    has_internal: bool,
}

impl<'a> RequestHead<'a> {
    /// Looks through the pairs once. Missing pseudo-headers count as empty.
    pub fn new(pairs: &'a [HeaderPair<'a>]) -> Self {
        let mut head = Self { pairs, authority: b"", path: b"", query: None, has_internal: false };
        for (name, value) in pairs {
            match *name {
                b":authority" => head.authority = value,
                b":path" => (head.path, head.query) = split_target(value),
                _ => head.has_internal |= is_internal(name),
            }
        }
        head
    }

    /// `:method`, empty when it is missing.
    pub(crate) fn method(&self) -> &'a [u8] {
        self.values(b":method").next().unwrap_or_default()
    }

    /// `:authority` as the client sent it, with its port.
    pub fn authority(&self) -> &'a [u8] {
        self.authority
    }

    /// The path without query and fragment.
    pub fn path(&self) -> &'a [u8] {
        self.path
    }

    /// What stands behind `?`, undecoded. `None` when there is no `?`.
    pub fn query(&self) -> Option<&'a [u8]> {
        self.query
    }

    /// Whether the client spoke https, to the host or to a terminator in front that said so. Envoy looks at this header
    /// and at nothing else (`require_tls`).
    pub(crate) fn came_by_https(&self) -> bool {
        self.values(b"x-forwarded-proto").next().is_some_and(|scheme| scheme == b"https")
    }

    /// All pairs, in order.
    pub fn pairs(&self) -> &'a [HeaderPair<'a>] {
        self.pairs
    }

    /// Each name once, its values joined with commas, as Envoy compared them before 1.39; `None` where no name comes twice.
    pub(crate) fn joined(&self) -> Option<Vec<JoinedPair<'a>>> {
        let mut joined: BTreeMap<&[u8], Cow<'a, [u8]>> = BTreeMap::new();
        for (name, value) in self.pairs {
            match joined.entry(name) {
                Entry::Vacant(place) => drop(place.insert(Cow::Borrowed(value))),
                Entry::Occupied(mut place) => {
                    let all = place.get_mut().to_mut();
                    all.push(b',');
                    all.extend_from_slice(value);
                }
            }
        }
        (joined.len() < self.pairs.len()).then(|| joined.into_iter().collect())
    }

    /// Every value of a header; `name` in lower case. To Envoy `host` is `:authority`.
    pub fn values(&self, name: &[u8]) -> impl Iterator<Item = &'a [u8]> {
        let name = if name == b"host" { b":authority" } else { name };
        self.pairs.iter().filter(move |(key, _)| *key == name).map(|(_, value)| *value)
    }

    /// The first value of a query parameter, undecoded, as Envoy compares it: `?a` and `?a=` both hold an empty `a`.
    pub fn query_parameter(&self, name: &[u8]) -> Option<&'a [u8]> {
        self.query_parameters().find(|(key, _)| *key == name).map(|(_, value)| value)
    }

    /// Every query parameter in order, undecoded.
    pub fn query_parameters(&self) -> impl Iterator<Item = HeaderPair<'a>> {
        self.query.into_iter().flat_map(|query| query.split(|byte| *byte == b'&')).map(|parameter| {
            let at = parameter.iter().position(|byte| *byte == b'=');
            match at.and_then(|at| parameter.split_at_checked(at)) {
                Some((key, value)) => (key, value.get(1..).unwrap_or_default()),
                None => (parameter, &b""[..]),
            }
        })
    }

    /// Of [`RequestHead::internal_names`] those that speak to profile routes.
    pub fn own_names(&self) -> impl Iterator<Item = &'a [u8]> {
        self.internal_names().filter(|name| name.starts_with(OWN_PREFIX.as_bytes()))
    }

    /// Names of headers that only the filter may set and that the client sent nevertheless.
    pub fn internal_names(&self) -> impl Iterator<Item = &'a [u8]> {
        let pairs = if self.has_internal { self.pairs } else { &[] };
        pairs.iter().map(|(name, _)| *name).filter(|name| is_internal(name))
    }
}

/// Splits a request target into path and query; a fragment belongs to neither.
fn split_target(target: &[u8]) -> (&[u8], Option<&[u8]>) {
    let end = target.iter().position(|byte| *byte == b'#').unwrap_or(target.len());
    let target = target.get(..end).unwrap_or_default();
    match target.iter().position(|byte| *byte == b'?').and_then(|at| target.split_at_checked(at)) {
        Some((path, query)) => (path, query.get(1..)),
        None => (target, None),
    }
}
