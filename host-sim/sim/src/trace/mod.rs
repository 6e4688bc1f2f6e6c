//! The life of one request, step by step in virtual time: what the filter decided, what was sent where, what came back.

mod text;
mod tracer;

use serde::Serialize;

use crate::engine::{AttemptEnd, Ended, Role};

pub(crate) use tracer::Tracer;

/// All that happened to one request. [`Trace::to_string`](ToString) tells it, serde gives the numbers.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Trace {
    /// Name of the scenario.
    pub scenario: String,
    /// The seed; with the scenario and the number it gives this trace again.
    pub seed: u64,
    /// The number of the request, from 1, in the order in which they came.
    pub request: u64,
    /// When it came, in microseconds of virtual time.
    pub begun_us: u64,
    /// Its head as the client sent it, with pseudo headers; and an id where it brought none.
    pub headers: Vec<(String, String)>,
    /// Bytes of its body.
    pub body_bytes: usize,
    /// The rule that took it, where the caller has asked the filter.
    pub rule: Option<String>,
    /// What happened, in order.
    pub steps: Vec<Step>,
}

/// Something happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Step {
    /// When, in microseconds since the request came.
    pub at_us: u64,
    /// To which call of a service for the request's sake, numbered from 1; 0: to the request itself.
    pub call: u64,
    /// What.
    #[serde(flatten)]
    pub what: What,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "what", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum What {
    /// The filter let the request go.
    Decided {
        /// What was asked, `GET reviews/7`.
        target: String,
        /// The cluster it named.
        cluster: Option<String>,
        /// The profile it named; absent: `default`.
        profile: Option<String>,
        /// The fault that was drawn, in Envoy's headers.
        faults: Vec<(String, String)>,
        /// What it changed of the head; not known of calls.
        edits: Vec<Edit>,
    },
    /// An upstream got something.
    Sent {
        /// A number of its own within the trace, from 1.
        sent: u64,
        /// An attempt or a copy.
        role: String,
        /// Which attempt, from 1.
        attempt: u32,
        /// The cluster.
        cluster: String,
        /// The endpoint, `address:port`.
        endpoint: String,
        /// Its labels, `version=v2`.
        labels: String,
    },
    /// That was over.
    Over {
        /// The number of what was sent.
        sent: u64,
        /// An attempt or a copy.
        role: String,
        /// Which attempt, from 1.
        attempt: u32,
        /// How it ended, in words.
        end: String,
        /// How long it took, in microseconds.
        took_us: u64,
    },
    /// The client got its answer, or will never have one.
    Given {
        /// How it ended, in words.
        end: String,
        /// The status, if there was an answer.
        status: Option<u16>,
        /// Why the proxy answered itself; empty if it did not.
        details: String,
        /// How many attempts were made.
        attempts: u32,
        /// Bytes of the body.
        body_bytes: usize,
    },
}

/// A header before and after; `None` where it is not there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Edit {
    /// Its name.
    pub header: String,
    /// As it came.
    pub before: Option<String>,
    /// As it went.
    pub after: Option<String>,
}

fn role(role: Role) -> &'static str {
    match role {
        Role::Primary => "attempt",
        Role::Shadow => "copy",
        Role::Callout => "callout",
    }
}

fn attempt_end(end: AttemptEnd) -> String {
    match end {
        AttemptEnd::Answered(status) => format!("answered {status}"),
        AttemptEnd::ConnectionClosed => "connection closed".to_owned(),
        AttemptEnd::Refused => "connection refused".to_owned(),
        AttemptEnd::TimedOut => "out of time".to_owned(),
        AttemptEnd::Abandoned => "given up: nobody waited any more".to_owned(),
        AttemptEnd::Waiting => "never over".to_owned(),
    }
}

fn ended(ended: Ended) -> &'static str {
    match ended {
        Ended::Answered => "answered",
        Ended::Reset => "broken off",
        Ended::GaveUp => "given up by the client",
        Ended::Waiting => "never answered",
    }
}
