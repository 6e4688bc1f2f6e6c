//! Delegates, written out: a rule that hands over to another VirtualService becomes that one's rules.
//!
//! Raw in, raw out, by the rules of istiod (`pilot/pkg/model/virtualservice.go`): the matches of both sides are crossed, a
//! delegate's rule that asks for more than the root gives is dropped, and what the delegate does not say it inherits. One
//! level only. Both who decide and who carry out read the result, so both number the rules alike.

use crate::config::{Config, ObjectMeta, ObjectRef, Resource};
use crate::diagnostic::{At, Diagnostics, Inherited, InheritedBlock};
use crate::virtual_service::{
    Destination, HttpMatchRequest, HttpMirrorPolicy, HttpRoute, Percent, StringMatch, VirtualService,
};
use crate::{listeners, names};
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

/// A VirtualService whose rules hand over to nobody.
#[derive(Clone, Debug)]
pub struct Expanded<'c> {
    /// The VirtualService.
    pub service: Cow<'c, Resource<VirtualService>>,
    /// Where each rule stands, when that is not simply in the same place.
    origins: Vec<Origin>,
}

/// Where the user wrote a rule that was written out.
#[derive(Clone, Debug)]
struct Origin {
    /// Index in the root's `spec.http`.
    root: usize,
    /// The delegate, and the index in its `spec.http`.
    delegate: Option<(ObjectRef, usize)>,
    /// For each match block the root's and the delegate's that were crossed.
    blocks: Vec<Crossed>,
    /// What of a delegate's rule the root wrote.
    inherited: Option<Box<Inherited>>,
}

/// Indices in `match` of root and delegate; `None` where one has no match.
type Crossed = (Option<usize>, Option<usize>);

/// A rule and one of its match blocks: index in `spec.http`, index in `match`.
pub type Place = (usize, Option<usize>);

impl Expanded<'_> {
    /// Where the user finds a rule: the object, and its index in `spec.http`.
    pub fn rule_origin(&self, http: usize) -> (&ObjectRef, usize) {
        let own = &self.service.meta.reference;
        self.origins.get(http).map_or((own, http), |origin| match &origin.delegate {
            Some((object, index)) => (object, *index),
            None => (own, origin.root),
        })
    }

    /// What of a rule stands in another object than [`Expanded::rule_origin`] says.
    pub fn inherited(&self, http: usize) -> Option<&Inherited> {
        self.origins.get(http)?.inherited.as_deref()
    }

    /// Where the user finds a match block: in the VirtualService with the hosts, and in its delegate.
    pub fn block_origin(&self, http: usize, block: Option<usize>) -> (Place, Option<(&ObjectRef, Place)>) {
        let Some(Origin { root, delegate, blocks, inherited: _ }) = self.origins.get(http) else {
            return ((http, block), None);
        };
        let Some((object, index)) = delegate else { return ((*root, block), None) };
        let (of_root, of_delegate) = block.and_then(|block| blocks.get(block)).copied().unwrap_or_default();
        ((*root, of_root), Some((object, (*index, of_delegate))))
    }
}

/// Every VirtualService that has hosts, with delegates written out.
pub fn expand<'c>(config: &'c Config, diagnostics: &mut Diagnostics) -> Vec<Expanded<'c>> {
    let leaves: BTreeMap<String, &Resource<VirtualService>> = config
        .virtual_services
        .iter()
        .filter(|service| service.spec.hosts.is_empty())
        .map(|service| (service.meta.full_name(), service))
        .collect();
    let roots = config.virtual_services.iter().filter(|service| !service.spec.hosts.is_empty());
    let mut expanded = Vec::new();
    for root in roots {
        let delegates = root.spec.http.iter().any(|rule| rule.delegate.is_some());
        expanded.push(if delegates {
            expand_one(root, &leaves, diagnostics)
        } else {
            Expanded { service: Cow::Borrowed(root), origins: Vec::new() }
        });
    }
    report_unused(config, &leaves, diagnostics);
    expanded
}

