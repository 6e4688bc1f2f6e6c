//! Istio's objects as tests write them beside those of a user.

use serde::Deserialize;
use serde_json::{Value, json};
use std::net::{IpAddr, SocketAddr};

/// The namespace of everything that names none, as `kubectl apply` has one.
pub const NAMESPACE: &str = "default";

/// The label by which objects choose a workload.
pub const APP: &str = "app";

/// The objects in YAML, each with a namespace.
///
/// # Errors
///
/// What is no YAML.
pub fn read(text: &str) -> Result<Vec<Value>, String> {
    let mut objects = Vec::new();
    for document in serde_yaml_ng::Deserializer::from_str(text) {
        let mut object = Value::deserialize(document).map_err(|error| error.to_string())?;
        if object.is_null() {
            continue;
        }
        let metadata = &mut object["metadata"];
        if metadata["namespace"].is_null() {
            metadata["namespace"] = NAMESPACE.into();
        }
        objects.push(object);
    }
    Ok(objects)
}

/// Listeners of a sidecar: one on each of these ports, as if a workload had connected to that port of any service; and
/// one in front of an application, if it has a port for it.
pub fn sidecar(app: &str, bind: IpAddr, ports: &[u16], inbound: Option<(u16, SocketAddr)>) -> Value {
    let listener = |port: &u16| {
        let port = json!({ "number": port, "protocol": "HTTP", "name": format!("http-{port}") });
        json!({ "port": port, "bind": bind, "captureMode": "NONE", "hosts": ["*/*"] })
    };
    let egress: Vec<_> = ports.iter().map(listener).collect();
    let mut spec = json!({ "workloadSelector": { "labels": { APP: app } }, "egress": egress });
    if let Some((port, application)) = inbound {
        let named = json!({ "number": port, "protocol": "HTTP", "name": format!("http-{port}") });
        spec["ingress"] =
            json!([{ "port": named, "bind": bind, "captureMode": "NONE", "defaultEndpoint": application }]);
    }
    object("networking.istio.io/v1", "Sidecar", app, &spec)
}

/// What comes in to workloads is plain: nobody is here to give them certificates, without which Envoy would open no listener.
pub fn plain_inbound() -> Value {
    object("security.istio.io/v1", "PeerAuthentication", "plain", &json!({ "mtls": { "mode": "DISABLE" } }))
}

/// A Gateway that one workload serves, for these hosts.
pub fn gateway(app: &str, bind: IpAddr, port: u16, hosts: &[&str]) -> Value {
    let server = json!({
        "port": { "number": port, "protocol": "HTTP", "name": "http" },
        "bind": bind,
        "hosts": hosts,
    });
    let spec = json!({ "selector": { APP: app }, "servers": [server] });
    object("networking.istio.io/v1", "Gateway", app, &spec)
}

/// Answers 404 for hosts that no service has, as a host without Istio does; istiod's sidecars answer 502 with
/// `REGISTRY_ONLY`.
pub fn unknown_hosts_are_404() -> Value {
    let answer = json!({ "direct_response": { "status": 404 } });
    let unknown = json!({ "vhost": { "name": "block_all", "route": { "name": "block_all" } } });
    let patch = json!({
        "applyTo": "HTTP_ROUTE",
        "match": { "context": "SIDECAR_OUTBOUND", "routeConfiguration": unknown },
        "patch": { "operation": "MERGE", "value": answer },
    });
    let spec = json!({ "configPatches": [patch] });
    object("networking.istio.io/v1alpha3", "EnvoyFilter", "unknown-hosts", &spec)
}

/// A host that istiod itself answers for, to tell which objects a proxy has.
pub fn marker(version: u32, gateways: &[&str]) -> Value {
    let gateways: Vec<_> = [&["mesh"], gateways].concat();
    let http = json!([{ "directResponse": { "status": 200, "body": { "string": marker_host(version) } } }]);
    let spec = json!({ "hosts": [marker_host(version)], "gateways": gateways, "http": http });
    object("networking.istio.io/v1", "VirtualService", "marker", &spec)
}

/// The host of [`marker`].
pub fn marker_host(version: u32) -> String {
    format!("version-{version}.marker.test")
}

fn object(version: &str, kind: &str, name: &str, spec: &Value) -> Value {
    let metadata = json!({ "name": name, "namespace": NAMESPACE });
    json!({ "apiVersion": version, "kind": kind, "metadata": metadata, "spec": spec })
}
