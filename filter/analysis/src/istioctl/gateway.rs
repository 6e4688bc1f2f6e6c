//! `ValidateGateway`.

use super::names;
use istio_config::diagnostic::At;
use istio_config::gateway::{Port, Server, ServerTlsMode, ServerTlsSettings};
use istio_config::{Diagnostics, Gateway, Resource};
use std::collections::BTreeSet;
use std::net::IpAddr;

/// Protocols of Istio, in lower case, and what they are.
const HTTP: [&str; 5] = ["http", "http2", "http_proxy", "grpc", "grpc-web"];
const TLS: [&str; 2] = ["https", "tls"];
const OTHERS: [&str; 5] = ["tcp", "udp", "mongo", "redis", "mysql"];

pub(super) fn check(resource: &Resource<Gateway>, diagnostics: &mut Diagnostics) {
    let object = At::object(&resource.meta.reference);
    let name = resource.meta.name();
    if !names::is_label(name) {
        let message = format!("`{name}` cannot be the name of a Gateway");
        let help = "use letters, digits and `-`, at most 63, and no dots";
        diagnostics.error(&object.field("metadata").field("name"), "bad-gateway-name", message, help);
    }
    let list = object.field("spec");
    let list = list.field("servers");
    let servers = &resource.spec.servers;
    if servers.is_empty() {
        diagnostics.error(&list, "bad-server", "a Gateway without servers", "add one with `port` and `hosts`");
    }
    let mut seen = BTreeSet::new();
    for (index, server) in servers.iter().enumerate() {
        let at = list.index(index);
        check_server(&at, server, diagnostics);
        if server.port != Port::default() && !seen.insert(server.port.name.as_str()) {
            let message = format!("two servers have a port called `{}`", server.port.name);
            diagnostics.error(&at.field("port").field("name"), "duplicate-port", message, "give each its own name");
        }
    }
}

fn check_server(at: &At<'_>, server: &Server, diagnostics: &mut Diagnostics) {
    let Server { port, bind, hosts, tls, default_endpoint: _, name: _ } = server;
    if hosts.is_empty() {
        diagnostics.error(&at.field("hosts"), "bad-server", "a server without hosts", "name them, or write \"*\"");
    }
    let field = at.field("hosts");
    for (index, host) in hosts.iter().enumerate() {
        check_host(&field.index(index), host, diagnostics);
    }
    let is_port_sound = check_port(&at.field("port"), port, bind, diagnostics);
    if !bind.is_empty() && !bind.starts_with("unix://") && bind.parse::<IpAddr>().is_err() {
        diagnostics.error(&at.field("bind"), "bad-address", format!("`{bind}` is no IP address"), "write one");
    }
    if let Some(tls) = tls {
        check_tls(&at.field("tls"), tls, diagnostics);
    }
    if !is_port_sound {
        return;
    }
    let protocol = port.protocol.to_lowercase();
    let is_tls = TLS.contains(&protocol.as_str());
    match tls {
        None if is_tls => {
            let message = format!("a server with protocol {} and without `tls`", port.protocol);
            diagnostics.error(&at.field("tls"), "bad-server", message, "add `tls` with a mode");
        }
        Some(tls) if !is_tls => {
            let (is_http, has_files) = (HTTP.contains(&protocol.as_str()), has_files(tls));
            // With the mode left out, which is PASSTHROUGH, a redirect to https is all that is asked for.
            let passes = matches!(tls.mode, None | Some(ServerTlsMode::Passthrough | ServerTlsMode::AutoPassthrough));
            if !is_http || !passes || has_files {
                let message = format!("`tls` on a server with protocol {}", port.protocol);
                let help = "use protocol HTTPS, or keep only httpsRedirect";
                diagnostics.error(&at.field("tls"), "bad-server", message, help);
            }
        }
        _ => {}
    }
}

fn has_files(tls: &ServerTlsSettings) -> bool {
    [&tls.ca_certificates, &tls.private_key, &tls.server_certificate].iter().any(|file| !file.is_empty())
}

