//! Finds the first rule that matches without walking the list.
//!
//! Each rule is filed under one condition that it cannot match without, the rarest it has: an exact path, a header or
//! query parameter with its value or the beginning of it, a path prefix. Where many rules share even their rarest
//! condition, these are filed once more by what else they ask for. A request looks up what it brings, and only rules filed
//! there are tried, each at most once, in file order. File order decides, never the length of a prefix: that is Istio's
//! rule.
//!
//! - [`keys`](mod@keys): what a rule can be filed under
//! - [`guards`](mod@guards): what cannot be looked up and is looked at once for all rules that share it
//! - [`literal`](mod@literal): how a pattern's matches begin

mod guards;
mod keys;
mod literal;

use crate::matcher::RequestMatcher;
use crate::prefixes::Prefixes;
use crate::request::RequestHead;
use crate::table::Table;
use guards::{Guard, GuardRef};
use keys::{Entry, FOLDED_PATH_MAX, Key};
use std::collections::{BTreeMap, BTreeSet};

/// So many rules are tried one by one.
const LIST_MAX: usize = 4;

/// How often a rule is filed at most; no rule that somebody writes has more conditions worth it.
const LEVELS_MAX: usize = 8;

/// The rules of a virtual host, by what they ask for.
#[derive(Clone, Debug, Default)]
pub(crate) struct RuleIndex(Candidates);

/// Rules that a request could match; by number, which is file order.
#[derive(Clone, Debug)]
enum Candidates {
    List(Box<[u32]>),
    Level(Box<Level>),
}

#[derive(Clone, Debug, Default)]
struct Level {
    /// The first rule in here.
    first: u32,
    exact: Table<Candidates>,
    prefix: Prefixes<Candidates>,
    exact_any_case: Table<Candidates>,
    prefix_any_case: Prefixes<Candidates>,
    any_case: bool,
    headers: Table<Values>,
    queries: Table<Values>,
    /// Rules that can only be filed under what they share with others; by the first of them.
    guarded: Box<[(Guard, Candidates)]>,
    /// Rules without a condition to file them under, such as those with a pattern of their own alone.
    rest: Candidates,
}

/// Rules filed under a name: by value, by the beginning of the value, and those that need only the name to be there.
#[derive(Clone, Debug, Default)]
struct Values {
    exact: Table<Candidates>,
    prefix: Prefixes<Candidates>,
    any: Candidates,
}

impl Default for Candidates {
    fn default() -> Self {
        Self::List(Box::default())
    }
}

impl RuleIndex {
    /// `matchers` in file order.
    pub(crate) fn new<'m>(matchers: impl Iterator<Item = &'m RequestMatcher>) -> Self {
        Self(Candidates::new((0..).zip(matchers).map(|(rule, matcher)| Entry::new(rule, matcher)).collect(), 0))
    }

    /// The first rule, in file order, for which `matches` says yes. Every rule that can match is tried or stands
    /// behind one that did; none is tried twice.
    pub(crate) fn first(&self, request: &RequestHead<'_>, matches: impl Fn(u32) -> bool) -> Option<u32> {
        let mut search = Search { request, matches, folded: None, best: None };
        search.candidates(&self.0);
        search.best
    }
}

impl Candidates {
    /// `entries` in file order.
    fn new(entries: Vec<Entry<'_>>, level: usize) -> Self {
        if entries.len() <= LIST_MAX || level >= LEVELS_MAX || entries.iter().all(Entry::is_bare) {
            return Self::List(entries.into_iter().map(|entry| entry.rule).collect());
        }
        Self::Level(Box::new(Level::new(entries, level)))
    }

    /// The number of the first rule in here.
    fn first(&self) -> u32 {
        match self {
            Self::List(rules) => rules.first().copied().unwrap_or(u32::MAX),
            Self::Level(level) => level.first,
        }
    }
}

