//! Whether an attempt that failed is tried again: the profile's policy, changed by what the request asks.
//!
//! Conditions and codes of request headers are added to the profile's; `x-envoy-max-retries` replaces its number, up or
//! down. Conditions on answers look at status, headers and `grpc-status`, those on failures only at the kind of
//! failure. The order of the questions is Envoy's and matters: an answer marked `x-envoy-ratelimited` is tried again
//! under `envoy-ratelimited` only, whatever else is set.

use std::rc::Rc;
use std::sync::Arc;

use envoy_plan::RetryOn;

use crate::failure::Failure;
use crate::load::{Load, Resource, Slot};
use crate::policy::{Conditions, Policy};
use crate::request_head::{Ask, list, number};

/// Envoy's `num_retries` where a request names conditions and neither it nor the profile names a number.
const DEFAULT_RETRIES: u32 = 1;

/// A response head.
#[derive(Clone, Copy)]
pub struct Answer<'a> {
    /// HTTP status.
    pub status: u16,
    /// The first value of a response header, by its name in lower case. A `grpc-status` in the head means that the
    /// answer consists of trailers only, and gRPC conditions look at it.
    pub header: &'a dyn Fn(&str) -> Option<&'a [u8]>,
}

/// What becomes of a failed attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// No condition asks for another attempt.
    Final,
    /// A condition does, but no attempt is left.
    Exhausted,
    /// One is left, but too many requests of the cluster are being tried again.
    Overflow,
    /// Wait and try again; one attempt less is left.
    Again,
}

/// What is left of the right to try again, for one request.
#[derive(Debug)]
pub(crate) struct Retry {
    policy: Rc<Policy>,
    conditions: Conditions,
    remaining: u32,
    /// Counts as being tried again, until it is known what came of it.
    slot: Option<Slot>,
    /// Codes from the request, beside the policy's.
    status_codes: Vec<u16>,
    /// Response headers whose presence counts under `retriable-headers`.
    header_names: Vec<String>,
}

impl Retry {
    pub(crate) fn new(policy: Rc<Policy>, ask: &Ask<'_>) -> Self {
        let mut conditions = policy.conditions;
        let asked =
            list(ask.retry_on).filter_map(RetryOn::from_name).filter(|condition| grpc_status(*condition).is_none());
        asked.for_each(|condition| conditions.insert(condition));
        let asked = list(ask.retry_grpc_on)
            .filter_map(RetryOn::from_name)
            .filter(|condition| grpc_status(*condition).is_some());
        asked.for_each(|condition| conditions.insert(condition));
        let retries = policy.retries.unwrap_or(DEFAULT_RETRIES);
        let remaining = match number(ask.max_retries) {
            Some(asked) => u32::try_from(asked).unwrap_or(u32::MAX),
            None => retries,
        };
        Self {
            policy,
            conditions,
            remaining,
            slot: None,
            status_codes: list(ask.retriable_status_codes).filter_map(|code| code.parse().ok()).collect(),
            header_names: list(ask.retriable_header_names).map(str::to_ascii_lowercase).collect(),
        }
    }

    /// Never, for copies.
    pub(crate) fn never() -> Self {
        Self::new(Rc::default(), &Ask::default())
    }

    pub(crate) fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Whether any condition could still bring another attempt.
    pub(crate) fn is_possible(&self) -> bool {
        !self.conditions.is_empty() && self.remaining > 0
    }

    /// From now on nothing is tried again, and nothing is said about it.
    pub(crate) fn abandon(&mut self) {
        self.conditions = Conditions::default();
    }

    pub(crate) fn after_answer(&mut self, answer: &Answer<'_>, load: &Arc<Load>) -> Verdict {
        let wanted = !self.conditions.is_empty() && self.wants_after_answer(answer);
        self.spend(wanted, load)
    }

    pub(crate) fn after_failure(&mut self, failure: Failure, load: &Arc<Load>) -> Verdict {
        let wanted = self.wants_after_failure(failure);
        self.spend(wanted, load)
    }

