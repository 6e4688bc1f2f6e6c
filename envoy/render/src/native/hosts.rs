//! Domains and their rules, on one listener where istiod has one for each port and gateway.
//!
//! Candidates for a virtual host are listed by rank, and each gets the domains that none before it has: rules on a service's
//! own host, other rules of the mesh, rules of Gateways, services without rules, and last what the mesh says of unknown hosts.

use super::{matches, routes};
use crate::proto;
use istio_config::delegates::{self, Expanded};
use istio_config::filter_config::OutboundTrafficPolicy;
use istio_config::listeners::{self, MESH};
use istio_config::outbound::OutboundMode;
use istio_config::services::Services;
use istio_config::virtual_service::{HttpMatchRequest, HttpRoute};
use istio_config::{Diagnostics, FilterConfig, ObjectMeta, names};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// The mesh, or a Gateway's server: where a rule is met.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// [`MESH`], or the name of the Gateway in full.
    pub(super) gateway: String,
    /// Of the listener.
    pub(super) port: u16,
}

/// All that rules are translated by.
pub(super) struct World<'c> {
    pub(super) config: &'c FilterConfig,
    pub(super) services: Services,
}

/// A VirtualService as it is met in some places.
type Met<'c> = (&'c Expanded<'c>, Vec<Place>);

/// A virtual host, before it is known which of its domains it gets.
struct Candidate {
    domains: Vec<String>,
    routes: Vec<Value>,
    requires_tls: bool,
}

/// Envoy's `VirtualHost`s.
pub(super) fn virtual_hosts(config: &FilterConfig) -> Vec<Value> {
    // Whatever is wrong has been reported when the rules were compiled.
    let expanded = delegates::expand(&config.config, &mut Diagnostics::default());
    let mut rules: Vec<_> = expanded
        .iter()
        .filter(|rules| {
            let service = &rules.service;
            names::is_exported(&service.spec.export_to, service.meta.namespace(), &config.namespace)
        })
        .collect();
    rules.sort_by_key(|rules| age(&rules.service.meta));
    let world = World { config, services: Services::new(&config.config) };
    let mut candidates = world.of_mesh(&rules);
    candidates.extend(world.of_gateways(&rules));
    candidates.extend(world.services_alone());
    candidates.extend(world.unknown());
    let mut taken = BTreeSet::new();
    let mut hosts = Vec::new();
    for Candidate { mut domains, routes, requires_tls } in candidates {
        domains.retain(|domain| taken.insert(domain.clone()));
        if let Some(name) = domains.first().cloned() {
            // A name may end with a dot.
            let with_dots: Vec<_> =
                domains.iter().filter(|domain| *domain != "*").map(|name| format!("{name}.")).collect();
            domains.extend(with_dots);
            let host = json!({
                "name": name,
                "domains": domains,
                "routes": routes,
                "include_request_attempt_count": true,
            });
            hosts.push(proto::with(host, [("require_tls", requires_tls.then(|| json!("ALL")))]));
        }
    }
    hosts
}

/// Oldest first, then by name.
fn age(meta: &ObjectMeta) -> (String, String, String) {
    (meta.creation_timestamp.clone(), meta.name().to_owned(), meta.namespace().to_owned())
}

impl<'c> World<'c> {
    fn of_mesh(&self, rules: &[&'c Expanded<'c>]) -> Vec<Candidate> {
        let (mut own, mut others) = (Vec::new(), Vec::new());
        let mut by_host: BTreeMap<String, &Expanded<'c>> = BTreeMap::new();
        for rules in rules {
            if !listeners::gateway_names(&rules.service).iter().any(|gateway| gateway == MESH) {
                continue;
            }
            for host in full_hosts(rules) {
                // Only the oldest counts that has a route here.
                if by_host.contains_key(&host) {
                    continue;
                }
                let Some(candidate) = self.met_in_mesh(rules, &host) else { continue };
                by_host.insert(host.clone(), rules);
                if self.services.ports(&host).is_some() { &mut own } else { &mut others }.push(candidate);
            }
        }
        for (service, _) in self.services.iter().filter(|(service, _)| !by_host.contains_key(*service)) {
            let closest = by_host.iter().filter(|(host, _)| host.starts_with('*') && names::covers(host, service));
            if let Some((_, rules)) = closest.max_by_key(|(host, _)| host.len()) {
                others.extend(self.met_in_mesh(rules, service));
            }
        }
        own.extend(others);
        own
    }

    /// `None` when no route of these rules has its place there.
    fn met_in_mesh(&self, rules: &'c Expanded<'c>, host: &str) -> Option<Candidate> {
        let place = Place { gateway: MESH.to_owned(), port: listeners::mesh_port(host, &self.services) };
        let domains = names::service_domains(host, &self.config.namespace);
        let has_route = self.has_route(rules, &place);
        has_route.then(|| Candidate { domains, routes: self.routes(&[(rules, vec![place])]), requires_tls: false })
    }

