//! Earliest deadline first: each choice takes the member whose deadline is next and sets it back by its cost, so that over
//! time each is chosen in inverse proportion to its cost, and evenly spaced.
//!
//! Each starts somewhere in its first round at random, so that the workers and the proxies of a fleet do not all begin
//! with the heaviest. (Envoy instead skips a random number of choices; the proportions are the same.)

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::draw::Draws;

/// One round of a member of weight 1, in the schedule's own time. A draw fills it exactly.
const ROUND: u128 = 1 << 64;

/// Weights are counted in parts of so many, so that a member may have less than the weight 1.
pub(crate) const PARTS: u64 = 1_000_000;

/// What being chosen costs a member of this weight, counted in [`PARTS`], which is `load` times as busy as an idle one.
/// Zero counts as one part.
pub(crate) fn cost(parts: u64, load: u32) -> u128 {
    u128::from(load.max(1)) * ROUND * u128::from(PARTS) / u128::from(parts.max(1))
}

/// Who is next.
#[derive(Debug, Default)]
pub(crate) struct Schedule {
    /// Deadline, then the order of insertion, then the place.
    queue: BinaryHeap<Reverse<(u128, u64, usize)>>,
    inserted: u64,
}

impl Schedule {
    /// The place of the next of `count` members; `cost` tells what being chosen costs one, and `None` of one that is not
    /// there. It begins anew when it was emptied; while it lasts, `count` must not change.
    pub(crate) fn next(
        &mut self,
        count: usize,
        cost: impl Fn(usize) -> Option<u128>,
        draws: &mut dyn Draws,
    ) -> Option<usize> {
        if self.queue.is_empty() {
            for place in 0..count {
                if let Some(cost) = cost(place) {
                    self.insert(part(cost, draws.next_u64()), place);
                }
            }
        }
        let Reverse((deadline, _, place)) = self.queue.pop()?;
        self.insert(deadline.saturating_add(cost(place)?), place);
        Some(place)
    }

    fn insert(&mut self, deadline: u128, place: usize) {
        self.queue.push(Reverse((deadline, self.inserted, place)));
        self.inserted = self.inserted.wrapping_add(1);
    }
}

/// `draw` parts of `cost` in 2⁶⁴.
fn part(cost: u128, draw: u64) -> u128 {
    let draw = u128::from(draw);
    ((cost >> 64) * draw).saturating_add(((cost & (ROUND - 1)) * draw) >> 64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_exact_where_the_product_would_not_fit() {
        assert_eq!(part(ROUND, u64::MAX), ROUND - 1);
        assert_eq!(part(ROUND << 50, 1 << 63), ROUND << 49);
        assert_eq!(part(3, 1 << 63), 1);
        assert_eq!(cost(PARTS, 1), ROUND);
        assert_eq!(cost(PARTS / 4, 2), ROUND * 8);
    }

    #[test]
    fn shares_follow_costs_and_who_is_not_there_gets_none() {
        let mut schedule = Schedule::default();
        let mut counts = [0; 3];
        let costs = [Some(cost(3 * PARTS, 1)), None, Some(cost(PARTS, 1))];
        for _ in 0..400 {
            counts[schedule.next(3, |place| costs[place], &mut || 1 << 40).unwrap()] += 1;
        }
        assert_eq!(counts, [300, 0, 100]);
        assert_eq!(Schedule::default().next(2, |_| None, &mut || 0), None);
    }
}
