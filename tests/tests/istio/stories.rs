//! The stories of `examples/` from their own files, step by step: services and DestinationRules in istiod, the rules in the
//! filter, `examples/upstreams.py` behind them.

use crate::world::programs;
use serde_json::{Value, json};
use shunt_tests::case::Request;
use shunt_tests::chance;
use shunt_tests::client::Client;
use shunt_tests::istio::mesh::Mesh;
use shunt_tests::istio::objects::{self, APP};
use shunt_tests::istio::render::{self, For};
use shunt_tests::istio::workload::{Role, Workload, free_ip};
use shunt_tests::istio::{Programs, objects::sidecar};
use shunt_tests::observed::Reply;
use shunt_tests::process::Process;
use std::collections::BTreeSet;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// So many clients ask at the same time.
const CLIENTS: usize = 40;

/// The port that hosts without a service have, on which a test sees which version is served.
const MARKER: u16 = 80;

/// A Sidecar listens on no port that no service has.
const SOMETHING: &str = "{apiVersion: networking.istio.io/v1, kind: ServiceEntry, metadata: {name: something},
    spec: {hosts: [something.test], ports: [{number: 80, name: http, protocol: HTTP}], resolution: STATIC}}";

/// A story, and whose proxy plays it.
struct Story {
    programs: Programs,
    folder: PathBuf,
    mesh: Mesh,
    proxy: Workload,
    role: Role,
    /// The workload; for a gateway the name of the Gateway too.
    app: &'static str,
    port: u16,
    services: Process,
    /// How much of their log was read.
    read: usize,
}

impl Story {
    /// `faster`: by how much the pauses of the services are shorter than the story says.
    fn start(name: &str, role: Role, app: &'static str, port: u16, faster: u32) -> Self {
        let programs = programs();
        // Nobody hands out certificates here, and services of the mesh would wait for them.
        let settings = json!({ "enableAutoMtls": false });
        let mesh = Mesh::start(&programs, &settings).unwrap_or_else(|error| panic!("{error}"));
        let proxy = Workload::start(&programs, &mesh, role, app, free_ip()).unwrap_or_else(|error| panic!("{error}"));
        let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples");
        let mut python = Command::new("sh");
        // Its log is on standard output.
        python.args(["-c", "exec python3 \"$@\" >&2", "sh"]).arg(examples.join("upstreams.py"));
        python.args([name, "--seconds", "300", "--faster", &faster.to_string(), "--mesh"]);
        python.arg(proxy.at(port).to_string());
        let services = Process::spawn(python, mesh.folder().join("services.log")).unwrap();
        Self { programs, folder: examples.join(name), mesh, proxy, role, app, port, services, read: 0 }
    }

    /// Serves these files of the story.
    fn play(&mut self, files: &[&str]) {
        let mut all = Vec::new();
        for file in files {
            all.extend(objects::read(&std::fs::read_to_string(self.folder.join(file)).unwrap()).unwrap());
        }
        // Where the proxies of this mesh are, and which: all that is not the story's own.
        for object in all.iter_mut().filter(|object| object["kind"] == "Gateway") {
            object["spec"]["selector"] = json!({ APP: self.app });
            object["spec"]["servers"][0]["bind"] = json!(self.proxy.address);
        }
        // A rule for every host would take the requests too by which a test sees which version is served.
        for object in all.iter_mut().filter(|object| object["spec"]["hosts"] == json!(["*"])) {
            object["spec"]["hosts"] = json!([format!("{}.example.com", self.app)]);
        }
        let text: String = all.iter().map(|object| format!("---\n{object}\n")).collect();
        let (whom, gateways) = match self.role {
            Role::Sidecar => (For::Sidecar(self.app), &[][..]),
            Role::Gateway => (For::Gateway(self.app), &[self.app][..]),
        };
        let manifests = render::envoy_filter(&self.programs, &[("story.yaml", text)], whom);
        let manifests = manifests.unwrap_or_else(|error| panic!("{error}"));
        if self.role == Role::Sidecar {
            // The filter's rules are the only ones. A gateway needs Istio's too: it answers for no other host.
            all.retain(|object| object["kind"] != "VirtualService");
            let ports = BTreeSet::from([self.port, MARKER]);
            all.push(sidecar(self.app, self.proxy.address, &Vec::from_iter(ports), None));
            all.extend(objects::read(SOMETHING).unwrap());
        }
        let endpoints: Vec<SocketAddr> = all.iter().flat_map(endpoints).collect();
        self.services.wait_until(|| endpoints.iter().all(|at| TcpStream::connect(at).is_ok())).unwrap();
        all.extend(manifests);
        let version = self.mesh.apply(&all, gateways).unwrap_or_else(|error| panic!("{error}"));
        let served = self.proxy.wait_for(version, MARKER);
        let served = served.and_then(|()| self.proxy.wait_for_endpoints(endpoints.into_iter()));
        served.unwrap_or_else(|error| panic!("{error}\n{}", self.mesh.said()));
        // The rules of another port, and the filter's, are resources of their own, which come at about the same moment.
        std::thread::sleep(Duration::from_millis(500));
        assert!(self.proxy.statistic("wasm.envoy.wasm.runtime.v8.active") > 0, "the filter runs");
        self.log();
    }

