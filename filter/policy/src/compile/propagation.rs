//! `ShuntPolicy.propagate`: whether what it says can be done, and for which destinations.

mod reach;

use crate::propagate::{ENTRY_BYTES_MAX, Propagation, REQUEST_ID, Receivers, Rule};
use crate::route::Policy;
use istio_config::delegates::Expanded;
use istio_config::diagnostic::{At, Diagnostics};
use istio_config::filter_config::{Direction, OWN_PREFIX};
use istio_config::shunt_policy::{ContextId, Propagate, Sticky};
use istio_config::{Config, FilterConfig, GoDuration, Resource, ShuntPolicy, names};
use reach::{by_target, report_mirrors, scope, served};
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
pub(super) fn compile(
    config: &FilterConfig,
    policy: &Policy,
    expanded: &[Expanded<'_>],
    diagnostics: &mut Diagnostics,
) -> Option<Propagation> {
    let policies = config.config.shunt_policies.iter();
    let mut policies: Vec<_> = policies.filter_map(|policy| Some((policy, policy.spec.propagate.as_ref()?))).collect();
    for (policy, _) in policies.drain(policies.len().min(POLICIES_MAX)..) {
        let object = At::object(&policy.meta.reference);
        let spec = object.field("spec");
        let message =
            format!("{POLICIES_MAX} policies before this one have `propagate`, and there is room for no more");
        diagnostics.error(&spec.field("propagate"), "bad-value", message, "put some of them together");
    }
    let (first, _) = policies.first()?;
    let served = served(expanded);
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
        let rule = rule(&at, policy, raw, own.id, &key_headers, &config.namespace, diagnostics);
        let is_id = |name: &String| name.as_bytes().eq_ignore_ascii_case(REQUEST_ID);
        let is_id_alone = raw.headers.as_deref().unwrap_or_default().iter().all(is_id);
        if rule.headers.is_empty() && cookies.is_empty() && is_id_alone {
            let message =
                "nothing is kept: of these headers there is only the id itself, which the application hands on";
            diagnostics.warning(
                &at.field("headers"),
                "no-effect",
                message,
                "name the headers that are to follow the request",
            );
        }
        // The inbound side gets no rules, and keeps for all of them.
        let scope = (config.direction == Direction::Outbound)
            .then(|| scope(&spec.field("targetRef"), policy, &config.config, expanded, diagnostics))
            .flatten();
        report_mirrors(&rule, &scope, &served, policy, diagnostics);
        rules.push(rule);
        scopes.push(scope);
    }
    let Common { id, capacity, ttl } = common?;
    if config.listener.as_ref().is_some_and(|listener| !listener.is_mesh()) {
        let object = At::object(&first.meta.reference);
        let spec = object.field("spec");
        let message = "no application is behind a gateway, so nothing is kept there, and nothing handed on";
        let help = "it acts in the sidecars of the services behind it";
        diagnostics.note(&spec.field("propagate"), "no-effect", message, help);
        return None;
    }
    let propagation = Propagation {
        inbound: config.direction == Direction::Inbound,
        id,
        capacity,
        ttl_ms: u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX),
        by_target: by_target(policy, &rules, &scopes, &served),
        rules: rules.into(),
        cookies: cookies.into_iter().map(Into::into).collect(),
    };
    let object = At::object(&first.meta.reference);
    let spec = object.field("spec");
    let at = spec.field("propagate");
    let size = propagation.store_bytes_max();
    let message = format!(
        "the contexts of a proxy take up to {} MiB: {capacity} of {ENTRY_BYTES_MAX} bytes",
        size.div_ceil(1 << 20)
    );
    diagnostics.note(
        &at.field("capacity"),
        "context-memory",
        message,
        "a usual one takes some 500 bytes; set `capacity` for less",
    );
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
        let fields = [
            ("id", self.id == other.id),
            ("capacity", self.capacity == other.capacity),
            ("ttl", self.ttl == other.ttl),
        ];
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
        let Sticky {
            http_header_name,
            http_cookie,
            http_query_parameter_name: _,
            use_source_ip: _,
            salt: _,
            allow_override,
        } = sticky;
        let overriding = allow_override.as_ref();
        let named = [http_header_name.as_ref(), overriding.and_then(|named| named.http_header_name.as_ref())];
        headers.extend(named.into_iter().flatten().map(|name| name.to_ascii_lowercase()));
        let named = [
            http_cookie.as_ref().map(|cookie| &cookie.name),
            overriding.and_then(|named| named.http_cookie_name.as_ref()),
        ];
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
) -> Rule {
    let Propagate { id: _, headers, to, overwrite, capacity: _, ttl: _ } = raw;
    let headers = headers.as_deref().unwrap_or_default();
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
            diagnostics.warning(
                &at,
                "credentials-propagated",
                message,
                "keep it out unless each of them is trusted so far",
            );
        }
        named.insert(name);
    }
    if id == ContextId::RequestId {
        named.retain(|name| name.as_bytes() != REQUEST_ID);
    }
    let hosts = receivers(at, to, policy.meta.namespace(), diagnostics);
    Rule {
        headers: named.into_iter().map(Into::into).collect(),
        overwrite: overwrite.unwrap_or_default(),
        to: Receivers::new(hosts, namespace),
        everywhere: policy.spec.target_ref.is_none(),
    }
}

/// Why a header cannot be kept.
fn fault(name: &str) -> Option<(&'static str, &'static str)> {
    if name.starts_with(':') {
        return Some(("reserved-header", "is no header but a part of the request itself"));
    }
    if !names::is_token(name) {
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
        let help =
            "name the hosts of the services that may get the headers, or a wildcard such as *.shop.svc.cluster.local";
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
            diagnostics.warning(
                &at,
                "context-for-everyone",
                message,
                "name the hosts, or a wildcard for those of your own",
            );
        }
        hosts.push(names::full_host(host, namespace));
    }
    hosts
}
