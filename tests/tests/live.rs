//! `shunt render envoy --dynamic` beside a running Envoy: rules change under load, and what is wrong changes nothing.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "this is a test")]

use serde_json::Value;
use shunt_tests::arms::start_envoy_that_drains;
use shunt_tests::case::{self, Case, Request};
use shunt_tests::client::Client;
use shunt_tests::envoy_version::Version;
use shunt_tests::message::Reader;
use shunt_tests::observed::values;
use shunt_tests::process::{self, Process, free_address, page};
use shunt_tests::servers::Servers;
use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// If a listener were replaced, Envoy would cut what takes longer than this.
const DRAIN: u32 = 1;

/// A request to `details` takes longer.
const SLOW: Duration = Duration::from_secs(2);

/// Until a change is live: the machine is shared.
const PATIENCE: Duration = Duration::from_secs(20);

/// An Envoy, the folder that it watches, and the services behind it.
struct World {
    servers: Servers,
    process: Process,
    folder: TempDir,
    listen: SocketAddr,
    admin: SocketAddr,
    shunt: PathBuf,
}

/// A rule for `reviews`, all of it to one version, and one for `details`.
fn rules(version: &str, reviews: &str, details: &str) -> String {
    format!(
        "  reviews: [{{{reviews} route: [{{destination: {{host: reviews, subset: {version}}}}}]}}]\n  details: [{{{details} route: [{{destination: {{host: details}}}}]}}]\n"
    )
}

fn to(version: &str) -> String {
    rules(version, "", "")
}

fn case(rules: &str) -> Case {
    let slow = format!("{{after: {}ms}}", SLOW.as_millis());
    let behaviour = format!("behaviour: {{details-a: {slow}, details-b: {slow}}}");
    case::read("live", &format!("name: live\nabout: rules that change\n{behaviour}\nrules:\n{rules}"))
        .unwrap()
        .remove(0)
}

impl World {
    /// Nothing where there is no Envoy. `spoil` sees the folder before Envoy does.
    fn start(test: &str, rules: &str, spoil: impl Fn(&std::path::Path)) -> Option<Self> {
        let Some(envoy) = process::envoy() else {
            process::skipped(test, "no Envoy: name one in ENVOY, or run `make test`");
            return None;
        };
        let shunt = process::shunt().unwrap_or_else(|error| panic!("{error}"));
        let (servers, folder) = (Servers::start(&case(rules)), tempfile::tempdir().unwrap());
        let (listen, admin) = (free_address(), free_address());
        write(&shunt, &servers, &folder, (listen, admin), rules).unwrap_or_else(|error| panic!("{error}"));
        spoil(&folder.path().join(WATCHED));
        let bootstrap = folder.path().join(WATCHED).join("bootstrap.json");
        let process =
            start_envoy_that_drains(&envoy, &bootstrap, admin, DRAIN).unwrap_or_else(|error| panic!("{error}"));
        Some(Self { servers, process, folder, listen, admin, shunt })
    }

    /// Renders other rules for the running Envoy.
    fn render(&self, rules: &str) -> Result<(), String> {
        write(&self.shunt, &self.servers, &self.folder, (self.listen, self.admin), rules)
    }

    fn at(&self, file: &str) -> PathBuf {
        self.folder.path().join(WATCHED).join(file)
    }

    /// Puts a file in place as Envoy wants it: at once.
    fn put(&self, file: &str, text: &str) {
        let next = self.at("next");
        std::fs::write(&next, text).unwrap();
        std::fs::rename(next, self.at(file)).unwrap();
    }

    /// The sum of the statistics whose names end so.
    fn statistic(&self, ending: &str) -> u64 {
        let page = page(self.admin, "/stats").unwrap_or_default();
        let lines = page.lines().filter_map(|line| line.split_once(": "));
        lines.filter(|(name, _)| name.ends_with(ending)).filter_map(|(_, value)| value.parse::<u64>().ok()).sum()
    }

