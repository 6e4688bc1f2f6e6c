//! Which endpoint a hash falls on: Envoy's ring hash and Maglev, place by place, so that a key meets the same endpoint here and
//! there.
//!
//! Both are made of the endpoints in service, in the order of the plan, under their addresses (`10.0.0.1:80`, `[::1]:80`), with
//! weights normalised to a sum of 1. They are made anew when these change; a look-up costs O(log n) or O(1).
//!
//! Where localities share by weight, the endpoints of each that are in service share all that their locality has of the sum,
//! however few they are (`thread_aware_lb_impl.cc`).

use std::collections::BTreeMap;
use std::rc::Rc;

use envoy_plan::Locality;

use crate::maglev::Maglev;
use crate::pool::Endpoint;
use crate::ring::Ring;

/// What each locality of a priority has: a weight, of the sum of all.
pub(crate) type LocalityWeights = BTreeMap<Locality, u64>;

/// A table, of which each entry is the place of an endpoint.
#[derive(Debug)]
pub(crate) enum HashTable {
    Ring(Ring),
    Maglev(Maglev),
}

impl HashTable {
    /// A ring of so many places at least.
    pub(crate) fn ring(endpoints: &[Rc<Endpoint>], localities: Option<&LocalityWeights>, size_min: u64) -> Self {
        Self::Ring(Ring::new(&weighted(endpoints, localities), size_min))
    }

    /// A table of so many places.
    pub(crate) fn maglev(endpoints: &[Rc<Endpoint>], localities: Option<&LocalityWeights>, table_size: u64) -> Self {
        Self::Maglev(Maglev::new(&weighted(endpoints, localities), table_size))
    }

    /// The place for a hash; `again` counts how often the choice is made again since its place would not do.
    pub(crate) fn choose(&self, hash: u64, again: u32) -> Option<usize> {
        let place = match self {
            Self::Ring(ring) => ring.choose(hash, again),
            Self::Maglev(table) => table.choose(hash, again),
        };
        usize::try_from(place?).ok()
    }
}

/// Addresses with their share of all weights, or of what their locality has.
fn weighted(endpoints: &[Rc<Endpoint>], localities: Option<&LocalityWeights>) -> Vec<(String, f64)> {
    // Without weights of localities all endpoints are as if in one, which has everything.
    let place = |endpoint: &Rc<Endpoint>| localities.map(|_| endpoint.locality().clone());
    let mut sums: BTreeMap<Option<Locality>, u64> = BTreeMap::new();
    for endpoint in endpoints {
        let sum = sums.entry(place(endpoint)).or_default();
        *sum = sum.saturating_add(u64::from(endpoint.weight()));
    }
    let of_all = |weights: &LocalityWeights| weights.values().fold(0_u64, |sum, weight| sum.saturating_add(*weight));
    let all = localities.map(of_all);
    let share = |endpoint: &Rc<Endpoint>| {
        let place = place(endpoint);
        let weight = localities.zip(place.as_ref()).and_then(|(weights, place)| weights.get(place));
        let of_locality = weight.zip(all).map_or(1.0, |(weight, all)| *weight as f64 / all as f64);
        // In this order the last bit is Envoy's too.
        f64::from(endpoint.weight()) * of_locality / sums.get(&place).copied().unwrap_or(1) as f64
    };
    endpoints.iter().map(|endpoint| (address(endpoint), share(endpoint))).collect()
}

/// As Envoy writes it.
fn address(endpoint: &Endpoint) -> String {
    let (address, port) = (endpoint.address(), endpoint.port());
    if address.contains(':') { format!("[{address}]:{port}") } else { format!("{address}:{port}") }
}

#[cfg(test)]
pub(crate) mod tests {
    use twox_hash::XxHash64;

    /// Addresses with their share of these weights.
    pub(crate) fn endpoints(weights: &[u32]) -> Vec<(String, f64)> {
        let sum: f64 = weights.iter().map(|weight| f64::from(*weight)).sum();
        let address = |(number, weight): (usize, &u32)| (format!("10.0.0.{number}:80"), f64::from(*weight) / sum);
        weights.iter().enumerate().map(address).collect()
    }

    /// How many of the entries each endpoint has.
    pub(crate) fn counts(entries: impl IntoIterator<Item = u32>, endpoints: usize) -> Vec<usize> {
        let mut counts = vec![0; endpoints];
        entries.into_iter().for_each(|place| counts[place as usize] += 1);
        counts
    }

    /// The test vectors of xxHash.
    #[test]
    fn the_hash_is_envoys() {
        assert_eq!(XxHash64::oneshot(0, b""), 0xef46_db37_51d8_e999);
        assert_eq!(XxHash64::oneshot(0, b"foo"), 3_728_699_739_546_630_719);
        assert_eq!(XxHash64::oneshot(0, b"bar"), 5_234_164_152_756_840_025);
    }
}
