//! Which hosts a change can touch at all.

use super::{ObjectChange, Side, overlap};
use crate::view;
use istio_config::names;
use std::collections::BTreeSet;

/// Kinds by which nobody decides which cluster a request goes to. What stands behind a cluster, they do decide.
const UNDECIDING: [&str; 1] = ["DestinationRule"];

/// Hosts of either side, wildcards among them, whose requests may meet something else. Where only VirtualServices with
/// hosts of their own changed, no host that theirs do not overlap is touched; where a DestinationRule changed, those whose rules
/// lead to a service that it changes.
pub(crate) fn touched(changes: &[ObjectChange], sides: [&Side<'_>; 2]) -> BTreeSet<String> {
    let deciding: Vec<_> = changes.iter().filter(|change| !UNDECIDING.contains(&change.kind.as_str())).collect();
    let is_narrow = deciding.iter().all(|change| !change.hosts.is_empty());
    let behind = leading_to_changed(sides);
    let wildcards = |host: &str| {
        let is_wildcard = host.starts_with('*');
        behind.iter().filter(move |own| is_wildcard || own.starts_with('*'))
    };
    let hosts = sides.into_iter().flat_map(all);
    hosts
        .filter(|host| {
            let of_change = |change: &&ObjectChange| change.hosts.iter().any(|own| overlap(own, host));
            let decided = !deciding.is_empty() && (!is_narrow || deciding.iter().any(of_change));
            decided || behind.contains(host) || wildcards(host).any(|own| overlap(own, host))
        })
        .collect()
}

/// Services behind whose clusters something changed, and the hosts whose rules lead to them.
fn leading_to_changed(sides: [&Side<'_>; 2]) -> BTreeSet<String> {
    let [old, new] = sides;
    let changed = old.ends.changed_hosts(&new.ends);
    let mut hosts = changed.clone();
    if changed.is_empty() {
        return hosts;
    }
    for expanded in sides.into_iter().flat_map(|side| &side.view.expanded) {
        let leads = view::rules_of(expanded).any(|rule| {
            let mirrors = rule.mirrored();
            let destinations = rule.drawn().map(|(_, to, _)| to).chain(mirrors.iter().map(|(_, to)| *to));
            destinations.into_iter().any(|to| changed.contains(&rule.full_host(to)))
        });
        let service = &expanded.service;
        let own = service.spec.hosts.iter().filter(|_| leads);
        hosts.extend(own.map(|host| names::full_host(host, service.meta.namespace())));
    }
    hosts
}

fn all(side: &Side<'_>) -> BTreeSet<String> {
    let view = &side.view;
    let mut hosts = BTreeSet::new();
    for service in view.expanded.iter().map(|expanded| &expanded.service) {
        hosts.extend(service.spec.hosts.iter().map(|host| names::full_host(host, service.meta.namespace())));
    }
    let servers = view.config.gateways.iter().flat_map(|gateway| &gateway.spec.servers);
    for host in servers.flat_map(|server| &server.hosts) {
        hosts.insert(host.split_once('/').map_or(host.as_str(), |(_, host)| host).to_ascii_lowercase());
    }
    hosts.extend(view.services.iter().map(|(host, _)| host.to_owned()));
    hosts
}
