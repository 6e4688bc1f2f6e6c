//! A scenario as the user writes it: load, services and how they behave, and the manifests to rehearse.
//!
//! ```yaml
//! apiVersion: shunt.dev/v1alpha1
//! kind: Scenario
//! metadata: { name: sentiment-canary }
//! spec:
//!   seed: 1
//!   manifests: [rules.yaml, services.yaml]
//!   duration: 5m
//!   services:
//!     - host: sa-logic.default.svc.cluster.local
//!       versions:
//!         - labels: { version: v2 }
//!           outcomes:
//!             - { share: 1, latency: 30s }
//!             - { share: 1, status: 500, latency: { uniform: [10ms, 50ms] } }
//!             - { share: 1, latency: { exponential: 40ms } }
//!   load:
//!     closed: { clients: 10, thinkTime: 500ms }
//!     requests:
//!       - { method: POST, host: sa-logic, path: /analyse/sentiment, body: '{"sentence": "I love yogobella"}' }
//! ```
//!
//! Unknown fields are refused. What depends on the plan (whether a service exists) is checked when a run begins.

mod calls;
mod expect;
mod latency;
mod load;
mod schema;
mod service;
mod timeline;
mod trace;
mod when;

pub use calls::{CallSpec, Count, OnFailure, Share};
pub(crate) use expect::Wanted;
pub use expect::{ExpectSpec, Measure, OfSpec, Percentile, Statuses};
pub use latency::{Latency, Samples};
pub use load::{ClosedLoad, Load, OpenArrivals, OpenLoad, RampPoint, Rate, RequestKind, Users};
pub use schema::scenario_schema;
pub use service::{Capacity, Fault, OutcomeSpec, ServiceSpec, VersionSpec};
pub use timeline::{Break, Moment, Scale, Which};
pub(crate) use trace::TraceLine;
pub use trace::TraceLoad;
pub use when::{Text, When};

use envoy_plan::{PathNormalization, UnknownPathNormalization};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;

use crate::span::Span;

/// The `apiVersion` of a scenario.
const API_VERSION: &str = "shunt.dev/v1alpha1";
/// The `kind` of a scenario.
const KIND: &str = "Scenario";

/// A whole scenario.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Scenario {
    /// `shunt.dev/v1alpha1`.
    #[schemars(extend("const" = API_VERSION))]
    pub api_version: String,
    /// `Scenario`.
    #[schemars(extend("const" = KIND))]
    pub kind: String,
    /// Its name.
    pub metadata: Metadata,
    /// What happens.
    pub spec: Spec,
}

/// What the report calls it. Other fields of a Kubernetes `metadata` may stand there and mean nothing.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Metadata {
    /// The name in the report.
    pub name: String,
}

/// What happens in a scenario.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Spec {
    /// Where all chance comes from; 1 unless given.
    #[serde(default = "one")]
    pub seed: u64,
    /// A sentence for the report.
    #[serde(default)]
    pub description: String,
    /// Files with Istio objects, relative to the scenario's own; whoever reads the scenario reads them.
    #[serde(default)]
    pub manifests: Vec<String>,
    /// No request begins later; those under way are waited for. Absent: only `requests` ends the load.
    #[serde(default)]
    pub duration: Option<Span>,
    /// So many requests are sent. Absent: only `duration` ends the load.
    #[serde(default)]
    pub requests: Option<u64>,
    /// How paths are normalised before the filter sees them; `BASE` unless given.
    #[serde(default)]
    pub path_normalization: Normalization,
    /// Each request goes on under a new span; whoever configures the filter reads it.
    #[serde(default)]
    pub fresh_spans: bool,
    /// Labels of the workload that calls, with which `sourceLabels` are compared; whoever configures the filter reads them.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Where that workload runs, `REGION/ZONE/SUBZONE`, by which endpoints are preferred; whoever makes the plan reads it.
    #[serde(default)]
    pub locality: String,
    /// What a host meets that neither the registry nor a rule knows, by Istio's words; whoever configures the filter reads
    /// it. With `ALLOW_ANY`, services that the manifests do not have are the world outside.
    #[serde(default)]
    pub outbound_traffic_policy: Option<String>,
    /// The Envoy as whose routes the filter compares repeated headers; whoever configures the filter reads it.
    #[serde(default)]
    pub envoy_version: Option<String>,
    /// How the services behave. An endpoint that no version describes answers 200 at once, and the report says so.
    #[serde(default)]
    pub services: Vec<ServiceSpec>,
    /// What changes meanwhile.
    #[serde(default)]
    pub timeline: Vec<Moment>,
    /// Who sends what.
    pub load: Load,
    /// The client gives up after this time. Absent: it waits for ever.
    #[serde(default)]
    pub client_timeout: Option<Span>,
    /// A mirror's answer later than this counts as a failure in the mirror's balance. Absent: however late, it counts.
    #[serde(default)]
    pub too_slow: Option<Span>,
    /// What shall come of the run; a report says of each whether it did.
    #[serde(default)]
    pub expect: Vec<ExpectSpec>,
}

