//! One rule and one of its match blocks as a `Route` (`TranslateRoute`).

use super::edits::Edits;
use super::hosts::{Place, World};
use super::{filters, hashes, matches, retries};
use crate::proto;
use envoy_plan::PASSTHROUGH_CLUSTER;
use istio_config::destination_rule::ConsistentHashLb;
use istio_config::names;
use istio_config::virtual_service::{
    Destination, HttpBody, HttpDirectResponse, HttpMatchRequest, HttpMirrorPolicy, HttpRedirect, HttpRewrite,
    HttpRoute, HttpRouteDestination, Percent, RedirectPortSelection, RegexRewrite,
};
use serde_json::{Map, Value, json};
use std::time::Duration;

/// The route; `namespace` is the rule's.
pub(super) fn route(
    world: &World<'_>,
    namespace: &str,
    rule: &HttpRoute,
    block: Option<&HttpMatchRequest>,
    place: &Place,
) -> Value {
    let cluster = |destination: &Destination| cluster(world, namespace, place.port, destination);
    let mut edits = Edits::of(rule.headers.as_deref());
    let mut fields = Map::new();
    fields.insert("match".to_owned(), matches::route_match(block));
    if let Some(raw) = &rule.redirect {
        fields.insert("redirect".to_owned(), redirect(raw, place.port));
    } else if let Some(raw) = &rule.direct_response {
        fields.insert("direct_response".to_owned(), direct_response(raw));
    } else {
        let mut action = Map::new();
        let rewritten = rule.rewrite.as_deref().and_then(|rewrite| path_and_authority(&mut action, rewrite));
        let authority = rewritten.or(edits.authority.take());
        let hash = |drawn: &HttpRouteDestination| world.hash(&drawn.destination, namespace);
        let mut keys = Vec::new();
        let mut stays = false;
        let authority = match rule.route.as_slice() {
            [only @ HttpRouteDestination { destination, weight: _, headers }] => {
                stays = hash(only).is_some();
                keys.extend(hash(only).and_then(hashes::policy));
                action.insert("cluster".to_owned(), json!(cluster(destination)));
                let own = Edits::of(headers.as_deref());
                let authority = authority.or(own.authority.clone());
                edits = edits.and_then(own);
                authority
            }
            several => {
                let drawn = several.iter().filter(|destination| destination.weight.is_some_and(|weight| weight > 0));
                keys.extend(drawn.clone().filter_map(|drawn| hashes::policy(hash(drawn)?)));
                let drawn: Vec<_> = drawn.map(|destination| weighted(destination, cluster)).collect();
                action.insert("weighted_clusters".to_owned(), json!({ "clusters": drawn }));
                authority
            }
        };
        if let Some(authority) = authority {
            action.insert("host_rewrite_literal".to_owned(), json!(authority));
        }
        let mirrors = mirrors(rule, cluster);
        if !mirrors.is_empty() {
            action.insert("request_mirror_policies".to_owned(), json!(mirrors));
        }
        set_timeout(&mut action, rule.timeout.map(|timeout| timeout.0));
        if !keys.is_empty() {
            action.insert("hash_policy".to_owned(), json!(keys));
        }
        if let Some(policy) = retries::policy(rule.retries.as_deref(), stays) {
            action.insert("retry_policy".to_owned(), policy);
        }
        fields.insert("route".to_owned(), Value::Object(action));
    }
    edits.write(&mut fields);
    if let Some(config) = filters::per_filter_config(rule) {
        fields.insert("typed_per_filter_config".to_owned(), config);
    }
    Value::Object(fields)
}

/// The route of a service without rules (`BuildDefaultHTTPOutboundRoute`).
pub(super) fn default_route(cluster: &str, hash: Option<&ConsistentHashLb>) -> Value {
    let mut action = Map::new();
    action.insert("cluster".to_owned(), json!(cluster));
    set_timeout(&mut action, None);
    action.extend(hash.and_then(hashes::policy).map(|key| ("hash_policy".to_owned(), json!([key]))));
    action.extend(retries::policy(None, false).map(|policy| ("retry_policy".to_owned(), policy)));
    json!({ "match": { "prefix": "/" }, "route": action })
}

/// The route of hosts that nothing knows, under `ALLOW_ANY`.
pub(super) fn allow_any() -> Value {
    let mut action = Map::new();
    action.insert("cluster".to_owned(), json!(PASSTHROUGH_CLUSTER));
    set_timeout(&mut action, None);
    json!({ "match": { "prefix": "/" }, "route": action })
}

/// The same under `REGISTRY_ONLY`.
pub(super) fn block_all() -> Value {
    json!({ "match": { "prefix": "/" }, "direct_response": { "status": 502 } })
}

/// `GetDestinationCluster`.
fn cluster(world: &World<'_>, namespace: &str, listener_port: u16, destination: &Destination) -> String {
    let host = names::full_host(&destination.host, namespace);
    let port = world.services.port_for(destination, &host, listener_port).number();
    names::cluster_name(port, &destination.subset, &host)
}

