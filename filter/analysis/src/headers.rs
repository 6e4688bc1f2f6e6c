//! Header rules that speak to Envoy's router instead of the upstream, and values that Envoy's own routes write otherwise.

use crate::view::View;
use istio_config::Diagnostics;
use istio_config::diagnostic::At;
use istio_config::virtual_service::{HeaderOperations, Headers};

/// Envoy's own words begin so; on a request the router obeys many of them (`x-envoy-max-retries`,
/// `x-envoy-upstream-rq-timeout-ms` …).
const ROUTER_PREFIX: &str = "x-envoy-";

pub(crate) fn analyse(view: &View<'_>, diagnostics: &mut Diagnostics) {
    for rule in view.rules() {
        rule.at(|at| {
            look_at(at, rule.raw.headers.as_deref(), diagnostics);
            let list = at.field("route");
            for (index, route) in rule.raw.route.iter().enumerate() {
                look_at(&list.index(index), route.headers.as_deref(), diagnostics);
            }
        });
    }
}

fn look_at(at: &At<'_>, headers: Option<&Headers>, diagnostics: &mut Diagnostics) {
    let Some(Headers { request, response }) = headers else { return };
    let at = at.field("headers");
    each_write(&at.field("request"), request.as_ref(), |at, name, _| {
        if name.to_ascii_lowercase().starts_with(ROUTER_PREFIX) {
            let message = format!(
                "`{name}` is Envoy's own: its router may obey it, over what this rule says, before the upstream sees it"
            );
            let help = "use `retries` and `timeout`, or another name";
            diagnostics.warning(at, "router-header", message, help);
        }
    });
    each_write(&at.field("response"), response.as_ref(), |at, _, value| {
        if value.contains("%RESPONSE_CODE%") {
            let message = "on an answer that no upstream gave this is its status; Istio's own routes write 0 there";
            diagnostics.note(at, "own-answer-status", message, "read it only where an upstream answers");
        }
    });
}

/// Names and values that are written, each with its place.
fn each_write(at: &At<'_>, operations: Option<&HeaderOperations>, mut look: impl FnMut(&At<'_>, &str, &str)) {
    let Some(HeaderOperations { set, add, remove: _ }) = operations else { return };
    for (field, entries) in [("set", set), ("add", add)] {
        let at = at.field(field);
        entries.iter().for_each(|(name, value)| look(&at.key(name), name, value));
    }
}
