//! How every string that a pattern matches begins, as far as the pattern says it letter by letter.

use regex::bytes::Regex;
use regex_syntax::ParserBuilder;
use regex_syntax::hir::{Hir, HirKind};

/// The beginning that all matches of a whole-string pattern share; `None` when it is empty.
pub(super) fn prefix(pattern: &Regex) -> Option<Vec<u8>> {
    // As the pattern was compiled.
    let parsed = ParserBuilder::new().unicode(false).utf8(false).build().parse(pattern.as_str()).ok()?;
    let mut start = Vec::new();
    collect(&parsed, &mut start);
    (!start.is_empty()).then_some(start)
}

/// Appends what `hir` begins with; says whether that is all of it, so that what follows it goes on.
fn collect(hir: &Hir, start: &mut Vec<u8>) -> bool {
    match hir.kind() {
        // An assertion takes no room.
        HirKind::Empty | HirKind::Look(_) => true,
        HirKind::Literal(literal) => {
            start.extend_from_slice(&literal.0);
            true
        }
        HirKind::Capture(group) => collect(&group.sub, start),
        HirKind::Concat(parts) => parts.iter().all(|part| collect(part, start)),
        HirKind::Repetition(repetition) => {
            if repetition.min > 0 {
                collect(&repetition.sub, start);
            }
            false
        }
        HirKind::Alternation(branches) => {
            start.extend(shared(branches));
            false
        }
        HirKind::Class(_) => false,
    }
}

/// The beginning that all branches share.
fn shared(branches: &[Hir]) -> Vec<u8> {
    let beginning = |branch| {
        let mut start = Vec::new();
        collect(branch, &mut start);
        start
    };
    let beginnings = branches.iter().map(beginning);
    beginnings
        .reduce(|mut shared, other| {
            shared.truncate(shared.iter().zip(&other).take_while(|(left, right)| left == right).count());
            shared
        })
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use regex::bytes::RegexBuilder;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    fn check(pattern: &str, expected: &str) {
        let regex = RegexBuilder::new(&crate::compile::anchored(pattern)).unicode(false).build().unwrap();
        assert_eq!(prefix(&regex).unwrap_or_default(), expected.as_bytes(), "{pattern}");
    }

    #[test]
    fn a_pattern_begins_with_its_letters() {
        check("/api/v1/.*", "/api/v1/");
        check("/api/v[0-9]+/x", "/api/v");
        check(r"/a\.b\b/c", "/a.b/c");
        check("(/a/(?:b|bc))/d", "/a/b");
        check("/exact", "/exact");
        check("(?:ab)+c", "ab");
        check("^/v1/x$", "/v1/x");
        check("é.*", "é");
    }

    #[test]
    fn what_may_begin_otherwise_has_no_beginning() {
        for pattern in [".*", "a?b", "a*", "a|b", "(?i)abc", "", "|a", "[ab]c", "(?:ab){0,2}"] {
            check(pattern, "");
        }
    }
}
