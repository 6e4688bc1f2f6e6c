//! `HTTPMatchRequest` to Envoy's `RouteMatch` (`TranslateRouteMatch`).

use crate::proto;
use istio_config::virtual_service::{HttpMatchRequest, StringMatch};
use serde_json::{Map, Value, json};

/// The conditions of one match block; without one, every path.
pub(super) fn route_match(block: Option<&HttpMatchRequest>) -> Value {
    let Some(block) = block else { return json!({ "prefix": "/" }) };
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
        // Statistics are not behaviour.
        stat_prefix: _,
        // Decided where the rule is laid under its domains.
        port: _,
        source_labels: _,
        gateways: _,
        source_namespace: _,
    } = block;
    let mut conditions: Vec<Value> = headers.iter().map(|(name, value)| condition(name, value.as_ref())).collect();
    conditions.extend(without_headers.iter().map(|(name, value)| {
        // Presence and "a missing header is empty" cannot go together.
        let missing_is_empty = (!is_presence(value.as_ref())).then_some(Value::Bool(true));
        proto::with(
            condition(name, value.as_ref()),
            [("invert_match", Some(Value::Bool(true))), ("treat_missing_header_as_empty", missing_is_empty)],
        )
    }));
    let pseudo = [(":method", method), (":authority", authority), (":scheme", scheme)];
    conditions.extend(pseudo.iter().filter_map(|(name, value)| Some(condition(name, Some(value.as_ref()?)))));
    let parameters: Vec<Value> = query_params.iter().map(|(name, value)| condition(name, value.as_ref())).collect();
    let mut fields = Map::new();
    let (specifier, path) = path(uri.as_ref());
    fields.insert(specifier.to_owned(), path);
    fields.insert("case_sensitive".to_owned(), json!(!ignore_uri_case));
    for (name, list) in [("headers", conditions), ("query_parameters", parameters)] {
        if !list.is_empty() {
            fields.insert(name.to_owned(), json!(list));
        }
    }
    Value::Object(fields)
}

/// Whether a route takes every request, as istiod sees it (`IsCatchAllRoute`).
pub(super) fn takes_all(route: &Value) -> bool {
    let text = |pointer| route.pointer(pointer).and_then(Value::as_str);
    let any_path = text("/match/prefix") == Some("/") || text("/match/safe_regex/regex") == Some(".*");
    any_path && ["/match/headers", "/match/query_parameters"].iter().all(|pointer| route.pointer(pointer).is_none())
}

fn path(uri: Option<&StringMatch>) -> (&'static str, Value) {
    match uri {
        Some(StringMatch { exact: Some(text), .. }) => ("path", json!(text)),
        Some(StringMatch { prefix: Some(text), .. }) => ("prefix", json!(text)),
        Some(StringMatch { regex: Some(pattern), .. }) => ("safe_regex", json!({ "regex": pattern })),
        _ => ("prefix", json!("/")),
    }
}

/// A header or a query parameter and its value. Envoy compares names of headers in lower case by itself.
fn condition(name: &str, value: Option<&StringMatch>) -> Value {
    match value.filter(|value| !is_presence(Some(*value))) {
        Some(value) => json!({ "name": name, "string_match": string(value) }),
        None => json!({ "name": name, "present_match": true }),
    }
}

/// `canBeConvertedToPresentMatch`: nothing to compare with, or the regex `*`, which is none.
fn is_presence(value: Option<&StringMatch>) -> bool {
    value.is_none_or(|StringMatch { exact, prefix, regex }| {
        exact.is_none() && prefix.is_none() && regex.as_deref().is_none_or(|regex| regex == "*")
    })
}

/// Envoy's `StringMatcher`.
pub(super) fn string(value: &StringMatch) -> Value {
    let StringMatch { exact, prefix, regex } = value;
    match (exact, prefix, regex) {
        (Some(text), ..) => json!({ "exact": text }),
        (_, Some(text), _) => json!({ "prefix": text }),
        (.., pattern) => json!({ "safe_regex": { "regex": pattern.as_deref().unwrap_or_default() } }),
    }
}
