//! `ShuntPolicy.fallback`: which requests may be asked of another version.
//!
//! The filter decides that once, when the request comes, by naming a cluster that stands for two. Whether the other version is
//! asked then follows from the answer, which the host sees. So what is spent is known afterwards, and a budget stops the
//! requests that follow.

use crate::request::RequestHead;

/// How the requests of one rule fall back.
#[derive(Clone, Debug)]
pub(crate) struct FallbackRule {
    /// Methods of the requests that may be asked again.
    pub(crate) methods: Box<[Box<[u8]>]>,
    /// The cluster that stands for two, by target.
    pub(crate) clusters: Box<[(u32, Box<str>)]>,
    /// As `ForwardRule::profiles`.
    pub(crate) profiles: Box<[Box<str>]>,
    /// Index into `Policy::budgets`.
    pub(crate) budget: u32,
}

impl FallbackRule {
    /// The cluster for a request to this target. `None`: it is asked alone.
    pub(crate) fn cluster(&self, target: u32, request: &RequestHead<'_>) -> Option<&str> {
        let method = request.method();
        self.of(target).filter(|_| self.methods.iter().any(|known| **known == *method))
    }

    /// The host that is asked where this target fails, whatever the request.
    pub(crate) fn asked_instead(&self, target: u32) -> Option<&str> {
        self.of(target)?.rsplit('|').next()
    }

    fn of(&self, target: u32) -> Option<&str> {
        self.clusters.iter().find(|(own, _)| *own == target).map(|(_, cluster)| &**cluster)
    }
}

/// How much may be asked again (`fallback.budget`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BudgetRule {
    /// Of a million requests so many.
    pub per_million: u32,
    /// So many a second in any case.
    pub per_second: u32,
}

/// How far back a budget looks, in seconds.
const WINDOW: u64 = 10;

/// What has come and what was asked again in one second.
#[derive(Clone, Copy, Debug, Default)]
struct Second {
    second: u64,
    requests: u64,
    spent: u64,
}

/// What one worker has seen in the last ten seconds.
#[derive(Clone, Debug, Default)]
pub struct Budget([Second; 10]);

impl Budget {
    /// A request comes that may fall back, at this second of any clock. Whether it still may.
    pub fn request(&mut self, rule: BudgetRule, second: u64) -> bool {
        if let Some(now) = self.at(second) {
            now.requests = now.requests.saturating_add(1);
        }
        // What lies in the future was written by a clock that has been set back since.
        let counts = |seen: &&Second| seen.second <= second && second.saturating_sub(seen.second) < WINDOW;
        let recent = || self.0.iter().filter(counts);
        let requests = recent().fold(0_u64, |sum, seen| sum.saturating_add(seen.requests));
        let spent = recent().fold(0_u64, |sum, seen| sum.saturating_add(seen.spent));
        let share = requests.saturating_mul(u64::from(rule.per_million)) / 1_000_000;
        spent < share.max(u64::from(rule.per_second).saturating_mul(WINDOW))
    }

    /// A request was asked again so often.
    pub fn spend(&mut self, times: u64, second: u64) {
        if let Some(now) = self.at(second) {
            now.spent = now.spent.saturating_add(times);
        }
    }

    fn at(&mut self, second: u64) -> Option<&mut Second> {
        let place = usize::try_from(second % WINDOW).ok()?;
        let now = self.0.get_mut(place)?;
        if now.second != second {
            *now = Second { second, ..Second::default() };
        }
        Some(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    const FIFTH: BudgetRule = BudgetRule { per_million: 200_000, per_second: 0 };

    /// How many of `requests` in one second, all of which fail, are asked again.
    fn spent(budget: &mut Budget, rule: BudgetRule, requests: u64, second: u64) -> u64 {
        (0..requests)
            .filter(|_| {
                let may = budget.request(rule, second);
                if may {
                    budget.spend(1, second);
                }
                may
            })
            .count() as u64
    }

    #[test]
    fn no_more_than_the_share_is_asked_again() {
        assert_eq!(spent(&mut Budget::default(), FIFTH, 1000, 7), 200);
        let mut budget = Budget::default();
        let all: u64 = (100..130).map(|second| spent(&mut budget, FIFTH, 50, second)).sum();
        assert_eq!(all, 30 * 10);
    }

    #[test]
    fn a_minimum_is_always_there() {
        let rule = BudgetRule { per_million: 0, per_second: 3 };
        assert_eq!(spent(&mut Budget::default(), rule, 1000, 7), 30);
        let mut budget = Budget::default();
        let all: u64 = (0..20).map(|second| spent(&mut budget, rule, 100, second)).sum();
        assert_eq!(all, 60);
    }

    #[test]
    fn what_was_ten_seconds_ago_counts_no_more() {
        let mut budget = Budget::default();
        assert_eq!(spent(&mut budget, FIFTH, 100, 5), 20);
        assert_eq!(spent(&mut budget, FIFTH, 100, 14), 20);
        budget.spend(1000, 14);
        assert_eq!(spent(&mut budget, FIFTH, 100, 23), 0);
        assert_eq!(spent(&mut budget, FIFTH, 100, 24), 40);
    }

    #[test]
    fn a_clock_that_is_set_back_neither_blocks_nor_frees_for_long() {
        let mut budget = Budget::default();
        budget.spend(1_000_000, 1_000_005);
        assert_eq!(spent(&mut budget, FIFTH, 100, 3), 20);
        assert_eq!(spent(&mut budget, FIFTH, 100, u64::MAX), 20);
    }
}
