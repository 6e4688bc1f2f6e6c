//! Where a request ends once a cluster is named: at which versions, or nowhere.
//!
//! Two clusters of one host and port whose endpoints have the same labels are one end, whatever their names: a subset that
//! is called something else moves nobody, and one that keeps its name and gets other labels moves everybody. Addresses are
//! no versions. Nor are the labels by which Kubernetes tells the Pods of one version apart.

use super::policies::{self, Policies};
use envoy_plan::{Cluster, Plan};
use istio_config::names;
use std::collections::{BTreeMap, BTreeSet};

/// Labels that name a Pod or a roll-out, and not a version.
const OF_PODS: [&str; 4] = [
    "pod-template-hash",
    "controller-revision-hash",
    "statefulset.kubernetes.io/pod-name",
    "apps.kubernetes.io/pod-index",
];

/// Where requests end.
#[derive(Clone, Debug)]
pub(crate) struct End {
    /// The same for ends between which nobody could tell.
    pub(crate) key: String,
    /// As it is told: the cluster, or `answer STATUS`.
    pub(crate) told: String,
    /// Which endpoints there are, for ends that are told alike.
    pub(crate) versions: String,
    /// The cluster, where nobody answers for it.
    pub(crate) nobody_at: Option<String>,
}

/// The ends behind every cluster of a plan.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ends {
    ends: BTreeMap<String, End>,
    /// Addresses of each cluster's endpoints.
    addresses: BTreeMap<String, BTreeSet<String>>,
    /// How requests to a cluster are treated.
    policies: BTreeMap<String, Policies>,
}

impl End {
    /// An answer that some host gives.
    pub(crate) fn answer(told: String) -> Self {
        Self { key: told.clone(), told, versions: String::new(), nobody_at: None }
    }

    /// As it is told where another end is told alike.
    pub(crate) fn in_full(&self) -> String {
        if self.versions.is_empty() { self.told.clone() } else { format!("{} ({})", self.told, self.versions) }
    }
}

impl Ends {
    pub(crate) fn new(plan: &Plan) -> Self {
        let mut all = Self::default();
        for (name, cluster) in &plan.clusters {
            let addresses = cluster.endpoints.iter();
            let addresses = addresses.map(|endpoint| format!("{}:{}", endpoint.address, endpoint.port)).collect();
            all.addresses.insert(name.clone(), addresses);
            all.policies.insert(name.clone(), policies::of(cluster));
            all.ends.insert(name.clone(), end(name, cluster));
        }
        all
    }

    /// Where requests for this cluster end.
    pub(crate) fn of(&self, cluster: &str) -> End {
        self.ends.get(cluster).cloned().unwrap_or_else(|| nowhere(cluster, "no such cluster"))
    }

    /// How a cluster is called, beside where it leads.
    pub(crate) fn policy(&self, cluster: &str) -> &[(&'static str, String)] {
        self.policies.get(cluster).map_or(&[], |policy| policy.as_slice())
    }

    /// Hosts of which some cluster came, went, or leads to other versions or by another policy.
    pub(crate) fn changed_hosts(&self, other: &Self) -> BTreeSet<String> {
        let clusters: BTreeSet<&String> = self.ends.keys().chain(other.ends.keys()).collect();
        let differs = |name: &&String| {
            self.ends.get(*name).map(|end| &end.key) != other.ends.get(*name).map(|end| &end.key)
                || self.policies.get(*name) != other.policies.get(*name)
        };
        clusters.into_iter().filter(differs).filter_map(|name| Some(host_and_port(name)?.0.to_owned())).collect()
    }

    /// Services, as `HOST:PORT`, that have other addresses and the same versions.
    pub(crate) fn moved_in(&self, other: &Self) -> Vec<String> {
        let whole = self.ends.iter().filter(|(name, _)| name.split('|').nth(2) == Some(""));
        let same = whole.filter(|(name, end)| other.ends.get(*name).is_some_and(|other| other.key == end.key));
        let moved = same.filter(|(name, _)| self.addresses.get(*name) != other.addresses.get(*name));
        moved.filter_map(|(name, _)| host_and_port(name).map(|(host, port)| format!("{host}:{port}"))).collect()
    }
}

fn nowhere(cluster: &str, why: &str) -> End {
    let whose = host_and_port(cluster).map_or_else(String::new, |(host, port)| {
        let subset = cluster.split('|').nth(2).filter(|subset| !subset.is_empty());
        subset.map_or_else(|| format!(" {host}:{port}"), |subset| format!(" {subset} of {host}:{port}"))
    });
    // Services may be in none of the files; then names are all that there is to compare. Why nobody answers is no difference.
    End {
        key: format!("answer 503 {cluster}"),
        told: format!("answer 503: {why}{whose}"),
        versions: String::new(),
        nobody_at: Some(cluster.to_owned()),
    }
}

fn end(name: &str, cluster: &Cluster) -> End {
    if cluster.endpoints.is_empty() {
        return nowhere(name, "no endpoint in");
    }
    let labels = cluster.endpoints.iter().map(|endpoint| {
        let own = endpoint.labels.iter().filter(|(key, _)| !OF_PODS.contains(&key.as_str()));
        own.map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(",")
    });
    let versions: BTreeSet<String> = labels.collect();
    let versions = versions.iter().map(|labels| if labels.is_empty() { "no labels" } else { labels });
    let versions = versions.collect::<Vec<_>>().join("; ");
    let place = host_and_port(name).map_or_else(|| name.to_owned(), |(host, port)| names::cluster_name(port, "", host));
    End { key: format!("{place} {versions}"), told: name.to_owned(), versions, nobody_at: None }
}

fn host_and_port(cluster: &str) -> Option<(&str, u16)> {
    let mut parts = cluster.split('|').skip(1);
    let port = parts.next()?.parse().ok()?;
    Some((parts.nth(1)?, port))
}

#[cfg(test)]
mod tests {
    use super::*;
    use envoy_plan::Endpoint;

