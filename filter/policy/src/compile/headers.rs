//! `Headers` of a rule and of its destinations, flattened to one list in the order of effect.
//!
//! Where the two levels meet depends on how istiod writes the route (istio `route.go`): a single destination's edits are
//! appended to the route's own lists, so they are one level and the destination has the last word; with several
//! destinations each has its own level, which runs before the route's, so the route has the last word.

use crate::format;
use crate::headers::{HeaderEdits, Level};
use istio_config::diagnostic::{At, Diagnostics};
use istio_config::names::{is_authority, is_token};
use istio_config::virtual_service::{HeaderOperations, Headers};

/// What `headers` says in one place.
#[derive(Clone, Debug, Default)]
pub(super) struct Edits {
    request: Level,
    response: Level,
    /// `host` or `:authority` under `request`: a host rewrite, not a header edit.
    pub(super) authority: Option<String>,
}

/// Reads one level; faults are reported and the rest goes on.
pub(super) fn edits(at: &At<'_>, raw: Option<&Headers>, diagnostics: &mut Diagnostics) -> Edits {
    let Some(Headers { request, response }) = raw else { return Edits::default() };
    let at = at.field("headers");
    let mut authority = None;
    let request = level(&at.field("request"), request.as_ref(), Some(&mut authority), diagnostics);
    let response = level(&at.field("response"), response.as_ref(), None, diagnostics);
    Edits { request, response, authority }
}

/// The edits for one destination of a rule.
pub(super) fn merge(route: &Edits, destination: &Edits, single: bool) -> HeaderEdits {
    HeaderEdits {
        request: merge_levels(&seeing(&route.request, destination), &destination.request, single),
        response: merge_levels(&route.response, &destination.response, single),
    }
}

/// The response edits of a rule that answers by itself. Envoy edits such an answer before it gives it a `content-type` that it
/// does not have yet; the filter edits afterwards.
pub(super) fn of_reply(route: &Edits) -> HeaderEdits {
    let is_type = |name: &str| name == "content-type";
    let mut level = route.response.clone();
    level.removes.retain(|name| !is_type(name));
    let added = level
        .adds
        .iter()
        .position(|(name, _)| is_type(name))
        .filter(|_| !level.sets.iter().any(|(name, _)| is_type(name)));
    if let Some(added) = added {
        let first = level.adds.remove(added);
        level.sets.push(first);
    }
    HeaderEdits { request: Box::default(), response: merge_levels(&level, &Level::default(), true) }
}

/// The rule's level as it comes behind that of one of several destinations.
fn seeing(route: &Level, destination: &Edits) -> Level {
    Level { authority: destination.authority.as_deref().map(Into::into), ..route.clone() }
}

fn merge_levels(route: &Level, destination: &Level, single: bool) -> Box<[Level]> {
    let levels = if single {
        vec![Level {
            removes: [&*route.removes, &destination.removes].concat(),
            sets: [&*route.sets, &destination.sets].concat(),
            adds: [&*route.adds, &destination.adds].concat(),
            authority: None,
        }]
    } else {
        vec![destination.clone(), route.clone()]
    };
    levels.into_iter().filter(|level| !level.is_empty()).collect()
}

/// What Envoy's router reads before its route edits headers, so that a rule's edit comes too late for it natively and in
/// time from the filter. What it reads for retries it reads afterwards, alike in both (tried on Envoy 1.40).
const READ_BEFORE_EDITS: [&str; 4] = [
    "x-envoy-upstream-rq-timeout-ms",
    "x-envoy-upstream-rq-per-try-timeout-ms",
    "x-envoy-upstream-rq-timeout-alt-response",
    "x-envoy-hedge-on-per-try-timeout",
];

fn report_router_header(at: &At<'_>, name: &str, diagnostics: &mut Diagnostics) {
    if READ_BEFORE_EDITS.contains(&name) {
        let message =
            format!("Envoy obeys `{name}` as the filter leaves it; of Istio's own route it reads what the client sent");
        let help = "write timeout and retries.perTryTimeout in the rule, and remove this edit";
        diagnostics.warning(at, "router-header", message, help);
    }
}

