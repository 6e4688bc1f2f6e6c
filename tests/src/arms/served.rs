//! The two arms with sockets: `shunt proxy`, and Envoy with what `shunt render envoy` wrote. Both serve the same files to
//! the same client and the same servers.

use super::{Arm, Running, watched};
use crate::case::{Case, Request};
use crate::client::Client;
use crate::envoy_version::Version;
use crate::fleet::Fleet;
use crate::observed::{Arrival, Reply};
use crate::process::{Process, free_address, is_ok};
use crate::servers::Servers;
use envoy_plan::PathNormalization;
use istio_config::outbound::OutboundMode;
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

/// Envoy, with the filter or with the native twin. A process serves one case after the other.
pub struct Envoy {
    shunt: PathBuf,
    envoy: PathBuf,
    name: &'static str,
    /// More of `shunt render envoy`.
    options: &'static [&'static str],
    version: Version,
    idle: Arc<Idle>,
}

/// Processes that wait for their next case.
type Idle = Mutex<Vec<Host>>;

/// A process that serves what is in the folder.
struct Host {
    process: Process,
    listen: SocketAddr,
    admin: SocketAddr,
    folder: TempDir,
    /// How much it had said when its case began.
    said_before: usize,
    /// Of the proxy, set once, when it starts; Envoy takes another with its listener.
    settings: Settings,
}

/// What no manifest says.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Settings {
    normalization: PathNormalization,
    outbound: Option<OutboundMode>,
    locality: String,
}

impl Settings {
    fn of(case: &Case) -> Self {
        let Case { normalization, outbound, locality, .. } = case;
        Self { normalization: normalization.0, outbound: *outbound, locality: locality.clone() }
    }

    /// As options of the command.
    fn options(&self) -> Vec<&str> {
        let Self { normalization, outbound, locality } = self;
        let mut options = vec!["--path-normalization", normalization.name(), "--locality", locality];
        options.extend(outbound.iter().flat_map(|mode| ["--outbound-traffic-policy", mode.name()]));
        options
    }
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
            let files = files.to_string_lossy();
            // One worker, as Envoy has in these tests: each worker takes turns, keeps connections and queues of its own.
            let arguments = ["proxy", "-f", &files, "--listen", &listen_text, "--admin", &admin_text, "--workers", "1"];
            let settings = Settings::of(case);
            let arguments: Vec<&str> = arguments.into_iter().chain(settings.options()).collect();
            let mut process = Process::start(&self.shunt, arguments, folder.join("log"))?;
            process.wait_until(|| TcpStream::connect(listen).is_ok() && is_ok(admin, "/ready"))?;
            Ok(process)
        })
    }
}

