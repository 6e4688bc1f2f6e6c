//! Which endpoint a hash falls on: Envoy's ring hash and Maglev, place by place, so that a key meets the same endpoint here and
//! there.
//!
//! Both are made of the endpoints in service, in the order of the plan, under their addresses (`10.0.0.1:80`, `[::1]:80`), with
//! weights normalised to a sum of 1. They are made anew when these change; a look-up costs O(log n) or O(1).

use std::rc::Rc;

use crate::maglev::Maglev;
use crate::pool::Endpoint;
use crate::ring::Ring;

/// A table, of which each entry is the place of an endpoint.
#[derive(Debug)]
pub(crate) enum HashTable {
    Ring(Ring),
    Maglev(Maglev),
}

impl HashTable {
    /// A ring of so many places at least.
    pub(crate) fn ring(endpoints: &[Rc<Endpoint>], size_min: u64) -> Self {
        Self::Ring(Ring::new(&weighted(endpoints), size_min))
    }

    /// A table of so many places, which is a prime.
    pub(crate) fn maglev(endpoints: &[Rc<Endpoint>], table_size: u64) -> Self {
        Self::Maglev(Maglev::new(&weighted(endpoints), table_size))
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

/// Addresses with their share of all weights.
fn weighted(endpoints: &[Rc<Endpoint>]) -> Vec<(String, f64)> {
    let sum: u64 = endpoints.iter().map(|endpoint| u64::from(endpoint.weight())).sum();
    let share = |endpoint: &Rc<Endpoint>| f64::from(endpoint.weight()) / sum as f64;
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
