//! The same in three files, so that rules change without a restart: a bootstrap that watches the two others, clusters, and the
//! listener with routes and filter in it.
//!
//! Envoy takes each file as a whole or refuses it and goes on with what it had. Clusters are to be replaced first: the new
//! listener finds all of its own. The old one, which Envoy drains meanwhile, must not lose its own either, so clusters that
//! are no longer called for stay for one version more.

use crate::bootstrap::Options;
use crate::{clusters, listener, proto};
use envoy_plan::Plan;
use istio_config::FilterConfig;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::Path;

/// The file of clusters, in the folder that the bootstrap watches.
pub const CLUSTERS_FILE: &str = "clusters.json";
/// The file of listeners, likewise.
pub const LISTENERS_FILE: &str = "listeners.json";

const CLUSTER_TYPE: &str = "envoy.config.cluster.v3.Cluster";
const LISTENER_TYPE: &str = "envoy.config.listener.v3.Listener";

/// Marks a cluster that stays only until the next version.
const KEPT: &str = "/metadata/filter_metadata/shunt/kept";

/// The contents of the three files, without version.
#[derive(Clone, Debug, PartialEq)]
pub struct Dynamic {
    /// For `envoy -c`; changes only with the options.
    pub bootstrap: Value,
    /// For [`CLUSTERS_FILE`], to be replaced first.
    pub clusters: Value,
    /// For [`LISTENERS_FILE`].
    pub listeners: Value,
}

/// The three files for Envoy to find in `folder`, an absolute path. `before`: what [`CLUSTERS_FILE`] holds now.
pub fn dynamic(
    plan: &Plan,
    config: &FilterConfig,
    module: &[u8],
    options: &Options,
    folder: &Path,
    before: Option<&Value>,
) -> Dynamic {
    let Options { listen, admin, path_normalization } = *options;
    let mut entries: Vec<Value> =
        plan.clusters.values().map(|cluster| proto::any(CLUSTER_TYPE, clusters::cluster(cluster))).collect();
    let named: BTreeSet<String> = entries.iter().filter_map(name).map(str::to_owned).collect();
    let was_called_for = |entry: &&Value| entry.pointer(KEPT).is_none();
    let old = before.and_then(|file| file.get("resources")?.as_array()).into_iter().flatten();
    let kept = old.filter(was_called_for).filter(|entry| name(entry).is_some_and(|name| !named.contains(name)));
    entries.extend(kept.map(|entry| {
        let mark = json!({ "filter_metadata": { "shunt": { "kept": true } } });
        proto::with(entry.clone(), [("metadata", Some(mark))])
    }));
    let listener = listener::listener(plan, config, module, listen, path_normalization);
    let watched =
        |file: &str| json!({ "path_config_source": { "path": folder.join(file) }, "resource_api_version": "V3" });
    Dynamic {
        bootstrap: json!({
            "node": { "id": "shunt", "cluster": "shunt" },
            "admin": { "address": proto::address(admin) },
            "dynamic_resources": { "cds_config": watched(CLUSTERS_FILE), "lds_config": watched(LISTENERS_FILE) },
        }),
        clusters: json!({ "resources": entries }),
        listeners: json!({ "resources": [proto::any(LISTENER_TYPE, listener)] }),
    }
}

fn name(entry: &Value) -> Option<&str> {
    entry.get("name")?.as_str()
}
