//! Texts that a condition takes, and texts close to them.

use crate::simple_regex::{Simple, simple};
use istio_config::virtual_service::StringMatch;
use regex_syntax::ParserBuilder;
use regex_syntax::hir::{Class, Hir, HirKind};

/// Texts made of one pattern at most.
const EXAMPLES_MAX: usize = 64;

/// Texts that this condition takes, the shortest for each way to take one. Both policies are asked about every text
/// anyway, so one that the condition does not take after all is a needless question and no more. None for a condition
/// that any text satisfies.
pub(crate) fn taken(raw: &StringMatch, suffixes: &[&str]) -> Vec<String> {
    let StringMatch { exact, prefix, regex } = raw;
    let begun = |prefix: &str| {
        let longer = suffixes.iter().map(|suffix| format!("{prefix}{suffix}"));
        std::iter::once(prefix.to_owned()).chain(longer).collect()
    };
    match (exact, prefix, regex) {
        (Some(text), ..) => vec![text.clone()],
        (_, Some(text), _) => begun(text),
        (.., Some(pattern)) => match simple(pattern) {
            Some(Simple::Exact(text)) => vec![text],
            Some(Simple::Prefix(text)) => begun(&text),
            None => of_pattern(pattern),
        },
        (None, None, None) => Vec::new(),
    }
}

/// Texts that a pattern matches; none when it cannot be read here.
pub(crate) fn of_pattern(pattern: &str) -> Vec<String> {
    let parsed = ParserBuilder::new().unicode(false).utf8(false).build().parse(pattern);
    let texts = parsed.map(|hir| examples(&hir)).unwrap_or_default();
    texts.into_iter().filter_map(|text| String::from_utf8(text).ok()).collect()
}

fn examples(hir: &Hir) -> Vec<Vec<u8>> {
    match hir.kind() {
        HirKind::Empty | HirKind::Look(_) => vec![Vec::new()],
        HirKind::Literal(literal) => vec![literal.0.to_vec()],
        HirKind::Class(class) => letters(class),
        HirKind::Capture(capture) => examples(&capture.sub),
        HirKind::Alternation(branches) => branches.iter().flat_map(examples).take(EXAMPLES_MAX).collect(),
        HirKind::Concat(parts) => parts.iter().fold(vec![Vec::new()], |texts, part| product(&texts, &examples(part))),
        HirKind::Repetition(repetition) => {
            let one = examples(&repetition.sub);
            let least = (0..repetition.min.min(64))
                .fold(vec![Vec::new()], |texts, _| product(&texts, one.get(..1).unwrap_or_default()));
            let more = product(&least, &one);
            let more = more.into_iter().filter(|_| repetition.max.is_none_or(|max| max > repetition.min));
            least.iter().cloned().chain(more).take(EXAMPLES_MAX).collect()
        }
    }
}

/// A letter of a class that is easy to read, and its last.
fn letters(class: &Class) -> Vec<Vec<u8>> {
    let has = |byte: u8| match class {
        Class::Bytes(class) => class.ranges().iter().any(|range| (range.start()..=range.end()).contains(&byte)),
        Class::Unicode(class) => {
            class.ranges().iter().any(|range| (range.start()..=range.end()).contains(&char::from(byte)))
        }
    };
    let readable = || (b'a'..=b'z').chain(b'0'..=b'9').chain(b'!'..=b'~').filter(|byte| has(*byte));
    let mut letters: Vec<_> =
        readable().next().into_iter().chain(readable().next_back()).map(|byte| vec![byte]).collect();
    letters.dedup();
    letters
}

fn product(texts: &[Vec<u8>], parts: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let joined = texts.iter().flat_map(|text| parts.iter().map(move |part| [text.as_slice(), part].concat()));
    joined.take(EXAMPLES_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use traffic_policy::Pattern;

    #[test]
    fn examples_of_a_pattern_match_it() {
        for pattern in ["/a/[0-9]+", "/(a|b)/c?", r"/\d{3}/.*", "(?i)/abc", "^/x$", "/[^/]+/y", "[a-c]{2,}", "/a|/b|/c"]
        {
            let texts = of_pattern(pattern);
            assert!(!texts.is_empty(), "{pattern}");
            let compiled = Pattern::new(pattern).unwrap();
            for text in texts {
                assert!(compiled.matches(text.as_bytes()), "{pattern} {text}");
            }
        }
        assert_eq!(of_pattern("/a|/b|/c"), ["/a", "/b", "/c"]);
        assert!(of_pattern("(").is_empty());
    }

    #[test]
    fn a_prefix_is_itself_and_longer() {
        let raw = StringMatch { prefix: Some("/a".into()), ..StringMatch::default() };
        assert_eq!(taken(&raw, &["/x", "x"]), ["/a", "/a/x", "/ax"]);
        let raw = StringMatch { regex: Some("/a.*".into()), ..StringMatch::default() };
        assert_eq!(taken(&raw, &["x"]), ["/a", "/ax"]);
        assert!(taken(&StringMatch::default(), &["x"]).is_empty());
    }
}
