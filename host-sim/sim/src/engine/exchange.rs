//! Between filter and upstreams: attempts, copies and calls of the filter, each an exchange that [`upstream`] leads.

use std::rc::Rc;

use bytes::Bytes;
use host_abi::{CalloutAnswer, HeaderMap};
use upstream::request_head::{ATTEMPT_COUNT_HEADER, reaches_upstream};
use upstream::{Ask, Attempt, Begun, Endpoint, Event, Exchange, Failure, Fault, Source, Step, Timestamp};

use crate::behaviour::{Answer, Behaviour, Outcome};
use crate::engine::observe::{AttemptEnd, Cause, Decided, Ended, Observer, Over, Role, Sent};
use crate::engine::queue::What;
use crate::engine::slab::Key;
use crate::engine::task::Task;
use crate::engine::world::Call;
use crate::engine::{Engine, LISTEN, Place};

/// For whom an exchange is led.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum For {
    /// Whoever sent this flight.
    Client(Key),
    /// Nobody.
    Nobody,
    /// The filter, which knows it by this token.
    Filter(u32),
}

/// An exchange with what it is sent.
#[derive(Debug)]
pub(crate) struct Job {
    pub(super) exchange: Exchange,
    purpose: For,
    pub(super) cause: Cause,
    /// Whose proxy leads it.
    pub(super) sender: Place,
    pub(super) head: HeaderMap,
    body: Bytes,
    under_way: Option<UnderWay>,
    /// The moment of the one wake-up that counts.
    armed: Option<Timestamp>,
}

/// An attempt on its way.
#[derive(Debug)]
struct UnderWay {
    serial: u64,
    endpoint: Rc<Endpoint>,
    sent: Timestamp,
    doing: Doing,
}

/// What the upstream does with an attempt.
#[derive(Debug)]
enum Doing {
    /// This, when its time has come.
    Ends(Outcome),
    /// Something longer; a task knows.
    Task,
}

impl Job {
    pub(super) fn waits_for(&self, serial: u64) -> bool {
        self.under_way.as_ref().is_some_and(|under_way| under_way.serial == serial)
    }

    pub(super) fn is_armed(&self, at: Timestamp) -> bool {
        self.armed == Some(at)
    }

    /// Its upstream never answers, and nothing limits the time.
    pub(super) fn may_hang(&self) -> bool {
        // A task that comes to no end is looked at by itself.
        let never = |way: &UnderWay| matches!(way.doing, Doing::Ends(Outcome::NeverAnswers) | Doing::Task);
        self.under_way.as_ref().is_some_and(never) && self.exchange.wake_at().is_none()
    }

    fn over<'a>(&self, way: &'a UnderWay, end: AttemptEnd, now: Timestamp) -> Over<'a> {
        let UnderWay { serial, endpoint, sent, doing: _ } = way;
        let (cause, sender, role, took) = (self.cause, self.sender, self.role(), now.since(*sent));
        Over { cause, sender, serial: *serial, role, endpoint, took, at: now, end }
    }

    pub(super) fn role(&self) -> Role {
        match self.purpose {
            For::Client(_) => Role::Primary,
            For::Nobody => Role::Shadow,
            For::Filter(_) => Role::Callout,
        }
    }
}

impl Engine {
    /// The filter has let a request go. It sets out, now or after an injected delay, or is aborted.
    pub(super) fn forward(&mut self, flight: Key, observer: &mut impl Observer) {
        let Some(request) = self.flights.get(flight) else { return };
        let sender = self.senders.get(request.sender);
        let Some(released) = sender.and_then(|sender| sender.vm.request(request.stream)) else { return };
        observer.decided(&Decided { cause: request.cause, headers: released, at: self.now });
        match Fault::read(released.iter()).delay {
            Some(delay) => self.queue.push(self.now.after(delay), What::SetOut(flight)),
            None => self.set_out(flight, observer),
        }
    }

