//! Who sends what: closed loads, where clients wait for their answer, open ones, where nobody waits, and traces, where all
//! is written down.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;
use serde::de::{Deserializer, Error};

use crate::scenario::calls::{get, root};
use crate::scenario::trace::TraceLoad;
use crate::scenario::{Files, Latency, ScenarioError};
use crate::span::Span;

/// The load of a scenario: one of `closed`, `open` and `trace`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Load {
    /// Clients that wait for their answer.
    #[serde(default)]
    pub closed: Option<ClosedLoad>,
    /// Arrivals that nothing holds back.
    #[serde(default)]
    pub open: Option<OpenLoad>,
    /// Recorded requests, as they came.
    #[serde(default)]
    pub trace: Option<TraceLoad>,
    /// Whose the requests are; nobody's unless given.
    #[serde(default)]
    pub users: Option<Users>,
    /// Users also ask for the files that an answer names in a header `link: </main.css>; rel=preload`, as browsers do; not unless given.
    #[serde(default)]
    pub files: bool,
    /// What is sent; one is drawn for each request. Not beside `trace`.
    #[serde(default)]
    pub requests: Vec<RequestKind>,
}

/// So many clients, each with one request at a time.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ClosedLoad {
    /// How many. All begin at once.
    pub clients: u32,
    /// Pause of a client between an answer and its next request; none unless given.
    #[serde(default)]
    pub think_time: Latency,
}

/// Requests that come whatever happens to those before.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct OpenLoad {
    /// How many arrive each second; may be a fraction. This or `ramp`.
    #[serde(default)]
    #[schemars(extend("minimum" = 0.000_001))]
    pub rate_per_second: Option<Rate>,
    /// Rates at moments; between them the rate changes evenly, before the first and after the last it stays.
    #[serde(default)]
    pub ramp: Vec<RampPoint>,
    /// How they are spaced; constant unless given.
    #[serde(default)]
    pub arrivals: OpenArrivals,
}

/// A rate at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RampPoint {
    /// Counted from the start.
    pub at: Span,
    /// How many arrive each second then; may be 0.
    pub rate_per_second: Rate,
}

/// How arrivals are spaced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum OpenArrivals {
    /// Evenly.
    #[default]
    Constant,
    /// Independently of each other: exponential gaps.
    Poisson,
}

/// A rate, to the millionth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Millionths per second.
    pub micros: u64,
}

/// People: each request is sent by one of them, drawn evenly.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Users {
    /// How many.
    pub count: u32,
    /// The request header that tells who it is, `user-1` and so on; none unless given.
    #[serde(default)]
    pub header: Option<String>,
    /// They keep the cookies that they are given, and send them from then on.
    #[serde(default)]
    pub cookies: bool,
}

/// One kind of request.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RequestKind {
    /// How often, relative to the other kinds; 1 unless given.
    #[serde(default = "one")]
    pub weight: u64,
    /// `GET` unless given.
    #[serde(default = "get")]
    pub method: String,
    /// The Host header.
    pub host: String,
    /// With the query; `/` unless given.
    #[serde(default = "root")]
    pub path: String,
    /// More headers.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// The body; none unless given.
    #[serde(default)]
    pub body: String,
}

fn one() -> u64 {
    1
}

impl<'de> Deserialize<'de> for Rate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = f64::deserialize(deserializer)?;
        let micros = (number * 1e6).round();
        if number == 0.0 || (1.0..=1e15).contains(&micros) {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "whole and within 0..=10^15")]
            return Ok(Self { micros: micros as u64 });
        }
        Err(D::Error::custom("a rate is 0, or lies between 0.000001 and 1000000000 a second"))
    }
}

