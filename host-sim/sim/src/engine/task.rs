//! A service at work on one attempt: it makes its calls, each a request like any client's, takes its own time, and then
//! answers. It does not notice when nobody waits for it any more.

use std::rc::Rc;

use host_abi::HeaderMap;
use upstream::Endpoint;

use crate::behaviour::{Answer, Behaviour, Outcome};
use crate::engine::client::{Caller, Owner};
use crate::engine::exchange::Job;
use crate::engine::observe::{Cause, Ended, Observer, Role};
use crate::engine::queue::What;
use crate::engine::sender::{Sender, Workload};
use crate::engine::slab::Key;
use crate::engine::workplace::Turn;
use crate::engine::{Broken, Engine, Place};
use crate::names;

/// The work on one attempt.
#[derive(Debug)]
pub(crate) struct Task {
    /// Whose attempt it is, and the attempt's number.
    job: Key,
    serial: u64,
    pub(super) endpoint: Rc<Endpoint>,
    /// What the attempt belongs to, and whether it is a copy.
    cause: Cause,
    is_copy: bool,
    /// Through whose proxy the attempt came: endpoints are numbered by it.
    through: Place,
    /// The headers of the attempt that a call takes over.
    head: HeaderMap,
    behaviour: Behaviour,
    /// It waits for its turn.
    queued: bool,
    /// The first of the calls that has not begun.
    next: usize,
    /// Calls that are not over.
    pending: u32,
    under_way: Vec<Key>,
    /// A call has failed, and this is what the service says to it.
    failed: Option<Rc<Answer>>,
}

impl Task {
    pub(super) fn new(job: Key, serial: u64, endpoint: Rc<Endpoint>, of: &Job, behaviour: Behaviour) -> Self {
        let mut head = HeaderMap::new();
        // A version forwards the same headers with each of its calls.
        for name in behaviour.calls.first().iter().flat_map(|call| &*call.forwards) {
            let name = name.to_ascii_lowercase();
            of.head.get_all(&name).for_each(|value| head.append(&name, value));
        }
        Self {
            job,
            serial,
            endpoint,
            cause: of.cause,
            is_copy: of.role() == Role::Shadow,
            through: of.sender,
            head,
            behaviour,
            queued: false,
            next: 0,
            pending: 0,
            under_way: Vec::new(),
            failed: None,
        }
    }

    /// It waits for others, which are looked at by themselves, or never answers.
    pub(super) fn may_hang(&self) -> bool {
        self.queued || self.pending > 0 || matches!(self.behaviour.outcome, Outcome::NeverAnswers)
    }
}

impl Engine {
    /// An attempt has arrived: work begins, now or when there is room.
    pub(super) fn take_up(&mut self, key: Key) {
        let Some(task) = self.tasks.get_mut(key) else { return };
        let turn = task.behaviour.workplace.as_ref().map_or(Turn::Now, |place| self.workplaces.enter(place, key));
        match turn {
            Turn::Now => self.queue.push(self.now, What::GoOn(key)),
            Turn::Later => task.queued = true,
            Turn::Never => {
                task.failed = task.behaviour.workplace.take().map(|place| place.refusal);
                self.queue.push(self.now, What::GoOn(key));
            }
        }
    }

    /// The next calls begin, or the service's own time does, or it fails.
    pub(super) fn go_on(&mut self, key: Key, observer: &mut impl Observer) {
        let Some(task) = self.tasks.get_mut(key) else { return };
        if let Some(answer) = task.failed.take() {
            let under_way = std::mem::take(&mut task.under_way);
            let sender = self.callers.get(&(task.through, task.endpoint.id())).copied();
            under_way.into_iter().for_each(|flight| self.end(flight, Ended::GaveUp, observer));
            if let Some(sender) = sender {
                self.settle(sender, observer);
            }
            return self.done(key, Some(Outcome::Answer(answer)), observer);
        }
        if task.pending > 0 {
            return;
        }
        if task.next < task.behaviour.calls.len() {
            return self.call(key, observer);
        }
        self.queue.push(self.now.after(task.behaviour.after), What::Done(key));
    }

