//! All objects of one configuration, sorted by kind.

use crate::decode;
use crate::diagnostic::{At, Diagnostics};
#[cfg(feature = "tools")]
use crate::kubernetes::{Kubernetes, Translated};
#[cfg(feature = "tools")]
use crate::names;
use crate::{DestinationRule, Gateway, ServiceEntry, ShuntPolicy, VirtualService};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

/// Names an object for people and finds its text again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectRef {
    /// `VirtualService` and the like.
    pub kind: Arc<str>,
    /// `metadata.namespace`, `default` where there is none.
    pub namespace: Arc<str>,
    /// `metadata.name`.
    pub name: Arc<str>,
    /// Its number in reading order; the reader knows file and line by it.
    pub ordinal: usize,
}

impl fmt::Display for ObjectRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}/{}", self.kind, self.namespace, self.name)
    }
}

/// What `metadata` says, as far as rules depend on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectMeta {
    /// Kind, namespace and name.
    pub reference: ObjectRef,
    /// `metadata.creationTimestamp`, which orders merged rules; empty where there is none.
    pub creation_timestamp: String,
    /// `metadata.annotations`.
    pub annotations: BTreeMap<String, String>,
}

impl ObjectMeta {
    /// `metadata.namespace`.
    pub fn namespace(&self) -> &str {
        &self.reference.namespace
    }

    /// `metadata.name`.
    pub fn name(&self) -> &str {
        &self.reference.name
    }

    /// `namespace/name`.
    pub fn full_name(&self) -> String {
        format!("{}/{}", self.reference.namespace, self.reference.name)
    }
}

/// An object: what it is called and what it says.
#[derive(Clone, Debug, PartialEq)]
pub struct Resource<T> {
    /// What it is called.
    pub meta: ObjectMeta,
    /// What it says.
    pub spec: T,
}

/// One object of a kind that is served.
#[derive(Clone, Debug, PartialEq)]
pub enum Object {
    /// `networking.istio.io` `VirtualService`.
    VirtualService(Box<Resource<VirtualService>>),
    /// `networking.istio.io` `DestinationRule`.
    DestinationRule(Box<Resource<DestinationRule>>),
    /// `networking.istio.io` `ServiceEntry`.
    ServiceEntry(Box<Resource<ServiceEntry>>),
    /// `networking.istio.io` `Gateway`.
    Gateway(Box<Resource<Gateway>>),
    /// `shunt.dev` `ShuntPolicy`.
    ShuntPolicy(Box<Resource<ShuntPolicy>>),
}

/// All objects of one configuration.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Config {
    /// Rules, in reading order.
    pub virtual_services: Vec<Resource<VirtualService>>,
    /// Subsets and policies, in reading order.
    pub destination_rules: Vec<Resource<DestinationRule>>,
    /// Services, in reading order.
    pub service_entries: Vec<Resource<ServiceEntry>>,
    /// Gateways, in reading order.
    pub gateways: Vec<Resource<Gateway>>,
    /// Policies for rules, in reading order.
    pub shunt_policies: Vec<Resource<ShuntPolicy>>,
    /// The served objects again, as they were written: what a rendered filter configuration carries. The filter itself
    /// does not keep them.
    pub written: Vec<Value>,
    /// `metadata.annotations` of every object that has any, by its ordinal; of those too that could not be read. The
    /// filter does not keep them.
    pub annotations: BTreeMap<usize, BTreeMap<String, String>>,
    /// Hosts of Services whose endpoints, or whose endpoints' labels, are not in the files ([`Config::complete`]).
    pub endpoints_unknown: BTreeSet<String>,
    /// Labels of the Pods that a Service selects, by its host, as far as Pods and Deployments in the files say. For
    /// checks only: nobody forwards to them.
    pub workloads: BTreeMap<String, Vec<BTreeMap<String, String>>>,
    #[cfg(feature = "tools")]
    kubernetes: Kubernetes,
    /// Kind, namespace and name of every object that is kept.
    known: BTreeSet<[Arc<str>; 3]>,
    read: usize,
}

impl Config {
    /// Reads one parsed document: an object, or a `List` of them. Empty documents are passed over; objects of kinds
    /// that are not served are too, with a note. Faults are reported and reading goes on.
    ///
    /// Returns how many objects the document held, so that a reader with line numbers can keep step.
    pub fn add(&mut self, document: Value, diagnostics: &mut Diagnostics) -> usize {
        if document.is_null() {
            return 0;
        }
        match decode::list_items(document) {
            Ok(items) => {
                let count = items.len();
                for item in items {
                    self.add_object(item, diagnostics);
                }
                count
            }
            Err(object) => {
                self.add_object(object, diagnostics);
                1
            }
        }
    }

