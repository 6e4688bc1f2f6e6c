//! What requests to one host can differ in, as far as either side's rules look: a dimension for the path and for each
//! header and query parameter that a rule names, with every value that some condition takes, one that nobody names, and
//! absence.

use super::examples::{of_pattern, taken};
use super::overlap;
use super::patterns::Changed;
use crate::view::{Rule, View, rules_of};
use istio_config::names;
use istio_config::virtual_service::{Headers, HttpMatchRequest, HttpRoute, StringMatch};
use std::collections::{BTreeMap, BTreeSet};
use traffic_policy::StickyRule;

/// A value that no rule is likely to name.
const OTHER: &str = "other";

/// What follows a prefix that is the beginning of a text only.
const SUFFIXES: [&str; 1] = ["x"];

/// The same for paths: one more segment, and a longer last one.
const PATH_SUFFIXES: [&str; 2] = ["/x", "x"];

/// A part of a request head.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Slot {
    Path,
    Method,
    Scheme,
    Authority,
    /// By its name in lower case.
    Header(String),
    /// By its name.
    Query(String),
}

/// The requests to one host that are worth a question.
pub(crate) struct Table {
    pub(crate) host: String,
    /// Values of each part, the plainest first; `None` is absence.
    pub(crate) dimensions: BTreeMap<Slot, Vec<Option<String>>>,
    /// For each match block the values with which it can be met.
    pub(crate) blocks: Vec<BTreeMap<Slot, Vec<String>>>,
    /// What is among the dimensions already: there may be ten thousand paths.
    known: BTreeSet<(Slot, String)>,
}

impl Slot {
    /// As a field of a match block.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::Path => "uri".to_owned(),
            Self::Method => "method".to_owned(),
            Self::Scheme => "scheme".to_owned(),
            Self::Authority => "authority".to_owned(),
            Self::Header(name) => format!("headers[{name}]"),
            Self::Query(name) => format!("queryParams[{name}]"),
        }
    }
}

impl Table {
    /// The requests to `host` that the rules of either side tell apart; `changed`: what is known of conditions that only one
    /// of them has.
    pub(crate) fn new(host: &str, sides: [&View<'_>; 2], changed: &Changed) -> Self {
        let name = example_host(host);
        let mut table =
            Self { host: name.clone(), dimensions: BTreeMap::new(), blocks: Vec::new(), known: BTreeSet::new() };
        let first = [(Slot::Path, "/other"), (Slot::Method, "GET"), (Slot::Scheme, "http"), (Slot::Authority, &name)];
        for (slot, value) in first {
            table.dimensions.insert(slot.clone(), Vec::new());
            table.add(slot, value.to_owned());
        }
        for view in sides {
            for expanded in &view.expanded {
                let namespace = expanded.service.meta.namespace();
                let mut hosts = expanded.service.spec.hosts.iter().map(|own| names::full_host(own, namespace));
                if hosts.any(|own| overlap(&own, host)) {
                    rules_of(expanded).for_each(|rule| table.add_rule(rule, changed));
                }
            }
            // Whether another version may be asked depends on the method.
            for fallback in view.config.shunt_policies.iter().filter_map(|policy| policy.spec.fallback.as_ref()) {
                table.add(Slot::Method, "POST".to_owned());
                fallback.methods.iter().for_each(|method| table.add(Slot::Method, method.clone()));
            }
            let mut servers = view.config.gateways.iter().flat_map(|gateway| &gateway.spec.servers);
            if servers.any(|server| server.tls.as_ref().is_some_and(|tls| tls.https_redirect)) {
                table.add(Slot::Scheme, "https".to_owned());
            }
        }
        table
    }

    /// Versions as testers name them (`sticky.allowOverride`).
    pub(crate) fn add_testers<'p>(&mut self, rules: impl Iterator<Item = StickyRule<'p>>) {
        for rule in rules {
            let (header, cookie) = rule.testers();
            for (version, _) in rule.versions() {
                if let Some(name) = header {
                    self.add(Slot::Header(name.to_owned()), version.to_owned());
                }
                if let Some(name) = cookie {
                    self.add(Slot::Header("cookie".to_owned()), format!("{name}={version}"));
                }
            }
        }
    }

    /// How many requests there are.
    pub(crate) fn size(&self) -> usize {
        self.dimensions.values().fold(1, |size, values| size.saturating_mul(values.len()))
    }

    fn add(&mut self, slot: Slot, value: String) {
        if slot == Slot::Path && !value.starts_with('/') {
            return;
        }
        if self.known.insert((slot.clone(), value.clone())) {
            self.dimensions.entry(slot).or_insert_with(|| vec![None]).push(Some(value));
        }
    }

