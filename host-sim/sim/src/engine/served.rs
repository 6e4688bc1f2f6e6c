//! Jobs that waited for a connection and have got one, in that order.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Wake, Waker};

use crate::engine::slab::Key;

/// The list. A waker must be able to travel between threads, hence the lock; nobody ever waits for it.
#[derive(Clone, Debug, Default)]
pub(super) struct Served(Arc<Mutex<VecDeque<Key>>>);

struct Entry {
    job: Key,
    list: Served,
}

impl Wake for Entry {
    fn wake(self: Arc<Self>) {
        self.list.0.lock().unwrap_or_else(PoisonError::into_inner).push_back(self.job);
    }
}

impl Served {
    /// Puts the job on the list once it is called.
    pub(super) fn waker(&self, job: Key) -> Waker {
        Waker::from(Arc::new(Entry { job, list: self.clone() }))
    }

    /// The first of them, which then is no longer on the list.
    pub(super) fn next(&self) -> Option<Key> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }
}
