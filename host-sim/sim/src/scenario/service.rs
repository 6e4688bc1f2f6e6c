//! How services behave: by host, by version, by outcome. What they ask of each other stands in `calls`.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::scenario::{CallSpec, Files, Latency, ScenarioError, When};
use crate::span::Span;

/// A service by its host, and what its versions do.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ServiceSpec {
    /// The host of the plan's clusters, whole (`sa-logic.default.svc.cluster.local`) or its first labels (`sa-logic`).
    pub host: String,
    /// Endpoints are described by the first version whose labels they carry.
    pub versions: Vec<VersionSpec>,
}

/// Some of a service's endpoints, and what they do.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct VersionSpec {
    /// Labels an endpoint must carry; none: any endpoint.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// How much each endpoint does at a time; without limit unless given.
    #[serde(default)]
    pub capacity: Option<Capacity>,
    /// What it asks of other services before its own time begins, in this order.
    #[serde(default)]
    pub calls: Vec<CallSpec>,
    /// Headers that each of its calls takes over from the request that it is made for; none unless given.
    #[serde(default)]
    pub forwards: Vec<String>,
    /// One is drawn for each attempt, of those whose `when` holds; where none does, the answer is 404.
    pub outcomes: Vec<OutcomeSpec>,
}

/// How much an endpoint does at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Capacity {
    /// How many attempts it works on at once.
    pub concurrency: u32,
    /// How many more wait for their turn, whether or not anyone still waits for them; none unless given.
    #[serde(default)]
    pub queue: u32,
    /// What those are answered that find the queue full; 503 unless given.
    #[serde(default = "unavailable")]
    pub status: u16,
}

/// One thing that may happen to an attempt.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct OutcomeSpec {
    /// Requests that it may happen to; any unless given.
    #[serde(default)]
    pub when: When,
    /// How often, relative to the other outcomes; 1 unless given.
    #[serde(default = "one")]
    pub share: u64,
    /// HTTP status; 200 unless given. Not beside `fault`.
    #[serde(default)]
    pub status: Option<u16>,
    /// No answer, and how.
    #[serde(default)]
    pub fault: Option<Fault>,
    /// When it happens, counted from the moment the attempt is sent or, where there are calls, the last of them is over; at once unless given.
    #[serde(default)]
    pub latency: Latency,
    /// From this moment on, counted from the start; always unless given.
    #[serde(default)]
    pub from: Option<Span>,
    /// Until this moment, itself excluded.
    #[serde(default)]
    pub until: Option<Span>,
    /// Only to the first so many attempts that the version gets.
    #[serde(default)]
    pub until_request: Option<u64>,
    /// The body of the answer.
    #[serde(default)]
    pub body: String,
    /// The body comes so long after the head; together unless given.
    #[serde(default)]
    pub body_takes: Option<Span>,
    /// Headers of the answer.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
}

/// How an attempt ends without an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Fault {
    /// The connection is closed: an empty reply.
    ConnectionClosed,
    /// The connection is not accepted.
    Refused,
    /// Nothing ever comes.
    NeverAnswers,
}

fn one() -> u64 {
    1
}

fn unavailable() -> u16 {
    503
}

impl ServiceSpec {
    /// Reads the files that it names.
    pub(crate) fn read_files(&mut self, at: &str, files: Files<'_>, errors: &mut Vec<ScenarioError>) {
        for (index, version) in self.versions.iter_mut().enumerate() {
            for (place, outcome) in version.outcomes.iter_mut().enumerate() {
                outcome.latency.read_file(&format!("{at}.versions[{index}].outcomes[{place}].latency"), files, errors);
            }
        }
    }

    pub(crate) fn check(&self, at: &str, errors: &mut Vec<ScenarioError>) {
        let Self { host, versions } = self;
        if host.is_empty() {
            errors.push(ScenarioError::new(format!("{at}.host"), "name the service"));
        }
        if versions.is_empty() {
            errors.push(ScenarioError::new(format!("{at}.versions"), "describe at least one version"));
        }
        for (index, VersionSpec { labels: _, capacity, calls, forwards, outcomes }) in versions.iter().enumerate() {
            let at = format!("{at}.versions[{index}]");
            if let Some(Capacity { concurrency, queue: _, status }) = capacity {
                if *concurrency == 0 {
                    errors.push(ScenarioError::new(format!("{at}.capacity.concurrency"), "this must be above zero"));
                }
                if !(200..=599).contains(status) {
                    let message = "an HTTP status lies between 200 and 599";
                    errors.push(ScenarioError::new(format!("{at}.capacity.status"), message));
                }
            }
            for (index, call) in calls.iter().enumerate() {
                let before = index.checked_sub(1).and_then(|index| calls.get(index));
                call.check(&format!("{at}.calls[{index}]"), before, errors);
            }
            if let Some(place) = forwards.iter().position(|name| name.is_empty() || name.starts_with(':')) {
                let message = "a header needs a name without a colon";
                errors.push(ScenarioError::new(format!("{at}.forwards[{place}]"), message));
            }
            OutcomeSpec::check_all(outcomes, &format!("{at}.outcomes"), errors);
        }
    }
}

impl OutcomeSpec {
    pub(crate) fn check_all(outcomes: &[Self], at: &str, errors: &mut Vec<ScenarioError>) {
        if outcomes.iter().try_fold(0_u64, |sum, outcome| sum.checked_add(outcome.share)).is_none_or(|sum| sum == 0) {
            errors.push(ScenarioError::new(at, "at least one outcome needs a share above zero"));
        }
        for (index, outcome) in outcomes.iter().enumerate() {
            outcome.check(&format!("{at}[{index}]"), errors);
        }
    }

    fn check(&self, at: &str, errors: &mut Vec<ScenarioError>) {
        let Self { when, share: _, status, fault, latency, from, until, until_request, body, body_takes, headers } =
            self;
        when.check(&format!("{at}.when"), errors);
        if until.is_some_and(|until| from.unwrap_or_default() >= until) {
            errors.push(ScenarioError::new(
                format!("{at}.until"),
                "this must come after `from`, which is 0 unless given",
            ));
        }
        if *until_request == Some(0) {
            errors.push(ScenarioError::new(format!("{at}.untilRequest"), "this must be above zero"));
        }
        if body_takes.is_some() && (body.is_empty() || fault.is_some()) {
            errors.push(ScenarioError::new(format!("{at}.bodyTakes"), "there is no body that could be slow"));
        }
        if status.is_some_and(|status| !(200..=599).contains(&status)) {
            errors.push(ScenarioError::new(format!("{at}.status"), "an HTTP status lies between 200 and 599"));
        }
        if status.is_some() && fault.is_some() {
            errors.push(ScenarioError::new(format!("{at}.fault"), "an outcome has a `status` or a `fault`, not both"));
        }
        if headers.keys().any(|name| name.is_empty() || name.starts_with(':')) {
            errors.push(ScenarioError::new(format!("{at}.headers"), "a header needs a name without a colon"));
        }
        latency.check(&format!("{at}.latency"), errors);
    }
}