    /// So many requests, several at the same time.
    fn ask(&self, host: &str, target: &str, headers: &[(&str, &str)], times: usize) -> Vec<Reply> {
        let request = Request::get(host, target, headers);
        let (at, request, clients) = (self.proxy.at(self.port), &request, CLIENTS.min(times));
        let client = |number| {
            let mut client = Client::new(at);
            let mine = (number..times).step_by(clients);
            mine.map(|_| client.send(request).unwrap_or_else(|error| panic!("{error}"))).collect::<Vec<_>>()
        };
        std::thread::scope(|scope| {
            let clients: Vec<_> = (0..clients).map(|number| scope.spawn(move || client(number))).collect();
            clients.into_iter().flat_map(|client| client.join().unwrap()).collect()
        })
    }

    /// What the services have logged since last asked; copies may still be under way.
    fn log(&mut self) -> Vec<String> {
        std::thread::sleep(Duration::from_millis(300));
        let lines: Vec<String> = self.services.said().lines().map(str::to_owned).collect();
        let new = lines[self.read..].to_vec();
        self.read = lines.len();
        new
    }
}

/// Where a ServiceEntry's endpoints are.
fn endpoints(object: &Value) -> Vec<SocketAddr> {
    let endpoints = object["spec"]["endpoints"].as_array().into_iter().flatten();
    let address = |endpoint: &Value| {
        let (address, port) = (endpoint["address"].as_str()?, endpoint["ports"]["http"].as_u64()?);
        format!("{address}:{port}").parse().ok()
    };
    endpoints.filter_map(address).collect()
}

fn share(replies: &[Reply], is: impl Fn(&Reply) -> bool) -> f64 {
    replies.iter().filter(|reply| is(reply)).count() as f64 / replies.len() as f64
}

fn ok(reply: &Reply) -> bool {
    reply.status == 200
}

fn slowest(replies: &[Reply]) -> f64 {
    replies.iter().map(|reply| reply.took.as_secs_f64()).fold(0.0, f64::max)
}

fn count(log: &[String], service: &str) -> u64 {
    log.iter().filter(|line| line.starts_with(service)).count() as u64
}

/// Whether two services got so much each.
fn check_split(log: &[String], services: [&str; 2], shares: [f64; 2]) {
    let counts = services.map(|service| count(log, service));
    assert_eq!(chance::misfit(&counts, &shares), None, "{counts:?}");
}

#[test]
#[ignore = "needs istiod: `make test-istio`"]
fn sentiment() {
    // Where v2 takes 30 s it takes 5 s, which is still longer than a try may take.
    let mut story = Story::start("sentiment", Role::Sidecar, "sa-web-app", 80, 6);
    let ask = |story: &Story| story.ask("sa-logic", "/analyse/sentiment", &[], 200);

    story.play(&["services.yaml", "shadowing/sa-logic.yaml"]);
    let replies = ask(&story);
    assert!(replies.iter().all(ok) && slowest(&replies) < 5.0, "no user sees anything of v2");
    std::thread::sleep(Duration::from_secs(5));
    let log = story.log();
    assert_eq!(
        [count(&log, "sa-logic v1:"), count(&log, "sa-logic v2:")],
        [200, 200],
        "each request, and a copy of it"
    );

    story.play(&["services.yaml", "canary/sa-logic.yaml"]);
    let replies = ask(&story);
    check_split(&story.log(), ["sa-logic v1:", "sa-logic v2:"], [80.0, 20.0]);
    let canary = share(&replies, ok);
    assert!(canary < 1.0 && slowest(&replies) > 5.0, "some users wait for an error");

    story.play(&["services.yaml", "canary-as-published/sa-logic.yaml"]);
    let replies = ask(&story);
    assert!(slowest(&replies) < 5.0 && replies.iter().any(|reply| reply.status == 504), "a slow try is the end");
    std::thread::sleep(Duration::from_secs(5));
    assert_eq!(story.log().len(), 200, "nothing is repeated");

    story.play(&["services.yaml", "canary-retries/sa-logic.yaml"]);
    let replies = ask(&story);
    let retried = share(&replies, ok);
    assert!(slowest(&replies) < 9.0 && retried > 0.88, "{retried}, and nobody waits longer than 8 s");
    std::thread::sleep(Duration::from_secs(5));
    assert!(story.log().len() > 210, "failures are repeated");
}

