//! `HTTPRoute` to a rule template: everything that does not depend on where the rule is served.

use super::headers;
use super::matches::{self, Scope};
use crate::headers::HeaderEdits;
use crate::matcher::{PathMatcher, RequestMatcher};
use crate::ratio::Ratio;
use crate::rewrite::PathRewrite;
use istio_config::diagnostic::{At, Diagnostics};
use istio_config::virtual_service::{
    Destination, HttpMirrorPolicy, HttpRewrite, HttpRoute, HttpRouteDestination, Percent, VirtualService,
};
use istio_config::{FilterConfig, ObjectMeta, Resource, names};
use std::sync::Arc;

/// A VirtualService, ready to be laid under its domains.
#[derive(Debug)]
pub(super) struct RuleSet<'c> {
    pub(super) meta: &'c ObjectMeta,
    /// Hosts in full, in lower case.
    pub(super) hosts: Vec<String>,
    /// `mesh` and gateway names in full.
    pub(super) gateways: Vec<String>,
    pub(super) rules: Vec<RuleTemplate<'c>>,
}

#[derive(Debug)]
pub(super) struct RuleTemplate<'c> {
    pub(super) http: u32,
    pub(super) blocks: Vec<Block>,
    pub(super) destinations: Vec<DestinationTemplate<'c>>,
    pub(super) mirrors: Box<[Ratio]>,
    pub(super) profiles: Box<[Box<str>]>,
}

/// One match block, or the absence of any.
#[derive(Debug)]
pub(super) struct Block {
    pub(super) match_block: Option<u32>,
    pub(super) scope: Scope,
    pub(super) matcher: Arc<RequestMatcher>,
    pub(super) rewrite: Option<PathRewrite>,
}

#[derive(Debug)]
pub(super) struct DestinationTemplate<'c> {
    pub(super) raw: &'c Destination,
    /// The host in full.
    pub(super) host: String,
    pub(super) weight: u32,
    pub(super) authority: Option<Box<str>>,
    pub(super) edits: Arc<HeaderEdits>,
}

/// Reads one VirtualService. `None` when there is nothing to lay under a domain; faults are reported.
pub(super) fn compile<'c>(
    service: &'c Resource<VirtualService>,
    config: &FilterConfig,
    diagnostics: &mut Diagnostics,
) -> Option<RuleSet<'c>> {
    let VirtualService { hosts, gateways, http, tls, tcp, export_to: _ } = &service.spec;
    let meta = &service.meta;
    let object = At::object(&meta.reference);
    let at = object.field("spec");
    for (field, present) in [("tls", !tls.is_empty()), ("tcp", !tcp.is_empty())] {
        if present {
            let help = "Shunt serves HTTP; let Istio route the rest";
            diagnostics.warning(&at.field(field), "not-served", format!("{field} routes are not served"), help);
        }
    }
    if hosts.is_empty() {
        diagnostics.error(
            &at.field("hosts"),
            "no-hosts",
            "the VirtualService has no hosts",
            "name the host whose requests it rules",
        );
    }
    if http.is_empty() && tls.is_empty() && tcp.is_empty() {
        diagnostics.error(&at, "no-rules", "the VirtualService has no http rules", "add spec.http");
    }
    let field = at.field("http");
    let rules: Vec<_> = (0..)
        .zip(http)
        .map(|(http, raw)| {
            let at_rule = usize::try_from(http).map_or(field, |index| field.index(index));
            rule(&at_rule, http, raw, meta, config, diagnostics)
        })
        .collect();
    let gateways = match gateways.as_slice() {
        [] => vec!["mesh".to_owned()],
        named => named.iter().map(|name| full_gateway(name, meta.namespace())).collect(),
    };
    Some(RuleSet {
        meta,
        hosts: hosts.iter().map(|host| names::full_host(host, meta.namespace())).collect(),
        gateways,
        rules: rules.into_iter().collect::<Option<_>>()?,
    })
}

/// `mesh` stays, `name` gets the rule's namespace, `namespace/name` stays.
fn full_gateway(name: &str, namespace: &str) -> String {
    if name == "mesh" || name.contains('/') { name.to_owned() } else { format!("{namespace}/{name}") }
}

