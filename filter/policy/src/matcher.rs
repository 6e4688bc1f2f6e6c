//! The conditions of one match block; all must hold (`HTTPMatchRequest`).

use crate::request::RequestHead;
use regex::bytes::Regex;

/// Istio's `StringMatch`.
#[derive(Clone, Debug)]
pub(crate) enum StringMatcher {
    /// `{}`: any value.
    Present,
    Exact(Box<[u8]>),
    Prefix(Box<[u8]>),
    /// Of the whole string: the pattern is anchored when it is compiled.
    Regex(Regex),
}

impl StringMatcher {
    pub(crate) fn matches(&self, value: &[u8]) -> bool {
        match self {
            Self::Present => true,
            Self::Exact(wanted) => **wanted == *value,
            Self::Prefix(wanted) => value.starts_with(wanted),
            Self::Regex(pattern) => pattern.is_match(value),
        }
    }
}

/// The `uri` condition, on the path without query.
#[derive(Clone, Debug)]
pub(crate) enum PathMatcher {
    Exact(Box<[u8]>),
    /// A plain string prefix: `/foo` takes `/foobar`.
    Prefix(Box<[u8]>),
    /// Under `ignoreUriCase`; in lower case.
    ExactAnyCase(Box<[u8]>),
    /// Under `ignoreUriCase`; in lower case.
    PrefixAnyCase(Box<[u8]>),
    /// `ignoreUriCase` has no effect on a pattern.
    Regex(Regex),
}

impl PathMatcher {
    pub(crate) fn matches(&self, path: &[u8]) -> bool {
        match self {
            Self::Exact(wanted) => **wanted == *path,
            Self::Prefix(wanted) => path.starts_with(wanted),
            Self::ExactAnyCase(wanted) => path.eq_ignore_ascii_case(wanted),
            Self::PrefixAnyCase(wanted) => {
                path.get(..wanted.len()).is_some_and(|start| start.eq_ignore_ascii_case(wanted))
            }
            Self::Regex(pattern) => pattern.is_match(path),
        }
    }
}

/// Any condition but `uri`. `method`, `scheme` and `authority` are conditions on their pseudo-headers.
#[derive(Clone, Debug)]
pub(crate) enum Condition {
    /// Some value of the header matches (Envoy since 1.39 tries each value alone).
    Header(Box<[u8]>, StringMatcher),
    /// `withoutHeaders`: no value matches, and a missing header counts as empty.
    WithoutHeader(Box<[u8]>, StringMatcher),
    /// The first value of the query parameter matches, undecoded.
    Query(Box<[u8]>, StringMatcher),
}

impl Condition {
    pub(crate) fn holds(&self, request: &RequestHead<'_>) -> bool {
        match self {
            Self::Header(name, matcher) => request.values(name).any(|value| matcher.matches(value)),
            Self::WithoutHeader(name, StringMatcher::Present) => request.values(name).next().is_none(),
            Self::WithoutHeader(name, matcher) => {
                let mut values = request.values(name).peekable();
                let missing_matches = values.peek().is_none() && matcher.matches(b"");
                !missing_matches && !values.any(|value| matcher.matches(value))
            }
            Self::Query(name, matcher) => request.query_parameter(name).is_some_and(|value| matcher.matches(value)),
        }
    }
}

/// One match block. The empty one takes every request.
#[derive(Clone, Debug, Default)]
pub(crate) struct RequestMatcher {
    pub(crate) path: Option<PathMatcher>,
    pub(crate) conditions: Box<[Condition]>,
}

/// The first condition of a block that a request does not meet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mismatch<'r> {
    /// As a field of the match block: `uri`, `method`, `headers[end-user]`.
    pub(crate) condition: String,
    /// What the request has there.
    pub(crate) found: Vec<&'r [u8]>,
}

impl Condition {
    fn mismatch<'r>(&self, request: &RequestHead<'r>) -> Mismatch<'r> {
        let field = |field: &str, name: &[u8]| format!("{field}[{}]", String::from_utf8_lossy(name));
        let (condition, found) = match self {
            Self::Header(name, _) => match name.strip_prefix(b":") {
                Some(pseudo) => (String::from_utf8_lossy(pseudo).into_owned(), request.values(name).collect()),
                None => (field("headers", name), request.values(name).collect()),
            },
            Self::WithoutHeader(name, _) => (field("withoutHeaders", name), request.values(name).collect()),
            Self::Query(name, _) => (field("queryParams", name), request.query_parameter(name).into_iter().collect()),
        };
        Mismatch { condition, found }
    }
}

impl RequestMatcher {
    /// Why the block does not take the request; `None` when it does.
    pub(crate) fn mismatch<'r>(&self, request: &RequestHead<'r>) -> Option<Mismatch<'r>> {
        if self.path.as_ref().is_some_and(|path| !path.matches(request.path())) {
            return Some(Mismatch { condition: "uri".to_owned(), found: vec![request.path()] });
        }
        self.conditions.iter().find(|condition| !condition.holds(request)).map(|failed| failed.mismatch(request))
    }

    pub(crate) fn matches(&self, request: &RequestHead<'_>) -> bool {
        self.path.as_ref().is_none_or(|path| path.matches(request.path()))
            && self.conditions.iter().all(|condition| condition.holds(request))
    }

    /// Whether Istio sees that this takes every request: no condition but prefix `/` or regex `.*`
    /// (istio `route.go`, `IsCatchAllRoute`).
    pub(crate) fn takes_all(&self) -> bool {
        let any_path = match &self.path {
            None => true,
            Some(PathMatcher::Prefix(prefix) | PathMatcher::PrefixAnyCase(prefix)) => **prefix == *b"/",
            Some(PathMatcher::Regex(pattern)) => pattern.as_str() == crate::compile::anchored(".*"),
            Some(PathMatcher::Exact(_) | PathMatcher::ExactAnyCase(_)) => false,
        };
        any_path && self.conditions.is_empty()
    }
}
