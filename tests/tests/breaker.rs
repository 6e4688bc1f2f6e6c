//! A version that fails, in the proxy and in real Envoy with two workers each: how long it goes on getting requests, when it comes
//! back, and who can send everything to the stable version.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, reason = "this is a test")]

use shunt_tests::case::Request;
use shunt_tests::client::Client;
use shunt_tests::message::Reader;
use shunt_tests::process::{self, Process, free_address, is_ok, page};
use std::io::Write;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// One version, which answers with this status after so many milliseconds.
#[derive(Clone)]
struct Version {
    address: SocketAddr,
    status: Arc<AtomicUsize>,
    after_ms: Arc<AtomicU64>,
    hits: Arc<AtomicUsize>,
    /// Whether somebody has sent it the header of the switch.
    told: Arc<AtomicUsize>,
}

impl Version {
    fn start(name: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let version = Self {
            address: listener.local_addr().unwrap(),
            status: Arc::new(AtomicUsize::new(200)),
            after_ms: Arc::default(),
            hits: Arc::default(),
            told: Arc::default(),
        };
        let serving = version.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let version = serving.clone();
                thread::spawn(move || version.answer(name, &stream));
            }
        });
        version
    }

    fn answer(&self, name: &str, mut stream: &TcpStream) {
        let mut reader = Reader::new(stream);
        while let Ok(Some(message)) = reader.request() {
            self.hits.fetch_add(1, Ordering::Relaxed);
            let is_told = message.headers.iter().any(|(name, _)| name == "shunt-kill-switch");
            self.told.fetch_add(usize::from(is_told), Ordering::Relaxed);
            let status = self.status.load(Ordering::Relaxed);
            thread::sleep(Duration::from_millis(self.after_ms.load(Ordering::Relaxed)));
            let text = format!("HTTP/1.1 {status} X\r\nx-from: {name}\r\ncontent-length: 0\r\n\r\n");
            if stream.write_all(text.as_bytes()).is_err() {
                return;
            }
        }
    }

    fn is(&self, status: usize) {
        self.status.store(status, Ordering::Relaxed);
    }
}

/// A proxy in front of two versions.
struct World {
    name: &'static str,
    process: Process,
    listen: SocketAddr,
    admin: SocketAddr,
    versions: [Version; 2],
    folder: TempDir,
    /// Envoy's files are written anew for another configuration.
    renders: bool,
}

/// Rules of two versions with these weights, and this in the policy beside them.
fn manifests(versions: &[Version; 2], weights: [u32; 2], policy: &str) -> String {
    let [v1, v2] = versions.each_ref().map(|version| version.address.port());
    let [first, second] = weights;
    format!(
        "apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: app}}
spec:
  hosts: [app.example.com]
  ports: [{{number: 80, name: http, protocol: HTTP}}]
  resolution: STATIC
  endpoints:
  - {{address: 127.0.0.1, ports: {{http: {v1}}}, labels: {{version: v1}}}}
  - {{address: 127.0.0.1, ports: {{http: {v2}}}, labels: {{version: v2}}}}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{name: app}}
spec:
  host: app.example.com
  subsets: [{{name: v1, labels: {{version: v1}}}}, {{name: v2, labels: {{version: v2}}}}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: app}}
spec:
  hosts: [app.example.com]
  http:
  - route:
    - {{destination: {{host: app.example.com, subset: v1}}, weight: {first}}}
    - {{destination: {{host: app.example.com, subset: v2}}, weight: {second}}}
---
apiVersion: shunt.dev/v1alpha1
kind: ShuntPolicy
metadata: {{name: app}}
spec:
  targetRef: {{name: app}}
  stable: {{subset: v1}}
  {policy}
"
    )
}

