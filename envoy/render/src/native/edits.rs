//! Header edits of one level, a rule's or a destination's (`TranslateHeadersOperations`).

use istio_config::virtual_service::{HeaderOperations, Headers};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// What one level says. In Envoy removals come first, then the others in order.
#[derive(Clone, Debug, Default)]
pub(super) struct Edits {
    request: Operations,
    response: Operations,
    /// The new authority, if one of the request headers is `host`.
    pub(super) authority: Option<String>,
}

#[derive(Clone, Debug, Default)]
struct Operations {
    removes: Vec<String>,
    writes: Vec<Value>,
}

impl Edits {
    /// Reads one level.
    pub(super) fn of(headers: Option<&Headers>) -> Self {
        let Some(Headers { request, response }) = headers else { return Self::default() };
        let authority = request.as_ref().and_then(|HeaderOperations { set, add, remove: _ }| {
            let host = |entries: &BTreeMap<String, String>| {
                let found = entries.iter().find(|(name, _)| is_authority(name));
                found.map(|(_, value)| value.clone()).filter(|value| !value.is_empty())
            };
            host(set).or_else(|| host(add))
        });
        Self { request: operations(request.as_ref()), response: operations(response.as_ref()), authority }
    }

    /// This level and then another in one, as a route with a single destination has them.
    pub(super) fn and_then(mut self, other: Self) -> Self {
        for (own, other) in [(&mut self.request, other.request), (&mut self.response, other.response)] {
            own.removes.extend(other.removes);
            own.writes.extend(other.writes);
        }
        // Other than for headers, the first one stays.
        self.authority = self.authority.or(other.authority);
        self
    }

    /// Puts the edits where Envoy looks for them: a route, or one of several clusters.
    pub(super) fn write(self, to: &mut Map<String, Value>) {
        for (kind, Operations { removes, writes }) in [("request", self.request), ("response", self.response)] {
            if !removes.is_empty() {
                to.insert(format!("{kind}_headers_to_remove"), json!(removes));
            }
            if !writes.is_empty() {
                to.insert(format!("{kind}_headers_to_add"), json!(writes));
            }
        }
    }
}

fn operations(raw: Option<&HeaderOperations>) -> Operations {
    let Some(HeaderOperations { set, add, remove }) = raw else { return Operations::default() };
    let write = |entries: &BTreeMap<String, String>, action: &str| -> Vec<Value> {
        let own = entries.iter().filter(|(name, _)| !is_internal(name));
        own.map(|(name, value)| json!({ "header": { "key": name, "value": value }, "append_action": action })).collect()
    };
    let mut writes = write(set, "OVERWRITE_IF_EXISTS_OR_ADD");
    writes.extend(write(add, "APPEND_IF_EXISTS_OR_ADD"));
    Operations { removes: remove.iter().filter(|name| !is_internal(name)).cloned().collect(), writes }
}

fn is_internal(name: &str) -> bool {
    name.starts_with(':') || name.eq_ignore_ascii_case("host")
}

fn is_authority(name: &str) -> bool {
    name.eq_ignore_ascii_case(":authority") || name.eq_ignore_ascii_case("host")
}
