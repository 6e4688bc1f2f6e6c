//! `Headers` of a rule and of its destinations, flattened to one list in the order of effect.
//!
//! In one level Envoy removes first, then sets, then adds. Where the two levels meet depends on how istiod writes the
//! route (istio `route.go`): a single destination's edits are appended to the route's own lists, so all removals come
//! first and the destination has the last word; with several destinations each has its own level, which runs before the
//! route's, so the route has the last word.

use crate::headers::{Edit, HeaderEdits};
use istio_config::diagnostic::{At, Diagnostics};
use istio_config::virtual_service::{HeaderOperations, Headers};

/// The edits of one level.
#[derive(Clone, Debug, Default)]
pub(super) struct Level {
    request: Operations,
    response: Operations,
    /// `host` or `:authority` under `request`: a host rewrite, not a header edit.
    pub(super) authority: Option<String>,
}

#[derive(Clone, Debug, Default)]
struct Operations {
    removes: Vec<Edit>,
    /// `set` in order of names, then `add` likewise.
    writes: Vec<Edit>,
}

/// Reads one level; faults are reported and the rest goes on.
pub(super) fn level(at: &At<'_>, raw: Option<&Headers>, diagnostics: &mut Diagnostics) -> Level {
    let Some(Headers { request, response }) = raw else { return Level::default() };
    let at = at.field("headers");
    let mut authority = None;
    let request = operations(&at.field("request"), request.as_ref(), Some(&mut authority), diagnostics);
    let response = operations(&at.field("response"), response.as_ref(), None, diagnostics);
    Level { request, response, authority }
}

/// The edits for one destination of a rule.
pub(super) fn merge(route: &Level, destination: &Level, single: bool) -> HeaderEdits {
    let (first, second) = if single { (route, destination) } else { (destination, route) };
    HeaderEdits {
        request: merge_operations(&first.request, &second.request, single),
        response: merge_operations(&first.response, &second.response, single),
    }
}

fn merge_operations(first: &Operations, second: &Operations, single: bool) -> Box<[Edit]> {
    let parts = if single {
        [&first.removes, &second.removes, &first.writes, &second.writes]
    } else {
        [&first.removes, &first.writes, &second.removes, &second.writes]
    };
    parts.into_iter().flatten().cloned().collect()
}

fn operations(
    at: &At<'_>,
    raw: Option<&HeaderOperations>,
    mut authority: Option<&mut Option<String>>,
    diagnostics: &mut Diagnostics,
) -> Operations {
    let Some(HeaderOperations { set, add, remove }) = raw else { return Operations::default() };
    let mut operations = Operations::default();
    let field = at.field("remove");
    for (index, name) in remove.iter().enumerate() {
        let at = field.index(index);
        let name = name.to_ascii_lowercase();
        if may_be_edited(&at, &name, diagnostics) {
            operations.removes.push(Edit::Remove(name.into()));
        }
    }
    for (field, entries, edit) in [("set", set, Edit::Set as fn(Box<str>, Box<str>) -> Edit), ("add", add, Edit::Add)] {
        let field = at.field(field);
        for (name, value) in entries {
            let at = field.key(name);
            let name = name.to_ascii_lowercase();
            let Some(value) = literal(&at, value, diagnostics) else { continue };
            let is_host = name == "host" || name == ":authority";
            if let Some(authority) = authority.as_deref_mut().filter(|_| is_host) {
                // `set` is read first and beats `add`.
                authority.get_or_insert(value);
            } else if may_be_edited(&at, &name, diagnostics) && !value.is_empty() {
                operations.writes.push(edit(name.into(), value.into()));
            }
        }
    }
    operations
}

/// Whether istiod and Envoy let a rule edit this header; says why not.
fn may_be_edited(at: &At<'_>, name: &str, diagnostics: &mut Diagnostics) -> bool {
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if name.starts_with(':') || name == "host" {
        diagnostics.warning(
            at,
            "header-ignored",
            format!("Istio ignores `{name}` here"),
            "use rewrite.uri and rewrite.authority",
        );
        false
    } else if name.is_empty() || !name.bytes().all(is_token) {
        diagnostics.error(at, "bad-header-name", format!("`{name}` is not a header name"), "use letters, digits and -");
        false
    } else if crate::headers::is_internal(name.as_bytes()) {
        let help = "choose another name";
        diagnostics.error(at, "reserved-header", format!("`{name}` is a word between filter and Envoy"), help);
        false
    } else {
        true
    }
}

/// The value Envoy would write: `%%` is a percent sign, and there is no command in it.
fn literal(at: &At<'_>, value: &str, diagnostics: &mut Diagnostics) -> Option<String> {
    if value.bytes().any(|byte| matches!(byte, b'\r' | b'\n' | 0)) {
        diagnostics.error(at, "bad-header-value", "a header value is one line", "remove line ends and zero bytes");
        return None;
    }
    let text = value.replace("%%", "\0");
    if text.contains('%') {
        let help = "write %% for a percent sign";
        diagnostics.error(at, "not-served-yet", format!("`{value}`: %COMMAND% values are not served yet"), help);
        return None;
    }
    Some(text.replace('\0', "%"))
}
