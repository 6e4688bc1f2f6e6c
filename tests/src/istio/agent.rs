//! Istio's agent (`pilot-agent`), which stands between a sidecar and istiod: it hands on what both say, and fetches the compiled
//! filters that istiod's answers name. Its own Envoy is left out; ours connects to its socket instead of to istiod.

use super::Programs;
use super::mesh::Mesh;
use super::objects::NAMESPACE;
use crate::process::{Process, free_address, page};
use serde_json::json;
use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::Command;

/// Where it puts what it fetches, and Envoy reads it: no option changes that.
const FETCHED: &str = "/var/lib/istio/data";

/// What its metrics are called.
const PREFIX: &str = "istio_agent_";

/// The agent of one sidecar.
pub struct Agent {
    /// Where the sidecar's Envoy asks for its configuration.
    pub socket: PathBuf,
    status: SocketAddr,
    process: Process,
}

impl Agent {
    /// Whether one can run here.
    ///
    /// # Errors
    ///
    /// Why not, and what to do about it.
    pub fn is_possible(programs: &Programs) -> Result<(), String> {
        let program = program(programs);
        if !program.is_file() {
            let build = "`make test-istio` without ISTIOD builds both";
            return Err(format!("no {} beside the istiod that ISTIOD names: {build}", program.display()));
        }
        let writable = fs::create_dir_all(FETCHED).and_then(|()| tempfile::tempfile_in(FETCHED));
        writable.map(drop).map_err(|error| format!("Istio's agent cannot write to {FETCHED}, its only place: {error}"))
    }

    /// Starts the agent of the workload at this address and waits until its socket is there.
    ///
    /// # Errors
    ///
    /// It does not start, with what it said.
    pub fn start(programs: &Programs, mesh: &Mesh, app: &str, address: IpAddr) -> Result<Self, String> {
        let folder = mesh.folder().join(format!("agent-{app}"));
        fs::create_dir_all(&folder).map_err(|error| error.to_string())?;
        let status = free_address();
        let settings = json!({
            "discoveryAddress": mesh.xds,
            "controlPlaneAuthPolicy": "NONE",
            "statusPort": status.port(),
        });
        let mut command = Command::new(program(programs));
        command
            .args(["proxy", "sidecar", "--log_target=stderr", "--domain"])
            .arg(format!("{NAMESPACE}.svc.cluster.local"))
            // It takes much from the environment of its container, so there is nothing else in this one.
            .env_clear()
            .envs([("DISABLE_ENVOY", "true"), ("FILE_MOUNTED_CERTS", "true")])
            .envs([("POD_NAME", app), ("POD_NAMESPACE", NAMESPACE)])
            .envs([("INSTANCE_IP", address.to_string()), ("PROXY_CONFIG", settings.to_string())])
            .envs([("ISTIO_META_CLUSTER_ID", "Kubernetes"), ("ISTIO_META_INTERCEPTION_MODE", "NONE")])
            .current_dir(&folder);
        let mut process = Process::spawn(command, folder.join("log"))?;
        let socket = folder.join("etc/istio/proxy/XDS");
        process.wait_until(|| UnixStream::connect(&socket).is_ok() && metrics(status).is_some())?;
        Ok(Self { socket, status, process })
    }

    /// The sum of its metrics with this in their names or labels.
    pub fn metric(&self, part: &str) -> u64 {
        metric(self.status, part)
    }

    /// Waits until that sum has reached this.
    ///
    /// # Errors
    ///
    /// It has not, as the agent ended or took too long; with what it said.
    pub fn wait_for(&mut self, part: &str, count: u64) -> Result<(), String> {
        let status = self.status;
        self.process.wait_until(|| metric(status, part) >= count)
    }

    /// What it has said.
    pub fn said(&self) -> String {
        self.process.said()
    }
}

fn program(programs: &Programs) -> PathBuf {
    programs.istiod.with_file_name("pilot-agent")
}

fn metrics(status: SocketAddr) -> Option<String> {
    page(status, "/metrics")
}

fn metric(status: SocketAddr, part: &str) -> u64 {
    let page = metrics(status).unwrap_or_default();
    let lines = page.lines().filter(|line| line.starts_with(PREFIX) && line.contains(part));
    lines.filter_map(|line| line.rsplit_once(' ')?.1.parse::<u64>().ok()).sum()
}
