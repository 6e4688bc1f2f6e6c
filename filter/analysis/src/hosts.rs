//! Hosts in the mesh that no service has, and gateways that go past the versions of one.

use crate::view::{self, MESH, View};
use istio_config::Diagnostics;
use istio_config::diagnostic::At;
use istio_config::names;

pub(crate) fn analyse(view: &View<'_>, diagnostics: &mut Diagnostics) {
    hosts_without_service(view, diagnostics);
    past_the_versions(view, diagnostics);
}

/// Rules for a name that nobody else knows: right for a name of their own, wrong for one that is misspelt.
fn hosts_without_service(view: &View<'_>, diagnostics: &mut Diagnostics) {
    for expanded in &view.expanded {
        let service = &*expanded.service;
        if !view::gateways_of(service).iter().any(|gateway| gateway == MESH) {
            continue;
        }
        let object = At::object(&service.meta.reference);
        let spec = object.field("spec");
        let hosts = spec.field("hosts");
        for (index, host) in service.spec.hosts.iter().enumerate() {
            let full = names::full_host(host, service.meta.namespace());
            let known = view
                .services
                .iter()
                .any(|(service, _)| service == full || names::covers(&full, service) || names::covers(service, &full));
            if !known {
                let message =
                    format!("no service is called `{full}`; only requests with exactly this Host meet these rules");
                diagnostics.note(
                    &hosts.index(index),
                    "host-without-service",
                    message,
                    "check the spelling, and the namespace of names without a dot",
                );
            }
        }
    }
}

/// IST0140: a request through a gateway meets the gateway's rules alone, not those the mesh has for the host.
fn past_the_versions(view: &View<'_>, diagnostics: &mut Diagnostics) {
    for rule in view.rules().filter(|rule| !rule.owner.spec.gateways.is_empty()) {
        for (index, route) in rule.raw.route.iter().enumerate() {
            if !route.destination.subset.is_empty() {
                continue;
            }
            let host = rule.full_host(&route.destination);
            let splitting = view.rules().find(|other| {
                let own_host = other.owner.spec.hosts.iter();
                other.owner.meta.reference != rule.owner.meta.reference
                    && own_host.into_iter().any(|own| names::full_host(own, other.owner.meta.namespace()) == host)
                    && other.raw.route.iter().any(|route| {
                        !route.destination.subset.is_empty() && other.full_host(&route.destination) == host
                    })
            });
            if let Some(other) = splitting {
                let message = format!(
                    "requests through the gateway go to all of `{host}`: the versions that VirtualService {} chooses do not apply to them",
                    other.owner.meta.full_name()
                );
                let help = "name subsets here too if the choice is meant for users from outside";
                rule.at(|at| {
                    diagnostics.note(&at.field("route").index(index).field("destination"), "IST0140", message, help)
                });
            }
        }
    }
}
