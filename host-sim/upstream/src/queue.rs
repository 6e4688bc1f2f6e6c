//! Requests that wait for a connection to their endpoint, because the cluster may not have another one. The first that came
//! gets the first connection that becomes free.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::task::Waker;

use crate::load::Slot;
use crate::pool::Endpoint;

/// The queue of an endpoint.
#[derive(Debug, Default)]
pub(crate) struct Queue(RefCell<VecDeque<Rc<Ticket>>>);

/// One place in it.
#[derive(Debug, Default)]
struct Ticket {
    /// Counts as waiting until the connection is there.
    pending: RefCell<Option<Slot>>,
    connection: RefCell<Option<Slot>>,
    waker: RefCell<Option<Waker>>,
}

/// A request that waits. Dropped, it waits no more, and what it was given goes to the next.
#[derive(Debug)]
pub(crate) struct Waiting {
    pub(crate) endpoint: Rc<Endpoint>,
    ticket: Rc<Ticket>,
}

impl Queue {
    /// Gives the connection to whoever has waited longest; without anyone it is nobody's.
    pub(crate) fn hand_over(&self, connection: Slot) {
        let next = loop {
            let Some(next) = self.0.borrow_mut().pop_front() else { return };
            // Held by nobody but the queue: it waits no more.
            if Rc::strong_count(&next) > 1 {
                break next;
            }
        };
        next.pending.take();
        next.connection.replace(Some(connection));
        let waker = next.waker.take();
        waker.into_iter().for_each(Waker::wake);
    }
}

impl Waiting {
    pub(crate) fn new(endpoint: Rc<Endpoint>, pending: Slot) -> Self {
        let ticket = Rc::new(Ticket { pending: RefCell::new(Some(pending)), ..Ticket::default() });
        endpoint.queue.0.borrow_mut().push_back(Rc::clone(&ticket));
        Self { endpoint, ticket }
    }

    /// Whether a connection is there.
    pub(crate) fn is_served(&self) -> bool {
        self.ticket.connection.borrow().is_some()
    }

    /// The connection, once it is there.
    pub(crate) fn take(&self) -> Option<Slot> {
        self.ticket.connection.take()
    }

    /// Whom to wake then.
    pub(crate) fn wake_by(&self, waker: &Waker) {
        self.ticket.waker.replace(Some(waker.clone()));
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if let Some(connection) = self.ticket.connection.take() {
            self.endpoint.queue.hand_over(connection);
        }
    }
}
