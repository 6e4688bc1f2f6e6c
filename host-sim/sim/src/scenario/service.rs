//! How services behave: by host, by version, by outcome. Issue 8 adds time windows, capacity and calls to other services.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::scenario::{Latency, ScenarioError};

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
    /// One is drawn for each attempt.
    pub outcomes: Vec<OutcomeSpec>,
}

/// One thing that may happen to an attempt.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct OutcomeSpec {
    /// How often, relative to the other outcomes; 1 unless given.
    #[serde(default = "one")]
    pub share: u64,
    /// HTTP status; 200 unless given. Not beside `fault`.
    #[serde(default)]
    pub status: Option<u16>,
    /// No answer, and how.
    #[serde(default)]
    pub fault: Option<Fault>,
    /// When it happens, counted from the moment the attempt is sent; at once unless given.
    #[serde(default)]
    pub latency: Latency,
    /// The body of the answer.
    #[serde(default)]
    pub body: String,
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

impl ServiceSpec {
    pub(crate) fn check(&self, at: &str, errors: &mut Vec<ScenarioError>) {
        let Self { host, versions } = self;
        if host.is_empty() {
            errors.push(ScenarioError::new(format!("{at}.host"), "name the service"));
        }
        if versions.is_empty() {
            errors.push(ScenarioError::new(format!("{at}.versions"), "describe at least one version"));
        }
        for (index, VersionSpec { labels: _, outcomes }) in versions.iter().enumerate() {
            let at = format!("{at}.versions[{index}].outcomes");
            if outcomes.iter().try_fold(0_u64, |sum, outcome| sum.checked_add(outcome.share)).is_none_or(|sum| sum == 0)
            {
                errors.push(ScenarioError::new(&at, "at least one outcome needs a share above zero"));
            }
            for (index, outcome) in outcomes.iter().enumerate() {
                outcome.check(&format!("{at}[{index}]"), errors);
            }
        }
    }
}

impl OutcomeSpec {
    fn check(&self, at: &str, errors: &mut Vec<ScenarioError>) {
        let Self { share: _, status, fault, latency, body: _, headers } = self;
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
