//! What changes while a scenario is played: rules, the number of endpoints, the health of a version.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::scenario::{Files, OutcomeSpec, ScenarioError};
use crate::span::Span;

/// One moment and what happens then.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Moment {
    /// Counted from the start.
    pub at: Span,
    /// From now on these manifests are in force and no others; requests under way finish on those they began with. Files,
    /// relative to the scenario's own; whoever reads the scenario reads them.
    #[serde(default)]
    pub apply: Option<Vec<String>>,
    /// A version has another number of endpoints.
    #[serde(default)]
    pub scale: Option<Scale>,
    /// A version behaves otherwise.
    #[serde(default, rename = "break")]
    pub breaks: Option<Break>,
    /// A version behaves as described under `services` again.
    #[serde(default)]
    pub mend: Option<Which>,
}

/// Some of a service's endpoints.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Which {
    /// As under `services`.
    pub host: String,
    /// Likewise.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
}

/// Another number of endpoints: the last ones go, or copies of the last one come.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Scale {
    /// In full or its first labels.
    pub host: String,
    /// Labels that an endpoint must carry; none: any endpoint.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// How many there are from now on.
    pub endpoints: u32,
}

/// Other outcomes.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Break {
    /// As under `services`.
    pub host: String,
    /// Likewise.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// In place of those under `services`.
    pub outcomes: Vec<OutcomeSpec>,
}

impl Moment {
    /// Reads the files that it names, manifests excepted.
    pub(crate) fn read_files(&mut self, at: &str, files: Files<'_>, errors: &mut Vec<ScenarioError>) {
        let outcomes = self.breaks.iter_mut().flat_map(|breaks| &mut breaks.outcomes);
        for (place, outcome) in outcomes.enumerate() {
            outcome.latency.read_file(&format!("{at}.break.outcomes[{place}].latency"), files, errors);
        }
    }

    pub(crate) fn check(&self, at: &str, errors: &mut Vec<ScenarioError>) {
        let Self { at: _, apply, scale, breaks, mend } = self;
        if apply.is_none() && scale.is_none() && breaks.is_none() && mend.is_none() {
            errors.push(ScenarioError::new(at, "say what happens: `apply`, `scale`, `break` or `mend`"));
        }
        if apply.as_ref().is_some_and(Vec::is_empty) {
            errors.push(ScenarioError::new(format!("{at}.apply"), "name at least one file"));
        }
        if scale.as_ref().is_some_and(|scale| scale.endpoints > 10_000) {
            let message = "a version has at most 10000 endpoints here";
            errors.push(ScenarioError::new(format!("{at}.scale.endpoints"), message));
        }
        if let Some(Break { host: _, labels: _, outcomes }) = breaks {
            OutcomeSpec::check_all(outcomes, &format!("{at}.break.outcomes"), errors);
        }
    }
}