impl Level {
    fn new(entries: Vec<Entry<'_>>, level: usize) -> Self {
        let mut index = Self { first: entries.first().map_or(u32::MAX, |entry| entry.rule), ..Self::default() };
        let mut headers: BTreeMap<&[u8], ValuesBuilder> = BTreeMap::new();
        let mut queries = headers.clone();
        let (mut prefix, mut prefix_any_case) = (Vec::new(), Vec::new());
        let (keyed, unkeyed) = entries.into_iter().partition(|entry| !entry.keys.is_empty());
        (index.guarded, index.rest) = by_shared_guard(unkeyed, level);
        for (key, filed) in by_rarest_key(keyed) {
            let filed = Candidates::new(filed, level.saturating_add(1));
            match key {
                Key::Exact(path) => index.exact.insert(path, filed),
                Key::ExactAnyCase(path) => index.exact_any_case.insert(path, filed),
                Key::Prefix(path) => prefix.push((path.into(), filed)),
                Key::PrefixAnyCase(path) => prefix_any_case.push((path.into(), filed)),
                Key::Header(name, value) => headers.entry(name).or_default().values.exact.insert(value, filed),
                Key::Query(name, value) => queries.entry(name).or_default().values.exact.insert(value, filed),
                Key::HeaderPrefix(name, start) => headers.entry(name).or_default().prefix.push((start.into(), filed)),
                Key::QueryPrefix(name, start) => queries.entry(name).or_default().prefix.push((start.into(), filed)),
                Key::HeaderName(name) => headers.entry(name).or_default().values.any = filed,
                Key::QueryName(name) => queries.entry(name).or_default().values.any = filed,
            }
        }
        index.any_case = !index.exact_any_case.is_empty() || !prefix_any_case.is_empty();
        index.prefix = Prefixes::new(prefix);
        index.prefix_any_case = Prefixes::new(prefix_any_case);
        for (names, table) in [(headers, &mut index.headers), (queries, &mut index.queries)] {
            for (name, builder) in names {
                table.insert(name, builder.build());
            }
        }
        index
    }
}

/// [`Values`] whose prefixes are not complete yet.
#[derive(Clone, Default)]
struct ValuesBuilder {
    values: Values,
    prefix: Vec<(Box<[u8]>, Candidates)>,
}

impl ValuesBuilder {
    fn build(self) -> Values {
        Values { prefix: Prefixes::new(self.prefix), ..self.values }
    }
}

/// The rules by the rarest key of each, which is taken out of it.
fn by_rarest_key(entries: Vec<Entry<'_>>) -> BTreeMap<Key<'_>, Vec<Entry<'_>>> {
    let mut uses: BTreeMap<Key<'_>, u32> = BTreeMap::new();
    for key in entries.iter().flat_map(|entry| &entry.keys) {
        let count = uses.entry(key.clone()).or_default();
        *count = count.saturating_add(1);
    }
    let mut groups: BTreeMap<Key<'_>, Vec<Entry<'_>>> = BTreeMap::new();
    for mut entry in entries {
        // Among equally rare keys the order of `Key` prefers what is cheapest to look up.
        let rarest = entry.keys.iter().enumerate().min_by_key(|(_, key)| (uses.get(*key), *key)).map(|(at, _)| at);
        if let Some(at) = rarest {
            groups.entry(entry.keys.swap_remove(at)).or_default().push(entry);
        }
    }
    groups
}

