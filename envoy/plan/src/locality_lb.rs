//! The block `localityLbSetting`: which endpoints are preferred, and how localities share requests (istio
//! `pilot/pkg/networking/core/loadbalancer`).
//!
//! A mesh has it by default, with nothing said (`MeshConfig.localityLbSetting`), which means failover by locality; and
//! failover is active only where endpoints are ejected (`outlierDetection`), since nothing else tells that one fails.

use crate::{Caller, Endpoint, Locality};
use istio_config::destination_rule as raw;
use std::collections::{BTreeMap, BTreeSet};

/// The label that is passed over when it stands first in `failoverPriority` and differs: an endpoint in another network comes
/// after all in the own one, and these are told apart by the other labels.
const NETWORK_LABEL: &str = "topology.istio.io/network";

/// What the block says.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct LocalityLb {
    distribute: Vec<raw::Distribute>,
    failover: Vec<raw::Failover>,
    failover_priority: Vec<String>,
}

impl LocalityLb {
    /// Reads the block; `None`: it is switched off.
    pub(crate) fn compile(raw: &raw::LocalityLoadBalancerSetting) -> Option<Self> {
        let raw::LocalityLoadBalancerSetting { distribute, failover, failover_priority, enabled } = raw;
        (*enabled != Some(false)).then(|| Self {
            distribute: distribute.clone(),
            failover: failover.clone(),
            failover_priority: failover_priority.clone(),
        })
    }

    /// Puts the endpoints into the order of their priorities, and leaves out those that get nothing. The result is
    /// [`crate::Cluster::locality_weights`]. `watched`: endpoints are ejected.
    pub(crate) fn apply(
        &self,
        caller: &Caller,
        watched: bool,
        endpoints: &mut Vec<Endpoint>,
    ) -> Option<BTreeMap<Locality, u32>> {
        if !self.distribute.is_empty() {
            return Some(self.distribute(caller, endpoints));
        }
        if !watched {
            return None;
        }
        let mut ranks: Vec<usize> = endpoints.iter().map(|endpoint| self.rank_by_labels(caller, endpoint)).collect();
        ranks = compact(&ranks);
        if !self.failover.is_empty() || self.failover_priority.is_empty() {
            for (rank, endpoint) in ranks.iter_mut().zip(&*endpoints) {
                *rank = *rank * 5 + self.rank_by_locality(&caller.locality, &endpoint.locality);
            }
            ranks = compact(&ranks);
        }
        for (endpoint, rank) in endpoints.iter_mut().zip(ranks) {
            endpoint.priority = u32::try_from(rank).unwrap_or(u32::MAX);
        }
        endpoints.sort_by_key(|endpoint| endpoint.priority);
        let is_said = !self.failover.is_empty() || !self.failover_priority.is_empty();
        is_said.then(BTreeMap::new)
    }

    /// The weights of the first entry for the caller's locality; endpoints that it does not name are left out
    /// (`applyLocalityWeights`).
    fn distribute(&self, caller: &Caller, endpoints: &mut Vec<Endpoint>) -> BTreeMap<Locality, u32> {
        let mut weights = BTreeMap::new();
        let Some(entry) = self.distribute.iter().find(|entry| caller.locality.is_meant_by(&entry.from)) else {
            return weights;
        };
        let sums = sums(endpoints);
        for (pattern, share) in &entry.to {
            let is_new = |locality: &&Locality| !weights.contains_key(*locality) && locality.is_meant_by(pattern);
            let meant: Vec<&Locality> = sums.keys().filter(is_new).collect();
            let total: u64 = meant.iter().filter_map(|locality| sums.get(*locality)).sum();
            for locality in meant {
                let own = sums.get(locality).copied().unwrap_or_default();
                let weight = (own * u64::from(*share)).div_ceil(total.max(1));
                // A share of 0 leaves a locality the weight of its endpoints.
                let weight = if weight > 0 { weight } else { own };
                weights.insert(locality.clone(), u32::try_from(weight).unwrap_or(u32::MAX));
            }
        }
        endpoints.retain(|endpoint| weights.contains_key(&endpoint.locality));
        weights
    }

