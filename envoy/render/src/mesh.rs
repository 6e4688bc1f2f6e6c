//! What all manifests for a mesh say of themselves: what they are called, for whom they are, and where the filter is.

use istio_config::FilterConfig;
use istio_config::filter_config::Listener;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// What the rules do not say: where the manifests go and for whom they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// `metadata.name`, or how it begins where there are several objects of one kind.
    pub name: String,
    /// `metadata.namespace`: that of the workloads, or Istio's root namespace for all of them.
    pub namespace: String,
    /// Labels of the workloads. Empty: every workload of the namespace.
    pub selector: BTreeMap<String, String>,
    /// `spec.targetRefs`, instead of labels.
    pub targets: Vec<TargetRef>,
    /// `spec.priority`: the filter with the highest one meets a request first; 0 is Istio's default.
    pub priority: i32,
    /// Where a proxy finds the compiled filter.
    pub code: Code,
}

/// One of `spec.targetRefs` (`PolicyTargetReference`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetRef {
    /// API group, empty for Kubernetes' own.
    pub group: String,
    /// `Gateway`, `GatewayClass`, `Service` or `ServiceEntry`.
    pub kind: String,
    /// Its name.
    pub name: String,
}

/// Where a proxy finds the compiled filter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Code {
    /// In this file of the proxy's own file system.
    File(String),
    /// At this address, from which Istio's agent or Envoy Gateway fetches it.
    Url {
        /// `oci://`, `http://` or `https://`.
        url: String,
        /// What is to be found there, in hexadecimal digits: the module, or the image's manifest. `None`: anything.
        sha256: Option<String>,
    },
}

/// The rules of one listener, ready to be shipped.
#[derive(Clone, Debug)]
pub struct Shipped {
    /// Which listener.
    pub listener: Listener,
    /// The port that Envoy listens on there; differs from the listener's own where a Service maps it.
    pub port: u16,
    /// What the filter reads there.
    pub config: FilterConfig,
}

impl Manifest {
    /// How the names of its profiles begin: no other manifest's do. `/` is in no name of Kubernetes.
    pub(crate) fn owner(&self) -> String {
        format!("{}/{}/", self.namespace, self.name)
    }

    /// `metadata` of one of its objects.
    pub(crate) fn metadata(&self, name: &str) -> Value {
        json!({ "name": name, "namespace": self.namespace })
    }

    /// The part of a `spec` that says for whom it is and in which order; `labels` is what Istio calls the labels there.
    pub(crate) fn scope(&self, labels: (&str, &str)) -> Map<String, Value> {
        let mut spec = Map::new();
        if !self.selector.is_empty() {
            spec.insert(labels.0.to_owned(), json!({ labels.1: self.selector }));
        }
        if !self.targets.is_empty() {
            spec.insert("targetRefs".to_owned(), self.targets.iter().map(TargetRef::value).collect());
        }
        if self.priority != 0 {
            spec.insert("priority".to_owned(), json!(self.priority));
        }
        spec
    }
}

impl TargetRef {
    /// As `targetRefs` and `parentRefs` have it.
    pub(crate) fn value(&self) -> Value {
        let Self { group, kind, name } = self;
        json!({ "group": group, "kind": kind, "name": name })
    }
}

/// An object of Kubernetes.
pub(crate) fn object(version: &str, kind: &str, metadata: Value, spec: impl Into<Value>) -> Value {
    json!({ "apiVersion": version, "kind": kind, "metadata": metadata, "spec": spec.into() })
}
