//! `ShuntPolicy.propagate`: whether what it says can be done, and for which destinations.

use crate::propagate::{ENTRY_BYTES_MAX, Propagation, REQUEST_ID, Receivers, Rule};
use crate::route::{ActionKind, Policy, RuleId, at};
use istio_config::diagnostic::{At, Diagnostics};
use istio_config::filter_config::{Direction, OWN_PREFIX};
use istio_config::shunt_policy::{ContextId, Propagate, Sticky, TargetRef};
use istio_config::virtual_service::HttpRoute;
use istio_config::{Config, FilterConfig, GoDuration, Resource, ShuntPolicy, names};
use std::collections::BTreeSet;
use std::time::Duration;

/// What is kept unless the policy says otherwise: request id and trace context in all usual forms, and baggage.
const USUAL_HEADERS: [&str; 11] = [
    "x-request-id",
    "traceparent",
    "tracestate",
    "x-b3-traceid",
    "x-b3-spanid",
    "x-b3-parentspanid",
    "x-b3-sampled",
    "x-b3-flags",
    "b3",
    "x-ot-span-context",
    "baggage",
];

/// They describe one connection or one body, or are the request itself.
const BOUND_HEADERS: [&str; 11] = [
    "host",
    "content-length",
    "content-type",
    "content-encoding",
    "connection",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Who holds one of these is who it says.
const CREDENTIALS: [&str; 3] = ["authorization", "cookie", "proxy-authorization"];

const CAPACITY: u32 = 8192;
const CAPACITY_MAX: u32 = 1 << 20;
const TTL: Duration = Duration::from_secs(60);

/// Policies that can be told apart at run time.
const POLICIES_MAX: usize = 64;

/// The policy's rules with what the configuration says about context. `policy` has all its targets.
pub(super) fn compile(config: &FilterConfig, policy: &Policy, diagnostics: &mut Diagnostics) -> Option<Propagation> {
    let policies = config.config.shunt_policies.iter();
    let policies: Vec<_> =
        policies.filter_map(|policy| Some((policy, policy.spec.propagate.as_ref()?))).take(POLICIES_MAX).collect();
    let (first, _) = policies.first()?;
    let (key_headers, cookies) = sticky_keys(&config.config);
    let mut rules = Vec::with_capacity(policies.len());
    let mut scopes = Vec::with_capacity(policies.len());
    let mut common: Option<Common> = None;
    for (policy, raw) in &policies {
        let object = At::object(&policy.meta.reference);
        let spec = object.field("spec");
        let at = spec.field("propagate");
        let own = Common::read(&at, raw, diagnostics);
        let agreed = common.get_or_insert(own);
        agreed.compare(&at, &own, &first.meta.full_name(), diagnostics);
        let (rule, hosts) = rule(&at, policy, raw, own.id, &key_headers, &config.namespace, diagnostics);
        if rule.headers.is_empty() && cookies.is_empty() {
            let message = "nothing is kept: of these headers there is only the id itself, which the application hands on";
            diagnostics.warning(&at.field("headers"), "no-effect", message, "name the headers that are to follow the request");
        }
        let scope = match (&policy.spec.target_ref, config.direction) {
            (Some(target), Direction::Outbound) => scope(&spec.field("targetRef"), target, policy, &config.config, diagnostics),
            _ => Scope::default(),
        };
        if config.direction == Direction::Outbound {
            report_mirrors(&scope, &rule, &hosts, &config.config, policy, diagnostics);
        }
        rules.push(rule);
        scopes.push(scope);
    }
    let Common { id, capacity, ttl } = common?;
    let propagation = Propagation {
        inbound: config.direction == Direction::Inbound,
        id,
        capacity,
        ttl_ms: u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX),
        by_target: by_target(policy, &rules, &scopes, &config.config),
        rules: rules.into(),
        cookies: cookies.into_iter().map(Into::into).collect(),
    };
    let object = At::object(&first.meta.reference);
    let spec = object.field("spec");
    let at = spec.field("propagate");
    let size = propagation.store_bytes_max();
    let message = format!("the contexts of a proxy take up to {} MiB: {capacity} of {ENTRY_BYTES_MAX} bytes", size.div_ceil(1 << 20));
    diagnostics.note(&at.field("capacity"), "context-memory", message, "a usual one takes some 500 bytes; set `capacity` for less");
    Some(propagation)
}

