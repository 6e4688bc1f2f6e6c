//! `HTTPMatchRequest` to [`RequestMatcher`], and the part of it that is decided before any request comes.

use super::pattern;
use crate::matcher::{Condition, PathMatcher, RequestMatcher, StringMatcher};
use istio_config::diagnostic::{At, Diagnostics};
use istio_config::virtual_service::{HttpMatchRequest, StringMatch};
use std::collections::BTreeMap;

/// Where a match block holds, decided when rules are laid under their domains.
#[derive(Clone, Debug, Default)]
pub(super) struct Scope {
    /// Gateway names in full, or `mesh`; empty: wherever the VirtualService holds.
    pub(super) gateways: Vec<String>,
    /// Port of the listener.
    pub(super) port: Option<u32>,
    /// Labels of the calling workload.
    pub(super) source_labels: BTreeMap<String, String>,
    /// Namespace of the calling workload.
    pub(super) source_namespace: String,
}

/// Which form a `StringMatch` has; at most one may be set.
enum Form<'a> {
    Present,
    Exact(&'a str),
    Prefix(&'a str),
    Regex(&'a str),
}

/// The conditions of one block. `None` after a fault.
pub(super) fn compile(at: &At<'_>, raw: &HttpMatchRequest, diagnostics: &mut Diagnostics) -> Option<RequestMatcher> {
    let HttpMatchRequest {
        name: _,
        uri,
        scheme,
        method,
        authority,
        headers,
        query_params,
        ignore_uri_case,
        without_headers,
        stat_prefix,
        // Scope: decided elsewhere.
        port: _,
        source_labels: _,
        gateways: _,
        source_namespace: _,
    } = raw;
    if !stat_prefix.is_empty() {
        let help = "remove it, or read the counters of the cluster instead";
        diagnostics.warning(&at.field("statPrefix"), "not-served", "statistics by match block are not kept", help);
    }
    let mut sound = true;
    let path = uri.as_ref().and_then(|raw| {
        let path = uri_matcher(&at.field("uri"), raw, *ignore_uri_case, diagnostics);
        sound &= path.is_ok();
        path.ok().flatten()
    });
    let mut conditions = Vec::new();
    let mut add = |condition: Option<Condition>| match condition {
        Some(condition) => conditions.push(condition),
        None => sound = false,
    };
    for (field, name, raw) in
        [("scheme", ":scheme", scheme), ("method", ":method", method), ("authority", ":authority", authority)]
    {
        if let Some(raw) = raw {
            let matcher = string_matcher(&at.field(field), raw, diagnostics);
            add(matcher.map(|matcher| Condition::Header(name.as_bytes().into(), matcher)));
        }
    }
    let field = at.field("headers");
    for (name, raw) in headers {
        let matcher = header_matcher(&field.key(name), name, raw.as_ref(), diagnostics);
        add(matcher.map(|matcher| Condition::Header(lower(name), matcher)));
    }
    let field = at.field("withoutHeaders");
    for (name, raw) in without_headers {
        let anything = raw.as_ref().is_none_or(|raw| raw.regex.as_deref() == Some("*"));
        let matcher = if anything {
            Some(StringMatcher::Present)
        } else {
            header_matcher(&field.key(name), name, raw.as_ref(), diagnostics)
        };
        add(matcher.map(|matcher| Condition::WithoutHeader(lower(name), matcher)));
    }
    let field = at.field("queryParams");
    for (name, raw) in query_params {
        let at = field.key(name);
        // Here, other than under `headers`, Istio takes null for "is present".
        let matcher = raw.as_ref().map_or(Some(StringMatcher::Present), |raw| string_matcher(&at, raw, diagnostics));
        add(matcher.map(|matcher| Condition::Query(name.as_bytes().into(), matcher)));
    }
    sound.then(|| RequestMatcher { path, conditions: conditions.into() })
}

fn lower(name: &str) -> Box<[u8]> {
    name.to_ascii_lowercase().into_bytes().into()
}

/// `Ok(None)`: any path.
fn uri_matcher(
    at: &At<'_>,
    raw: &StringMatch,
    any_case: bool,
    diagnostics: &mut Diagnostics,
) -> Result<Option<PathMatcher>, ()> {
    let bytes = |text: &str| text.as_bytes().into();
    let folded = |text: &str| text.to_ascii_lowercase().into_bytes().into();
    Ok(match form(at, raw, diagnostics).ok_or(())? {
        Form::Present => {
            diagnostics.warning(
                at,
                "empty-match",
                "an empty `uri` takes every path",
                "write exact, prefix or regex, or remove it",
            );
            None
        }
        Form::Exact(text) => {
            Some(if any_case { PathMatcher::ExactAnyCase(folded(text)) } else { PathMatcher::Exact(bytes(text)) })
        }
        Form::Prefix(text) => {
            Some(if any_case { PathMatcher::PrefixAnyCase(folded(text)) } else { PathMatcher::Prefix(bytes(text)) })
        }
        Form::Regex(text) => {
            if any_case {
                diagnostics.warning(
                    at,
                    "case-of-regex",
                    "ignoreUriCase has no effect on a regex",
                    "begin the pattern with (?i)",
                );
            }
            Some(PathMatcher::Regex(pattern::whole_string(at, text, diagnostics).ok_or(())?))
        }
    })
}

fn header_matcher(
    at: &At<'_>,
    name: &str,
    raw: Option<&StringMatch>,
    diagnostics: &mut Diagnostics,
) -> Option<StringMatcher> {
    if name.starts_with('@') {
        let help = "match on a header that the authentication filter writes";
        diagnostics.error(at, "not-served", format!("`{name}`: claims of a JWT cannot be seen by the filter"), help);
        return None;
    }
    match raw {
        Some(raw) => string_matcher(at, raw, diagnostics),
        None => null_entry(at, diagnostics),
    }
}

fn null_entry(at: &At<'_>, diagnostics: &mut Diagnostics) -> Option<StringMatcher> {
    diagnostics.error(at, "null-match", "Istio refuses a match that is null", "write {} for \"is present\"");
    None
}

pub(super) fn string_matcher(at: &At<'_>, raw: &StringMatch, diagnostics: &mut Diagnostics) -> Option<StringMatcher> {
    Some(match form(at, raw, diagnostics)? {
        Form::Present => StringMatcher::Present,
        Form::Exact(text) => StringMatcher::Exact(text.as_bytes().into()),
        Form::Prefix("") => {
            diagnostics.error(at, "empty-prefix", "Istio refuses an empty prefix", "write {} for \"is present\"");
            return None;
        }
        Form::Prefix(text) => StringMatcher::Prefix(text.as_bytes().into()),
        Form::Regex(text) => StringMatcher::Regex(pattern::whole_string(at, text, diagnostics)?),
    })
}

fn form<'a>(at: &At<'_>, raw: &'a StringMatch, diagnostics: &mut Diagnostics) -> Option<Form<'a>> {
    let StringMatch { exact, prefix, regex } = raw;
    match (exact, prefix, regex) {
        (None, None, None) => Some(Form::Present),
        (Some(text), None, None) => Some(Form::Exact(text)),
        (None, Some(text), None) => Some(Form::Prefix(text)),
        (None, None, Some(text)) => Some(Form::Regex(text)),
        _ => {
            diagnostics.error(at, "oneof", "only one of exact, prefix and regex may be set", "remove the others");
            None
        }
    }
}
