//! VirtualServices bound to Gateways that have no server for them (IST0132).
//!
//! That there is no such Gateway at all, the policy reports.

use crate::view::{self, MESH, View};
use istio_config::diagnostic::At;
use istio_config::{Diagnostics, Gateway, Resource, VirtualService, names};

pub(crate) fn analyse(view: &View<'_>, diagnostics: &mut Diagnostics) {
    for expanded in &view.expanded {
        let service = &*expanded.service;
        let bound = view::gateways_of(service);
        let known: Vec<(usize, &Resource<Gateway>)> =
            bound.iter().enumerate().filter_map(|(index, name)| Some((index, gateway(view, name)?))).collect();
        let object = At::object(&service.meta.reference);
        let spec = object.field("spec");
        let (list, hosts) = (spec.field("gateways"), spec.field("hosts"));
        let full: Vec<String> =
            service.spec.hosts.iter().map(|host| names::full_host(host, service.meta.namespace())).collect();
        for (index, gateway) in &known {
            if !full.iter().any(|host| serves(gateway, service, host)) {
                let message = format!(
                    "Gateway {} has no server for {}: none of these rules is served there",
                    gateway.meta.full_name(),
                    service.spec.hosts.join(", ")
                );
                let help = "add a host to `servers[].hosts` of the Gateway, or bind the rules to another one";
                diagnostics.warning(&list.index(*index), "IST0132", message, help);
            }
        }
        // With an unknown Gateway, or in the mesh, a host may well be served.
        let all_known = known.len() == bound.len() && !bound.iter().any(|name| name == MESH);
        for (index, host) in full.iter().enumerate().filter(|_| all_known) {
            let served_at_all = known.iter().any(|(_, gateway)| full.iter().any(|host| serves(gateway, service, host)));
            if served_at_all && !known.iter().any(|(_, gateway)| serves(gateway, service, host)) {
                let message = format!("no Gateway that these rules are bound to has a server for `{host}`");
                let help = "add the host to `servers[].hosts` of the Gateway, or remove it here";
                diagnostics.warning(&hosts.index(index), "IST0132", message, help);
            }
        }
    }
}

fn gateway<'c>(view: &View<'c>, name: &str) -> Option<&'c Resource<Gateway>> {
    view.config.gateways.iter().find(|gateway| gateway.meta.full_name() == name)
}

/// Whether a server of the Gateway and this host have names in common, and the server's namespaces include the rule's.
fn serves(gateway: &Resource<Gateway>, service: &Resource<VirtualService>, host: &str) -> bool {
    let hosts = gateway.spec.servers.iter().flat_map(|server| &server.hosts);
    hosts.into_iter().any(|written| {
        let (namespace, server_host) = written.split_once('/').unwrap_or(("*", written));
        let sees = match namespace {
            "*" => true,
            "." => service.meta.namespace() == gateway.meta.namespace(),
            name => service.meta.namespace() == name,
        };
        let server_host = server_host.to_ascii_lowercase();
        sees && (server_host == host || names::covers(&server_host, host) || names::covers(host, &server_host))
    })
}
