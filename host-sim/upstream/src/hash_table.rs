//! Which endpoint a hash falls on: Envoy's ring hash and Maglev, place by place, so that a key meets the same endpoint here and
//! there.
//!
//! Both are made of the endpoints in service, in the order of the plan, under their addresses (`10.0.0.1:80`, `[::1]:80`), with
//! weights normalised to a sum of 1. They are made anew when these change; a look-up costs O(log n) or O(1).

use std::fmt::Write;
use std::rc::Rc;

use envoy_plan::RING_SIZE_MAX;
use twox_hash::XxHash64;

use crate::pool::Endpoint;

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

/// Hashes in ascending order, each with its place. An endpoint has as many as its weight makes of the ring, the lightest a whole
/// number of them.
#[derive(Debug)]
pub(crate) struct Ring(Vec<(u64, u32)>);

impl Ring {
    fn new(endpoints: &[(String, f64)], size_min: u64) -> Self {
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
    fn choose(&self, hash: u64, again: u32) -> Option<u32> {
        let Self(ring) = self;
        let first = ring.partition_point(|(own, _)| *own < hash);
        let first = if first == ring.len() { 0 } else { first };
        let index = first.saturating_add(usize::try_from(again).ok()?).checked_rem(ring.len())?;
        ring.get(index).map(|(_, place)| *place)
    }
}

/// Places that the endpoints fill in turns, each in an order of its own; who weighs less passes turns.
#[derive(Debug)]
pub(crate) struct Maglev(Vec<u32>);

/// An endpoint while the table is filled.
struct Filler {
    place: u32,
    share: f64,
    /// It takes its next turn when so much of its share has come up.
    target: f64,
    next: u64,
    skip: u64,
}

impl Maglev {
    fn new(endpoints: &[(String, f64)], table_size: u64) -> Self {
        let heaviest = endpoints.iter().map(|(_, share)| *share).fold(0.0, f64::max);
        let mut order: Vec<(&(String, f64), u32)> = endpoints.iter().zip(0..).collect();
        order.sort_by(|((one, _), _), ((other, _), _)| one.cmp(other));
        let filler = |((address, share), place): (&(String, f64), u32)| {
            let key = address.as_bytes();
            let next = XxHash64::oneshot(0, key).checked_rem(table_size)?;
            let skip = XxHash64::oneshot(1, key).checked_rem(table_size.checked_sub(1)?)?.checked_add(1)?;
            Some(Filler { place, share: *share, target: 0.0, next, skip })
        };
        let mut fillers: Vec<Filler> = order.into_iter().filter_map(filler).collect();
        let mut table: Vec<Option<u32>> = vec![None; usize::try_from(table_size).unwrap_or(0)];
        let mut left = if fillers.is_empty() { 0 } else { table.len() };
        let mut turn = 0.0;
        while left > 0 {
            turn += 1.0;
            for filler in &mut fillers {
                if left == 0 {
                    break;
                }
                if turn * filler.share < filler.target {
                    continue;
                }
                filler.target += heaviest;
                // As the size is a prime it comes past every place, so past a free one.
                loop {
                    let at = filler.next;
                    filler.next = at.wrapping_add(filler.skip).checked_rem(table_size).unwrap_or(0);
                    let Some(entry) = usize::try_from(at).ok().and_then(|at| table.get_mut(at)) else { break };
                    if entry.is_none() {
                        *entry = Some(filler.place);
                        left = left.saturating_sub(1);
                        break;
                    }
                }
            }
        }
        Self(table.into_iter().flatten().collect())
    }

    /// The place of the hash; each further choice is of a hash that differs in most bits.
    fn choose(&self, hash: u64, again: u32) -> Option<u32> {
        let Self(table) = self;
        let hash = if again > 0 { hash ^ u64::from(again).wrapping_neg() } else { hash };
        let index = hash.checked_rem(u64::try_from(table.len()).ok()?)?;
        table.get(usize::try_from(index).ok()?).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoints(weights: &[u32]) -> Vec<(String, f64)> {
        let sum: f64 = weights.iter().map(|weight| f64::from(*weight)).sum();
        let address = |(number, weight): (usize, &u32)| (format!("10.0.0.{number}:80"), f64::from(*weight) / sum);
        weights.iter().enumerate().map(address).collect()
    }

    fn counts(entries: impl IntoIterator<Item = u32>, endpoints: usize) -> Vec<usize> {
        let mut counts = vec![0; endpoints];
        entries.into_iter().for_each(|place| counts[place as usize] += 1);
        counts
    }

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

    fn maglev(weights: &[u32], size: u64) -> Vec<usize> {
        let Maglev(table) = Maglev::new(&endpoints(weights), size);
        assert_eq!(table.len() as u64, if weights.is_empty() { 0 } else { size });
        counts(table, weights.len())
    }

    #[test]
    fn a_table_is_filled_in_proportion() {
        assert_eq!(maglev(&[1; 7], 7), [1; 7]);
        assert_eq!(maglev(&[1, 1, 1], 65_537).iter().sum::<usize>(), 65_537);
        assert!(maglev(&[1, 1, 1], 65_537).iter().all(|count| count.abs_diff(21_846) <= 1));
        let [one, two, three] = maglev(&[1, 2, 3], 65_537)[..] else { panic!("three") };
        assert!(
            one.abs_diff(10_923) <= 2 && two.abs_diff(21_845) <= 2 && three.abs_diff(32_768) <= 2,
            "{one} {two} {three}"
        );
        assert_eq!(maglev(&[], 7), [0_usize; 0]);
        assert_eq!(maglev(&[1], 2), [2]);
        assert_eq!(Maglev::new(&[], 7).choose(1, 0), None);
    }

    #[test]
    fn another_choice_takes_another_hash() {
        let table = Maglev((0..7).collect());
        assert_eq!(table.choose(9, 0), Some(2));
        assert_eq!(table.choose(9, 1), Some(u32::try_from((9 ^ u64::MAX) % 7).unwrap()));
        assert_eq!(table.choose(9, 2), Some(u32::try_from((9 ^ (u64::MAX - 1)) % 7).unwrap()));
    }

    /// The test vectors of xxHash.
    #[test]
    fn the_hash_is_envoys() {
        assert_eq!(XxHash64::oneshot(0, b""), 0xef46_db37_51d8_e999);
        assert_eq!(XxHash64::oneshot(0, b"foo"), 3_728_699_739_546_630_719);
        assert_eq!(XxHash64::oneshot(0, b"bar"), 5_234_164_152_756_840_025);
    }
}
