//! By what a file of [`dynamic`](crate::dynamic()) is known again, so that nobody else's is overwritten, and nothing of it kept.

use crate::dynamic::{BOOTSTRAP_FILE, CLUSTER_TYPE, CLUSTERS_FILE, FILTER_TYPE, LISTENER_TYPE, ROUTES_TYPE};
use crate::dynamic::{FILTER_FILE, INBOUND_FILE, LISTENERS_FILE, ROUTES_FILE};
use crate::inbound;
use envoy_plan::{APP_CLUSTER, DEFAULT_PROFILE};
use istio_config::names::PASSTHROUGH_CLUSTER;
use serde_json::Value;

/// All files of a folder, the bootstrap first.
pub const FILES: [&str; 6] = [BOOTSTRAP_FILE, CLUSTERS_FILE, ROUTES_FILE, FILTER_FILE, INBOUND_FILE, LISTENERS_FILE];

/// Whether a file of this name that holds this was written here. It goes by the form, so that other builds' files count too.
pub fn is_ours(file: &str, content: &Value) -> bool {
    if file == BOOTSTRAP_FILE {
        let path = content.pointer("/dynamic_resources/cds_config/path_config_source/path").and_then(Value::as_str);
        let is_named = content.pointer("/node/id").and_then(Value::as_str) == Some("shunt");
        return is_named && path.is_some_and(|path| path.ends_with(CLUSTERS_FILE));
    }
    let is_version = |text: &str| text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let has_version = content.get("version_info").and_then(Value::as_str).is_some_and(is_version);
    let Some(resources) = content.get("resources").and_then(Value::as_array) else { return false };
    has_version
        && match file {
            CLUSTERS_FILE => resources.iter().all(is_cluster),
            ROUTES_FILE => is_one(resources, ROUTES_TYPE, "shunt"),
            FILTER_FILE => is_one(resources, FILTER_TYPE, "shunt"),
            INBOUND_FILE => is_one(resources, FILTER_TYPE, inbound::NAME),
            LISTENERS_FILE => are_sides(resources),
            _ => false,
        }
}

fn is_one(resources: &[Value], message_type: &str, called: &str) -> bool {
    matches!(resources, [resource] if is_of(resource, message_type) && name(resource) == called)
}

/// The listener of the outbound side, and of the inbound side where there is one.
fn are_sides(resources: &[Value]) -> bool {
    let names: Vec<_> = resources.iter().map(name).collect();
    resources.iter().all(|resource| is_of(resource, LISTENER_TYPE))
        && matches!(names.as_slice(), ["shunt"] | ["shunt", inbound::NAME])
}

/// Whether an entry of the clusters' file is one of ours: of its type, and called as Istio calls clusters, or the application.
pub(crate) fn is_cluster(entry: &Value) -> bool {
    let name = name(entry);
    let parts = match name.strip_prefix("fallback|") {
        Some(_) => 9,
        None => 4,
    };
    is_of(entry, CLUSTER_TYPE)
        && (name.split('|').count() == parts || [PASSTHROUGH_CLUSTER, APP_CLUSTER].contains(&name))
}

/// Whether a route is that of one of our profiles.
pub(crate) fn is_profile(route: &Value) -> bool {
    let name = name(route);
    name == DEFAULT_PROFILE || name == "any" || name.starts_with("p-")
}

fn is_of(entry: &Value, message_type: &str) -> bool {
    let written = entry.get("@type").and_then(Value::as_str);
    written.and_then(|written| written.rsplit_once('/')).is_some_and(|(_, written)| written == message_type)
}

fn name(entry: &Value) -> &str {
    entry.get("name").and_then(Value::as_str).unwrap_or_default()
}
