//! A cluster that stands for two: the second is asked where the first fails (`ShuntPolicy.fallback`; Envoy's aggregate cluster
//! with `previous_priorities`).
//!
//! The priorities of both are one list, the first's before the second's, and requests are shared among them as among the
//! priorities of one cluster: so a first cluster without an endpoint in service sends everything on at once. What a
//! request has tried is left out for its next attempt, but never the second cluster: it stands in the list twice.

use std::rc::Rc;

use envoy_plan::Fallback;

use crate::draw::{Draws, index};
use crate::levels::{self, Count};
use crate::pool::{Endpoint, Pool};
use crate::time::Timestamp;

/// The two clusters; one that the plan does not have has no endpoints.
#[derive(Clone, Debug)]
pub(crate) struct Pair {
    /// The name of the first.
    pub(crate) name: Rc<str>,
    first: Option<Rc<Pool>>,
    then: Option<Rc<Pool>>,
}

/// Priorities that attempts of one request have failed in.
#[derive(Debug, Default)]
pub(crate) struct Tried {
    first: Vec<u32>,
}

impl Tried {
    /// An attempt has failed at this endpoint.
    pub(crate) fn add(&mut self, pair: &Pair, endpoint: &Endpoint) {
        if *pair.name == *endpoint.cluster() {
            self.first.push(endpoint.priority());
        }
    }
}

impl Pair {
    /// Of a fallback whose clusters `find` finds. `None` where the plan has neither.
    pub(crate) fn new(fallback: &Fallback, find: impl Fn(&str) -> Option<Rc<Pool>>) -> Option<Self> {
        let Fallback { first, then } = fallback;
        let pair = Self { name: Rc::from(first.as_str()), first: find(first), then: find(then) };
        (pair.first.is_some() || pair.then.is_some()).then_some(pair)
    }

    /// The one that is asked first, where there is one.
    pub(crate) fn any(&self) -> Option<&Rc<Pool>> {
        self.first.as_ref().or(self.then.as_ref())
    }

    /// The cluster and the priority for the next attempt. `None` where neither has an endpoint in service.
    pub(crate) fn choose(&self, tried: &Tried, now: Timestamp, draws: &mut dyn Draws) -> Option<(&Rc<Pool>, u32)> {
        let levels = |pool: &Option<Rc<Pool>>| pool.as_ref().map(|pool| pool.levels(now)).unwrap_or_default();
        let (first, then) = (levels(&self.first), levels(&self.then));
        let is_tried = |level: usize| tried.first.iter().any(|tried| usize::try_from(*tried) == Ok(level));
        let left_out = |(level, count): (usize, &Count)| match is_tried(level) {
            true => Count { healthy: 0, ..*count },
            false => *count,
        };
        let left: Vec<Count> = first.iter().enumerate().map(left_out).chain(then.iter().copied()).collect();
        // With nobody left to ask anew, all are asked again.
        let counts = match left.iter().any(|count| count.healthy > 0) {
            true => left,
            false => first.iter().chain(&then).copied().collect(),
        };
        if counts.iter().all(|count| count.healthy == 0) {
            return None;
        }
        let shares = levels::shares(&counts, 0);
        let level = match shares.iter().position(|share| share.percent == 100) {
            Some(only) => only,
            None => levels::pick(shares.into_iter(), u64::try_from(index(draws, 100)).unwrap_or_default())?,
        };
        let (pool, level) = match level.checked_sub(first.len()) {
            None => (&self.first, level),
            Some(level) => (&self.then, level),
        };
        Some((pool.as_ref()?, u32::try_from(level).ok()?))
    }
}