impl Load {
    /// Reads the files that it names.
    pub(crate) fn read_files(&mut self, at: &str, files: Files<'_>, errors: &mut Vec<ScenarioError>) {
        if let Some(closed) = &mut self.closed {
            closed.think_time.read_file(&format!("{at}.closed.thinkTime"), files, errors);
        }
        if let Some(trace) = &mut self.trace {
            trace.read_file(&format!("{at}.trace"), files, errors);
        }
    }

    pub(crate) fn check(&self, at: &str, errors: &mut Vec<ScenarioError>) {
        let Self { closed, open, trace, users, files, requests } = self;
        let given = [closed.is_some(), open.is_some(), trace.is_some()];
        if given.into_iter().filter(|given| *given).count() != 1 {
            errors.push(ScenarioError::new(at, "give one of `closed`, `open` and `trace`"));
        }
        if let Some(ClosedLoad { clients, think_time }) = closed {
            if *clients == 0 {
                errors.push(ScenarioError::new(format!("{at}.closed.clients"), "at least one client is needed"));
            }
            think_time.check(&format!("{at}.closed.thinkTime"), errors);
        }
        if let Some(open) = open {
            open.check(&format!("{at}.open"), errors);
        }
        if *files && users.is_none() {
            let message = "files are asked for by users: give `users` too";
            errors.push(ScenarioError::new(format!("{at}.files"), message));
        }
        if *files && trace.is_some() {
            errors.push(ScenarioError::new(format!("{at}.files"), "a trace holds every request that is sent"));
        }
        if let Some(Users { count, header, cookies: _ }) = users {
            if *count == 0 {
                errors.push(ScenarioError::new(format!("{at}.users.count"), "at least one user is needed"));
            }
            if header.as_ref().is_some_and(|name| name.is_empty() || name.starts_with(':')) {
                let message = "a header needs a name without a colon";
                errors.push(ScenarioError::new(format!("{at}.users.header"), message));
            }
        }
        let at = format!("{at}.requests");
        if trace.is_some() {
            if !requests.is_empty() {
                errors.push(ScenarioError::new(&at, "the requests of a `trace` stand in its file"));
            }
        } else if requests.iter().try_fold(0_u64, |sum, kind| sum.checked_add(kind.weight)).is_none_or(|sum| sum == 0) {
            errors.push(ScenarioError::new(&at, "at least one kind of request needs a weight above zero"));
        }
        for (index, kind) in requests.iter().enumerate() {
            let RequestKind { weight: _, method, host, path, headers, body: _ } = kind;
            for (field, wrong, message) in [
                ("method", method.is_empty(), "a method has a name"),
                ("host", host.is_empty(), "a request has a host"),
                ("path", !path.starts_with('/'), "a path begins with `/`"),
                (
                    "headers",
                    headers.keys().any(|name| name.is_empty() || name.starts_with(':')),
                    "a header needs a name without a colon",
                ),
            ] {
                if wrong {
                    errors.push(ScenarioError::new(format!("{at}[{index}].{field}"), message));
                }
            }
        }
    }
}

impl OpenLoad {
    fn check(&self, at: &str, errors: &mut Vec<ScenarioError>) {
        let Self { rate_per_second, ramp, arrivals: _ } = self;
        if rate_per_second.is_some() != ramp.is_empty() {
            errors.push(ScenarioError::new(at, "give either `ratePerSecond` or `ramp`"));
        }
        if rate_per_second.is_some_and(|rate| rate.micros == 0) {
            errors.push(ScenarioError::new(format!("{at}.ratePerSecond"), "this must be above zero"));
        }
        if let Some(place) = ramp.windows(2).position(|pair| matches!(pair, [a, b] if a.at >= b.at)) {
            let message = "moments come in order, each after the one before";
            errors.push(ScenarioError::new(format!("{at}.ramp[{}].at", place + 1), message));
        }
        if !ramp.is_empty() && ramp.iter().all(|point| point.rate_per_second.micros == 0) {
            errors.push(ScenarioError::new(format!("{at}.ramp"), "at least one rate must be above zero"));
        }
    }
}
