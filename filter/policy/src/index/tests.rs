//! The index against trying every rule.

use super::*;
use crate::matcher::{Condition, PathMatcher, StringMatcher};
use crate::request::HeaderPair;
use regex::bytes::{Regex, RegexBuilder};
use std::cell::RefCell;
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

fn regex(pattern: &str) -> Regex {
    RegexBuilder::new(&crate::compile::anchored(pattern)).unicode(false).build().unwrap()
}

/// How many rules were tried until the answer was known, which is checked against trying all of them in order.
fn tries(matchers: &[RequestMatcher], index: &RuleIndex, pairs: &[HeaderPair<'_>]) -> usize {
    let request = RequestHead::new(pairs);
    let tried = RefCell::new(Vec::new());
    let found = index.first(&request, |rule| {
        tried.borrow_mut().push(rule);
        matchers[rule as usize].matches(&request)
    });
    let expected = matchers.iter().position(|matcher| matcher.matches(&request));
    assert_eq!(found.map(|rule| rule as usize), expected, "{matchers:#?} {pairs:?}");
    let mut tried = tried.into_inner();
    let count = tried.len();
    tried.sort_unstable();
    tried.dedup();
    assert_eq!(count, tried.len(), "a rule was tried twice: {matchers:#?} {pairs:?}");
    count
}

#[test]
fn random_rules_and_requests_agree_with_trying_each() {
    let mut state = 1_u64;
    let mut next = |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    };
    const WORDS: [&str; 8] = ["/", "/a", "/a/b", "/ab", "/A", "/b", "a", ""];
    const PATTERNS: [&str; 6] = ["/a.*", "/a/(b|bc)", ".*b", "/[ab]", "/", "a?"];
    for _ in 0..300 {
        let rules = next(60);
        let mut matcher = || {
            let mut value = || match next(4) {
                0 => StringMatcher::Present,
                1 => StringMatcher::Exact(WORDS[next(8)].as_bytes().into()),
                2 => StringMatcher::Prefix(WORDS[next(7)].as_bytes().into()),
                _ => StringMatcher::Regex(regex(PATTERNS[next(6)])),
            };
            let conditions: Vec<_> = (0..2).map(|name| (if name == 0 { b"x" } else { b"y" }, value())).collect();
            let conditions = conditions.into_iter().filter_map(|(name, value)| match next(6) {
                0 | 1 => Some(Condition::Header(name[..].into(), value)),
                2 => Some(Condition::Query(name[..].into(), value)),
                3 => Some(Condition::WithoutHeader(name[..].into(), value)),
                _ => None,
            });
            let conditions = conditions.collect();
            let word = WORDS[next(6)];
            let path = match next(6) {
                0 => Some(PathMatcher::Exact(word.as_bytes().into())),
                1 => Some(PathMatcher::Prefix(word.as_bytes().into())),
                2 => Some(PathMatcher::ExactAnyCase(word.to_ascii_lowercase().as_bytes().into())),
                3 => Some(PathMatcher::PrefixAnyCase(word.to_ascii_lowercase().as_bytes().into())),
                4 => Some(PathMatcher::Regex(regex(PATTERNS[next(6)]))),
                _ => None,
            };
            RequestMatcher { path, conditions }
        };
        let matchers: Vec<_> = (0..rules).map(|_| matcher()).collect();
        let index = RuleIndex::new(matchers.iter());
        for _ in 0..40 {
            let path = format!("{}?x={}&y={}&x=/a", WORDS[next(6)], WORDS[next(8)], WORDS[next(8)]);
            let mut pairs: Vec<HeaderPair<'_>> = vec![(b":path", path.as_bytes())];
            for name in [b"x", b"y", b"x"] {
                if next(2) == 0 {
                    pairs.push((name, WORDS[next(8)].as_bytes()));
                }
            }
            tries(&matchers, &index, &pairs);
        }
    }
}