    fn wait_until(&mut self, what: &str, is_so: impl Fn(&Self) -> bool) {
        let begun = Instant::now();
        while !is_so(self) {
            assert!(self.process.ended().is_none(), "Envoy ended: {}", self.process.said());
            assert!(begun.elapsed() < PATIENCE, "{what}: not within {PATIENCE:?}\n{}", self.process.said());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Who answers over a connection of its own, or the status.
    fn from(&self, host: &str) -> String {
        let reply = Client::new(self.listen).send(&Request::get(host, "/", &[]));
        reply.map_or_else(|error| error, |reply| reply.from().map_or(reply.status.to_string(), str::to_owned))
    }

    /// Sends to `host` over one connection, without a pause, until it is over.
    fn load(&self, host: &str, over: &AtomicBool) -> Vec<(Instant, String)> {
        let (mut client, request) = (Client::new(self.listen), Request::get(host, "/", &[]));
        let mut answers = Vec::new();
        while !over.load(Ordering::Relaxed) {
            let reply = client.send_once(&request).unwrap_or_else(|error| panic!("{host} {}: {error}", answers.len()));
            assert_eq!(reply.status, 200, "{host}, request {}", answers.len());
            assert_eq!(values(&reply.headers, "connection").count(), 0, "the connection is kept");
            answers.push((Instant::now(), reply.from().unwrap_or_default().to_owned()));
        }
        answers
    }
}

/// The folder that Envoy watches.
const WATCHED: &str = "watched";

fn write(
    shunt: &std::path::Path,
    servers: &Servers,
    folder: &TempDir,
    (listen, admin): (SocketAddr, SocketAddr),
    rules: &str,
) -> Result<(), String> {
    let files = folder.path().join("files");
    std::fs::create_dir_all(&files).unwrap();
    for (name, text) in servers.fleet.manifests(&case(rules)) {
        std::fs::write(files.join(name), text).unwrap();
    }
    let output = Command::new(shunt)
        .args(["render", "envoy", "--listen", &listen.to_string(), "--admin", &admin.to_string(), "-f"])
        .arg(files)
        .arg("--dynamic")
        .arg(folder.path().join(WATCHED))
        .output()
        .unwrap();
    match output.status.success() {
        true => Ok(()),
        false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
    }
}

#[test]
fn a_change_of_weights_is_live_on_open_connections_and_loses_nothing() {
    let Some(world) = World::start("a change of weights in a running Envoy", &to("v1"), |_| {}) else { return };
    let over = AtomicBool::new(false);
    let (rendered, fast, slow) = std::thread::scope(|scope| {
        let fast = [(); 2].map(|()| scope.spawn(|| world.load("reviews", &over)));
        let slow = [(); 2].map(|()| scope.spawn(|| world.load("details", &over)));
        std::thread::sleep(Duration::from_millis(500));
        world.render(&to("v2")).unwrap();
        let rendered = Instant::now();
        // Longer than a drain, and than a slow request that has just begun.
        std::thread::sleep(Duration::from_secs(DRAIN.into()) + 2 * SLOW);
        over.store(true, Ordering::Relaxed);
        let [fast, slow] = [fast, slow].map(|clients| clients.map(|client| client.join().expect("no request is lost")));
        (rendered, fast, slow)
    });
    for answers in &fast {
        assert!(answers.len() > 300, "only {} requests", answers.len());
        assert_eq!(answers[0].1, "reviews-v1");
        let changed = answers.iter().position(|(_, from)| from == "reviews-v2").expect("the change goes live");
        assert!(answers[changed..].iter().all(|(_, from)| from == "reviews-v2"), "once changed, it stays so");
        let after = answers[changed].0.saturating_duration_since(rendered);
        println!("{} requests, live {after:?} after the command", answers.len());
        assert!(after < Duration::from_secs(3), "live only {after:?} after the command");
    }
    assert!(slow.iter().all(|answers| answers.len() >= 2), "slow ones too were under way");
    assert_eq!(world.statistic("listener_manager.listener_modified"), 0, "no listener is drained");
}

#[test]
fn profiles_change_under_load_and_what_is_under_way_ends_by_the_old_ones() {
    let Some(mut world) = World::start("a change of profiles in a running Envoy", &to("v1"), |_| {}) else { return };
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let clients = [(); 2].map(|()| scope.spawn(|| world.load("reviews", &over)));
        let under_way = scope.spawn(|| world.from("details"));
        let mut stream = TcpStream::connect(world.listen).unwrap();
        write!(stream, "GET / HTTP/1.1\r\nhost: reviews\r\n").unwrap();
        let reaches_details =
            || world.servers.arrivals(1, false).iter().any(|seen| seen.endpoint.starts_with("details-"));
        let begun = Instant::now();
        while !reaches_details() {
            assert!(begun.elapsed() < PATIENCE, "details got nothing");
            std::thread::sleep(Duration::from_millis(20));
        }
        for attempts in 1..=4 {
            let retries = format!("retries: {{attempts: {attempts}, retryOn: 5xx}},");
            world.render(&rules("v2", &retries, "timeout: 100ms,")).unwrap();
            std::thread::sleep(Duration::from_millis(300));
        }
        write!(stream, "\r\n").unwrap();
        let late = Reader::new(stream).response(false).unwrap();
        assert_eq!(late.start.0, "200", "a head of which the end comes after the change");
        assert!(under_way.join().unwrap().starts_with("details-"), "what had begun without a timeout has none");
        over.store(true, Ordering::Relaxed);
        for client in clients {
            let answers = client.join().expect("no request is lost");
            assert_eq!(answers.last().unwrap().1, "reviews-v2");
        }
    });
    world.wait_until("the last version is live", |world| world.from("details") == "504");
    assert_eq!(world.statistic("update_rejected") + world.statistic("listener_manager.listener_modified"), 0);
}

