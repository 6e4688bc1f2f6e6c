//! What a rule can be filed under: conditions that can be looked up by what a request brings.

use super::guards::{self, GuardRef};
use super::literal;
use crate::matcher::{Condition, PathMatcher, RequestMatcher, StringMatcher};
use std::borrow::Cow;

/// Longest path that is also looked up in lower case; no rule is longer.
pub(super) const FOLDED_PATH_MAX: usize = 4096;

/// A rule and what it can still be filed under.
pub(super) struct Entry<'m> {
    pub(super) rule: u32,
    pub(super) keys: Vec<Key<'m>>,
    pub(super) guards: Vec<GuardRef<'m>>,
}

/// One condition that a request must bring; the cheapest to look up first.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Key<'m> {
    Exact(&'m [u8]),
    ExactAnyCase(&'m [u8]),
    Header(&'m [u8], &'m [u8]),
    Query(&'m [u8], &'m [u8]),
    HeaderPrefix(&'m [u8], Cow<'m, [u8]>),
    QueryPrefix(&'m [u8], Cow<'m, [u8]>),
    HeaderName(&'m [u8]),
    QueryName(&'m [u8]),
    Prefix(Cow<'m, [u8]>),
    PrefixAnyCase(&'m [u8]),
}

impl<'m> Entry<'m> {
    pub(super) fn new(rule: u32, matcher: &'m RequestMatcher) -> Self {
        let conditions = matcher.conditions.iter().filter_map(of_condition);
        let keys = matcher.path.iter().filter_map(of_path).chain(conditions).collect();
        Self { rule, keys, guards: guards::of(matcher).collect() }
    }

    /// Whether there is nothing left to file it under.
    pub(super) fn is_bare(&self) -> bool {
        self.keys.is_empty() && self.guards.is_empty()
    }
}

fn of_path(path: &PathMatcher) -> Option<Key<'_>> {
    match path {
        PathMatcher::Exact(path) => Some(Key::Exact(path)),
        PathMatcher::Prefix(path) => Some(Key::Prefix(Cow::Borrowed(path))),
        PathMatcher::ExactAnyCase(path) if path.len() < FOLDED_PATH_MAX => Some(Key::ExactAnyCase(path)),
        PathMatcher::PrefixAnyCase(path) if path.len() < FOLDED_PATH_MAX => Some(Key::PrefixAnyCase(path)),
        PathMatcher::ExactAnyCase(_) | PathMatcher::PrefixAnyCase(_) => None,
        PathMatcher::Regex(pattern) => literal::prefix(pattern).map(|start| Key::Prefix(Cow::Owned(start))),
    }
}

/// A condition on an absent thing is no key: it is looked up by what is there.
fn of_condition(condition: &Condition) -> Option<Key<'_>> {
    match condition {
        Condition::Header(name, StringMatcher::Exact(value)) => Some(Key::Header(name, value)),
        Condition::Header(name, matcher) => {
            Some(beginning(matcher).map_or(Key::HeaderName(name), |start| Key::HeaderPrefix(name, start)))
        }
        Condition::Query(name, StringMatcher::Exact(value)) => Some(Key::Query(name, value)),
        Condition::Query(name, matcher) => {
            Some(beginning(matcher).map_or(Key::QueryName(name), |start| Key::QueryPrefix(name, start)))
        }
        Condition::WithoutHeader(..) => None,
    }
}

/// How every value that matches begins; `None` when it may begin in any way.
fn beginning(matcher: &StringMatcher) -> Option<Cow<'_, [u8]>> {
    match matcher {
        StringMatcher::Prefix(start) => Some(Cow::Borrowed(start)),
        StringMatcher::Regex(pattern) => literal::prefix(pattern).map(Cow::Owned),
        StringMatcher::Present | StringMatcher::Exact(_) => None,
    }
}