/// Puts the files of a case in place of those of the last one, all at once, and waits until they are served.
fn reload(host: &mut Host, case: &Case, servers: &Servers) -> Result<(), String> {
    let answers = |host: &Host| {
        let said = host.process.said();
        (said.matches("reloaded\n").count(), said.matches("what ran before goes on").count())
    };
    let before = answers(host);
    write_files(host.folder.path(), case, servers)?;
    let begun = Instant::now();
    loop {
        let now = answers(host);
        if now.0 > before.0 {
            return Ok(());
        }
        if now.1 > before.1 || begun.elapsed() > RELOAD || host.process.ended().is_some() {
            return Err(format!("not reloaded\n{}", host.said()));
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

    fn start_on(&self, servers: &Arc<Servers>, case: &Case) -> Result<Box<dyn Running>, String> {
        let settings = Settings::of(case);
        let host = match take(&self.idle, |host| host.settings == settings) {
            Some(mut host) => match reload(&mut host, case, servers) {
                Ok(()) => host,
                Err(error) => {
                    // What was refused has changed nothing.
                    give_back(&self.idle, host);
                    return Err(error);
                }
            },
            None => self.first(case, servers)?,
        };
        Ok(Box::new(Served::new(case, host, Arc::clone(servers), Arc::clone(&self.idle))))
    }
}

impl Envoy {
    /// The arm; `shunt` is the command, `envoy` the binary.
    ///
    /// # Errors
    ///
    /// The binary says no version.
    pub fn new(shunt: PathBuf, envoy: PathBuf) -> Result<Self, String> {
        let version = Version::of(&envoy)?;
        Ok(Self { shunt, envoy, name: "envoy", options: &[], version, idle: Arc::default() })
    }

    /// The same with Envoy's own routes in place of the filter.
    ///
    /// # Errors
    ///
    /// As [`Self::new`].
    pub fn native(shunt: PathBuf, envoy: PathBuf) -> Result<Self, String> {
        Ok(Self { name: "native", options: &["--native"], ..Self::new(shunt, envoy)? })
    }

    /// A process that serves the case: one that is idle, or a new one. What cannot be rendered needs none.
    fn serve(&self, case: &Case, servers: &Servers) -> Result<Host, String> {
        let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
        write_files(folder.path(), case, servers)?;
        let (listen, admin) = (free_address(), free_address());
        let rendered = folder.path().join("bootstrap.json");
        let settings = Settings::of(case);
        let options = [self.options, &settings.options()].concat();
        render(&self.shunt, &folder.path().join(FILES), listen, admin, &options, &rendered)?;
        let version = listen.to_string();
        if let Some(mut host) = take(&self.idle, |_| true) {
            let refused = watched::refused(host.admin);
            watched::put(&rendered, host.folder.path(), &version)?;
            watched::wait(&mut host.process, host.admin, &version, refused)?;
            return Ok(Host { listen, ..host });
        }
        watched::put(&rendered, folder.path(), &version)?;
        let watching = folder.path().join("watching.json");
        watched::write_bootstrap(&rendered, folder.path(), &watching)?;
        let mut process = start_envoy(&self.envoy, &watching, admin)?;
        watched::wait(&mut process, admin, &version, 0)?;
        Ok(Host { process, listen, admin, folder, said_before: 0, settings })
    }
}

impl Arm for Envoy {
    fn name(&self) -> &'static str {
        self.name
    }

    fn envoy(&self) -> Option<Version> {
        Some(self.version)
    }

    fn parallel(&self) -> usize {
        2
    }

    fn slack(&self) -> Duration {
        Duration::from_secs(2)
    }

    fn start_on(&self, servers: &Arc<Servers>, case: &Case) -> Result<Box<dyn Running>, String> {
        let mut tries = 0;
        let host = loop {
            tries += 1;
            match self.serve(case, servers) {
                Err(error) if tries < TRIES && error.contains("in use") => {}
                other => break other?,
            }
        };
        Ok(Box::new(Served::new(case, host, Arc::clone(servers), Arc::clone(&self.idle))))
    }
}

/// Writes a bootstrap with `shunt render envoy` and these options.
///
/// # Errors
///
/// What the command said.
pub fn render(
    shunt: &Path,
    files: &Path,
    listen: SocketAddr,
    admin: SocketAddr,
    options: &[&str],
    to: &Path,
) -> Result<(), String> {
    let output = Command::new(shunt)
        .args(["render", "envoy", "-f"])
        .arg(files)
        .args(options)
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
    start_envoy_that_drains(envoy, bootstrap, admin, 1)
}

/// As [`start_envoy`], with so many seconds until connections to what was replaced are closed.
///
/// # Errors
///
/// As [`start_envoy`].
pub fn start_envoy_that_drains(
    envoy: &Path,
    bootstrap: &Path,
    admin: SocketAddr,
    drain_seconds: u32,
) -> Result<Process, String> {
    let drain = drain_seconds.to_string();
    // Hot restart ties Envoy's life to the thread that started it (`PR_SET_PDEATHSIG`), and another one may use it after that.
    let arguments = ["--disable-hot-restart", "--concurrency", "1", "--drain-time-s", &drain, "--log-level", "warning"];
    // Of fields that Istio uses and Envoy calls deprecated, there is one line for each use.
    let arguments = [&arguments[..], &["--component-log-level", "misc:error", "-c"]].concat();
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
            Ok(process) => {
                return Ok(Host { process, listen, admin, folder, said_before: 0, settings: Settings::of(case) });
            }
            Err(error) if tries < TRIES && error.contains("in use") => {}
            Err(error) => return Err(error),
        }
    }
}

/// A process for the next case.
fn take(idle: &Idle, fits: impl Fn(&Host) -> bool) -> Option<Host> {
    let mut host = {
        let mut idle = idle.lock().expect("no panic while it is held");
        let place = idle.iter().position(fits)?;
        idle.swap_remove(place)
    };
    host.said_before = host.process.said().len();
    Some(host)
}

/// Keeps a process for another case, while it lasts.
fn give_back(idle: &Idle, mut host: Host) {
    if host.process.ended().is_none()
        && let Ok(mut idle) = idle.lock()
    {
        idle.push(host);
    }
}

impl Host {
    /// What it has said since its case began.
    fn said(&self) -> String {
        self.process.said().get(self.said_before..).unwrap_or_default().to_owned()
    }
}

struct Served {
    client: Client,
    /// There until the end.
    host: Option<Host>,
    servers: Arc<Servers>,
    /// Copies may come after the response.
    late: bool,
    idle: Arc<Idle>,
}

impl Served {
    fn new(case: &Case, host: Host, servers: Arc<Servers>, idle: Arc<Idle>) -> Self {
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

    fn fleet(&self) -> &Fleet {
        &self.servers.fleet
    }

    fn arrivals(&mut self, expected: usize) -> Vec<Arrival> {
        self.servers.arrivals(expected, self.late)
    }

    fn address(&self) -> Option<SocketAddr> {
        self.host.as_ref().map(|host| host.listen)
    }

    fn log(&self) -> String {
        self.host.as_ref().map(Host::said).unwrap_or_default()
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        if let Some(host) = self.host.take() {
            give_back(&self.idle, host);
        }
    }
}
