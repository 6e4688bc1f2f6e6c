//! Findings that their owner knows about: named on the command line, or in an annotation of the object.

use crate::codes::{CODES, code};
use istio_config::Diagnostic;
use std::collections::BTreeMap;
use std::fmt;

/// The annotations that name codes, joined by commas, or `*`: Istio's, and ours.
const ANNOTATIONS: [&str; 2] = ["galley.istio.io/analyze-suppress", "shunt.dev/check-suppress"];

/// Kinds of the objects that findings are about.
const KINDS: [&str; 7] =
    ["VirtualService", "DestinationRule", "ServiceEntry", "Gateway", "Service", "FilterConfig", "file"];

/// `CODE=KIND NAME.NAMESPACE`, with `*` for any text in the second half, as `istioctl analyze --suppress` has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Suppression {
    code: String,
    object: String,
}

/// A suppression that cannot be understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadSuppression;

impl fmt::Display for BadSuppression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "write CODE=KIND NAME.NAMESPACE, as in 'IST0130=VirtualService reviews.default'; `*` stands for any text",
        )
    }
}

impl Suppression {
    /// Reads one.
    ///
    /// # Errors
    /// When it has no `=`, or nothing on one side of it.
    pub fn parse(text: &str) -> Result<Self, BadSuppression> {
        let (code, object) = text.split_once('=').ok_or(BadSuppression)?;
        let (code, object) = (code.trim(), object.trim());
        if code.is_empty() || object.is_empty() {
            return Err(BadSuppression);
        }
        Ok(Self { code: code.to_owned(), object: object.to_owned() })
    }

    /// Why this can leave nothing out: a code that nobody has, or an object that none is called like. `None` when it may.
    pub fn doubt(&self) -> Option<String> {
        let Self { code: name, object } = self;
        let is_code = name == "*" || code(name).is_some() || CODES.iter().any(|code| code.istio == Some(name.as_str()));
        if !is_code {
            return Some(format!("--suppress {name}={object}: no finding has the code `{name}`"));
        }
        // `KIND NAME.NAMESPACE`: a blank and a dot, or a star in their place.
        let is_name = fits_form(object);
        (!is_name).then(|| format!("--suppress {name}={object}: no object is called `{object}`; {BadSuppression}"))
    }

    fn covers(&self, finding: &Diagnostic) -> bool {
        let object = &finding.object;
        let name = format!("{} {}.{}", object.kind, object.name, object.namespace);
        is_called(finding, &self.code) && fits(&self.object, &name)
    }
}

/// Whether a finding is to be left out.
pub(crate) fn is_suppressed(
    finding: &Diagnostic,
    suppressions: &[Suppression],
    annotations: &BTreeMap<usize, BTreeMap<String, String>>,
) -> bool {
    let of_object = annotations.get(&finding.object.ordinal);
    let listed = ANNOTATIONS.iter().filter_map(|name| of_object?.get(*name)).flat_map(|codes| codes.split(','));
    listed.into_iter().any(|code| is_called(finding, code.trim()))
        || suppressions.iter().any(|suppression| suppression.covers(finding))
}

/// Whether `name` stands for the finding's code: the code itself, Istio's for it, or `*`.
fn is_called(finding: &Diagnostic, name: &str) -> bool {
    name == "*" || name == finding.code || code(finding.code).is_some_and(|code| code.istio == Some(name))
}

/// Whether some `KIND NAME.NAMESPACE` fits the pattern.
fn fits_form(pattern: &str) -> bool {
    let (kind, rest) = match pattern.split_once(' ') {
        Some((kind, rest)) => (kind, Some(rest)),
        None => (pattern, None),
    };
    let is_kind = |kind: &str| kind.contains('*') || KINDS.contains(&kind);
    match rest {
        None => kind.contains('*'),
        Some(rest) => is_kind(kind) && !rest.contains(' ') && (rest.contains('.') || rest.contains('*')),
    }
}

/// Whether `text` fits a pattern in which `*` stands for any text.
fn fits(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = parts.next().and_then(|first| text.strip_prefix(first)) else { return false };
    let mut parts = parts.peekable();
    if parts.peek().is_none() {
        return rest.is_empty();
    }
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return rest.ends_with(part);
        }
        let Some(at) = rest.find(part) else { return false };
        rest = rest.get(at.saturating_add(part.len())..).unwrap_or_default();
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_text() {
        for (pattern, text) in
            [("a b.c", "a b.c"), ("* b.c", "a b.c"), ("a *", "a b.c"), ("*", ""), ("a*.c", "a b.c"), ("*b*", "a b.c")]
        {
            assert!(fits(pattern, text), "{pattern} {text}");
        }
        for (pattern, text) in
            [("a b", "a b.c"), ("*.d", "a b.c"), ("b*", "a b.c"), ("a*x*c", "a b.c"), ("ab*ba", "aba")]
        {
            assert!(!fits(pattern, text), "{pattern} {text}");
        }
    }

    #[test]
    fn what_can_leave_nothing_out_is_doubted() {
        for text in
            ["IST0130=VirtualService a.b", "*=*", "IST0106=* a.b", "no-weight=VirtualService *", "IST0106=Gateway*"]
        {
            assert_eq!(Suppression::parse(text).unwrap().doubt(), None, "{text}");
        }
        for text in [
            "IST9999=VirtualService a.b",
            "no-wieght=* *",
            "IST0130=reviews",
            "IST0130=VirtualServce a.b",
            "IST0130=VirtualService a",
        ] {
            assert!(Suppression::parse(text).unwrap().doubt().is_some(), "{text}");
        }
    }

    #[test]
    fn what_cannot_be_understood_is_refused() {
        assert!(Suppression::parse("IST0130=VirtualService a.b").is_ok());
        for text in ["IST0130", "=a b.c", "IST0130=", ""] {
            assert_eq!(Suppression::parse(text), Err(BadSuppression), "{text}");
        }
    }
}
