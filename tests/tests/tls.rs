//! TLS towards endpoints (`trafficPolicy.tls`) in the proxy and in real Envoy, with a server and certificates made here.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "this is a test")]

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection, StreamOwned};
use shunt_tests::arms::{self, Arm, Proxy};
use shunt_tests::case::{self, Case};
use shunt_tests::process;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use tempfile::TempDir;

/// A folder with `ca.pem`, `other-ca.pem`, and `server`, `client` with `.pem` and `.key`, both signed by the first.
fn certificates() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: String| std::fs::write(folder.path().join(name), text).unwrap();
    let authority = |name: &str| {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        // Where a certificate is called like its issuer, it counts as signed by itself.
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        write(name, params.self_signed(&key).unwrap().pem());
        Issuer::new(params, key)
    };
    let issuer = authority("ca.pem");
    authority("other-ca.pem");
    for (name, host) in [("server", "secure.example.com"), ("client", "client.example.com")] {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![host.to_owned()]).unwrap();
        write(&format!("{name}.pem"), params.signed_by(&key, &issuer).unwrap().pem());
        write(&format!("{name}.key"), key.serialize_pem());
    }
    folder
}

/// A server under TLS that answers every request with the name it was asked for, and whether the client showed a certificate.
fn server(folder: &Path) -> SocketAddr {
    let certificate = |name: &str| CertificateDer::from_pem_file(folder.join(name)).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = RootCertStore::empty();
    roots.add(certificate("ca.pem")).unwrap();
    let clients = WebPkiClientVerifier::builder_with_provider(roots.into(), Arc::clone(&provider));
    let key = PrivateKeyDer::from_pem_file(folder.join("server.key")).unwrap();
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(clients.allow_unauthenticated().build().unwrap())
        .with_single_cert(vec![certificate("server.pem")], key)
        .unwrap();
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let config = Arc::clone(&config);
            // A client that does not trust it breaks the connection off.
            std::thread::spawn(move || drop(answer(stream, config)));
        }
    });
    address
}

fn answer(stream: TcpStream, config: Arc<ServerConfig>) -> std::io::Result<()> {
    let connection = ServerConnection::new(config).map_err(std::io::Error::other)?;
    let mut stream = BufReader::new(StreamOwned::new(connection, stream));
    loop {
        let mut line = String::new();
        while line != "\r\n" {
            line.clear();
            if stream.read_line(&mut line)? == 0 {
                return Ok(());
            }
        }
        let connection = &stream.get_ref().conn;
        let asked = connection.server_name().unwrap_or("nobody");
        let body = format!("{asked}, client: {}", connection.peer_certificates().is_some());
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
        stream.get_mut().write_all((head + &body).as_bytes())?;
    }
}

/// A request to this host, whose endpoint is the server, under these settings.
fn case(host: &str, server: SocketAddr, tls: &str) -> Case {
    let port = server.port();
    let text = format!(
        "name: tls
about: TLS towards endpoints
objects: |
  apiVersion: networking.istio.io/v1
  kind: ServiceEntry
  metadata: {{name: secure}}
  spec: {{hosts: [{host}], resolution: STATIC, ports: [{{number: 80, name: http, protocol: HTTP}}], endpoints: [{{address: 127.0.0.1, ports: {{http: {port}}}}}]}}
  ---
  apiVersion: networking.istio.io/v1
  kind: DestinationRule
  metadata: {{name: secure}}
  spec: {{host: {host}, trafficPolicy: {{tls: {{{tls}}}}}}}
rules:
  {host}:
  - {{route: [{{destination: {{host: {host}}}}}]}}
requests:
- {{send: GET {host} /, expect: {{}}}}
"
    );
    case::read("tls", &text).unwrap().remove(0)
}

#[test]
fn endpoints_are_spoken_to_under_tls_and_not_trusted_blindly() {
    let folder = certificates();
    let server = server(folder.path());
    let file = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
    let ca = format!("caCertificates: {}", file("ca.pem"));
    let own = format!("clientCertificate: {}, privateKey: {}", file("client.pem"), file("client.key"));
    let (good, other) = ("secure.example.com", "other.example.com");
    let checks = [
        (good, format!("mode: SIMPLE, {ca}"), Some("secure.example.com, client: false")),
        (good, format!("mode: MUTUAL, {ca}, {own}"), Some("secure.example.com, client: true")),
        (good, format!("mode: SIMPLE, caCertificates: {}", file("other-ca.pem")), None),
        // Without names the certificate must be the host's; with names it must carry one of them.
        (other, format!("mode: SIMPLE, {ca}"), None),
        (
            other,
            format!("mode: SIMPLE, {ca}, subjectAltNames: [secure.example.com]"),
            Some("other.example.com, client: false"),
        ),
        (good, format!("mode: SIMPLE, {ca}, subjectAltNames: [other.example.com]"), None),
        // Who names a server name and no others asks for that and takes any certificate of these roots.
        (other, format!("mode: SIMPLE, {ca}, sni: x.example.com"), Some("x.example.com, client: false")),
        (other, "mode: SIMPLE, insecureSkipVerify: true".to_owned(), Some("other.example.com, client: false")),
        // The roots of the machine did not sign it, and without TLS nobody understands anybody.
        (good, "mode: SIMPLE".to_owned(), None),
        (good, "mode: DISABLE".to_owned(), None),
    ];
    for arm in arms::of_sockets("TLS towards endpoints") {
        for (host, tls, expected) in &checks {
            let case = case(host, server, tls);
            let at = format!("{}: {host}: {tls}", arm.name());
            let mut running = arm.start(&case).unwrap_or_else(|error| panic!("{at}: {error}"));
            for _ in 0..2 {
                let reply = running.send(&case.requests[0]).unwrap_or_else(|error| panic!("{at}: {error}"));
                let body = String::from_utf8_lossy(&reply.body);
                match expected {
                    Some(expected) => assert_eq!((reply.status, &*body), (200, *expected), "{at}\n{}", running.log()),
                    None => assert!([502, 503].contains(&reply.status), "{at}: {body}"),
                }
            }
        }
    }
}

#[test]
fn files_that_are_not_there_are_refused_by_name() {
    let shunt = process::shunt().unwrap_or_else(|error| panic!("{error}"));
    let case =
        case("secure.example.com", "127.0.0.1:9".parse().unwrap(), "mode: SIMPLE, caCertificates: /nowhere/ca.pem");
    let error = Proxy::new(shunt).start(&case).err().unwrap();
    assert!(error.contains("tls of outbound|80||secure.example.com: caCertificates: /nowhere/ca.pem: "), "{error}");
}
