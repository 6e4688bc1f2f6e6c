//! Whether rehearsals tell the truth: a story rehearsed by `shunt sim`, and played in real time in real Envoy, with services
//! that behave as the scenario says and clients that come as it says.
//!
//! - `story`: what of a scenario can be played
//! - `services`: the scenario's services on real sockets
//! - `clients`: its load, open, over as many connections as it needs
//! - [`figures`]: what both sides saw, side by side

mod clients;
pub mod figures;
mod services;
mod story;

use crate::process::{Process, free_address, is_ok};
use figures::{Figures, Played};
use serde_json::Value;
use services::Services;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use story::Scenario;

/// A story to be played twice.
pub struct Story {
    scenario: Scenario,
    file: PathBuf,
    /// Of the scenario, in full.
    manifests: Vec<PathBuf>,
}

impl Story {
    /// Reads a scenario with an open load.
    ///
    /// # Errors
    ///
    /// It cannot be read.
    pub fn read(file: PathBuf) -> Result<Self, String> {
        let text = std::fs::read_to_string(&file).map_err(|error| format!("{}: {error}", file.display()))?;
        let scenario: Scenario =
            serde_yaml_ng::from_str(&text).map_err(|error| format!("{}: {error}", file.display()))?;
        let folder = file.parent().unwrap_or(Path::new("."));
        let manifests = scenario.spec.manifests.iter().map(|name| folder.join(name)).collect();
        Ok(Self { scenario, file, manifests })
    }

    /// The scenario's name.
    pub fn name(&self) -> &str {
        &self.scenario.metadata.name
    }

    /// The rehearsal, as it is, in virtual time.
    ///
    /// # Errors
    ///
    /// What the command said.
    pub fn rehearse(&self, shunt: &Path) -> Result<Figures, String> {
        let report = run(Command::new(shunt).args(["sim", "-o", "json", "-f"]).arg(&self.file))?;
        let report: Value = serde_json::from_str(&report).map_err(|error| error.to_string())?;
        let plan = services::plan(&self.manifests)?;
        let labels = |cluster: &str| plan.clusters.get(cluster)?.endpoints.first().map(|it| services::text(&it.labels));
        Figures::of_report(&report, labels)
    }

    /// The same in real time, for so long, with chance from `seed`.
    ///
    /// # Errors
    ///
    /// Something does not start, or a port of the story is taken.
    pub fn play(&self, shunt: &Path, envoy: &Path, lasting: Duration, seed: u64) -> Result<Played, String> {
        let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
        let (listen, admin, bootstrap) = (free_address(), free_address(), folder.path().join("envoy.yaml"));
        let mut render = Command::new(shunt);
        render.args(["render", "envoy", "--listen", &listen.to_string(), "--admin", &admin.to_string(), "-o"]);
        render.arg(&bootstrap);
        for file in &self.manifests {
            render.arg("-f").arg(file);
        }
        run(&mut render)?;
        let services = Services::start(&self.scenario, &self.manifests, seed)?;
        let mut proxy = Command::new(envoy);
        proxy.arg("-c").arg(&bootstrap).args(["--disable-hot-restart", "--concurrency", "1", "--log-level", "warning"]);
        let mut proxy = Process::spawn(proxy, folder.path().join("log"))?;
        proxy.wait_until(|| is_ok(admin, "/ready"))?;
        let answers = clients::send(&self.scenario.spec.load, listen, lasting, seed)?;
        Ok(Played::seen(answers, services.attempts()))
    }
}

/// What the command wrote.
fn run(command: &mut Command) -> Result<String, String> {
    let output = command.output().map_err(|error| error.to_string())?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(format!("{}\n{}", output.status, String::from_utf8_lossy(&output.stderr)))
}
