//! `Gateway` (istio/api `networking/v1alpha3/gateway.proto`): ports that take traffic into the mesh.

use serde::Deserialize;
use std::collections::BTreeMap;

raw! {
    /// A load balancer at the edge of the mesh.
    pub struct Gateway {
        /// What it listens for.
        pub servers: Vec<Server>,
        /// Labels of the workloads that carry it out.
        pub selector: BTreeMap<String, String>,
    }

    /// One port with its hosts.
    pub struct Server {
        /// The port.
        pub port: Port,
        /// Address to listen on.
        pub bind: String,
        /// Hosts, each with an optional `namespace/` in front.
        pub hosts: Vec<String>,
        /// TLS.
        pub tls: Option<ServerTlsSettings>,
        /// Unused by Istio.
        pub default_endpoint: String,
        /// Name.
        pub name: String,
    }

    /// A port.
    pub struct Port {
        /// Port number.
        pub number: u32,
        /// Protocol: HTTP, HTTPS, GRPC, HTTP2, TLS, TCP, MONGO.
        pub protocol: String,
        /// Name.
        pub name: String,
        /// Deprecated.
        pub target_port: Option<u32>,
    }

    /// TLS of a server.
    pub struct ServerTlsSettings {
        /// Redirect plain requests to https.
        pub https_redirect: bool,
        /// What the server asks of clients.
        pub mode: Option<ServerTlsMode>,
        /// Certificate file.
        pub server_certificate: String,
        /// Key file.
        pub private_key: String,
        /// CA file.
        pub ca_certificates: String,
        /// Revocation list file.
        pub ca_crl: String,
        /// Name of a secret.
        pub credential_name: String,
        /// Names of secrets.
        pub credential_names: Vec<String>,
        /// Name of a secret with the CA.
        pub ca_cert_credential_name: String,
        /// Certificate files.
        pub tls_certificates: Vec<TlsCertificate>,
        /// Names that a client's certificate may carry.
        pub subject_alt_names: Vec<String>,
        /// SPKI hashes of accepted client certificates.
        pub verify_certificate_spki: Vec<String>,
        /// Hashes of accepted client certificates.
        pub verify_certificate_hash: Vec<String>,
        /// Oldest version.
        pub min_protocol_version: Option<TlsProtocol>,
        /// Newest version.
        pub max_protocol_version: Option<TlsProtocol>,
        /// Ciphers.
        pub cipher_suites: Vec<String>,
        /// Accept any client certificate.
        pub insecure_skip_verify: Option<bool>,
    }

    /// Files of one certificate.
    pub struct TlsCertificate {
        /// Certificate file.
        pub server_certificate: String,
        /// Key file.
        pub private_key: String,
        /// CA file.
        pub ca_certificates: String,
    }
}

/// What a server asks of its clients.
#[allow(missing_docs, reason = "Istio's names say it")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ServerTlsMode {
    Passthrough,
    Simple,
    Mutual,
    AutoPassthrough,
    IstioMutual,
    OptionalMutual,
}

/// TLS versions.
#[allow(missing_docs, reason = "Istio's names say it")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum TlsProtocol {
    #[serde(rename = "TLS_AUTO")]
    Auto,
    #[serde(rename = "TLSV1_0")]
    V1_0,
    #[serde(rename = "TLSV1_1")]
    V1_1,
    #[serde(rename = "TLSV1_2")]
    V1_2,
    #[serde(rename = "TLSV1_3")]
    V1_3,
}
