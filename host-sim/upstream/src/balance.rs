//! Which endpoint of a cluster the next attempt goes to. The methods are Envoy's, down to which of them look at
//! weights:
//!
//! - *least request*, equal weights: two are drawn (with replacement), the one with fewer requests under way wins, and
//!   of equals the first drawn;
//! - *round robin*, equal weights: one after the other in file order, from a random start per worker;
//! - least request and round robin with unequal weights: a schedule by earliest deadline (see [`Schedule`]), where for
//!   least request a busy endpoint's weight counts less: `weight / (requests under way + 1)`;
//! - *random*: one draw; Envoy ignores weights here, so we do;
//! - *ring hash* and *Maglev*: where the request's hash falls, see [`hash_table`](crate::hash_table); without a hash, where a
//!   draw does.
//!
//! One choice costs O(1), or O(log n) with a schedule, and allocates nothing. It is made among the endpoints in service; who
//! these are changes seldom, and then costs O(n).

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::rc::Rc;

use envoy_plan::LoadBalancing;

use crate::draw::{Draws, index};
use crate::hash_table::HashTable;
use crate::pool::Endpoint;

/// A cluster's method, and how it is carried out with the endpoints that there are.
#[derive(Debug)]
pub(crate) struct Balancer {
    method: LoadBalancing,
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
    pub(crate) fn new(method: LoadBalancing, endpoints: &[Rc<Endpoint>]) -> Self {
        Self { method, way: Way::new(method, endpoints) }
    }

    /// From now on these are chosen among. Whose turn it is stays as far as it can; a schedule begins anew, as in Envoy.
    pub(crate) fn serve(&mut self, endpoints: &[Rc<Endpoint>]) {
        let before = std::mem::replace(&mut self.way, Way::new(self.method, endpoints));
        if let (Way::RoundRobin { next }, Way::RoundRobin { next: before }) = (&mut self.way, before) {
            *next = before;
        }
    }

    /// Whether a hash decides.
    pub(crate) fn is_hashed(&self) -> bool {
        matches!(self.way, Way::Hashed(_))
    }

    /// The place of the chosen endpoint; `None` if there is none to choose. `hash` decides where a hash does; `again` counts how
    /// often the choice has been made before for one attempt.
    pub(crate) fn choose(
        &mut self,
        endpoints: &[Rc<Endpoint>],
        hash: u64,
        again: u32,
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
            Way::Weighted { schedule, by_load } => schedule.next(endpoints, *by_load, draws),
            Way::Hashed(table) => table.choose(hash, again),
        }
    }
}

impl Way {
    fn new(method: LoadBalancing, endpoints: &[Rc<Endpoint>]) -> Self {
        let unequal = endpoints.windows(2).any(|pair| matches!(pair, [a, b] if a.weight() != b.weight()));
        match method {
            LoadBalancing::LeastRequest if unequal => Self::Weighted { schedule: Schedule::default(), by_load: true },
            LoadBalancing::RoundRobin if unequal => Self::Weighted { schedule: Schedule::default(), by_load: false },
            LoadBalancing::LeastRequest => Self::LeastRequest,
            LoadBalancing::RoundRobin => Self::RoundRobin { next: None },
            LoadBalancing::Random => Self::Random,
            LoadBalancing::RingHash { size_min } => Self::Hashed(HashTable::ring(endpoints, size_min)),
            LoadBalancing::Maglev { table_size } => Self::Hashed(HashTable::maglev(endpoints, table_size)),
        }
    }
}

/// One round of an endpoint of weight 1, in the schedule's own time. The draw of a first deadline fills it exactly.
const ROUND: u128 = 1 << 64;

/// Earliest deadline first: each choice takes the endpoint whose deadline is next and sets it back by `1 / weight`
/// rounds, so that over time each is chosen in proportion to its weight, and evenly spaced.
///
/// Each starts somewhere in its first round at random, so that the workers and the proxies of a fleet do not all begin
/// with the heaviest. (Envoy instead skips a random number of choices; the proportions are the same.)
#[derive(Debug, Default)]
pub(crate) struct Schedule {
    /// Deadline, then the order of insertion, then the place.
    queue: BinaryHeap<Reverse<(u128, u64, usize)>>,
    inserted: u64,
}

impl Schedule {
    fn next(&mut self, endpoints: &[Rc<Endpoint>], by_load: bool, draws: &mut dyn Draws) -> Option<usize> {
        if self.queue.is_empty() {
            for (place, endpoint) in endpoints.iter().enumerate() {
                self.insert(u128::from(draws.next_u64()) / u128::from(endpoint.weight()), place);
            }
        }
        let Reverse((deadline, _, place)) = self.queue.pop()?;
        let endpoint = endpoints.get(place)?;
        let load = if by_load { u128::from(endpoint.active()) + 1 } else { 1 };
        self.insert(deadline.saturating_add(load * ROUND / u128::from(endpoint.weight())), place);
        Some(place)
    }

    fn insert(&mut self, deadline: u128, place: usize) {
        self.queue.push(Reverse((deadline, self.inserted, place)));
        self.inserted = self.inserted.wrapping_add(1);
    }
}
