//! Matches that are written in a roundabout way, or take more than they seem to.

use crate::simple_regex::{self, Simple};
use crate::view::View;
use istio_config::Diagnostics;
use istio_config::diagnostic::At;
use istio_config::virtual_service::{HttpMatchRequest, StringMatch};

pub(crate) fn analyse(view: &View<'_>, diagnostics: &mut Diagnostics) {
    for rule in view.rules() {
        rule.at(|at| {
            let list = at.field("match");
            for (index, block) in rule.raw.r#match.iter().enumerate() {
                look_at(&list.index(index), block, diagnostics);
            }
        });
    }
}

fn look_at(at: &At<'_>, block: &HttpMatchRequest, diagnostics: &mut Diagnostics) {
    for (field, matcher) in
        [("uri", &block.uri), ("scheme", &block.scheme), ("method", &block.method), ("authority", &block.authority)]
    {
        if let Some(matcher) = matcher {
            simple_pattern(&at.field(field), matcher, diagnostics);
        }
    }
    for (field, entries) in
        [("headers", &block.headers), ("withoutHeaders", &block.without_headers), ("queryParams", &block.query_params)]
    {
        let at = at.field(field);
        for (name, matcher) in entries.iter().filter_map(|(name, matcher)| Some((name, matcher.as_ref()?))) {
            simple_pattern(&at.key(name), matcher, diagnostics);
        }
    }
    if let Some(prefix) = block.uri.as_ref().and_then(|uri| uri.prefix.as_deref()) {
        part_of_a_word(&at.field("uri"), prefix, diagnostics);
    }
}

/// A pattern that says what `exact` or `prefix` says: dearer for Envoy, and easily got wrong by the next reader.
fn simple_pattern(at: &At<'_>, matcher: &StringMatch, diagnostics: &mut Diagnostics) {
    let StringMatch { exact: None, prefix: None, regex: Some(pattern) } = matcher else { return };
    let (message, help) = match simple_regex::simple(pattern) {
        _ if pattern.is_empty() => return,
        None => return,
        Some(Simple::Exact(text)) => (
            "this pattern matches one text only".to_owned(),
            format!("write `exact: {text}`; a pattern matches the whole value"),
        ),
        // The one way to say "any value, also an empty one" where there is no prefix.
        Some(Simple::Prefix(text)) if text.is_empty() => return,
        Some(Simple::Prefix(text)) => ("this pattern is a prefix".to_owned(), format!("write `prefix: {text}`")),
    };
    diagnostics.warning(&at.field("regex"), "simple-regex", message, help);
}

/// `/foo` is a plain string prefix.
fn part_of_a_word(at: &At<'_>, prefix: &str, diagnostics: &mut Diagnostics) {
    if prefix.len() > 1 && !prefix.ends_with(['/', '.', '=', '-', '_']) {
        let message = format!("`{prefix}` also takes `{prefix}bar`: a prefix ends anywhere, not at a `/`");
        let help = format!("to stop at the word, match `exact: {prefix}` and `prefix: {prefix}/`");
        diagnostics.note(&at.field("prefix"), "prefix-of-word", message, help);
    }
}
