//! One request and all its attempts, or one copy of a request: what Envoy's router filter does between the request
//! head and the end of the response.
//!
//! An exchange is driven by events and answers each with a [`Step`]. It holds no timer: after every call the host asks
//! [`Exchange::wake_at`] and sends [`Event::Woken`] when that moment has come (earlier does no harm). Which limit it
//! was (opening a connection, one attempt, the whole request, or the end of a back-off) the exchange knows.
//!
//! What runs when, as in Envoy: the limit for the whole request starts when the request has been received to its end,
//! covers all attempts and back-off, and goes on until the response has been passed on whole. The limit for an attempt
//! starts when its connection is there (and the request is whole), and ends with the response head. Once a response
//! head has been delivered nothing is tried again.

use std::mem;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use envoy_plan::Limits;

use crate::draw::Draws;
use crate::failure::Failure;
use crate::grpc;
use crate::load::{Load, Resource, Slot};
use crate::outliers::Outcome;
use crate::pair::{Pair, Tried};
use crate::policy::limit;
use crate::pool::{Choice, Endpoint, Pool, Turn};
use crate::queue::Waiting;
use crate::reply::{Flags, LocalReply};
use crate::request_head::{Ask, EXPECTED_TIMEOUT_HEADER, INTERNAL_HEADER, number};
use crate::retry::{Answer, Retry, Verdict};
use crate::time::Timestamp;

/// An attempt to start: connect to the endpoint, or take an idle connection, and send the request.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// From 1.
    pub number: u32,
    /// Where to.
    pub endpoint: Rc<Endpoint>,
}

/// What happened to the attempt under way, or to the request.
#[derive(Clone, Copy)]
pub enum Event<'a> {
    /// There is no idle connection for the attempt: a new one is being opened. Until it is there the request is pending.
    Opening,
    /// The attempt has its connection, new or idle; the limit for opening one no longer counts.
    Connected,
    /// The request has been received from downstream to its end.
    Received,
    /// A response head has come (1xx are not reported).
    Answered(Answer<'a>),
    /// The attempt ended without a response head, or its response broke off.
    Failed(Failure),
    /// More of the request has come than the host keeps, so it cannot be sent again. Nothing is tried again from now
    /// on, and no flag says so (Envoy counts it as `retry_or_shadow_abandoned`).
    Unrepeatable,
    /// [`Exchange::wake_at`] has come.
    Woken,
}

/// What the host does next. Every step but [`Step::Continue`] and [`Step::Deliver`] ends the attempt that was under
/// way: whatever is left of it is dropped, together with its response.
#[derive(Clone, Debug)]
pub enum Step {
    /// Nothing changes.
    Continue,
    /// Start this attempt, with the request as first received.
    Attempt(Attempt),
    /// Wait for a connection: the cluster may have no more of them. [`Exchange::wake_by`] tells who is to be woken when one is
    /// free; [`Event::Woken`] then brings the attempt.
    Queue,
    /// Wait: [`Exchange::wake_at`] says until when. [`Event::Woken`] then brings the next attempt.
    BackOff,
    /// Pass this response on, to its end, and keep the exchange until then.
    Deliver {
        /// `URX` if one more attempt was called for but none was left.
        flags: Flags,
    },
    /// Answer with this.
    Reply(LocalReply),
    /// The response that is being passed on cannot be finished: break off.
    Abort {
        /// Why, in short.
        flags: Flags,
        /// Why, as `%RESPONSE_CODE_DETAILS%` has it.
        details: &'static str,
    },
}

impl Step {
    /// The attempt to start, if it is that.
    pub fn attempt(&self) -> Option<&Attempt> {
        match self {
            Step::Attempt(attempt) => Some(attempt),
            Step::Continue
            | Step::Queue
            | Step::BackOff
            | Step::Deliver { .. }
            | Step::Reply(_)
            | Step::Abort { .. } => None,
        }
    }
}

