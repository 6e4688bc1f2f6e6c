//! The same in files that a running Envoy watches, so that rules change without a restart, and without a new listener.
//!
//! The bootstrap names clusters and listener, the listener names routes (RDS) and filter (ECDS), each a file of its own.
//! Rules stand in the first three of [`Dynamic::files`] only. So a change of rules is no change of the listener: nothing is
//! drained, and connections that are open meet the new rules with their next request.
//!
//! Envoy takes each file as a whole or refuses it and goes on with what it had. The filter comes after the clusters and routes
//! that it names. The filter before it, and requests under way, must not lose theirs either: what is no longer called for
//! stays for one version more, and for a minute, as Envoy may be behind by some. A profile is named by what it says, so that a name means the same in every version.

use crate::bootstrap::{self, Options};
use crate::filters::Meanwhile;
use crate::listener::Routes;
use crate::profiles::{ByContent, digest};
use crate::{filters, inbound, listener, proto, routes, written};
use envoy_plan::Plan;
use istio_config::FilterConfig;
use serde_json::{Value, json};
use std::path::Path;

/// The file for `envoy -c`, in the folder of the files that it watches.
pub const BOOTSTRAP_FILE: &str = "bootstrap.json";
pub(crate) const CLUSTERS_FILE: &str = "clusters.json";
pub(crate) const ROUTES_FILE: &str = "routes.json";
pub(crate) const FILTER_FILE: &str = "filter.json";
pub(crate) const INBOUND_FILE: &str = "inbound.json";
pub(crate) const LISTENERS_FILE: &str = "listeners.json";

pub(crate) const CLUSTER_TYPE: &str = "envoy.config.cluster.v3.Cluster";
pub(crate) const ROUTES_TYPE: &str = "envoy.config.route.v3.RouteConfiguration";
pub(crate) const FILTER_TYPE: &str = "envoy.config.core.v3.TypedExtensionConfig";
pub(crate) const LISTENER_TYPE: &str = "envoy.config.listener.v3.Listener";

/// By which Envoy asks for the filter, and counts what becomes of it.
const FILTER_NAME: &str = "shunt";

/// Where the routes stand in their file.
const ROUTES: &str = "/resources/0/virtual_hosts/0/routes";

/// Marks what is no longer called for: since when, in seconds since 1970.
const KEPT: &str = "/metadata/filter_metadata/shunt/kept";

/// So many seconds it stays at least. Envoy configures the filter within one, and may be given the next version meanwhile.
const KEPT_SECONDS: u64 = 60;

/// What the files hold.
#[derive(Clone, Debug, PartialEq)]
pub struct Dynamic {
    /// For [`BOOTSTRAP_FILE`]; changes only with the options.
    pub bootstrap: Value,
    /// Each watched file by its name, in the order in which they are to be replaced.
    pub files: Vec<(&'static str, Value)>,
}

/// The files for Envoy to find in `folder`, an absolute path. `before` tells what a file there holds now, `now` are seconds
/// since 1970.
pub fn dynamic(
    plan: &Plan,
    config: &FilterConfig,
    module: &[u8],
    options: &Options,
    folder: &Path,
    before: impl Fn(&str) -> Option<Value>,
    now: u64,
) -> Dynamic {
    let watched =
        |file: &str| json!({ "path_config_source": { "path": folder.join(file) }, "resource_api_version": "V3" });
    let old = |file: &str, entries: &str, is_ours: fn(&Value) -> bool| -> Vec<Value> {
        let known = before(file).filter(|old| written::is_ours(file, old));
        let entries = known.and_then(|old| old.pointer(entries)?.as_array().cloned());
        entries.into_iter().flatten().filter(is_ours).collect()
    };
    let profiles = ByContent::new(&plan.profiles, "");

    let clusters = bootstrap::all_clusters(plan, options);
    let called_for = clusters.into_iter().map(|cluster| proto::any(CLUSTER_TYPE, cluster));
    let clusters = with_kept(called_for.collect(), old(CLUSTERS_FILE, "/resources", written::is_cluster), now);

    let mut routes = proto::any(ROUTES_TYPE, routes::route_configuration(&profiles.profiles));
    if let Some(list) = routes.pointer_mut(ROUTES.trim_start_matches("/resources/0")) {
        let called_for = profiles.profiles.iter().map(routes::profile_route).chain(profiles.fallback(""));
        *list = Value::Array(with_kept(called_for.collect(), old(ROUTES_FILE, ROUTES, written::is_profile), now));
    }

    let code = filters::inline(module);
    // One in a file: Envoy refuses a file in which there is another beside the one that it has asked for.
    let filter = |name: &str, config: &FilterConfig| {
        let filter = proto::with(filters::wasm(config, &code), [("name", Some(json!(name)))]);
        versioned(vec![proto::any(FILTER_TYPE, filter)])
    };
    let place = |name: &str, file: &str| filters::discovered(name, watched(file), Meanwhile::Refused);
    // The fault filter is there for every rule to come; without the filter's word it does nothing.
    let filters = filters::http_filters(place(FILTER_NAME, FILTER_FILE), config, true);
    let mut listeners = vec![listener::listener(options, Routes::Discovered(watched(ROUTES_FILE)), filters)];
    let mut files = vec![
        (CLUSTERS_FILE, versioned(clusters)),
        (ROUTES_FILE, versioned(vec![routes])),
        (FILTER_FILE, filter(FILTER_NAME, &profiles.named(config))),
    ];
    if let Some(application) = &options.application {
        files.push((INBOUND_FILE, filter(inbound::NAME, &config.inbound())));
        listeners.push(inbound::listener(options, application, place(inbound::NAME, INBOUND_FILE)));
    }
    let listeners = listeners.into_iter().map(|listener| proto::any(LISTENER_TYPE, listener)).collect();
    files.push((LISTENERS_FILE, versioned(listeners)));

    Dynamic {
        bootstrap: bootstrap::of(
            options,
            "dynamic_resources",
            json!({ "cds_config": watched(CLUSTERS_FILE), "lds_config": watched(LISTENERS_FILE) }),
        ),
        files,
    }
}

/// A file of resources; its version is made of what it says.
fn versioned(resources: Vec<Value>) -> Value {
    let resources = Value::Array(resources);
    json!({ "version_info": digest(&resources), "resources": resources })
}

/// The entries, and before them those of the last version that are missing, marked. What was marked long ago has had its time.
fn with_kept(entries: Vec<Value>, before: Vec<Value>, now: u64) -> Vec<Value> {
    let is_missing = |old: &Value| entries.iter().all(|entry| entry.get("name") != old.get("name"));
    let kept = before.into_iter().filter(is_missing).filter_map(|old| {
        let since = old.pointer(KEPT).and_then(Value::as_u64).unwrap_or(now);
        let mark = json!({ "filter_metadata": { "shunt": { "kept": since } } });
        (now.saturating_sub(since) < KEPT_SECONDS).then(|| proto::with(old, [("metadata", Some(mark))]))
    });
    let kept: Vec<_> = kept.collect();
    kept.into_iter().chain(entries).collect()
}
