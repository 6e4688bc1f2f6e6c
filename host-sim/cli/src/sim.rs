//! `shunt sim`: plays scenarios and prints what came of them.

use crate::arguments::SimOptions;
use crate::deployment::{Deployment, Wished};
use crate::failure::Failure;
use crate::input::{Input, manifests};
use crate::output::Output;
use crate::{envoy_version, module, say};
use host_abi::Module;
use indicatif::{ProgressBar, ProgressStyle};
use istio_config::Severity;
use istio_config::filter_config::RepeatedHeaders;
use istio_config::outbound::{OutboundMode, UnknownOutboundMode};
use istio_config::yaml::{Document, documents};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;
use traffic_policy::RuleId;
use traffic_sim::{Comparison, ConfiguredShare, Control, Report, Scenario, ScenarioError, Setup};

/// The files of the demonstration, which is the sentiment story of `examples/`: name and text.
const DEMONSTRATION: [(&str, &str); 7] = [
    ("services.yaml", include_str!("../../../examples/sentiment/services.yaml")),
    ("shadowing/sa-logic.yaml", include_str!("../../../examples/sentiment/shadowing/sa-logic.yaml")),
    ("canary/sa-logic.yaml", include_str!("../../../examples/sentiment/canary/sa-logic.yaml")),
    ("canary-retries/sa-logic.yaml", include_str!("../../../examples/sentiment/canary-retries/sa-logic.yaml")),
    ("shadowing.scenario.yaml", include_str!("../../../examples/sentiment/shadowing.scenario.yaml")),
    ("canary.scenario.yaml", include_str!("../../../examples/sentiment/canary.scenario.yaml")),
    ("canary-retries.scenario.yaml", include_str!("../../../examples/sentiment/canary-retries.scenario.yaml")),
];

pub(crate) fn run(options: &SimOptions, module: &Option<PathBuf>) -> Result<(), Failure> {
    let SimOptions { files, seed, output } = options;
    let output = Output::new(output, &["text", "json"])?;
    let mut rehearsals = if files.is_empty() { demonstration()? } else { from_files(files)? };
    if let Some(seed) = seed {
        rehearsals.iter_mut().for_each(|rehearsal| rehearsal.scenario.spec.seed = *seed);
    }
    let module = module::compiled(module)?;
    let stop = Arc::new(AtomicBool::new(false));
    let handler = stop.clone();
    ctrlc::set_handler(move || handler.store(true, Ordering::Relaxed))
        .map_err(|error| Failure::Failed(error.to_string()))?;
    let mut reports = Vec::new();
    for rehearsal in &rehearsals {
        reports.push(play(rehearsal, &module, &stop)?);
        if stop.load(Ordering::Relaxed) {
            say::note("stopped: the report tells what there is");
            break;
        }
    }
    output.write(&if output.is_json() { json(&reports)? } else { text(&reports) })?;
    if reports.iter().any(|report| !report.violations.is_empty()) {
        return Err(Failure::Failed("a checker found a violation: see the report".to_owned()));
    }
    Ok(())
}

/// A scenario and what it runs on.
struct Rehearsal {
    scenario: Scenario,
    deployment: Deployment,
    /// How messages name it.
    file: String,
    document: Document,
}

fn from_files(files: &[PathBuf]) -> Result<Vec<Rehearsal>, Failure> {
    let mut rehearsals = Vec::new();
    let mut named = Vec::new();
    for path in files {
        // In a directory of manifests the scenarios are those that say so.
        let is_scenario = |file: &PathBuf| {
            !path.is_dir() || std::fs::read_to_string(file).is_ok_and(|text| text.contains("kind: Scenario"))
        };
        named.extend(manifests(path, false)?.into_iter().filter(is_scenario));
    }
    if named.is_empty() {
        return Err(Failure::Failed("no `kind: Scenario` in these directories".to_owned()));
    }
    for file in &named {
        let text = if file.as_os_str() == "-" {
            std::io::read_to_string(std::io::stdin()).map_err(|error| Failure::file(file, error))?
        } else {
            std::fs::read_to_string(file).map_err(|error| Failure::file(file, error))?
        };
        let folder = file.parent().unwrap_or(Path::new(""));
        let read = |name: &str, input: &mut Input| input.add_path(&folder.join(name));
        rehearsals.extend(scenarios(&file.display().to_string(), &text, read)?);
    }
    Ok(rehearsals)
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
        rehearsals.extend(scenarios(name, text, read)?);
    }
    Ok(rehearsals)
}