#[test]
fn what_is_wrong_changes_nothing() {
    let Some(mut world) = World::start("wrong files for a running Envoy", &to("v1"), |_| {}) else { return };
    let (mut kept, request) = (Client::new(world.listen), Request::get("reviews", "/", &[]));
    assert_eq!(kept.send_once(&request).unwrap().from(), Some("reviews-v1"));
    let mut check = |world: &World, what: &str| {
        for _ in 0..20 {
            assert_eq!(kept.send_once(&request).unwrap().from(), Some("reviews-v1"), "{what}");
        }
        assert_eq!(world.from("reviews"), "reviews-v1", "{what}");
    };

    let all = ["bootstrap.json", "clusters.json", "routes.json", "filter.json", "listeners.json"];
    let read = |world: &World| all.map(|file| std::fs::read(world.at(file)).unwrap());
    let before = read(&world);
    let error = world.render(&rules("v2", "timeout: soon,", "")).unwrap_err();
    assert!(error.contains("case.yaml") && error.contains("spec.http[0].timeout"), "{error}");
    assert!(before == read(&world), "wrong rules write nothing");

    let filter = std::fs::read_to_string(world.at("filter.json")).unwrap();
    let mut refused: Value = serde_json::from_str(&filter).unwrap();
    *refused.pointer_mut("/resources/0/typed_config/config/configuration/value").unwrap() = "{\"objects\": 1}".into();
    world.put("filter.json", &refused.to_string());
    world.wait_until("Envoy asks the filter", |world| world.statistic("http_filter.shunt.update_rejected") == 1);
    check(&world, "what the filter refuses");
    assert!(world.process.said().contains("configuration refused; what runs now goes on"), "{}", world.process.said());

    world.put("filter.json", "{");
    world.wait_until("Envoy reads it", |world| world.statistic("http_filter.shunt.update_failure") == 1);
    check(&world, "what Envoy cannot read");

    let routes = std::fs::read_to_string(world.at("routes.json")).unwrap();
    let nobodys = routes.replace("\"domains\":[\"*\"]", "\"domains\":[]");
    assert!(nobodys != routes);
    world.put("routes.json", &nobodys);
    world.wait_until("Envoy reads it", |world| world.statistic("rds.shunt.update_rejected") == 1);
    check(&world, "routes that Envoy refuses");

    world.render(&to("v2")).unwrap();
    world.wait_until("the next good version is live", |world| world.from("reviews") == "reviews-v2");
}

#[test]
fn an_envoy_that_starts_with_a_bad_filter_is_healed_by_the_next_version() {
    let broken = |folder: &std::path::Path| std::fs::write(folder.join("filter.json"), "{").unwrap();
    let what = "Envoy with a broken filter";
    if let Some(envoy) = process::envoy()
        && Version::of(&envoy).unwrap() < Version::HEALS
    {
        let reason = "it ends with a segmentation fault when the filter comes that it had to begin without";
        return process::differs(what, reason);
    }
    let Some(mut world) = World::start(what, &to("v1"), broken) else { return };
    assert_eq!(world.from("reviews"), "500", "nothing is served without the filter");
    world.render(&to("v1")).unwrap();
    world.wait_until("the filter is there", |world| world.from("reviews") == "reviews-v1");

    let missing = |folder: &std::path::Path| std::fs::remove_file(folder.join("filter.json")).unwrap();
    let mut world = World::start("Envoy without its filter", &to("v1"), missing).unwrap();
    assert!(TcpStream::connect(world.listen).is_err(), "Envoy refuses a listener with a file that is not there");
    assert!(world.process.said().contains("does not exist"), "{}", world.process.said());
    world.render(&to("v1")).unwrap();
    world.wait_until("the listener is there", |world| world.from("reviews") == "reviews-v1");
}
