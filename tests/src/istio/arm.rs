//! Cases in a mesh: the fleet's services in istiod, and an Envoy as a sidecar before them.

use super::Programs;
use super::mesh::Mesh;
use super::objects;
use super::render::{self, For};
use super::workload::{Role, Workload, free_ip};
use crate::arms::{Arm, Running};
use crate::case::{Case, Request};
use crate::client::Client;
use crate::fleet::Fleet;
use crate::observed::{Arrival, Reply};
use crate::servers::Servers;
use envoy_plan::PathNormalization;
use istio_config::outbound::OutboundMode;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Who has the rules of a case. The services and their subsets are always in istiod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rules {
    /// istiod: Istio as it is.
    InIstiod,
    /// The filter: istiod has no VirtualService.
    InFilter,
    /// Both of them, so that what is applied twice shows.
    InBoth,
}

/// The ports that a sidecar listens on: those of the fleet.
pub const PORTS: [u16; 3] = [80, 8080, 9090];

/// The label of the sidecar.
const CLIENT: &str = "client";

/// The arm.
pub struct Istio {
    programs: Programs,
    rules: Rules,
    idle: Arc<Idle>,
}

type Idle = Mutex<Vec<Host>>;

/// A mesh with one proxy, which serves one case after the other.
struct Host {
    sidecar: Workload,
    mesh: Mesh,
    /// Of the whole mesh, and where the proxy runs.
    settings: (PathNormalization, Option<OutboundMode>, String),
    /// How much Envoy had said when its case began.
    said_before: usize,
}

impl Istio {
    /// The arm.
    pub fn new(programs: Programs, rules: Rules) -> Self {
        Self { programs, rules, idle: Arc::default() }
    }

    fn host(&self, case: &Case) -> Result<Host, String> {
        let settings = (case.normalization.0, case.outbound, case.locality.clone());
        let idle = {
            let mut idle = self.idle.lock().expect("no panic while it is held");
            let place = idle.iter().position(|host| host.settings == settings);
            place.map(|place| idle.swap_remove(place))
        };
        if let Some(mut host) = idle {
            host.said_before = host.sidecar.said().len();
            return Ok(host);
        }
        let (normalization, outbound, locality) = &settings;
        let mesh = Mesh::start(
            &self.programs,
            &json!({
                "pathNormalization": { "normalization": normalization.name() },
                "outboundTrafficPolicy": { "mode": outbound.unwrap_or(OutboundMode::RegistryOnly).name() },
            }),
        )?;
        let sidecar = Workload::start_at(&self.programs, &mesh, Role::Sidecar, CLIENT, free_ip(), locality)?;
        Ok(Host { sidecar, mesh, settings, said_before: 0 })
    }

    /// What istiod gets for a case.
    fn objects(&self, case: &Case, servers: &Servers) -> Result<Vec<Value>, String> {
        let files = servers.fleet.manifests(case);
        let mut objects = Vec::new();
        for (_, text) in &files {
            objects.extend(objects::read(text)?);
        }
        // The API server of a cluster without our kind would refuse it; the filter's configuration carries it.
        objects.retain(|object| object["kind"] != "ShuntPolicy");
        if self.rules != Rules::InIstiod {
            let filter = render::envoy_filter(&self.programs, &files, For::Sidecar(CLIENT))?;
            if self.rules == Rules::InFilter {
                objects.retain(|object| object["kind"] != "VirtualService");
            }
            objects.extend(filter);
        }
        Ok(objects)
    }
}

impl Arm for Istio {
    fn name(&self) -> &'static str {
        match self.rules {
            Rules::InIstiod => "istiod",
            Rules::InFilter => "filter in a mesh",
            Rules::InBoth => "filter and istiod",
        }
    }

    fn parallel(&self) -> usize {
        2
    }

    fn slack(&self) -> Duration {
        Duration::from_secs(2)
    }

    fn start_on(&self, servers: &Arc<Servers>, case: &Case) -> Result<Box<dyn Running>, String> {
        let mut objects = self.objects(case, servers)?;
        let mut host = self.host(case)?;
        objects.push(objects::sidecar(CLIENT, host.sidecar.address, &PORTS, None));
        if case.outbound.is_none() {
            objects.push(objects::unknown_hosts_are_404());
        }
        let applied = host.mesh.apply(&objects, &[]);
        let served = applied.and_then(|version| host.sidecar.wait_for(version, PORTS[0]));
        let ready = served.and_then(|()| host.sidecar.wait_for_endpoints(servers.fleet.0.values().copied()));
        if let Err(error) = ready {
            give_back(&self.idle, host);
            return Err(error);
        }
        let late = case.mirrors();
        let (servers, idle) = (Arc::clone(servers), Arc::clone(&self.idle));
        Ok(Box::new(Served { clients: BTreeMap::new(), host: Some(host), servers, late, idle }))
    }
}

/// Keeps a mesh for another case, while its proxy lasts.
fn give_back(idle: &Idle, mut host: Host) {
    if host.sidecar.ended().is_none()
        && let Ok(mut idle) = idle.lock()
    {
        idle.push(host);
    }
}

struct Served {
    /// By port.
    clients: BTreeMap<u16, Client>,
    /// There until the end.
    host: Option<Host>,
    servers: Arc<Servers>,
    /// Copies may come after the response.
    late: bool,
    idle: Arc<Idle>,
}

/// The port that a client of this host connects to. Host may name another one, which Istio does not look at.
fn port(host: &str) -> u16 {
    let named = host.rsplit_once(':').and_then(|(_, port)| port.parse().ok()).filter(|port| PORTS.contains(port));
    if host.starts_with("two-ports") { named.unwrap_or(8080) } else { 80 }
}

impl Running for Served {
    fn send(&mut self, request: &Request) -> Result<Reply, String> {
        let host = self.host.as_mut().ok_or("the case is over")?;
        let port = port(&request.send.host);
        let client = self.clients.entry(port).or_insert_with(|| Client::new(host.sidecar.at(port)));
        let reply = client.send(request);
        match host.sidecar.ended() {
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
        self.host.as_ref().map(|host| host.sidecar.at(PORTS[0]))
    }

    fn log(&self) -> String {
        let said = |host: &Host| host.sidecar.said().get(host.said_before..).unwrap_or_default().to_owned();
        self.host.as_ref().map(said).unwrap_or_default()
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        if let Some(host) = self.host.take() {
            give_back(&self.idle, host);
        }
    }
}
