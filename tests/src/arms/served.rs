//! The two arms with sockets: `shunt proxy`, and Envoy with what `shunt render envoy` wrote. Both serve the same files to
//! the same client and the same servers.

use super::{Arm, Running};
use crate::case::{Case, Request};
use crate::client::Client;
use crate::observed::{Arrival, Reply};
use crate::process::{Process, free_address, is_ok};
use crate::servers::Servers;
use envoy_plan::PathNormalization;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// A free port may be taken until it is used; then there is another try.
const TRIES: usize = 3;

/// How long a reload may take: the command looks at its files every so often.
const RELOAD: Duration = Duration::from_secs(20);

/// `shunt proxy`. A process serves one case after the other, and so reloads at every case but its first.
pub struct Proxy {
    shunt: PathBuf,
    idle: Arc<Idle>,
}

/// Envoy, started for each case.
pub struct Envoy {
    /// The command.
    pub shunt: PathBuf,
    /// The binary.
    pub envoy: PathBuf,
}

/// Processes that wait for their next case.
type Idle = Mutex<Vec<Host>>;

/// A process that serves what is in the folder.
struct Host {
    process: Process,
    listen: SocketAddr,
    folder: TempDir,
    /// Set once, when it starts.
    normalization: PathNormalization,
}

impl Proxy {
    /// The arm; `shunt` is the command.
    pub fn new(shunt: PathBuf) -> Self {
        Self { shunt, idle: Arc::default() }
    }

    fn first(&self, case: &Case, servers: &Servers) -> Result<Host, String> {
        serve(case, servers, |folder, listen, admin| {
            let [listen_text, admin_text] = [listen, admin].map(|address| address.to_string());
            let files = folder.join(FILES);
            let arguments = ["proxy", "-f", &files.to_string_lossy(), "--listen", &listen_text, "--admin", &admin_text];
            let arguments = [&arguments[..], &["--path-normalization", case.normalization.0.name()]].concat();
            let mut process = Process::start(&self.shunt, arguments, folder.join("log"))?;
            process.wait_until(|| TcpStream::connect(listen).is_ok() && is_ok(admin, "/ready"))?;
            Ok(process)
        })
    }
}

/// Puts the files of a case in place of those of the last one, all at once, and waits until they are served.
fn reload(mut host: Host, case: &Case, servers: &Servers) -> Result<Host, String> {
    let answers = |host: &Host| {
        let said = host.process.said();
        (said.matches("reloaded\n").count(), said.matches("what ran before goes on").count())
    };
    let before = answers(&host);
    write_files(host.folder.path(), case, servers)?;
    let begun = Instant::now();
    loop {
        let now = answers(&host);
        if now.0 > before.0 {
            return Ok(host);
        }
        if now.1 > before.1 || begun.elapsed() > RELOAD || host.process.ended().is_some() {
            return Err(format!("not reloaded\n{}", host.process.said()));
        }
        std::thread::sleep(Duration::from_millis(10));
    }
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
        let servers = Servers::start(case);
        let idle = {
            let mut idle = self.idle.lock().expect("no panic while it is held");
            let fit = idle.iter().position(|host| host.normalization == case.normalization.0);
            fit.map(|place| idle.swap_remove(place))
        };
        let host = match idle {
            Some(host) => reload(host, case, &servers)?,
            None => self.first(case, &servers)?,
        };
        Ok(Box::new(Served::new(case, host, servers, Some(Arc::clone(&self.idle)))))
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
        let servers = Servers::start(case);
        let host = serve(case, &servers, |folder, listen, admin| {
            let bootstrap = folder.join("bootstrap.json");
            render(&self.shunt, &folder.join(FILES), listen, admin, case.normalization.0, &bootstrap)?;
            start_envoy(&self.envoy, &bootstrap, admin)
        })?;
        Ok(Box::new(Served::new(case, host, servers, None)))
    }
}

/// Writes a bootstrap with `shunt render envoy`.
///
/// # Errors
///
/// What the command said.
pub fn render(
    shunt: &Path,
    files: &Path,
    listen: SocketAddr,
    admin: SocketAddr,
    normalization: PathNormalization,
    to: &Path,
) -> Result<(), String> {
    let output = Command::new(shunt)
        .args(["render", "envoy", "-f"])
        .arg(files)
        .args(["--path-normalization", normalization.name()])
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

/// Where in its folder a host finds its files: a link, so that all of them change at once.
const FILES: &str = "files";

fn write_files(folder: &Path, case: &Case, servers: &Servers) -> Result<(), String> {
    let write = || -> std::io::Result<()> {
        let files = tempfile::Builder::new().prefix("case-").tempdir_in(folder)?.keep();
        for (name, text) in servers.fleet.manifests(case) {
            std::fs::write(files.join(name), text)?;
        }
        let link = folder.join("next");
        std::os::unix::fs::symlink(files, &link)?;
        std::fs::rename(link, folder.join(FILES))
    };
    write().map_err(|error| error.to_string())
}

/// Writes the files of a case and starts a process on them.
fn serve(
    case: &Case,
    servers: &Servers,
    start: impl Fn(&Path, SocketAddr, SocketAddr) -> Result<Process, String>,
) -> Result<Host, String> {
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    write_files(folder.path(), case, servers)?;
    let mut tries = 0;
    loop {
        tries += 1;
        let (listen, admin) = (free_address(), free_address());
        match start(folder.path(), listen, admin) {
            Ok(process) => return Ok(Host { process, listen, folder, normalization: case.normalization.0 }),
            Err(error) if tries < TRIES && error.contains("in use") => {}
            Err(error) => return Err(error),
        }
    }
}

struct Served {
    client: Client,
    /// There until the end.
    host: Option<Host>,
    servers: Servers,
    /// Copies may come after the response.
    late: bool,
    idle: Option<Arc<Idle>>,
}

impl Served {
    fn new(case: &Case, host: Host, servers: Servers, idle: Option<Arc<Idle>>) -> Self {
        Self { client: Client::new(host.listen), host: Some(host), servers, late: case.mirrors(), idle }
    }
}

impl Running for Served {
    fn send(&mut self, request: &Request) -> Result<Reply, String> {
        let reply = self.client.send(request);
        match self.host.as_mut().and_then(|host| host.process.ended()) {
            Some(status) => Err(format!("the process ended with {status}")),
            None => reply,
        }
    }

    fn arrivals(&mut self, expected: usize) -> Vec<Arrival> {
        self.servers.arrivals(expected, self.late)
    }

    fn log(&self) -> String {
        self.host.as_ref().map(|host| host.process.said()).unwrap_or_default()
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        if let (Some(idle), Some(mut host)) = (&self.idle, self.host.take())
            && host.process.ended().is_none()
            && let Ok(mut idle) = idle.lock()
        {
            idle.push(host);
        }
    }
}