/// No timeout unless the rule says one; a gRPC client may ask for less.
fn set_timeout(action: &mut Map<String, Value>, timeout: Option<Duration>) {
    let timeout = proto::duration(timeout.unwrap_or_default());
    action.insert("max_grpc_timeout".to_owned(), timeout.clone());
    action.insert("timeout".to_owned(), timeout);
}

/// The new path goes into the action; the new authority is returned.
fn path_and_authority(action: &mut Map<String, Value>, rewrite: &HttpRewrite) -> Option<String> {
    let HttpRewrite { uri, authority, uri_regex_rewrite } = rewrite;
    if let Some(RegexRewrite { r#match, rewrite }) = uri_regex_rewrite {
        let value = json!({ "pattern": { "regex": r#match }, "substitution": rewrite });
        action.insert("regex_rewrite".to_owned(), value);
    } else if !uri.is_empty() {
        action.insert("prefix_rewrite".to_owned(), json!(uri));
    }
    (!authority.is_empty()).then(|| authority.clone())
}

/// `processWeightedDestination`.
fn weighted(raw: &HttpRouteDestination, cluster: impl Fn(&Destination) -> String) -> Value {
    let HttpRouteDestination { destination, weight, headers } = raw;
    let mut fields = Map::new();
    fields.insert("name".to_owned(), json!(cluster(destination)));
    fields.insert("weight".to_owned(), json!(weight));
    let edits = Edits::of(headers.as_deref());
    if let Some(authority) = &edits.authority {
        fields.insert("host_rewrite_literal".to_owned(), json!(authority));
    }
    edits.write(&mut fields);
    Value::Object(fields)
}

/// `MirrorPercent` and `MirrorPercentByPolicy`: nothing said means all, and zero means no mirror.
fn mirrors(rule: &HttpRoute, cluster: impl Fn(&Destination) -> String) -> Vec<Value> {
    let policy = |destination: &Destination, share: Value| {
        json!({
            "cluster": cluster(destination),
            "runtime_fraction": { "default_value": share },
            "trace_sampled": false,
            "disable_shadow_host_suffix_append": true,
        })
    };
    let share = |percentage: Option<&Percent>, percent: Option<u32>| match (percentage, percent) {
        (Some(percentage), _) => (percentage.value > 0.0).then(|| filters::fraction(percentage)),
        (None, Some(percent)) => (percent > 0).then(|| filters::whole_percent(percent)),
        (None, None) => Some(filters::whole_percent(100)),
    };
    let one = rule.mirror.iter().filter_map(|destination| {
        Some(policy(destination, share(rule.mirror_percentage.as_ref(), rule.mirror_percent)?))
    });
    let several = rule.mirrors.iter().filter_map(|HttpMirrorPolicy { destination, percentage }| {
        Some(policy(destination, share(percentage.as_ref(), None)?))
    });
    one.chain(several).collect()
}

/// `ApplyRedirect`; servers with TLS are not served.
fn redirect(raw: &HttpRedirect, listener_port: u16) -> Value {
    let HttpRedirect { uri, authority, port, derive_port, scheme, redirect_code, prefix_rewrite } = raw;
    let text = |text: &String| (!text.is_empty()).then(|| json!(text));
    let port = match (port, derive_port) {
        (Some(port), _) => Some(*port),
        (None, Some(RedirectPortSelection::FromRequestPort)) => Some(u32::from(listener_port)),
        (None, Some(RedirectPortSelection::FromProtocolDefault) | None) => None,
    };
    let goes_without_saying = match scheme.as_str() {
        "https" => 443,
        _ => 80,
    };
    let code = match redirect_code {
        Some(302) => "FOUND",
        Some(303) => "SEE_OTHER",
        Some(307) => "TEMPORARY_REDIRECT",
        Some(308) => "PERMANENT_REDIRECT",
        _ => "MOVED_PERMANENTLY",
    };
    // An empty one changes nothing.
    let whole = prefix_rewrite.is_empty().then(|| json!(uri));
    proto::with(
        json!({ "response_code": code }),
        [
            ("host_redirect", text(authority)),
            ("prefix_rewrite", text(prefix_rewrite)),
            ("path_redirect", whole),
            ("scheme_redirect", text(scheme)),
            ("port_redirect", port.filter(|port| *port != 0 && *port != goes_without_saying).map(|port| json!(port))),
        ],
    )
}

/// `ApplyDirectResponse`.
fn direct_response(raw: &HttpDirectResponse) -> Value {
    let HttpDirectResponse { status, body } = raw;
    let body = body.as_ref().and_then(|HttpBody { string, bytes }| match (string, bytes) {
        (Some(text), _) => Some(json!({ "inline_string": text })),
        // Base64 is how protobuf's JSON form has bytes, too.
        (None, Some(bytes)) => Some(json!({ "inline_bytes": bytes })),
        (None, None) => None,
    });
    proto::with(json!({ "status": status }), [("body", body)])
}
