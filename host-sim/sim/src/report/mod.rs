//! What came of a run: numbers to compare, and a text to show. Both depend on scenario and seed alone; how fast the
//! simulation itself was is not in here.

mod band;
mod binomial;
mod comparison;
mod html;
mod share;
mod spread;
mod table;
mod text;
mod times;

use std::collections::BTreeMap;

use serde::Serialize;

pub(crate) use binomial::Binomial;
pub use comparison::Comparison;
pub use html::html;
pub(crate) use share::shares;
pub use share::{RuleShare, Verdict};
pub use spread::Spread;
pub(crate) use table::{Table, cluster, count, percent, short_host};
pub(crate) use text::micros;
pub use times::{Bar, Times};
pub(crate) use times::{Clock, Shape, three_digits};

use crate::expect::{Expectation, Judgement};
use crate::span::Span;

/// What came of a run. [`Report::to_string`](ToString) gives the text, serde the numbers.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// Name of the scenario.
    pub scenario: String,
    /// Its description; may be empty.
    pub description: String,
    /// The seed; with the scenario it gives this report again.
    pub seed: u64,
    /// The run was stopped before its end.
    pub stopped: bool,
    /// Virtual time from the first request to the last event, in microseconds.
    pub simulated_us: u64,
    /// Virtual time in which load was made, in microseconds; what came later only drained.
    pub load_us: u64,
    /// Share of all requests that were answered below 500; 0 to 1.
    pub success_rate: f64,
    /// Answers for each second of load.
    pub rate_per_second: f64,
    /// What the scenario expected, and what came of it.
    pub expectations: Vec<Expectation>,
    /// Plain counts.
    pub totals: Totals,
    /// Answers that clients got, by status.
    pub statuses: BTreeMap<u16, u64>,
    /// Answers that no upstream gave, by reason (`%RESPONSE_CODE_DETAILS%`).
    pub details: BTreeMap<String, u64>,
    /// Requests by their number of attempts; 0 where none was made.
    pub attempts: BTreeMap<u32, u64>,
    /// What took too long.
    pub timeouts: Timeouts,
    /// How long clients waited.
    pub times: Times,
    /// The same, at any percentile.
    #[serde(skip)]
    pub(crate) clock: Clock,
    /// The same, drawn.
    pub histogram: Vec<Bar>,
    /// Configured and observed shares.
    pub shares: Vec<RuleShare>,
    /// Requests by the cluster that the filter chose.
    pub clusters: BTreeMap<String, u64>,
    /// What each version did.
    pub versions: Vec<Version>,
    /// People; absent where the load has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub users: Option<UsersMet>,
    /// What services asked of each other; none of it is in the figures above but in the shares. Absent where none did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub calls: Option<Calls>,
    /// What came back from mirrors.
    pub mirrors: Vec<Mirror>,
    /// From when on a mirror's answer counts as too slow.
    pub too_slow: Option<Span>,
    /// Versions that the scenario does not describe; they answered 200 at once.
    pub undescribed: Vec<String>,
    /// What the filter complained about.
    pub warnings: Vec<Warning>,
    /// What must never happen and did. Empty unless something is broken.
    pub violations: Vec<String>,
}

/// Plain counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Totals {
    /// Requests that clients sent.
    pub begun: u64,
    /// Of these, answered with any status.
    pub answered: u64,
    /// Of these, below 500.
    pub succeeded: u64,
    /// Broken off.
    pub reset: u64,
    /// The client lost patience.
    pub gave_up: u64,
    /// Without an answer at the end of the run.
    pub waiting: u64,
    /// Attempts after the first.
    pub retries: u64,
    /// Copies that had nowhere to go.
    pub dropped_mirrors: u64,
    /// Calls of the filter itself.
    pub callouts: u64,
}

/// How people fared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct UsersMet {
    /// Users who sent at least one request.
    pub came: u64,
    /// Of these, at least one of whose requests was answered 500 or above, or not at all.
    pub failed: u64,
    /// So many users with equally many requests each would divide them as widely by chance (Kish's effective sample size).
    pub effective: u64,
}