impl World {
    fn start(name: &'static str, envoy: Option<&Path>, weights: [u32; 2], policy: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let [listen, admin] = [(); 2].map(|()| free_address());
        let versions = ["v1", "v2"].map(Version::start);
        std::fs::create_dir(folder.path().join("rules")).unwrap();
        std::fs::write(folder.path().join("rules/rules.yaml"), manifests(&versions, weights, policy)).unwrap();
        let log = folder.path().join("log");
        let process = match envoy {
            None => {
                let mut command = command("proxy", folder.path(), listen, admin);
                command.args(["--workers", "2"]);
                Process::spawn(command, log).unwrap()
            }
            Some(envoy) => {
                render(folder.path(), listen, admin);
                let bootstrap = folder.path().join("watched/bootstrap.json");
                let arguments = ["--disable-hot-restart", "--concurrency", "2", "--log-level", "warning", "-c"];
                Process::start(envoy, arguments.iter().map(Path::new).chain([&*bootstrap]), log).unwrap()
            }
        };
        let mut world = Self { name, process, listen, admin, versions, folder, renders: envoy.is_some() };
        world.process.wait_until(|| is_ok(admin, "/ready")).unwrap_or_else(|error| panic!("{name}: {error}"));
        // Of a filter that comes by a file Envoy does not wait.
        let begun = Instant::now();
        while Client::new(listen).send(&request(&[])).map_or(0, |reply| reply.status) != 200 {
            assert!(begun.elapsed() < Duration::from_secs(20), "{name}: nothing is served\n{}", world.process.said());
            thread::sleep(Duration::from_millis(50));
        }
        world
    }

    fn all(test: &str, weights: [u32; 2], policy: &str) -> Vec<Self> {
        let mut all = vec![Self::start("shunt proxy", None, weights, policy)];
        match process::envoy() {
            Some(envoy) => all.push(Self::start("Envoy", Some(&envoy), weights, policy)),
            None => process::skipped(test, "no Envoy: name one in ENVOY, or run `make test`"),
        }
        all
    }

    /// Other rules go live.
    fn becomes(&self, weights: [u32; 2], policy: &str) {
        let rules = self.folder.path().join("rules/rules.yaml");
        std::fs::write(rules, manifests(&self.versions, weights, policy)).unwrap();
        if self.renders {
            render(self.folder.path(), self.listen, self.admin);
        }
    }

    /// Clients ask as fast as they are answered, on connections of their own, for so long. Answers by status, and when v2 was
    /// reached last, from the beginning.
    fn load(&self, lasting: Duration) -> Told {
        let begun = Instant::now();
        let v2 = &self.versions[1];
        let ask = || {
            let mut client = Client::new(self.listen);
            let mut told = Told::default();
            while begun.elapsed() < lasting {
                let before = begun.elapsed();
                let reply = client.send(&request(&[])).unwrap_or_else(|error| panic!("{}: {error}", self.name));
                told.all += 1;
                told.failed += usize::from(reply.status >= 500);
                if reply.from() == Some("v2") {
                    told.from_v2 += 1;
                    told.last_from_v2 = Some(before);
                }
                thread::sleep(Duration::from_millis(4));
            }
            told
        };
        let hits = v2.hits.load(Ordering::Relaxed);
        let mut sum = thread::scope(|scope| {
            let clients: Vec<_> = (0..4).map(|_| scope.spawn(ask)).collect();
            clients.into_iter().map(|client| client.join().unwrap()).fold(Told::default(), Told::and)
        });
        sum.met_v2 = v2.hits.load(Ordering::Relaxed) - hits;
        sum
    }

    fn counter(&self, name: &str) -> u64 {
        let at = if self.renders { "/stats" } else { "/stats/prometheus" };
        let text = page(self.admin, at).unwrap_or_default().replace('.', "_");
        let name = name.replace('.', "_");
        let line = text.lines().find(|line| line.contains(&name) && !line.starts_with('#'));
        line.and_then(|line| line.rsplit([' ', ':']).next()?.trim().parse().ok()).unwrap_or_default()
    }
}

/// What clients were told.
#[derive(Clone, Copy, Debug, Default)]
struct Told {
    all: usize,
    failed: usize,
    from_v2: usize,
    met_v2: usize,
    last_from_v2: Option<Duration>,
}

impl Told {
    fn and(self, other: Self) -> Self {
        Self {
            all: self.all + other.all,
            failed: self.failed + other.failed,
            from_v2: self.from_v2 + other.from_v2,
            met_v2: self.met_v2,
            last_from_v2: self.last_from_v2.max(other.last_from_v2),
        }
    }
}

