//! The manifests under test, as `shunt render` writes them.

use super::Programs;
use super::objects::{self, APP, NAMESPACE};
use crate::process;
use serde_json::Value;
use std::process::Command;

/// Whom a manifest is for, by the label `app`.
#[derive(Clone, Copy, Debug)]
pub enum For<'a> {
    /// This workload's sidecar.
    Sidecar(&'a str),
    /// The Gateway of this name.
    Gateway(&'a str),
}

/// The kinds of `shunt render` that are for a mesh.
pub const KINDS: [&str; 3] = ["envoyfilter", "wasmplugin", "trafficextension"];

/// The EnvoyFilter for a workload, from these files.
///
/// # Errors
///
/// What the command said.
pub fn envoy_filter(programs: &Programs, files: &[(&str, String)], whom: For<'_>) -> Result<Vec<Value>, String> {
    manifests(programs, KINDS[0], files, whom)
}

/// The manifests for a workload by one of [`KINDS`], from these files.
///
/// # Errors
///
/// What the command said.
pub fn manifests(
    programs: &Programs,
    kind: &str,
    files: &[(&str, String)],
    whom: For<'_>,
) -> Result<Vec<Value>, String> {
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    for (name, text) in files {
        std::fs::write(folder.path().join(name), text).map_err(|error| error.to_string())?;
    }
    let mut command = Command::new(&programs.shunt);
    command.args(["render", kind, "-f"]).arg(folder.path()).arg("--wasm-file").arg(process::module());
    match whom {
        For::Sidecar(app) => command.arg("--selector").arg(format!("{APP}={app}")),
        For::Gateway(name) => command.arg("--gateway").arg(format!("{NAMESPACE}/{name}")),
    };
    let output = command.output().map_err(|error| format!("{}: {error}", programs.shunt.display()))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if !output.status.success() {
        return Err(format!("shunt render: {}\n{}", output.status, text(&output.stderr)));
    }
    objects::read(&text(&output.stdout))
}
