//! Kubernetes' own objects, as far as routing needs them: a Service is a host, its EndpointSlices hold its endpoints, and
//! the Pods that these are hold the labels by which subsets choose.
//!
//! Once all files are read, each Service becomes the ServiceEntry that says the same ([`crate::Config::complete`]); whoever
//! looks at services sees no difference. These objects are read leniently: the API server has checked them, and they are
//! full of fields that are nobody's business here.

use crate::config::{ObjectMeta, ObjectRef, Resource};
use crate::names::CLUSTER_DOMAIN;
use crate::service_entry::{Location, Resolution, ServiceEntry, ServicePort, WorkloadEntry};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// The label by which a slice names its Service.
const SERVICE_NAME: &str = "kubernetes.io/service-name";

type Labels = BTreeMap<String, String>;

/// Kubernetes' objects as they were read.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Kubernetes {
    services: Vec<(ObjectRef, Value)>,
    /// By namespace and Service.
    slices: BTreeMap<(String, String), Vec<Value>>,
    /// By namespace and name.
    pods: BTreeMap<(String, String), Labels>,
    /// Pod labels that Deployments and the like ask for, by namespace.
    templates: Vec<(String, Labels)>,
}

/// A Service in the words of a ServiceEntry.
pub(crate) struct Translated {
    pub(crate) resource: Resource<ServiceEntry>,
    /// Without its endpoints, as the filter's configuration has it.
    pub(crate) written: Value,
    /// Whether the files hold any EndpointSlice of it.
    pub(crate) has_slices: bool,
    /// Whether the labels of every endpoint are known.
    pub(crate) labels_known: bool,
    /// Labels of the Pods it selects, as far as Pods and Deployments in the files say.
    pub(crate) workloads: Vec<Labels>,
}

impl Kubernetes {
    /// Keeps an object; `false` for one of another kind.
    pub(crate) fn take(&mut self, value: &Value, ordinal: usize) -> bool {
        let kind = text(value, "/kind");
        let (namespace, name) = (text(value, "/metadata/namespace"), text(value, "/metadata/name"));
        let namespace = if namespace.is_empty() { "default" } else { namespace }.to_owned();
        match (text(value, "/apiVersion"), kind) {
            ("v1", "Service") if !name.is_empty() => {
                let reference =
                    ObjectRef { kind: kind.into(), namespace: namespace.as_str().into(), name: name.into(), ordinal };
                self.services.push((reference, value.clone()));
            }
            ("discovery.k8s.io/v1" | "discovery.k8s.io/v1beta1", "EndpointSlice") => {
                let service = labels(value.pointer("/metadata/labels")).remove(SERVICE_NAME).unwrap_or_default();
                self.slices.entry((namespace, service)).or_default().push(value.clone());
            }
            ("v1", "Pod") => {
                self.pods.insert((namespace, name.to_owned()), labels(value.pointer("/metadata/labels")));
            }
            ("apps/v1", "Deployment" | "StatefulSet" | "DaemonSet" | "ReplicaSet") => {
                self.templates.push((namespace, labels(value.pointer("/spec/template/metadata/labels"))));
            }
            _ => return false,
        }
        true
    }

    /// The port of the Pods behind `port` of a Service that selects by all of `labels`; `None` where none does or the port
    /// goes by a name.
    pub(crate) fn target_port(&self, selected: &Labels, port: u16) -> Option<u16> {
        let selects = |service: &&(ObjectRef, Value)| {
            let selector = labels(service.1.pointer("/spec/selector"));
            !selected.is_empty() && selected.iter().all(|(key, value)| selector.get(key) == Some(value))
        };
        let ports = self.services.iter().filter(selects).flat_map(|(_, service)| list(service, "/spec/ports"));
        let found = ports.into_iter().find(|found| number(found, "/port") == Some(u32::from(port)))?;
        number(found, "/targetPort").and_then(|target| u16::try_from(target).ok())
    }

    /// `spec` of the Service of this host.
    pub(crate) fn service(&self, host: &str) -> Option<&Value> {
        let (_, service) = self.services.iter().find(|(reference, _)| host_of(reference) == host)?;
        service.pointer("/spec")
    }

    /// Every Service, in reading order.
    pub(crate) fn translate(&self) -> Vec<Translated> {
        self.services.iter().map(|(reference, service)| self.one(reference, service)).collect()
    }

