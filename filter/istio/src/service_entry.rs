//! `ServiceEntry` (istio/api `networking/v1alpha3/service_entry.proto`): hosts, their ports and their endpoints.

use serde::Deserialize;
use std::collections::BTreeMap;

raw! {
    /// A service in the registry.
    pub struct ServiceEntry {
        /// Host names.
        pub hosts: Vec<String>,
        /// Virtual addresses.
        pub addresses: Vec<String>,
        /// Ports.
        pub ports: Vec<ServicePort>,
        /// Inside or outside the mesh; absent means outside.
        pub location: Option<Location>,
        /// How endpoints are found; absent means `NONE`.
        pub resolution: Option<Resolution>,
        /// Endpoints.
        pub endpoints: Vec<WorkloadEntry>,
        /// Endpoints by the labels of workloads instead.
        pub workload_selector: Option<WorkloadSelector>,
        /// Namespaces that see the service. Empty means all.
        pub export_to: Vec<String>,
        /// Names that the service's certificate may carry.
        pub subject_alt_names: Vec<String>,
    }

    /// One port of a service.
    pub struct ServicePort {
        /// Port number that clients use.
        pub number: u32,
        /// Protocol: HTTP, HTTP2, GRPC, HTTPS, TLS, TCP …
        pub protocol: String,
        /// Name that endpoints refer to.
        pub name: String,
        /// Port of the endpoints where it differs.
        pub target_port: Option<u32>,
    }

    /// One endpoint.
    pub struct WorkloadEntry {
        /// IP address, host name or `unix://` path.
        pub address: String,
        /// Ports by the service port's name, where they differ.
        pub ports: BTreeMap<String, u32>,
        /// Labels that subsets select by.
        pub labels: BTreeMap<String, String>,
        /// Network.
        pub network: String,
        /// Region, zone and subzone.
        pub locality: String,
        /// Share relative to other endpoints; absent means 1.
        pub weight: Option<u32>,
        /// Service account.
        pub service_account: String,
    }

    /// Selects workloads by labels.
    pub struct WorkloadSelector {
        /// All must be present.
        pub labels: BTreeMap<String, String>,
    }
}

/// Whether a service is part of the mesh.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Location {
    /// Outside.
    MeshExternal,
    /// Inside.
    MeshInternal,
}

/// How endpoints are found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Resolution {
    /// The address the client meant.
    None,
    /// The listed endpoints.
    Static,
    /// By DNS, all answers.
    Dns,
    /// By DNS, one answer at a time.
    DnsRoundRobin,
    /// By DNS, whatever host the request names.
    DynamicDns,
}
