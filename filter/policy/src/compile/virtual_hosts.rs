//! Lays rules under the domains they serve, on one listener where Istio has many.
//!
//! The mesh part is what a sidecar in the proxy's namespace would route, the gateway part every HTTP server of every
//! Gateway with the VirtualServices bound to it. Where a domain is claimed twice, rules on a service's own host come
//! first, then other mesh rules, then gateway rules, then a service's default route.

use super::actions;
use super::rules::{Block, Kind, RuleSet};
use crate::headers::HeaderEdits;
use crate::hosts::HostTable;
use crate::index::RuleIndex;
use crate::matcher::RequestMatcher;
use crate::route::{Action, ActionKind, ForwardRule, Policy, RouteRule, RuleId, Target, VirtualHost};
use crate::select::WeightedTargets;
use istio_config::diagnostic::{At, Diagnostics};
use istio_config::services::Services;
use istio_config::{FilterConfig, names};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Who claims a domain; the smallest wins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Claim {
    OwnHost,
    Mesh,
    Gateway,
    DefaultRoute,
}

/// Where rules are served; decides match blocks with `gateways` and `port`, and destinations without a port.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Context {
    /// `mesh`, or the gateway's name in full.
    gateway: String,
    port: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Content {
    /// VirtualServices by their place in the list, oldest first.
    Rules(Context, Vec<usize>),
    /// A known host without rules.
    Service(String, u16),
    /// A Gateway server that sends everything to https; by the Gateway's name.
    HttpsRedirect(String),
}

type Domains = BTreeMap<String, (Claim, Content)>;