    fn spend(&mut self, wanted: bool, load: &Arc<Load>) -> Verdict {
        self.slot = None;
        if !wanted {
            return Verdict::Final;
        }
        let Some(remaining) = self.remaining.checked_sub(1) else { return Verdict::Exhausted };
        self.remaining = remaining;
        self.slot = load.enter(Resource::Retry);
        if self.slot.is_some() { Verdict::Again } else { Verdict::Overflow }
    }

    fn wants_after_answer(&self, answer: &Answer<'_>) -> bool {
        let Answer { status, header } = *answer;
        if header("x-envoy-ratelimited").is_some() {
            return self.conditions.contains(RetryOn::EnvoyRatelimited);
        }
        (self.conditions.contains(RetryOn::FiveXx) && matches!(status, 500..=599))
            || (self.conditions.contains(RetryOn::GatewayError) && matches!(status, 502..=504))
            || (self.conditions.contains(RetryOn::Retriable4xx) && status == 409)
            || (self.conditions.contains(RetryOn::RetriableStatusCodes)
                && (self.policy.status_codes.contains(&status) || self.status_codes.contains(&status)))
            || (self.conditions.contains(RetryOn::RetriableHeaders)
                && self.header_names.iter().any(|name| header(name).is_some()))
            || self.wants_after_grpc_status(header)
    }

    fn wants_after_grpc_status<'a>(&self, header: &dyn Fn(&str) -> Option<&'a [u8]>) -> bool {
        let wanted = |status| {
            let by_status = |condition: &RetryOn| grpc_status(*condition) == Some(status);
            GRPC.iter().filter(|condition| by_status(condition)).any(|condition| self.conditions.contains(*condition))
        };
        GRPC.iter().any(|condition| self.conditions.contains(*condition))
            && number(header("grpc-status")).is_some_and(wanted)
    }

    /// `5xx`, `gateway-error` and `reset` cover every failure; a list of codes covers none.
    fn wants_after_failure(&self, failure: Failure) -> bool {
        let covers = |condition| self.conditions.contains(condition);
        let by_kind = match failure {
            Failure::Overflow | Failure::Unresolved | Failure::Loop => return false,
            Failure::Connect | Failure::ConnectTimeout => covers(RetryOn::ConnectFailure),
            Failure::RefusedStream => covers(RetryOn::RefusedStream),
            Failure::AttemptTimeout | Failure::Disconnected { .. } | Failure::Reset { .. } | Failure::Protocol => false,
        };
        by_kind
            || (covers(RetryOn::ResetBeforeRequest) && failure.is_before_request())
            || covers(RetryOn::Reset)
            || covers(RetryOn::FiveXx)
            || covers(RetryOn::GatewayError)
    }
}

/// The conditions that look at `grpc-status`.
const GRPC: [RetryOn; 5] = [
    RetryOn::Cancelled,
    RetryOn::DeadlineExceeded,
    RetryOn::ResourceExhausted,
    RetryOn::Internal,
    RetryOn::Unavailable,
];

/// The gRPC status a condition is about; `None` for those that are not about gRPC.
const fn grpc_status(condition: RetryOn) -> Option<u64> {
    match condition {
        RetryOn::Cancelled => Some(1),
        RetryOn::DeadlineExceeded => Some(4),
        RetryOn::ResourceExhausted => Some(8),
        RetryOn::Internal => Some(13),
        RetryOn::Unavailable => Some(14),
        RetryOn::FiveXx
        | RetryOn::GatewayError
        | RetryOn::Reset
        | RetryOn::ResetBeforeRequest
        | RetryOn::ConnectFailure
        | RetryOn::Retriable4xx
        | RetryOn::RefusedStream
        | RetryOn::RetriableStatusCodes
        | RetryOn::RetriableHeaders
        | RetryOn::EnvoyRatelimited
        | RetryOn::Http3PostConnectFailure => None,
    }
}
