//! What is still to happen, by (time, order of planning): two things at the same moment happen as they were planned, so a
//! run repeats itself.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use upstream::Timestamp;

use crate::engine::slab::Key;

/// Something that will happen. All but [`What::Outside`] may have become stale when their time comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum What {
    /// Not the engine's business: handed to whoever planned it.
    Outside(u64),
    /// The upstream of this job's attempt acts.
    Finished {
        /// The job.
        job: Key,
        /// Of the attempt; another one may be under way by then.
        serial: u64,
    },
    /// The exchange of this job wants to be woken.
    Wake(Key),
    /// The body of the answer to this flight has come.
    Body(Key),
    /// The injected delay of this flight is over.
    SetOut(Key),
    /// The client of this flight loses patience.
    GiveUp(Key),
    /// A call of this task is over, and it may go on.
    GoOn(Key),
    /// The own time of this task is over.
    Done(Key),
    /// The guest has held this flight for very long.
    Idle {
        /// The flight.
        flight: Key,
        /// Which holding it was.
        hold: u32,
    },
}

/// The future.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    heap: BinaryHeap<Reverse<(u64, u64, What)>>,
    planned: u64,
}

impl Queue {
    /// Plans something.
    pub(crate) fn push(&mut self, at: Timestamp, what: What) {
        self.heap.push(Reverse((at.as_nanos(), self.planned, what)));
        self.planned = self.planned.wrapping_add(1);
    }

    /// What comes next.
    pub(crate) fn peek(&self) -> Option<(Timestamp, What)> {
        self.heap.peek().map(|Reverse((at, _, what))| (Timestamp::from_nanos(*at), *what))
    }

    /// Forgets what comes next.
    pub(crate) fn pop(&mut self) {
        self.heap.pop();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_first_then_order_of_planning() {
        let mut queue = Queue::default();
        for (at, name) in [(5, 1), (3, 2), (5, 3), (3, 4)] {
            queue.push(Timestamp::from_nanos(at), What::Outside(name));
        }
        let mut order = Vec::new();
        while let Some((_, What::Outside(name))) = queue.peek() {
            order.push(name);
            queue.pop();
        }
        assert_eq!(order, [2, 4, 1, 3]);
    }
}
