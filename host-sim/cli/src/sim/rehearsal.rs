//! Scenarios as they are found in files, each with what it runs on.

use crate::deployment::{Deployment, Wished};
use crate::envoy_version;
use crate::failure::Failure;
use crate::input::{Input, manifests};
use crate::say;
use crate::sim::player::Played;
use istio_config::Severity;
use istio_config::filter_config::RepeatedHeaders;
use istio_config::outbound::{OutboundMode, UnknownOutboundMode};
use istio_config::yaml::{Document, documents};
use std::path::{Path, PathBuf};
use traffic_policy::RuleId;
use traffic_sim::{ConfiguredShare, Files, RunError, Scenario, ScenarioError};

/// The files of the demonstration, which is the sentiment story of `examples/`: name and text.
const DEMONSTRATION: [(&str, &str); 7] = [
    ("services.yaml", include_str!("../../../../examples/sentiment/services.yaml")),
    ("shadowing/sa-logic.yaml", include_str!("../../../../examples/sentiment/shadowing/sa-logic.yaml")),
    ("canary/sa-logic.yaml", include_str!("../../../../examples/sentiment/canary/sa-logic.yaml")),
    ("canary-retries/sa-logic.yaml", include_str!("../../../../examples/sentiment/canary-retries/sa-logic.yaml")),
    ("shadowing.scenario.yaml", include_str!("../../../../examples/sentiment/shadowing.scenario.yaml")),
    ("canary.scenario.yaml", include_str!("../../../../examples/sentiment/canary.scenario.yaml")),
    ("canary-retries.scenario.yaml", include_str!("../../../../examples/sentiment/canary-retries.scenario.yaml")),
];

/// A scenario in a file.
pub(crate) struct Found {
    pub(crate) scenario: Scenario,
    /// How messages name the file.
    pub(crate) file: String,
    document: Document,
}

/// A scenario and what it runs on.
pub(crate) struct Rehearsal {
    pub(crate) found: Found,
    pub(crate) deployment: Deployment,
    /// What its moments apply, in their order.
    pub(crate) later: Vec<Deployment>,
}

impl Found {
    /// Prints each fault with its place.
    pub(crate) fn refused(&self, errors: &[ScenarioError]) -> Failure {
        refused(&self.file, &self.document, errors)
    }

    /// The same for whatever keeps a scenario from being played.
    pub(crate) fn not_played(&self, error: &RunError) -> Failure {
        match error {
            RunError::Scenario(errors) => self.refused(errors),
            RunError::Start(_) => Failure::Failed(error.to_string()),
        }
    }

    /// What the scenario says of the filter, beside the manifests.
    pub(crate) fn wished(&self) -> Result<Wished, Failure> {
        let spec = &self.scenario.spec;
        let wished = || -> Result<Wished, ScenarioError> {
            Ok(Wished {
                fresh_spans: spec.fresh_spans,
                outbound: outbound(&self.scenario)?,
                labels: spec.labels.clone(),
                locality: spec.locality.as_str().into(),
                repeated_headers: repeated_headers(&self.scenario)?,
            })
        };
        wished().map_err(|error| self.refused(&[error]))
    }
}

impl Rehearsal {
    fn new(found: Found, read_manifest: impl Fn(&str, &mut Input) -> Result<(), Failure>) -> Result<Self, Failure> {
        let wished = found.wished()?;
        let deployed = |field: String, manifests: &[String]| {
            let mut input = Input::default();
            for (index, manifest) in manifests.iter().enumerate() {
                read_manifest(manifest, &mut input).map_err(|failure| match failure.message() {
                    Some(message) => found.refused(&[ScenarioError {
                        field: format!("{field}[{index}]"),
                        message: format!("this manifest cannot be read: {message}"),
                    }]),
                    None => failure,
                })?;
            }
            Deployment::new(input, "default", wished.clone(), false)
        };
        let deployment = deployed("spec.manifests".to_owned(), &found.scenario.spec.manifests)?;
        let moments = found.scenario.spec.timeline.iter().enumerate();
        let applied = moments.filter_map(|(index, moment)| Some((index, moment.apply.as_deref()?)));
        let applied = applied.map(|(index, manifests)| deployed(format!("spec.timeline[{index}].apply"), manifests));
        let later = applied.collect::<Result<_, _>>()?;
        Ok(Self { found, deployment, later })
    }

    pub(crate) fn played(&self) -> Played<'_> {
        Played { deployment: &self.deployment, later: &self.later }
    }

    /// What `-f` names, or the demonstration.
    pub(crate) fn all(files: &[PathBuf]) -> Result<Vec<Self>, Failure> {
        if files.is_empty() {
            return demonstration();
        }
        let rehearsals = found(files)?.into_iter().map(|found| {
            let folder = Path::new(&found.file).parent().unwrap_or(Path::new("")).to_owned();
            Self::new(found, |name, input| input.add_path(&folder.join(name)))
        });
        rehearsals.collect()
    }
}

/// The scenarios in these files and directories, among whatever else is there; there may be none.
pub(crate) fn scenarios_among(paths: &[PathBuf], recursive: bool) -> Result<Vec<Found>, Failure> {
    let mut all = Vec::new();
    for path in paths {
        for file in &manifests(path, recursive)? {
            let text = std::fs::read_to_string(file).map_err(|error| Failure::file(file, error))?;
            if text.contains(SAYS_SCENARIO) {
                all.extend(scenarios(&file.display().to_string(), &text, &beside(file))?);
            }
        }
    }
    Ok(all)
}

