//! Plugin contexts: one per configuration. After an update the old one stays until its last stream is gone.

/// One plugin context.
#[derive(Debug)]
pub(crate) struct Root {
    pub(crate) id: u32,
    /// Open streams.
    pub(crate) streams: usize,
    /// 0 is off.
    pub(crate) tick_period_ns: u64,
    /// Monotonic time of the next tick.
    pub(crate) tick_due_ns: Option<u64>,
    /// Replaced by a newer one.
    pub(crate) retiring: bool,
    /// `on_done` has said false; `proxy_done` is awaited.
    pub(crate) done_pending: bool,
}

/// All plugin contexts of a VM, oldest first; the newest that was accepted serves new streams.
#[derive(Debug, Default)]
pub(crate) struct Roots {
    all: Vec<Root>,
}

impl Roots {
    pub(crate) fn add(&mut self, id: u32) {
        self.all.push(Root {
            id,
            streams: 0,
            tick_period_ns: 0,
            tick_due_ns: None,
            retiring: false,
            done_pending: false,
        });
    }

    pub(crate) fn get_mut(&mut self, id: u32) -> Option<&mut Root> {
        self.all.iter_mut().find(|root| root.id == id)
    }

    pub(crate) fn contains(&self, id: u32) -> bool {
        self.all.iter().any(|root| root.id == id)
    }

    pub(crate) fn remove(&mut self, id: u32) {
        self.all.retain(|root| root.id != id);
    }

    pub(crate) fn clear(&mut self) {
        self.all.clear();
    }

    /// Marks all but this one as replaced.
    pub(crate) fn retire_others(&mut self, id: u32) {
        for root in &mut self.all {
            root.retiring |= root.id != id;
        }
    }

    /// A replaced context without streams that has not been asked to go.
    pub(crate) fn next_to_go(&self) -> Option<u32> {
        self.all.iter().find(|root| root.retiring && root.streams == 0 && !root.done_pending).map(|root| root.id)
    }

    /// The earliest tick.
    pub(crate) fn tick_due_ns(&self) -> Option<u64> {
        self.all.iter().filter_map(|root| root.tick_due_ns).min()
    }

    /// Sets the period from now; 0 switches off.
    pub(crate) fn set_tick(&mut self, id: u32, period_ns: u64, now_ns: u64) {
        if let Some(root) = self.get_mut(id) {
            root.tick_period_ns = period_ns;
            root.tick_due_ns = (period_ns > 0).then(|| now_ns.saturating_add(period_ns));
        }
    }

    /// The context whose tick is due the longest; its next tick is put off until [`Roots::rearm`].
    pub(crate) fn take_due(&mut self, now_ns: u64) -> Option<u32> {
        let due = self.all.iter_mut().filter(|root| root.tick_due_ns.is_some_and(|due| due <= now_ns));
        let root = due.min_by_key(|root| root.tick_due_ns)?;
        root.tick_due_ns = None;
        Some(root.id)
    }

    /// After a tick, as Envoy's timer: one period from now, unless the guest has set it anew or off.
    pub(crate) fn rearm(&mut self, id: u32, now_ns: u64) {
        if let Some(root) = self.get_mut(id)
            && root.tick_due_ns.is_none()
            && root.tick_period_ns > 0
        {
            root.tick_due_ns = Some(now_ns.saturating_add(root.tick_period_ns));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_context_ticks_by_its_own_period() {
        let mut roots = Roots::default();
        roots.add(1);
        roots.add(2);
        roots.set_tick(1, 10, 0);
        roots.set_tick(2, 4, 0);
        assert_eq!(roots.tick_due_ns(), Some(4));
        assert_eq!(roots.take_due(3), None);
        assert_eq!(roots.take_due(12), Some(2));
        roots.rearm(2, 12);
        assert_eq!(roots.take_due(12), Some(1));
        assert_eq!(roots.take_due(12), None);
        roots.set_tick(2, 0, 12);
        roots.rearm(1, 12);
        assert_eq!(roots.tick_due_ns(), Some(22));
    }
}