    /// The port on which the Pods with these labels listen for what a Service in the files takes on `port`.
    #[cfg(feature = "tools")]
    pub fn target_port(&self, labels: &BTreeMap<String, String>, port: u16) -> Option<u16> {
        self.kubernetes.target_port(labels, port)
    }

    /// What Kubernetes' Service of this host says (`spec`), as it was written.
    #[cfg(feature = "tools")]
    pub fn kubernetes_service(&self, host: &str) -> Option<&Value> {
        self.kubernetes.service(host)
    }

    fn add_object(&mut self, value: Value, diagnostics: &mut Diagnostics) {
        let ordinal = self.read;
        self.read = self.read.saturating_add(1);
        if cfg!(feature = "tools") {
            let annotations = decode::annotations(value.get("metadata"));
            if !annotations.is_empty() {
                self.annotations.insert(ordinal, annotations);
            }
        }
        #[cfg(feature = "tools")]
        if self.kubernetes.take(&value, ordinal) {
            return;
        }
        let Some(object) = decode::object(&value, ordinal, diagnostics) else { return };
        let reference = match &object {
            Object::VirtualService(resource) => resource.meta.reference.clone(),
            Object::DestinationRule(resource) => resource.meta.reference.clone(),
            Object::ServiceEntry(resource) => resource.meta.reference.clone(),
            Object::Gateway(resource) => resource.meta.reference.clone(),
            Object::ShuntPolicy(resource) => resource.meta.reference.clone(),
        };
        let ObjectRef { kind, namespace, name, ordinal: _ } = &reference;
        if !self.known.insert([kind.clone(), namespace.clone(), name.clone()]) {
            diagnostics.error(
                &At::object(&reference).field("metadata").field("name"),
                "duplicate-object",
                format!("{reference} is defined twice"),
                "keep one of them",
            );
            return;
        }
        match object {
            Object::VirtualService(resource) => self.virtual_services.push(*resource),
            Object::DestinationRule(resource) => self.destination_rules.push(*resource),
            Object::ServiceEntry(resource) => self.service_entries.push(*resource),
            Object::Gateway(resource) => self.gateways.push(*resource),
            Object::ShuntPolicy(resource) => self.shunt_policies.push(*resource),
        }
        if cfg!(feature = "tools") {
            self.written.push(decode::without_status(value));
        }
    }

    /// Makes ServiceEntries of Kubernetes' Services, once everything is read. To be called once, before anybody looks.
    #[cfg(feature = "tools")]
    pub fn complete(&mut self, diagnostics: &mut Diagnostics) {
        for translated in self.kubernetes.translate() {
            let Translated { resource, written, has_slices, labels_known, workloads } = translated;
            let host = resource.spec.hosts.first().cloned().unwrap_or_default();
            let has_subsets = self.destination_rules.iter().any(|rule| {
                !rule.spec.subsets.is_empty() && names::full_host(&rule.spec.host, rule.meta.namespace()) == host
            });
            let at = At::object(&resource.meta.reference);
            if !has_slices {
                let help = "add them: kubectl get endpointslices,pods -o yaml";
                diagnostics.note(&at, "endpoints-unknown", "no EndpointSlice of this Service is in the files", help);
            } else if has_subsets && !labels_known {
                let message = "Pods behind this Service are not in the files: nobody can tell which version they are, and subsets stay empty";
                diagnostics.warning(&at, "endpoints-unknown", message, "add them: kubectl get pods -o yaml");
            }
            if !has_slices || !labels_known {
                self.endpoints_unknown.insert(host.clone());
            }
            self.workloads.insert(host, workloads);
            self.service_entries.push(resource);
            self.written.push(written);
        }
    }

    /// Takes an ordinal for something that is no object, so that a fault in it has a place too.
    #[cfg(feature = "yaml")]
    pub(crate) fn skip_ordinal(&mut self) -> usize {
        let ordinal = self.read;
        self.read = self.read.saturating_add(1);
        ordinal
    }

    /// Whether nothing at all was read.
    pub fn is_empty(&self) -> bool {
        #[cfg(feature = "tools")]
        if self.kubernetes != Kubernetes::default() {
            return false;
        }
        self.written.is_empty()
    }
}
