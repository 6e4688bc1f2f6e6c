//! Patterns of which only one side has each, and texts that tell them apart.
//!
//! The usual examples of a pattern are the plainest. For a pattern that was changed others are needed: those that the old
//! one takes and the new one does not, and the other way round. They are looked for among the ends of ranges and the limits
//! of repetitions. Where none is found and the patterns are not the same by their syntax, nobody may say that nothing
//! changes.

use super::dimensions::Slot;
use super::examples::{is_same, searching};
use super::overlap;
use crate::simple_regex::simple;
use crate::text_set::TextSet;
use crate::view::{View, rules_of};
use istio_config::names;
use istio_config::virtual_service::{HttpMatchRequest, StringMatch};

/// Pairs that are looked at for one host.
const PAIRS_MAX: usize = 2_000;

/// Two conditions that no example tells apart.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ToldAlike {
    /// What they look at, as in `uri` or `headers[cookie]`.
    pub what: String,
    /// The condition of the old side, a pattern or `prefix: TEXT`.
    pub old: String,
    /// The condition of the new side.
    pub new: String,
}

/// A condition on a part of a request head.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Condition {
    slot: Slot,
    raw: StringMatch,
    any_case: bool,
}

/// What is known of the conditions that changed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Changed {
    /// Texts that one side's condition takes, and the other's does not.
    texts: Vec<(Condition, String)>,
    pub(crate) told_alike: Vec<ToldAlike>,
}

impl Changed {
    /// Texts by which this condition differs from one of the other side.
    pub(crate) fn texts<'c>(&'c self, slot: &'c Slot, raw: &'c StringMatch) -> impl Iterator<Item = &'c str> {
        let own = self.texts.iter().filter(move |(of, _)| of.slot == *slot && of.raw == *raw);
        own.map(|(_, text)| text.as_str())
    }
}

