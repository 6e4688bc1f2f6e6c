//! An application that hands on its request id and nothing else, between the two sides of a proxy: `shunt proxy` and real
//! Envoy, with two workers each. What services get of the request that the application got, and what nobody gets.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "this is a test")]

use serde_json::Value;
use shunt_tests::case::Request;
use shunt_tests::client::Client;
use shunt_tests::forgetful::{application, seen, serve};
use shunt_tests::process::{self, Process, free_address, is_ok, page};
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::sync::Barrier;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// The services that the application calls; `cart` alone may get what is kept.
const CALLED: &[&str] = &["cart", "other"];

/// A proxy with its application and the services behind it.
struct World {
    name: &'static str,
    process: Process,
    inbound: SocketAddr,
    outbound: SocketAddr,
    admin: SocketAddr,
    app: SocketAddr,
    services: Vec<(&'static str, SocketAddr)>,
    folder: TempDir,
}

fn manifests(services: &[(&str, SocketAddr)], policy: &str) -> String {
    let service = |(name, address): &(&str, SocketAddr)| {
        let port = address.port();
        format!(
            "apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: {name}}}
spec:
  hosts: [{name}.default.svc.cluster.local]
  ports: [{{number: 80, name: http, protocol: HTTP}}]
  resolution: STATIC
  endpoints: [{{address: 127.0.0.1, ports: {{http: {port}}}}}]
---
"
        )
    };
    let services: String = services.iter().map(service).collect();
    format!(
        "{services}apiVersion: shunt.dev/v1alpha1
kind: ShuntPolicy
metadata: {{name: context}}
spec:
  propagate:
    to: [cart]
    headers: [x-b3-traceid, x-b3-spanid, baggage, x-user]
{policy}"
    )
}

impl World {
    fn start(name: &'static str, policy: &str, run: impl FnOnce(&Path, [SocketAddr; 4]) -> Process) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let [inbound, outbound, admin] = [(); 3].map(|()| free_address());
        let app = application(outbound, CALLED);
        let services: Vec<_> = CALLED.iter().map(|name| (*name, serve(seen))).collect();
        let rules = folder.path().join("rules");
        std::fs::create_dir(&rules).unwrap();
        std::fs::write(rules.join("rules.yaml"), manifests(&services, policy)).unwrap();
        let mut process = run(folder.path(), [inbound, outbound, admin, app]);
        process.wait_until(|| is_ok(admin, "/ready")).unwrap_or_else(|error| panic!("{name}: {error}"));
        Self { name, process, inbound, outbound, admin, app, services, folder }
    }

    fn proxy(policy: &str) -> Self {
        Self::start("shunt proxy", policy, |folder, [inbound, outbound, admin, app]| {
            let mut command = command("proxy", folder, [inbound, outbound, admin, app]);
            command.args(["--workers", "2"]);
            Process::spawn(command, folder.join("log")).unwrap()
        })
    }

    fn envoy(envoy: &Path, policy: &str, dynamic: bool) -> Self {
        let name = if dynamic { "Envoy, by files" } else { "Envoy" };
        Self::start(name, policy, |folder, addresses| {
            let mut command = command("render envoy", folder, addresses);
            let bootstrap = match dynamic {
                true => {
                    command.arg("--dynamic").arg(folder.join("watched"));
                    folder.join("watched/bootstrap.json")
                }
                false => {
                    command.arg("-o").arg(folder.join("envoy.json"));
                    folder.join("envoy.json")
                }
            };
            let output = command.output().unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            let arguments = ["--disable-hot-restart", "--concurrency", "2", "--log-level", "warning", "-c"];
            let arguments = arguments.iter().map(Path::new).chain([&*bootstrap]);
            Process::start(envoy, arguments, folder.join("log")).unwrap()
        })
    }

    /// Another policy goes live; Envoy has to be one by files.
    fn becomes(&mut self, policy: &str, said: &str) {
        std::fs::write(self.folder.path().join("rules/rules.yaml"), manifests(&self.services, policy)).unwrap();
        if self.name != "shunt proxy" {
            let folder = self.folder.path();
            let mut command = command("render envoy", folder, [self.inbound, self.outbound, self.admin, self.app]);
            let output = command.arg("--dynamic").arg(folder.join("watched")).output().unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        }
        let begun = Instant::now();
        while !self.process.said().contains(said) {
            assert!(begun.elapsed() < Duration::from_secs(20), "{}: {}", self.name, self.process.said());
            std::thread::sleep(Duration::from_millis(50));
        }
        // Until all workers and both sides have it.
        std::thread::sleep(Duration::from_secs(1));
    }

