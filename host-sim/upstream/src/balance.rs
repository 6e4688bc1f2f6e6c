//! Which endpoint of a cluster the next attempt goes to. The methods are Envoy's, down to which of them look at
//! weights:
//!
//! - *least request*, equal weights: two are drawn (with replacement), the one with fewer requests under way wins, and
//!   of equals the first drawn;
//! - *round robin*, equal weights: one after the other in file order, from a random start per worker;
//! - least request and round robin with unequal weights, or while endpoints warm up: a schedule by earliest deadline (see
//!   [`Schedule`]), where for least request a busy endpoint's weight counts less: `weight / (requests under way + 1)`;
//! - *random*: one draw; Envoy ignores weights here, so we do;
//! - *ring hash* and *Maglev*: where the request's hash falls, see [`hash_table`](crate::hash_table); without a hash, where a
//!   draw does.
//!
//! One choice costs O(1), or O(log n) with a schedule, and allocates nothing. It is made among the endpoints in service; who
//! these are changes seldom, and then costs O(n).

use std::rc::Rc;

use envoy_plan::LoadBalancing;

use crate::draw::{Draws, index};
use crate::hash_table::{HashTable, LocalityWeights};
use crate::pool::Endpoint;
use crate::schedule::{PARTS, Schedule, cost};
use crate::time::Timestamp;
use crate::warmup::Warming;

/// A cluster's method, and how it is carried out with the endpoints that there are.
#[derive(Debug)]
pub(crate) struct Balancer {
    method: LoadBalancing,
    warming: Option<Warming>,
    /// By which a table's places are shared among localities. `None`: they do not matter, or are chosen before.
    localities: Option<LocalityWeights>,
    way: Way,
}

/// A way to choose, with what it has to remember.
#[derive(Debug)]
enum Way {
    LeastRequest,
    RoundRobin {
        /// The next place in turn; drawn at the first choice.
        next: Option<usize>,
    },
    Random,
    Weighted {
        schedule: Schedule,
        /// Whether requests under way make an endpoint count less.
        by_load: bool,
    },
    Hashed(HashTable),
}

impl Balancer {
    /// To choose among nobody yet.
    pub(crate) fn new(method: LoadBalancing, warming: Option<Warming>, localities: Option<LocalityWeights>) -> Self {
        Self { method, warming, localities, way: Way::new(method, &[], None, false) }
    }

    /// From now on these are chosen among. Whose turn it is stays as far as it can; a schedule begins anew, as in Envoy.
    pub(crate) fn serve(&mut self, endpoints: &[Rc<Endpoint>], now: Timestamp) {
        let warms = self.warming.is_some_and(|warming| warming.is_on(now));
        let before =
            std::mem::replace(&mut self.way, Way::new(self.method, endpoints, self.localities.as_ref(), warms));
        if let (Way::RoundRobin { next }, Way::RoundRobin { next: before }) = (&mut self.way, before) {
            *next = before;
        }
    }

    /// Whether a hash decides.
    pub(crate) fn is_hashed(&self) -> bool {
        self.method.is_hashed()
    }

    /// The place of the chosen endpoint; `None` if there is none to choose. `hash` decides where a hash does; `again` counts how
    /// often the choice has been made before for one attempt.
    pub(crate) fn choose(
        &mut self,
        endpoints: &[Rc<Endpoint>],
        hash: u64,
        again: u32,
        now: Timestamp,
        draws: &mut dyn Draws,
    ) -> Option<usize> {
        if endpoints.is_empty() {
            return None;
        }
        match &mut self.way {
            Way::LeastRequest => {
                let first = index(draws, endpoints.len());
                let second = index(draws, endpoints.len());
                let busy = |place: usize| endpoints.get(place).map(|endpoint| endpoint.active());
                Some(if busy(second) < busy(first) { second } else { first })
            }
            Way::RoundRobin { next } => {
                let place = next.map_or_else(|| index(draws, endpoints.len()), |next| next % endpoints.len());
                *next = Some(if place + 1 < endpoints.len() { place + 1 } else { 0 });
                Some(place)
            }
            Way::Random => Some(index(draws, endpoints.len())),
            Way::Weighted { schedule, by_load } => {
                let warming = self.warming;
                let price = |place: usize| {
                    let endpoint = endpoints.get(place)?;
                    let load = if *by_load { endpoint.active().saturating_add(1) } else { 1 };
                    let part = warming.map_or(PARTS, |warming| warming.part(endpoint.joined(), now));
                    Some(cost(u64::from(endpoint.weight()).saturating_mul(part), load))
                };
                schedule.next(endpoints.len(), price, draws)
            }
            Way::Hashed(table) => table.choose(hash, again),
        }
    }
}

impl Way {
    /// `warms`: even equal weights may count unequally.
    fn new(
        method: LoadBalancing,
        endpoints: &[Rc<Endpoint>],
        localities: Option<&LocalityWeights>,
        warms: bool,
    ) -> Self {
        let differ = |pair: &[Rc<Endpoint>]| matches!(pair, [a, b] if warms || a.weight() != b.weight());
        let unequal = endpoints.windows(2).any(differ);
        match method {
            LoadBalancing::LeastRequest if unequal => Self::Weighted { schedule: Schedule::default(), by_load: true },
            LoadBalancing::RoundRobin if unequal => Self::Weighted { schedule: Schedule::default(), by_load: false },
            LoadBalancing::LeastRequest => Self::LeastRequest,
            LoadBalancing::RoundRobin => Self::RoundRobin { next: None },
            LoadBalancing::Random => Self::Random,
            LoadBalancing::RingHash { size_min } => Self::Hashed(HashTable::ring(endpoints, localities, size_min)),
            LoadBalancing::Maglev { table_size } => Self::Hashed(HashTable::maglev(endpoints, localities, table_size)),
        }
    }
}