fn report_unused(config: &Config, leaves: &BTreeMap<String, &Resource<VirtualService>>, diagnostics: &mut Diagnostics) {
    let mut used = BTreeSet::new();
    for service in &config.virtual_services {
        let delegates = service.spec.http.iter().filter_map(|rule| rule.delegate.as_deref());
        used.extend(delegates.map(|delegate| leaf_name(&delegate.name, &delegate.namespace, &service.meta)));
    }
    for (_, leaf) in leaves.iter().filter(|(name, _)| !used.contains(*name)) {
        let object = At::object(&leaf.meta.reference);
        let help = "name the hosts whose requests it rules, or delegate to it";
        diagnostics.error(
            &object.field("spec").field("hosts"),
            "no-hosts",
            "no hosts, and nobody delegates to it",
            help,
        );
    }
}

fn leaf_name(name: &str, namespace: &str, root: &ObjectMeta) -> String {
    format!("{}/{name}", if namespace.is_empty() { root.namespace() } else { namespace })
}

fn expand_one<'c>(
    root: &Resource<VirtualService>,
    leaves: &BTreeMap<String, &Resource<VirtualService>>,
    diagnostics: &mut Diagnostics,
) -> Expanded<'c> {
    let mut service =
        Resource { meta: root.meta.clone(), spec: VirtualService { http: Vec::new(), ..root.spec.clone() } };
    let mut origins = Vec::new();
    let object = At::object(&root.meta.reference);
    let spec = object.field("spec");
    let http = spec.field("http");
    for (root_index, rule) in root.spec.http.iter().enumerate() {
        let Some(delegate) = &rule.delegate else {
            service.spec.http.push(rule.clone());
            origins.push(Origin { root: root_index, delegate: None, blocks: Vec::new(), inherited: None });
            continue;
        };
        let at = http.index(root_index);
        let at = at.field("delegate");
        // A direct response may stand here: it is inherited.
        if !rule.route.is_empty() || rule.redirect.is_some() {
            let help = "move route or redirect into the delegate";
            diagnostics.error(&at, "oneof", "a rule that delegates says nothing else about where requests go", help);
        }
        let name = leaf_name(&delegate.name, &delegate.namespace, &root.meta);
        let Some(leaf) = leaves.get(&name) else {
            let message = format!("there is no VirtualService {name} without hosts; the rule is not served");
            diagnostics.warning(&at, "unknown-delegate", message, "add it, or correct name and namespace");
            continue;
        };
        let root_namespace = root.meta.namespace();
        if !names::is_exported(&leaf.spec.export_to, leaf.meta.namespace(), root_namespace) {
            let message = format!(
                "VirtualService {name} is not exported to namespace `{root_namespace}`; the rule is not served"
            );
            diagnostics.warning(&at, "delegate-not-exported", message, "add the namespace to its spec.exportTo");
            continue;
        }
        let full_rule = in_full(rule.clone(), root_namespace);
        for (index, leaf_rule) in leaf.spec.http.iter().enumerate() {
            let leaf_object = At::object(&leaf.meta.reference);
            let leaf_spec = leaf_object.field("spec");
            let leaf_http = leaf_spec.field("http");
            let leaf_at = leaf_http.index(index);
            if leaf_rule.delegate.is_some() {
                let help = "delegate from the root only";
                diagnostics.warning(
                    &leaf_at.field("delegate"),
                    "nested-delegate",
                    "a delegate cannot delegate; the rule is not served",
                    help,
                );
                continue;
            }
            match merge_rule(&full_rule, leaf_rule, leaf.meta.namespace()) {
                Some((merged, blocks)) => {
                    let inherited = inherited(root, root_index, leaf_rule, &blocks);
                    service.spec.http.push(merged);
                    let delegate = Some((leaf.meta.reference.clone(), index));
                    origins.push(Origin { root: root_index, delegate, blocks, inherited: Some(Box::new(inherited)) });
                }
                None => {
                    let message = format!(
                        "its match asks for more than {} gives; the rule is not served there",
                        root.meta.full_name()
                    );
                    let help =
                        "a delegate's match must lie within the root's: a longer prefix, never a regex on both sides";
                    diagnostics.warning(&leaf_at.field("match"), "delegate-conflict", message, help);
                }
            }
        }
    }
    Expanded { service: Cow::Owned(service), origins }
}