fn rule<'c>(
    at: &At<'_>,
    http: u32,
    raw: &'c HttpRoute,
    meta: &ObjectMeta,
    config: &FilterConfig,
    diagnostics: &mut Diagnostics,
) -> Option<RuleTemplate<'c>> {
    let HttpRoute {
        name: _,
        r#match,
        route,
        redirect,
        direct_response,
        delegate,
        rewrite,
        fault,
        mirror,
        mirrors,
        mirror_percent,
        mirror_percentage,
        cors_policy,
        headers: route_headers,
        // Carried by the profile; envoy-plan reads them.
        timeout: _,
        retries: _,
    } = raw;
    let unserved = [
        ("redirect", redirect.is_some()),
        ("directResponse", direct_response.is_some()),
        ("delegate", delegate.is_some()),
        ("fault", fault.is_some()),
        ("corsPolicy", cors_policy.is_some()),
    ];
    for (field, _) in unserved.iter().filter(|(_, present)| *present) {
        let help = "remove it, or let Istio serve this VirtualService";
        diagnostics.error(&at.field(field), "not-served-yet", format!("`{field}` is not served yet"), help);
    }
    if route.is_empty() && unserved.iter().take(3).all(|(_, present)| !present) {
        let help = "add route with at least one destination";
        diagnostics.error(at, "no-action", "the rule says nothing about where requests go", help);
    }
    let path_rewrite = rewrite_text(at, rewrite.as_deref(), diagnostics);
    let blocks = blocks(at, r#match, path_rewrite, meta, diagnostics);
    let route_level = headers::level(at, route_headers.as_deref(), diagnostics);
    let rewrite_authority = rewrite.as_ref().map(|rewrite| rewrite.authority.clone()).filter(|text| !text.is_empty());
    if rewrite_authority.is_some() && route_level.authority.is_some() {
        let help = "keep rewrite.authority and remove Host from headers";
        diagnostics.error(
            &at.field("rewrite").field("authority"),
            "authority-twice",
            "the rule rewrites the host twice",
            help,
        );
    }
    let authority = rewrite_authority.or_else(|| route_level.authority.clone());
    let field = at.field("route");
    let single = route.len() == 1;
    let mut destinations = Vec::with_capacity(route.len());
    for (index, raw) in route.iter().enumerate() {
        let HttpRouteDestination { destination, weight, headers } = raw;
        let at = field.index(index);
        let level = headers::level(&at, headers.as_deref(), diagnostics);
        let edits = headers::merge(&route_level, &level, single);
        let host = destination_host(&at.field("destination"), destination, meta, diagnostics);
        let weight = weight_of(&at.field("weight"), *weight, diagnostics);
        if let (Some(host), Some(weight)) = (host, weight) {
            let authority = authority.clone().or(level.authority).map(Into::into);
            destinations.push(DestinationTemplate {
                raw: destination,
                host,
                weight,
                authority,
                edits: Arc::new(edits),
            });
        }
    }
    if destinations.len() > 1 && destinations.iter().all(|destination| destination.weight == 0) {
        let help = "give at least one destination a weight, or remove the route";
        diagnostics.error(&field, "no-weight", "every destination has weight 0", help);
    }
    let percentages = MirrorShares {
        one: mirror.as_deref(),
        several: mirrors,
        percent: *mirror_percent,
        percentage: mirror_percentage.as_ref(),
    };
    let mirrors = percentages.compile(at, diagnostics);
    let binding = config
        .bindings
        .iter()
        .find(|binding| usize::try_from(http) == Ok(binding.http) && binding.virtual_service == meta.full_name());
    let profiles =
        binding.map(|binding| binding.profiles.iter().map(|name| name.as_str().into()).collect()).unwrap_or_default();
    Some(RuleTemplate { http, blocks: blocks?, destinations, mirrors, profiles })
}

fn blocks(
    at: &At<'_>,
    raw: &[istio_config::virtual_service::HttpMatchRequest],
    rewrite: Option<&str>,
    meta: &ObjectMeta,
    diagnostics: &mut Diagnostics,
) -> Option<Vec<Block>> {
    let block = |match_block, scope, matcher: RequestMatcher| Block {
        match_block,
        scope,
        rewrite: rewrite.map(|text| path_rewrite(text, matcher.path.as_ref())),
        matcher: Arc::new(matcher),
    };
    if raw.is_empty() {
        return Some(vec![block(None, Scope::default(), RequestMatcher::default())]);
    }
    let field = at.field("match");
    // Every block is looked at before the first fault gives up.
    let compiled: Vec<_> =
        raw.iter().enumerate().map(|(index, raw)| matches::compile(&field.index(index), raw, diagnostics)).collect();
    let scoped = (0..).zip(raw).zip(compiled).map(|((index, raw), matcher)| {
        let scope = Scope {
            gateways: raw.gateways.iter().map(|name| full_gateway(name, meta.namespace())).collect(),
            port: raw.port.filter(|port| *port != 0),
            source_labels: raw.source_labels.clone(),
            source_namespace: raw.source_namespace.clone(),
        };
        matcher.map(|matcher| block(Some(index), scope, matcher))
    });
    scoped.collect()
}

