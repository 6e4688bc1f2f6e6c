//! Whether one match block takes every request that another one takes.
//!
//! Every step is an implication, so the answer "yes" is a proof; "no" only means that these steps do not suffice. A block
//! is compared with one other block: what several earlier ones take together is not put together.

use crate::text_set::TextSet;
use crate::view::full_gateways;
use istio_config::virtual_service::{HttpMatchRequest, StringMatch};
use std::collections::BTreeMap;

/// Any condition but `uri`.
#[derive(Clone, Debug, PartialEq)]
enum Condition {
    /// Some value of the header is in the set.
    Header(String, TextSet),
    /// The header is not there.
    Lacks(String),
    /// No value of the header is in the set, and a missing header counts as an empty one.
    Without(String, TextSet),
    /// The first value of the query parameter is in the set.
    Query(String, TextSet),
}

/// Which paths a block may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reach<'b> {
    Anywhere,
    /// Only this one.
    Exact(&'b str),
    /// Only those that begin so.
    Prefix(&'b str),
}

/// Where a block holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Scope {
    gateways: Vec<String>,
    port: Option<u32>,
    source_labels: BTreeMap<String, String>,
    source_namespace: String,
}

/// One match block, or the absence of any.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Block {
    path: Option<TextSet>,
    conditions: Vec<Condition>,
    scope: Scope,
    /// What Istio sees as a catch-all: it makes no routes behind it.
    takes_all: bool,
}

impl Block {
    /// The block of a rule without `match`.
    pub(crate) fn everything() -> Self {
        Self { takes_all: true, ..Self::default() }
    }

    /// A block as written. `None` when it is faulty, which the policy reports.
    pub(crate) fn new(raw: &HttpMatchRequest, namespace: &str) -> Option<Self> {
        let HttpMatchRequest {
            name: _,
            stat_prefix: _,
            uri,
            scheme,
            method,
            authority,
            headers,
            port,
            source_labels,
            gateways,
            query_params,
            ignore_uri_case,
            without_headers,
            source_namespace,
        } = raw;
        let path = match uri {
            None => None,
            Some(raw) => Some(TextSet::new(raw, *ignore_uri_case)?).filter(|set| *set != TextSet::Any),
        };
        let mut conditions = Vec::new();
        for (name, raw) in [(":scheme", scheme), (":method", method), (":authority", authority)] {
            if let Some(raw) = raw {
                conditions.push(Condition::Header(name.to_owned(), TextSet::new(raw, false)?));
            }
        }
        for (name, raw) in headers {
            conditions.push(Condition::Header(name.to_ascii_lowercase(), TextSet::new(raw.as_ref()?, false)?));
        }
        for (name, raw) in without_headers {
            let name = name.to_ascii_lowercase();
            let is_presence = |raw: &StringMatch| *raw == StringMatch::default() || raw.regex.as_deref() == Some("*");
            conditions.push(match raw {
                None => Condition::Lacks(name),
                Some(raw) if is_presence(raw) => Condition::Lacks(name),
                Some(raw) => Condition::Without(name, TextSet::new(raw, false)?),
            });
        }
        for (name, raw) in query_params {
            let set = raw.as_ref().map_or(Some(TextSet::Any), |raw| TextSet::new(raw, false))?;
            conditions.push(Condition::Query(name.clone(), set));
        }
        let scope = Scope {
            gateways: full_gateways(gateways, namespace),
            port: port.filter(|port| *port != 0),
            source_labels: source_labels.clone(),
            source_namespace: source_namespace.clone(),
        };
        let any_path = matches!(&path, None | Some(TextSet::Any)) || is_root(path.as_ref());
        let takes_all = any_path && conditions.is_empty();
        Some(Self { path, conditions, scope, takes_all })
    }

    /// Whether no request that `later` takes would get past this block, wherever the VirtualService holds (`gateways`).
    pub(crate) fn covers(&self, later: &Self, gateways: &[String]) -> bool {
        let takes = self.takes_all
            || self.path.as_ref().is_none_or(|own| later.path.as_ref().is_some_and(|path| path.is_within(own)))
                && self.conditions.iter().all(|own| later.conditions.iter().any(|known| known.implies(own)));
        takes && self.scope.covers(&later.scope, gateways)
    }

    /// What a path must be like for this block to take it, as far as a look-up goes.
    pub(crate) fn reach(&self) -> Reach<'_> {
        match &self.path {
            _ if self.takes_all => Reach::Anywhere,
            Some(TextSet::Exact(text)) => Reach::Exact(text),
            Some(TextSet::Prefix(text)) => Reach::Prefix(text),
            _ => Reach::Anywhere,
        }
    }

    /// A text that every path the block takes begins with, if case is no matter.
    pub(crate) fn sure_start(&self) -> String {
        match &self.path {
            None => String::new(),
            Some(set) => set.sure_start(),
        }
    }

    /// Whether it takes every request, everywhere.
    pub(crate) fn is_catch_all(&self) -> bool {
        self.takes_all && self.scope == Scope::default()
    }
}

/// Prefix `/`, in any case.
fn is_root(path: Option<&TextSet>) -> bool {
    matches!(path, Some(TextSet::Prefix(prefix) | TextSet::PrefixAnyCase(prefix)) if prefix == "/")
}

impl Condition {
    /// Whether `other` holds wherever this one does.
    fn implies(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Header(name, set), Self::Header(other_name, other)) => name == other_name && set.is_within(other),
            (Self::Query(name, set), Self::Query(other_name, other)) => name == other_name && set.is_within(other),
            (Self::Lacks(name), Self::Lacks(other)) => name == other,
            // A missing header counts as empty.
            (Self::Lacks(name), Self::Without(other, set)) => name == other && !set.holds(""),
            (Self::Without(name, set), Self::Without(other_name, other)) => name == other_name && other.is_within(set),
            _ => false,
        }
    }
}

impl Scope {
    fn covers(&self, later: &Self, gateways: &[String]) -> bool {
        let ports = self.port.is_none() || self.port == later.port;
        let of_caller = |scope: &Self| scope.source_labels.is_empty() && scope.source_namespace.is_empty();
        // With `gateways`, labels and namespace of the caller are not looked at.
        let callers = match (self.gateways.as_slice(), later.gateways.as_slice()) {
            ([], []) => {
                (self.source_namespace.is_empty() || self.source_namespace == later.source_namespace)
                    && self.source_labels.iter().all(|(key, value)| later.source_labels.get(key) == Some(value))
            }
            ([], _) => of_caller(self),
            (own, []) => gateways.iter().all(|gateway| own.contains(gateway)),
            (own, later) => later.iter().all(|gateway| own.contains(gateway)),
        };
        ports && callers
    }
}
