//! An Envoy that serves one rendered bootstrap after the other: its listeners and clusters are in two files that it
//! watches. What it serves is what `shunt render` wrote, byte for byte; but a start, at which Envoy compiles the filter,
//! is needed only once. (`tests/bare_bootstrap.rs` starts Envoy with a bootstrap as it is.)

use crate::process::{Process, page};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::path::Path;

/// Each file, the part of a bootstrap that is in it, and the type of its entries.
const FILES: [(&str, &str, &str); 2] = [
    ("clusters.json", "clusters", "type.googleapis.com/envoy.config.cluster.v3.Cluster"),
    ("listeners.json", "listeners", "type.googleapis.com/envoy.config.listener.v3.Listener"),
];

/// What tells which versions are served, and how many were refused.
const STATISTICS: &str = "/stats?filter=(cds|lds).(version_text|update_rejected)";

/// Puts the listeners and clusters of `bootstrap` into the files of `folder`, clusters first.
///
/// # Errors
///
/// A file cannot be read or written, or holds no bootstrap.
pub(super) fn put(bootstrap: &Path, folder: &Path, version: &str) -> Result<(), String> {
    let mut resources = read(bootstrap)?["static_resources"].take();
    for (file, part, kind) in FILES {
        let mut entries = resources[part].take();
        for entry in entries.as_array_mut().ok_or_else(|| format!("a bootstrap without {part}"))? {
            entry["@type"] = kind.into();
        }
        // Envoy looks when a file is moved to its place, and so never at half a one.
        let next = folder.join("next.json");
        write(&next, &json!({ "version_info": version, "resources": entries }))?;
        std::fs::rename(&next, folder.join(file)).map_err(|error| error.to_string())?;
    }
    Ok(())
}

/// Writes a bootstrap like the rendered one that watches the files of `folder`.
///
/// # Errors
///
/// As [`put`].
pub(super) fn write_bootstrap(rendered: &Path, folder: &Path, to: &Path) -> Result<(), String> {
    let rendered = read(rendered)?;
    let [clusters, listeners] = FILES
        .map(|(file, ..)| json!({ "path_config_source": { "path": folder.join(file) }, "resource_api_version": "V3" }));
    let dynamic = json!({ "cds_config": clusters, "lds_config": listeners });
    write(to, &json!({ "node": rendered["node"], "admin": rendered["admin"], "dynamic_resources": dynamic }))
}

/// How many updates Envoy has refused so far.
pub(super) fn refused(admin: SocketAddr) -> u64 {
    let page = page(admin, STATISTICS).unwrap_or_default();
    let counts = page.lines().filter_map(|line| line.split_once("update_rejected: "));
    counts.filter_map(|(_, count)| count.parse::<u64>().ok()).sum()
}

/// Waits until Envoy serves both files in this version.
///
/// # Errors
///
/// It has refused one, ended, or takes too long; with what it said.
pub(super) fn wait(process: &mut Process, admin: SocketAddr, version: &str, refused_before: u64) -> Result<(), String> {
    let serves = || {
        let page = page(admin, STATISTICS).unwrap_or_default();
        page.lines().filter(|line| line.contains("version_text") && line.contains(version)).count() == FILES.len()
    };
    process.wait_until(|| serves() || refused(admin) > refused_before)?;
    if serves() { Ok(()) } else { Err(format!("Envoy refuses it\n{}", process.said())) }
}

fn read(path: &Path) -> Result<Value, String> {
    let text = std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
    serde_json::from_slice(&text).map_err(|error| format!("{}: {error}", path.display()))
}

fn write(path: &Path, value: &Value) -> Result<(), String> {
    std::fs::write(path, value.to_string()).map_err(|error| format!("{}: {error}", path.display()))
}