fn level(
    at: &At<'_>,
    raw: Option<&HeaderOperations>,
    mut authority: Option<&mut Option<String>>,
    diagnostics: &mut Diagnostics,
) -> Level {
    let Some(HeaderOperations { set, add, remove }) = raw else { return Level::default() };
    let in_response = authority.is_none();
    let mut level = Level::default();
    let field = at.field("remove");
    for (index, name) in remove.iter().enumerate() {
        let name = name.to_ascii_lowercase();
        let at = field.index(index);
        if !in_response && name == "x-forwarded-proto" {
            let help = "keep it, or let Istio serve this VirtualService";
            diagnostics.error(&at, "not-served", "Envoy finds no route for a request without x-forwarded-proto", help);
        } else if may_be_edited(&at, &name, in_response, diagnostics) {
            if !in_response {
                report_router_header(&at, &name, diagnostics);
            }
            level.removes.push(name.into());
        }
    }
    for (field, entries, writes) in [("set", set, &mut level.sets), ("add", add, &mut level.adds)] {
        let field = at.field(field);
        for (name, value) in entries {
            let at = field.key(name);
            let name = name.to_ascii_lowercase();
            if let Some(authority) = authority.as_deref_mut().filter(|_| is_authority(&name)) {
                // `set` is read first and beats `add`.
                if is_one_line(&at, value, diagnostics) {
                    authority.get_or_insert_with(|| value.clone());
                }
            } else if may_be_edited(&at, &name, in_response, diagnostics)
                && let Some(value) = header_value(&at, value, in_response, diagnostics)
            {
                if !in_response {
                    report_router_header(&at, &name, diagnostics);
                }
                writes.push((name.into(), value));
            }
        }
    }
    level
}

/// Whether istiod and Envoy let a rule edit this header; says why not.
fn may_be_edited(at: &At<'_>, name: &str, in_response: bool, diagnostics: &mut Diagnostics) -> bool {
    if name.starts_with(':') || name == "host" {
        diagnostics.warning(
            at,
            "header-ignored",
            format!("Istio ignores `{name}` here"),
            "use rewrite.uri and rewrite.authority",
        );
        false
    } else if in_response && name == "server" {
        let help = "remove this edit, or tell the proxy to keep the header (`proxyHeaders.server.disabled` in Istio)";
        diagnostics.warning(at, "no-effect", "Envoy writes `server` itself, over whatever a rule says", help);
        false
    } else if !is_token(name) {
        diagnostics.error(at, "bad-header-name", format!("`{name}` is not a header name"), "use letters, digits and -");
        false
    } else if ["content-length", "transfer-encoding"].contains(&name) {
        let help = "remove this edit: who sends the body writes the header";
        diagnostics.error(at, "reserved-header", format!("`{name}` frames the body, which stays as it is"), help);
        false
    } else if crate::headers::is_internal(name.as_bytes()) {
        let help = "choose another name";
        diagnostics.error(at, "reserved-header", format!("`{name}` is a word between filter and Envoy"), help);
        false
    } else {
        true
    }
}

/// Whether a text can stand in a head without making two lines of one; says so if not.
pub(super) fn is_one_line(at: &At<'_>, text: &str, diagnostics: &mut Diagnostics) -> bool {
    let sound = !text.bytes().any(|byte| matches!(byte, b'\r' | b'\n' | 0));
    if !sound {
        diagnostics.error(at, "bad-header-value", "this has to be one line", "remove line ends and zero bytes");
    }
    sound
}

/// The value with its commands. `None` when it is empty, which Envoy skips, or wrong.
fn header_value(at: &At<'_>, value: &str, in_response: bool, diagnostics: &mut Diagnostics) -> Option<format::Value> {
    if !is_one_line(at, value, diagnostics) {
        return None;
    }
    format::parse(value, in_response).unwrap_or_else(|fault| {
        let help = "write %% for a percent sign; docs/fields.md lists the commands that are served";
        diagnostics.error(at, "bad-header-value", fault, help);
        None
    })
}
