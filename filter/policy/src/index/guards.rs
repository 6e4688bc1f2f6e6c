//! Conditions that cannot be looked up but are shared: one look at the condition stands for all rules that have it.
//!
//! A header that must be absent, or a pattern about which no letter is known, says nothing about where to look. But where
//! many rules have the same one, a request that does not meet it is done with all of them.

use crate::matcher::{Condition, PathMatcher, RequestMatcher, StringMatcher};
use crate::request::RequestHead;
use std::collections::BTreeMap;

/// A condition as something to compare: where it looks, the name there, the kind of match, its text.
pub(super) type Identity<'m> = (u8, &'m [u8], u8, &'m [u8]);

/// A condition that rules share.
#[derive(Clone, Debug)]
pub(super) enum Guard {
    Path(PathMatcher),
    Condition(Condition),
}

/// A condition of a rule, by reference.
#[derive(Clone, Copy)]
pub(super) enum GuardRef<'m> {
    Path(&'m PathMatcher),
    Condition(&'m Condition),
}

impl Guard {
    pub(super) fn holds(&self, request: &RequestHead<'_>) -> bool {
        match self {
            Self::Path(path) => path.matches(request.path()),
            Self::Condition(condition) => condition.holds(request),
        }
    }
}

impl<'m> GuardRef<'m> {
    pub(super) fn identity(self) -> Identity<'m> {
        let text = |matcher: &'m StringMatcher| match matcher {
            StringMatcher::Present => (0, &b""[..]),
            StringMatcher::Exact(text) => (1, &**text),
            StringMatcher::Prefix(text) => (2, &**text),
            StringMatcher::Regex(pattern) => (3, pattern.as_str().as_bytes()),
        };
        let (place, name, (kind, text)) = match self {
            Self::Path(PathMatcher::Exact(path)) => (0, &b""[..], (1, &**path)),
            Self::Path(PathMatcher::Prefix(path)) => (0, &b""[..], (2, &**path)),
            Self::Path(PathMatcher::Regex(pattern)) => (0, &b""[..], (3, pattern.as_str().as_bytes())),
            Self::Path(PathMatcher::ExactAnyCase(path)) => (0, &b""[..], (4, &**path)),
            Self::Path(PathMatcher::PrefixAnyCase(path)) => (0, &b""[..], (5, &**path)),
            Self::Condition(Condition::Header(name, matcher)) => (1, &**name, text(matcher)),
            Self::Condition(Condition::WithoutHeader(name, matcher)) => (2, &**name, text(matcher)),
            Self::Condition(Condition::Query(name, matcher)) => (3, &**name, text(matcher)),
        };
        (place, name, kind, text)
    }

    pub(super) fn to_guard(self) -> Guard {
        match self {
            Self::Path(path) => Guard::Path(path.clone()),
            Self::Condition(condition) => Guard::Condition(condition.clone()),
        }
    }
}

/// What guards a rule: every condition on something absent, and every pattern.
pub(super) fn of(matcher: &RequestMatcher) -> impl Iterator<Item = GuardRef<'_>> {
    let path = matcher.path.iter().filter(|path| matches!(path, PathMatcher::Regex(_))).map(GuardRef::Path);
    let guards = |condition: &&Condition| match condition {
        Condition::WithoutHeader(..) => true,
        Condition::Header(_, matcher) | Condition::Query(_, matcher) => matches!(matcher, StringMatcher::Regex(_)),
    };
    path.chain(matcher.conditions.iter().filter(guards).map(GuardRef::Condition))
}

/// How many rules have each guard.
pub(super) fn uses<'m>(guards: impl Iterator<Item = GuardRef<'m>>) -> BTreeMap<Identity<'m>, usize> {
    let mut uses = BTreeMap::new();
    for guard in guards {
        let count: &mut usize = uses.entry(guard.identity()).or_default();
        *count = count.saturating_add(1);
    }
    uses
}