    /// Every host there is.
    fn all(test: &str, policy: &str) -> Vec<Self> {
        let mut all = vec![Self::proxy(policy)];
        match process::envoy() {
            Some(envoy) => all.extend([false, true].map(|dynamic| Self::envoy(&envoy, policy, dynamic))),
            None => process::skipped(test, "no Envoy: name one in ENVOY, or run `make test`"),
        }
        all
    }

    /// What all have seen of a request that comes in.
    fn ask(&self, headers: &[(&str, &str)]) -> Value {
        self.try_ask(headers).unwrap_or_else(|error| panic!("{}: {error}\n{}", self.name, self.process.said()))
    }

    fn try_ask(&self, headers: &[(&str, &str)]) -> Result<Value, String> {
        let reply = Client::new(self.inbound).send(&Request::get("app", "/", headers))?;
        let body = String::from_utf8_lossy(&reply.body).into_owned();
        match reply.status {
            200 => serde_json::from_str(&body).map_err(|error| format!("{error}: {body}")),
            status => Err(format!("{status}: {body}")),
        }
    }

    /// A counter, once it is so large; workers and Envoy's main thread are behind by some.
    fn counter(&self, name: &str, at_least: u64) -> u64 {
        let (path, line) = match self.name {
            "shunt proxy" => ("/stats/prometheus", format!("shunt_propagate_{name} ")),
            _ => ("/stats", format!("wasmcustom.shunt.propagate.{name}: ")),
        };
        let begun = Instant::now();
        loop {
            let text = page(self.admin, path).unwrap_or_default();
            let value = text.lines().find_map(|own| own.strip_prefix(&line)).map(|value| value.parse::<u64>().unwrap());
            let value = value.unwrap_or_else(|| panic!("{}: no {line} in\n{text}", self.name));
            if value >= at_least || begun.elapsed() > Duration::from_secs(5) {
                return value;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

/// The command with its addresses.
fn command(words: &str, folder: &Path, addresses: [SocketAddr; 4]) -> Command {
    let mut command = Command::new(process::shunt().unwrap_or_else(|error| panic!("{error}")));
    command.args(words.split(' ')).arg("-f").arg(folder.join("rules"));
    for (option, address) in ["--inbound", "--listen", "--admin", "--app"].into_iter().zip(addresses) {
        command.args([option, &address.to_string()]);
    }
    command
}

/// The values of one header that somebody got.
fn values(told: &Value, who: &str, name: &str) -> Vec<String> {
    let pairs = told[who].as_array().unwrap_or_else(|| panic!("{who} is not in {told}"));
    let named = pairs.iter().filter(|pair| pair[0] == name);
    named.map(|pair| pair[1].as_str().unwrap().to_owned()).collect()
}

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

#[test]
fn an_application_that_hands_on_the_id_alone_keeps_the_chain() {
    const CLIENTS: u64 = 4;
    const REQUESTS: u64 = 50;
    for world in World::all("context through an application", "") {
        std::thread::scope(|scope| {
            for client in 0..CLIENTS {
                let world = &world;
                scope.spawn(move || {
                    for number in 0..REQUESTS {
                        let (id, user) = (format!("id-{client}-{number}"), format!("user-{client}-{number}"));
                        let own =
                            [("x-request-id", &*id), ("x-user", &user), ("x-b3-traceid", TRACE), ("baggage", "a=1")];
                        let told = world.ask(&own);
                        for (name, value) in own {
                            assert_eq!(values(&told, "app", name), [value], "{}", world.name);
                            assert_eq!(values(&told, "cart", name), [value], "{}: {told}", world.name);
                        }
                        assert_eq!(values(&told, "other", "x-request-id"), [&*id], "{}", world.name);
                        for name in ["x-user", "x-b3-traceid", "baggage"] {
                            assert!(values(&told, "other", name).is_empty(), "{}: {told}", world.name);
                        }
                    }
                });
            }
        });
        let all = CLIENTS * REQUESTS;
        assert_eq!(world.counter("kept", all), all, "{}", world.name);
        assert_eq!(world.counter("restored", all), all, "{}", world.name);
        for nothing in ["missing", "without_id", "too_large", "conflicts"] {
            assert_eq!(world.counter(nothing, 0), 0, "{}: {nothing}", world.name);
        }
    }
}

#[test]
fn an_id_that_the_proxy_makes_is_the_same_for_all() {
    for world in World::all("context under a made id", "") {
        let told = world.ask(&[("x-user", "anna"), ("x-own-baggage", "mine=1"), ("baggage", "a=1")]);
        let id = values(&told, "app", "x-request-id");
        assert_eq!(id.len(), 1, "{}: {told}", world.name);
        assert_eq!(values(&told, "cart", "x-request-id"), id, "{}", world.name);
        assert_eq!(values(&told, "cart", "x-user"), ["anna"], "{}", world.name);
        assert_eq!(values(&told, "cart", "baggage"), ["mine=1"], "{}: what the application says stays", world.name);
        // A request that belongs to none.
        let reply = Client::new(world.outbound).send(&Request::get("cart", "/", &[])).unwrap();
        assert!(!String::from_utf8_lossy(&reply.body).contains("anna"), "{}", world.name);
        assert_eq!(world.counter("missing", 1), 1, "{}", world.name);
    }
}

/// Whether what `user` sends meets himself at the services, or nobody: how often it is nobody.
fn meets_nobody_else(world: &World, id: &str, user: &str) -> Result<u64, String> {
    let told = world.try_ask(&[("x-request-id", id), ("x-user", user), ("baggage", user)])?;
    let mut alone = 0;
    for name in ["x-user", "baggage"] {
        let got = values(&told, "cart", name);
        if got.iter().any(|value| value != user) {
            return Err(format!("{user} got {got:?}"));
        }
        if !values(&told, "other", name).is_empty() {
            return Err(format!("{name} of {user} went to a host outside: {told}"));
        }
        alone += u64::from(got.is_empty());
    }
    Ok(alone)
}

/// Two users who say they have one id, at the same time, over and over, in a store with a single slot: each meets
/// himself or nobody.
#[test]
fn nothing_crosses_from_one_user_to_another() {
    const ROUNDS: u64 = 100;
    for policy in ["", "    capacity: 1\n"] {
        for world in World::all("users with one id", policy) {
            let together = Barrier::new(3);
            let clients = ["anna", "bert", "cleo"];
            let alone: Result<Vec<u64>, String> = std::thread::scope(|scope| {
                let clients = clients.map(|user| {
                    let (world, together) = (&world, &together);
                    scope.spawn(move || {
                        let mut alone = Ok(0);
                        for round in 0..ROUNDS {
                            // Two have one id; with one slot the third is in their way.
                            let id = if user == "cleo" { format!("cleo-{round}") } else { format!("both-{round}") };
                            // Whoever fails goes on waiting for the others, so that they come to their end.
                            together.wait();
                            if let Ok(sum) = alone {
                                alone = meets_nobody_else(world, &id, user).map(|more| sum + more);
                            }
                        }
                        alone
                    })
                });
                clients.into_iter().map(|client| client.join().unwrap()).collect()
            });
            let others: u64 = alone.unwrap_or_else(|error| panic!("{}: {error}", world.name)).iter().sum();
            // The second of the two always meets the first one's.
            assert!(others >= ROUNDS, "{}: nothing was ever dropped, so nothing was tried", world.name);
            assert!(world.counter("conflicts", 1) + world.counter("evicted", 0) >= 1, "{}", world.name);
        }
    }
}

/// A store of another size would have other slots: two users with one id would not meet, and one's late call get what is the other's.
#[test]
fn a_store_keeps_its_size_while_the_proxy_runs() {
    let mut worlds = vec![World::proxy("")];
    match process::envoy() {
        Some(envoy) => worlds.push(World::envoy(&envoy, "", true)),
        None => {
            process::skipped("context in a store of another size", "no Envoy: name one in ENVOY, or run `make test`")
        }
    }
    for mut world in worlds {
        let ask = |world: &World, user| world.ask(&[("x-request-id", "both"), ("x-user", user)]);
        assert_eq!(values(&ask(&world, "anna"), "cart", "x-user"), ["anna"], "{}", world.name);
        world.becomes("    capacity: 100\n", "the store of contexts has 8192 slots until the proxy restarts, not 100");
        assert_eq!(values(&ask(&world, "bert"), "cart", "x-user"), [""; 0], "{}", world.name);
        let late = Client::new(world.outbound).send(&Request::get("cart", "/", &[("x-request-id", "both")])).unwrap();
        let late = String::from_utf8_lossy(&late.body).into_owned();
        assert!(!late.contains("bert") && !late.contains("anna"), "{}: {late}", world.name);
        // Who is alone still meets himself.
        let told = world.ask(&[("x-request-id", "own"), ("x-user", "cleo")]);
        assert_eq!(values(&told, "cart", "x-user"), ["cleo"], "{}", world.name);
    }
}

#[test]
fn strange_ids_and_forged_headers_harm_nobody() {
    let long = "x".repeat(300);
    let large = "y".repeat(9000);
    for world in World::all("strange ids", "    capacity: 4\n") {
        for id in ["\\xff\\xfe\\x80", "shunt.context.1", "a b", "00000000-0000-0000-0000-000000000000"] {
            let told = world.ask(&[("x-request-id", id), ("x-user", id)]);
            assert_eq!(values(&told, "app", "x-request-id").len(), 1, "{}", world.name);
            assert_eq!(values(&told, "cart", "x-user"), [id], "{}: {id}", world.name);
        }
        let told = world.ask(&[("x-request-id", &long), ("x-user", "long")]);
        assert!(values(&told, "cart", "x-user").is_empty(), "{}", world.name);
        let told = world.ask(&[("x-request-id", "large"), ("baggage", &large)]);
        assert!(values(&told, "cart", "baggage").is_empty(), "{}", world.name);
        assert_eq!(world.counter("too_large", 1), 1, "{}", world.name);
        let forged = [
            ("x-shunt-cluster", "outbound|80||other.default.svc.cluster.local"),
            ("x-shunt-profile", "p1"),
            ("x-envoy-fault-abort-request", "418"),
            ("x-request-id", "forged"),
            ("x-user", "anna"),
        ];
        let told = world.ask(&forged);
        for who in ["app", "cart", "other"] {
            let text = told[who].to_string();
            assert!(!text.contains("x-shunt-") && !text.contains("x-envoy-fault-"), "{}: {who} got {text}", world.name);
        }
        assert_eq!(values(&told, "cart", "x-user"), ["anna"], "{}", world.name);
        // Many, in four slots.
        for number in 0..100 {
            let id = format!("id-{number}");
            assert_eq!(
                values(&world.ask(&[("x-request-id", &id), ("x-user", &id)]), "cart", "x-user"),
                [&*id],
                "{}",
                world.name
            );
        }
        assert!(world.counter("evicted", 90) >= 90, "{}", world.name);
    }
}

#[test]
fn the_inbound_side_is_whole_or_not_there() {
    let shunt = process::shunt().unwrap_or_else(|error| panic!("{error}"));
    for words in ["--inbound 127.0.0.1:1", "--app 127.0.0.1:1"] {
        for command in ["proxy", "render envoy --admin 127.0.0.1:2"] {
            let mut run = Command::new(&shunt);
            run.args(command.split(' ')).args(words.split(' ')).args(["--listen", "127.0.0.1:3", "-f", "."]);
            assert_eq!(run.output().unwrap().status.code(), Some(2), "{command} {words}");
        }
    }
    for addresses in
        ["127.0.0.1:3 127.0.0.1:9", "127.0.0.1:9 127.0.0.1:3", "127.0.0.1:9 127.0.0.1:9", "127.0.0.1:9 127.0.0.1:0"]
    {
        let (inbound, app) = addresses.split_once(' ').unwrap();
        let mut run = Command::new(&shunt);
        run.args(["proxy", "--inbound", inbound, "--app", app, "--listen", "127.0.0.1:3", "-f", "."]);
        assert_eq!(run.output().unwrap().status.code(), Some(2), "{addresses}");
    }
}
