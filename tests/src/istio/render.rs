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

/// Whence a proxy gets the compiled filter.
#[derive(Clone, Copy, Debug)]
pub enum Source<'a> {
    /// From a file that it can read.
    File,
    /// From its agent, which fetches it here.
    Url(&'a str),
}

/// The kinds of `shunt render` that are for a mesh.
pub const KINDS: [&str; 3] = ["envoyfilter", "wasmplugin", "trafficextension"];

/// The EnvoyFilter for a workload, from these files.
///
/// # Errors
///
/// What the command said.
pub fn envoy_filter(programs: &Programs, files: &[(&str, String)], whom: For<'_>) -> Result<Vec<Value>, String> {
    manifests(programs, KINDS[0], files, whom, Source::File)
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
    from: Source<'_>,
) -> Result<Vec<Value>, String> {
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    for (name, text) in files {
        std::fs::write(folder.path().join(name), text).map_err(|error| error.to_string())?;
    }
    let mut command = Command::new(&programs.shunt);
    command.args(["render", kind, "-f"]).arg(folder.path());
    match from {
        Source::File => command.arg("--wasm-file").arg(process::module()),
        Source::Url(url) => command.args(["--wasm-url", url]),
    };
    match whom {
        For::Sidecar(app) => command.arg("--selector").arg(format!("{APP}={app}")),
        For::Gateway(name) => command.arg("--gateway").arg(format!("{NAMESPACE}/{name}")),
    };
    objects::read(&output(programs, &mut command)?)
}

/// The compiled filter whose SHA-256 stands in a manifest for [`Source::Url`].
///
/// # Errors
///
/// What the command said.
pub fn module(programs: &Programs) -> Result<Vec<u8>, String> {
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    let file = folder.path().join("filter.wasm");
    output(programs, Command::new(&programs.shunt).args(["render", "wasm", "-o"]).arg(&file))?;
    std::fs::read(&file).map_err(|error| format!("{}: {error}", file.display()))
}

/// What a command prints.
fn output(programs: &Programs, command: &mut Command) -> Result<String, String> {
    let output = command.output().map_err(|error| format!("{}: {error}", programs.shunt.display()))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if !output.status.success() {
        return Err(format!("shunt render: {}\n{}", output.status, text(&output.stderr)));
    }
    Ok(text(&output.stdout))
}
