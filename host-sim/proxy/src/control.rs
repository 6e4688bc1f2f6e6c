//! Orders to workers. They come by message and are answered by a call, so that a worker never waits for anyone.

use crate::settings::Deployment;
use crate::stats::Snapshot;
use crate::tls::Contexts;
use envoy_plan::Plan;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// Takes an answer, in the worker's thread.
pub(crate) type Reply<T> = Box<dyn FnOnce(T) + Send>;

/// What a worker can be told.
pub(crate) enum Order {
    /// Serve this; the answer is why not.
    Deploy(Deployment, Contexts, Reply<Result<(), String>>),
    /// Serve this plan, which is the last one's with other addresses.
    Resolve(Arc<Plan>),
    /// Tell what was counted.
    Count(Reply<Snapshot>),
    /// Finish what is under way, within this time, and stop.
    Drain(Duration),
}

/// The way to all workers.
#[derive(Clone, Default)]
pub(crate) struct Workers {
    pub(crate) orders: Vec<UnboundedSender<Order>>,
    draining: Arc<AtomicBool>,
}

impl Workers {
    /// Tells them to finish. Those that have stopped do not hear it.
    pub(crate) fn drain(&self, grace: Duration) {
        self.draining.store(true, Ordering::Relaxed);
        for worker in &self.orders {
            let _ = worker.send(Order::Drain(grace));
        }
    }

    /// Gives them other addresses. Those that have stopped do not hear it.
    pub(crate) fn resolve(&self, plan: &Arc<Plan>) {
        for worker in &self.orders {
            let _ = worker.send(Order::Resolve(Arc::clone(plan)));
        }
    }

    /// Whether requests are taken.
    pub(crate) fn are_serving(&self) -> bool {
        !self.draining.load(Ordering::Relaxed) && self.orders.iter().any(|orders| !orders.is_closed())
    }

    /// Asks each that is alive for its counts.
    pub(crate) fn count(&self) -> UnboundedReceiver<Snapshot> {
        let (sender, receiver) = unbounded_channel();
        for worker in &self.orders {
            let sender = sender.clone();
            let _ = worker.send(Order::Count(Box::new(move |snapshot| {
                // Whoever asked may have gone.
                let _ = sender.send(snapshot);
            })));
        }
        receiver
    }
}
