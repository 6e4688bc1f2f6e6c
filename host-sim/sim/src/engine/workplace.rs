//! Endpoints that work on so much at a time: who is at work, and who waits for his turn.
//!
//! An attempt that its proxy has given up stays in the queue, and is worked on when its turn comes: the service has no way
//! of knowing. That is how overload feeds itself.

use std::collections::VecDeque;

use crate::behaviour::Workplace;
use crate::engine::slab::Key;

/// All endpoints with limits, by their number.
#[derive(Debug, Default)]
pub(super) struct Workplaces {
    places: Vec<State>,
}

#[derive(Debug, Default)]
struct State {
    at_work: u32,
    waiting: VecDeque<Key>,
}

/// What becomes of an attempt that arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// It is worked on.
    Now,
    /// It waits.
    Later,
    /// There is no room left.
    Never,
}

impl Workplaces {
    /// An attempt arrives, on which `task` is to work.
    pub(super) fn enter(&mut self, workplace: &Workplace, task: Key) -> Turn {
        let Workplace { number, concurrency, queue, .. } = workplace;
        if self.places.len() <= *number {
            self.places.resize_with(number.saturating_add(1), State::default);
        }
        let Some(state) = self.places.get_mut(*number) else { return Turn::Never };
        if state.at_work < *concurrency {
            state.at_work += 1;
            Turn::Now
        } else if state.waiting.len() < usize::try_from(*queue).unwrap_or(usize::MAX) {
            state.waiting.push_back(task);
            Turn::Later
        } else {
            Turn::Never
        }
    }

    /// Work is done; gives the task whose turn it is now.
    pub(super) fn leave(&mut self, workplace: &Workplace) -> Option<Key> {
        let state = self.places.get_mut(workplace.number)?;
        let next = state.waiting.pop_front();
        if next.is_none() {
            state.at_work = state.at_work.saturating_sub(1);
        }
        next
    }

    /// Forgets who is there.
    pub(super) fn clear(&mut self) {
        self.places.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::behaviour::Answer;
    use crate::engine::slab::Slab;
    use std::rc::Rc;

    #[test]
    fn turns_come_in_order_and_the_queue_has_an_end() {
        let refusal = Rc::new(Answer::new(503, [("", ""); 0], ""));
        let place = Workplace { number: 3, concurrency: 2, queue: 1, refusal };
        let mut slab = Slab::default();
        let tasks: Vec<Key> = (0..4).map(|number| slab.insert(number)).collect();
        let mut places = Workplaces::default();
        let turns: Vec<Turn> = tasks.iter().map(|task| places.enter(&place, *task)).collect();
        assert_eq!(turns, [Turn::Now, Turn::Now, Turn::Later, Turn::Never]);
        assert_eq!(places.leave(&place), Some(tasks[2]));
        assert_eq!((places.leave(&place), places.leave(&place)), (None, None));
        assert_eq!(places.enter(&place, tasks[0]), Turn::Now);
    }
}
