//! The block `tls`: how endpoints are spoken to under TLS, as istiod reads it (`pilot/pkg/networking/core/cluster_tls.go`).

use crate::traffic_policy::not_yet;
use istio_config::Diagnostics;
use istio_config::destination_rule as raw;
use istio_config::destination_rule::ClientTlsMode;
use istio_config::diagnostic::At;

/// TLS towards endpoints, version 1.2 or 1.3.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct UpstreamTls {
    /// What the proxy shows of itself (mode `MUTUAL`). `None`: nothing.
    pub client: Option<ClientCertificate>,
    /// Who must have signed the endpoint's certificate. `None`: anybody (`insecureSkipVerify`).
    pub roots: Option<Roots>,
    /// File with certificates that are revoked (`caCrl`).
    pub revoked: Option<String>,
    /// The certificate must carry one of these (`subjectAltNames`, else those of the ServiceEntry). Empty: no matter.
    pub names: Vec<String>,
    /// The server name that is asked for (`sni`). `None`: the request's own host (Envoy's `auto_sni`).
    pub server_name: Option<String>,
    /// The certificate must carry the request's own host (Envoy's `auto_san_validation`).
    pub is_for_host: bool,
}

/// Files with what the proxy shows of itself, in PEM.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ClientCertificate {
    /// The certificate and what leads from it to its root (`clientCertificate`).
    pub chain: String,
    /// Its key (`privateKey`).
    pub key: String,
}

/// Certificates that are trusted.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Roots {
    /// Those of the machine.
    System,
    /// Those in this file, in PEM (`caCertificates`).
    File(String),
}

/// What the block says; that is something else than a block that is absent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum TlsBlock {
    Off,
    On(UpstreamTls),
}

impl TlsBlock {
    /// Reads the block at `at`.
    pub(crate) fn compile(at: &At<'_>, raw: &raw::ClientTlsSettings, diagnostics: &mut Diagnostics) -> Self {
        let raw::ClientTlsSettings {
            mode,
            client_certificate,
            private_key,
            ca_certificates,
            credential_name,
            subject_alt_names,
            sni,
            insecure_skip_verify,
            ca_crl,
        } = raw;
        let client = match mode {
            None | Some(ClientTlsMode::Disable) => return Self::Off,
            Some(ClientTlsMode::IstioMutual) => {
                let what = "endpoints are called without TLS, as the certificates of a mesh are not at hand outside it";
                not_yet(&at.field("mode"), what, diagnostics);
                return Self::Off;
            }
            Some(ClientTlsMode::Simple) => None,
            Some(ClientTlsMode::Mutual) => {
                Some(ClientCertificate { chain: client_certificate.clone(), key: private_key.clone() })
            }
        };
        if !credential_name.is_empty() {
            // A sidecar of Istio does the same, unless the rule has a workloadSelector.
            let what = "endpoints are called without TLS; a secret has no file. Name files: `caCertificates`, `clientCertificate`";
            not_yet(&at.field("credentialName"), what, diagnostics);
            return Self::Off;
        }
        let is_insecure = *insecure_skip_verify == Some(true);
        let some = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
        Self::On(UpstreamTls {
            client,
            roots: (!is_insecure).then(|| some(ca_certificates).map_or(Roots::System, Roots::File)),
            revoked: some(ca_crl).filter(|_| !is_insecure),
            names: if is_insecure { Vec::new() } else { subject_alt_names.clone() },
            server_name: some(sni),
            is_for_host: sni.is_empty() && subject_alt_names.is_empty() && !is_insecure,
        })
    }

    /// What holds for a service whose ServiceEntry has these `subjectAltNames`.
    pub(crate) fn for_service(&self, names: &[String]) -> Option<UpstreamTls> {
        let Self::On(tls) = self else { return None };
        let mut tls = tls.clone();
        if tls.names.is_empty() && tls.roots.is_some() {
            tls.names = names.to_vec();
        }
        Some(tls)
    }
}
