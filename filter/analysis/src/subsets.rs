//! Subsets that no rule names: their policies have no effect, for only a route to a subset meets them.

use crate::view::View;
use istio_config::destination_rule::DestinationRule;
use istio_config::diagnostic::At;
use istio_config::{Diagnostics, Resource, names};
use std::collections::{BTreeMap, BTreeSet};

pub(crate) fn analyse(view: &View<'_>, diagnostics: &mut Diagnostics) {
    // Hosts in full with the subsets that destinations and mirrors name.
    let mut named: BTreeSet<(String, &str)> = BTreeSet::new();
    for rule in view.rules() {
        let destinations = rule.raw.route.iter().map(|route| &route.destination);
        let mirrors =
            rule.raw.mirror.as_deref().into_iter().chain(rule.raw.mirrors.iter().map(|mirror| &mirror.destination));
        named.extend(destinations.chain(mirrors).map(|to| (rule.full_host(to), to.subset.as_str())));
    }
    for resource in &view.config.destination_rules {
        report(resource, &named, diagnostics);
        not_deployed(view, resource, diagnostics);
    }
}

/// Where the files hold no endpoints, Deployments and Pods still say which versions there are. Others may be deployed from
/// elsewhere, so this is a note.
fn not_deployed(view: &View<'_>, resource: &Resource<DestinationRule>, diagnostics: &mut Diagnostics) {
    let host = names::full_host(&resource.spec.host, resource.meta.namespace());
    let known = view.config.workloads.get(&host).filter(|_| view.config.endpoints_unknown.contains(&host));
    let Some(workloads) = known.filter(|workloads| !workloads.is_empty()) else { return };
    let object = At::object(&resource.meta.reference);
    let spec = object.field("spec");
    let list = spec.field("subsets");
    for (index, subset) in resource.spec.subsets.iter().enumerate() {
        let fits =
            |labels: &BTreeMap<String, String>| subset.labels.iter().all(|(key, value)| labels.get(key) == Some(value));
        if !workloads.iter().any(fits) {
            let message = format!("no Pod and no Deployment in the files has the labels of subset `{}`", subset.name);
            let help = "fine when it is deployed from elsewhere; else its requests get 503";
            diagnostics.note(&list.index(index).field("labels"), "IST0173", message, help);
        }
    }
}

fn report(resource: &Resource<DestinationRule>, named: &BTreeSet<(String, &str)>, diagnostics: &mut Diagnostics) {
    let host = names::full_host(&resource.spec.host, resource.meta.namespace());
    let is_named = |subset: &str| {
        named.iter().any(|(known, name)| *name == subset && (*known == host || names::covers(&host, known)))
    };
    let object = At::object(&resource.meta.reference);
    let spec = object.field("spec");
    let list = spec.field("subsets");
    let mut idle = Vec::new();
    for (index, subset) in resource.spec.subsets.iter().enumerate().filter(|(_, subset)| !is_named(&subset.name)) {
        if subset.traffic_policy.is_some() {
            let message = format!("no rule sends requests to subset `{}`, so its policy has no effect", subset.name);
            let help = "name the subset in a VirtualService, or move the policy up to `spec.trafficPolicy`";
            diagnostics.warning(
                &list.index(index).field("trafficPolicy"),
                "subset-policy-without-effect",
                message,
                help,
            );
        } else {
            idle.push(format!("`{}`", subset.name));
        }
    }
    if !idle.is_empty() {
        let message = format!("no rule sends requests to {}", idle.join(", "));
        diagnostics.note(&list, "unused-subset", message, "fine while a release is being prepared; else remove them");
    }
}
