//! Texts that a condition takes, and texts close to them.

use crate::simple_regex::{Simple, simple};
use istio_config::virtual_service::StringMatch;
use regex_syntax::ParserBuilder;
use regex_syntax::hir::{Class, Hir, HirKind};

/// Texts made of one pattern at most.
const EXAMPLES_MAX: usize = 64;

/// Texts made of one pattern where a difference is looked for, at most.
const EDGES_MAX: usize = 1_024;

/// How long such a text may be.
const EDGE_LENGTH_MAX: usize = 4_096;

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
    let texts = parsed(pattern).map(|hir| examples(&hir)).unwrap_or_default();
    texts.into_iter().filter_map(|text| String::from_utf8(text).ok()).collect()
}

fn parsed(pattern: &str) -> Option<Hir> {
    ParserBuilder::new().unicode(false).utf8(false).build().parse(pattern).ok()
}

/// Whether two patterns are the same but for how they are written.
pub(crate) fn is_same(one: &str, other: &str) -> bool {
    parsed(one).zip(parsed(other)).is_some_and(|(one, other)| one == other)
}

/// Texts by which a condition may differ from one much like it: also what it just does not take.
pub(crate) fn searching(raw: &StringMatch) -> Vec<String> {
    let mut texts = taken(raw, &["x", "/x"]);
    if let Some(hir) = raw.regex.as_deref().and_then(parsed) {
        texts.extend(edges(&hir).into_iter().filter_map(|text| String::from_utf8(text).ok()));
    }
    texts
}

/// Texts of the pattern's form: the ends of every range, the limits of every repetition, and one beyond.
fn edges(hir: &Hir) -> Vec<Vec<u8>> {
    match hir.kind() {
        HirKind::Empty | HirKind::Look(_) => vec![Vec::new()],
        HirKind::Literal(literal) => vec![literal.0.to_vec()],
        HirKind::Class(class) => range_ends(class),
        HirKind::Capture(capture) => edges(&capture.sub),
        HirKind::Alternation(branches) => branches.iter().flat_map(edges).take(EDGES_MAX).collect(),
        HirKind::Concat(parts) => parts.iter().fold(vec![Vec::new()], |texts, part| crossed(&texts, &edges(part))),
        HirKind::Repetition(repetition) => {
            let (min, max) = (repetition.min, repetition.max);
            let least = min.saturating_add(1);
            let most = max.map_or([None, None], |max| [Some(max), max.checked_add(1)]);
            let counts = [Some(min), Some(least).filter(|least| max.is_none_or(|max| *least <= max))];
            let counts = counts.into_iter().chain(most).flatten();
            let one = edges(&repetition.sub);
            let repeated = |count: u32| one.iter().map(move |text| text.repeat(usize::try_from(count).unwrap_or(0)));
            let mut texts: Vec<_> = counts.flat_map(repeated).filter(|text| text.len() <= EDGE_LENGTH_MAX).collect();
            texts.dedup();
            texts.truncate(EDGES_MAX);
            texts
        }
    }
}

/// Both ends of every range of a class, as far as they can be read.
fn range_ends(class: &Class) -> Vec<Vec<u8>> {
    let ranges: Vec<(u32, u32)> = match class {
        Class::Bytes(class) => class.ranges().iter().map(|range| (range.start().into(), range.end().into())).collect(),
        Class::Unicode(class) => {
            class.ranges().iter().map(|range| (range.start().into(), range.end().into())).collect()
        }
    };
    let readable = u32::from(b'!')..=u32::from(b'~');
    let ends = ranges.into_iter().flat_map(|(start, end)| [start.max(*readable.start()), end.min(*readable.end())]);
    let ends = ends.filter(|end| readable.contains(end)).filter_map(|end| Some(vec![u8::try_from(end).ok()?]));
    let mut ends: Vec<_> = letters(class).into_iter().chain(ends).collect();
    ends.sort();
    ends.dedup();
    ends
}

/// Every text with every part; where that is too many, each at least once.
fn crossed(texts: &[Vec<u8>], parts: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let join = |text: &Vec<u8>, part: &Vec<u8>| [text.as_slice(), part].concat();
    if texts.len().saturating_mul(parts.len()) <= EDGES_MAX {
        return texts.iter().flat_map(|text| parts.iter().map(move |part| join(text, part))).collect();
    }
    let (first_text, first_part) = (texts.first().into_iter(), parts.first().into_iter());
    let by_part = first_text.flat_map(|text| parts.iter().map(move |part| join(text, part)));
    let by_text = first_part.flat_map(|part| texts.iter().skip(1).map(move |text| join(text, part)));
    by_part.chain(by_text).take(EDGES_MAX).collect()
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
