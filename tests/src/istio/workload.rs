//! An Envoy that istiod configures, as a sidecar or as a gateway.

use super::Programs;
use super::agent::Agent;
use super::mesh::Mesh;
use super::objects::{APP, NAMESPACE, marker_host};
use crate::arms::start_envoy_that_drains;
use crate::client;
use crate::process::{Process, free_address, page};
use envoy_plan::Locality;
use serde_json::{Value, json};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU8, Ordering};

/// What an Envoy is to its mesh.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Beside a workload, for what it sends.
    Sidecar,
    /// At the edge.
    Gateway,
}

/// A proxy. Its objects choose it by the label `app`, which is its name.
pub struct Workload {
    /// Its label.
    pub app: String,
    /// Where it may listen: an address of its own, so that many can listen on the same ports.
    pub address: IpAddr,
    /// Envoy's administration.
    pub admin: SocketAddr,
    envoy: Process,
    /// Refused updates that are known of.
    refused: u64,
}

/// Until connections to a listener that was replaced are closed. Envoy asks clients to close theirs before, each second
/// more of them, and so none of them where there is only one second.
pub const DRAIN_SECONDS: u32 = 3;

/// An address on loopback for one proxy. Two programs that run this at once should have networks of their own.
pub fn free_ip() -> IpAddr {
    static NEXT: AtomicU8 = AtomicU8::new(2);
    Ipv4Addr::new(127, 7, 7, NEXT.fetch_add(1, Ordering::Relaxed)).into()
}

impl Workload {
    /// Starts an Envoy and waits until it has its first configuration.
    ///
    /// # Errors
    ///
    /// It does not start, with what it said.
    pub fn start(programs: &Programs, mesh: &Mesh, role: Role, app: &str, address: IpAddr) -> Result<Self, String> {
        Self::start_at(programs, mesh, role, app, address, "")
    }

    /// The same for one that runs in this `region/zone/subzone`.
    ///
    /// # Errors
    ///
    /// As [`Self::start`].
    pub fn start_at(
        programs: &Programs,
        mesh: &Mesh,
        role: Role,
        app: &str,
        address: IpAddr,
        locality: &str,
    ) -> Result<Self, String> {
        Self::start_on(programs, mesh, &socket(mesh.xds), role, app, address, locality)
    }

    /// The same for a sidecar with Istio's agent, which asks istiod for it.
    ///
    /// # Errors
    ///
    /// As [`Self::start`].
    pub fn start_behind(
        programs: &Programs,
        mesh: &Mesh,
        agent: &Agent,
        app: &str,
        address: IpAddr,
    ) -> Result<Self, String> {
        let xds = json!({ "pipe": { "path": agent.socket } });
        Self::start_on(programs, mesh, &xds, Role::Sidecar, app, address, "")
    }

    fn start_on(
        programs: &Programs,
        mesh: &Mesh,
        xds: &Value,
        role: Role,
        app: &str,
        address: IpAddr,
        locality: &str,
    ) -> Result<Self, String> {
        let admin = free_address();
        let folder = mesh.folder().join(format!("envoy-{app}"));
        std::fs::create_dir_all(&folder).map_err(|error| error.to_string())?;
        let file = folder.join("bootstrap.json");
        let mut bootstrap = bootstrap(xds, admin, role, app, address);
        let Locality { region, zone, subzone } = locality.into();
        bootstrap["node"]["locality"] = json!({ "region": region, "zone": zone, "sub_zone": subzone });
        std::fs::write(&file, bootstrap.to_string()).map_err(|error| error.to_string())?;
        let envoy = start_envoy_that_drains(&programs.envoy, &file, admin, DRAIN_SECONDS)?;
        Ok(Self { app: app.to_owned(), address, admin, envoy, refused: 0 })
    }

    /// Where a client finds this port.
    pub fn at(&self, port: u16) -> SocketAddr {
        (self.address, port).into()
    }

    /// Waits until what is served on this port is of this version, with every listener in place.
    ///
    /// # Errors
    ///
    /// Envoy refuses it, ends, or takes too long; with what it said.
    pub fn wait_for(&mut self, version: u32, port: u16) -> Result<(), String> {
        let (at, admin, host, refused) = (self.at(port), self.admin, marker_host(version), self.refused);
        let serves = || {
            let body = client::get(at, &host, "/").map(|reply| reply.body);
            body.is_ok_and(|body| body == host.as_bytes()) && statistic(admin, WARMING) == 0
        };
        self.envoy.wait_until(|| serves() || refusals(admin) > refused)?;
        self.refused = refusals(admin);
        if self.refused == refused { Ok(()) } else { Err(format!("Envoy refuses it\n{}", self.envoy.said())) }
    }