/// One request on its way. It counts as under way on its endpoint until it is dropped or over.
#[derive(Debug)]
pub struct Exchange {
    /// Where the attempt under way goes, and before the first where one would.
    pool: Rc<Pool>,
    /// Where it may go, if that is not one cluster only.
    pair: Option<Both>,
    /// Limit for the whole request.
    timeout: Option<Duration>,
    /// Limit for each attempt.
    per_try_timeout: Option<Duration>,
    /// Whether the upstream reads its limit from `grpc-timeout` too.
    is_grpc: bool,
    /// For the copy of a request: what its original's first attempt was told, if anything.
    copied: Option<Option<Duration>>,
    retry: Retry,
    /// What a hash decides by, if the cluster and the request have it.
    hash: Option<u64>,
    /// Cookies that were made for it.
    cookies: Vec<String>,
    /// Numbers of the endpoints that failed.
    tried: Vec<u64>,
    /// The number of the last attempt; 0 before the first.
    attempts: u32,
    /// When the request had been received whole.
    received: Option<Timestamp>,
    state: State,
}

/// Two clusters, and what has been tried of them.
#[derive(Debug)]
struct Both {
    pair: Pair,
    tried: Tried,
    /// Nobody counts what is tried again for both together (Envoy would, for their cluster; nothing limits it there).
    retries: Arc<Load>,
}

#[derive(Debug)]
enum State {
    /// The endpoint is chosen, and a connection to it has to be waited for.
    Queued(Waiting),
    /// A connection is being opened, or taken; where it is known to be opened, that counts as pending.
    Connecting { turn: Turn, until: Timestamp, pending: Option<Slot> },
    /// The request is on its way, or done, and no response head has come.
    Waiting { turn: Turn, until: Option<Timestamp> },
    /// The next attempt comes later.
    BackingOff { until: Timestamp },
    /// A response is being passed on; its endpoint counts as busy until then.
    Delivering { turn: Turn },
    /// Answered, broken off, or never begun.
    Over,
}

/// Where what is tried again is counted.
fn retries<'e>(pool: &'e Pool, pair: Option<&'e Both>) -> &'e Arc<Load> {
    pair.map_or(&pool.load, |both| &both.retries)
}

impl Exchange {
    /// A request to `pool`, before its first attempt.
    pub(crate) fn new(pool: Rc<Pool>, retry: Retry, ask: &Ask<'_>, now: Timestamp) -> Self {
        let policy = retry.policy();
        let is_grpc = grpc::is_grpc(ask.content_type);
        let given = match is_grpc {
            true => grpc::limit(grpc::asked(ask.grpc_timeout), policy.timeout),
            false => policy.timeout,
        };
        let timeout = asked(ask.timeout_ms, given);
        // One attempt cannot outlast the request, so such a limit is none.
        let per_try_timeout = asked(ask.per_try_timeout_ms, policy.per_try_timeout)
            .filter(|per_try| timeout.is_none_or(|timeout| *per_try < timeout));
        Self { is_grpc, ..Self::with_limits(pool, retry, timeout, per_try_timeout, ask.whole.then_some(now)) }
    }

    /// The copy of a request: one attempt, in the time its original has.
    pub(crate) fn copy_to(&self, pool: Rc<Pool>) -> Self {
        let copy = Self::with_limits(pool, Retry::never(), self.timeout, None, self.received);
        Self { is_grpc: self.is_grpc, copied: Some(self.expected_timeout(Timestamp::from_nanos(0))), ..copy }
    }

    fn with_limits(
        pool: Rc<Pool>,
        retry: Retry,
        timeout: Option<Duration>,
        per_try_timeout: Option<Duration>,
        received: Option<Timestamp>,
    ) -> Self {
        Self {
            pool,
            pair: None,
            timeout,
            per_try_timeout,
            is_grpc: false,
            copied: None,
            retry,
            hash: None,
            cookies: Vec::new(),
            tried: Vec::new(),
            attempts: 0,
            received,
            state: State::Over,
        }
    }

    /// The same, chosen for by this hash; `cookies` were made for it.
    pub(crate) fn hashed(self, hash: Option<u64>, cookies: Vec<String>) -> Self {
        Self { hash, cookies, ..self }
    }