/// Ten thousand rules, the last of which takes the request; at most `LIST_MAX` of them may be tried.
fn check_last_of_many(rule: impl Fn(usize) -> RequestMatcher, path: &str, user: &str) {
    const RULES: usize = 10_000;
    let matchers: Vec<_> = (0..RULES).map(rule).collect();
    let index = RuleIndex::new(matchers.iter());
    let pairs: &[HeaderPair<'_>] = &[(b":path", path.as_bytes()), (b"x-user", user.as_bytes()), (b"x-user", b"other")];
    assert!(matchers[RULES - 1].matches(&RequestHead::new(pairs)));
    let tried = tries(&matchers, &index, pairs);
    assert!(tried <= LIST_MAX, "{tried} rules were tried for {:?}", matchers[RULES - 1]);
}

#[test]
fn of_ten_thousand_rules_few_are_tried() {
    let matcher = |path, conditions: Vec<Condition>| RequestMatcher { path, conditions: conditions.into() };
    let header = |value| Condition::Header(b"x-user"[..].into(), value);
    let text = |text: String| text.into_bytes().into_boxed_slice();
    let prefix = |i| Some(PathMatcher::Prefix(text(format!("/r-{i}/"))));
    check_last_of_many(|i| matcher(prefix(i), vec![]), "/r-9999/x", "");
    check_last_of_many(
        |i| matcher(Some(PathMatcher::PrefixAnyCase(text(format!("/r-{i}/")))), vec![]),
        "/R-9999/x",
        "",
    );
    check_last_of_many(|i| matcher(Some(PathMatcher::Exact(text(format!("/r-{i}")))), vec![]), "/r-9999", "");
    check_last_of_many(|i| matcher(Some(PathMatcher::ExactAnyCase(text(format!("/r-{i}")))), vec![]), "/R-9999", "");
    check_last_of_many(|i| matcher(Some(PathMatcher::Regex(regex(&format!("/r-{i}/.*")))), vec![]), "/r-9999/x", "");
    check_last_of_many(|i| matcher(None, vec![header(StringMatcher::Exact(text(format!("u-{i}"))))]), "/", "u-9999");
    check_last_of_many(
        |i| matcher(None, vec![header(StringMatcher::Prefix(text(format!("u-{i}-"))))]),
        "/",
        "u-9999-x",
    );
    check_last_of_many(
        |i| matcher(None, vec![header(StringMatcher::Regex(regex(&format!("u-{i}-.*"))))]),
        "/",
        "u-9999-x",
    );
    let query = |value| Condition::Query(b"user"[..].into(), value);
    check_last_of_many(|i| matcher(None, vec![query(StringMatcher::Exact(text(format!("{i}"))))]), "/?user=9999", "");
    check_last_of_many(
        |i| matcher(None, vec![query(StringMatcher::Prefix(text(format!("{i}-"))))]),
        "/?user=9999-x",
        "",
    );
    let without = || Condition::WithoutHeader(b"x-debug"[..].into(), StringMatcher::Present);
    check_last_of_many(|i| matcher(prefix(i), vec![without()]), "/r-9999/x", "");
    // All but the last want a header away that is there.
    let without = |i| {
        Condition::WithoutHeader(
            if i < 9999 { b"x-user"[..].into() } else { b"x-debug"[..].into() },
            StringMatcher::Present,
        )
    };
    let other = |i| Condition::WithoutHeader(text(format!("x-flag-{i}")), StringMatcher::Present);
    check_last_of_many(|i| matcher(None, vec![without(i), other(i)]), "/", "ann");
    let pattern = regex("[a-c]+");
    let shared = |i: usize| header(StringMatcher::Regex(if i < 9999 { pattern.clone() } else { regex("[x-z]") }));
    check_last_of_many(|i| matcher(None, vec![shared(i), other(i)]), "/", "z");
    // A hundred rules share each path, and a hundred share each header.
    let shared = |i: usize| StringMatcher::Exact(text(format!("u-{}", i / 100)));
    check_last_of_many(|i| matcher(prefix(i % 100), vec![header(shared(i))]), "/r-99/x", "u-99");
}

#[test]
fn repeated_names_and_values_cost_nothing_more() {
    let text = |text: String| text.into_bytes().into_boxed_slice();
    let matchers: Vec<_> = (0..1000)
        .map(|i| RequestMatcher {
            path: Some(PathMatcher::Exact(text(format!("/{i}")))),
            conditions: [Condition::Query(text(format!("q{i}")), StringMatcher::Present)].into(),
        })
        .collect();
    let index = RuleIndex::new(matchers.iter());
    let query: String = (0..10_000).map(|i| format!("q{}=a&", i % 1000)).collect();
    let path = format!("/none?{query}");
    assert!(tries(&matchers, &index, &[(b":path", path.as_bytes())]) <= 1000);
}
