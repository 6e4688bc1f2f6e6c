//! Finds the first rule that matches without walking the list.
//!
//! Each rule is filed under one condition that it cannot match without, the rarest it has: an exact path, a header or
//! query parameter with its value, a path prefix. A request looks up what it brings, and only rules filed there are
//! tried, in file order. File order decides, never the length of a prefix: that is Istio's rule.

use crate::matcher::{Condition, PathMatcher, RequestMatcher, StringMatcher};
use crate::prefixes::Prefixes;
use crate::request::RequestHead;
use crate::table::Table;
use std::collections::BTreeMap;

/// Rule numbers in file order.
type RuleList = Vec<u32>;

/// Longest path that is also looked up in lower case; no rule is longer.
const FOLDED_PATH_MAX: usize = 4096;

#[derive(Clone, Debug, Default)]
pub(crate) struct RuleIndex {
    exact: Table<RuleList>,
    prefix: Prefixes<RuleList>,
    exact_any_case: Table<RuleList>,
    prefix_any_case: Prefixes<RuleList>,
    any_case: bool,
    headers: Table<Values>,
    queries: Table<Values>,
    /// Rules without a condition to file them under, such as those with a pattern alone.
    rest: RuleList,
}

/// Rules filed under a name: by exact value, and those that need only its presence.
#[derive(Clone, Debug, Default)]
struct Values {
    exact: Table<RuleList>,
    any: RuleList,
}

/// What a rule can be filed under.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Key<'m> {
    Exact(&'m [u8]),
    ExactAnyCase(&'m [u8]),
    Header(&'m [u8], &'m [u8]),
    Query(&'m [u8], &'m [u8]),
    HeaderName(&'m [u8]),
    QueryName(&'m [u8]),
    Prefix(&'m [u8]),
    PrefixAnyCase(&'m [u8]),
}

impl RuleIndex {
    /// `matchers` in file order.
    pub(crate) fn new<'m>(matchers: impl Iterator<Item = &'m RequestMatcher> + Clone) -> Self {
        let mut uses: BTreeMap<Key<'m>, u32> = BTreeMap::new();
        for key in matchers.clone().flat_map(keys) {
            let count = uses.entry(key).or_default();
            *count = count.saturating_add(1);
        }
        let mut index = Self::default();
        let mut prefix: BTreeMap<Box<[u8]>, RuleList> = BTreeMap::new();
        let mut prefix_any_case = prefix.clone();
        for (rule, matcher) in (0..).zip(matchers) {
            // Among equally rare keys the order of `Key` prefers what is cheapest to look up.
            match keys(matcher).min_by_key(|key| (uses.get(key).copied(), key.clone())) {
                Some(Key::Exact(path)) => index.exact.entry(path).push(rule),
                Some(Key::ExactAnyCase(path)) => index.exact_any_case.entry(path).push(rule),
                Some(Key::Prefix(path)) => prefix.entry(path.into()).or_default().push(rule),
                Some(Key::PrefixAnyCase(path)) => prefix_any_case.entry(path.into()).or_default().push(rule),
                Some(Key::Header(name, value)) => index.headers.entry(name).exact.entry(value).push(rule),
                Some(Key::HeaderName(name)) => index.headers.entry(name).any.push(rule),
                Some(Key::Query(name, value)) => index.queries.entry(name).exact.entry(value).push(rule),
                Some(Key::QueryName(name)) => index.queries.entry(name).any.push(rule),
                None => index.rest.push(rule),
            }
        }
        index.any_case = !index.exact_any_case.is_empty() || !prefix_any_case.is_empty();
        index.prefix = Prefixes::new(prefix);
        index.prefix_any_case = Prefixes::new(prefix_any_case);
        index
    }

    /// The first rule, in file order, for which `matches` says yes. Every rule that can match is tried or stands
    /// behind one that did.
    pub(crate) fn first(&self, request: &RequestHead<'_>, matches: impl Fn(u32) -> bool) -> Option<u32> {
        let mut best = None;
        let mut try_list = |rules: &RuleList| {
            let before_best = rules.iter().take_while(|rule| best.is_none_or(|best| **rule < best));
            best = before_best.copied().find(|rule| matches(*rule)).or(best);
        };
        if let Some(rules) = self.exact.get(request.path()) {
            try_list(rules);
        }
        if !self.headers.is_empty() {
            look_up(&self.headers, request.pairs().iter().copied(), false, &mut try_list);
        }
        if !self.queries.is_empty() {
            look_up(&self.queries, request.query_parameters(), true, &mut try_list);
        }
        self.prefix.visit(request.path(), &mut try_list);
        if self.any_case {
            let start = request.path().get(..FOLDED_PATH_MAX).unwrap_or(request.path());
            let folded = start.to_ascii_lowercase();
            if let Some(rules) = self.exact_any_case.get(&folded) {
                try_list(rules);
            }
            self.prefix_any_case.visit(&folded, &mut try_list);
        }
        try_list(&self.rest);
        best
    }
}

/// A client may repeat a name as often as it likes: rules that need only the name are tried once.
fn look_up<'r>(
    table: &Table<Values>,
    pairs: impl Iterator<Item = (&'r [u8], &'r [u8])>,
    first_value_only: bool,
    try_list: &mut impl FnMut(&RuleList),
) {
    let mut seen: Vec<&[u8]> = Vec::new();
    for (name, value) in pairs {
        let Some(values) = table.get(name) else { continue };
        let is_first = !seen.contains(&name);
        if is_first {
            seen.push(name);
            try_list(&values.any);
        }
        if (is_first || !first_value_only)
            && let Some(rules) = values.exact.get(value)
        {
            try_list(rules);
        }
    }
}

/// Everything the rule could be filed under. A condition on an absent thing is no key: it is looked up by what is there.
fn keys(matcher: &RequestMatcher) -> impl Iterator<Item = Key<'_>> {
    let path = match &matcher.path {
        Some(PathMatcher::Exact(path)) => Some(Key::Exact(path)),
        Some(PathMatcher::Prefix(path)) => Some(Key::Prefix(path)),
        Some(PathMatcher::ExactAnyCase(path)) if path.len() < FOLDED_PATH_MAX => Some(Key::ExactAnyCase(path)),
        Some(PathMatcher::PrefixAnyCase(path)) if path.len() < FOLDED_PATH_MAX => Some(Key::PrefixAnyCase(path)),
        Some(PathMatcher::ExactAnyCase(_) | PathMatcher::PrefixAnyCase(_) | PathMatcher::Regex(_)) | None => None,
    };
    let conditions = matcher.conditions.iter().filter_map(|condition| match condition {
        Condition::Header(name, StringMatcher::Exact(value)) => Some(Key::Header(name, value)),
        Condition::Header(name, _) => Some(Key::HeaderName(name)),
        Condition::Query(name, StringMatcher::Exact(value)) => Some(Key::Query(name, value)),
        Condition::Query(name, _) => Some(Key::QueryName(name)),
        Condition::WithoutHeader(..) => None,
    });
    path.into_iter().chain(conditions)
}