/// Every scenario in a text; `read_manifest` adds a manifest that it names.
fn scenarios(
    file: &str,
    text: &str,
    read_manifest: impl Fn(&str, &mut Input) -> Result<(), Failure>,
) -> Result<Vec<Rehearsal>, Failure> {
    let (documents, fault) = documents(text);
    if let Some(fault) = fault {
        let place = format!("{file}:{}:{}", fault.at.line, fault.at.column);
        say::finding(&place, "", Severity::Error, "syntax", &fault.message, fault.help);
        return Err(Failure::Found);
    }
    let mut rehearsals = Vec::new();
    for document in
        documents.into_iter().filter(|document| document.value.get("kind").is_some_and(|kind| kind == "Scenario"))
    {
        let scenario = Scenario::read(document.value.clone()).map_err(|errors| refused(file, &document, &errors))?;
        let mut input = Input::default();
        for manifest in &scenario.spec.manifests {
            read_manifest(manifest, &mut input)?;
        }
        let outbound = outbound(&scenario).map_err(|error| refused(file, &document, &[error]))?;
        let labels = scenario.spec.labels.clone();
        let repeated_headers = repeated_headers(&scenario).map_err(|error| refused(file, &document, &[error]))?;
        let locality = scenario.spec.locality.as_str().into();
        let wished = Wished { fresh_spans: scenario.spec.fresh_spans, outbound, labels, locality, repeated_headers };
        let deployment = Deployment::new(input, "default", wished, false)?;
        rehearsals.push(Rehearsal { scenario, deployment, file: file.to_owned(), document });
    }
    if rehearsals.is_empty() {
        return Err(Failure::Failed(format!("{file}: no `kind: Scenario` in this file")));
    }
    Ok(rehearsals)
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

fn play(rehearsal: &Rehearsal, module: &Module, stop: &AtomicBool) -> Result<Report, Failure> {
    let Rehearsal { scenario, deployment, file, document } = rehearsal;
    let configuration = deployment.filter_configuration();
    let setup = Setup {
        module,
        configuration: &configuration,
        plan: deployment.plan.clone(),
        configured: configured(deployment),
    };
    // On a terminal only; gone when the report stands.
    let style = ProgressStyle::with_template("{prefix} {bar:30} {percent}% {msg}, {eta} to go");
    let bar = ProgressBar::new(1000).with_prefix(scenario.metadata.name.clone());
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    let start = Instant::now();
    let mut progress = |progress: traffic_sim::Progress| {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 1000")]
        bar.set_position((progress.fraction * 1000.0) as u64);
        bar.set_message(format!("{} requests/s", per_second(progress.requests, start)));
    };
    let played = traffic_sim::run(scenario, setup, Control { progress: Some(&mut progress), stop: Some(stop) });
    bar.finish_and_clear();
    let report = played.map_err(|error| match &error {
        traffic_sim::RunError::Scenario(errors) => refused(file, document, errors),
        traffic_sim::RunError::Start(_) => Failure::Failed(error.to_string()),
    })?;
    let requests = report.totals.begun;
    say::note(&format!(
        "{}: {requests} requests simulated in {:.1} s, {} a second",
        scenario.metadata.name,
        start.elapsed().as_secs_f64(),
        per_second(requests, start)
    ));
    Ok(report)
}

fn per_second(requests: u64, since: Instant) -> u64 {
    let elapsed = u64::try_from(since.elapsed().as_micros()).unwrap_or(u64::MAX).max(1);
    requests.saturating_mul(1_000_000) / elapsed
}

fn configured(deployment: &Deployment) -> Vec<ConfiguredShare> {
    let shares: Vec<_> = deployment.policy.shares().collect();
    // Without a choice there is nothing to compare.
    let is_choice = |rule: &RuleId| shares.iter().filter(|(other, ..)| *other == rule).count() > 1;
    shares
        .iter()
        .filter(|(rule, ..)| is_choice(rule))
        .map(|(rule, cluster, weight)| ConfiguredShare {
            rule: rule.to_string(),
            cluster: (*cluster).to_owned(),
            weight: *weight,
        })
        .collect()
}

fn json(reports: &[Report]) -> Result<String, Failure> {
    let text = match reports {
        [only] => serde_json::to_string_pretty(only),
        several => serde_json::to_string_pretty(several),
    };
    text.map(|text| text + "\n").map_err(|error| Failure::Failed(error.to_string()))
}

fn text(reports: &[Report]) -> String {
    let mut text = reports.iter().map(Report::to_string).collect::<Vec<_>>().join("\n");
    if reports.len() > 1 {
        text.push('\n');
        let named = reports.iter().map(|report| (report.scenario.as_str(), report));
        text.push_str(&Comparison::new(named).to_string());
    }
    text
}