    fn add_rule(&mut self, rule: Rule<'_>, changed: &Changed) {
        let HttpRoute { r#match, route, headers, rewrite, cors_policy, .. } = rule.raw;
        if r#match.is_empty() {
            self.blocks.push(BTreeMap::new());
        }
        r#match.iter().for_each(|block| self.add_block(block, changed));
        // What an edit copies from the request makes a difference too.
        let edits = headers.iter().chain(route.iter().filter_map(|to| to.headers.as_ref()));
        edits.flat_map(|edits| copied(edits)).for_each(|name| self.add(Slot::Header(name), OTHER.to_owned()));
        if let Some(rewrite) = rewrite.as_ref().and_then(|rewrite| rewrite.uri_regex_rewrite.as_ref()) {
            of_pattern(&rewrite.r#match).into_iter().for_each(|path| self.add(Slot::Path, path));
        }
        if let Some(policy) = cors_policy {
            let origin = Slot::Header("origin".to_owned());
            let mut origins: Vec<_> = policy.allow_origins.iter().flat_map(|raw| taken(raw, &SUFFIXES)).collect();
            origins.extend(policy.allow_origin.iter().cloned());
            let apart = policy.allow_origins.iter().flat_map(|raw| changed.texts(&origin, raw));
            origins.extend(apart.map(str::to_owned));
            origins.push(OTHER.to_owned());
            origins.into_iter().for_each(|value| self.add(origin.clone(), value));
            self.add(Slot::Method, "OPTIONS".to_owned());
            self.add(Slot::Header("access-control-request-method".to_owned()), "GET".to_owned());
        }
    }

    fn add_block(&mut self, block: &HttpMatchRequest, changed: &Changed) {
        let HttpMatchRequest {
            uri,
            scheme,
            method,
            authority,
            headers,
            query_params,
            ignore_uri_case,
            without_headers,
            // Where a block holds was decided when the policy was compiled.
            port: _,
            source_labels: _,
            gateways: _,
            source_namespace: _,
            name: _,
            stat_prefix: _,
        } = block;
        let mut wanted = BTreeMap::new();
        let mut apart: Vec<(Slot, String)> = Vec::new();
        let mut want = |table: &mut Self, slot: Slot, raw: &StringMatch| {
            let mut values = taken(raw, if slot == Slot::Path { &PATH_SUFFIXES } else { &SUFFIXES });
            if slot == Slot::Path && *ignore_uri_case {
                values.extend(values.clone().iter().map(|value| value.to_ascii_uppercase()));
            }
            let is_named = !matches!(slot, Slot::Path | Slot::Method | Slot::Scheme | Slot::Authority);
            if is_named && raw == &StringMatch::default() {
                values.push(OTHER.to_owned());
            }
            for text in changed.texts(&slot, raw) {
                table.add(slot.clone(), text.to_owned());
                apart.push((slot.clone(), text.to_owned()));
            }
            values.iter().for_each(|value| table.add(slot.clone(), value.clone()));
            wanted.insert(slot, values);
        };
        let parts = [(Slot::Path, uri), (Slot::Scheme, scheme), (Slot::Method, method), (Slot::Authority, authority)];
        for (slot, raw) in parts {
            if let Some(raw) = raw {
                want(self, slot, raw);
            }
        }
        for (name, raw) in headers.iter().filter_map(|(name, raw)| Some((name, raw.as_ref()?))) {
            want(self, Slot::Header(name.to_ascii_lowercase()), raw);
        }
        for (name, raw) in query_params.iter().filter_map(|(name, raw)| Some((name, raw.as_ref()?))) {
            want(self, Slot::Query(name.clone()), raw);
        }
        for (name, raw) in without_headers {
            let slot = Slot::Header(name.to_ascii_lowercase());
            let values = raw.as_ref().map(|raw| taken(raw, &SUFFIXES)).unwrap_or_default();
            values.into_iter().for_each(|value| self.add(slot.clone(), value));
            let apart = raw.iter().flat_map(|raw| changed.texts(&slot, raw));
            apart.for_each(|text| self.add(slot.clone(), text.to_owned()));
            self.add(slot, OTHER.to_owned());
        }
        // A value that nobody names, wherever something is named.
        if method.is_some() {
            self.add(Slot::Method, "PATCH".to_owned());
        }
        if scheme.is_some() {
            self.add(Slot::Scheme, "https".to_owned());
        }
        let of_headers = headers.keys().map(|name| Slot::Header(name.to_ascii_lowercase()));
        for slot in of_headers.chain(query_params.keys().cloned().map(Slot::Query)) {
            self.add(slot, OTHER.to_owned());
        }
        // A request for each text that tells this block from one of the other side.
        for (slot, text) in apart {
            let mut block = wanted.clone();
            block.insert(slot, vec![text]);
            self.blocks.push(block);
        }
        self.blocks.push(wanted);
    }
}

/// A name that a host pattern covers.
fn example_host(host: &str) -> String {
    match host.strip_prefix('*') {
        Some("") => "host.example".to_owned(),
        Some(suffix) => format!("any{suffix}"),
        None => host.to_owned(),
    }
}

/// Headers of the request that the values of edits copy: `%REQ(NAME)%`, `%REQ(NAME?OTHER):LENGTH%`.
fn copied(edits: &Headers) -> Vec<String> {
    let operations = [&edits.request, &edits.response].into_iter().flatten();
    let values = operations.flat_map(|operations| operations.set.values().chain(operations.add.values()));
    let commands = values.flat_map(|value| value.split("%REQ(").skip(1).filter_map(|rest| rest.split(')').next()));
    let names = commands.flat_map(|names| names.split('?'));
    names.map(str::to_ascii_lowercase).filter(|name| !name.is_empty() && !name.starts_with(':')).collect()
}