/// Compares the conditions that each side alone has for requests to `host`.
pub(crate) fn changed(host: &str, [old, new]: [&View<'_>; 2]) -> Changed {
    let (old, new) = (conditions(host, old), conditions(host, new));
    let mut found = Changed::default();
    let only = |own: &[Condition], other: &[Condition]| -> Vec<Condition> {
        own.iter().filter(|condition| !other.contains(condition)).cloned().collect()
    };
    let (old, new) = (only(&old, &new), only(&new, &old));
    let pairs = old.iter().flat_map(|before| new.iter().map(move |after| (before, after)));
    let pairs = pairs.filter(|(before, after)| before.slot == after.slot);
    for (before, after) in pairs.filter(|(before, after)| is_pattern(before) || is_pattern(after)).take(PAIRS_MAX) {
        compare(before, after, &mut found);
    }
    found
}

fn compare(before: &Condition, after: &Condition, found: &mut Changed) {
    let sets = [before, after].map(|condition| TextSet::new(&condition.raw, condition.any_case));
    let [Some(old), Some(new)] = sets else { return };
    if let ([Some(one), Some(other)], true) = ([&before.raw.regex, &after.raw.regex], before.any_case == after.any_case)
        && is_same(one, other)
    {
        return;
    }
    let texts: Vec<String> = [before, after].into_iter().flat_map(|condition| searching(&condition.raw)).collect();
    let reachable = || texts.iter().filter(|text| before.slot != Slot::Path || text.starts_with('/'));
    let lost = reachable().find(|text| old.holds(text) && !new.holds(text));
    let gained = reachable().find(|text| new.holds(text) && !old.holds(text));
    if lost.is_none() && gained.is_none() {
        let told = |condition: &Condition| {
            let StringMatch { exact, prefix, regex } = &condition.raw;
            let other = || prefix.as_ref().map(|text| format!("prefix: {text}"));
            regex
                .clone()
                .or_else(other)
                .or_else(|| exact.as_ref().map(|text| format!("exact: {text}")))
                .unwrap_or_default()
        };
        found.told_alike.push(ToldAlike { what: before.slot.name(), old: told(before), new: told(after) });
    }
    found.texts.extend(lost.map(|text| (before.clone(), text.clone())));
    found.texts.extend(gained.map(|text| (after.clone(), text.clone())));
}

fn is_pattern(condition: &Condition) -> bool {
    condition.raw.regex.as_ref().is_some_and(|pattern| simple(pattern).is_none())
}

/// Every condition of the rules for a host, each once.
fn conditions(host: &str, view: &View<'_>) -> Vec<Condition> {
    let mut all: Vec<Condition> = Vec::new();
    for expanded in &view.expanded {
        let namespace = expanded.service.meta.namespace();
        let mut hosts = expanded.service.spec.hosts.iter().map(|own| names::full_host(own, namespace));
        if !hosts.any(|own| overlap(&own, host)) {
            continue;
        }
        for rule in rules_of(expanded) {
            let of_blocks = rule.raw.r#match.iter().flat_map(of_block);
            let origins = rule.raw.cors_policy.iter().flat_map(|policy| &policy.allow_origins);
            let origins = origins.map(|raw| plain(Slot::Header("origin".to_owned()), raw));
            for condition in of_blocks.chain(origins).filter(is_pattern_or_text) {
                all.push(condition);
            }
        }
    }
    let key = |condition: &Condition| {
        let Condition { slot, raw: StringMatch { exact, prefix, regex }, any_case } = condition.clone();
        (slot, exact, prefix, regex, any_case)
    };
    all.sort_by_key(key);
    all.dedup();
    all
}

fn is_pattern_or_text(condition: &Condition) -> bool {
    condition.raw != StringMatch::default()
}

fn plain(slot: Slot, raw: &StringMatch) -> Condition {
    Condition { slot, raw: raw.clone(), any_case: false }
}

fn of_block(block: &HttpMatchRequest) -> Vec<Condition> {
    let HttpMatchRequest { uri, scheme, method, authority, headers, query_params, without_headers, .. } = block;
    let path = uri.as_ref().map(|raw| Condition { any_case: block.ignore_uri_case, ..plain(Slot::Path, raw) });
    let parts = [(Slot::Scheme, scheme), (Slot::Method, method), (Slot::Authority, authority)];
    let parts = parts.into_iter().filter_map(|(slot, raw)| Some(plain(slot, raw.as_ref()?)));
    let headers = headers.iter().chain(without_headers);
    let headers = headers.filter_map(|(name, raw)| Some(plain(Slot::Header(name.to_ascii_lowercase()), raw.as_ref()?)));
    let queries = query_params.iter().filter_map(|(name, raw)| Some(plain(Slot::Query(name.clone()), raw.as_ref()?)));
    path.into_iter().chain(parts).chain(headers).chain(queries).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(old: &str, new: &str, lost: Option<&str>, gained: Option<&str>, alike: bool) {
        let condition = |pattern: &str| {
            let raw = StringMatch { regex: Some(pattern.to_owned()), ..StringMatch::default() };
            plain(Slot::Header("x".to_owned()), &raw)
        };
        let (before, after) = (condition(old), condition(new));
        let mut found = Changed::default();
        compare(&before, &after, &mut found);
        let text = |of: &Condition| found.texts.iter().find(|(own, _)| own == of).map(|(_, text)| text.as_str());
        assert_eq!((text(&before), text(&after)), (lost, gained), "{old} {new}");
        assert_eq!(!found.told_alike.is_empty(), alike, "{old} {new}");
    }

    #[test]
    fn a_changed_pattern_is_told_apart_at_its_edges() {
        let many = "a".repeat(51);
        check("a{1,50}", "a{1,60}", None, Some(&many), false);
        check("a{1,50}", "a+", None, Some(&many), false);
        check("/u/[0-9a-f]{8}", "/u/[0-9a-f-]{8}", None, Some("/u/--------"), false);
        check("jas[o]n", "jas[a-z]n", None, Some("jasan"), false);
        check("/v[1-3]/.*", "/v[1-4]/.*", None, Some("/v4/"), false);
        check(".*[0-7]", ".*[0-4]", Some("7"), None, false);
        check("/abc", "(?i)/abc", None, Some("/ABC"), false);
        check("user=(jason|ann)(;.*)?", "user=jason(;.*)?", Some("user=ann"), None, false);
    }

    #[test]
    fn the_same_in_other_letters_is_the_same_and_the_rest_is_named() {
        check("[0-9]+", r"\d+", None, None, false);
        check("[abc]", "[a-c]", None, None, false);
        // Between its ends and its middle nobody looks.
        check("[a-z]{3}x{2000,}", "[a-z]{3}x{2000,}y{0}z{0,0}", None, None, false);
        check(".*q.*w.*", ".*q.*w.*|.*k", None, Some("k"), false);
        check("[a-m][n-z]*", "[a-jkl-m][n-z]*", None, None, false);
        check("([^x]|x)*", ".*|\\n", None, None, true);
    }
}
