//! `HTTPRoute` to a rule template: everything that does not depend on where the rule is served.

use super::actions::{self, RedirectTemplate};
use super::fallback::Protection;
use super::headers::{self, Edits};
use super::matches::{self, Scope};
use super::{Policies, pattern};
use crate::decision::{NewAuthority, OriginalHost};
use crate::headers::HeaderEdits;
use crate::matcher::{PathMatcher, RequestMatcher};
use crate::ratio::Ratio;
use crate::reply::Cors;
use crate::rewrite::{PathRewrite, Substitution};
use crate::route::{FaultRule, RuleId};
use crate::sticky::Keys;
use istio_config::delegates::{Expanded, Place};
use istio_config::diagnostic::{At, Diagnostics};
use istio_config::filter_config::FallbackBinding;
use istio_config::virtual_service::{
    Destination, HttpMirrorPolicy, HttpRewrite, HttpRoute, HttpRouteDestination, Percent, RegexRewrite, VirtualService,
};
use istio_config::{ObjectMeta, Resource, listeners, names};
use regex::bytes::Regex;
use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::Arc;

/// A VirtualService, ready to be laid under its domains.
#[derive(Debug)]
pub(super) struct RuleSet<'c> {
    pub(super) meta: &'c ObjectMeta,
    /// Where the user wrote the rules.
    expanded: &'c Expanded<'c>,
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
    pub(super) fault: Option<FaultRule>,
    pub(super) cors: Option<Cors>,
    pub(super) kind: Kind<'c>,
}

/// What a rule does, but for what depends on the listener.
#[derive(Debug)]
pub(super) enum Kind<'c> {
    Forward {
        destinations: Vec<DestinationTemplate<'c>>,
        sticky: Option<Arc<Keys>>,
        mirrors: Box<[Ratio]>,
        profiles: Box<[Box<str>]>,
        fallback: Option<FallbackTemplate<'c>>,
        /// Place of the protection that holds, among all.
        breaker: Option<u32>,
    },
    Redirect(RedirectTemplate, Arc<HeaderEdits>),
    Direct(u16, Box<[u8]>, Arc<HeaderEdits>),
}

/// How the rule's requests fall back, but for the targets.
#[derive(Debug)]
pub(super) struct FallbackTemplate<'c> {
    pub(super) protection: Arc<Protection>,
    pub(super) binding: &'c FallbackBinding,
}

/// One match block, or the absence of any.
#[derive(Debug)]
pub(super) struct Block {
    pub(super) match_block: Option<u32>,
    pub(super) scope: Scope,
    pub(super) matcher: Arc<RequestMatcher>,
    pub(super) rewrite: Option<PathRewrite>,
}

impl Block {
    /// Where it does not look at the path, lets it match the prefix `/`, as istiod writes it: a `prefixRewrite` replaces that.
    fn match_root(&mut self) {
        if let Some(matcher) = Arc::get_mut(&mut self.matcher) {
            matcher.path.get_or_insert_with(|| PathMatcher::Prefix(b"/".as_slice().into()));
        }
    }
}

#[derive(Debug)]
pub(super) struct DestinationTemplate<'c> {
    pub(super) raw: &'c Destination,
    /// The host in full.
    pub(super) host: String,
    pub(super) weight: u32,
    pub(super) authority: Option<NewAuthority>,
    pub(super) edits: Arc<HeaderEdits>,
}