fn request(headers: &[(&str, &str)]) -> Request {
    Request::get("app.example.com", "/", headers)
}

fn command(words: &str, folder: &Path, listen: SocketAddr, admin: SocketAddr) -> Command {
    let mut command = Command::new(process::shunt().unwrap_or_else(|error| panic!("{error}")));
    command.args(words.split(' ')).arg("-f").arg(folder.join("rules"));
    command.arg("--listen").arg(listen.to_string()).arg("--admin").arg(admin.to_string());
    command
}

fn render(folder: &Path, listen: SocketAddr, admin: SocketAddr) {
    let watched: PathBuf = folder.join("watched");
    let mut command = command("render envoy", folder, listen, admin);
    let output = command.arg("--dynamic").arg(watched).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

const BREAKER: &str =
    "breaker: {failurePercent: 50, minRequests: 10, window: 2s, openFor: 2s, probes: 2, returnOver: 1s}";

#[test]
fn a_version_that_fails_is_left_alone_within_a_second_and_comes_back_when_it_is_well() {
    for world in World::all("breaker", [50, 50], BREAKER) {
        let name = world.name;
        // It is left alone when it has failed as often as it had not, and a busy machine may get slower meanwhile.
        assert!(world.load(Duration::from_millis(200)).from_v2 > 2, "{name}: half of them meet v2");
        world.versions[1].is(500);
        let sick = world.load(Duration::from_millis(1_900));
        println!("{name}: while v2 fails {sick:?}");
        assert!(sick.last_from_v2 < Some(Duration::from_secs(1)), "{name}: {sick:?}\n{}", world.process.said());
        // Probes fail, so it stays out for longer: nearly nobody meets it.
        let out = world.load(Duration::from_secs(3));
        assert!(out.met_v2 <= 4 && out.all > 200, "{name}: {out:?}");
        assert!(world.counter("shunt.breaker.open.outbound") > 0, "{name}: it is out");
        world.versions[1].is(200);
        let begun = Instant::now();
        let back = loop {
            let told = world.load(Duration::from_millis(500));
            if told.from_v2 * 10 > told.all * 4 {
                break told;
            }
            assert!(begun.elapsed() < Duration::from_secs(15), "{name}: {told:?}\n{}", world.process.said());
        };
        println!("{name}: back after {:?}, {back:?}", begun.elapsed());
        assert_eq!(back.failed, 0, "{name}: {back:?}");
        assert_eq!(world.counter("shunt.breaker.open.outbound"), 0, "{name}: it is back");
        assert!(world.counter("shunt.breaker.opened") >= 2, "{name}");
        assert!(world.counter("shunt.breaker.moved") >= 100, "{name}");
        let said = world.process.said();
        assert!(said.contains("requests failed: out for 2000 ms"), "{name}: {said}");
    }
}

#[test]
fn with_a_fallback_nobody_notices_and_the_breaker_sees_it_all_the_same() {
    let policy = format!("fallback: {{budget: {{percent: 100}}}}\n  {BREAKER}");
    for world in World::all("breaker with a fallback", [50, 50], &policy) {
        world.versions[1].is(503);
        let told = world.load(Duration::from_secs(2));
        println!("{}: {told:?}", world.name);
        assert_eq!(told.failed, 0, "{}: {told:?}", world.name);
        assert!(told.met_v2 >= 5 && told.met_v2 * 3 < told.all, "{}: {told:?}", world.name);
        assert!(world.counter("shunt.fallback.asked") >= 5, "{}", world.name);
    }
}

#[test]
fn slow_is_a_failure_where_that_is_said() {
    let policy = BREAKER.replace("failurePercent", "slowerThan: 100ms, failurePercent");
    for world in World::all("breaker for slow versions", [50, 50], &policy) {
        world.versions[1].after_ms.store(200, Ordering::Relaxed);
        let told = world.load(Duration::from_millis(1_900));
        println!("{}: {told:?}", world.name);
        assert!(told.last_from_v2 < Some(Duration::from_millis(1_400)), "{}: {told:?}", world.name);
    }
}

#[test]
fn where_both_are_sick_weights_go_on_deciding() {
    // The request that has shown that all is ready is in the window still, so v1 has not failed always: of a few requests that is
    // more than a tenth, and v2 worse.
    let policy = BREAKER.replace("minRequests: 10", "minRequests: 40");
    for world in World::all("breaker with all versions sick", [50, 50], &policy) {
        world.versions.iter().for_each(|version| version.is(500));
        let told = world.load(Duration::from_millis(1_500));
        assert!(told.from_v2 * 4 > told.all, "{}: {told:?}", world.name);
    }
}

#[test]
fn another_configuration_leaves_a_version_out_that_is() {
    let policy = BREAKER.replace("openFor: 2s", "openFor: 30s");
    for world in World::all("breaker and reload", [50, 50], &policy) {
        world.versions[1].is(500);
        world.load(Duration::from_millis(1_500));
        world.becomes([40, 60], &policy);
        thread::sleep(Duration::from_secs(3));
        let told = world.load(Duration::from_millis(500));
        assert_eq!(told.met_v2, 0, "{}: {told:?}\n{}", world.name, world.process.said());
    }
}

/// `printf %s 'the canary is dead' | sha256sum`
const DIGEST: &str = "d27176426b90d2e586ac22ddb2db805db81d318615280d34edd522608c942ca8";

#[test]
fn who_has_the_secret_sends_everything_to_stable_within_a_second() {
    let policy = format!("killSwitch: {{sha256: {DIGEST}}}");
    let gauge = "shunt.kill_switch.on.default.app";
    for world in World::all("kill switch", [0, 100], &policy) {
        let name = world.name;
        let turn = |word: &str| Client::new(world.listen).send(&request(&[("shunt-kill-switch", word)])).unwrap();
        let before = world.load(Duration::from_millis(200));
        assert_eq!(before.from_v2, before.all, "{name}: {before:?}");
        for wrong in ["on hunter2", "on", "on ", "", "ON the canary is dead", "the canary is dead"] {
            assert_eq!(turn(wrong).status, 403, "{name}: {wrong}");
        }
        let reply = turn("on the canary is dead");
        assert_eq!(reply.status, 200, "{name}");
        assert!(String::from_utf8_lossy(&reply.body).contains("default/app: on"), "{name}");
        let told = world.load(Duration::from_millis(1_500));
        println!("{name}: after the switch {told:?}");
        assert!(told.last_from_v2 < Some(Duration::from_secs(1)), "{name}: {told:?}");
        assert!(String::from_utf8_lossy(&turn("status the canary is dead").body).contains(": on"), "{name}");
        // Another configuration does not turn it off.
        world.becomes([10, 90], &policy);
        thread::sleep(Duration::from_secs(3));
        assert_eq!(world.load(Duration::from_millis(300)).from_v2, 0, "{name}");
        assert_eq!(world.counter(gauge), 1, "{name}");
        assert_eq!(turn("off the canary is dead").status, 200, "{name}");
        let begun = Instant::now();
        while world.counter(gauge) > 0 {
            assert!(begun.elapsed() < Duration::from_secs(5), "{name}: off, and the gauge says on");
            thread::sleep(Duration::from_millis(50));
        }
        let told = world.load(Duration::from_millis(300));
        assert!(told.from_v2 * 2 > told.all, "{name}: {told:?}");
        // By the files too, and then nobody turns it off in another way.
        world.becomes([10, 90], &format!("killSwitch: {{on: true, sha256: {DIGEST}}}"));
        let begun = Instant::now();
        while world.load(Duration::from_millis(100)).from_v2 > 0 {
            assert!(begun.elapsed() < Duration::from_secs(10), "{name}");
        }
        let said = turn("off the canary is dead");
        assert!(String::from_utf8_lossy(&said.body).contains("on, by the files"), "{name}");
        assert_eq!(world.load(Duration::from_millis(300)).from_v2, 0, "{name}");
        assert_eq!(world.counter(gauge), 1, "{name}");
        assert_eq!(
            world.versions[0].told.load(Ordering::Relaxed) + world.versions[1].told.load(Ordering::Relaxed),
            0,
            "{name}"
        );
    }
}
