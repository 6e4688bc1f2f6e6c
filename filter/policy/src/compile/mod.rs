//! From what the user wrote to a [`Policy`] that needs no second look.
//!
//! Two steps. Every rule is first read on its own, into a template that no longer can be wrong; that is where nearly
//! all faults are found ([`rules`], [`matches`], [`actions`], [`headers`]). Then the templates are laid under the domains they serve
//! ([`virtual_hosts`]), where the listener's port and the gateway are known.

mod actions;
mod breaker;
mod fallback;
mod guards;
mod headers;
mod matches;
mod pattern;
mod propagation;
mod re2;
mod rules;
mod sticky;
mod virtual_hosts;

pub use pattern::Pattern;
pub(crate) use pattern::anchored;

use crate::route::Policy;
use istio_config::delegates::Expanded;
use istio_config::diagnostic::{At, Diagnostics};
use istio_config::filter_config::{Direction, ProfileBinding};
use istio_config::services::Services;
use istio_config::{FilterConfig, ObjectRef, ShuntPolicy, delegates, names};
use std::collections::BTreeMap;

/// Bindings by VirtualService and rule.
type Bindings<'c> = BTreeMap<(&'c str, usize), &'c ProfileBinding>;

/// What is tied to rules from outside of them.
struct Policies<'c> {
    bindings: Bindings<'c>,
    sticky: sticky::StickyRules,
    fallback: fallback::FallbackRules,
    breaker: breaker::Protections,
}

impl Policy {
    /// Compiles a configuration. `None` when anything in it is an error; `diagnostics` then says what.
    pub fn compile(config: &FilterConfig, diagnostics: &mut Diagnostics) -> Option<Self> {
        if config.direction == Direction::Inbound {
            // There is one place to go to, and whoever owns the listener knows it.
            let mut policy = Self { passes_unknown: true, ..Self::default() };
            policy.propagation = propagation::compile(config, &policy, &[], diagnostics);
            return (!diagnostics.has_errors()).then_some(policy);
        }
        let services = Services::new(&config.config);
        let expanded = delegates::expand(&config.config, diagnostics);
        report_unknown_bindings(config, &expanded, &services, diagnostics);
        let mut bindings = Bindings::new();
        for binding in config.bindings.iter().filter(|binding| binding.service.is_empty()) {
            bindings.entry((&binding.virtual_service, binding.http)).or_insert(binding);
        }
        report_unknown_labels(config, &expanded, diagnostics);
        report_empty_policies(config, diagnostics);
        let sticky = sticky::compile(&config.config, &expanded, diagnostics);
        let fallback = fallback::compile(&config.config, &expanded, diagnostics);
        let breaker = breaker::compile(&config.config, &expanded, diagnostics);
        let policies = Policies { bindings, sticky, fallback, breaker };
        let rules: Vec<_> = expanded
            .iter()
            .filter_map(|rules| {
                is_visible(rules, config, diagnostics).then(|| rules::compile(rules, &policies, diagnostics)).flatten()
            })
            .collect();
        let mut policy = virtual_hosts::compile(&rules, &services, config, &policies.breaker.all, diagnostics);
        policy.propagation = propagation::compile(config, &policy, &expanded, diagnostics);
        policy.budgets = policies.fallback.budgets.into();
        (!diagnostics.has_errors()).then_some(policy)
    }
}

/// A policy that says nothing does nothing, and its author waits for it.
fn report_empty_policies(config: &FilterConfig, diagnostics: &mut Diagnostics) {
    for policy in &config.config.shunt_policies {
        // What `stable` names is of use to others alone.
        let ShuntPolicy { target_ref: _, stable: _, sticky, propagate, fallback, breaker, kill_switch } = &policy.spec;
        if sticky.is_none() && propagate.is_none() && fallback.is_none() && breaker.is_none() && kill_switch.is_none() {
            let object = At::object(&policy.meta.reference);
            let help = "give it sticky, propagate, fallback, breaker or killSwitch, or remove it";
            diagnostics.error(&object.field("spec"), "empty-policy", "the policy says nothing", help);
        }
    }
}

/// Whether the proxy's namespace sees these rules (`exportTo`); says so if not.
fn is_visible(rules: &Expanded<'_>, config: &FilterConfig, diagnostics: &mut Diagnostics) -> bool {
    let service = &rules.service;
    let visible = names::is_exported(&service.spec.export_to, service.meta.namespace(), &config.namespace);
    if !visible {
        let object = At::object(&service.meta.reference);
        let message =
            format!("not exported to namespace `{}` of the proxy; the rules are not served", config.namespace);
        let help = "add the namespace, or give the proxy another one";
        diagnostics.note(&object.field("spec").field("exportTo"), "not-exported", message, help);
    }
    visible
}

/// Nobody has said which labels the proxy's workload has, and a rule asks.
fn report_unknown_labels(config: &FilterConfig, expanded: &[Expanded<'_>], diagnostics: &mut Diagnostics) {
    if !config.labels.is_empty() {
        return;
    }
    for rules in expanded {
        for (http, rule) in rules.service.spec.http.iter().enumerate() {
            let (object, place) = rules.rule_origin(http);
            let object = At::object(object);
            let spec = object.field("spec");
            let list = spec.field("http");
            let at = list.index(place);
            let field = at.field("match");
            for (block, _) in rule.r#match.iter().enumerate().filter(|(_, block)| !block.source_labels.is_empty()) {
                let (own, delegated) = rules.block_origin(http, Some(block));
                let (_, block) = delegated.map_or(own, |(_, place)| place);
                let at = block.map_or_else(|| at.field("match"), |block| field.index(block));
                let message = "nothing tells the labels of the proxy's workload, so this never holds";
                diagnostics.note(&at.field("sourceLabels"), "no-labels", message, "tell its labels, as KEY=VALUE");
            }
        }
    }
}

/// A binding that names no rule and no service was rendered from other files: better to say so than to route by it.
fn report_unknown_bindings(
    config: &FilterConfig,
    expanded: &[Expanded<'_>],
    services: &Services,
    diagnostics: &mut Diagnostics,
) {
    let own = ObjectRef {
        kind: "FilterConfig".into(),
        namespace: "".into(),
        name: "configuration".into(),
        ordinal: usize::MAX,
    };
    let rules: BTreeMap<String, usize> =
        expanded.iter().map(|rules| (rules.service.meta.full_name(), rules.service.spec.http.len())).collect();
    for (index, binding) in config.bindings.iter().enumerate() {
        let ProfileBinding { virtual_service, http, service, profiles: _, fallback: _ } = binding;
        let unknown = match service.as_str() {
            "" => rules.get(virtual_service).is_none_or(|rules| rules <= http),
            service => services.ports(service).is_none(),
        };
        if unknown {
            let object = At::object(&own);
            let message = match service.as_str() {
                "" => format!("there is no rule http[{http}] in VirtualService {virtual_service}"),
                service => format!("there is no service {service}"),
            };
            let help = "render the filter configuration and the routes from the same files";
            diagnostics.error(&object.field("bindings").index(index), "unknown-rule", message, help);
        }
    }
}