/// Reads one VirtualService. `None` when there is nothing to lay under a domain; faults are reported.
pub(super) fn compile<'c>(
    expanded: &'c Expanded<'_>,
    policies: &Policies<'c>,
    diagnostics: &mut Diagnostics,
) -> Option<RuleSet<'c>> {
    let Resource { meta, spec } = &*expanded.service;
    let VirtualService { hosts, gateways, http, tls, tcp, export_to: _ } = spec;
    let object = At::object(&meta.reference);
    let at = object.field("spec");
    for (field, present) in [("tls", !tls.is_empty()), ("tcp", !tcp.is_empty())] {
        if present {
            let help = "Shunt serves HTTP; let Istio route the rest";
            diagnostics.warning(&at.field(field), "not-served", format!("{field} routes are not served"), help);
        }
    }
    let field = at.field("hosts");
    let mut seen = BTreeSet::new();
    for (index, host) in hosts.iter().enumerate() {
        let at = field.index(index);
        if !names::is_host(host) {
            let help = "write a name without port, or a wildcard such as *.example.com";
            diagnostics.error(&at, "bad-host", format!("`{host}` is not a host"), help);
        } else if !seen.insert(host) {
            diagnostics.error(&at, "duplicate-host", format!("`{host}` stands here twice"), "keep one of them");
        } else if host == "*" && (gateways.is_empty() || gateways.iter().any(|gateway| gateway == "mesh")) {
            let help = "name the hosts, or bind the VirtualService to a Gateway";
            diagnostics.warning(&at, "wildcard-in-mesh", "istioctl refuses `*` for the mesh", help);
        }
    }
    let as_written = matches!(expanded.service, Cow::Borrowed(_));
    if as_written && http.is_empty() && tls.is_empty() && tcp.is_empty() {
        diagnostics.error(&at, "no-rules", "the VirtualService has no http rules", "add spec.http");
    }
    let rules: Vec<_> = http
        .iter()
        .enumerate()
        .map(|(index, raw)| {
            let (object, place) = expanded.rule_origin(index);
            let object = At::object(object);
            let spec = object.field("spec");
            let field = spec.field("http");
            let at = field.index(place).inheriting(expanded.inherited(index));
            rule(&at, u32::try_from(index).ok()?, raw, meta, policies, diagnostics)
        })
        .collect();
    Some(RuleSet {
        meta,
        expanded,
        hosts: hosts.iter().map(|host| names::full_host(host, meta.namespace())).collect(),
        gateways: listeners::gateway_names(&expanded.service),
        rules: rules.into_iter().collect::<Option<_>>()?,
    })
}

impl RuleSet<'_> {
    /// The name of a rule's match block, as the user wrote it. `http`: the rule's number once delegates are written out.
    pub(super) fn rule_id(&self, owner: &Arc<str>, http: u32, match_block: Option<u32>) -> RuleId {
        let large = |number: u32| usize::try_from(number).unwrap_or(usize::MAX);
        let small = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        let id = |owner: Arc<str>, (http, block): Place, delegate| RuleId {
            owner,
            http: Some(small(http)),
            match_block: block.map(small),
            delegate,
        };
        let (root, delegate) = self.expanded.block_origin(large(http), match_block.map(large));
        let delegate = delegate
            .map(|(object, place)| Arc::new(id(format!("{}/{}", object.namespace, object.name).into(), place, None)));
        id(owner.clone(), root, delegate)
    }
}

