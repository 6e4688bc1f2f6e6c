//! Where Envoy Gateway finds what istiod calls a cluster.
//!
//! A host of Kubernetes is its Service. A subset of it is a Service too, one made here, which selects fewer Pods. A host of a
//! ServiceEntry is a `Backend` with the endpoints that the file tells, whole or by subset.

use crate::envoy_gateway::EXTENSIONS;
use crate::mesh;
use envoy_plan::{Cluster, Endpoint, Plan};
use istio_config::{Config, names};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// `backendRef`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Reference(Value);

impl Reference {
    pub(crate) fn value(&self) -> Value {
        self.0.clone()
    }
}

/// Looks clusters up, and keeps the objects that are needed for them.
pub(crate) struct Backends<'a> {
    config: &'a Config,
    plan: &'a Plan,
    /// Of the HTTPRoutes.
    namespace: &'a str,
    /// By kind, namespace and name.
    objects: BTreeMap<[String; 3], Value>,
    unsaid: BTreeSet<String>,
}

impl<'a> Backends<'a> {
    pub(crate) fn new(config: &'a Config, plan: &'a Plan, namespace: &'a str) -> Self {
        Self { config, plan, namespace, objects: BTreeMap::new(), unsaid: BTreeSet::new() }
    }

    /// What stands for the cluster of this name; `None` where nothing does, and its requests get no answer but an error.
    pub(crate) fn get(&mut self, cluster: &str) -> Option<Reference> {
        let [_, port, subset, host] = cluster.split('|').collect::<Vec<_>>().try_into().ok()?;
        let port: u16 = port.parse().ok()?;
        let found = match self.config.kubernetes_service(host) {
            Some(service) => self.service(service, host, subset, port),
            None => self.backend(cluster, host, subset, port),
        };
        if found.is_none() {
            self.unsaid.insert(format!("`{cluster}` leads nowhere: its requests are answered 500"));
        }
        found
    }

    /// The objects, and what they do not say.
    pub(crate) fn finish(self) -> (Vec<Value>, BTreeSet<String>) {
        (self.objects.into_values().collect(), self.unsaid)
    }

    fn service(&mut self, service: &Value, host: &str, subset: &str, port: u16) -> Option<Reference> {
        let mut parts = host.split('.');
        let (name, namespace) = (parts.next()?, parts.next()?);
        let name = if subset.is_empty() { name.to_owned() } else { self.part(service, name, namespace, host, subset)? };
        let mut reference = json!({ "name": name, "port": port });
        if let Some(fields) = reference.as_object_mut().filter(|_| namespace != self.namespace) {
            fields.insert("namespace".to_owned(), json!(namespace));
            self.grant(namespace);
        }
        Some(Reference(reference))
    }

    /// The Service of a subset, by its name.
    fn part(&mut self, service: &Value, name: &str, namespace: &str, host: &str, subset: &str) -> Option<String> {
        let is_of_host = |rule: &&istio_config::Resource<istio_config::DestinationRule>| {
            names::full_host(&rule.spec.host, rule.meta.namespace()) == host
        };
        let rules = self.config.destination_rules.iter().filter(is_of_host);
        let subset = rules.flat_map(|rule| &rule.spec.subsets).find(|known| known.name == subset)?;
        let mut selector = service.get("selector").and_then(Value::as_object).cloned().filter(|it| !it.is_empty())?;
        selector.extend(subset.labels.iter().map(|(key, value)| (key.clone(), json!(value))));
        let name = format!("{name}-{}", subset.name);
        let spec = json!({ "selector": selector, "ports": ports(service) });
        let metadata = json!({ "name": name, "namespace": namespace });
        let key = ["Service", namespace, &name].map(str::to_owned);
        self.objects.insert(key, mesh::object("v1", "Service", metadata, spec));
        Some(name)
    }

    /// Lets the HTTPRoutes lead to Services of another namespace.
    fn grant(&mut self, namespace: &str) {
        let spec = json!({
            "from": [{ "group": "gateway.networking.k8s.io", "kind": "HTTPRoute", "namespace": self.namespace }],
            "to": [{ "group": "", "kind": "Service" }],
        });
        let name = format!("shunt-from-{}", self.namespace);
        let metadata = json!({ "name": name, "namespace": namespace });
        let object = mesh::object("gateway.networking.k8s.io/v1beta1", "ReferenceGrant", metadata, spec);
        self.objects.insert(["ReferenceGrant", namespace, &name].map(str::to_owned), object);
    }

    fn backend(&mut self, cluster: &str, host: &str, subset: &str, port: u16) -> Option<Reference> {
        let Cluster { endpoints, .. } =
            self.plan.clusters.get(cluster).filter(|cluster| !cluster.endpoints.is_empty())?;
        let name = [host, subset, &port.to_string()].map(|part| part.replace(['.', '*'], "-"));
        let name = name.iter().filter(|part| !part.is_empty()).cloned().collect::<Vec<_>>().join("-");
        let spec = json!({ "endpoints": endpoints.iter().map(endpoint).collect::<Vec<_>>() });
        let metadata = json!({ "name": name, "namespace": self.namespace });
        let key = ["Backend", self.namespace, &name].map(str::to_owned);
        self.objects.insert(key, mesh::object(EXTENSIONS, "Backend", metadata, spec));
        Some(Reference(json!({ "group": "gateway.envoyproxy.io", "kind": "Backend", "name": name })))
    }
}

/// The ports of a Service as another Service can have them.
fn ports(service: &Value) -> Vec<Map<String, Value>> {
    let ports = service.get("ports").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_object);
    let own = |port: &Map<String, Value>| {
        let kept = port.iter().filter(|(key, _)| *key != "nodePort");
        kept.map(|(key, value)| (key.clone(), value.clone())).collect()
    };
    ports.map(own).collect()
}

fn endpoint(endpoint: &Endpoint) -> Value {
    let Endpoint { address, port, weight: _, labels: _ } = endpoint;
    match address.parse::<std::net::IpAddr>() {
        Ok(_) => json!({ "ip": { "address": address, "port": port } }),
        Err(_) => json!({ "fqdn": { "hostname": address, "port": port } }),
    }
}
