//! Which of several destinations a request goes to.
//!
//! Envoy takes a random value modulo the sum of weights and walks cumulative ranges in file order; so does this, with
//! the bias of the remainder taken out. Whole numbers only: native and wasm32 agree to the bit.

use crate::breaker::Admission;
use crate::format::Fact;

/// What a decision needs besides policy and request: chance (the filter's generator, a test's list, a question's "what if"), and
/// what stands in no header.
pub trait Draw {
    /// Sixty-four even bits.
    fn draw(&mut self) -> u64;

    /// Whether the budget of this number allows that another version is asked where the one that was chosen fails. Asked once for each
    /// request that would fall back.
    fn falls_back(&mut self, budget: u32) -> bool;

    /// Whether a version that is watched gets this request: by the numbers of its guard and of the version there.
    fn admits(&mut self, guard: u32, member: u32) -> Admission;

    /// Something about the request that stands in no header; asked only where a rule wants it.
    fn fact(&mut self, _: Fact) -> Option<Vec<u8>> {
        None
    }
}

/// Chance alone: every version is in service, and there is budget for everything.
impl<F: FnMut() -> u64> Draw for F {
    fn draw(&mut self) -> u64 {
        self()
    }

    fn falls_back(&mut self, _: u32) -> bool {
        true
    }

    fn admits(&mut self, _: u32, _: u32) -> Admission {
        Admission::Yes
    }
}

/// Spreads `draw` evenly over `0..total`, without the bias of a remainder.
pub(crate) fn scale(draw: u64, total: u64) -> u64 {
    u64::try_from((u128::from(draw) * u128::from(total)) >> 64).unwrap_or(u64::MAX)
}

/// Targets of one rule with their shares. There is at least one, and the sum of weights is above zero.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct WeightedTargets {
    /// Target and the end of its range; ends rise.
    ranges: Box<[(u32, u64)]>,
    total: u64,
}

impl WeightedTargets {
    /// One target that takes everything.
    pub(crate) fn single(target: u32) -> Self {
        Self { ranges: [(target, 1)].into(), total: 1 }
    }

    /// `None` when no target has a weight. A single target takes everything, whatever its weight.
    pub(crate) fn new(weighted: &[(u32, u32)]) -> Option<Self> {
        if let [(only, _)] = weighted {
            return Some(Self::single(*only));
        }
        let mut total = 0_u64;
        let mut ranges = Vec::with_capacity(weighted.len());
        for (target, weight) in weighted.iter().filter(|(_, weight)| *weight > 0) {
            total = total.saturating_add(u64::from(*weight));
            ranges.push((*target, total));
        }
        (total > 0).then(|| Self { ranges: ranges.into(), total })
    }

    /// Every target with its weight.
    pub(crate) fn weights(&self) -> impl Iterator<Item = (u32, u64)> {
        let starts = std::iter::once(0).chain(self.ranges.iter().map(|(_, end)| *end));
        self.ranges.iter().zip(starts).map(|((target, end), start)| (*target, end.saturating_sub(start)))
    }

    /// The target of one request. Draws only where there is a choice.
    pub(crate) fn pick(&self, draws: &mut impl Draw) -> u32 {
        let value = if self.ranges.len() > 1 { scale(draws.draw(), self.total) } else { 0 };
        let at = self.ranges.partition_point(|(_, end)| *end <= value);
        self.ranges.get(at).map_or(0, |(target, _)| *target)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    fn counts(weights: &[(u32, u32)], draws: u64) -> Vec<u64> {
        let targets = WeightedTargets::new(weights).expect("a weight");
        let mut counts = vec![0; weights.len()];
        let step = u64::MAX / draws;
        for i in 0..draws {
            counts[targets.pick(&mut || i * step + step / 2) as usize] += 1;
        }
        counts
    }

    #[test]
    fn even_draws_meet_the_shares_exactly() {
        assert_eq!(counts(&[(0, 80), (1, 20)], 1000), [800, 200]);
        assert_eq!(counts(&[(0, 1), (1, 1), (2, 1)], 3000), [1000, 1000, 1000]);
        assert_eq!(counts(&[(0, 80), (1, 0), (2, 20)], 1000), [800, 0, 200]);
    }

    #[test]
    fn a_single_destination_takes_all_without_a_draw() {
        let targets = WeightedTargets::new(&[(7, 0)]).expect("one destination");
        assert_eq!(targets.pick(&mut || -> u64 { panic!("nothing to draw") }), 7);
    }

    #[test]
    fn weights_that_sum_to_zero_are_none() {
        assert_eq!(WeightedTargets::new(&[(0, 0), (1, 0)]), None);
        assert_eq!(WeightedTargets::new(&[]), None);
    }

    #[test]
    fn scale_covers_its_range_from_end_to_end() {
        assert_eq!((scale(0, 10), scale(u64::MAX, 10)), (0, 9));
        assert_eq!(scale(u64::MAX / 2, 10), 4);
        assert_eq!(scale(u64::MAX, u64::MAX), u64::MAX - 1);
    }
}