pub(super) fn compile(
    rule_sets: &[RuleSet<'_>],
    services: &Services,
    config: &FilterConfig,
    diagnostics: &mut Diagnostics,
) -> Policy {
    let mut oldest_first: Vec<usize> = (0..rule_sets.len()).collect();
    oldest_first.sort_by_key(|index| {
        rule_sets.get(*index).map(|set| (&set.meta.creation_timestamp, set.meta.name(), set.meta.namespace()))
    });
    let mut domains = Domains::new();
    claim_mesh(&mut domains, rule_sets, &oldest_first, services, config, diagnostics);
    claim_gateways(&mut domains, rule_sets, &oldest_first, config, diagnostics);
    let mut builder = Builder { rule_sets, services, config, policy: Policy::default(), actions: BTreeMap::new() };
    let mut built: BTreeMap<&Content, u32> = BTreeMap::new();
    let mut hosts = HostTable::default();
    for (domain, (_, content)) in &domains {
        let virtual_host = *built.entry(content).or_insert_with(|| builder.virtual_host(content));
        hosts.insert(domain, virtual_host);
    }
    let mut policy = builder.policy;
    policy.hosts = hosts;
    policy
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
        let Some(set) = rule_sets.get(*index).filter(|set| set.gateways.iter().any(|name| name == "mesh")) else {
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
            by_host.insert(host, *index);
            let own = services.ports(host).is_some();
            let port = services.main_port(host).unwrap_or(80);
            let content = Content::Rules(Context { gateway: "mesh".to_owned(), port }, vec![*index]);
            for domain in names::service_domains(host, &config.namespace) {
                claim(domains, domain, if own { Claim::OwnHost } else { Claim::Mesh }, content.clone());
            }
        }
    }
    // A service without rules of its own belongs to the closest wildcard, else it has its default route.
    for (host, _) in services.iter() {
        let Some(port) = services.main_port(host) else { continue };
        let closest =
            by_host.iter().filter(|(pattern, _)| names::covers(pattern, host)).max_by_key(|(pattern, _)| pattern.len());
        let (rank, content) = match closest {
            Some((pattern, _)) if *pattern == host => continue,
            Some((_, index)) => {
                (Claim::Mesh, Content::Rules(Context { gateway: "mesh".to_owned(), port }, vec![*index]))
            }
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
    // All rules for one domain are merged, oldest first, over all servers that claim it.
    let mut merged: BTreeMap<String, (Context, Vec<usize>)> = BTreeMap::new();
    let mut redirected: BTreeMap<String, String> = BTreeMap::new();
    for gateway in &config.config.gateways {
        let name = gateway.meta.full_name();
        for server in &gateway.spec.servers {
            if !["HTTP", "HTTP2", "GRPC"].contains(&server.port.protocol.to_ascii_uppercase().as_str()) {
                let object = At::object(&gateway.meta.reference);
                let message = format!("servers with protocol {} are not served", server.port.protocol);
                let help = "terminate TLS in front, or keep this server in Istio";
                diagnostics.warning(&object.field("spec").field("servers"), "not-served", message, help);
                continue;
            }
            let port = u16::try_from(server.port.number).unwrap_or_default();
            for index in oldest_first {
                let Some(set) = rule_sets.get(*index).filter(|set| set.gateways.contains(&name)) else { continue };
                for domain in shared_domains(&server.hosts, gateway.meta.namespace(), set) {
                    if server.tls.as_ref().is_some_and(|tls| tls.https_redirect) {
                        redirected.insert(domain, name.clone());
                        continue;
                    }
                    let (_, sets) =
                        merged.entry(domain).or_insert_with(|| (Context { gateway: name.clone(), port }, Vec::new()));
                    if !sets.contains(index) {
                        sets.push(*index);
                    }
                }
            }
        }
    }
    for (domain, gateway) in redirected {
        claim(domains, domain, Claim::Gateway, Content::HttpsRedirect(gateway));
    }
    for (domain, (context, sets)) in merged {
        claim(domains, domain, Claim::Gateway, Content::Rules(context, sets));
    }
}

fn report_unknown_gateways(rule_sets: &[RuleSet<'_>], config: &FilterConfig, diagnostics: &mut Diagnostics) {
    for set in rule_sets {
        for (index, name) in set.gateways.iter().enumerate() {
            let known =
                name == "mesh" || config.config.gateways.iter().any(|gateway| gateway.meta.full_name() == *name);
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

/// The hosts that server and rules have in common; of two that cover each other, the narrower one.
fn shared_domains(server_hosts: &[String], gateway_namespace: &str, set: &RuleSet<'_>) -> Vec<String> {
    let mut shared = Vec::new();
    for server_host in server_hosts {
        let (namespace, server_host) = server_host.split_once('/').unwrap_or(("*", server_host));
        let sees = match namespace {
            "*" => true,
            "." => set.meta.namespace() == gateway_namespace,
            name => set.meta.namespace() == name,
        };
        for host in set.hosts.iter().filter(|_| sees) {
            if names::covers(server_host, host) || server_host == host {
                shared.push(host.clone());
            } else if names::covers(host, server_host) {
                shared.push(server_host.to_owned());
            }
        }
    }
    shared
}

struct Builder<'a> {
    rule_sets: &'a [RuleSet<'a>],
    services: &'a Services,
    config: &'a FilterConfig,
    policy: Policy,
    /// Actions by VirtualService, rule and listener port.
    actions: BTreeMap<(usize, u32, u16), u32>,
}

impl Builder<'_> {
    fn virtual_host(&mut self, content: &Content) -> u32 {
        let rules = match content {
            Content::Rules(context, sets) => self.rules(context, sets),
            Content::Service(host, port) => vec![self.default_route(host, *port)],
            Content::HttpsRedirect(gateway) => vec![self.https_redirect(gateway)],
        };
        let index = RuleIndex::new(rules.iter().map(|rule| &*rule.matcher));
        push(&mut self.policy.virtual_hosts, VirtualHost { index, rules })
    }

    fn rules(&mut self, context: &Context, sets: &[usize]) -> Vec<RouteRule> {
        let (rule_sets, config) = (self.rule_sets, self.config);
        let mut rules = Vec::new();
        for index in sets {
            let Some(set) = rule_sets.get(*index) else { continue };
            let owner: Arc<str> = set.meta.full_name().into();
            'rules: for template in &set.rules {
                for block in template.blocks.iter().filter(|block| holds(block, context, config)) {
                    let Some(action) = self.action(*index, template.http, context.port) else { continue };
                    let takes_all = block.matcher.takes_all();
                    let id = RuleId { owner: owner.clone(), http: Some(template.http), match_block: block.match_block };
                    rules.push(RouteRule {
                        id,
                        matcher: block.matcher.clone(),
                        rewrite: block.rewrite.clone(),
                        action,
                    });
                    // Istio makes no routes behind one that takes everything.
                    if takes_all {
                        break 'rules;
                    }
                }
            }
        }
        if sets.len() > 1 {
            // Of merged VirtualServices the catch-alls go last (istio `SortVHostRoutes`).
            rules.sort_by_key(|rule| rule.matcher.takes_all());
        }
        rules
    }

    fn action(&mut self, set: usize, http: u32, listener_port: u16) -> Option<u32> {
        if let Some(known) = self.actions.get(&(set, http, listener_port)) {
            return Some(*known);
        }
        let template = self.rule_sets.get(set)?.rules.iter().find(|rule| rule.http == http)?;
        let kind = match &template.kind {
            Kind::Forward { destinations, mirrors, profiles } => {
                let mut weighted = Vec::with_capacity(destinations.len());
                for destination in destinations {
                    let port = self.services.port_for(destination.raw, &destination.host, listener_port).number();
                    let target = Target {
                        cluster: names::cluster_name(port, &destination.raw.subset, &destination.host).into(),
                        authority: destination.authority.clone(),
                        edits: destination.edits.clone(),
                    };
                    weighted.push((push(&mut self.policy.targets, target), destination.weight));
                }
                // Weights that sum to zero were reported; such a policy is not handed out.
                let targets = WeightedTargets::new(&weighted)?;
                ActionKind::Forward(ForwardRule { targets, mirrors: mirrors.clone(), profiles: profiles.clone() })
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
        self.actions.insert((set, http, listener_port), action);
        Some(action)
    }

    /// A target that only holds response edits.
    fn answering_target(&mut self, edits: Arc<HeaderEdits>) -> u32 {
        push(&mut self.policy.targets, Target { cluster: "".into(), authority: None, edits })
    }

    /// A rule without conditions.
    fn catch_all(&mut self, owner: &str, kind: ActionKind) -> RouteRule {
        let action = push(&mut self.policy.actions, Action { fault: None, cors: None, kind });
        let id = RuleId { owner: owner.into(), http: None, match_block: None };
        RouteRule { id, matcher: Arc::new(RequestMatcher::default()), rewrite: None, action }
    }

    fn https_redirect(&mut self, gateway: &str) -> RouteRule {
        let target = self.answering_target(Arc::default());
        self.catch_all(gateway, ActionKind::Redirect(actions::https_redirect(), target))
    }

    fn default_route(&mut self, host: &str, port: u16) -> RouteRule {
        let cluster = names::cluster_name(port, "", host).into();
        let target = push(&mut self.policy.targets, Target { cluster, authority: None, edits: Arc::default() });
        let targets = WeightedTargets::single(target);
        self.catch_all(
            host,
            ActionKind::Forward(ForwardRule { targets, mirrors: Box::default(), profiles: Box::default() }),
        )
    }
}

/// Whether a block holds here. With `gateways` set, labels and namespace of the caller are not looked at.
fn holds(block: &Block, context: &Context, config: &FilterConfig) -> bool {
    let scope = &block.scope;
    let caller = if scope.gateways.is_empty() {
        (scope.source_namespace.is_empty() || scope.source_namespace == config.namespace)
            && scope.source_labels.iter().all(|(key, value)| config.labels.get(key) == Some(value))
    } else {
        scope.gateways.contains(&context.gateway)
    };
    caller && scope.port.is_none_or(|port| port == u32::from(context.port))
}

/// Appends and returns the index.
fn push<T>(list: &mut Vec<T>, item: T) -> u32 {
    let index = u32::try_from(list.len()).unwrap_or(u32::MAX);
    list.push(item);
    index
}