    /// A request's first attempt and its copies start.
    pub(super) fn set_out(&mut self, flight: Key, observer: &mut impl Observer) {
        let mut head = self.spare_map();
        let Some(request) = self.flights.get_mut(flight) else { return };
        let (cause, place) = (request.cause, request.sender);
        let Some(sender) = self.senders.get_mut(place) else { return };
        let Some(released) = sender.vm.request(request.stream) else { return };
        self.check.forwarded(cause, released, sender.upstreams.plan());
        if let Some(reply) = Fault::read(released.iter()).abort {
            return self.reply(flight, &reply, observer);
        }
        let source = Source {
            headers: &|visit| released.iter().for_each(|(name, value)| visit(name, value)),
            client: request.client,
            remote: request.remote,
            local: LISTEN,
        };
        let ask = Ask { source: Some(&source), ..Ask::read(released.iter(), request.whole) };
        let begun = match sender.upstreams.begin(&ask, self.now, &mut sender.balancing) {
            Ok(begun) => begun,
            Err(reply) => {
                let plan = sender.upstreams.plan();
                request.cluster = ask.cluster.map(|name| plan.chosen(&String::from_utf8_lossy(name)).to_owned());
                return self.reply(flight, &reply, observer);
            }
        };
        let Begun { exchange, step, shadows } = begun;
        head.extend(released.iter().filter(|(name, _)| reaches_upstream(name)));
        let body = request.body.clone();
        let mut copies = Vec::with_capacity(shadows.len());
        for shadow in shadows {
            let job = Job {
                exchange: shadow.exchange,
                purpose: For::Nobody,
                cause,
                sender: place,
                head: head.clone(),
                body: body.clone(),
                under_way: None,
                armed: None,
            };
            copies.push((self.jobs.insert(job), shadow.step));
        }
        let purpose = For::Client(flight);
        let job = Job { exchange, purpose, cause, sender: place, head, body, under_way: None, armed: None };
        let primary = self.jobs.insert(job);
        request.primary = Some(primary);
        self.step(primary, step, None, observer);
        for (key, step) in copies {
            self.step(key, step, None, observer);
        }
    }

    /// The filter has let go of the end of the request.
    pub(super) fn received(&mut self, flight: Key, observer: &mut impl Observer) {
        let Some(flight) = self.flights.get(flight) else { return };
        let (cause, body, now) = (flight.cause, flight.body.clone(), self.now);
        let led: Vec<Key> = self
            .jobs
            .iter()
            .filter(|(_, job)| job.cause == cause && job.role() != Role::Callout)
            .map(|(key, _)| key)
            .collect();
        for key in led {
            let Some(job) = self.jobs.get_mut(key) else { continue };
            let Some(sender) = self.senders.get_mut(job.sender) else { continue };
            job.body = body.clone();
            let step = job.exchange.on(Event::Received, now, &mut sender.balancing);
            self.step(key, step, None, observer);
        }
    }

    /// The filter calls somebody.
    pub(super) fn call_out(&mut self, place: Place, call: Call, observer: &mut impl Observer) {
        let Call { token, cluster, headers, body, timeout } = call;
        let timeout = timeout.map(|timeout| timeout.as_millis().max(1).to_string());
        let ask = Ask {
            cluster: Some(cluster.as_bytes()),
            timeout_ms: timeout.as_ref().map(String::as_bytes),
            max_retries: Some(b"0"),
            hash_key: headers.get(":authority"),
            whole: true,
            ..Ask::default()
        };
        let Some(sender) = self.senders.get_mut(place) else { return };
        match sender.upstreams.begin(&ask, self.now, &mut sender.balancing) {
            Ok(Begun { exchange, step, shadows: _ }) => {
                let purpose = For::Filter(token);
                let (cause, head) = (Cause::CALLOUT, headers);
                let job = Job { exchange, purpose, cause, sender: place, head, body, under_way: None, armed: None };
                let key = self.jobs.insert(job);
                self.step(key, step, None, observer);
            }
            Err(reply) => self.callout_answered(place, token, refused(&reply)),
        }
    }

    fn callout_answered(&mut self, sender: Place, token: u32, answer: CalloutAnswer) {
        if let Some(sender) = self.senders.get_mut(sender) {
            sender.vm.callout_answered(token, answer);
        }
    }