/// The delegate's rule under the root's, and which match blocks were crossed. `None` when their matches contradict each
/// other.
fn merge_rule(root: &HttpRoute, leaf: &HttpRoute, leaf_namespace: &str) -> Option<(HttpRoute, Vec<Crossed>)> {
    let root = root.clone();
    let mut merged = in_full(leaf.clone(), leaf_namespace);
    let blocks;
    (merged.r#match, blocks) = merge_matches(&root.r#match, &merged.r#match)?.into_iter().unzip();
    merged.name = joined(&root.name, &merged.name);
    merged.rewrite = merged.rewrite.or(root.rewrite);
    // The sides together may say more than one thing; then istiod looks for a redirect first, and for routes last.
    if merged.direct_response.is_none() && root.direct_response.is_some() && merged.redirect.is_none() {
        merged.direct_response = root.direct_response;
        merged.route.clear();
    }
    merged.timeout = merged.timeout.or(root.timeout);
    merged.retries = merged.retries.or(root.retries);
    merged.fault = merged.fault.or(root.fault);
    merged.mirror = merged.mirror.or(root.mirror);
    merged.mirror_percent = merged.mirror_percent.or(root.mirror_percent);
    merged.mirror_percentage = merged.mirror_percentage.or(root.mirror_percentage);
    merged.cors_policy = merged.cors_policy.or(root.cors_policy);
    merged.headers = merged.headers.or(root.headers);
    if merged.mirrors.is_empty() {
        merged.mirrors = root.mirrors;
    }
    // One rule may not have both, but one side of each may: istiod copies to both, `mirror` first.
    if (leaf.mirror.is_none() || leaf.mirrors.is_empty())
        && !merged.mirrors.is_empty()
        && let Some(destination) = merged.mirror.take()
    {
        let percent = merged.mirror_percent.take().map(|percent| Percent { value: f64::from(percent) });
        let percentage = merged.mirror_percentage.take().or(percent);
        merged.mirrors.insert(0, HttpMirrorPolicy { destination: *destination, percentage });
    }
    Some((merged, blocks))
}

/// Which fields of the delegate's rule are its root's, with their places there.
fn inherited(root: &Resource<VirtualService>, index: usize, leaf: &HttpRoute, blocks: &[Crossed]) -> Inherited {
    let at = format!("spec.http[{index}]");
    let Some(rule) = root.spec.http.get(index) else {
        return Inherited { object: root.meta.reference.clone(), fields: BTreeMap::new(), blocks: Vec::new() };
    };
    let only_root = [
        ("rewrite", leaf.rewrite.is_none() && rule.rewrite.is_some()),
        ("directResponse", leaf.direct_response.is_none() && rule.direct_response.is_some()),
        ("timeout", leaf.timeout.is_none() && rule.timeout.is_some()),
        ("retries", leaf.retries.is_none() && rule.retries.is_some()),
        ("fault", leaf.fault.is_none() && rule.fault.is_some()),
        ("mirror", leaf.mirror.is_none() && rule.mirror.is_some()),
        ("mirrors", leaf.mirrors.is_empty() && !rule.mirrors.is_empty()),
        ("mirrorPercent", leaf.mirror_percent.is_none() && rule.mirror_percent.is_some()),
        ("mirrorPercentage", leaf.mirror_percentage.is_none() && rule.mirror_percentage.is_some()),
        ("corsPolicy", leaf.cors_policy.is_none() && rule.cors_policy.is_some()),
        ("headers", leaf.headers.is_none() && rule.headers.is_some()),
    ];
    let fields = |at: &str, all: &[(&'static str, bool)]| {
        all.iter().filter(|(_, is_root)| *is_root).map(|(name, _)| (*name, format!("{at}.{name}"))).collect()
    };
    let blocks = blocks.iter().map(|(of_root, of_leaf)| {
        let at = of_root.map_or_else(|| at.clone(), |of_root| format!("{at}.match[{of_root}]"));
        let root = of_root.and_then(|of_root| rule.r#match.get(of_root)).cloned().unwrap_or_default();
        let leaf = of_leaf.and_then(|of_leaf| leaf.r#match.get(of_leaf)).cloned().unwrap_or_default();
        let only_root = [
            ("uri", leaf.uri.is_none() && root.uri.is_some()),
            ("scheme", leaf.scheme.is_none() && root.scheme.is_some()),
            ("method", leaf.method.is_none() && root.method.is_some()),
            ("authority", leaf.authority.is_none() && root.authority.is_some()),
            ("headers", leaf.headers.is_empty() && !root.headers.is_empty()),
            ("withoutHeaders", leaf.without_headers.is_empty() && !root.without_headers.is_empty()),
            ("queryParams", leaf.query_params.is_empty() && !root.query_params.is_empty()),
            ("port", leaf.port.is_none() && root.port.is_some()),
            ("sourceLabels", leaf.source_labels.is_empty() && !root.source_labels.is_empty()),
            ("sourceNamespace", leaf.source_namespace.is_empty() && !root.source_namespace.is_empty()),
            ("gateways", leaf.gateways.is_empty() && !root.gateways.is_empty()),
            ("statPrefix", leaf.stat_prefix.is_empty() && !root.stat_prefix.is_empty()),
        ];
        InheritedBlock { own: *of_leaf, fields: fields(&at, &only_root), root: at }
    });
    let blocks = blocks.collect();
    Inherited { object: root.meta.reference.clone(), fields: fields(&at, &only_root), blocks }
}

/// Short names mean what they mean in the delegate's own namespace.
fn in_full(mut rule: HttpRoute, namespace: &str) -> HttpRoute {
    let complete = |destination: &mut Destination| destination.host = names::full_host(&destination.host, namespace);
    rule.route.iter_mut().for_each(|route| complete(&mut route.destination));
    rule.mirrors.iter_mut().for_each(|mirror| complete(&mut mirror.destination));
    if let Some(mirror) = &mut rule.mirror {
        complete(mirror);
    }
    for gateway in rule.r#match.iter_mut().flat_map(|block| &mut block.gateways) {
        *gateway = listeners::full_gateway(gateway, namespace);
    }
    rule
}

fn joined(root: &str, leaf: &str) -> String {
    match (root, leaf) {
        (only, "") | ("", only) => only.to_owned(),
        (root, leaf) => format!("{root}-{leaf}"),
    }
}

/// Every block of the delegate under every block of the root that it fits. `None` when one fits nowhere.
fn merge_matches(root: &[HttpMatchRequest], leaf: &[HttpMatchRequest]) -> Option<Vec<(HttpMatchRequest, Crossed)>> {
    if leaf.is_empty() {
        return Some(root.iter().enumerate().map(|(at, root)| (root.clone(), (Some(at), None))).collect());
    }
    if root.is_empty() {
        return Some(leaf.iter().enumerate().map(|(at, leaf)| (leaf.clone(), (None, Some(at)))).collect());
    }
    let mut merged = Vec::new();
    for (leaf_at, leaf) in leaf.iter().enumerate() {
        let before = merged.len();
        let fitting = root.iter().enumerate().filter(|(_, root)| !conflict(root, leaf));
        merged.extend(fitting.map(|(at, root)| (merge_match(root, leaf), (Some(at), Some(leaf_at)))));
        if merged.len() == before {
            return None;
        }
    }
    Some(merged)
}

fn merge_match(root: &HttpMatchRequest, leaf: &HttpMatchRequest) -> HttpMatchRequest {
    fn over<V: Clone>(root: &BTreeMap<String, V>, leaf: &BTreeMap<String, V>) -> BTreeMap<String, V> {
        root.iter().chain(leaf).map(|(key, value)| (key.clone(), value.clone())).collect()
    }
    let first = |leaf: &String, root: &String| if leaf.is_empty() { root.clone() } else { leaf.clone() };
    HttpMatchRequest {
        name: joined(&root.name, &leaf.name),
        uri: leaf.uri.clone().or_else(|| root.uri.clone()),
        scheme: leaf.scheme.clone().or_else(|| root.scheme.clone()),
        method: leaf.method.clone().or_else(|| root.method.clone()),
        authority: leaf.authority.clone().or_else(|| root.authority.clone()),
        headers: over(&root.headers, &leaf.headers),
        port: leaf.port.filter(|port| *port != 0).or(root.port),
        source_labels: over(&root.source_labels, &leaf.source_labels),
        gateways: if leaf.gateways.is_empty() { root.gateways.clone() } else { leaf.gateways.clone() },
        query_params: over(&root.query_params, &leaf.query_params),
        ignore_uri_case: leaf.ignore_uri_case,
        without_headers: over(&root.without_headers, &leaf.without_headers),
        source_namespace: first(&leaf.source_namespace, &root.source_namespace),
        stat_prefix: first(&leaf.stat_prefix, &root.stat_prefix),
    }
}

/// Whether a delegate's block asks for something the root's does not give.
fn conflict(root: &HttpMatchRequest, leaf: &HttpMatchRequest) -> bool {
    let maps = |root: &BTreeMap<String, Option<StringMatch>>, leaf: &BTreeMap<String, Option<StringMatch>>| {
        leaf.iter().any(|(key, leaf)| strings_conflict(root.get(key).and_then(Option::as_ref), leaf.as_ref()))
    };
    let ports = |port: Option<u32>| port.filter(|port| *port != 0);
    strings_conflict(root.uri.as_ref(), leaf.uri.as_ref())
        || strings_conflict(root.scheme.as_ref(), leaf.scheme.as_ref())
        || strings_conflict(root.method.as_ref(), leaf.method.as_ref())
        || strings_conflict(root.authority.as_ref(), leaf.authority.as_ref())
        || maps(&root.headers, &leaf.headers)
        || maps(&root.without_headers, &leaf.without_headers)
        || maps(&root.query_params, &leaf.query_params)
        || root.ignore_uri_case != leaf.ignore_uri_case
        || ports(root.port).zip(ports(leaf.port)).is_some_and(|(root, leaf)| root != leaf)
        || !root.source_namespace.is_empty() && leaf.source_namespace != root.source_namespace
        || leaf.source_labels.iter().any(|(key, leaf)| root.source_labels.get(key).is_some_and(|root| root != leaf))
        || !root.gateways.is_empty()
            && (leaf.gateways.len() > root.gateways.len()
                || leaf.gateways.iter().any(|gateway| !root.gateways.contains(gateway)))
}

/// Whether what `leaf` matches is not a part of what `root` matches, as far as istiod looks.
fn strings_conflict(root: Option<&StringMatch>, leaf: Option<&StringMatch>) -> bool {
    let (Some(root), Some(leaf)) = (root, leaf) else { return false };
    let said = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    let [root_exact, root_prefix, root_regex] = [&root.exact, &root.prefix, &root.regex].map(said);
    let [leaf_exact, leaf_prefix, leaf_regex] = [&leaf.exact, &leaf.prefix, &leaf.regex].map(said);
    let says_something = |parts: [&Option<String>; 3]| parts.iter().any(|part| part.is_some());
    if root_regex.is_some() && says_something([&leaf_exact, &leaf_prefix, &leaf_regex])
        || leaf_regex.is_some() && says_something([&root_exact, &root_prefix, &root_regex])
    {
        return true;
    }
    match (root_exact, root_prefix) {
        (Some(exact), _) => leaf_prefix.is_some() || leaf_exact != Some(exact),
        // A leaf that names no text would replace the root's by nothing, and take more.
        (None, Some(prefix)) => leaf_prefix.or(leaf_exact).is_none_or(|leaf| !leaf.starts_with(&prefix)),
        // istiod: neither text of a root that says nothing, nor one under a pattern.
        (None, None) => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn string(text: &str) -> StringMatch {
        let (form, text) = text.split_once(' ').unwrap_or((text, ""));
        let of = |wanted: &str| (form == wanted).then(|| text.to_owned());
        StringMatch { exact: of("exact"), prefix: of("prefix"), regex: of("regex") }
    }

    fn check(root: &str, leaf: &str, conflict: bool) {
        assert_eq!(strings_conflict(Some(&string(root)), Some(&string(leaf))), conflict, "{root} over {leaf}");
    }

    #[test]
    fn a_leaf_lies_within_its_root() {
        for (root, leaf) in [
            ("exact /a", "exact /a"),
            ("prefix /a", "exact /a/b"),
            ("prefix /a", "prefix /a"),
            ("prefix /", "prefix /a"),
        ] {
            check(root, leaf, false);
        }
        for (root, leaf) in [
            ("exact /a", "exact /b"),
            ("exact /a", "prefix /a"),
            ("exact /a", "regex /a"),
            ("exact /a", "{}"),
            ("prefix /a", "prefix /"),
            ("prefix /a", "regex /a.*"),
            ("prefix /a", "{}"),
            ("regex /a.*", "{}"),
            ("regex /a", "exact /a"),
            ("{}", "exact /a"),
            ("{}", "prefix /a"),
            ("{}", "{}"),
        ] {
            check(root, leaf, true);
        }
        assert!(!strings_conflict(None, Some(&string("{}"))) && !strings_conflict(Some(&string("{}")), None));
    }
}
