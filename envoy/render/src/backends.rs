//! Where Envoy Gateway finds what istiod calls a cluster.
//!
//! A host of Kubernetes is its Service. A subset of it is a Service too, one made here, which selects fewer Pods. A host of a
//! ServiceEntry is a `Backend` with the endpoints that the file tells, whole or by subset.

use crate::envoy_gateway::EXTENSIONS;
use crate::mesh;
use crate::profiles::digest;
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

    /// What it is called.
    pub(crate) fn name(&self) -> &str {
        self.0.get("name").and_then(Value::as_str).unwrap_or_default()
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
        let [port, subset, host] = parts(cluster)?;
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
        let name = self.service_name(name, host, &subset.name);
        let spec = json!({ "selector": selector, "ports": ports(service) });
        let metadata = json!({ "name": name, "namespace": namespace });
        let key = ["Service", namespace, &name].map(str::to_owned);
        self.objects.insert(key, mesh::object("v1", "Service", metadata, spec));
        Some(name)
    }

    /// `NAME-SUBSET`, where that is a name of nobody else.
    fn service_name(&self, name: &str, host: &str, subset: &str) -> String {
        let plain = word(&[name, subset]);
        let namespace = |host: &str| host.split_once('.').map(|(_, rest)| rest.to_owned());
        let is_namesake = |[_, other, at]: [&str; 3]| {
            let name = at.split('.').next().unwrap_or_default();
            let is_other = (at, other) != (host, subset) && !other.is_empty();
            is_other && namespace(at) == namespace(host) && word(&[name, other]) == plain
        };
        let own = host.replacen(name, &plain, 1);
        let is_taken = self.config.kubernetes_service(&own).is_some()
            || self.plan.clusters.keys().filter_map(|cluster| parts(cluster)).any(is_namesake);
        if is_taken || plain.len() > 63 { marked(&plain, 63, &format!("{subset}|{host}")) } else { plain }
    }

    /// The host, the subset and the port, where no other cluster's name comes to the same.
    fn backend_name(&self, cluster: &str, host: &str, subset: &str, port: u16) -> String {
        let plain = word(&[host, subset, &port.to_string()]);
        let same = |other: &&String| {
            let parts = parts(other).filter(|_| *other != cluster);
            parts.is_some_and(|[port, subset, host]| word(&[host, subset, port]) == plain)
        };
        let is_taken = self.plan.clusters.keys().any(|other| same(&other));
        if is_taken || plain.len() > 253 { marked(&plain, 253, cluster) } else { plain }
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
        let name = self.backend_name(cluster, host, subset, port);
        let spec = json!({ "endpoints": endpoints.iter().map(endpoint).collect::<Vec<_>>() });
        let metadata = json!({ "name": name, "namespace": self.namespace });
        let key = ["Backend", self.namespace, &name].map(str::to_owned);
        self.objects.insert(key, mesh::object(EXTENSIONS, "Backend", metadata, spec));
        Some(Reference(json!({ "group": "gateway.envoyproxy.io", "kind": "Backend", "name": name })))
    }
}

/// Port, subset and host of a cluster.
fn parts(cluster: &str) -> Option<[&str; 3]> {
    let [_, port, subset, host] = cluster.split('|').collect::<Vec<_>>().try_into().ok()?;
    Some([port, subset, host])
}

/// A name as Kubernetes takes it: what it has no letter for becomes `-`.
fn word(parts: &[&str]) -> String {
    let letter = |letter: char| match letter {
        '*' => "any".to_owned(),
        'a'..='z' | 'A'..='Z' | '0'..='9' => letter.to_ascii_lowercase().to_string(),
        _ => "-".to_owned(),
    };
    let parts = parts.iter().map(|part| part.chars().map(letter).collect::<String>());
    let parts: Vec<_> = parts.map(|part| part.trim_matches('-').to_owned()).filter(|part| !part.is_empty()).collect();
    parts.join("-")
}

/// The name with a checksum of what it stands for, in at most so many letters.
pub(crate) fn marked(name: &str, length: usize, of: &str) -> String {
    let digest: String = digest(&json!(of)).chars().take(8).collect();
    let kept: String = name.chars().take(length.saturating_sub(digest.len()).saturating_sub(1)).collect();
    format!("{}-{digest}", kept.trim_end_matches('-'))
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
    let Endpoint { address, port, weight: _, labels: _, locality: _, priority: _ } = endpoint;
    match address.parse::<std::net::IpAddr>() {
        Ok(_) => json!({ "ip": { "address": address, "port": port } }),
        Err(_) => json!({ "fqdn": { "hostname": address, "port": port } }),
    }
}
