//! Who sends what: closed loads, where clients wait for their answer, and open ones, where nobody waits. Issue 8 adds
//! ramps, traces and users with identities.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;
use serde::de::{Deserializer, Error};

use crate::scenario::ScenarioError;
use crate::span::Span;

/// The load of a scenario: either `closed` or `open`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Load {
    /// Clients that wait for their answer.
    #[serde(default)]
    pub closed: Option<ClosedLoad>,
    /// Arrivals that nothing holds back.
    #[serde(default)]
    pub open: Option<OpenLoad>,
    /// What is sent; one is drawn for each request.
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
    pub think_time: Span,
}

/// Requests that come whatever happens to those before.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct OpenLoad {
    /// How many arrive each second; may be a fraction.
    pub rate_per_second: Rate,
    /// How they are spaced; constant unless given.
    #[serde(default)]
    pub arrivals: OpenArrivals,
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

fn get() -> String {
    "GET".to_owned()
}

fn root() -> String {
    "/".to_owned()
}

impl<'de> Deserialize<'de> for Rate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = f64::deserialize(deserializer)?;
        let micros = (number * 1e6).round();
        if (1.0..=1e15).contains(&micros) {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "whole and within 1..=10^15")]
            return Ok(Self { micros: micros as u64 });
        }
        Err(D::Error::custom("a rate lies between 0.000001 and 1000000000 a second"))
    }
}

impl Load {
    pub(crate) fn check(&self, at: &str, errors: &mut Vec<ScenarioError>) {
        let Self { closed, open, requests } = self;
        if closed.is_some() == open.is_some() {
            errors.push(ScenarioError::new(at, "give either `closed` or `open`"));
        }
        if closed.as_ref().is_some_and(|closed| closed.clients == 0) {
            errors.push(ScenarioError::new(format!("{at}.closed.clients"), "at least one client is needed"));
        }
        let at = format!("{at}.requests");
        if requests.iter().try_fold(0_u64, |sum, kind| sum.checked_add(kind.weight)).is_none_or(|sum| sum == 0) {
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