/// What all policies of a configuration have to agree on: there is one store, with one way into it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Common {
    id: ContextId,
    capacity: u32,
    ttl: Duration,
}

impl Common {
    fn read(at: &At<'_>, raw: &Propagate, diagnostics: &mut Diagnostics) -> Self {
        let capacity = raw.capacity.unwrap_or(CAPACITY);
        if !(1..=CAPACITY_MAX).contains(&capacity) {
            let message = format!("{capacity} is no number of requests from 1 to {CAPACITY_MAX}");
            let help = format!("each takes up to {ENTRY_BYTES_MAX} bytes; {CAPACITY} unless given");
            diagnostics.error(&at.field("capacity"), "bad-value", message, help);
        }
        let ttl = raw.ttl.map_or(TTL, |GoDuration(ttl)| ttl);
        if ttl < Duration::from_millis(1) {
            let help = "write how long a request may be under way, such as 60s";
            diagnostics.error(&at.field("ttl"), "bad-value", "nothing would be kept for any time", help);
        }
        Self { id: raw.id.unwrap_or_default(), capacity: capacity.clamp(1, CAPACITY_MAX), ttl }
    }

    /// Reports where another policy says something else.
    fn compare(&self, at: &At<'_>, other: &Self, name: &str, diagnostics: &mut Diagnostics) {
        let fields =
            [("id", self.id == other.id), ("capacity", self.capacity == other.capacity), ("ttl", self.ttl == other.ttl)];
        for (field, _) in fields.into_iter().filter(|(_, agrees)| !agrees) {
            let message = format!("ShuntPolicy {name} has another {field}, and a proxy has one store for all");
            diagnostics.error(&at.field(field), "conflict", message, "write the same in both, or one policy");
        }
    }
}

/// Headers and cookies that say which version a user is on: they travel along, so that he meets one version on every hop.
fn sticky_keys(config: &Config) -> (BTreeSet<String>, BTreeSet<String>) {
    let (mut headers, mut cookies) = (BTreeSet::new(), BTreeSet::new());
    for sticky in config.shunt_policies.iter().filter_map(|policy| policy.spec.sticky.as_ref()) {
        let Sticky { http_header_name, http_cookie, http_query_parameter_name: _, use_source_ip: _, salt: _, allow_override } =
            sticky;
        let overriding = allow_override.as_ref();
        let named = [http_header_name.as_ref(), overriding.and_then(|named| named.http_header_name.as_ref())];
        headers.extend(named.into_iter().flatten().map(|name| name.to_ascii_lowercase()));
        let named = [http_cookie.as_ref().map(|cookie| &cookie.name), overriding.and_then(|named| named.http_cookie_name.as_ref())];
        cookies.extend(named.into_iter().flatten().filter(|name| !name.is_empty()).cloned());
    }
    headers.retain(|name| fault(name).is_none());
    (headers, cookies)
}

fn rule(
    at: &At<'_>,
    policy: &Resource<ShuntPolicy>,
    raw: &Propagate,
    id: ContextId,
    key_headers: &BTreeSet<String>,
    namespace: &str,
    diagnostics: &mut Diagnostics,
) -> (Rule, Vec<String>) {
    let Propagate { id: _, headers, to, overwrite, capacity: _, ttl: _ } = raw;
    let field = at.field("headers");
    let mut named: BTreeSet<String> = key_headers.clone();
    if headers.is_empty() {
        named.extend(USUAL_HEADERS.map(str::to_owned));
    }
    for (index, name) in headers.iter().enumerate() {
        let at = field.index(index);
        let name = name.to_ascii_lowercase();
        if let Some((code, message)) = fault(&name) {
            diagnostics.error(&at, code, format!("`{name}` {message}"), "leave it out");
            continue;
        }
        if CREDENTIALS.contains(&name.as_str()) {
            let message = format!("`{name}` says who somebody is: every service in `to` can act in his name");
            diagnostics.warning(&at, "credentials-propagated", message, "keep it out unless each of them is trusted so far");
        }
        named.insert(name);
    }
    if id == ContextId::RequestId {
        named.retain(|name| name.as_bytes() != REQUEST_ID);
    }
    let hosts = receivers(at, to, policy.meta.namespace(), diagnostics);
    let rule = Rule {
        headers: named.into_iter().map(Into::into).collect(),
        overwrite: overwrite.unwrap_or_default(),
        to: Receivers::new(hosts.clone(), namespace),
        everywhere: policy.spec.target_ref.is_none(),
    };
    (rule, hosts)
}