fn check_host(at: &At<'_>, host: &str, diagnostics: &mut Diagnostics) {
    let (namespace, name) = host.split_once('/').map_or((None, host), |(space, name)| (Some(space), name));
    if let Some(namespace) = namespace.filter(|name| *name != "*" && *name != "." && !names::is_label(name)) {
        let message = format!("`{namespace}` is no namespace");
        diagnostics.error(at, "bad-host", message, "write NAMESPACE/HOST with a name, `.` or `*` in front");
    }
    let is_partial = name.contains('*') && name != "*" && !name.starts_with("*.");
    let is_name = names::is_wildcard_domain(name) || name.parse::<IpAddr>().is_ok();
    if !is_name || is_partial {
        let message = format!("`{name}` is not a host");
        diagnostics.error(
            at,
            "bad-host",
            message,
            "write a DNS name without a port, or a wildcard such as *.example.com",
        );
    } else if name != "*" && !name.contains(['.', ':']) {
        let message = format!("`{name}`: a Gateway takes no short names");
        diagnostics.error(at, "bad-host", message, "write the host as clients do, with its domain");
    }
}

/// Whether nothing is wrong with the port.
fn check_port(at: &At<'_>, port: &Port, bind: &str, diagnostics: &mut Diagnostics) -> bool {
    if *port == Port::default() {
        diagnostics.error(at, "bad-server", "a server without a port", "add `port` with number, name and protocol");
        return false;
    }
    let Port { number, protocol, name, target_port } = port;
    let mut sound = true;
    let mut refuse = |field: &str, code, message: String, help: &str| {
        diagnostics.error(&at.field(field), code, message, help);
        sound = false;
    };
    let lower = protocol.to_lowercase();
    if ![HTTP.as_slice(), &TLS, &OTHERS].concat().contains(&lower.as_str()) {
        let message = format!("`{protocol}` is no protocol");
        refuse("protocol", "bad-protocol", message, "use HTTP, HTTPS, HTTP2, GRPC, GRPC-WEB, TLS, TCP or MONGO");
    }
    if !names::is_port(*number) && (*number > 0 || !bind.starts_with("unix://")) {
        refuse("number", "bad-port", format!("{number} is no port"), "use 1 to 65535");
    }
    if target_port.is_some_and(|port| port > 0) {
        refuse("targetPort", "bad-server", "targetPort has no effect on a Gateway".to_owned(), "remove it");
    }
    if name.is_empty() {
        refuse("name", "bad-port-name", "a port of a Gateway has a name".to_owned(), "add port.name");
    }
    sound
}

/// `validateTLSOptions`.
fn check_tls(at: &At<'_>, tls: &ServerTlsSettings, diagnostics: &mut Diagnostics) {
    let mut refuse = |message: &str, help: &str| diagnostics.error(at, "bad-server", message, help);
    let mode = tls.mode.unwrap_or(ServerTlsMode::Passthrough);
    let is_secret = !tls.credential_name.is_empty() || !tls.credential_names.is_empty();
    let has_pair = !tls.server_certificate.is_empty() && !tls.private_key.is_empty();
    if mode == ServerTlsMode::IstioMutual {
        if has_files(tls) || !tls.tls_certificates.is_empty() || is_secret {
            refuse("ISTIO_MUTUAL takes no certificates of its own", "remove them");
        }
        return;
    }
    let sources =
        [has_pair, !tls.credential_name.is_empty(), !tls.credential_names.is_empty(), !tls.tls_certificates.is_empty()];
    if sources.iter().filter(|is_used| **is_used).count() > 1 {
        refuse("certificates from more than one place", "keep credentialName, or the files");
    }
    let is_mutual = matches!(mode, ServerTlsMode::Mutual | ServerTlsMode::OptionalMutual);
    if !is_mutual && mode != ServerTlsMode::Simple || is_secret {
        return;
    }
    if is_mutual && tls.ca_certificates.is_empty() {
        refuse("mutual TLS without the CA of its clients", "add caCertificates, or credentialName");
    }
    let listed = tls.tls_certificates.iter();
    let lacks_file = match tls.tls_certificates.is_empty() {
        true => !has_pair,
        false => listed.into_iter().any(|pair| pair.server_certificate.is_empty() || pair.private_key.is_empty()),
    };
    if lacks_file {
        refuse("TLS without a certificate and its key", "add credentialName, or serverCertificate and privateKey");
    }
    if !tls.ca_crl.is_empty() && mode == ServerTlsMode::Simple {
        refuse("a revocation list where no client shows a certificate", "remove caCrl");
    }
}

