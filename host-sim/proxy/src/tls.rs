//! TLS towards endpoints, as a plan wants it ([`UpstreamTls`]), over rustls.
//!
//! Files are read when a deployment is served and not before the next one. Certificates are verified as Envoy does it: the chain
//! against the roots, and the names apart from the name that is asked for, by `subjectAltNames` and by the request's own host.

use envoy_plan::{Plan, Roots, UpstreamProtocol, UpstreamTls};
use hyper::header::HeaderValue;
use hyper::http::uri::Authority;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
    client::verify_server_name,
};
use std::collections::HashMap;
use std::fmt;
use std::io;
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// What is ready to be used, by what was wanted. Copies are the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct Contexts(Arc<HashMap<(UpstreamTls, UpstreamProtocol), Arc<ClientConfig>>>);

impl Contexts {
    /// Reads all files that a plan names.
    ///
    /// # Errors
    ///
    /// What of which cluster cannot be used, and why, one for each.
    pub(crate) fn read(plan: &Plan) -> Result<Self, Vec<String>> {
        let mut contexts = HashMap::new();
        let mut faults = Vec::new();
        for cluster in plan.clusters.values() {
            let Some(tls) = &cluster.tls else { continue };
            let key = (tls.clone(), cluster.protocol);
            if contexts.contains_key(&key) {
                continue;
            }
            match config(tls, cluster.protocol) {
                Ok(config) => drop(contexts.insert(key, Arc::new(config))),
                Err(fault) => faults.push(format!("tls of {}: {fault}", cluster.name)),
            }
        }
        if faults.is_empty() { Ok(Self(Arc::new(contexts))) } else { Err(faults) }
    }

    /// Speaks TLS on a connection for a request to this host.
    ///
    /// # Errors
    ///
    /// Why the endpoint is not trusted, or does not speak it; and where nothing was read for this, so that nobody gets a request
    /// in the clear that was to be secret.
    pub(crate) async fn connect(
        &self,
        tls: &UpstreamTls,
        protocol: UpstreamProtocol,
        host: &HeaderValue,
        stream: TcpStream,
    ) -> io::Result<TlsStream<TcpStream>> {
        let config = self.0.get(&(tls.clone(), protocol)).ok_or_else(|| io::Error::other("its files were not read"))?;
        let name = match &tls.server_name {
            Some(name) => ServerName::try_from(name.clone()),
            None => ServerName::try_from(host_of(host).to_owned()),
        };
        let name = name.map_err(|_| io::Error::other("no server name can be made of the host"))?;
        TlsConnector::from(Arc::clone(config)).connect(name, stream).await
    }
}

/// The host without its port and without brackets.
fn host_of(authority: &HeaderValue) -> &str {
    let authority = authority.to_str().unwrap_or_default();
    let host = authority.parse::<Authority>().map_or(authority.len(), |parsed| parsed.host().len());
    authority.get(..host).unwrap_or_default().trim_start_matches('[').trim_end_matches(']')
}

fn config(tls: &UpstreamTls, protocol: UpstreamProtocol) -> Result<ClientConfig, String> {
    let UpstreamTls { client, roots, revoked, names, server_name: _, is_for_host } = tls;
    let provider = Arc::new(ring::default_provider());
    let chain = roots.as_ref().map(|roots| chain_verifier(roots, revoked.as_deref(), &provider)).transpose()?;
    let verifier = Verifier { chain, names: names.clone(), is_for_host: *is_for_host, provider: Arc::clone(&provider) };
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS12, &rustls::version::TLS13])
        .map_err(|error| error.to_string())?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier));
    let mut config = match client {
        None => builder.with_no_client_auth(),
        Some(client) => {
            let chain = certificates("clientCertificate", &client.chain)?;
            let key =
                PrivateKeyDer::from_pem_file(&client.key).map_err(|error| fault("privateKey", &client.key, error))?;
            let unfit = |error| format!("{} and {} do not go together: {error}", client.chain, client.key);
            builder.with_client_auth_cert(chain, key).map_err(unfit)?
        }
    };
    if protocol == UpstreamProtocol::Http2 {
        config.alpn_protocols = vec![b"h2".to_vec()];
    }
    Ok(config)
}

fn chain_verifier(
    roots: &Roots,
    revoked: Option<&str>,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<WebPkiServerVerifier>, String> {
    let mut store = RootCertStore::empty();
    match roots {
        Roots::File(path) => {
            for certificate in certificates("caCertificates", path)? {
                store.add(certificate).map_err(|error| fault("caCertificates", path, error))?;
            }
        }
        Roots::System => drop(store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs)),
    }
    if store.is_empty() {
        return Err("this machine has no certificates to trust: name a file in caCertificates".to_owned());
    }
    let mut builder = WebPkiServerVerifier::builder_with_provider(Arc::new(store), Arc::clone(provider));
    if let Some(path) = revoked {
        let lists = CertificateRevocationListDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
        builder = builder.with_crls(lists.map_err(|error| fault("caCrl", path, error))?);
    }
    builder.build().map_err(|error| error.to_string())
}

fn certificates(field: &str, path: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    let all = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let all = all.map_err(|error| fault(field, path, error))?;
    if all.is_empty() { Err(fault(field, path, "no certificate in PEM is in there")) } else { Ok(all) }
}

fn fault(field: &str, path: &str, error: impl fmt::Display) -> String {
    format!("{field}: {path}: {error}")
}

/// Trusts as Envoy does.
#[derive(Debug)]
struct Verifier {
    /// `None`: anybody is trusted.
    chain: Option<Arc<WebPkiServerVerifier>>,
    names: Vec<String>,
    is_for_host: bool,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        asked: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let Some(chain) = &self.chain else { return Ok(ServerCertVerified::assertion()) };
        // It looks at the name last, so a complaint about that means that the chain is good.
        let is_asked = match chain.verify_server_cert(certificate, intermediates, asked, ocsp_response, now) {
            Ok(_) => true,
            Err(Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => false,
            Err(error) => return Err(error),
        };
        // Where the host counts, it is what was asked for.
        if self.is_for_host && !is_asked
            || !self.names.is_empty() && !self.names.iter().any(|name| carries(certificate, name))
        {
            return Err(Error::InvalidCertificate(CertificateError::NotValidForName));
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// Whether the certificate carries the name as a DNS name, with wildcards, as an IP address or as a URI.
fn carries(certificate: &CertificateDer<'_>, name: &str) -> bool {
    let by_name = ServerName::try_from(name).ok().zip(ParsedCertificate::try_from(certificate).ok());
    by_name.is_some_and(|(name, parsed)| verify_server_name(&parsed, &name).is_ok())
        || webpki::EndEntityCert::try_from(certificate).is_ok_and(|certificate| {
            certificate.valid_uri_names().chain(certificate.valid_dns_names()).any(|known| known == name)
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_asked_for_without_its_port() {
        let host = |text: &'static str| host_of(&HeaderValue::from_static(text)).to_owned();
        assert_eq!(
            [host("a.com"), host("a.com:443"), host("[::1]:80"), host("10.0.0.1:1")],
            ["a.com", "a.com", "::1", "10.0.0.1"]
        );
    }
}