    /// The same, for the two clusters of a fallback.
    pub(crate) fn between(self, pair: Pair) -> Self {
        let retries = Load::new(Limits::default());
        Self { pair: Some(Both { pair, tried: Tried::default(), retries }), ..self }
    }

    /// Starts the next attempt, or gets in line for it.
    ///
    /// # Errors
    ///
    /// The answer where there is no endpoint, or too much under way.
    pub(crate) fn attempt(&mut self, now: Timestamp, draws: &mut dyn Draws) -> Result<Step, LocalReply> {
        let mut priority = None;
        if let Some(both) = &self.pair {
            let (pool, of) = both.pair.choose(&both.tried, now, draws).ok_or(LocalReply::NO_HEALTHY_UPSTREAM)?;
            (self.pool, priority) = (Rc::clone(pool), Some(of));
        }
        let choice = self.pool.choose(self.hash, &self.tried, self.retry.policy().redraws, priority, now, draws);
        self.attempts = self.attempts.saturating_add(1);
        self.chosen(choice, now)
    }

    fn chosen(&mut self, choice: Choice, now: Timestamp) -> Result<Step, LocalReply> {
        match choice {
            Choice::Turn(turn) => {
                let attempt = Attempt { number: self.attempts, endpoint: Rc::clone(turn.endpoint()) };
                let until = now.after(self.pool.connect_timeout);
                self.state = State::Connecting { turn, until, pending: None };
                Ok(Step::Attempt(attempt))
            }
            Choice::Wait(waiting) => {
                self.state = State::Queued(waiting);
                Ok(Step::Queue)
            }
            Choice::Overflow => Err(Failure::Overflow.reply(self.attempts > 1)),
            Choice::Nobody => Err(LocalReply::NO_HEALTHY_UPSTREAM),
        }
    }

    /// Tells whom to wake, for [`Event::Woken`], when there is a connection; to be told after [`Step::Queue`].
    pub fn wake_by(&self, waker: &Waker) {
        if let State::Queued(waiting) = &self.state {
            waiting.wake_by(waker);
        }
    }

    /// The cluster of the version that was chosen for it; another one may have answered ([`Endpoint::cluster`]).
    pub fn cluster(&self) -> &str {
        self.pair.as_ref().map_or(&self.pool.name, |both| &both.pair.name)
    }

    /// Values of `set-cookie` for the answer that is delivered. As Envoy has it, each attempt adds them once more.
    pub fn set_cookies(&self) -> impl Iterator<Item = &str> {
        (0..self.attempts).flat_map(|_| self.cookies.iter().map(String::as_str))
    }

    /// How many attempts have been started.
    pub fn attempts(&self) -> u32 {
        self.attempts
    }

    /// Whether another attempt may follow, so that the host must keep the request to send it again.
    pub fn may_repeat(&self) -> bool {
        !matches!(self.state, State::Delivering { .. } | State::Over) && self.retry.is_possible()
    }

    /// Request headers that tell the upstream of an attempt that starts now what time it has, and of a copy that the proxy itself
    /// sends it: names and values, to be set.
    pub fn told(&self, now: Timestamp) -> impl Iterator<Item = (&'static str, String)> + use<> {
        let expected = self.expected_timeout(now);
        let millis = expected.map(|expected| (EXPECTED_TIMEOUT_HEADER, expected.as_millis().to_string()));
        // Envoy copies this one header as it has written it for the original.
        let grpc = self.copied.unwrap_or(expected).filter(|_| self.is_grpc);
        let grpc = grpc.map(|expected| (grpc::TIMEOUT_HEADER, grpc::written(expected)));
        let internal = self.copied.is_some().then(|| (INTERNAL_HEADER, "true".to_owned()));
        millis.into_iter().chain(grpc).chain(internal)
    }