/// What took too long.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Timeouts {
    /// Requests that were answered 504 for it.
    pub requests: u64,
    /// Attempts that were given up for it, whether another followed or not.
    pub attempts: u64,
}

/// What one version did, attempt by attempt; mirrors are apart.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Version {
    /// The service.
    pub host: String,
    /// Labels of its endpoints, `version=v2`; may be empty.
    pub labels: String,
    /// How many it got.
    pub attempts: u64,
    /// Of these, the first of their request.
    pub requests: u64,
    /// Answers by status.
    pub statuses: BTreeMap<u16, u64>,
    /// Closed connections.
    pub connection_closed: u64,
    /// Refused connections.
    pub refused: u64,
    /// Given up by the proxy for lack of time.
    pub timed_out: u64,
    /// Given up because nobody waited any more.
    pub abandoned: u64,
    /// Never over.
    pub waiting: u64,
    /// From sending to the end, however it came.
    pub times: Times,
    /// The same, at any percentile.
    #[serde(skip)]
    pub(crate) clock: Clock,
}

impl Report {
    /// Expectations that did not come true.
    pub fn failed(&self) -> impl Iterator<Item = &Expectation> {
        self.expectations.iter().filter(|expectation| expectation.judgement == Judgement::Failed)
    }
}

impl Version {
    /// Attempts answered below 500.
    pub fn succeeded(&self) -> u64 {
        below_500(&self.statuses)
    }
}

/// What services asked of each other for the sake of clients' requests: the same figures as of these, one level down.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Calls {
    /// Share of all calls that were answered below 500; 0 to 1.
    pub success_rate: f64,
    /// Plain counts; a call is given up by the service that made it.
    pub totals: Totals,
    /// Calls for the sake of copies, which are counted nowhere else.
    pub by_copies: u64,
    /// Answers by status.
    pub statuses: BTreeMap<u16, u64>,
    /// Answers that no upstream gave, by reason (`%RESPONSE_CODE_DETAILS%`).
    pub details: BTreeMap<String, u64>,
    /// Calls by their number of attempts.
    pub attempts: BTreeMap<u32, u64>,
    /// What took too long.
    pub timeouts: Timeouts,
    /// How long services waited.
    pub times: Times,
    /// The same, at any percentile.
    #[serde(skip)]
    pub(crate) clock: Clock,
    /// Calls by the cluster that the filter of the caller chose.
    pub clusters: BTreeMap<String, u64>,
    /// Who asked whom.
    pub edges: Vec<Edge>,
    /// What each version did with calls, attempt by attempt.
    pub versions: Vec<Version>,
}

/// The calls of one version to one cluster.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Edge {
    /// The service that asks.
    pub caller: String,
    /// Labels of its endpoints, `version=v2`; may be empty.
    pub caller_labels: String,
    /// The cluster that the filter chose; empty where it chose none.
    pub cluster: String,
    /// How many.
    pub calls: u64,
    /// Answered below 500.
    pub succeeded: u64,
    /// How long the caller waited.
    pub times: Times,
}

/// What came back from a mirror. No user saw any of it.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Mirror {
    /// Where the copies went.
    pub cluster: String,
    /// How many.
    pub sent: u64,
    /// Answered below 500, and not too slow.
    pub succeeded: u64,
    /// Answers by status.
    pub statuses: BTreeMap<u16, u64>,
    /// Answers that came later than the scenario's `tooSlow`.
    pub too_slow: u64,
    /// Closed connections.
    pub connection_closed: u64,
    /// Refused connections.
    pub refused: u64,
    /// Cut off when the time of the original was over.
    pub timed_out: u64,
    /// Never over.
    pub waiting: u64,
    /// From sending to the end, however it came.
    pub times: Times,
}

/// A log line of the filter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Warning {
    /// `warn`, `error` or `critical`.
    pub level: String,
    /// The line.
    pub message: String,
    /// How often it came.
    pub count: u64,
}

fn below_500(statuses: &BTreeMap<u16, u64>) -> u64 {
    statuses.iter().filter(|(status, _)| **status < 500).map(|(_, count)| count).sum()
}
