//! Where a VirtualService is reached: in the mesh, by the ports of services, and through the servers of Gateways.
//!
//! Istio makes a listener of each port; Shunt has one listener for all. Who decides and who carries out read here which
//! servers lead to a rule and which port its destinations take that name none.

use crate::config::{Config, Resource};
use crate::gateway::{Server, ServerTlsMode};
use crate::services::Services;
use crate::{Gateway, VirtualService, names};

/// The gateway name that stands for all sidecars.
pub const MESH: &str = "mesh";

/// The port of rules whose hosts are no service's: there istiod puts them too.
pub const HTTP_PORT: u16 = 80;

/// The gateways of a VirtualService in full; `mesh` where it names none.
pub fn gateway_names(service: &Resource<VirtualService>) -> Vec<String> {
    match service.spec.gateways.as_slice() {
        [] => vec![MESH.to_owned()],
        named => named.iter().map(|name| full_gateway(name, service.meta.namespace())).collect(),
    }
}

/// `mesh` and `namespace/name` stay; `name` and `./name` get the rule's namespace; of `name.namespace.svc.cluster.local`, as
/// it was written long ago, the first two parts count (istio `pilot/pkg/model/config.go`, `resolveGatewayName`).
pub fn full_gateway(name: &str, namespace: &str) -> String {
    match (name.split_once('/'), name.split_once('.')) {
        _ if name == MESH => name.to_owned(),
        (Some((".", name)), _) => format!("{namespace}/{name}"),
        (Some(_), _) => name.to_owned(),
        (None, Some((name, rest))) => format!("{}/{name}", rest.split('.').next().unwrap_or(rest)),
        (None, None) => format!("{namespace}/{name}"),
    }
}

/// The port by which the mesh reaches a host, in full: the service's main one, else 80.
pub fn mesh_port(host: &str, services: &Services) -> u16 {
    services.main_port(host).unwrap_or(HTTP_PORT)
}

/// The port of a server that carries plain HTTP; `None` for all others, which are not served.
pub fn http_port(server: &Server) -> Option<u16> {
    let is_http = ["HTTP", "HTTP2", "GRPC"].iter().any(|served| served.eq_ignore_ascii_case(&server.port.protocol));
    u16::try_from(server.port.number).ok().filter(|port| is_http && *port != 0)
}

/// The port of a server whose requests istiod routes by `http` rules: plain HTTP, or HTTPS that ends at the gateway.
pub fn terminated_port(server: &Server) -> Option<u16> {
    let ends_here = || {
        let mode = server.tls.as_ref().and_then(|tls| tls.mode);
        matches!(
            mode,
            Some(
                ServerTlsMode::Simple
                    | ServerTlsMode::Mutual
                    | ServerTlsMode::OptionalMutual
                    | ServerTlsMode::IstioMutual
            )
        )
    };
    let is_https = server.port.protocol.eq_ignore_ascii_case("HTTPS");
    http_port(server)
        .or_else(|| u16::try_from(server.port.number).ok().filter(|port| is_https && *port != 0 && ends_here()))
}

/// A host of a Gateway's server: the namespaces that see it, `*` unless said, and its name in lower case.
pub fn server_host(written: &str) -> (&str, String) {
    let (sees, host) = written.split_once('/').unwrap_or(("*", written));
    (sees, names::normalised(host))
}

/// The hosts that a Gateway's server and the rules of one namespace have in common, in lower case; of two that cover each
/// other, the narrower one.
pub fn shared_domains(gateway: &Resource<Gateway>, server: &Server, hosts: &[String], namespace: &str) -> Vec<String> {
    let mut shared = Vec::new();
    for server_host in &server.hosts {
        let (sees, server_host) = self::server_host(server_host);
        let is_seen = match sees {
            "*" => true,
            "." => namespace == gateway.meta.namespace(),
            name => namespace == name,
        };
        for host in hosts.iter().filter(|_| is_seen) {
            if names::covers(&server_host, host) || server_host == *host {
                shared.push(host.clone());
            } else if names::covers(host, &server_host) {
                shared.push(server_host.clone());
            }
        }
    }
    shared
}

/// The port that a destination or a mirror takes where it names none and its host does not decide: of the first host
/// that is a service's, for rules of the mesh; else of the first server that leads to the rules.
///
/// A rule that several ports lead to is decided for each of them, but its mirrors stand in one profile: they take this.
pub fn main_port(service: &Resource<VirtualService>, config: &Config, services: &Services) -> u16 {
    let namespace = service.meta.namespace();
    let hosts: Vec<_> = service.spec.hosts.iter().map(|host| names::full_host(host, namespace)).collect();
    let gateways = gateway_names(service);
    if gateways.iter().any(|name| name == MESH) {
        return hosts.iter().find_map(|host| services.main_port(host)).unwrap_or(HTTP_PORT);
    }
    let bound = config.gateways.iter().filter(|gateway| gateways.contains(&gateway.meta.full_name()));
    let mut ports = bound.flat_map(|gateway| {
        let leading = gateway.spec.servers.iter();
        let leading = leading.filter(|server| !shared_domains(gateway, server, &hosts, namespace).is_empty());
        leading.filter_map(http_port)
    });
    ports.next().unwrap_or(HTTP_PORT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gateway_is_namespace_and_name() {
        for (name, full) in [
            ("mesh", "mesh"),
            ("g", "a/g"),
            ("./g", "a/g"),
            ("b/g", "b/g"),
            ("g.b", "b/g"),
            ("g.b.svc.cluster.local", "b/g"),
        ] {
            assert_eq!(full_gateway(name, "a"), full);
        }
    }
}