/// Why a header cannot be kept.
fn fault(name: &str) -> Option<(&'static str, &'static str)> {
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if name.starts_with(':') {
        return Some(("reserved-header", "is no header but a part of the request itself"));
    }
    if name.is_empty() || !name.bytes().all(is_token) {
        return Some(("bad-header-name", "is no header name"));
    }
    if name.starts_with(OWN_PREFIX) || name.starts_with("x-envoy-") {
        return Some(("reserved-header", "speaks to the proxy and not to a service"));
    }
    BOUND_HEADERS
        .contains(&name)
        .then_some(("reserved-header", "belongs to one request and its body, or to one connection"))
}

/// The hosts of `to` in full.
fn receivers(at: &At<'_>, to: &[String], namespace: &str, diagnostics: &mut Diagnostics) -> Vec<String> {
    let field = at.field("to");
    if to.is_empty() {
        let help = "name the hosts of the services that may get the headers, or a wildcard such as *.shop.svc.cluster.local";
        diagnostics.error(&field, "context-without-receivers", "nobody may get what is kept", help);
    }
    let mut hosts = Vec::with_capacity(to.len());
    for (index, host) in to.iter().enumerate() {
        let at = field.index(index);
        if !names::is_host(host) {
            let help = "write a name without port, or a wildcard such as *.shop.svc.cluster.local";
            diagnostics.error(&at, "bad-host", format!("`{host}` is not a host"), help);
            continue;
        }
        if host == "*" {
            let message = "every host gets what is kept, also hosts of other people";
            diagnostics.warning(&at, "context-for-everyone", message, "name the hosts, or a wildcard for those of your own");
        }
        hosts.push(names::full_host(host, namespace));
    }
    hosts
}

/// The rules that a `targetRef` names; without one, all.
#[derive(Debug, Default)]
struct Scope {
    /// `namespace/name` of the VirtualService.
    service: Option<String>,
    /// Places of its rules; `None`: all.
    rules: Option<Vec<u32>>,
}

fn scope(
    at: &At<'_>,
    target: &TargetRef,
    policy: &Resource<ShuntPolicy>,
    config: &Config,
    diagnostics: &mut Diagnostics,
) -> Scope {
    let TargetRef { group, kind, name, section_name } = target;
    let namespace = policy.meta.namespace();
    for (field, found, wanted) in [("group", group, "networking.istio.io"), ("kind", kind, "VirtualService")] {
        if !found.is_empty() && found != wanted {
            let message = format!("`{found}` is not `{wanted}`, which is all that a policy can be for");
            diagnostics.error(&at.field(field), "bad-value", message, "leave it out");
        }
    }
    let full_name = format!("{namespace}/{name}");
    let service = config.virtual_services.iter().find(|service| service.meta.full_name() == full_name);
    let Some(service) = service else {
        let message = format!("there is no VirtualService {name} in namespace {namespace}");
        diagnostics.error(&at.field("name"), "unknown-target", message, "name one of the policy's own namespace");
        return Scope { service: Some(full_name), rules: Some(Vec::new()) };
    };
    if section_name.is_empty() {
        return Scope { service: Some(full_name), rules: None };
    }
    let named = (0..).zip(&service.spec.http).filter(|(_, rule)| rule.name == *section_name);
    let rules: Vec<u32> = named.map(|(place, _)| place).collect();
    if rules.is_empty() {
        let message = format!("no http rule of VirtualService {name} is called `{section_name}`");
        diagnostics.error(&at.field("sectionName"), "unknown-target", message, "give the rule that `name`");
    }
    Scope { service: Some(full_name), rules: Some(rules) }
}

