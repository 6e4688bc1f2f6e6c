//! Which hosts a change can touch at all.

use super::{ObjectChange, Side, overlap};
use istio_config::names;
use std::collections::BTreeSet;

/// Kinds by which nobody decides where a request goes.
const UNDECIDING: [&str; 1] = ["DestinationRule"];

/// Hosts of either side, wildcards among them, whose requests may meet something else. Where only VirtualServices with
/// hosts of their own changed, no host that theirs do not overlap is touched.
pub(crate) fn touched(changes: &[ObjectChange], sides: [&Side<'_>; 2]) -> BTreeSet<String> {
    let deciding: Vec<_> = changes.iter().filter(|change| !UNDECIDING.contains(&change.kind.as_str())).collect();
    let is_narrow = deciding.iter().all(|change| !change.hosts.is_empty());
    let hosts = sides.into_iter().flat_map(all);
    hosts
        .filter(|host| {
            let of_change = |change: &&ObjectChange| change.hosts.iter().any(|own| overlap(own, host));
            !deciding.is_empty() && (!is_narrow || deciding.iter().any(of_change))
        })
        .collect()
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
