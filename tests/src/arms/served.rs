//! The two arms with sockets: `shunt proxy`, and Envoy with what `shunt render envoy` wrote. Both serve the same files to
//! the same client and the same servers.

use super::{Arm, Running};
use crate::case::{Case, Request};
use crate::client::Client;
use crate::observed::{Arrival, Reply};
use crate::process::{Process, free_address, is_ok};
use crate::servers::Servers;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use tempfile::TempDir;

/// A free port may be taken until it is used; then there is another try.
const TRIES: usize = 3;

/// `shunt proxy`.
pub struct Proxy {
    /// The command.
    pub shunt: PathBuf,
}

/// Envoy.
pub struct Envoy {
    /// The command.
    pub shunt: PathBuf,
    /// The binary.
    pub envoy: PathBuf,
}

impl Arm for Proxy {
    fn name(&self) -> &'static str {
        "proxy"
    }

    fn parallel(&self) -> usize {
        2
    }

    fn slack(&self) -> Duration {
        Duration::from_secs(2)
    }

    fn start(&self, case: &Case) -> Result<Box<dyn Running>, String> {
        start(case, |folder, listen, admin| {
            let [listen_text, admin_text] = [listen, admin].map(|address| address.to_string());
            let files = folder.join("files");
            let arguments = ["proxy", "-f", &files.to_string_lossy(), "--listen", &listen_text, "--admin", &admin_text];
            let mut process = Process::start(&self.shunt, arguments, folder.join("log"))?;
            process.wait_until(|| TcpStream::connect(listen).is_ok() && is_ok(admin, "/ready"))?;
            Ok(process)
        })
    }
}

impl Arm for Envoy {
    fn name(&self) -> &'static str {
        "envoy"
    }

    fn parallel(&self) -> usize {
        2
    }

    fn slack(&self) -> Duration {
        Duration::from_secs(2)
    }

    fn start(&self, case: &Case) -> Result<Box<dyn Running>, String> {
        start(case, |folder, listen, admin| {
            let bootstrap = folder.join("bootstrap.json");
            render(&self.shunt, &folder.join("files"), listen, admin, &bootstrap)?;
            start_envoy(&self.envoy, &bootstrap, admin)
        })
    }
}

/// Writes a bootstrap with `shunt render envoy`.
///
/// # Errors
///
/// What the command said.
pub fn render(shunt: &Path, files: &Path, listen: SocketAddr, admin: SocketAddr, to: &Path) -> Result<(), String> {
    let output = Command::new(shunt)
        .args(["render", "envoy", "-f"])
        .arg(files)
        .args(["--listen", &listen.to_string(), "--admin", &admin.to_string(), "-o"])
        .arg(to)
        .output()
        .map_err(|error| format!("{}: {error}", shunt.display()))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("shunt render: {}\n{}", output.status, String::from_utf8_lossy(&output.stderr)))
}

/// Starts Envoy and waits until it serves.
///
/// # Errors
///
/// What it said.
pub fn start_envoy(envoy: &Path, bootstrap: &Path, admin: SocketAddr) -> Result<Process, String> {
    let arguments = ["--use-dynamic-base-id", "--concurrency", "1", "--log-level", "warning", "-c"];
    let arguments = arguments.iter().map(Path::new).chain([bootstrap]);
    let mut process = Process::start(envoy, arguments, bootstrap.with_file_name("log"))?;
    process.wait_until(|| is_ok(admin, "/ready"))?;
    Ok(process)
}

/// Servers, files, a process and a client.
fn start(
    case: &Case,
    serve: impl Fn(&Path, SocketAddr, SocketAddr) -> Result<Process, String>,
) -> Result<Box<dyn Running>, String> {
    let servers = Servers::start(case);
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    let files = folder.path().join("files");
    std::fs::create_dir(&files).map_err(|error| error.to_string())?;
    for (name, text) in servers.fleet.manifests(case) {
        std::fs::write(files.join(name), text).map_err(|error| error.to_string())?;
    }
    let mut tries = 0;
    let (process, listen) = loop {
        tries += 1;
        let (listen, admin) = (free_address(), free_address());
        match serve(folder.path(), listen, admin) {
            Ok(process) => break (process, listen),
            Err(error) if tries < TRIES && error.contains("in use") => {}
            Err(error) => return Err(error),
        }
    };
    let late = case.mirrors();
    Ok(Box::new(Served { client: Client::new(listen), process, servers, late, _folder: folder }))
}

struct Served {
    client: Client,
    process: Process,
    servers: Servers,
    /// Copies may come after the response.
    late: bool,
    _folder: TempDir,
}

impl Running for Served {
    fn send(&mut self, request: &Request) -> Result<Reply, String> {
        let reply = self.client.send(request);
        match self.process.ended() {
            Some(status) => Err(format!("the process ended with {status}")),
            None => reply,
        }
    }

    fn arrivals(&mut self, expected: usize) -> Vec<Arrival> {
        self.servers.arrivals(expected, self.late)
    }

    fn log(&self) -> String {
        self.process.said()
    }
}
