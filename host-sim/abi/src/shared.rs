//! Data and queues that VMs share, keyed by `vm_id` alone as in Envoy (an empty id is one namespace for all). It may be
//! used from several threads: the standalone proxy runs one VM in each.

use crate::status::Status;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The shared data of one process. Clones are handles to the same store.
#[derive(Clone, Debug, Default)]
pub struct SharedStore {
    inner: Arc<Mutex<Inner>>,
}

/// Key to value and compare-and-swap number.
type Space = BTreeMap<Vec<u8>, (Vec<u8>, u32)>;

#[derive(Debug, Default)]
struct Inner {
    spaces: BTreeMap<Vec<u8>, Space>,
    last_cas: u32,
    queues: Vec<Queue>,
    next_vm: u64,
}

#[derive(Debug)]
struct Queue {
    vm_id: Vec<u8>,
    name: Vec<u8>,
    items: VecDeque<Vec<u8>>,
    /// Who hears of new items: the last VM and plugin context that registered.
    listener: Option<(u64, u32)>,
    /// Items whose listener has not been called yet.
    unheard: usize,
}

impl SharedStore {
    /// An empty store.
    pub fn new() -> Self {
        SharedStore::default()
    }

    /// A poisoned lock only says that another thread died; every change below is whole before it can.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A number for a new VM, so that queues know whom to wake.
    pub(crate) fn join(&self) -> u64 {
        let mut inner = self.lock();
        inner.next_vm += 1;
        inner.next_vm
    }

    /// Copies the value out and gives its compare-and-swap number, never 0.
    pub(crate) fn get(&self, vm_id: &[u8], key: &[u8]) -> Result<(Vec<u8>, u32), Status> {
        self.lock().spaces.get(vm_id).and_then(|space| space.get(key)).cloned().ok_or(Status::NotFound)
    }

    /// Writes when `cas` is 0, the key is new, or nobody has written since that number was read.
    pub(crate) fn set(&self, vm_id: &[u8], key: &[u8], value: &[u8], cas: u32) -> Result<(), Status> {
        let mut inner = self.lock();
        let next = inner.last_cas.wrapping_add(1).max(1);
        if !inner.spaces.contains_key(vm_id) {
            inner.spaces.insert(vm_id.to_vec(), BTreeMap::new());
        }
        let space = inner.spaces.get_mut(vm_id).ok_or(Status::InternalFailure)?;
        match space.get_mut(key) {
            Some((_, old)) if cas != 0 && cas != *old => return Err(Status::CasMismatch),
            Some(slot) => *slot = (value.to_vec(), next),
            None => {
                space.insert(key.to_vec(), (value.to_vec(), next));
            }
        }
        inner.last_cas = next;
        Ok(())
    }

    /// Makes or finds a queue and makes this plugin context its listener.
    pub(crate) fn register_queue(&self, vm_id: &[u8], name: &[u8], vm: u64, root: u32) -> u32 {
        let mut inner = self.lock();
        let found = inner.queues.iter().position(|queue| queue.vm_id == vm_id && queue.name == name);
        let at = found.unwrap_or(inner.queues.len());
        match inner.queues.get_mut(at) {
            Some(queue) => queue.listener = Some((vm, root)),
            None => inner.queues.push(Queue {
                vm_id: vm_id.to_vec(),
                name: name.to_vec(),
                items: VecDeque::new(),
                listener: Some((vm, root)),
                unheard: 0,
            }),
        }
        at as u32 + 1
    }

    /// The id of a queue another VM may have made.
    pub(crate) fn resolve_queue(&self, vm_id: &[u8], name: &[u8]) -> Result<u32, Status> {
        let inner = self.lock();
        let at = inner.queues.iter().position(|queue| queue.vm_id == vm_id && queue.name == name);
        at.map(|at| at as u32 + 1).ok_or(Status::NotFound)
    }

    /// Puts an item at the end.
    pub(crate) fn enqueue(&self, queue: u32, item: &[u8]) -> Result<(), Status> {
        let mut inner = self.lock();
        let queue = inner.queue(queue)?;
        queue.items.push_back(item.to_vec());
        queue.unheard += 1;
        Ok(())
    }

    /// Takes the first item.
    pub(crate) fn dequeue(&self, queue: u32) -> Result<Vec<u8>, Status> {
        self.lock().queue(queue)?.items.pop_front().ok_or(Status::Empty)
    }

    /// How many items this VM has not heard of.
    pub(crate) fn unheard(&self, vm: u64) -> usize {
        let inner = self.lock();
        let own = inner.queues.iter().filter(|queue| queue.listener.is_some_and(|(listener, _)| listener == vm));
        own.map(|queue| queue.unheard).sum()
    }

    /// One (plugin context, queue) of this VM that has items it has not heard of.
    pub(crate) fn next_ready(&self, vm: u64) -> Option<(u32, u32)> {
        let mut inner = self.lock();
        inner.queues.iter_mut().enumerate().find_map(|(at, queue)| match queue.listener {
            Some((listener, root)) if listener == vm && queue.unheard > 0 => {
                queue.unheard -= 1;
                Some((root, at as u32 + 1))
            }
            _ => None,
        })
    }
}

impl Inner {
    fn queue(&mut self, id: u32) -> Result<&mut Queue, Status> {
        id.checked_sub(1).and_then(|at| self.queues.get_mut(at as usize)).ok_or(Status::NotFound)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stale_number_loses_and_zero_always_writes() {
        let store = SharedStore::new();
        assert_eq!(store.set(b"", b"k", b"1", 77), Ok(()), "any number is right for a new key");
        let (_, cas) = store.get(b"", b"k").unwrap();
        assert_eq!(store.set(b"", b"k", b"2", cas), Ok(()));
        assert_eq!(store.set(b"", b"k", b"3", cas), Err(Status::CasMismatch));
        assert_eq!(store.set(b"", b"k", b"4", 0), Ok(()));
        assert_eq!(store.get(b"", b"k").unwrap().0, b"4");
    }

    #[test]
    fn namespaces_do_not_see_each_other() {
        let store = SharedStore::new();
        store.set(b"a", b"k", b"1", 0).unwrap();
        assert_eq!(store.get(b"b", b"k"), Err(Status::NotFound));
    }

    #[test]
    fn the_last_registered_hears_of_items_once_each() {
        let store = SharedStore::new();
        let queue = store.register_queue(b"", b"q", 1, 1);
        assert_eq!(store.register_queue(b"", b"q", 2, 1), queue);
        assert_eq!(store.resolve_queue(b"", b"q"), Ok(queue));
        store.enqueue(queue, b"x").unwrap();
        assert_eq!(store.next_ready(1), None);
        assert_eq!(store.next_ready(2), Some((1, queue)));
        assert_eq!(store.next_ready(2), None);
        assert_eq!(store.dequeue(queue).unwrap(), b"x");
        assert_eq!(store.dequeue(queue), Err(Status::Empty));
        assert_eq!(store.dequeue(9), Err(Status::NotFound));
    }
}