    fn of_gateways(&self, rules: &[&'c Expanded<'c>]) -> Vec<Candidate> {
        #[derive(Default)]
        struct Domain<'c> {
            requires_tls: bool,
            /// Oldest first.
            met: BTreeMap<usize, Met<'c>>,
        }
        let mut domains: BTreeMap<String, Domain<'c>> = BTreeMap::new();
        for gateway in &self.config.config.gateways {
            let name = gateway.meta.full_name();
            for server in &gateway.spec.servers {
                let Some(port) = listeners::http_port(server) else { continue };
                let place = Place { gateway: name.clone(), port };
                let requires_tls = server.tls.as_ref().is_some_and(|tls| tls.https_redirect);
                if requires_tls {
                    for host in &server.hosts {
                        let (_, host) = listeners::server_host(host);
                        domains.entry(host).or_default().requires_tls = true;
                    }
                }
                for (age, rules) in rules.iter().enumerate() {
                    let service = &rules.service;
                    let is_bound = listeners::gateway_names(service).contains(&name);
                    if !is_bound || !self.has_route(rules, &place) {
                        continue;
                    }
                    let hosts = full_hosts(rules);
                    for host in listeners::shared_domains(gateway, server, &hosts, service.meta.namespace()) {
                        let domain = domains.entry(host).or_default();
                        domain.requires_tls |= requires_tls;
                        let (_, places) = domain.met.entry(age).or_insert_with(|| (*rules, Vec::new()));
                        if !places.contains(&place) {
                            places.push(place.clone());
                        }
                    }
                }
            }
        }
        let candidates = domains.into_iter().map(|(domain, Domain { requires_tls, met })| {
            let met: Vec<_> = met.into_values().collect();
            Candidate { domains: vec![domain], routes: self.routes(&met), requires_tls }
        });
        candidates.collect()
    }

    /// Services that no rule is for: all their requests go to them.
    fn services_alone(&self) -> Vec<Candidate> {
        let candidate = |(service, _): (&str, &[u16])| {
            let port = listeners::mesh_port(service, &self.services);
            let hash = self.hash_of_service(service, port);
            Candidate {
                domains: names::service_domains(service, &self.config.namespace),
                routes: vec![routes::default_route(&names::cluster_name(port, "", service), hash)],
                requires_tls: false,
            }
        };
        self.services.iter().map(candidate).collect()
    }

    fn unknown(&self) -> Option<Candidate> {
        let OutboundTrafficPolicy { mode, profile: _ } = self.config.outbound.as_ref()?;
        let route = match mode {
            OutboundMode::AllowAny => routes::allow_any(),
            OutboundMode::RegistryOnly => routes::block_all(),
        };
        Some(Candidate { domains: vec!["*".to_owned()], routes: vec![route], requires_tls: false })
    }

    /// The routes of some VirtualServices, oldest first, each for the first of its places where it has one.
    fn routes(&self, met: &[Met<'c>]) -> Vec<Value> {
        let mut all = Vec::new();
        for (rules, places) in met {
            let service = &rules.service;
            for (rule, block) in service.spec.http.iter().flat_map(blocks) {
                let Some(place) = places.iter().find(|place| self.holds(block, place, service.meta.namespace())) else {
                    continue;
                };
                let route = routes::route(self, service.meta.namespace(), rule, block, place);
                let takes_all = matches::takes_all(&route);
                all.push(route);
                if takes_all {
                    // istiod makes no more of these rules (`BuildHTTPRoutesForVirtualService`).
                    break;
                }
            }
        }
        if met.len() > 1 {
            // `SortVHostRoutes`.
            all.sort_by_key(matches::takes_all);
        }
        all
    }

    /// Whether any route of these rules has its place there; istiod makes no virtual host of none.
    fn has_route(&self, rules: &Expanded<'_>, place: &Place) -> bool {
        let service = &rules.service;
        let mut tried = service.spec.http.iter().flat_map(blocks);
        tried.any(|(_, block)| self.holds(block, place, service.meta.namespace()))
    }

    /// `sourceMatchHTTP`, and the port.
    fn holds(&self, block: Option<&HttpMatchRequest>, place: &Place, namespace: &str) -> bool {
        let Some(block) = block else { return true };
        let port_fits = block.port.is_none_or(|port| port == 0 || port == u32::from(place.port));
        let source_fits = if block.gateways.is_empty() {
            let labels = &self.config.labels;
            block.source_labels.iter().all(|(key, value)| labels.get(key) == Some(value))
                && (block.source_namespace.is_empty() || block.source_namespace == self.config.namespace)
        } else {
            block.gateways.iter().any(|name| listeners::full_gateway(name, namespace) == place.gateway)
        };
        port_fits && source_fits
    }
}

/// A rule with each of its match blocks; `None` where it has none.
fn blocks(rule: &HttpRoute) -> Vec<(&HttpRoute, Option<&HttpMatchRequest>)> {
    match rule.r#match.as_slice() {
        [] => vec![(rule, None)],
        blocks => blocks.iter().map(|block| (rule, Some(block))).collect(),
    }
}

fn full_hosts(rules: &Expanded<'_>) -> Vec<String> {
    let namespace = rules.service.meta.namespace();
    rules.service.spec.hosts.iter().map(|host| names::full_host(host, namespace)).collect()
}
