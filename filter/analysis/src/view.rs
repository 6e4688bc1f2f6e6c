//! A configuration as the analysers look at it: rules with delegates written out, and where each stands.

use istio_config::delegates::{self, Expanded};
use istio_config::diagnostic::{At, Inherited};
use istio_config::services::Services;
use istio_config::virtual_service::{Destination, HttpRoute};
use istio_config::{Config, Diagnostics, ObjectRef, Resource, VirtualService, listeners, names};
use std::collections::BTreeSet;

/// The gateway name that stands for all sidecars.
pub(crate) const MESH: &str = "mesh";

/// A configuration, prepared for questions.
#[derive(Debug)]
pub struct View<'c> {
    pub(crate) config: &'c Config,
    pub(crate) services: Services,
    pub(crate) expanded: Vec<Expanded<'c>>,
    /// Objects of which a field could not be read, by ordinal: what the field would have said is not known.
    incomplete: BTreeSet<usize>,
}

/// One rule of one VirtualService.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rule<'v> {
    /// The VirtualService that it belongs to once delegates are written out.
    pub(crate) owner: &'v Resource<VirtualService>,
    pub(crate) raw: &'v HttpRoute,
    /// Where it was written: the object, and the index in its `spec.http`.
    object: &'v ObjectRef,
    place: usize,
    /// What of it stands elsewhere.
    inherited: Option<&'v Inherited>,
    /// Index in the owner's rules.
    pub(crate) index: usize,
}

impl<'c> View<'c> {
    /// Prepares a configuration. What is wrong with delegates the policy reports.
    pub fn new(config: &'c Config) -> Self {
        let expanded = delegates::expand(config, &mut Diagnostics::default());
        Self { config, services: Services::new(config), expanded, incomplete: BTreeSet::new() }
    }

    /// The same, with what is known of faults in reading: a misspelt `match` must not count as none.
    pub(crate) fn with_faults(config: &'c Config, diagnostics: &Diagnostics) -> Self {
        let unread = diagnostics.iter().filter(|found| found.code == "unknown-field");
        Self { incomplete: unread.map(|found| found.object.ordinal).collect(), ..Self::new(config) }
    }

    /// Whether everything that a VirtualService and its delegates say is known.
    pub(crate) fn is_whole(&self, expanded: &Expanded<'_>) -> bool {
        rules_of(expanded).all(|rule| self.is_whole_rule(rule))
    }

    /// Whether everything that a rule says is known.
    pub(crate) fn is_whole_rule(&self, rule: Rule<'_>) -> bool {
        [&rule.owner.meta.reference, rule.object].iter().all(|object| !self.incomplete.contains(&object.ordinal))
    }

    /// All rules, VirtualService by VirtualService.
    pub(crate) fn rules(&self) -> impl Iterator<Item = Rule<'_>> {
        self.expanded.iter().flat_map(rules_of)
    }
}

/// The rules of one VirtualService.
pub(crate) fn rules_of<'v>(expanded: &'v Expanded<'_>) -> impl Iterator<Item = Rule<'v>> {
    (0..expanded.service.spec.http.len()).filter_map(|index| rule_at(expanded, index))
}

/// The rule with this index.
pub(crate) fn rule_at<'v>(expanded: &'v Expanded<'_>, index: usize) -> Option<Rule<'v>> {
    let owner = &*expanded.service;
    let (object, place) = expanded.rule_origin(index);
    Some(Rule { owner, raw: owner.spec.http.get(index)?, object, place, inherited: expanded.inherited(index), index })
}

impl<'v> Rule<'v> {
    /// Whether this VirtualService has the rule, itself or by a delegate that it is.
    pub(crate) fn is_written_in(&self, namespace: &str, name: &str) -> bool {
        let objects = [&self.owner.meta.reference, self.object];
        objects.iter().any(|object| &*object.namespace == namespace && &*object.name == name)
    }

    /// Hands the rule's place to `then`.
    pub(crate) fn at<R>(&self, then: impl FnOnce(&At<'_>) -> R) -> R {
        let object = At::object(self.object);
        let spec = object.field("spec");
        let http = spec.field("http");
        then(&http.index(self.place).inheriting(self.inherited))
    }

    /// The rule as messages name it: by its name, else by its place.
    pub(crate) fn title(&self) -> String {
        let place = format!("http[{}]", self.place);
        let place = if self.object == &self.owner.meta.reference { place } else { format!("{}: {place}", self.object) };
        if self.raw.name.is_empty() { place } else { format!("{place} (`{}`)", self.raw.name) }
    }

    /// The destination's host in full.
    pub(crate) fn full_host(&self, destination: &Destination) -> String {
        names::full_host(&destination.host, self.owner.meta.namespace())
    }

    /// Destinations that get requests: the only one, or those with a weight.
    pub(crate) fn drawn(&self) -> impl Iterator<Item = (usize, &'v Destination, i32)> {
        let single = self.raw.route.len() == 1;
        let all = self.raw.route.iter().enumerate();
        all.map(|(index, route)| (index, &route.destination, route.weight.unwrap_or(0)))
            .filter(move |(_, _, weight)| single || *weight > 0)
    }

    /// Destinations of copies that are made at all, with the path of the field below the rule.
    pub(crate) fn mirrored(&self) -> Vec<(String, &'v Destination)> {
        let HttpRoute { mirror, mirrors, mirror_percent, mirror_percentage, .. } = self.raw;
        let share = mirror_percentage.as_ref().map(|percent| percent.value);
        let share = share.or(mirror_percent.map(f64::from)).unwrap_or(100.0);
        let one = mirror.as_deref().filter(|_| share > 0.0).map(|mirror| ("mirror".to_owned(), mirror));
        let several = mirrors.iter().enumerate();
        let several = several
            .filter(|(_, mirror)| mirror.percentage.as_ref().is_none_or(|percent| percent.value > 0.0))
            .map(|(index, mirror)| (format!("mirrors[{index}]"), &mirror.destination));
        one.into_iter().chain(several).collect()
    }
}

/// Gateway names of a VirtualService or a match block in full; `mesh` stays.
pub(crate) fn full_gateways(names: &[String], namespace: &str) -> Vec<String> {
    names.iter().map(|name| listeners::full_gateway(name, namespace)).collect()
}

/// Where a VirtualService holds: `mesh` unless it says otherwise.
pub(crate) fn gateways_of(service: &Resource<VirtualService>) -> Vec<String> {
    if service.spec.gateways.is_empty() {
        return vec![MESH.to_owned()];
    }
    full_gateways(&service.spec.gateways, service.meta.namespace())
}