/// Rules without a key, by the guard that most of them share, which is taken out of them; and those that share none.
fn by_shared_guard(entries: Vec<Entry<'_>>, level: usize) -> (Box<[(Guard, Candidates)]>, Candidates) {
    let uses = guards::uses(entries.iter().flat_map(|entry| entry.guards.iter().copied()));
    let mut groups: Vec<(GuardRef<'_>, Vec<Entry<'_>>)> = Vec::new();
    let mut places = BTreeMap::new();
    let mut rest = Vec::new();
    for mut entry in entries {
        let shared_by = |guard: &GuardRef<'_>| uses.get(&guard.identity()).copied().unwrap_or_default();
        let most_shared = entry.guards.iter().enumerate().max_by_key(|(_, guard)| shared_by(guard));
        match most_shared.filter(|(_, guard)| shared_by(guard) > LIST_MAX).map(|(at, _)| at) {
            Some(at) => {
                let guard = entry.guards.swap_remove(at);
                let place = *places.entry(guard.identity()).or_insert(groups.len());
                match groups.get_mut(place) {
                    Some((_, filed)) => filed.push(entry),
                    None => groups.push((guard, vec![entry])),
                }
            }
            None => rest.push(entry.rule),
        }
    }
    let filed = |filed| Candidates::new(filed, level.saturating_add(1));
    let guarded = groups.into_iter().map(|(guard, entries)| (guard.to_guard(), filed(entries))).collect();
    (guarded, Candidates::List(rest.into()))
}

/// One search for one request.
struct Search<'s, M> {
    request: &'s RequestHead<'s>,
    matches: M,
    /// The path in lower case, once something wants it.
    folded: Option<Vec<u8>>,
    /// The first rule known to match.
    best: Option<u32>,
}

impl<M: Fn(u32) -> bool> Search<'_, M> {
    fn candidates(&mut self, candidates: &Candidates) {
        match candidates {
            Candidates::List(rules) => {
                let before_best = rules.iter().take_while(|rule| self.best.is_none_or(|best| **rule < best));
                self.best = before_best.copied().find(|rule| (self.matches)(*rule)).or(self.best);
            }
            Candidates::Level(level) if self.may_lead(level.first) => self.level(level),
            Candidates::Level(_) => {}
        }
    }

    fn level(&mut self, level: &Level) {
        let request = self.request;
        if let Some(filed) = level.exact.get(request.path()) {
            self.candidates(filed);
        }
        if !level.headers.is_empty() {
            self.pairs(&level.headers, request.pairs().iter().copied(), false);
        }
        if !level.queries.is_empty() {
            self.pairs(&level.queries, request.query_parameters(), true);
        }
        level.prefix.visit(request.path(), |filed| self.candidates(filed));
        if level.any_case {
            let folded = self.folded.take().unwrap_or_else(|| {
                request.path().get(..FOLDED_PATH_MAX).unwrap_or(request.path()).to_ascii_lowercase()
            });
            if let Some(filed) = level.exact_any_case.get(&folded) {
                self.candidates(filed);
            }
            level.prefix_any_case.visit(&folded, |filed| self.candidates(filed));
            self.folded = Some(folded);
        }
        for (guard, filed) in &level.guarded {
            if self.may_lead(filed.first()) && guard.holds(request) {
                self.candidates(filed);
            }
        }
        self.candidates(&level.rest);
    }

    /// Whether a rule with this number would stand before the best one.
    fn may_lead(&self, rule: u32) -> bool {
        self.best.is_none_or(|best| rule < best)
    }

    /// A client may repeat names and values as often as it likes: what is filed under them is tried once. Places are told
    /// apart by their address.
    fn pairs<'r>(
        &mut self,
        table: &Table<Values>,
        pairs: impl Iterator<Item = (&'r [u8], &'r [u8])>,
        first_value_only: bool,
    ) {
        let mut names = BTreeSet::new();
        let mut tried = BTreeSet::new();
        for (name, value) in pairs {
            let Some(values) = table.get(name) else { continue };
            let is_first = names.insert(std::ptr::from_ref(values));
            if is_first {
                self.candidates(&values.any);
            } else if first_value_only {
                continue;
            }
            let mut once = |filed: &Candidates| {
                if tried.insert(std::ptr::from_ref(filed)) {
                    self.candidates(filed);
                }
            };
            if let Some(filed) = values.exact.get(value) {
                once(filed);
            }
            values.prefix.visit(value, once);
        }
    }
}

#[cfg(test)]
mod tests;
