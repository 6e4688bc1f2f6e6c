//! The path after `rewrite.uri` or `rewrite.uriRegexRewrite`.

use regex::bytes::{Captures, Regex};

/// How a path changes; the query stays.
#[derive(Clone, Debug)]
pub(crate) enum PathRewrite {
    /// The first so many bytes, the matched prefix, give way to the text.
    Prefix(usize, Box<str>),
    /// The whole path gives way to the text.
    Whole(Box<str>),
    /// Every occurrence of the pattern gives way to the substitution.
    Pattern(Regex, Substitution),
}

/// RE2's replacement text: `\1` stands for a group, `\0` for all that was found, `\\` for a backslash.
#[derive(Clone, Debug)]
pub(crate) struct Substitution(Box<[SubstitutionPart]>);

#[derive(Clone, Debug)]
enum SubstitutionPart {
    Text(Box<[u8]>),
    Group(usize),
}

impl Substitution {
    /// `groups`: how many the pattern has.
    ///
    /// # Errors
    /// What is wrong with the text.
    pub(crate) fn parse(text: &str, groups: usize) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut literal = Vec::new();
        let mut bytes = text.bytes();
        while let Some(byte) = bytes.next() {
            match (byte, if byte == b'\\' { bytes.next() } else { None }) {
                (b'\\', Some(digit @ b'0'..=b'9')) => {
                    let group = usize::from(digit.saturating_sub(b'0'));
                    if group > groups {
                        return Err(format!("`\\{group}`: the pattern has {groups} groups"));
                    }
                    parts.push(SubstitutionPart::Text(std::mem::take(&mut literal).into()));
                    parts.push(SubstitutionPart::Group(group));
                }
                (b'\\', Some(b'\\')) => literal.push(b'\\'),
                (b'\\', _) => return Err("a backslash stands before a digit or another backslash".to_owned()),
                (byte, _) => literal.push(byte),
            }
        }
        parts.push(SubstitutionPart::Text(literal.into()));
        Ok(Self(parts.into()))
    }

    fn expand(&self, found: &Captures<'_>) -> Vec<u8> {
        let part = |part: &SubstitutionPart| match part {
            SubstitutionPart::Text(text) => text.to_vec(),
            SubstitutionPart::Group(group) => {
                found.get(*group).map(|group| group.as_bytes().to_vec()).unwrap_or_default()
            }
        };
        self.0.iter().flat_map(part).collect()
    }
}

impl PathRewrite {
    /// The new request target: path and query.
    pub(crate) fn apply(&self, path: &[u8], query: Option<&[u8]>) -> Vec<u8> {
        let mut target = match self {
            Self::Prefix(length, text) => [text.as_bytes(), path.get(*length..).unwrap_or_default()].concat(),
            Self::Whole(text) => text.as_bytes().to_vec(),
            Self::Pattern(pattern, text) => {
                pattern.replace_all(path, |found: &Captures<'_>| text.expand(found)).into_owned()
            }
        };
        if let Some(query) = query {
            target.push(b'?');
            target.extend_from_slice(query);
        }
        target
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(rewrite: PathRewrite, path: &str, query: Option<&str>, expected: &str) {
        assert_eq!(rewrite.apply(path.as_bytes(), query.map(str::as_bytes)), expected.as_bytes());
    }

    #[test]
    fn a_prefix_gives_way_and_the_query_stays() {
        check(PathRewrite::Prefix(8, "/".into()), "/ratings/1", Some("a=b"), "//1?a=b");
        check(PathRewrite::Prefix(1, "/pre".into()), "/foo", None, "/prefoo");
        check(PathRewrite::Prefix(8, "/v2".into()), "/ratings", Some(""), "/v2?");
    }

    #[test]
    fn every_occurrence_of_a_pattern_gives_way() {
        let rewrite = |text, pattern: &str| {
            let pattern = Regex::new(pattern).unwrap();
            let text = Substitution::parse(text, pattern.captures_len() - 1).unwrap();
            PathRewrite::Pattern(pattern, text)
        };
        check(rewrite(r"/\1-\0\\", "/v([0-9])"), "/v1/v2", Some("q"), r"/1-/v1\/2-/v2\?q");
        check(rewrite("x", "b*"), "/abb", None, "x/xax");
        for text in [r"\2", r"\", r"\x"] {
            assert!(Substitution::parse(text, 1).is_err(), "{text}");
        }
    }

    #[test]
    fn a_whole_path_gives_way() {
        check(PathRewrite::Whole("/new".into()), "/old/x", Some("q"), "/new?q");
    }
}
