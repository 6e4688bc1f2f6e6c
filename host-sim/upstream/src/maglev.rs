//! Envoy's Maglev (`maglev_lb.cc`): a table that the endpoints fill in turns, of which a hash takes one place.

use envoy_plan::{TABLE_SIZE, is_table_size};
use twox_hash::XxHash64;

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
    /// A table of so many places, or of the usual number where so many would not do.
    pub(crate) fn new(endpoints: &[(String, f64)], table_size: u64) -> Self {
        let table_size = if is_table_size(table_size) { table_size } else { TABLE_SIZE };
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
    pub(crate) fn choose(&self, hash: u64, again: u32) -> Option<u32> {
        let Self(table) = self;
        let hash = if again > 0 { hash ^ u64::from(again).wrapping_neg() } else { hash };
        let index = hash.checked_rem(u64::try_from(table.len()).ok()?)?;
        table.get(usize::try_from(index).ok()?).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash_table::tests::{counts, endpoints};

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
    fn a_size_that_maglev_does_not_take_is_the_usual_one() {
        // With 12 places and a step of 4 some endpoint would look for ever for a free one.
        for size in [0, 1, 4, 12, 65_536, 5_000_011, u64::MAX] {
            let Maglev(table) = Maglev::new(&endpoints(&[1, 2, 3]), size);
            assert_eq!(table.len() as u64, TABLE_SIZE, "{size}");
        }
    }

    #[test]
    fn another_choice_takes_another_hash() {
        let table = Maglev((0..7).collect());
        assert_eq!(table.choose(9, 0), Some(2));
        assert_eq!(table.choose(9, 1), Some(u32::try_from((9 ^ u64::MAX) % 7).unwrap()));
        assert_eq!(table.choose(9, 2), Some(u32::try_from((9 ^ (u64::MAX - 1)) % 7).unwrap()));
    }
}
