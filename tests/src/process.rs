//! Programs that a test starts. They are ended by their own handle, also when the test panics; what they say is kept.

use std::ffi::OsStr;
use std::fs::File;
use std::io::Write;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// How long a program may take until it serves: other work shares the machine.
const PATIENCE: Duration = Duration::from_secs(40);

/// A program that runs.
pub struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts a program; its stderr goes into `log`.
    ///
    /// # Errors
    ///
    /// It cannot be started.
    pub fn start<S: AsRef<OsStr>>(
        program: &Path,
        arguments: impl IntoIterator<Item = S>,
        log: PathBuf,
    ) -> Result<Self, String> {
        let mut command = Command::new(program);
        command.args(arguments);
        Self::spawn(command, log)
    }

    /// Runs a command; its stderr goes into `log`.
    ///
    /// # Errors
    ///
    /// It cannot be started.
    pub fn spawn(mut command: Command, log: PathBuf) -> Result<Self, String> {
        let file = File::create(&log).map_err(|error| format!("{}: {error}", log.display()))?;
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(file)
            .spawn()
            .map_err(|error| format!("{}: {error}", command.get_program().display()))?;
        Ok(Self { child, log })
    }

    /// Waits until `is_ready`.
    ///
    /// # Errors
    ///
    /// The program ended, or took too long; with what it said.
    pub fn wait_until(&mut self, is_ready: impl Fn() -> bool) -> Result<(), String> {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.ended() {
                return Err(format!("ended with {status}\n{}", self.said()));
            }
            if is_ready() {
                return Ok(());
            }
            if begun.elapsed() > PATIENCE {
                return Err(format!("not ready after {PATIENCE:?}\n{}", self.said()));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// The exit status, once it has ended.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// What it has said on stderr.
    pub fn said(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap_or_default()).into_owned()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Ports that no kernel gives to a program that asks for any (Linux begins at 32768, others later), and that no program here
/// has by default.
const PORTS: Range<u16> = 20_000..32_000;

/// An address on loopback that is free, and that nobody else in this process is given.
///
/// Both matter: a program takes a while until it listens, and an Envoy that listens shares its port with every other Envoy
/// that does (`enable_reuse_port`), which then serve each other's requests.
pub fn free_address() -> SocketAddr {
    static GIVEN: AtomicUsize = AtomicUsize::new(0);
    // Test programs that run side by side begin at different ports.
    let begin = std::process::id() as usize * 61;
    let next = || GIVEN.fetch_add(1, Ordering::Relaxed);
    let port = std::iter::repeat_with(next)
        .take(PORTS.len())
        .map(|given| PORTS.start + u16::try_from((begin + given) % PORTS.len()).expect("within the ports"))
        .find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok())
        .expect("a free port");
    SocketAddr::from(([127, 0, 0, 1], port))
}

/// Whether a page answers 200.
pub fn is_ok(at: SocketAddr, path: &str) -> bool {
    page(at, path).is_some()
}

/// A page that answers 200.
pub fn page(at: SocketAddr, path: &str) -> Option<String> {
    let ask = || -> std::io::Result<_> {
        let mut stream = TcpStream::connect(at)?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        write!(stream, "GET {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n")?;
        crate::message::Reader::new(stream).response(false)
    };
    let response = ask().ok().filter(|response| response.start.0 == "200")?;
    Some(String::from_utf8_lossy(&response.body).into_owned())
}

/// The command: `$SHUNT`, else the release build of this workspace.
///
/// # Errors
///
/// It is not there, and how to get it.
pub fn shunt() -> Result<PathBuf, String> {
    let built = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/release/shunt");
    let path = std::env::var_os("SHUNT").map_or(built, PathBuf::from);
    if path.is_file() {
        return Ok(path);
    }
    Err(format!("no command at {}: run `make command`, or name it in SHUNT", path.display()))
}

/// Real Envoy, by `$ENVOY`.
pub fn envoy() -> Option<PathBuf> {
    std::env::var_os("ENVOY").map(PathBuf::from)
}

/// The compiled filter: `$SHUNT_MODULE`, else the release build of this workspace.
pub fn module() -> PathBuf {
    let built = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/wasm32-unknown-unknown/wasm/traffic_filter.wasm");
    std::env::var_os("SHUNT_MODULE").map_or(built, PathBuf::from)
}

/// Says that something was not tested, here and in the file that `make test` reports.
pub fn skipped(what: &str, reason: &str) {
    report("skipped", "SHUNT_SKIPS", what, reason);
}

/// Says that something is different here for a known reason, here and in the file that `make test-envoy-matrix` reports.
pub fn differs(what: &str, reason: &str) {
    report("differs", "SHUNT_DIFFERENCES", what, reason);
}

fn report(how: &str, variable: &str, what: &str, reason: &str) {
    let line = format!("{what}: {reason}");
    println!("{how}: {line}");
    if let Some(path) = std::env::var_os(variable) {
        let file = File::options().append(true).create(true).open(path);
        let written = file.and_then(|mut file| writeln!(file, "{line}"));
        written.unwrap_or_else(|error| panic!("{variable} cannot be written: {error}"));
    }
}
