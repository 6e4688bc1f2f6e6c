//! `shunt sim`: plays scenarios and prints what came of them.

pub(crate) mod player;
pub(crate) mod rehearsal;
mod trace;

use crate::arguments::SimOptions;
use crate::failure::Failure;
use crate::output::Output;
use crate::{module, say};
use player::Player;
use rehearsal::Rehearsal;
use std::path::PathBuf;
use traffic_sim::{Comparison, Expectation, Report, Spread};

pub(crate) fn run(options: &SimOptions, module: &Option<PathBuf>) -> Result<(), Failure> {
    let SimOptions { files, seed, runs, jobs, trace, output } = options;
    let output = Output::new(output, &["text", "json", "html"])?;
    if output.format() == "html" && (runs.is_some() || trace.is_some()) {
        return Err(Failure::Usage("a page shows single runs: with --runs or --trace choose text or json".to_owned()));
    }
    let mut rehearsals = Rehearsal::all(files)?;
    if let Some(seed) = seed {
        rehearsals.iter_mut().for_each(|rehearsal| rehearsal.found.scenario.spec.seed = *seed);
    }
    let module = module::compiled_once(module)?;
    if let Some(request) = trace {
        return trace::run(&rehearsals, module, *request, &output);
    }
    let player = Player::new(module)?;
    match runs {
        Some(runs) => many(&player, &rehearsals, *runs, jobs.map_or_else(cores, usize::from), &output),
        None => once(&player, &rehearsals, &output),
    }
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Each scenario once.
fn once(player: &Player, rehearsals: &[Rehearsal], output: &Output) -> Result<(), Failure> {
    let mut reports = Vec::new();
    for rehearsal in rehearsals {
        reports.push(player.play(&rehearsal.found, rehearsal.played())?);
        if player.is_stopped() {
            say::note("stopped: the report tells what there is");
            break;
        }
    }
    output.write(&match output.format() {
        "json" => json(&reports)?,
        "html" => traffic_sim::html(&reports),
        _ => text(&reports),
    })?;
    let failed = reports.iter().flat_map(|report| report.failed().map(|failed| (&report.scenario, failed.clone())));
    verdict(reports.iter().map(|report| (&report.scenario, report.violations.clone())), failed)
}

/// Each scenario with many seeds.
fn many(player: &Player, rehearsals: &[Rehearsal], runs: u64, jobs: usize, output: &Output) -> Result<(), Failure> {
    let mut spreads = Vec::new();
    for rehearsal in rehearsals {
        let found = &rehearsal.found;
        let reports = player.play_many(found, rehearsal.played(), runs, jobs)?;
        let complete = reports.len();
        if complete > 0 {
            spreads.push((&found.scenario.metadata.name, Spread::new(reports)));
        }
        if player.is_stopped() {
            say::note(&format!("stopped: {complete} of {runs} runs of {} were complete", found.scenario.metadata.name));
            break;
        }
    }
    let told = spreads.iter().map(|(_, spread)| match output.is_json() {
        true => spread.to_json().map_err(|error| Failure::Failed(error.to_string())),
        false => Ok(spread.to_string()),
    });
    let told = told.collect::<Result<Vec<_>, _>>()?;
    output.write(&match (output.is_json(), told.as_slice()) {
        (true, [only]) => format!("{only}\n"),
        (true, several) => format!("[{}]\n", several.join(",\n")),
        (false, several) => several.join("\n"),
    })?;
    let failed = spreads.iter().flat_map(|(name, spread)| spread.failed().map(move |failed| (*name, failed)));
    verdict(spreads.iter().map(|(name, spread)| (*name, spread.violations())), failed)
}

/// The exit code, and on stderr what it is about: of each scenario the first violation, which may be why expectations failed, and
/// these.
fn verdict<'a>(
    violations: impl Iterator<Item = (&'a String, Vec<String>)>,
    failed: impl Iterator<Item = (&'a String, Expectation)>,
) -> Result<(), Failure> {
    let violations = violations.filter_map(|(scenario, violations)| {
        let (first, others) = violations.split_first()?;
        let more = if others.is_empty() { String::new() } else { format!("; {} more in the report", others.len()) };
        Some(format!("{scenario}: violation: {first}{more}"))
    });
    let failed = failed.map(|(scenario, failed)| {
        let Expectation { name, wanted, .. } = failed;
        format!("{scenario}: expectation `{name}` failed: {} seen, {wanted} wanted", failed.seen)
    });
    let failures: Vec<String> = violations.chain(failed).collect();
    if failures.is_empty() { Ok(()) } else { Err(Failure::Failed(failures.join("\n"))) }
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