    /// 0 where all labels of `failoverPriority` are the caller's, and the more the earlier one differs
    /// (`applyFailoverPriorityPerLocality`).
    fn rank_by_labels(&self, caller: &Caller, endpoint: &Endpoint) -> usize {
        let labels = &self.failover_priority;
        let mut elsewhere = 0;
        for (place, label) in labels.iter().enumerate() {
            let (name, value) = match label.split('=').collect::<Vec<_>>()[..] {
                [name, value] => (name, Some(value)),
                _ => (label.split('=').next().unwrap_or_default(), None),
            };
            let wanted = value.or_else(|| label_of(name, &caller.labels, &caller.locality)).unwrap_or_default();
            if wanted == label_of(name, &endpoint.labels, &endpoint.locality).unwrap_or_default() {
                continue;
            }
            if place == 0 && name == NETWORK_LABEL && value.is_none() {
                elsewhere = labels.len();
                continue;
            }
            return elsewhere + labels.len() - place;
        }
        elsewhere
    }

    /// 0 in the same subzone, 1 in the same zone, 2 in the same region, 3 elsewhere, and 4 where `failover` leads
    /// elsewhere than there (`applyLocalityFailover`).
    fn rank_by_locality(&self, own: &Locality, other: &Locality) -> usize {
        if own.region == other.region {
            return match (own.zone == other.zone, own.subzone == other.subzone) {
                (true, true) => 0,
                (true, false) => 1,
                (false, _) => 2,
            };
        }
        let rule = self.failover.iter().find(|rule| rule.from == own.region);
        if rule.is_some_and(|rule| rule.to != other.region) { 4 } else { 3 }
    }
}

/// The weights of the endpoints of each locality together.
fn sums(endpoints: &[Endpoint]) -> BTreeMap<Locality, u64> {
    let mut sums = BTreeMap::new();
    for endpoint in endpoints {
        let sum = sums.entry(endpoint.locality.clone()).or_insert(0_u64);
        *sum = sum.saturating_add(u64::from(endpoint.weight.max(1)));
    }
    sums
}

/// The same order with numbers from 0 and none left out.
fn compact(ranks: &[usize]) -> Vec<usize> {
    let known: BTreeSet<usize> = ranks.iter().copied().collect();
    ranks.iter().map(|rank| known.range(..rank).count()).collect()
}