    /// Starts an attempt.
    fn send(&mut self, key: Key, attempt: Attempt, observer: &mut impl Observer) {
        let Some(job) = self.jobs.get_mut(key) else { return };
        let Attempt { number, endpoint } = attempt;
        if job.role() != Role::Callout {
            job.head.set(ATTEMPT_COUNT_HEADER, number.to_string());
        }
        for (name, value) in job.exchange.told(self.now) {
            job.head.set(name, value);
        }
        if let For::Client(flight) = job.purpose
            && let Some(stream) = self.flights.get(flight).map(|flight| flight.stream)
            && let Some(sender) = self.senders.get_mut(job.sender)
            && let Some(connection) = sender.vm.host_mut().connections.get_mut(&stream)
        {
            connection.attempts = number;
        }
        self.serial += 1;
        let (serial, role) = (self.serial, job.role());
        self.check.sent(job.cause, serial, role, &job.head);
        let behaviour = observer.behave(&Sent {
            cause: job.cause,
            sender: job.sender,
            serial,
            role,
            number,
            endpoint: &endpoint,
            headers: &job.head,
            body: &job.body,
            at: self.now,
        });
        let connects = !matches!(behaviour.outcome, Outcome::Refused | Outcome::Unresolved);
        if connects && let Some(sender) = self.senders.get_mut(job.sender) {
            // Changes nothing but the limits that hold from now on.
            let _ = job.exchange.on(Event::Connected, self.now, &mut sender.balancing);
        }
        let sent = self.now;
        if connects && (behaviour.workplace.is_some() || !behaviour.calls.is_empty()) {
            // Only who calls others has something to hand on.
            let kept = self.rules.inbound.is_some() && !behaviour.calls.is_empty();
            let head = kept.then(|| job.head.clone());
            let task = self.tasks.insert(Task::new(key, serial, Rc::clone(&endpoint), job, behaviour));
            job.under_way = Some(UnderWay { serial, endpoint, sent, doing: Doing::Task });
            if let Some(head) = head
                && let Some(sender) = self.caller_of(task).and_then(|place| self.senders.get_mut(place))
            {
                sender.comes_in(head);
            }
            self.take_up(task);
        } else {
            let Behaviour { after, outcome, .. } = behaviour;
            if !matches!(outcome, Outcome::NeverAnswers) {
                self.queue.push(self.now.after(after), What::Finished { job: key, serial });
            }
            job.under_way = Some(UnderWay { serial, endpoint, sent, doing: Doing::Ends(outcome) });
        }
        self.arm(key);
    }

    /// A task has come to its end; its attempt ends so, if anyone still waits for it.
    pub(super) fn conclude(&mut self, key: Key, serial: u64, outcome: Outcome, observer: &mut impl Observer) {
        let Some(job) = self.jobs.get_mut(key).filter(|job| job.waits_for(serial)) else { return };
        if let Some(way) = &mut job.under_way {
            way.doing = Doing::Ends(outcome);
        }
        self.finished(key, observer);
    }

    /// Makes sure that the exchange is woken in time.
    fn arm(&mut self, key: Key) {
        let Some(job) = self.jobs.get_mut(key) else { return };
        if let Some(at) = job.exchange.wake_at()
            && job.armed.is_none_or(|armed| at < armed)
        {
            job.armed = Some(at);
            self.queue.push(at, What::Wake(key));
        }
    }

    /// The upstream acts.
    pub(super) fn finished(&mut self, key: Key, observer: &mut impl Observer) {
        let Some(job) = self.jobs.get_mut(key) else { return };
        let Some(UnderWay { serial, endpoint, sent, doing: Doing::Ends(outcome) }) = job.under_way.take() else {
            return;
        };
        let Some(sender) = self.senders.get_mut(job.sender) else { return };
        let (now, draws) = (self.now, &mut sender.balancing);
        let (end, step, answer) = match outcome {
            Outcome::Answer(answer) => {
                let header = |name: &str| answer.head.get(name);
                let told = upstream::Answer { status: answer.status, header: &header };
                let step = job.exchange.on(Event::Answered(told), now, draws);
                (AttemptEnd::Answered(answer.status), step, Some((answer, serial)))
            }
            Outcome::ConnectionClosed => {
                let failure = Failure::Disconnected { before_request: false };
                (AttemptEnd::ConnectionClosed, job.exchange.on(Event::Failed(failure), now, draws), None)
            }
            Outcome::Refused => {
                (AttemptEnd::Refused, job.exchange.on(Event::Failed(Failure::Connect), now, draws), None)
            }
            Outcome::Unresolved => {
                (AttemptEnd::Refused, job.exchange.on(Event::Failed(Failure::Unresolved), now, draws), None)
            }
            Outcome::NeverAnswers => return,
        };
        let (cause, sender, role, took) = (job.cause, job.sender, job.role(), now.since(sent));
        observer.over(&Over { cause, sender, serial, role, endpoint: &endpoint, took, at: now, end });
        self.step(key, step, answer, observer);
    }

