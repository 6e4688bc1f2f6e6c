//! Lays rules under the domains they serve, on one listener where Istio has many.
//!
//! The mesh part is what a sidecar in the proxy's namespace would route, the gateway part every HTTP server of every
//! Gateway with the VirtualServices bound to it. Where a domain is claimed twice, rules on a service's own host come
//! first, then other mesh rules, then gateway rules, then a service's default route.
//!
//! Where several servers claim a domain, in one Gateway or in several, their rules are one list, oldest first, and a match
//! block with `gateways` or `port` holds if it holds for any server that leads to it. Destinations without a port take
//! that of the first such server. If one of the servers sends plain requests to https, they go there.
//!
//! On a listener of Istio's (`FilterConfig::listener`) there are only the rules of that one: of the mesh for services that
//! have its port, or of one Gateway for the servers that do. All other requests are left to istiod's routes.
//!
//! What no one claims is the subject of `outboundTrafficPolicy`, where it is given: a rule for `*`, as istiod makes it.

use super::breaker::Protection;
use super::guards::{self, Guards};
use super::rules::{Block, DestinationTemplate, FallbackTemplate, Kind, RuleSet, RuleTemplate};
use super::sticky;
use crate::breaker::{GuardRule, Guarded};
use crate::fallback::FallbackRule;
use crate::headers::HeaderEdits;
use crate::hosts::HostTable;
use crate::index::RuleIndex;
use crate::matcher::RequestMatcher;
use crate::reply::Redirect;
use crate::route::{
    ALLOW_ANY, Action, ActionKind, BLOCK_ALL, ForwardRule, LeftOut, Policy, RouteRule, RuleId, Target, VirtualHost,
    WhyLeftOut, at,
};
use crate::select::WeightedTargets;
use istio_config::diagnostic::{At, Diagnostics};
use istio_config::filter_config::{Listener, OutboundTrafficPolicy, RepeatedHeaders};
use istio_config::gateway::Server;
use istio_config::listeners::{self, MESH};
use istio_config::outbound::OutboundMode;
use istio_config::services::Services;
use istio_config::{FilterConfig, Gateway, Resource, names};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Who claims a domain; the smallest wins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Claim {
    OwnHost,
    Mesh,
    Gateway,
    DefaultRoute,
    Nobody,
}

/// Where rules are served; decides match blocks with `gateways` and `port`, and destinations without a port.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Context {
    /// [`MESH`], or the gateway's name in full.
    gateway: String,
    port: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Content {
    /// VirtualServices by their place in the list, oldest first, each with all that leads to it.
    Rules {
        sets: Vec<(usize, Vec<Context>)>,
        /// Whether a server that leads here sends plain requests to https.
        requires_tls: bool,
    },
    /// A known host without rules.
    Service(String, u16),
    /// Every host that nothing knows.
    Unknown,
}

impl Content {
    fn mesh(index: usize, port: u16) -> Self {
        Self::Rules { sets: vec![(index, vec![Context { gateway: MESH.to_owned(), port }])], requires_tls: false }
    }
}

/// What the servers of all Gateways make of one domain.
#[derive(Default)]
struct ByGateways {
    requires_tls: bool,
    /// VirtualServices by age, with their place in the list.
    by_age: BTreeMap<usize, (usize, Vec<Context>)>,
}

type Domains = BTreeMap<String, (Claim, Content)>;