/// In a directory of manifests the scenarios are those that say so.
const SAYS_SCENARIO: &str = "kind: Scenario";

/// Whether a file says so. What cannot be read may: who reads it hears why.
fn may_say_scenario(file: &Path) -> bool {
    std::fs::read_to_string(file).map_or(true, |text| text.contains(SAYS_SCENARIO))
}

/// Every scenario that these files and directories hold; a directory may hold other things too.
fn found(files: &[PathBuf]) -> Result<Vec<Found>, Failure> {
    let mut named = Vec::new();
    for path in files {
        let is_scenario = |file: &PathBuf| !path.is_dir() || may_say_scenario(file);
        named.extend(manifests(path, false)?.into_iter().filter(is_scenario));
    }
    if named.is_empty() {
        return Err(Failure::Failed("no `kind: Scenario` in these directories".to_owned()));
    }
    let mut all = Vec::new();
    for file in &named {
        let text = if file.as_os_str() == "-" {
            std::io::read_to_string(std::io::stdin()).map_err(|error| Failure::file(file, error))?
        } else {
            std::fs::read_to_string(file).map_err(|error| Failure::file(file, error))?
        };
        all.extend(scenarios(&file.display().to_string(), &text, &beside(file))?);
    }
    Ok(all)
}

fn demonstration() -> Result<Vec<Rehearsal>, Failure> {
    say::note("no -f: the demonstration, from examples/sentiment");
    let read = |name: &str, input: &mut Input| {
        let text = DEMONSTRATION.iter().find(|(file, _)| *file == name).map(|(_, text)| *text);
        let text = text.ok_or_else(|| Failure::Failed(format!("{name} is not part of the demonstration")))?;
        input.add(name, text.as_bytes());
        Ok(())
    };
    let mut rehearsals = Vec::new();
    for (name, text) in DEMONSTRATION.iter().filter(|(name, _)| name.ends_with(".scenario.yaml")) {
        for found in scenarios(name, text, &|name| Err(format!("{name} is not part of the demonstration")))? {
            rehearsals.push(Rehearsal::new(found, read)?);
        }
    }
    Ok(rehearsals)
}

/// Reads files by names relative to this one.
fn beside(file: &Path) -> impl Fn(&str) -> Result<String, String> + use<> {
    let folder = file.parent().unwrap_or(Path::new("")).to_owned();
    move |name| {
        let path = folder.join(name);
        std::fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))
    }
}

/// Every scenario in a text; `files` gives the text of files that it names.
fn scenarios(file: &str, text: &str, files: Files<'_>) -> Result<Vec<Found>, Failure> {
    let (documents, fault) = documents(text);
    if let Some(fault) = fault {
        let place = format!("{file}:{}:{}", fault.at.line, fault.at.column);
        say::finding(&place, "", Severity::Error, "syntax", &fault.message, fault.help);
        return Err(Failure::Found);
    }
    let is_scenario = |document: &Document| document.value.get("kind").is_some_and(|kind| kind == "Scenario");
    let mut all = Vec::new();
    for document in documents.into_iter().filter(is_scenario) {
        let scenario =
            Scenario::read_with(document.value.clone(), files).map_err(|errors| refused(file, &document, &errors))?;
        all.push(Found { scenario, file: file.to_owned(), document });
    }
    if all.is_empty() {
        return Err(Failure::Failed(format!("{file}: no `kind: Scenario` in this file")));
    }
    Ok(all)
}

fn outbound(scenario: &Scenario) -> Result<Option<OutboundMode>, ScenarioError> {
    let named = scenario.spec.outbound_traffic_policy.as_deref();
    named.map(str::parse).transpose().map_err(|error: UnknownOutboundMode| ScenarioError {
        field: "spec.outboundTrafficPolicy".to_owned(),
        message: error.to_string(),
    })
}

fn repeated_headers(scenario: &Scenario) -> Result<RepeatedHeaders, ScenarioError> {
    let version = scenario.spec.envoy_version.as_deref().map(envoy_version::repeated_headers).transpose();
    let field = "spec.envoyVersion".to_owned();
    version.map(Option::unwrap_or_default).map_err(|message| ScenarioError { field, message })
}

fn refused(file: &str, document: &Document, errors: &[ScenarioError]) -> Failure {
    for ScenarioError { field, message } in errors {
        let at = document.locate(field);
        say::finding(&format!("{file}:{}:{}", at.line, at.column), field, Severity::Error, "bad-scenario", message, "");
    }
    Failure::Found
}

/// The shares that the rules ask for.
pub(crate) fn configured(deployment: &Deployment) -> Vec<ConfiguredShare> {
    let shares: Vec<_> = deployment.policy.shares().collect();
    let by_user: Vec<&RuleId> = deployment.policy.sticky_rules().map(|sticky| sticky.rule).collect();
    let guarded: Vec<&RuleId> = deployment.policy.guarded_rules().collect();
    // Without a choice there is nothing to compare.
    let is_choice = |rule: &RuleId| shares.iter().filter(|(other, ..)| *other == rule).count() > 1;
    shares
        .iter()
        .filter(|(rule, ..)| is_choice(rule))
        .map(|(rule, cluster, weight)| ConfiguredShare {
            rule: rule.to_string(),
            cluster: (*cluster).to_owned(),
            weight: *weight,
            by_user: by_user.contains(rule),
            guarded: guarded.contains(rule),
        })
        .collect()
}
