//! Envoy's ring hash (`ring_hash_lb.cc`), after ketama: each endpoint has places on a ring, and a hash falls on the next one.

use std::fmt::Write;

use envoy_plan::RING_SIZE_MAX;
use twox_hash::XxHash64;

/// Hashes in ascending order, each with its place. An endpoint has as many as its weight makes of the ring, the lightest a whole
/// number of them.
#[derive(Debug)]
pub(crate) struct Ring(Vec<(u64, u32)>);

impl Ring {
    pub(crate) fn new(endpoints: &[(String, f64)], size_min: u64) -> Self {
        let lightest = endpoints.iter().map(|(_, share)| *share).fold(1.0, f64::min);
        let scale = ((lightest * size_min as f64).ceil() / lightest).min(RING_SIZE_MAX as f64);
        let mut ring = Vec::new();
        // Of both there is a running sum, since shares of the ring may be fractions.
        let (mut hashes, mut target) = (0.0, 0.0);
        for ((address, share), place) in endpoints.iter().zip(0..) {
            target += scale * share;
            let mut key = format!("{address}_");
            let stem = key.len();
            let mut number = 0_u64;
            while hashes < target {
                key.truncate(stem);
                // Writing to a String cannot fail.
                let _ = write!(key, "{number}");
                ring.push((XxHash64::oneshot(0, key.as_bytes()), place));
                number = number.saturating_add(1);
                hashes += 1.0;
            }
        }
        ring.sort_unstable();
        Self(ring)
    }

    /// The first place at or behind the hash, round the ring; each further choice takes the next one.
    pub(crate) fn choose(&self, hash: u64, again: u32) -> Option<u32> {
        let Self(ring) = self;
        let first = ring.partition_point(|(own, _)| *own < hash);
        let first = if first == ring.len() { 0 } else { first };
        let index = first.saturating_add(usize::try_from(again).ok()?).checked_rem(ring.len())?;
        ring.get(index).map(|(_, place)| *place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash_table::tests::{counts, endpoints};

    fn ring(weights: &[u32], size_min: u64) -> Vec<usize> {
        let Ring(ring) = Ring::new(&endpoints(weights), size_min);
        assert!(ring.is_sorted());
        counts(ring.into_iter().map(|(_, place)| place), weights.len())
    }

    #[test]
    fn the_lightest_has_a_whole_number_of_places_on_the_ring() {
        assert_eq!(ring(&[1, 1, 1], 1024), [342; 3]);
        assert_eq!(ring(&[1, 2, 5], 16), [2, 4, 10]);
        assert_eq!(ring(&[1, 2, 5], 1), [1, 2, 5]);
        assert_eq!(ring(&[7], 1024), [1024]);
        assert_eq!(ring(&[], 1024), [0_usize; 0]);
        assert_eq!(Ring::new(&[], 1024).choose(1, 0), None);
    }

    #[test]
    fn a_ring_is_closed() {
        let ring = Ring(vec![(10, 0), (20, 1), (30, 2)]);
        for (hash, again, place) in [
            (0, 0, 0),
            (10, 0, 0),
            (11, 0, 1),
            (30, 0, 2),
            (31, 0, 0),
            (u64::MAX, 0, 0),
            (11, 1, 2),
            (11, 2, 0),
            (11, 4, 2),
        ] {
            assert_eq!(ring.choose(hash, again), Some(place), "{hash} {again}");
        }
    }
}