#[cfg(test)]
mod tests {
    use crate::istioctl::testing;

    const HTTP: &str = r#""port": {"number": 80, "name": "http", "protocol": "HTTP"}"#;

    fn check(servers: &str, expected: &[&str]) {
        let expected: Vec<String> = expected.iter().map(|finding| format!("spec.servers{finding}")).collect();
        let spec = format!(r#"{{"servers": [{servers}]}}"#);
        testing::check("Gateway", &spec, &expected.iter().map(String::as_str).collect::<Vec<_>>());
    }

    #[test]
    fn servers_have_ports_and_hosts() {
        check("", &["[bad-server]"]);
        check(&format!("{{{HTTP}}}"), &["[0].hosts[bad-server]"]);
        check(r#"{"hosts": ["*"]}"#, &["[0].port[bad-server]"]);
        check(
            r#"{"hosts": ["*"], "port": {"number": 0, "protocol": "FOO", "targetPort": 8}}"#,
            &[
                "[0].port.protocol[bad-protocol]",
                "[0].port.number[bad-port]",
                "[0].port.targetPort[bad-server]",
                "[0].port.name[bad-port-name]",
            ],
        );
        check(
            &format!(r#"{{{HTTP}, "hosts": ["*"]}}, {{{HTTP}, "hosts": ["a.com"]}}"#),
            &["[1].port.name[duplicate-port]"],
        );
        check(
            &format!(
                r#"{{{HTTP}, "hosts": ["a.com:80", "a_b.com", "short", "a b/c.com", "*x.com", "ns/a.com", "./*", "10.0.0.1"]}}"#
            ),
            &[
                "[0].hosts[0][bad-host]",
                "[0].hosts[1][bad-host]",
                "[0].hosts[2][bad-host]",
                "[0].hosts[3][bad-host]",
                "[0].hosts[4][bad-host]",
            ],
        );
    }

    #[test]
    fn tls_belongs_to_https() {
        let server = |protocol: &str, tls: &str| {
            format!(r#"{{"port": {{"number": 80, "name": "p", "protocol": "{protocol}"}}, "hosts": ["*"]{tls}}}"#)
        };
        check(&server("HTTPS", ""), &["[0].tls[bad-server]"]);
        check(&server("HTTP", r#", "tls": {"mode": "SIMPLE", "credentialName": "c"}"#), &["[0].tls[bad-server]"]);
        check(&server("TCP", r#", "tls": {"httpsRedirect": true}"#), &["[0].tls[bad-server]"]);
        check(&server("HTTP", r#", "tls": {"httpsRedirect": true}"#), &[]);
        check(&server("HTTPS", r#", "tls": {"mode": "SIMPLE", "credentialName": "c"}"#), &[]);
        check(&server("HTTPS", r#", "tls": {"mode": "SIMPLE"}"#), &["[0].tls[bad-server]"]);
        check(
            &server("HTTPS", r#", "tls": {"mode": "ISTIO_MUTUAL", "credentialName": "c"}"#),
            &["[0].tls[bad-server]"],
        );
    }

    #[test]
    fn a_gateways_name_has_no_dots() {
        let spec = format!(r#"{{"servers": [{{{HTTP}, "hosts": ["*"]}}]}}"#);
        assert_eq!(testing::refused("Gateway", "a.b", &spec), ["metadata.name[bad-gateway-name]"]);
    }
}
