//! Services that rules lead to, and behind which nobody answers.
//!
//! That a subset has no endpoint, the plan reports (IST0173).

use crate::view::View;
use istio_config::diagnostic::At;
use istio_config::service_entry::Resolution;
use istio_config::{Diagnostics, names};
use std::collections::{BTreeMap, BTreeSet};

pub(crate) fn analyse(view: &View<'_>, diagnostics: &mut Diagnostics) {
    let entries = || view.config.service_entries.iter();
    let hosts_of = |entry: &istio_config::Resource<istio_config::ServiceEntry>| -> Vec<String> {
        entry.spec.hosts.iter().map(|host| names::full_host(host, entry.meta.namespace())).collect()
    };
    // ServiceEntries of one host are one service.
    let answered: BTreeSet<String> = entries()
        .filter(|entry| {
            let spec = &entry.spec;
            !spec.endpoints.is_empty()
                || spec.workload_selector.is_some()
                || spec.resolution != Some(Resolution::Static)
        })
        .flat_map(hosts_of)
        .collect();
    // The first rule that leads to each host.
    let mut named: BTreeMap<String, String> = BTreeMap::new();
    for rule in view.rules() {
        let mirrors = rule.mirrored();
        let destinations = rule.drawn().map(|(_, to, _)| to).chain(mirrors.iter().map(|(_, to)| *to));
        for to in destinations {
            named
                .entry(rule.full_host(to))
                .or_insert_with(|| format!("{}: {}", rule.owner.meta.full_name(), rule.title()));
        }
    }
    for entry in entries() {
        let object = At::object(&entry.meta.reference);
        let spec = object.field("spec");
        for host in hosts_of(entry) {
            if answered.contains(&host) || view.config.endpoints_unknown.contains(&host) {
                continue;
            }
            let Some(rule) = named.get(&host) else { continue };
            let message = format!("`{host}` has no endpoint: requests that {rule} sends there get 503");
            diagnostics.warning(&spec.field("endpoints"), "no-endpoints", message, "add `endpoints`");
        }
    }
}