fn rule<'c>(
    at: &At<'_>,
    http: u32,
    raw: &'c HttpRoute,
    meta: &ObjectMeta,
    policies: &Policies<'c>,
    diagnostics: &mut Diagnostics,
) -> Option<RuleTemplate<'c>> {
    let HttpRoute {
        name: _,
        r#match,
        route,
        redirect,
        direct_response,
        // Written out before.
        delegate: _,
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
    check_kinds(at, raw, diagnostics);
    let path_rewrite = rewrite_template(at, rewrite.as_deref(), diagnostics);
    let mut blocks = blocks(at, r#match, path_rewrite.as_ref(), meta, diagnostics);
    let route_level = headers::edits(at, route_headers.as_deref(), diagnostics);
    let fault = fault.as_ref().and_then(|raw| actions::fault(at, raw, diagnostics));
    let mut cors = cors_policy.as_ref().and_then(|raw| actions::cors(at, raw, diagnostics));
    // istiod gives the policy to routes that forward, and to no others.
    if route.is_empty() && cors.take().is_some() {
        let help = "write the headers under headers.response, or leave preflights to a rule with a route";
        let message = "corsPolicy does nothing in a rule that answers by itself";
        diagnostics.warning(&at.field("corsPolicy"), "no-effect", message, help);
    }
    let kind = if let Some(raw) = redirect {
        let paths: Vec<_> = blocks.iter().flatten().map(|block| block.matcher.path.as_ref()).collect();
        let redirect = actions::redirect(&at.field("redirect"), raw, &paths, diagnostics)?;
        if !raw.prefix_rewrite.is_empty() {
            blocks.iter_mut().flatten().for_each(Block::match_root);
        }
        Kind::Redirect(redirect, Arc::new(headers::of_reply(&route_level)))
    } else if let Some(raw) = direct_response {
        let (status, body) = actions::direct_response(&at.field("directResponse"), raw, diagnostics)?;
        Kind::Direct(status, body, Arc::new(headers::of_reply(&route_level)))
    } else {
        let destinations = destinations(at, route, rewrite.as_deref(), &route_level, meta, diagnostics);
        let percentages = MirrorShares {
            one: mirror.as_deref(),
            several: mirrors,
            percent: *mirror_percent,
            percentage: mirror_percentage.as_ref(),
        };
        let mirrors = percentages.compile(at, diagnostics);
        let owner = meta.full_name();
        let number = usize::try_from(http).unwrap_or(usize::MAX);
        let binding = policies.bindings.get(&(owner.as_str(), number)).copied();
        let profiles = binding
            .map(|binding| binding.profiles.iter().map(|name| name.as_str().into()).collect())
            .unwrap_or_default();
        let place = (owner, number);
        let sticky = policies.sticky.get(&place).cloned();
        let fallback = policies.fallback.by_rule.get(&place).and_then(|protection| {
            let binding = binding?.fallback.as_ref()?;
            Some(FallbackTemplate { protection: protection.clone(), binding })
        });
        let breaker = policies.breaker.by_rule.get(&place).copied();
        Kind::Forward { destinations, sticky, mirrors, profiles, fallback, breaker }
    };
    Some(RuleTemplate { http, blocks: blocks?, fault, cors, kind })
}

/// Which of route, redirect and directResponse may stand together, and with what (istio `validation.go`).
fn check_kinds(at: &At<'_>, raw: &HttpRoute, diagnostics: &mut Diagnostics) {
    let HttpRoute { route, redirect, direct_response, rewrite, fault, .. } = raw;
    let kinds =
        [("route", !route.is_empty()), ("redirect", redirect.is_some()), ("directResponse", direct_response.is_some())];
    let chosen: Vec<_> = kinds.iter().filter(|(_, present)| *present).map(|(kind, _)| *kind).collect();
    match chosen.as_slice() {
        [] => {
            let help = "add route with at least one destination";
            diagnostics.error(at, "no-action", "the rule says nothing about where requests go", help);
        }
        [kind @ ("redirect" | "directResponse")] => {
            for (field, present) in [("rewrite", rewrite.is_some()), ("fault", fault.is_some())] {
                if present {
                    let message = format!("a rule with {kind} cannot have {field}");
                    diagnostics.error(&at.field(field), "conflict", message, format!("remove {field}"));
                }
            }
        }
        [_] => {}
        [first, others @ ..] => {
            let message = format!("a rule has one of {first} and {}", others.join(", "));
            diagnostics.error(at, "oneof", message, "split it into rules, or remove the others");
        }
    }
}

fn destinations<'c>(
    at: &At<'_>,
    route: &'c [HttpRouteDestination],
    rewrite: Option<&HttpRewrite>,
    route_level: &Edits,
    meta: &ObjectMeta,
    diagnostics: &mut Diagnostics,
) -> Vec<DestinationTemplate<'c>> {
    let rewrite_authority = rewrite.map(|rewrite| rewrite.authority.clone()).filter(|text| !text.is_empty());
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
        let level = headers::edits(&at, headers.as_deref(), diagnostics);
        let edits = Arc::new(headers::merge(route_level, &level, single));
        let host = destination_host(&at.field("destination"), destination, meta, diagnostics);
        let weight = weight_of(&at.field("weight"), *weight, diagnostics);
        if let (Some(host), Some(weight)) = (host, weight) {
            let authority = new_authority(authority.as_deref(), level.authority.as_deref(), single);
            destinations.push(DestinationTemplate { raw: destination, host, weight, authority, edits });
        }
    }
    if destinations.len() > 1 && destinations.iter().all(|destination| destination.weight == 0) {
        let help = "give at least one destination a weight, or remove the route";
        diagnostics.error(&field, "no-weight", "every destination has weight 0", help);
    }
    destinations
}

/// The rule's word is the last. A destination that is alone speaks as the rule does; among several it is heard before the rule.
fn new_authority(of_rule: Option<&str>, of_destination: Option<&str>, single: bool) -> Option<NewAuthority> {
    let original = match (of_rule, of_destination) {
        (Some(_), Some(name)) if !single => OriginalHost::Destination(name.into()),
        (None, Some(_)) if !single => OriginalHost::Untold,
        _ => OriginalHost::Client,
    };
    of_rule.or(of_destination).map(|name| NewAuthority { name: name.into(), original })
}