impl Scope {
    /// Whether the rule, or what it hands over to, is one of them.
    fn holds(&self, rule: &RuleId) -> bool {
        let Some(service) = &self.service else { return true };
        let is_it = |id: &RuleId| {
            *id.owner == **service
                && self.rules.as_ref().is_none_or(|rules| id.http.is_some_and(|http| rules.contains(&http)))
        };
        is_it(rule) || rule.delegate.as_deref().is_some_and(is_it)
    }
}

/// For each target of the policy the rules that give something to it: those whose `to` has its host, and the hosts of all
/// copies too, which get the same headers.
fn by_target(policy: &Policy, rules: &[Rule], scopes: &[Scope], config: &Config) -> Box<[u64]> {
    let mut masks = vec![0_u64; policy.targets.len()];
    for route in policy.virtual_hosts.iter().flat_map(|host| &host.rules) {
        let Some(ActionKind::Forward(forward)) = at(&policy.actions, route.action).map(|action| &action.kind) else {
            continue;
        };
        let mirrors = mirrors(&route.id, config);
        for (target, _) in forward.targets.weights() {
            let host = at(&policy.targets, target).and_then(|target| target.cluster.rsplit('|').next());
            let mask = usize::try_from(target).ok().and_then(|target| masks.get_mut(target));
            let (Some(host), Some(mask)) = (host, mask) else { continue };
            for (number, (rule, scope)) in (0..).zip(rules.iter().zip(scopes)) {
                let gives = scope.holds(&route.id) && rule.to.take(host) && mirrors.iter().all(|host| rule.to.take(host));
                *mask |= u64::from(gives).checked_shl(number).unwrap_or_default();
            }
        }
    }
    masks.into()
}

/// Hosts that get copies of a rule's requests, in full; those of its delegate too.
fn mirrors(rule: &RuleId, config: &Config) -> Vec<String> {
    let written = |id: &RuleId| {
        let service = config.virtual_services.iter().find(|service| service.meta.full_name() == *id.owner)?;
        let place = usize::try_from(id.http?).ok()?;
        Some(mirrors_of(service.spec.http.get(place)?, service.meta.namespace()))
    };
    let ids = [Some(rule), rule.delegate.as_deref()];
    ids.into_iter().flatten().filter_map(written).flatten().collect()
}

fn mirrors_of(rule: &HttpRoute, namespace: &str) -> Vec<String> {
    let several = rule.mirrors.iter().map(|mirror| &mirror.destination);
    let all = several.chain(rule.mirror.as_deref());
    all.map(|destination| names::full_host(&destination.host, namespace)).collect()
}

/// A rule whose copies go elsewhere gets nothing: that is to be said.
fn report_mirrors(
    scope: &Scope,
    rule: &Rule,
    hosts: &[String],
    config: &Config,
    policy: &Resource<ShuntPolicy>,
    diagnostics: &mut Diagnostics,
) {
    if hosts.is_empty() {
        return;
    }
    for service in &config.virtual_services {
        let name = service.meta.full_name();
        let object = At::object(&service.meta.reference);
        let spec = object.field("spec");
        let list = spec.field("http");
        for (place, raw) in service.spec.http.iter().enumerate() {
            let id = RuleId {
                owner: name.as_str().into(),
                http: u32::try_from(place).ok(),
                match_block: None,
                delegate: None,
            };
            let leads_there = || {
                let route = raw.route.iter();
                route.map(|route| names::full_host(&route.destination.host, service.meta.namespace())).any(|host| rule.to.take(&host))
            };
            if !scope.holds(&id) || !leads_there() {
                continue;
            }
            let outside = mirrors_of(raw, service.meta.namespace()).into_iter().find(|host| !rule.to.take(host));
            if let Some(host) = outside {
                let message = format!(
                    "copies go to `{host}`, which is not in `to` of ShuntPolicy {}: its headers are given to no request of this rule",
                    policy.meta.full_name()
                );
                let at = list.index(place);
                let field = if raw.mirror.is_some() { "mirror" } else { "mirrors" };
                diagnostics.warning(&at.field(field), "mirror-without-context", message, "add the host to `to`, or accept that");
            }
        }
    }
}
