//! One mesh with the services of the corpus and one proxy, whose objects change while it runs.

use serde_json::Value;
use shunt_tests::case::{self, Case, Request};
use shunt_tests::client::Client;
use shunt_tests::istio::agent::Agent;
use shunt_tests::istio::arm::PORTS;
use shunt_tests::istio::mesh::Mesh;
use shunt_tests::istio::render::{self, For, Source};
use shunt_tests::istio::workload::{Role, Workload, free_ip};
use shunt_tests::istio::{Programs, objects};
use shunt_tests::observed::{Arrival, Reply, values};
use shunt_tests::servers::Servers;
use std::net::SocketAddr;

/// The label of the proxy, and the name of its Sidecar or Gateway.
const APP: &str = "shop";

pub(crate) struct World {
    programs: Programs,
    servers: Servers,
    pub(crate) proxy: Workload,
    role: Role,
    pub(crate) port: u16,
    /// The port on which requests for the sidecar's application come in, and where that is.
    pub(crate) inbound: Option<(u16, SocketAddr)>,
    pub(crate) mesh: Mesh,
    /// Where the proxy's agent fetches the filter, if it does.
    url: Option<String>,
}

pub(crate) fn programs() -> Programs {
    Programs::find().unwrap_or_else(|error| panic!("{error}"))
}

/// One VirtualService as `kubectl` takes it. `gateways` may be empty: the mesh.
pub(crate) fn rules(host: &str, gateways: &str, http: &str) -> String {
    let name = host.split('.').next().unwrap();
    format!(
        "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: {name}, namespace: default}}\nspec: {{hosts: ['{host}'], gateways: [{gateways}], http: {http}}}\n---\n"
    )
}

impl World {
    pub(crate) fn start(role: Role) -> Self {
        Self::start_where(role, "")
    }

    /// The same with services that do this, as a case of the corpus says it.
    pub(crate) fn start_where(role: Role, behaviour: &str) -> Self {
        let programs = programs();
        let mesh =
            Mesh::start(&programs, &Value::Object(serde_json::Map::new())).unwrap_or_else(|error| panic!("{error}"));
        let proxy = Workload::start(&programs, &mesh, role, APP, free_ip()).unwrap_or_else(|error| panic!("{error}"));
        let servers = Servers::start(&doing(behaviour));
        Self { servers, programs, proxy, role, port: 80, inbound: None, mesh, url: None }
    }

    /// A sidecar whose agent fetches the filter from this URL, and that agent.
    pub(crate) fn start_with_agent(url: String) -> (Self, Agent) {
        let programs = programs();
        let mesh =
            Mesh::start(&programs, &Value::Object(serde_json::Map::new())).unwrap_or_else(|error| panic!("{error}"));
        let address = free_ip();
        let agent = Agent::start(&programs, &mesh, APP, address).unwrap_or_else(|error| panic!("{error}"));
        let proxy = Workload::start_behind(&programs, &mesh, &agent, APP, address);
        let proxy = proxy.unwrap_or_else(|error| panic!("{error}\n{}", agent.said()));
        let servers = Servers::start(&bare());
        (Self { servers, programs, proxy, role: Role::Sidecar, port: 80, inbound: None, mesh, url: Some(url) }, agent)
    }

    /// What is there whatever the rules are.
    fn files(&self) -> Vec<(&'static str, String)> {
        let proxy = match self.role {
            Role::Sidecar => return self.servers.fleet.manifests(&bare()),
            Role::Gateway => objects::gateway(APP, self.proxy.address, self.port, &["*"]),
        };
        let mut files = self.servers.fleet.manifests(&bare());
        files.push(("gateway.yaml", proxy.to_string()));
        files
    }

    /// The manifest for these rules.
    pub(crate) fn filter(&self, rules: &str) -> Vec<Value> {
        self.rendered(render::KINDS[0], rules)
    }

    /// The manifests of this kind for these rules.
    pub(crate) fn rendered(&self, kind: &str, rules: &str) -> Vec<Value> {
        let mut files = self.files();
        files.push(("rules.yaml", rules.to_owned()));
        let whom = match self.role {
            Role::Sidecar => For::Sidecar(APP),
            Role::Gateway => For::Gateway(APP),
        };
        let from = self.url.as_deref().map_or(Source::File, Source::Url);
        render::manifests(&self.programs, kind, &files, whom, from).unwrap_or_else(|error| panic!("{error}"))
    }

    /// Puts rules and manifests into istiod; the version is what the proxy is waited for with.
    pub(crate) fn put(&self, rules: &str, manifests: &[Value]) -> u32 {
        let mut all = Vec::new();
        for (_, text) in self.files() {
            all.extend(objects::read(&text).unwrap());
        }
        all.extend(objects::read(rules).unwrap());
        if self.role == Role::Sidecar {
            all.push(objects::sidecar(APP, self.proxy.address, &PORTS, self.inbound));
        }
        if self.inbound.is_some() {
            all.push(objects::plain_inbound());
        }
        all.extend_from_slice(manifests);
        let gateways = if self.role == Role::Gateway { &[APP][..] } else { &[] };
        self.mesh.apply(&all, gateways).unwrap_or_else(|error| panic!("{error}"))
    }

    /// As [`put`](Self::put), and waits until it is served.
    pub(crate) fn serve(&mut self, rules: &str, manifests: &[Value]) {
        let version = self.put(rules, manifests);
        let served = self.proxy.wait_for(version, self.port);
        let addresses = self.servers.fleet.0.values().copied();
        let served = served.and_then(|()| self.proxy.wait_for_endpoints(addresses));
        served.unwrap_or_else(|error| panic!("{error}\n{}", self.mesh.said()));
    }

    /// A request over a connection of its own.
    pub(crate) fn get(&self, host: &str, target: &str, headers: &[(&str, &str)]) -> Reply {
        let request = Request::get(host, target, headers);
        Client::new(self.proxy.at(self.port)).send(&request).unwrap_or_else(|error| panic!("{target}: {error}"))
    }

    /// Who answers.
    pub(crate) fn from(&self, host: &str, target: &str, headers: &[(&str, &str)]) -> String {
        let reply = self.get(host, target, headers);
        reply.from().map_or_else(|| reply.status.to_string(), str::to_owned)
    }

    /// Who answers each of so many requests.
    pub(crate) fn many(&self, host: &str, times: u32) -> Vec<String> {
        let mut client = Client::new(self.proxy.at(self.port));
        let request = Request::get(host, "/", &[]);
        let mut ask = || client.send(&request).unwrap_or_else(|error| panic!("{error}"));
        (0..times).map(|_| ask().from().unwrap_or("nobody").to_owned()).collect()
    }

    /// What has arrived at the services since last asked, late copies too.
    pub(crate) fn arrivals(&self) -> Vec<Arrival> {
        self.servers.arrivals(0, true)
    }
}

/// How often a header has arrived, by endpoint and value.
pub(crate) fn header<'a>(arrivals: &'a [Arrival], name: &'a str) -> Vec<(&'a str, &'a str)> {
    arrivals.iter().flat_map(|arrival| values(&arrival.headers, name).map(|value| (arrival.endpoint, value))).collect()
}

/// The fleet of the corpus, and no rules.
fn bare() -> Case {
    doing("")
}

fn doing(behaviour: &str) -> Case {
    case::read("bare", &format!("name: bare\nabout: no rules\n{behaviour}\n")).unwrap().remove(0)
}