/// [`PathNormalization`] by Istio's name, in upper or lower case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Normalization(pub PathNormalization);

impl TryFrom<String> for Normalization {
    type Error = UnknownPathNormalization;

    fn try_from(name: String) -> Result<Self, UnknownPathNormalization> {
        name.parse().map(Self)
    }
}

fn one() -> u64 {
    1
}

/// Gives the text of a file that a scenario names, or says why it cannot.
pub type Files<'a> = &'a dyn Fn(&str) -> Result<String, String>;

/// What is wrong with a scenario, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {message}")]
pub struct ScenarioError {
    /// The path of the field, `spec.load.closed.clients`.
    pub field: String,
    /// What is wrong, and what would be right.
    pub message: String,
}

impl ScenarioError {
    pub(crate) fn new(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self { field: field.into(), message: message.into() }
    }
}

/// The reader names numbers as Rust does.
fn in_plain_words(message: &str) -> String {
    ["u64", "u32", "u16", "usize"].iter().fold(message.to_owned(), |message, kind| {
        message.replace(&format!("expected {kind}"), "expected a whole number that is not negative")
    })
}

impl Scenario {
    /// Reads a scenario that names no files from its JSON form (the caller has read the YAML).
    ///
    /// # Errors
    ///
    /// The first field that cannot be read, or else every field whose value makes no sense.
    pub fn read(value: Value) -> Result<Self, Vec<ScenarioError>> {
        Self::read_with(value, &|name| Err(format!("there is no file {name} here")))
    }

    /// The same with the files it names, manifests excepted.
    ///
    /// # Errors
    ///
    /// As [`Scenario::read`], and files that cannot be had or understood.
    pub fn read_with(value: Value, files: Files<'_>) -> Result<Self, Vec<ScenarioError>> {
        let mut scenario: Self = serde_path_to_error::deserialize(value).map_err(|error| {
            let field = error.path().to_string();
            vec![ScenarioError::new(field, in_plain_words(&error.into_inner().to_string()))]
        })?;
        let mut errors = Vec::new();
        let Spec { services, timeline, load, .. } = &mut scenario.spec;
        for (index, service) in services.iter_mut().enumerate() {
            service.read_files(&format!("spec.services[{index}]"), files, &mut errors);
        }
        for (index, moment) in timeline.iter_mut().enumerate() {
            moment.read_files(&format!("spec.timeline[{index}]"), files, &mut errors);
        }
        load.read_files("spec.load", files, &mut errors);
        errors.extend(scenario.check());
        if errors.is_empty() { Ok(scenario) } else { Err(errors) }
    }

    fn check(&self) -> Vec<ScenarioError> {
        let Self { api_version, kind, metadata: _, spec } = self;
        let mut errors = Vec::new();
        let mut wants = |found: &str, wanted: &str, field: &str| {
            if found != wanted {
                errors.push(ScenarioError::new(field, format!("this must be `{wanted}`, not `{found}`")));
            }
        };
        wants(api_version, API_VERSION, "apiVersion");
        wants(kind, KIND, "kind");
        let Spec {
            seed: _,
            description: _,
            manifests: _,
            duration,
            requests,
            path_normalization: _,
            fresh_spans: _,
            labels: _,
            locality: _,
            outbound_traffic_policy: _,
            envoy_version: _,
            services,
            timeline,
            load,
            client_timeout,
            too_slow: _,
            expect,
        } = spec;
        if duration.is_none() && requests.is_none() && load.trace.is_none() {
            errors.push(ScenarioError::new("spec", "give `duration`, `requests` or both, or the load never ends"));
        }
        for (field, zero) in [
            ("spec.duration", duration.is_some_and(|span| span.as_nanos() == 0)),
            ("spec.requests", *requests == Some(0)),
            ("spec.clientTimeout", client_timeout.is_some_and(|span| span.as_nanos() == 0)),
        ] {
            if zero {
                errors.push(ScenarioError::new(field, "this must be above zero"));
            }
        }
        for (index, service) in services.iter().enumerate() {
            service.check(&format!("spec.services[{index}]"), &mut errors);
        }
        for (index, moment) in timeline.iter().enumerate() {
            moment.check(&format!("spec.timeline[{index}]"), &mut errors);
        }
        if let Some(place) = timeline.windows(2).position(|pair| matches!(pair, [a, b] if a.at > b.at)) {
            let field = format!("spec.timeline[{}].at", place + 1);
            errors.push(ScenarioError::new(field, "moments come in the order of time"));
        }
        load.check("spec.load", &mut errors);
        for (index, expectation) in expect.iter().enumerate() {
            let at = format!("spec.expect[{index}]");
            expectation.check(&at, &mut errors);
            if expect.iter().take(index).any(|other| other.name == expectation.name) {
                errors.push(ScenarioError::new(format!("{at}.name"), "another expectation has this name"));
            }
        }
        errors
    }
}