fn blocks(
    at: &At<'_>,
    raw: &[istio_config::virtual_service::HttpMatchRequest],
    rewrite: Option<&RewriteTemplate>,
    meta: &ObjectMeta,
    diagnostics: &mut Diagnostics,
) -> Option<Vec<Block>> {
    let block = |match_block, scope, matcher: RequestMatcher| Block {
        match_block,
        scope,
        rewrite: rewrite.map(|rewrite| rewrite.for_block(matcher.path.as_ref())),
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
            gateways: raw.gateways.iter().map(|name| listeners::full_gateway(name, meta.namespace())).collect(),
            port: raw.port.filter(|port| *port != 0),
            source_labels: raw.source_labels.clone(),
            source_namespace: raw.source_namespace.clone(),
        };
        matcher.map(|matcher| block(Some(index), scope, matcher))
    });
    scoped.collect()
}

/// A path rewrite before it is known what the block matched.
enum RewriteTemplate {
    Uri(Box<str>),
    Pattern(Regex, Substitution),
}

impl RewriteTemplate {
    /// `rewrite.uri` replaces what the block matched: its prefix, or the whole path. Without a `uri` match istiod writes
    /// prefix `/`, so the text goes in front.
    fn for_block(&self, path: Option<&PathMatcher>) -> PathRewrite {
        match (self, path) {
            (Self::Pattern(pattern, text), _) => PathRewrite::Pattern(pattern.clone(), text.clone()),
            (Self::Uri(text), None) => PathRewrite::Prefix(1, text.clone()),
            (Self::Uri(text), Some(PathMatcher::Prefix(prefix) | PathMatcher::PrefixAnyCase(prefix))) => {
                PathRewrite::Prefix(prefix.len(), text.clone())
            }
            (Self::Uri(text), Some(PathMatcher::Exact(_) | PathMatcher::ExactAnyCase(_) | PathMatcher::Regex(_))) => {
                PathRewrite::Whole(text.clone())
            }
        }
    }
}

fn rewrite_template(at: &At<'_>, raw: Option<&HttpRewrite>, diagnostics: &mut Diagnostics) -> Option<RewriteTemplate> {
    let HttpRewrite { uri, authority, uri_regex_rewrite } = raw?;
    let at = at.field("rewrite");
    if !headers::is_one_line(&at.field("uri"), uri, diagnostics)
        | !headers::is_one_line(&at.field("authority"), authority, diagnostics)
    {
        return None;
    }
    let Some(RegexRewrite { r#match, rewrite }) = uri_regex_rewrite else {
        if uri.is_empty() && authority.is_empty() {
            diagnostics.error(
                &at,
                "empty-rewrite",
                "the rewrite says nothing",
                "give it uri, authority or uriRegexRewrite",
            );
        }
        if !uri.is_empty() && !uri.starts_with('/') {
            let help = "begin it with `/`";
            let message =
                format!("the new path begins with `{uri}`: Envoy sends it like that, and most servers refuse it");
            diagnostics.warning(&at.field("uri"), "path-without-slash", message, help);
        }
        return (!uri.is_empty()).then(|| RewriteTemplate::Uri(uri.as_str().into()));
    };
    if !uri.is_empty() {
        let help = "remove one of them";
        diagnostics.error(&at.field("uri"), "oneof", "a rewrite has uri or uriRegexRewrite, not both", help);
    }
    let at = at.field("uriRegexRewrite");
    let pattern = pattern::anywhere(&at.field("match"), r#match, diagnostics)?;
    let groups = pattern.captures_len().saturating_sub(1);
    match Substitution::parse(rewrite, groups) {
        Ok(text) => Some(RewriteTemplate::Pattern(pattern, text)),
        Err(fault) => {
            diagnostics.error(
                &at.field("rewrite"),
                "bad-substitution",
                fault,
                r"write \1 for the first group, \\ for a backslash",
            );
            None
        }
    }
}

fn destination_host(
    at: &At<'_>,
    raw: &Destination,
    meta: &ObjectMeta,
    diagnostics: &mut Diagnostics,
) -> Option<String> {
    if raw.host.is_empty() {
        // In the words of envoy-plan, which looks at every destination too: one fault is one finding.
        diagnostics.error(&at.field("host"), "bad-host", "no host", "write the name of a service");
        return None;
    }
    if raw.host.contains('*') {
        let message = format!("`{}` is no host name", raw.host);
        diagnostics.error(&at.field("host"), "bad-host", message, "write the name of a service");
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