pub(super) fn compile(
    rule_sets: &[RuleSet<'_>],
    services: &Services,
    config: &FilterConfig,
    protections: &[Protection],
    diagnostics: &mut Diagnostics,
) -> Policy {
    let mut oldest_first: Vec<usize> = (0..rule_sets.len()).collect();
    oldest_first.sort_by_key(|index| {
        rule_sets.get(*index).map(|set| (&set.meta.creation_timestamp, set.meta.name(), set.meta.namespace()))
    });
    let mut domains = Domains::new();
    let listener = config.listener.as_ref();
    if listener.is_none_or(Listener::is_mesh) {
        claim_mesh(&mut domains, rule_sets, &oldest_first, services, config, diagnostics);
    }
    if listener.is_none_or(|listener| !listener.is_mesh()) {
        claim_gateways(&mut domains, rule_sets, &oldest_first, config, diagnostics);
    }
    if config.outbound.is_some() && listener.is_none() {
        claim(&mut domains, "*".to_owned(), Claim::Nobody, Content::Unknown);
    }
    let (policy, actions, guards) = (Policy::default(), BTreeMap::new(), Guards::new(protections));
    let mut builder = Builder { rule_sets, services, config, policy, actions, guards };
    let mut built: BTreeMap<&Content, u32> = BTreeMap::new();
    let mut hosts = HostTable::default();
    for (domain, (_, content)) in &domains {
        let virtual_host = *built.entry(content).or_insert_with(|| builder.virtual_host(content));
        hosts.insert(domain, virtual_host);
    }
    let mut policy = builder.policy;
    policy.guards = builder.guards.finish();
    guards::report_too_heavy(&policy.guards, &config.config.shunt_policies, diagnostics);
    policy.hosts = hosts;
    policy.fresh_spans = config.tracing.fresh_spans;
    policy.passes_unknown = listener.is_some();
    policy.joins_repeated = config.repeated_headers == RepeatedHeaders::Joined;
    policy
}

/// The port by which the mesh reaches a host here. `None`: not on this listener. Of a host that is no known service, a
/// listener of Istio's is taken to be its.
fn mesh_port(host: &str, services: &Services, config: &FilterConfig) -> Option<u16> {
    match (&config.listener, services.ports(host)) {
        (None, _) => Some(listeners::mesh_port(host, services)),
        (Some(listener), Some(ports)) => ports.contains(&listener.port).then_some(listener.port),
        (Some(listener), None) => Some(listener.port),
    }
}

fn claim(domains: &mut Domains, domain: String, rank: Claim, content: Content) {
    let holder = domains.entry(domain).or_insert_with(|| (rank, content.clone()));
    if rank < holder.0 {
        *holder = (rank, content);
    }
}

fn claim_mesh(
    domains: &mut Domains,
    rule_sets: &[RuleSet<'_>],
    oldest_first: &[usize],
    services: &Services,
    config: &FilterConfig,
    diagnostics: &mut Diagnostics,
) {
    let mut by_host: BTreeMap<&str, usize> = BTreeMap::new();
    for index in oldest_first {
        let Some(set) = rule_sets.get(*index).filter(|set| set.gateways.iter().any(|name| name == MESH)) else {
            continue;
        };
        let object = At::object(&set.meta.reference);
        let field = object.field("spec").field("hosts").path.to_string();
        for (position, host) in set.hosts.iter().enumerate() {
            let at = object.field(&field);
            let holder = by_host.get(host.as_str());
            if holder == Some(index) {
                // Twice in one VirtualService: that is reported as what it is.
                continue;
            }
            if let Some(holder) = holder.and_then(|holder| rule_sets.get(*holder)) {
                let message = format!(
                    "`{host}` already has rules in VirtualService {}; only those are served",
                    holder.meta.full_name()
                );
                diagnostics.warning(&at.index(position), "IST0109", message, "merge the two VirtualServices");
                continue;
            }
            let own = services.ports(host).is_some();
            let Some(port) = mesh_port(host, services, config) else { continue };
            if !has_place(set, &Context { gateway: MESH.to_owned(), port }, config) {
                // istiod makes no virtual host of no routes; whoever else has the host serves it.
                continue;
            }
            by_host.insert(host, *index);
            let content = Content::mesh(*index, port);
            for domain in names::service_domains(host, &config.namespace) {
                claim(domains, domain, if own { Claim::OwnHost } else { Claim::Mesh }, content.clone());
            }
        }
    }
    // A service without rules of its own belongs to the closest wildcard, else it has its default route.
    let wildcards: Vec<_> = by_host.iter().filter(|(pattern, _)| pattern.starts_with('*')).collect();
    for (host, _) in services.iter().filter(|(host, _)| !by_host.contains_key(host)) {
        let Some(port) = mesh_port(host, services, config) else { continue };
        let closest = wildcards
            .iter()
            .filter(|(pattern, _)| names::covers(pattern, host))
            .max_by_key(|(pattern, _)| pattern.len());
        let (rank, content) = match closest {
            Some((_, index)) => (Claim::Mesh, Content::mesh(**index, port)),
            // That one istiod has made.
            None if config.listener.is_some() => continue,
            None => (Claim::DefaultRoute, Content::Service(host.to_owned(), port)),
        };
        for domain in names::service_domains(host, &config.namespace) {
            claim(domains, domain, rank, content.clone());
        }
    }
}

fn claim_gateways(
    domains: &mut Domains,
    rule_sets: &[RuleSet<'_>],
    oldest_first: &[usize],
    config: &FilterConfig,
    diagnostics: &mut Diagnostics,
) {
    report_unknown_gateways(rule_sets, config, diagnostics);
    let mut reached: BTreeMap<String, ByGateways> = BTreeMap::new();
    let listener = config.listener.as_ref();
    for gateway in &config.config.gateways {
        let name = gateway.meta.full_name();
        if listener.is_some_and(|listener| listener.gateway != name) {
            continue;
        }
        for (place, server) in gateway.spec.servers.iter().enumerate() {
            let port = match listener {
                // Whatever TLS there is, istiod's listener has taken it off.
                Some(listener) => match listeners::terminated_port(server) {
                    port if port == Some(listener.port) => listener.port,
                    _ => continue,
                },
                None => match listeners::http_port(server) {
                    Some(port) => port,
                    None => {
                        report_unserved(gateway, place, server, diagnostics);
                        continue;
                    }
                },
            };
            let requires_tls = server.tls.as_ref().is_some_and(|tls| tls.https_redirect);
            for host in server.hosts.iter().filter(|_| requires_tls) {
                let (_, domain) = listeners::server_host(host);
                reached.entry(domain).or_default().requires_tls = true;
            }
            for (age, index) in oldest_first.iter().enumerate() {
                let Some(set) = rule_sets.get(*index).filter(|set| set.gateways.contains(&name)) else { continue };
                let context = Context { gateway: name.clone(), port };
                if !has_place(set, &context, config) {
                    continue;
                }
                for domain in listeners::shared_domains(gateway, server, &set.hosts, set.meta.namespace()) {
                    let reached = reached.entry(domain).or_default();
                    reached.requires_tls |= requires_tls;
                    let (_, contexts) = reached.by_age.entry(age).or_insert_with(|| (*index, Vec::new()));
                    if !contexts.contains(&context) {
                        contexts.push(context.clone());
                    }
                }
            }
        }
    }
    for (domain, ByGateways { requires_tls, by_age }) in reached {
        let content = Content::Rules { sets: by_age.into_values().collect(), requires_tls };
        claim(domains, domain, Claim::Gateway, content);
    }
}

fn report_unserved(gateway: &Resource<Gateway>, place: usize, server: &Server, diagnostics: &mut Diagnostics) {
    let object = At::object(&gateway.meta.reference);
    let message = match server.port.number {
        number @ 1..=65535 => format!("port {number} with protocol {} is not served", server.port.protocol),
        number => format!("{number} is no port"),
    };
    let help = "terminate TLS in front, or keep this server in Istio";
    diagnostics.warning(&object.field("spec").field("servers").index(place), "not-served", message, help);
}

fn report_unknown_gateways(rule_sets: &[RuleSet<'_>], config: &FilterConfig, diagnostics: &mut Diagnostics) {
    for set in rule_sets {
        for (index, name) in set.gateways.iter().enumerate() {
            let known = name == MESH || config.config.gateways.iter().any(|gateway| gateway.meta.full_name() == *name);
            if !known {
                let object = At::object(&set.meta.reference);
                let spec = object.field("spec");
                let field = spec.field("gateways");
                let message = format!("there is no Gateway {name}; its part of the rules is not served");
                diagnostics.warning(&field.index(index), "IST0101", message, "add the Gateway to the files");
            }
        }
    }
}

struct Builder<'a> {
    rule_sets: &'a [RuleSet<'a>],
    services: &'a Services,
    config: &'a FilterConfig,
    policy: Policy,
    /// Actions by VirtualService, rule and listener port.
    actions: BTreeMap<(usize, u32, u16), u32>,
    guards: Guards<'a>,
}

impl Builder<'_> {
    fn virtual_host(&mut self, content: &Content) -> u32 {
        let ((rules, left_out), requires_tls) = match content {
            Content::Rules { sets, requires_tls } => (self.rules(sets), *requires_tls),
            Content::Service(host, port) => ((vec![self.default_route(host, *port)], Vec::new()), false),
            Content::Unknown => ((self.outbound_rule().into_iter().collect(), Vec::new()), false),
        };
        let index = RuleIndex::new(rules.iter().map(|rule| &*rule.matcher));
        let https_redirect = requires_tls.then(Redirect::to_https);
        push(&mut self.policy.virtual_hosts, VirtualHost { index, rules, left_out: left_out.into(), https_redirect })
    }

    /// The rules in the order in which they are tried, and what of them has no place here.
    fn rules(&mut self, sets: &[(usize, Vec<Context>)]) -> (Vec<RouteRule>, Vec<LeftOut>) {
        let (rule_sets, config) = (self.rule_sets, self.config);
        let (mut rules, mut left_out) = (Vec::new(), Vec::new());
        for (index, contexts) in sets {
            let Some(set) = rule_sets.get(*index) else { continue };
            let owner: Arc<str> = set.meta.full_name().into();
            // Istio makes no routes behind one that takes everything.
            let mut behind_all = false;
            for template in &set.rules {
                for block in &template.blocks {
                    let id = set.rule_id(&owner, template.http, block.match_block);
                    if behind_all {
                        left_out.push(LeftOut { rule: id, why: WhyLeftOut::BehindCatchAll });
                        continue;
                    }
                    let context = match place(block, contexts, config) {
                        Ok(context) => context,
                        Err(why) => {
                            left_out.push(LeftOut { rule: id, why });
                            continue;
                        }
                    };
                    let Some(action) = self.action(*index, template, context.port) else { continue };
                    behind_all = block.matcher.takes_all();
                    rules.push(RouteRule {
                        id,
                        matcher: block.matcher.clone(),
                        rewrite: block.rewrite.clone(),
                        action,
                    });
                }
            }
        }
        if sets.len() > 1 {
            // Of merged VirtualServices the catch-alls go last (istio `SortVHostRoutes`).
            rules.sort_by_key(|rule| rule.matcher.takes_all());
        }
        (rules, left_out)
    }

    fn action(&mut self, set: usize, template: &RuleTemplate<'_>, listener_port: u16) -> Option<u32> {
        let key = (set, template.http, listener_port);
        if let Some(known) = self.actions.get(&key) {
            return Some(*known);
        }
        let kind = match &template.kind {
            Kind::Forward { destinations, sticky, mirrors, profiles, fallback, breaker } => {
                let mut weighted = Vec::with_capacity(destinations.len());
                let mut named = Vec::new();
                for destination in destinations {
                    let port = self.services.port_for(destination.raw, &destination.host, listener_port).number();
                    let target = Target {
                        cluster: names::cluster_name(port, &destination.raw.subset, &destination.host).into(),
                        authority: destination.authority.clone(),
                        edits: destination.edits.clone(),
                    };
                    let target = push(&mut self.policy.targets, target);
                    weighted.push((target, destination.weight));
                    let subset = destination.raw.subset.as_str();
                    let name = if subset.is_empty() { destination.host.as_str() } else { subset };
                    named.push((name, target, destination.weight));
                }
                // Weights that sum to zero were reported; such a policy is not handed out.
                let targets = WeightedTargets::new(&weighted)?;
                let sticky = sticky.as_ref().map(|keys| sticky::versions(keys, &named));
                let (mirrors, profiles) = (mirrors.clone(), profiles.clone());
                let fallback = fallback.as_ref().map(|template| self.fallback(template, &weighted));
                let guards = breaker.map(|place| self.guards(place, destinations, &weighted, listener_port));
                let guards = guards.unwrap_or_default();
                ActionKind::Forward(ForwardRule { targets, sticky, mirrors, profiles, fallback, guards })
            }
            Kind::Redirect(redirect, edits) => {
                let target = self.answering_target(edits.clone());
                ActionKind::Redirect(redirect.on_port(listener_port), target)
            }
            Kind::Direct(status, body, edits) => {
                let target = self.answering_target(edits.clone());
                ActionKind::Direct(*status, body.clone(), target)
            }
        };
        let action = Action { fault: template.fault.clone(), cors: template.cors.clone(), kind };
        let action = push(&mut self.policy.actions, action);
        self.actions.insert(key, action);
        Some(action)
    }

    /// Who watches these targets, and where their requests go while they are out.
    fn guards(
        &mut self,
        protection: u32,
        destinations: &[DestinationTemplate<'_>],
        weighted: &[(u32, u32)],
        listener_port: u16,
    ) -> GuardRule {
        let Some(found) = at(self.guards.protections, protection) else { return GuardRule::default() };
        let mut guarded = Vec::new();
        for (destination, (target, weight)) in destinations.iter().zip(weighted) {
            let stable = found.stable.beside(destination.raw);
            // A host of the rule's destination is in full there.
            let host = match found.stable.host.is_empty() {
                true => destination.host.clone(),
                false => names::full_host(&stable.host, found.namespace()),
            };
            let port = self.services.port_for(&stable, &host, listener_port).number();
            let stable = names::cluster_name(port, &stable.subset, &host);
            let Some(own) = at(&self.policy.targets, *target).cloned() else { continue };
            let of_rule = weighted
                .iter()
                .map(|(target, _)| *target)
                .find(|target| at(&self.policy.targets, *target).is_some_and(|target| *target.cluster == *stable));
            let (guard, member) = self.guards.add(protection, &stable, &own.cluster);
            let stable = match of_rule {
                Some(target) => target,
                None => push(&mut self.policy.targets, Target { cluster: stable.into(), ..own }),
            };
            guarded.push((Guarded { target: *target, guard, member, stable }, *weight));
        }
        self.guards.weigh(&guarded);
        GuardRule(guarded.into_iter().map(|(guarded, _)| guarded).collect())
    }

    /// By what cluster each of these targets asks another version.
    fn fallback(&self, template: &FallbackTemplate<'_>, weighted: &[(u32, u32)]) -> FallbackRule {
        let FallbackTemplate { protection, binding } = template;
        let clusters = weighted.iter().filter_map(|(target, _)| {
            let own = at(&self.policy.targets, *target)?;
            let both = binding.clusters.get(&*own.cluster)?;
            Some((*target, both.as_str().into()))
        });
        FallbackRule {
            methods: protection.methods.clone(),
            clusters: clusters.collect(),
            profiles: binding.profiles.iter().map(|name| name.as_str().into()).collect(),
            budget: protection.budget,
        }
    }

    /// A target that only holds response edits.
    fn answering_target(&mut self, edits: Arc<HeaderEdits>) -> u32 {
        push(&mut self.policy.targets, Target { cluster: "".into(), authority: None, edits })
    }

    /// A rule without conditions.
    fn catch_all(&mut self, owner: &str, kind: ActionKind) -> RouteRule {
        let action = push(&mut self.policy.actions, Action { fault: None, cors: None, kind });
        let id = RuleId { owner: owner.into(), http: None, match_block: None, delegate: None };
        RouteRule { id, matcher: Arc::new(RequestMatcher::default()), rewrite: None, action }
    }

    /// What becomes of requests to hosts that nothing knows.
    fn outbound_rule(&mut self) -> Option<RouteRule> {
        let OutboundTrafficPolicy { mode, profile } = self.config.outbound.as_ref()?;
        Some(match mode {
            OutboundMode::RegistryOnly => self.catch_all(BLOCK_ALL, ActionKind::BlockAll),
            OutboundMode::AllowAny => {
                let cluster = names::PASSTHROUGH_CLUSTER.into();
                let target = push(&mut self.policy.targets, Target { cluster, authority: None, edits: Arc::default() });
                let forward = ForwardRule::plain(target, Box::new([profile.as_str().into()]));
                self.catch_all(ALLOW_ANY, ActionKind::Forward(forward))
            }
        })
    }

    fn default_route(&mut self, host: &str, port: u16) -> RouteRule {
        let cluster = names::cluster_name(port, "", host).into();
        let target = push(&mut self.policy.targets, Target { cluster, authority: None, edits: Arc::default() });
        let binding = self.config.bindings.iter().find(|binding| binding.service == host);
        let profiles = binding
            .map(|binding| binding.profiles.iter().map(|name| name.as_str().into()).collect())
            .unwrap_or_default();
        self.catch_all(host, ActionKind::Forward(ForwardRule::plain(target, profiles)))
    }
}

/// Whether any of its match blocks holds here.
fn has_place(set: &RuleSet<'_>, context: &Context, config: &FilterConfig) -> bool {
    set.rules.iter().flat_map(|rule| &rule.blocks).any(|block| keeps_out(block, context, config).is_none())
}

/// The first server or the mesh through which a block holds, or what keeps it from holding through any.
fn place<'c>(block: &Block, contexts: &'c [Context], config: &FilterConfig) -> Result<&'c Context, WhyLeftOut> {
    let mut why = WhyLeftOut::Gateways;
    for context in contexts {
        match keeps_out(block, context, config) {
            None => return Ok(context),
            Some(reason) => why = reason,
        }
    }
    Err(why)
}

/// What keeps a block from holding here. With `gateways` set, labels and namespace of the caller are not looked at.
fn keeps_out(block: &Block, context: &Context, config: &FilterConfig) -> Option<WhyLeftOut> {
    let scope = &block.scope;
    if scope.gateways.is_empty() {
        if !scope.source_namespace.is_empty() && scope.source_namespace != config.namespace {
            return Some(WhyLeftOut::SourceNamespace);
        }
        if scope.source_labels.iter().any(|(key, value)| config.labels.get(key) != Some(value)) {
            return Some(WhyLeftOut::SourceLabels);
        }
    } else if !scope.gateways.contains(&context.gateway) {
        return Some(WhyLeftOut::Gateways);
    }
    scope.port.filter(|port| *port != u32::from(context.port)).map(|_| WhyLeftOut::Port)
}

/// Appends and returns the index.
fn push<T>(list: &mut Vec<T>, item: T) -> u32 {
    let index = u32::try_from(list.len()).unwrap_or(u32::MAX);
    list.push(item);
    index
}
