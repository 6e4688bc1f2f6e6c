//! The manifest under test, as `shunt render envoyfilter` writes it.

use super::Programs;
use super::objects::{self, APP, NAMESPACE};
use super::workload::Role;
use serde_json::Value;
use std::process::Command;

/// The EnvoyFilter for a workload, from these files.
///
/// # Errors
///
/// What the command said.
pub fn envoy_filter(
    programs: &Programs,
    files: &[(&str, String)],
    role: Role,
    app: &str,
) -> Result<Vec<Value>, String> {
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    for (name, text) in files {
        std::fs::write(folder.path().join(name), text).map_err(|error| error.to_string())?;
    }
    let mut command = Command::new(&programs.shunt);
    command.args(["render", "envoyfilter", "-f"]).arg(folder.path());
    let output = command.output().map_err(|error| format!("{}: {error}", programs.shunt.display()))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if !output.status.success() {
        return Err(format!("shunt render: {}\n{}", output.status, text(&output.stderr)));
    }
    objects::read(&text(&output.stdout))
}
