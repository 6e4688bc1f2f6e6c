//! What of a configuration one listener of Istio's needs: its rules, and the services that these name.
//!
//! Every VM of every proxy keeps its configuration, so what can never act there stays out of it.

use crate::config::{Config, Resource};
use crate::filter_config::Listener;
use crate::listeners::MESH;
use crate::services::Services;
use crate::virtual_service::HttpRoute;
use crate::{Diagnostics, ObjectMeta};
use crate::{VirtualService, delegates, listeners, names, shunt_policy};
use std::collections::BTreeSet;

/// Kind, namespace and name.
pub(crate) type Name = [String; 3];

/// The objects that the rules of `listener` consist of, for a proxy in `namespace`.
pub(crate) fn needed(config: &Config, listener: &Listener, namespace: &str) -> BTreeSet<Name> {
    let mut needed = BTreeSet::new();
    let mut hosts = BTreeSet::new();
    for service in virtual_services(config, &listener.gateway, namespace) {
        needed.insert(name("VirtualService", &service.meta));
        for rule in &service.spec.http {
            needed.extend(rule.delegate.as_ref().map(|delegate| {
                let namespace =
                    if delegate.namespace.is_empty() { service.meta.namespace() } else { &delegate.namespace };
                ["VirtualService".to_owned(), namespace.to_owned(), delegate.name.clone()]
            }));
        }
    }
    // Said when the rules are compiled.
    for expanded in delegates::expand(config, &mut Diagnostics::default()) {
        if needed.contains(&name("VirtualService", &expanded.service.meta)) {
            hosts.extend(named_hosts(&expanded.service));
        }
    }
    for entry in &config.service_entries {
        let is_named = |host: &String| {
            let host = names::full_host(host, entry.meta.namespace());
            hosts.iter().any(|named| *named == host || names::covers(named, &host))
        };
        if entry.spec.hosts.iter().any(is_named) {
            needed.insert(name("ServiceEntry", &entry.meta));
            // Kubernetes' Services are written under the names of their hosts.
            needed.extend(
                entry
                    .spec
                    .hosts
                    .iter()
                    .map(|host| ["ServiceEntry".to_owned(), entry.meta.namespace().to_owned(), host.clone()]),
            );
        }
    }
    for policy in &config.shunt_policies {
        let target = policy.spec.target_ref.as_ref();
        let target = target.map(|target| ["VirtualService", policy.meta.namespace(), &target.name].map(str::to_owned));
        if target.is_none_or(|target| needed.contains(&target)) {
            needed.insert(name(shunt_policy::KIND, &policy.meta));
        }
    }
    let gateways = config.gateways.iter().filter(|gateway| gateway.meta.full_name() == listener.gateway);
    needed.extend(gateways.map(|gateway| name("Gateway", &gateway.meta)));
    needed
}

/// The VirtualServices bound to `gateway`, or to the `mesh`, that the proxy's namespace sees.
pub fn virtual_services<'c>(
    config: &'c Config,
    gateway: &str,
    namespace: &str,
) -> impl Iterator<Item = &'c Resource<VirtualService>> {
    config.virtual_services.iter().filter(move |service| {
        !service.spec.hosts.is_empty()
            && listeners::gateway_names(service).iter().any(|name| name == gateway)
            && names::is_exported(&service.spec.export_to, service.meta.namespace(), namespace)
    })
}

/// The ports on which `gateway` (`mesh`, or a Gateway as `NAMESPACE/NAME`) has rules: those of the services that rules are
/// for and that kept headers are given to, or of the Gateway's servers whose requests istiod routes. Empty where the files do not tell.
pub fn ports(config: &Config, gateway: &str, namespace: &str) -> BTreeSet<u16> {
    if gateway != MESH {
        let named = config.gateways.iter().filter(|named| named.meta.full_name() == gateway);
        return named.flat_map(|named| &named.spec.servers).filter_map(listeners::terminated_port).collect();
    }
    let ruled = virtual_services(config, MESH, namespace)
        .flat_map(|service| service.spec.hosts.iter().map(|host| names::full_host(host, service.meta.namespace())));
    // Who may get kept headers gets them with or without rules.
    let receiving = config.shunt_policies.iter().flat_map(|policy| {
        let to = policy.spec.propagate.iter().flat_map(|propagate| &propagate.to);
        to.map(|host| names::full_host(host, policy.meta.namespace()))
    });
    let hosts: BTreeSet<String> = ruled.chain(receiving).collect();
    let services = Services::new(config);
    let is_named = |host: &str| hosts.iter().any(|named| named == host || names::covers(named, host));
    services.iter().filter(|(host, _)| is_named(host)).flat_map(|(_, ports)| ports.iter().copied()).collect()
}

fn name(kind: &str, meta: &ObjectMeta) -> Name {
    [kind.to_owned(), meta.namespace().to_owned(), meta.name().to_owned()]
}

/// Every host that rules are for or lead to, in full.
fn named_hosts(service: &Resource<VirtualService>) -> Vec<String> {
    let VirtualService { hosts, http, .. } = &service.spec;
    let destinations = http.iter().flat_map(|HttpRoute { route, mirror, mirrors, .. }| {
        let route = route.iter().map(|route| &route.destination);
        let mirrors = mirrors.iter().map(|mirror| &mirror.destination);
        route.chain(mirrors).chain(mirror.as_deref()).map(|destination| &destination.host)
    });
    hosts.iter().chain(destinations).map(|host| names::full_host(host, service.meta.namespace())).collect()
}