    type Labels<'a> = &'a [(&'a str, &'a str)];
    /// A cluster's name, and the addresses and labels of its endpoints.
    type Given<'a> = (&'a str, &'a [(&'a str, Labels<'a>)]);

    fn plan(clusters: &[Given<'_>]) -> Ends {
        let endpoint = |(address, labels): &(&str, Labels<'_>)| Endpoint {
            address: (*address).to_owned(),
            port: 80,
            weight: 1,
            labels: labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
            ..Endpoint::default()
        };
        let cluster = |(name, endpoints): &Given<'_>| {
            let cluster = Cluster {
                name: (*name).to_owned(),
                endpoints: endpoints.iter().map(endpoint).collect(),
                ..Cluster::default()
            };
            ((*name).to_owned(), cluster)
        };
        Ends::new(&Plan { clusters: clusters.iter().map(cluster).collect(), ..Plan::default() })
    }

    const V1: [(&str, &str); 1] = [("version", "v1")];
    const V2: [(&str, &str); 1] = [("version", "v2")];

    #[test]
    fn labels_make_an_end_and_names_and_addresses_do_not() {
        let ends = plan(&[
            ("outbound|80|a|x", &[("1", &V1)]),
            ("outbound|80|b|x", &[("2", &V1), ("3", &[("version", "v1"), ("pod-template-hash", "7")])]),
            ("outbound|80|c|x", &[("1", &V2)]),
            ("outbound|80|a|y", &[("1", &V1)]),
            ("outbound|80|d|x", &[]),
        ]);
        let key = |name: &str| ends.of(name).key;
        assert_eq!(key("outbound|80|a|x"), key("outbound|80|b|x"));
        assert_ne!(key("outbound|80|a|x"), key("outbound|80|c|x"));
        assert_ne!(key("outbound|80|a|x"), key("outbound|80|a|y"));
        assert_eq!(key("outbound|80|d|x"), plan(&[]).of("outbound|80|d|x").key);
        assert_ne!(key("outbound|80|none|x"), key("outbound|80|nothing|x"));
        assert_eq!(ends.of("outbound|80|d|x").told, "answer 503: no endpoint in d of x:80");
        assert_eq!(ends.of("outbound|80|c|x").in_full(), "outbound|80|c|x (version=v2)");
    }

    #[test]
    fn other_addresses_are_told_apart_from_other_versions() {
        let old = plan(&[("outbound|80||x", &[("1", &V1)]), ("outbound|80||y", &[("1", &V1)])]);
        let moved = plan(&[("outbound|80||x", &[("2", &V1)]), ("outbound|80||y", &[("1", &V1)])]);
        assert_eq!(old.moved_in(&moved), ["x:80"]);
        assert!(old.changed_hosts(&moved).is_empty());
        let other = plan(&[("outbound|80||x", &[("2", &V2)]), ("outbound|80||y", &[("1", &V1)])]);
        assert!(old.moved_in(&other).is_empty());
        assert_eq!(old.changed_hosts(&other), BTreeSet::from(["x".to_owned()]));
    }
}