    /// What is left for an attempt that starts now, in whole milliseconds and never 0: that would mean "no limit" to the next
    /// proxy. `None`: no limit.
    fn expected_timeout(&self, now: Timestamp) -> Option<Duration> {
        // Of the first attempt Envoy takes no time to have passed.
        let begun = self.received.filter(|_| self.attempts > 1);
        let passed = begun.map_or(Duration::ZERO, |at| now.since(at));
        let left = self.timeout.map(|timeout| timeout.saturating_sub(passed));
        let expected = match (self.per_try_timeout, left) {
            (Some(per_try), Some(left)) => per_try.min(left),
            (Some(per_try), None) => per_try,
            (None, left) => left?,
        };
        Some(Duration::from_millis(u64::try_from(expected.as_millis()).unwrap_or(u64::MAX).max(1)))
    }

    /// When [`Event::Woken`] is due; `None`: nothing is waited for.
    pub fn wake_at(&self) -> Option<Timestamp> {
        let own = match &self.state {
            State::Over => return None,
            // At once.
            State::Queued(waiting) => waiting.is_served().then(Timestamp::default),
            State::Connecting { until, .. } | State::BackingOff { until } => Some(*until),
            State::Waiting { until, .. } => *until,
            State::Delivering { .. } => None,
        };
        own.into_iter().chain(self.deadline()).min()
    }

    /// When the time for the whole request is over.
    fn deadline(&self) -> Option<Timestamp> {
        Some(self.received?.after(self.timeout?))
    }

    /// Tells what happened; what does not concern the exchange any more changes nothing.
    pub fn on(&mut self, event: Event<'_>, now: Timestamp, draws: &mut dyn Draws) -> Step {
        match (mem::replace(&mut self.state, State::Over), event) {
            (State::Over, _) => Step::Continue,
            (state, Event::Woken) => self.woken(state, now, draws),
            (state, Event::Received) => self.received(state, now),
            (state, Event::Unrepeatable) => self.unrepeatable(state),
            (State::Connecting { turn, until, pending: None }, Event::Opening) => {
                match self.pool.load.enter(Resource::Pending) {
                    Some(pending) => self.keep(State::Connecting { turn, until, pending: Some(pending) }),
                    None => Step::Reply(Failure::Overflow.reply(self.attempts > 1)),
                }
            }
            (State::Connecting { turn, .. }, Event::Connected) => {
                self.pool.report(turn.endpoint(), Outcome::Connected, now);
                let until = self.attempt_deadline(now);
                self.keep(State::Waiting { turn, until })
            }
            (State::Connecting { turn, .. } | State::Waiting { turn, .. }, Event::Answered(answer)) => {
                self.answered(turn, &answer, now, draws)
            }
            (State::Connecting { turn, .. } | State::Waiting { turn, .. }, Event::Failed(failure)) => {
                self.failed(turn, failure, now, draws)
            }
            (State::Delivering { turn }, Event::Failed(failure)) => {
                self.pool.report(turn.endpoint(), Outcome::Failed, now);
                Step::Abort { flags: failure.flags(), details: failure.abort_details() }
            }
            (
                state
                @ (State::Queued(_) | State::Waiting { .. } | State::BackingOff { .. } | State::Delivering { .. }),
                Event::Opening | Event::Connected,
            )
            | (state @ State::Connecting { .. }, Event::Opening)
            | (state @ (State::Queued(_) | State::BackingOff { .. } | State::Delivering { .. }), Event::Answered(_))
            | (state @ (State::Queued(_) | State::BackingOff { .. }), Event::Failed(_)) => self.keep(state),
        }
    }

    fn keep(&mut self, state: State) -> Step {
        self.state = state;
        Step::Continue
    }

    fn received(&mut self, state: State, now: Timestamp) -> Step {
        self.received.get_or_insert(now);
        let state = match state {
            State::Waiting { turn, until: None } => State::Waiting { turn, until: self.attempt_deadline(now) },
            other => other,
        };
        self.keep(state)
    }

    fn unrepeatable(&mut self, state: State) -> Step {
        self.retry.abandon();
        match state {
            State::BackingOff { .. } => Step::Reply(LocalReply::UNREPEATABLE),
            state => self.keep(state),
        }
    }

    /// When an attempt that could start its clock now must have been answered.
    fn attempt_deadline(&self, now: Timestamp) -> Option<Timestamp> {
        self.received?;
        Some(now.after(self.per_try_timeout?))
    }