/// A label of a workload; where it runs counts as labels too, and goes before what it says itself.
fn label_of<'a>(name: &str, labels: &'a BTreeMap<String, String>, locality: &'a Locality) -> Option<&'a str> {
    locality.label(name).or_else(|| labels.get(name).map(String::as_str))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Plan, testing};

    /// A service in five places, with one endpoint each that is called like its place.
    const PLACES: [&str; 5] = ["r1/z1/s1", "r1/z1/s2", "r1/z2/s1", "r2/z1/s1", "r3/z1/s1"];

    fn plan(policy: &str, caller: &Caller) -> Plan {
        let endpoints: Vec<String> = (1..)
            .zip(PLACES)
            .map(|(number, place)| {
                format!("{{address: 10.0.0.{number}, locality: {place}, labels: {{app: n{number}}}}}")
            })
            .collect();
        let text = format!(
            "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {{name: s}}\nspec: {{hosts: [a.com], resolution: STATIC, ports: [{{number: 80, name: http}}], endpoints: [{}]}}\n---\napiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {{name: d}}\nspec: {{host: a.com, trafficPolicy: {policy}}}\n",
            endpoints.join(", ")
        );
        testing::build_for(&text, caller)
    }

    fn caller(locality: &str, labels: &[(&str, &str)]) -> Caller {
        let labels = labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        Caller { locality: locality.into(), labels, ..Caller::default() }
    }

    /// The priorities of the five places, `-` for one that is left out, and the weights.
    fn check(policy: &str, caller: &Caller, priorities: &str, weights: Option<&[(&str, u32)]>) {
        let plan = plan(policy, caller);
        let cluster = &plan.clusters["outbound|80||a.com"];
        let of = |number: usize| {
            let address = format!("10.0.0.{number}");
            let endpoint = cluster.endpoints.iter().find(|endpoint| endpoint.address == address);
            endpoint.map_or("-".to_owned(), |endpoint| endpoint.priority.to_string())
        };
        assert_eq!((1..=5).map(of).collect::<String>(), priorities, "{policy}");
        let weights = weights.map(|all| all.iter().map(|(place, weight)| ((*place).into(), *weight)).collect());
        assert_eq!(cluster.locality_weights, weights, "{policy}");
        assert!(cluster.endpoints.is_sorted_by_key(|endpoint| endpoint.priority));
    }

    #[test]
    fn where_endpoints_are_ejected_the_nearest_goes_first() {
        let here = caller("r1/z1/s1", &[]);
        check("{outlierDetection: {}}", &here, "01233", None);
        check("{loadBalancer: {simple: RANDOM}}", &here, "00000", None);
        check("{outlierDetection: {}, loadBalancer: {localityLbSetting: {enabled: false}}}", &here, "00000", None);
        // Of a caller whose place nobody knows all are as far away.
        check("{outlierDetection: {}}", &Caller::default(), "00000", None);
        check("{outlierDetection: {}}", &caller("r1/z2", &[]), "11022", None);
    }

    #[test]
    fn a_failover_names_the_region_that_comes_next() {
        let policy = "{outlierDetection: {}, loadBalancer: {localityLbSetting: {failover: [{from: r1, to: r3}]}}}";
        check(policy, &caller("r1/z1/s1", &[]), "01243", Some(&[]));
        check(policy, &caller("r2/z1/s1", &[]), "11101", Some(&[]));
        check(&policy.replace("outlierDetection: {}, ", ""), &caller("r1/z1/s1", &[]), "00000", None);
    }

    #[test]
    fn labels_in_their_order_decide_before_localities() {
        let policy = |labels: &str| {
            format!("{{outlierDetection: {{}}, loadBalancer: {{localityLbSetting: {{failoverPriority: [{labels}]}}}}}}")
        };
        let region = "topology.kubernetes.io/region";
        check(&policy(region), &caller("r2/z9", &[]), "11101", Some(&[]));
        check(&policy("app"), &caller("", &[("app", "n2")]), "10111", Some(&[]));
        check(&policy("app=n3"), &caller("", &[("app", "n2")]), "11011", Some(&[]));
        check(&policy(&format!("{region}, app")), &caller("r1", &[("app", "n2")]), "10122", Some(&[]));
        // Nobody has a network, so nobody differs.
        check(&policy(&format!("{NETWORK_LABEL}, app")), &caller("", &[("app", "n2")]), "10111", Some(&[]));
        check(
            &policy(&format!("{NETWORK_LABEL}, app")),
            &caller("", &[("app", "n2"), (NETWORK_LABEL, "x")]),
            "10111",
            Some(&[]),
        );
        let both = "{outlierDetection: {}, loadBalancer: {localityLbSetting: {failoverPriority: [app], failover: [{from: r1, to: r3}]}}}";
        check(both, &caller("r1/z1/s1", &[("app", "n5")]), "12340", Some(&[]));
    }

    #[test]
    fn a_distribution_gives_localities_shares_and_leaves_out_the_others() {
        let policy = |to: &str| {
            format!(
                "{{loadBalancer: {{localityLbSetting: {{distribute: [{{from: r9, to: {{r2: 100}}}}, {{from: r1/z1/*, to: {to}}}]}}}}}}"
            )
        };
        let here = caller("r1/z1/s1", &[]);
        check(
            &policy("{r1/z1/*: 70, r2/*: 30}"),
            &here,
            "00-0-",
            Some(&[("r1/z1/s1", 35), ("r1/z1/s2", 35), ("r2/z1/s1", 30)]),
        );
        check(&policy("{r1/*: 100}"), &here, "000--", Some(&[("r1/z1/s1", 34), ("r1/z1/s2", 34), ("r1/z2/s1", 34)]));
        check(&policy("{r2/*: 100}"), &caller("r3", &[]), "00000", Some(&[]));
    }

    #[test]
    fn a_label_tells_the_place_of_an_endpoint_that_does_not_tell_it() {
        let of = |written: &str, label: &str, value: &str| {
            Locality::of(written, &BTreeMap::from([(label.to_owned(), value.to_owned())])).to_string()
        };
        assert_eq!(of("", "istio-locality", "r.z.s"), "r/z/s");
        assert_eq!(of("", "topology.istio.io/locality", "r/z.1"), "r/z.1");
        assert_eq!(of("a/b", "istio-locality", "r.z.s"), "a/b");
        assert_eq!(of("", "version", "v1"), "");
        assert_eq!(Locality::from("r/z/s/more").to_string(), "r/z/s");
    }
}
