//! What is under way in a cluster at the same time, and what of it is allowed (Envoy's circuit breakers). All workers of a
//! proxy count together, as in Envoy.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use envoy_plan::Limits;

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Resource {
    /// Connections of HTTP/1.1 that carry a request or are being opened for one.
    Connection,
    /// Requests that wait for a connection, or for its opening.
    Pending,
    /// Requests on connections.
    Request,
    /// Requests between the decision to try again and what comes of it.
    Retry,
}

/// The counts of a cluster.
#[derive(Debug)]
pub(crate) struct Load {
    pub(crate) limits: Limits,
    counts: [AtomicU32; 4],
}

/// One of what is counted; dropped, it counts no more.
#[derive(Debug)]
pub(crate) struct Slot {
    load: Arc<Load>,
    of: Resource,
}

impl Load {
    pub(crate) fn new(limits: Limits) -> Arc<Self> {
        Arc::new(Self { limits, counts: Default::default() })
    }

    /// One more, if that is allowed.
    pub(crate) fn enter(self: &Arc<Self>, of: Resource) -> Option<Slot> {
        let max = self.max(of);
        let one_more = |now: u32| (now < max).then(|| now.saturating_add(1));
        self.count(of).fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).ok()?;
        Some(Slot { load: Arc::clone(self), of })
    }

    /// One more, whatever the limit says.
    pub(crate) fn force(self: &Arc<Self>, of: Resource) -> Slot {
        self.count(of).fetch_add(1, Ordering::Relaxed);
        Slot { load: Arc::clone(self), of }
    }

    fn max(&self, of: Resource) -> u32 {
        let Limits { connections, pending, requests, retries, retry_budget } = self.limits;
        let max = match (of, retry_budget) {
            (Resource::Connection, _) => connections,
            (Resource::Pending, _) => pending,
            (Resource::Request, _) => requests,
            (Resource::Retry, None) => retries,
            (Resource::Retry, Some(budget)) => {
                let active =
                    [Resource::Request, Resource::Pending].map(|of| u64::from(self.count(of).load(Ordering::Relaxed)));
                let share = u32::try_from(budget.share.of(active.iter().sum())).unwrap_or(u32::MAX);
                Some(share.max(budget.at_least))
            }
        };
        max.unwrap_or(u32::MAX)
    }

    fn count(&self, of: Resource) -> &AtomicU32 {
        let [connections, pending, requests, retries] = &self.counts;
        match of {
            Resource::Connection => connections,
            Resource::Pending => pending,
            Resource::Request => requests,
            Resource::Retry => retries,
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.load.count(self.of).fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use envoy_plan::{PerMillion, RetryBudget};

    #[test]
    fn a_limit_holds_until_something_is_over() {
        let load = Load::new(Limits { requests: Some(2), ..Limits::default() });
        let (first, second) = (load.enter(Resource::Request), load.enter(Resource::Request));
        assert!(first.is_some() && second.is_some() && load.enter(Resource::Request).is_none());
        drop(first);
        assert!(load.enter(Resource::Request).is_some());
        assert!(load.enter(Resource::Pending).is_some(), "no limit");
    }

    #[test]
    fn a_budget_is_a_share_of_what_is_under_way_and_never_less_than_so_many() {
        let budget = RetryBudget { share: PerMillion::from_percent(20.0), at_least: 1, interval: None };
        let load = Load::new(Limits { retries: Some(0), retry_budget: Some(budget), ..Limits::default() });
        let first = load.enter(Resource::Retry);
        assert!(first.is_some() && load.enter(Resource::Retry).is_none());
        let under_way: Vec<_> = (0..10).map(|_| load.enter(Resource::Request)).collect();
        assert!(load.enter(Resource::Retry).is_some(), "two of ten");
        drop(under_way);
        assert!(load.enter(Resource::Retry).is_none());
    }
}
