//! The path after `rewrite.uri`.

/// How a path changes; the query stays.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum PathRewrite {
    /// The first so many bytes, the matched prefix, give way to the text.
    Prefix(usize, Box<str>),
    /// The whole path gives way to the text.
    Whole(Box<str>),
}

impl PathRewrite {
    /// The new request target: path and query.
    pub(crate) fn apply(&self, path: &[u8], query: Option<&[u8]>) -> Vec<u8> {
        let (front, rest) = match self {
            Self::Prefix(length, replacement) => (replacement, path.get(*length..).unwrap_or_default()),
            Self::Whole(replacement) => (replacement, &b""[..]),
        };
        let mut target = Vec::with_capacity(front.len() + rest.len() + query.map_or(0, |query| query.len() + 1));
        target.extend_from_slice(front.as_bytes());
        target.extend_from_slice(rest);
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
    fn a_whole_path_gives_way() {
        check(PathRewrite::Whole("/new".into()), "/old/x", Some("q"), "/new?q");
    }
}
