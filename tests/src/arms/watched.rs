//! An Envoy that serves one set of rules after the other: `shunt render envoy --dynamic` writes them into a folder that it
//! watches. So a start, at which Envoy compiles the filter, is needed only once. (`tests/bare_bootstrap.rs` starts Envoy
//! with a bootstrap that has everything in it.)

use crate::process::{Process, page};
use serde_json::Value;
use std::net::SocketAddr;
use std::path::Path;

/// Each file, and the statistic that tells which version of it is served.
const FILES: [(&str, &str); 4] = [
    ("clusters.json", "cluster_manager.cds.version_text"),
    ("routes.json", "http.shunt.rds.shunt.version_text"),
    ("filter.json", "extension_config_discovery.http_filter.shunt.version_text"),
    ("listeners.json", "listener_manager.lds.version_text"),
];

/// What tells which versions are served, and how many were refused.
const STATISTICS: &str = "/stats?filter=(version_text|update_rejected)$";

/// Takes away by what the command knows the version before, of which it would keep something. Envoy does not look.
///
/// # Errors
///
/// A file cannot be removed.
pub(super) fn forget(folder: &Path) -> Result<(), String> {
    FILES
        .iter()
        .map(|(file, _)| folder.join(file))
        .filter(|path| path.exists())
        .try_for_each(|path| std::fs::remove_file(&path).map_err(|error| format!("{}: {error}", path.display())))
}

/// How many updates Envoy has refused so far.
pub(super) fn refused(admin: SocketAddr) -> u64 {
    let page = page(admin, STATISTICS).unwrap_or_default();
    let counts = page.lines().filter_map(|line| line.split_once("update_rejected: "));
    counts.filter_map(|(_, count)| count.parse::<u64>().ok()).sum()
}

/// Waits until Envoy serves all files of the folder as they are.
///
/// # Errors
///
/// It has refused one, ended, or takes too long; with what it said.
pub(super) fn wait(process: &mut Process, admin: SocketAddr, folder: &Path, refused_before: u64) -> Result<(), String> {
    let mut expected = Vec::new();
    for (file, statistic) in FILES {
        let text = std::fs::read(folder.join(file)).map_err(|error| format!("{file}: {error}"))?;
        let content: Value = serde_json::from_slice(&text).map_err(|error| format!("{file}: {error}"))?;
        expected.push(format!("{statistic}: {}", content["version_info"]));
    }
    let serves = || {
        let page = page(admin, STATISTICS).unwrap_or_default();
        expected.iter().all(|line| page.lines().any(|found| found == line))
    };
    process.wait_until(|| serves() || refused(admin) > refused_before)?;
    if serves() { Ok(()) } else { Err(format!("Envoy refuses it\n{}", process.said())) }
}
