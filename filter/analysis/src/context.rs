//! What `propagate` says in vain: hosts that nobody has, and headers that are named without being more.

use crate::view::View;
use istio_config::diagnostic::At;
use istio_config::shunt_policy::Propagate;
use istio_config::{Diagnostics, names};
use std::collections::{BTreeMap, BTreeSet};

pub(crate) fn analyse(view: &View<'_>, diagnostics: &mut Diagnostics) {
    let known = known_hosts(view);
    for policy in &view.config.shunt_policies {
        let Some(propagate) = &policy.spec.propagate else { continue };
        let object = At::object(&policy.meta.reference);
        let spec = object.field("spec");
        let at = spec.field("propagate");
        receivers(&at.field("to"), propagate, policy.meta.namespace(), &known, diagnostics);
        headers(&at.field("headers"), propagate, diagnostics);
    }
}

/// Hosts of services, and those that rules are for or lead to, in full.
fn known_hosts(view: &View<'_>) -> BTreeSet<String> {
    let services = view.services.iter().map(|(host, _)| host.to_owned());
    let ruled = view.expanded.iter().flat_map(|rules| {
        let namespace = rules.service.meta.namespace();
        rules.service.spec.hosts.iter().map(move |host| names::full_host(host, namespace))
    });
    let reached = view.rules().flat_map(|rule| rule.raw.route.iter().map(move |to| rule.full_host(&to.destination)));
    // Rules for every host tell of none.
    services.chain(ruled).chain(reached).filter(|host| host != "*").collect()
}

fn receivers(
    at: &At<'_>,
    propagate: &Propagate,
    namespace: &str,
    known: &BTreeSet<String>,
    diagnostics: &mut Diagnostics,
) {
    for (index, host) in propagate.to.iter().enumerate().filter(|(_, host)| names::is_host(host)) {
        let full = names::full_host(host, namespace);
        let is_there =
            known.iter().any(|known| *known == full || names::covers(&full, known) || names::covers(known, &full));
        if !is_there && full != "*" {
            let message = match full.starts_with('*') {
                true => format!("no host of these files ends in `{}`", full.trim_start_matches('*')),
                false => format!("no service and no rule of these files is called `{full}`"),
            };
            let help = "check the spelling; a name without a dot is one of the policy's namespace, one with a dot stays as it is";
            diagnostics.warning(&at.index(index), "host-without-service", message, help);
        }
    }
}

fn headers(at: &At<'_>, propagate: &Propagate, diagnostics: &mut Diagnostics) {
    let Some(headers) = &propagate.headers else { return };
    if headers.is_empty() {
        let message = "an empty list is as good as none: the usual headers of tracing are kept";
        diagnostics.warning(at, "no-effect", message, "leave it out, or name the headers that are to be kept");
    }
    let mut first: BTreeMap<String, usize> = BTreeMap::new();
    for (index, name) in headers.iter().enumerate() {
        let earlier = *first.entry(name.to_ascii_lowercase()).or_insert(index);
        if earlier != index {
            let message = format!("`{name}` stands in headers[{earlier}] already");
            diagnostics.warning(&at.index(index), "no-effect", message, "keep one of them");
        }
    }
}
