//! What may still be asked again: one budget for each policy with a fallback, kept by each worker for itself.

use crate::hostcalls;
use crate::metrics::{self, Counter};
use std::cell::RefCell;
use traffic_policy::{Budget, BudgetRule, Policy};

/// The budgets of one policy, by their numbers there.
#[derive(Default)]
pub(crate) struct Budgets(RefCell<Vec<(BudgetRule, Budget)>>);

impl Budgets {
    /// Nothing has been spent yet.
    pub(crate) fn new(policy: &Policy) -> Self {
        Self(RefCell::new(policy.budgets().iter().map(|rule| (*rule, Budget::default())).collect()))
    }

    /// A request comes that would fall back. Whether it may.
    pub(crate) fn request(&self, budget: u32) -> bool {
        let may = self.with(budget, |rule, budget, second| budget.request(rule, second)).unwrap_or_default();
        if !may {
            metrics::increment(Counter::FallbackOverBudget);
        }
        may
    }

    /// Another version was asked so often.
    pub(crate) fn spend(&self, budget: u32, times: u64) {
        if times > 0 {
            self.with(budget, |_, budget, second| budget.spend(times, second));
            metrics::increment(Counter::FallbackAsked);
        }
    }

    fn with<T>(&self, budget: u32, what: impl FnOnce(BudgetRule, &mut Budget, u64) -> T) -> Option<T> {
        let mut budgets = self.0.borrow_mut();
        let (rule, budget) = budgets.get_mut(usize::try_from(budget).ok()?)?;
        Some(what(*rule, budget, hostcalls::now_ms() / 1000))
    }
}