#[test]
#[ignore = "needs istiod: `make test-istio`"]
fn purchase_history() {
    const HOST: &str = "purchase-history.istioinaction.svc.cluster.local";
    const VERSIONS: [&str; 2] = ["purchase-history v1:", "purchase-history v2:"];
    let mut story = Story::start("purchase-history", Role::Sidecar, "recommendation", 8080, 1);
    let body = |reply: &Reply| String::from_utf8_lossy(&reply.body).trim_end().to_owned();
    let (v1, v2) = ("Hello From Purchase History (v1)!", "Hello From Purchase History (v2)!");

    story.play(&["services.yaml", "steps/01-all-v1.yaml"]);
    assert!(story.ask(HOST, "/", &[], 10).iter().all(|reply| body(reply) == v1));

    story.play(&["services.yaml", "steps/02-dark-launch.yaml"]);
    assert!(story.ask(HOST, "/", &[], 10).iter().all(|reply| body(reply) == v1));
    assert!(story.ask(HOST, "/", &[("x-team", "test")], 10).iter().all(|reply| body(reply) == v2));

    for (step, shares) in [("03-80-20", [80.0, 20.0]), ("04-50-50", [50.0, 50.0]), ("05-all-v2", [0.0, 100.0])] {
        story.play(&["services.yaml", &format!("steps/{step}.yaml")]);
        assert!(story.ask(HOST, "/", &[], 400).iter().all(ok));
        check_split(&story.log(), VERSIONS, shares);
    }

    story.play(&["services.yaml", "steps/06-no-retries.yaml"]);
    assert!(!story.ask(HOST, "/", &[], 100).iter().all(ok), "an instance that is starting closes connections");
    story.play(&["services.yaml", "steps/07-retries.yaml"]);
    // One after the other: beside others Envoy prefers the endpoint that is less busy, which is the one that closes.
    let is_retried = |_| story.ask(HOST, "/", &[], 1).iter().all(ok);
    assert!((0..100).all(is_retried), "a closed connection is tried again elsewhere");

    story.play(&["services.yaml", "steps/08-timeout.yaml"]);
    let report = story.ask(HOST, "/report", &[], 5);
    assert!(report.iter().all(|reply| reply.status == 504) && slowest(&report) < 3.0);

    story.play(&["services.yaml", "steps/09-faults.yaml"]);
    assert!(story.ask(HOST, "/", &[("x-team", "test")], 10).iter().all(|reply| reply.status == 503));
    let replies = story.ask(HOST, "/", &[], 400);
    let slow = replies.iter().filter(|reply| reply.took.as_millis() >= 480).count() as u64;
    assert_eq!(chance::misfit(&[slow, 400 - slow], &[50.0, 50.0]), None, "{slow} of 400 are delayed");
}

#[test]
#[ignore = "needs istiod: `make test-istio`"]
fn httpbin() {
    let mut story = Story::start("httpbin", Role::Sidecar, "client", 8080, 1);
    story.play(&["services.yaml", "steps/01-all-v1.yaml"]);
    assert!(story.ask("httpbin", "/headers", &[], 20).iter().all(ok));
    let log = story.log();
    assert_eq!([count(&log, "httpbin v1:"), count(&log, "httpbin v2:")], [20, 0]);

    story.play(&["services.yaml", "steps/02-mirror.yaml"]);
    let context = [("x-request-id", "4711"), ("x-b3-traceid", "80f198ee56343ba864fe8b2a57d3eff7")];
    for reply in story.ask("httpbin", "/headers", &context, 20) {
        let seen: Value = serde_json::from_slice(&reply.body).unwrap();
        for (name, value) in context {
            assert_eq!(seen["headers"][name], value);
        }
    }
    let log = story.log();
    assert_eq!([count(&log, "httpbin v1:"), count(&log, "httpbin v2:")], [20, 20]);
}

#[test]
#[ignore = "needs istiod: `make test-istio`"]
fn hello() {
    let mut story = Story::start("hello", Role::Gateway, "myapp-gateway", 80, 1);
    story.play(&["hello.yaml"]);
    assert!(story.ask("myapp-gateway.example.com", "/api/v1/hello", &[], 800).iter().all(ok));
    check_split(&story.log(), ["myapp v1:", "myapp v2:"], [75.0, 25.0]);
    assert_eq!(story.ask("myapp-gateway.example.com", "/elsewhere", &[], 1)[0].status, 404);
}