    fn woken(&mut self, state: State, now: Timestamp, draws: &mut dyn Draws) -> Step {
        let over = self.deadline().is_some_and(|deadline| deadline <= now);
        match state {
            State::Delivering { .. } if over => {
                Step::Abort { flags: LocalReply::TIMEOUT.flags, details: LocalReply::TIMEOUT.details }
            }
            State::Waiting { turn, .. } if over => {
                self.pool.report(turn.endpoint(), Outcome::TimedOut, now);
                Step::Reply(LocalReply::TIMEOUT)
            }
            _ if over => Step::Reply(LocalReply::TIMEOUT),
            State::BackingOff { until } if until <= now => self.attempt(now, draws).unwrap_or_else(Step::Reply),
            State::Queued(waiting) => match waiting.take() {
                Some(connection) => {
                    let choice = self.pool.start(Rc::clone(&waiting.endpoint), Some(connection));
                    self.chosen(choice, now).unwrap_or_else(Step::Reply)
                }
                None => self.keep(State::Queued(waiting)),
            },
            State::Connecting { turn, until, .. } if until <= now => {
                self.failed(turn, Failure::ConnectTimeout, now, draws)
            }
            State::Waiting { turn, until: Some(until) } if until <= now => {
                self.failed(turn, Failure::AttemptTimeout, now, draws)
            }
            state => self.keep(state),
        }
    }

    fn answered(&mut self, turn: Turn, answer: &Answer<'_>, now: Timestamp, draws: &mut dyn Draws) -> Step {
        let status = grpc::status(self.is_grpc, answer).unwrap_or(answer.status);
        self.pool.report(turn.endpoint(), Outcome::Answered(status), now);
        let flags = match self.retry.after_answer(answer, retries(&self.pool, self.pair.as_ref())) {
            Verdict::Again => return self.back_off(&turn, now, draws),
            Verdict::Exhausted => Flags::RETRY_LIMIT_EXCEEDED,
            Verdict::Overflow => Flags::UPSTREAM_OVERFLOW,
            Verdict::Final => Flags::NONE,
        };
        self.state = State::Delivering { turn };
        Step::Deliver { flags }
    }

    fn failed(&mut self, turn: Turn, failure: Failure, now: Timestamp, draws: &mut dyn Draws) -> Step {
        let reply = failure.reply(self.attempts > 1);
        match failure {
            Failure::AttemptTimeout => self.pool.report(turn.endpoint(), Outcome::TimedOut, now),
            // These are no fault of the endpoint.
            Failure::Overflow | Failure::Unresolved | Failure::Loop => {}
            _ => self.pool.report(turn.endpoint(), Outcome::Failed, now),
        }
        match self.retry.after_failure(failure, retries(&self.pool, self.pair.as_ref())) {
            Verdict::Again => self.back_off(&turn, now, draws),
            Verdict::Overflow => Step::Reply(reply.flagged(Flags::UPSTREAM_OVERFLOW)),
            Verdict::Exhausted => Step::Reply(reply.flagged(Flags::RETRY_LIMIT_EXCEEDED)),
            Verdict::Final => Step::Reply(reply),
        }
    }

    /// Waits before the next attempt; the number of the failed attempt is that of the retry.
    fn back_off(&mut self, failed: &Turn, now: Timestamp, draws: &mut dyn Draws) -> Step {
        self.tried.push(failed.endpoint().id());
        if let Some(Both { pair, tried, .. }) = self.pair.as_mut().filter(|_| self.retry.policy().falls_back) {
            tried.add(pair, failed.endpoint());
        }
        let wait = self.retry.policy().backoff.wait(self.attempts, draws);
        self.state = State::BackingOff { until: now.after(wait) };
        Step::BackOff
    }
}

/// The limit a request header asks for, or else the profile's. 0 is none; what is no number is ignored.
fn asked(header: Option<&[u8]>, profile: Option<Duration>) -> Option<Duration> {
    match number(header) {
        Some(millis) => limit(Some(Duration::from_millis(millis))),
        None => profile,
    }
}