/// `rewrite.uri` replaces what the block matched: its prefix, or the whole path. Without a `uri` match istiod writes
/// prefix `/`, so the text goes in front.
fn path_rewrite(text: &str, path: Option<&PathMatcher>) -> PathRewrite {
    match path {
        None => PathRewrite::Prefix(1, text.into()),
        Some(PathMatcher::Prefix(prefix) | PathMatcher::PrefixAnyCase(prefix)) => {
            PathRewrite::Prefix(prefix.len(), text.into())
        }
        Some(PathMatcher::Exact(_) | PathMatcher::ExactAnyCase(_) | PathMatcher::Regex(_)) => {
            PathRewrite::Whole(text.into())
        }
    }
}

fn rewrite_text<'a>(at: &At<'_>, raw: Option<&'a HttpRewrite>, diagnostics: &mut Diagnostics) -> Option<&'a str> {
    let HttpRewrite { uri, authority, uri_regex_rewrite } = raw?;
    let at = at.field("rewrite");
    if uri_regex_rewrite.is_some() {
        let help = "use rewrite.uri, or let Istio serve this VirtualService";
        diagnostics.error(&at.field("uriRegexRewrite"), "not-served-yet", "`uriRegexRewrite` is not served yet", help);
    } else if uri.is_empty() && authority.is_empty() {
        diagnostics.error(
            &at,
            "empty-rewrite",
            "the rewrite says nothing",
            "give it uri, authority or uriRegexRewrite",
        );
    }
    Some(uri.as_str()).filter(|uri| !uri.is_empty())
}

fn destination_host(
    at: &At<'_>,
    raw: &Destination,
    meta: &ObjectMeta,
    diagnostics: &mut Diagnostics,
) -> Option<String> {
    if raw.host.is_empty() {
        diagnostics.error(&at.field("host"), "no-host", "the destination has no host", "name the service");
        return None;
    }
    if raw.host.contains('*') {
        diagnostics.error(&at.field("host"), "wildcard-host", "a destination cannot be a wildcard", "name one service");
        return None;
    }
    Some(names::full_host(&raw.host, meta.namespace()))
}

fn weight_of(at: &At<'_>, weight: Option<i32>, diagnostics: &mut Diagnostics) -> Option<u32> {
    let weight = u32::try_from(weight.unwrap_or(0));
    if weight.is_err() {
        diagnostics.error(at, "negative-weight", "a weight cannot be negative", "write 0 or more");
    }
    weight.ok()
}

/// What `mirror`, `mirrors` and the percentages of one rule say together.
struct MirrorShares<'a> {
    one: Option<&'a Destination>,
    several: &'a [HttpMirrorPolicy],
    percent: Option<u32>,
    percentage: Option<&'a Percent>,
}

impl MirrorShares<'_> {
    /// One share for each mirror, in file order. Absent means all; where the destinations go, the profile says.
    fn compile(&self, at: &At<'_>, diagnostics: &mut Diagnostics) -> Box<[Ratio]> {
        if self.one.is_some() {
            let field = at.field("mirrorPercentage");
            let share = match (self.percentage, self.percent) {
                (Some(percentage), _) => ratio(&field, Some(percentage), diagnostics),
                (None, Some(percent)) => {
                    let percent = Percent { value: f64::from(percent) };
                    ratio(&at.field("mirrorPercent"), Some(&percent), diagnostics)
                }
                (None, None) => Ratio::ALL,
            };
            return [share].into();
        }
        let field = at.field("mirrors");
        let shares = self.several.iter().enumerate();
        shares
            .map(|(index, mirror)| {
                ratio(&field.index(index).field("percentage"), mirror.percentage.as_ref(), diagnostics)
            })
            .collect()
    }
}

fn ratio(at: &At<'_>, percentage: Option<&Percent>, diagnostics: &mut Diagnostics) -> Ratio {
    let Some(Percent { value }) = percentage else { return Ratio::ALL };
    Ratio::from_percent(*value).unwrap_or_else(|| {
        diagnostics.error(at, "bad-percentage", format!("{value} is not a percentage"), "write a number from 0 to 100");
        Ratio::ALL
    })
}
