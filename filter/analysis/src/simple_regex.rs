//! Patterns that say no more than an exact text or a prefix does.

/// What a pattern amounts to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Simple {
    /// Only this text.
    Exact(String),
    /// Whatever begins so; nothing at all for `.*`.
    Prefix(String),
}

const META: &str = r".+*?()[]{}|^$\";

/// What the pattern amounts to when it has to match a whole string; `None` when it says more than that, or when this
/// cannot tell.
pub(crate) fn simple(pattern: &str) -> Option<Simple> {
    let body = pattern.strip_prefix('^').or_else(|| pattern.strip_prefix(r"\A")).unwrap_or(pattern);
    let (literal, rest) = literal_head(body);
    match rest {
        "" | "$" | r"\z" => Some(Simple::Exact(literal)),
        ".*" | "(.*)" | ".*$" | "(.*)$" | ".*?" | ".*?$" | r".*\z" => Some(Simple::Prefix(literal)),
        _ => None,
    }
}

/// A text that everything the pattern matches begins with; empty when this cannot tell.
pub(crate) fn sure_prefix(pattern: &str) -> String {
    let body = pattern.strip_prefix('^').unwrap_or(pattern);
    // An alternative may begin with something else, and a flag may change what letters mean.
    if body.contains('|') || body.contains("(?") || body.contains(r"\Q") {
        return String::new();
    }
    let (mut literal, rest) = literal_head(body);
    // A repetition belongs to the last character, which may then be missing.
    if rest.starts_with(['*', '?', '{', '+']) {
        literal.pop();
    }
    literal
}

/// The plain characters in front, and what follows.
fn literal_head(pattern: &str) -> (String, &str) {
    let mut literal = String::new();
    let mut rest = pattern;
    loop {
        let mut ahead = rest.chars();
        let plain = match ahead.next() {
            Some('\\') => ahead.next().filter(|next| next.is_ascii_punctuation()),
            Some(next) if next.is_ascii() && !META.contains(next) => Some(next),
            _ => None,
        };
        let Some(plain) = plain else { return (literal, rest) };
        literal.push(plain);
        rest = ahead.as_str();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exact_texts_and_prefixes_are_seen() {
        for (pattern, text) in [("/a", "/a"), ("^/a$", "/a"), (r"\/a\.b", "/a.b"), ("", "")] {
            assert_eq!(simple(pattern), Some(Simple::Exact(text.to_owned())), "{pattern}");
        }
        for (pattern, text) in [(".*", ""), ("/a.*", "/a"), (r"^/a\.(.*)$", "/a."), ("/a.*?", "/a")] {
            assert_eq!(simple(pattern), Some(Simple::Prefix(text.to_owned())), "{pattern}");
        }
        for pattern in ["/a.+", "/a|b", "/(a)", r"/\d", "/a*", "(?i)/a", "/a.*b", "[ab]", "a.b", r"\Qa\E", "a{2}", "é"]
        {
            assert_eq!(simple(pattern), None, "{pattern}");
        }
    }

    #[test]
    fn what_a_match_must_begin_with_is_known_or_nothing() {
        for (pattern, prefix) in [
            ("/a/[0-9]+", "/a/"),
            ("/ab*", "/a"),
            ("/ab?c", "/a"),
            ("/ab{0}", "/a"),
            ("/a|/b", ""),
            ("(?i)/a", ""),
            (r"/a\.b\d", "/a.b"),
            (".*", ""),
        ] {
            assert_eq!(sure_prefix(pattern), prefix, "{pattern}");
        }
    }
}
