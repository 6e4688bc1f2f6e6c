//! The filter of a worker, and everything that follows a call into it: wakeups reach the streams they concern, HTTP calls
//! set out, the timer of ticks is set.

use crate::callouts;
use crate::worker::Outside;
use crate::world::{Line, World};
use host_abi::{ConfigureError, Metric, StreamId, Vm};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use tokio::sync::Notify;
use upstream::Timestamp;

/// The filter. Nothing waits while it is borrowed.
pub(crate) struct Guest {
    vm: RefCell<Vm<World>>,
    outside: Rc<Outside>,
    /// When the next tick is due, by the worker's clock.
    tick_due: Cell<Option<u64>>,
    tick_changed: Notify,
}

impl Guest {
    pub(crate) fn new(vm: Vm<World>, outside: Rc<Outside>) -> Rc<Self> {
        let (tick_due, tick_changed) = (Cell::new(None), Notify::new());
        Rc::new(Guest { vm: RefCell::new(vm), outside, tick_due, tick_changed })
    }

    /// Calls into the filter, and sees to what it caused.
    pub(crate) fn with<R>(self: &Rc<Self>, work: impl FnOnce(&mut Vm<World>) -> R) -> R {
        let mut vm = self.vm.borrow_mut();
        let result = work(&mut vm);
        while let Some(wakeup) = vm.next_wakeup() {
            if let Some(line) = vm.host().lines.get(&wakeup.stream.context_id()) {
                line.wakeups.borrow_mut().push_back(wakeup.what);
                if let Some(waker) = line.waker.take() {
                    waker.wake();
                }
            }
        }
        let due = vm.tick_due();
        if due != self.tick_due.replace(due) {
            self.tick_changed.notify_one();
        }
        if !vm.host().calls.is_empty() {
            let calls = std::mem::take(&mut vm.host_mut().calls);
            drop(vm);
            for call in calls {
                tokio::task::spawn_local(callouts::make(Rc::clone(self), Rc::clone(&self.outside), call));
            }
        }
        result
    }

    /// A new stream, with the line on which its wakeups come.
    pub(crate) fn open(self: &Rc<Self>, line: Rc<Line>) -> StreamId {
        self.with(|vm| {
            let stream = vm.open_stream();
            vm.host_mut().lines.insert(stream.context_id(), line);
            stream
        })
    }

    /// The stream is over.
    pub(crate) fn close(self: &Rc<Self>, stream: StreamId) {
        self.with(|vm| {
            vm.close_stream(stream);
            vm.host_mut().lines.remove(&stream.context_id());
        });
    }

    /// Body bytes that the filter holds of a stream: (request, response).
    pub(crate) fn held_bytes(&self, stream: StreamId) -> (usize, usize) {
        self.vm.borrow().held_bytes(stream)
    }

    /// The filter's own metrics.
    pub(crate) fn metrics(&self) -> Vec<(String, Metric)> {
        let vm = self.vm.borrow();
        vm.host().metrics.iter().map(|(name, metric)| (name.to_owned(), metric.clone())).collect()
    }

    /// How many streams are open.
    pub(crate) fn open_streams(&self) -> usize {
        self.vm.borrow().open_streams()
    }

    /// Takes another configuration; see [`Vm::configure`].
    pub(crate) fn configure(self: &Rc<Self>, configuration: &[u8]) -> Result<(), ConfigureError> {
        self.with(|vm| {
            vm.host_mut().configuring = true;
            let result = vm.configure(configuration);
            vm.host_mut().configuring = false;
            result
        })
    }

    /// Ticks, for ever.
    pub(crate) async fn tick(self: Rc<Self>) {
        loop {
            let changed = self.tick_changed.notified();
            match self.tick_due.get() {
                None => changed.await,
                Some(due) => {
                    let at = self.outside.clock.instant(Timestamp::from_nanos(due));
                    if tokio::time::timeout_at(at, changed).await.is_err() {
                        self.with(|vm| vm.tick());
                    }
                }
            }
        }
    }
}