    fn one(&self, reference: &ObjectRef, service: &Value) -> Translated {
        let namespace = &*reference.namespace;
        let host = host_of(reference);
        let ports: Vec<ServicePort> = list(service, "/spec/ports").iter().filter_map(port).collect();
        let slices = self.slices.get(&(namespace.to_owned(), reference.name.to_string()));
        let mut labels_known = true;
        let mut endpoints = Vec::new();
        for slice in slices.into_iter().flatten() {
            let numbers: BTreeMap<String, u32> = list(slice, "/ports")
                .iter()
                .filter_map(|port| Some((port_name(text(port, "/name"), &ports), number(port, "/port")?)))
                .filter(|(name, _)| ports.iter().any(|port| port.name == *name))
                .collect();
            let ready =
                |endpoint: &&Value| endpoint.pointer("/conditions/ready").and_then(Value::as_bool) != Some(false);
            for endpoint in list(slice, "/endpoints").iter().filter(ready) {
                let pod = (namespace.to_owned(), text(endpoint, "/targetRef/name").to_owned());
                let labels = self.pods.get(&pod);
                labels_known &= labels.is_some();
                // All its addresses are one endpoint; clients use the first.
                let Some(address) = list(endpoint, "/addresses").first().and_then(Value::as_str) else { continue };
                endpoints.push(WorkloadEntry {
                    address: address.to_owned(),
                    ports: numbers.clone(),
                    labels: labels.cloned().unwrap_or_default(),
                    ..WorkloadEntry::default()
                });
            }
        }
        let written = json!({
            "apiVersion": "networking.istio.io/v1",
            "kind": "ServiceEntry",
            // A name that no ServiceEntry of the user's has by chance.
            "metadata": {"name": host, "namespace": namespace},
            "spec": {
                "hosts": [host],
                "resolution": "STATIC",
                "ports": ports.iter().map(|port| json!({"number": port.number, "name": port.name, "protocol": port.protocol})).collect::<Vec<_>>(),
            },
        });
        let spec = ServiceEntry {
            hosts: vec![host],
            ports,
            location: Some(Location::MeshInternal),
            resolution: Some(Resolution::Static),
            endpoints,
            ..ServiceEntry::default()
        };
        let meta = ObjectMeta {
            reference: reference.clone(),
            creation_timestamp: text(service, "/metadata/creationTimestamp").to_owned(),
            annotations: labels(service.pointer("/metadata/annotations")),
        };
        Translated {
            resource: Resource { meta, spec },
            written,
            has_slices: slices.is_some(),
            labels_known,
            workloads: self.workloads(namespace, &labels(service.pointer("/spec/selector"))),
        }
    }

    /// Labels of what a selector chooses; an empty one chooses nothing.
    fn workloads(&self, namespace: &str, selector: &Labels) -> Vec<Labels> {
        let pods = self.pods.iter().map(|((namespace, _), labels)| (namespace, labels));
        let templates = self.templates.iter().map(|(namespace, labels)| (namespace, labels));
        let chosen = |labels: &Labels| selector.iter().all(|(key, value)| labels.get(key) == Some(value));
        pods.chain(templates)
            .filter(|(own, labels)| *own == namespace && !selector.is_empty() && chosen(labels))
            .map(|(_, labels)| labels.clone())
            .collect()
    }
}

fn host_of(service: &ObjectRef) -> String {
    format!("{}.{}.svc.{CLUSTER_DOMAIN}", service.name, service.namespace)
}

/// A port of a Service; `None` for UDP and the like.
fn port(raw: &Value) -> Option<ServicePort> {
    let name = text(raw, "/name");
    if !["", "TCP"].contains(&text(raw, "/protocol")) {
        return None;
    }
    let number_of_port = number(raw, "/port")?;
    let named = if name.is_empty() { format!("port-{number_of_port}") } else { name.to_owned() };
    Some(ServicePort {
        number: number_of_port,
        protocol: protocol(text(raw, "/appProtocol"), name).to_owned(),
        name: named,
        target_port: number(raw, "/targetPort"),
    })
}

/// The only port of a Service may have no name, and its slices have none for it either.
fn port_name(in_slice: &str, ports: &[ServicePort]) -> String {
    match ports {
        [only] if in_slice.is_empty() => only.name.clone(),
        _ => in_slice.to_owned(),
    }
}

/// Istio's choice: `appProtocol`, else what the name begins with, else it looks at the bytes, which here are HTTP
/// (istio `pkg/config/kube/conversion.go`).
fn protocol(app_protocol: &str, name: &str) -> &'static str {
    let said = if app_protocol.is_empty() { name } else { app_protocol };
    match said.to_ascii_lowercase().as_str() {
        "kubernetes.io/h2c" => "HTTP2",
        said if said == "grpc-web" || said.starts_with("grpc-web-") => "GRPC-WEB",
        said => match said.split('-').next().unwrap_or_default() {
            "http2" => "HTTP2",
            "grpc" => "GRPC",
            "https" => "HTTPS",
            "tls" => "TLS",
            "tcp" => "TCP",
            "mongo" => "MONGO",
            "redis" => "REDIS",
            "mysql" => "MYSQL",
            _ => "HTTP",
        },
    }
}

fn text<'v>(value: &'v Value, pointer: &str) -> &'v str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

fn number(value: &Value, pointer: &str) -> Option<u32> {
    value.pointer(pointer).and_then(Value::as_u64).and_then(|number| u32::try_from(number).ok())
}

fn list<'v>(value: &'v Value, pointer: &str) -> &'v [Value] {
    value.pointer(pointer).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

fn labels(value: Option<&Value>) -> Labels {
    let entries = value.and_then(Value::as_object).into_iter().flatten();
    entries.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect()
}