    /// The moment has come that the exchange waits for, or another one was agreed meanwhile.
    pub(super) fn wake(&mut self, key: Key, observer: &mut impl Observer) {
        let Some(job) = self.jobs.get_mut(key) else { return };
        job.armed = None;
        if job.exchange.wake_at().is_none_or(|at| at > self.now) {
            return self.arm(key);
        }
        let Some(sender) = self.senders.get_mut(job.sender) else { return };
        let step = job.exchange.on(Event::Woken, self.now, &mut sender.balancing);
        if !matches!(step, Step::Continue)
            && let Some(way) = job.under_way.take()
        {
            observer.over(&job.over(&way, AttemptEnd::TimedOut, self.now));
        }
        self.step(key, step, None, observer);
    }

    /// Does what the exchange says. `answer` is what has just come in, with the number of its attempt.
    fn step(&mut self, key: Key, step: Step, answer: Option<(Rc<Answer>, u64)>, observer: &mut impl Observer) {
        let Some((purpose, sender)) = self.jobs.get(key).map(|job| (job.purpose, job.sender)) else { return };
        match (step, purpose) {
            (Step::Continue | Step::BackOff, _) => self.arm(key),
            (Step::Queue, _) => {
                if let (Some(job), Some(sender)) = (self.jobs.get(key), self.senders.get(sender)) {
                    job.exchange.wake_by(&sender.served.waker(key));
                }
                self.arm(key);
            }
            (Step::Attempt(attempt), _) => self.send(key, attempt, observer),
            (Step::Deliver { flags }, For::Client(flight)) => {
                self.arm(key);
                if let (Some((answer, serial)), Some(delivered)) = (answer, self.flights.get_mut(flight)) {
                    delivered.origin = Some(serial);
                    delivered.flags = flags;
                    let mut head = self.spare_map();
                    head.extend(answer.head.iter());
                    let cookies = self.jobs.get(key).into_iter().flat_map(|job| job.exchange.set_cookies());
                    cookies.for_each(|cookie| head.append("set-cookie", cookie));
                    self.respond_slowly(flight, head, answer.body.clone(), answer.body_takes, observer);
                }
            }
            (Step::Deliver { .. }, For::Filter(token)) => {
                self.forget(key);
                if let Some((answer, _)) = answer {
                    let answer = CalloutAnswer::new(answer.head.clone(), answer.body.clone());
                    self.callout_answered(sender, token, answer);
                }
            }
            (Step::Reply(reply), For::Client(flight)) => self.reply(flight, &reply, observer),
            (Step::Reply(reply), For::Filter(token)) => {
                self.forget(key);
                self.callout_answered(sender, token, refused(&reply));
            }
            (Step::Abort { flags, details }, For::Client(flight)) => {
                if let Some(flight) = self.flights.get_mut(flight) {
                    (flight.flags, flight.details) = (flags, details.into());
                }
                self.end(flight, Ended::Reset, observer);
            }
            (Step::Abort { .. }, For::Filter(token)) => {
                self.forget(key);
                self.callout_answered(sender, token, CalloutAnswer::failed());
            }
            (Step::Deliver { .. } | Step::Reply(_) | Step::Abort { .. }, For::Nobody) => self.forget(key),
        }
    }

    /// The router answers in place of an upstream.
    fn reply(&mut self, key: Key, reply: &upstream::LocalReply, observer: &mut impl Observer) {
        let Some(flight) = self.flights.get_mut(key) else { return };
        flight.flags = reply.flags;
        let mut answer = host_abi::LocalReply::new(reply.status.into(), reply.body, reply.details);
        answer.headers.extend(reply.headers.iter().copied());
        answer.grpc_status = reply.grpc_status.map(u32::from);
        self.answer(key, answer, observer);
    }

    /// Drops an exchange; `end` is what becomes of an attempt under way.
    pub(super) fn drop_job(&mut self, key: Key, end: AttemptEnd, observer: &mut impl Observer) {
        let Some(job) = self.jobs.get_mut(key) else { return };
        if let Some(way) = job.under_way.take() {
            observer.over(&job.over(&way, end, self.now));
        }
        self.forget(key);
    }

    fn forget(&mut self, key: Key) {
        if let Some(job) = self.jobs.remove(key) {
            self.keep_map(job.head);
        }
    }
}

/// What the filter gets for a call that no upstream could answer.
fn refused(reply: &upstream::LocalReply) -> CalloutAnswer {
    CalloutAnswer::new(HeaderMap::from([(":status", reply.status.to_string())]), reply.body)
}