    /// The next call begins, and those that go with it.
    fn call(&mut self, key: Key, observer: &mut impl Observer) {
        let Some(sender) = self.caller_of(key) else { return };
        let mut is_first = true;
        while let Some(task) = self.tasks.get_mut(key) {
            let place = task.next;
            let Some(call) = task.behaviour.calls.get(place).filter(|call| is_first || call.alongside) else { break };
            let request = Rc::clone(&call.request);
            if is_first {
                task.under_way.clear();
            }
            is_first = false;
            task.next += 1;
            task.pending += 1;
            self.calls += 1;
            let Cause { request: number, call: _, by_copy, depth } = task.cause;
            let (by_copy, depth) = (by_copy || task.is_copy, depth.saturating_add(1));
            let cause = Cause { request: number, call: self.calls, by_copy, depth };
            if depth > self.depth_max {
                self.broken.get_or_insert(Broken::Circle(cause));
                return;
            }
            let taken_over = std::mem::take(&mut task.head);
            let owner = Owner::Service { task: key, call: place };
            let caller = Caller { headers: Some(&taken_over), ..Caller::NEIGHBOUR };
            let begun = self.set_off(sender, owner, cause, &request, caller, observer);
            if let Some(task) = self.tasks.get_mut(key) {
                task.head = taken_over;
                task.under_way.extend(begun);
            }
        }
        self.settle(sender, observer);
    }

    /// One of its calls is over.
    pub(super) fn returned(&mut self, key: Key, call: usize, succeeded: bool) {
        let Some(task) = self.tasks.get_mut(key) else { return };
        task.pending = task.pending.saturating_sub(1);
        if !succeeded && let Some(call) = task.behaviour.calls.get(call) {
            task.failed = task.failed.take().or_else(|| call.otherwise.clone());
        }
        if task.pending == 0 || task.failed.is_some() {
            self.queue.push(self.now, What::GoOn(key));
        }
    }

    /// The work is over; it ends as it was to end, or otherwise.
    pub(super) fn done(&mut self, key: Key, otherwise: Option<Outcome>, observer: &mut impl Observer) {
        let Some(task) = self.tasks.get(key) else { return };
        let outcome = otherwise.unwrap_or_else(|| task.behaviour.outcome.clone());
        if matches!(outcome, Outcome::NeverAnswers) {
            return;
        }
        let Some(Task { job, serial, through, behaviour, .. }) = self.tasks.remove(key) else { return };
        let next = behaviour.workplace.and_then(|place| self.workplaces.leave(&place));
        if let Some(next) = next {
            if let Some(task) = self.tasks.get_mut(next) {
                task.queued = false;
            }
            self.queue.push(self.now, What::GoOn(next));
        }
        self.conclude(job, serial, outcome, observer);
        self.settle(through, observer);
    }

    /// The proxy of the endpoint that is at work; it is started when it is first needed.
    pub(super) fn caller_of(&mut self, key: Key) -> Option<Place> {
        let task = self.tasks.get(key)?;
        let (number, endpoint) = ((task.through, task.endpoint.id()), &task.endpoint);
        if let Some(place) = self.callers.get(&number) {
            return Some(*place);
        }
        // The same endpoint may belong to several clusters, and is known to several proxies.
        let name = format!("{} {}:{}", names::host(endpoint), endpoint.address(), endpoint.port());
        let place = match self.senders.iter().position(|sender| sender.name == name) {
            Some(place) => place,
            None => {
                let namespace = names::namespace(names::host(endpoint)).to_owned();
                let workload = Workload { namespace, labels: endpoint.labels().clone() };
                match Sender::start(&self.module, &self.rules, workload, &self.clock, self.seed, &name) {
                    Ok(sender) => self.senders.push(sender),
                    Err(error) => {
                        self.broken.get_or_insert(Broken::Start(error));
                        return None;
                    }
                }
                self.senders.len().saturating_sub(1)
            }
        };
        self.callers.insert(number, place);
        Some(place)
    }
}
