//! Calls to plugin contexts: ticks, callout answers, queues, and the farewell of a context that was replaced.

use crate::callout::{BROKEN, CalloutAnswer};
use crate::host::Host;
use crate::state::Active;
use crate::vm::Vm;

impl<H: Host> Vm<H> {
    /// When [`Vm::tick`] should next be called, in monotonic nanoseconds of the host's clock; in the past when a queue
    /// waits. `None`: nothing is due.
    pub fn tick_due(&self) -> Option<u64> {
        let state = self.state();
        match (self.health.is_dead(), state.queued) {
            (true, _) => None,
            (false, true) => Some(0),
            (false, false) => state.roots.tick_due_ns(),
        }
    }

    /// Makes the ticks that are due by the host's clock, each plugin context at most once, and delivers queued items.
    /// A period counts from the end of the tick before, as in Envoy.
    pub fn tick(&mut self) {
        self.poll_queues();
        let now = self.state().host.monotonic_ns();
        while !self.health.is_dead() {
            let Some(root) = self.state_mut().roots.take_due(now) else { break };
            if self.call(Active::Root(root), |exports| &exports.tick, root, ()).is_ok() {
                let after = self.state().host.monotonic_ns().max(now);
                // Later than `now`, so that one call makes each tick once.
                self.state_mut().roots.rearm(root, after);
            }
            self.settle(None);
        }
    }

    /// Calls `on_queue_ready` once for each new item of queues that this VM listens to. Another VM may have put them
    /// there, so call it now and then when VMs share data; [`Vm::tick`] does too.
    pub fn poll_queues(&mut self) {
        let state = self.state_mut();
        state.queued = false;
        // Counted first: an item that the guest puts in meanwhile waits for the next call, or this might never end.
        for _ in 0..state.plugin.shared.unheard(state.vm) {
            let state = self.state();
            let Some((root, queue)) = state.plugin.shared.next_ready(state.vm) else { return };
            if state.roots.contains(root) && !self.health.is_dead() {
                let _ = self.call(Active::Root(root), |exports| &exports.queue_ready, (root, queue), ());
            }
            self.settle(None);
        }
    }

    /// A callout has come to its end. Late and unknown tokens find nobody: harmless. Whether the guest was told.
    pub fn callout_answered(&mut self, token: u32, answer: CalloutAnswer) -> bool {
        let dead = self.health.is_dead();
        let state = self.state_mut();
        let Some(root) = state.calls.remove(&token) else { return false };
        if dead || !state.roots.contains(root) {
            return false;
        }
        let counts = (answer.headers.len() as u32, answer.body.len() as u32, answer.trailers.len() as u32);
        if answer.failed {
            state.status = BROKEN;
        } else {
            state.answer = Some(answer);
        }
        let params = (root, token, counts.0, counts.1, counts.2);
        let _ = self.call(Active::Root(root), |exports| &exports.http_call_response, params, ());
        let state = self.state_mut();
        state.answer = None;
        state.status.1 = "";
        self.settle(None);
        true
    }

    /// Asks replaced plugin contexts without streams to go.
    pub(crate) fn retire_roots(&mut self) {
        while !self.health.is_dead() {
            let Some(id) = self.state().roots.next_to_go() else { return };
            // Counted as pending first: the guest may call `proxy_done` from here.
            if let Some(root) = self.state_mut().roots.get_mut(id) {
                root.done_pending = true;
            }
            if let Ok(1..) = self.call(Active::Root(id), |exports| &exports.done, id, 1) {
                self.delete_root(id);
            }
            self.settle(None);
        }
    }

    /// Takes a plugin context away: `on_delete`, and nobody waits for its callouts any more.
    pub(crate) fn delete_root(&mut self, id: u32) {
        let state = self.state_mut();
        if !state.roots.contains(id) {
            return;
        }
        let tokens: Vec<u32> = state.calls.iter().filter(|(_, root)| **root == id).map(|(token, _)| *token).collect();
        for token in tokens {
            state.calls.remove(&token);
            state.host.cancel(token);
        }
        if !self.health.is_dead() {
            let _ = self.call(Active::Root(id), |exports| &exports.delete, id, ());
        }
        self.state_mut().roots.remove(id);
    }
}