    /// Waits until all of these are endpoints of some cluster: istiod may send them after the rest.
    ///
    /// # Errors
    ///
    /// Envoy ends, or takes too long; with what it said.
    pub fn wait_for_endpoints(&mut self, addresses: impl Iterator<Item = SocketAddr>) -> Result<(), String> {
        let admin = self.admin;
        let expected: Vec<String> = addresses.map(|address| format!("::{address}::")).collect();
        self.envoy.wait_until(|| {
            let clusters = page(admin, "/clusters").unwrap_or_default();
            expected.iter().all(|address| clusters.contains(address))
        })
    }

    /// Waits until Envoy has refused an update that it had not refused when last waited for.
    ///
    /// # Errors
    ///
    /// It has not, ends, or takes too long; with what it said.
    pub fn wait_for_refusal(&mut self) -> Result<(), String> {
        let (admin, refused) = (self.admin, self.refused);
        self.envoy.wait_until(|| refusals(admin) > refused)?;
        self.refused = refusals(admin);
        Ok(())
    }

    /// The sum of the statistics with this in their names.
    pub fn statistic(&self, part: &str) -> u64 {
        statistic(self.admin, part)
    }

    /// The configuration that is served.
    pub fn configuration(&self) -> Value {
        let text = page(self.admin, "/config_dump").unwrap_or_default();
        serde_json::from_str(&text).unwrap_or_default()
    }

    /// What Envoy has said.
    pub fn said(&self) -> String {
        self.envoy.said()
    }

    /// How it ended, if it did.
    pub fn ended(&mut self) -> Option<String> {
        self.envoy.ended().map(|status| status.to_string())
    }
}

/// Listeners that wait for something, a filter that is fetched for example.
const WARMING: &str = "listener_manager.total_listeners_warming";

fn refusals(admin: SocketAddr) -> u64 {
    statistic(admin, "update_rejected") + statistic(admin, "config_fail")
}

fn statistic(admin: SocketAddr, part: &str) -> u64 {
    let page = page(admin, &format!("/stats?filter={part}")).unwrap_or_default();
    let counts = page.lines().filter_map(|line| line.rsplit_once(": "));
    counts.filter_map(|(_, count)| count.parse::<u64>().ok()).sum()
}

/// An address as Envoy's configuration has it.
fn socket(at: SocketAddr) -> Value {
    json!({ "socket_address": { "address": at.ip(), "port_value": at.port() } })
}

fn bootstrap(xds: &Value, admin: SocketAddr, role: Role, app: &str, address: IpAddr) -> Value {
    let (kind, interception) = match role {
        Role::Sidecar => ("sidecar", "NONE"),
        Role::Gateway => ("router", "REDIRECT"),
    };
    let ads = json!({ "ads": {}, "resource_api_version": "V3" });
    let endpoint = json!({ "endpoint": { "address": xds } });
    let http2 = json!({
        "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
        "explicit_http_config": { "http2_protocol_options": {} },
    });
    json!({
        "node": {
            "id": format!("{kind}~{address}~{app}.{NAMESPACE}~{NAMESPACE}.svc.cluster.local"),
            "cluster": format!("{app}.{NAMESPACE}"),
            "metadata": {
                "NAME": app,
                "NAMESPACE": NAMESPACE,
                "LABELS": { APP: app },
                "CLUSTER_ID": "Kubernetes",
                "ISTIO_VERSION": "1.31.0",
                "INTERCEPTION_MODE": interception,
            },
        },
        "admin": { "address": socket(admin) },
        "dynamic_resources": {
            "ads_config": {
                "api_type": "GRPC",
                "transport_api_version": "V3",
                "grpc_services": [{ "envoy_grpc": { "cluster_name": "istiod" } }],
            },
            "cds_config": ads,
            "lds_config": ads,
        },
        "static_resources": { "clusters": [{
            "name": "istiod",
            "type": "STATIC",
            "connect_timeout": "1s",
            "typed_extension_protocol_options": { "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": http2 },
            "load_assignment": { "cluster_name": "istiod", "endpoints": [{ "lb_endpoints": [endpoint] }] },
        }] },
    })
}
