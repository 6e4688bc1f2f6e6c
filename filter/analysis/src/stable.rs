//! One rule, two policies, and two versions that stand in: a fallback to one, while breaker and kill switch send to the other.

use crate::view::View;
use istio_config::diagnostic::At;
use istio_config::shunt_policy::VersionRef;
use istio_config::shunt_policy::attachment::{Attached, Holder, Part};
use istio_config::{Diagnostics, names};

pub(crate) fn analyse(view: &View<'_>, diagnostics: &mut Diagnostics) {
    // What is wrong with targets the policy reports.
    let find = |part| Holder::find(part, view.config, &view.expanded, &mut Diagnostics::default());
    let guards = find(Part::Guard);
    for fallback in find(Part::Fallback) {
        let asks_stable = fallback.policy.spec.fallback.as_ref().is_some_and(|raw| raw.to.is_empty());
        for guard in guards.iter().filter(|_| asks_stable) {
            let (Some(one), Some(other)) = (&fallback.policy.spec.stable, &guard.policy.spec.stable) else { continue };
            let is_shared = |rule: &&Attached<'_>| fallback.held.iter().any(|held| held.place() == rule.place());
            if guard.held.iter().filter(is_shared).any(|rule| are_two(rule, one, other)) {
                let object = At::object(&guard.policy.meta.reference);
                let spec = object.field("spec");
                let message = format!(
                    "{} has a fallback for the same rule, to another version: what this one keeps from a version, that one may ask for",
                    fallback.policy.meta.reference
                );
                diagnostics.warning(&spec.field("stable"), "two-stables", message, "name one version in both");
            }
        }
    }
}

/// Whether these stand in for some destination of the rule by two versions.
fn are_two(rule: &Attached<'_>, one: &VersionRef, other: &VersionRef) -> bool {
    rule.rule.route.iter().any(|route| {
        let [one, other] = [one, other].map(|version| version.beside(&route.destination));
        let full = |host: &str| names::full_host(host, rule.root.namespace());
        one.subset != other.subset || full(&one.host) != full(&other.host)
    })
}
