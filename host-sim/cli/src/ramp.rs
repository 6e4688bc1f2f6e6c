//! `shunt ramp`: the manifests of each step of a release, each rehearsed against gates before the next.

use crate::arguments::RampOptions;
use crate::deployment::Deployment;
use crate::failure::Failure;
use crate::input::{self, Input};
use crate::output::{self, Output};
use crate::sim::player::Played;
use crate::sim::player::Player;
use crate::sim::rehearsal::{Found, scenarios_among};
use crate::{module, say};
use envoy_render::Format;
use istio_config::yaml::documents;
use rule_analysis::ramp::Ramp;
use rule_analysis::users::{self, UsersMoved};
use serde_json::Value;
use std::path::{Path, PathBuf};
use traffic_policy::Policy;
use traffic_sim::{Gates, Percent, RampStep, Ramping};

pub(crate) fn run(options: &RampOptions, module: &Option<PathBuf>) -> Result<(), Failure> {
    let RampOptions { manifests, recursive, namespace, scenario, route, to, steps, seed, into, output, .. } = options;
    let output = Output::new(output, &["text", "json"])?;
    if manifests.iter().chain(scenario).any(|path| path.as_os_str() == "-") {
        return Err(Failure::Usage("-f -: each step reads the files again, so name files".to_owned()));
    }
    if !steps.is_sorted_by(|before, after| before < after) {
        return Err(Failure::Usage("--steps: each step is greater than the one before".to_owned()));
    }
    let mut found = only_scenario(manifests, *recursive, scenario.as_deref())?;
    if let Some(seed) = seed {
        found.scenario.spec.seed = *seed;
    }
    if found.scenario.spec.timeline.iter().any(|moment| moment.apply.is_some()) {
        let why =
            "the scenario applies manifests in its `timeline`, and a ramp brings its own: leave these moments out";
        return Err(Failure::Usage(why.to_owned()));
    }
    // What it expects belongs to the rules that it names.
    found.scenario.spec.expect.clear();
    let written = Written::read(manifests, *recursive)?;
    // What is wrong with the rules is told once, with its place.
    Deployment::new(Input::read(manifests, *recursive)?, namespace, found.wished()?, false)?;
    let objects: Vec<Value> = written.objects().cloned().collect();
    let ramp = Ramp::new(&objects, route, to.as_deref()).map_err(|why| Failure::Usage(format!("--route {why}")))?;
    let player = Player::new(module::compiled_once(module)?)?;

    let mut ramping =
        Ramping { route: route.clone(), to: ramp.to().to_owned(), planned: steps.clone(), steps: Vec::new() };
    let mut policies: Option<Policy> = None;
    let before = std::iter::once(Percent { ppm: 0 }).filter(|none| steps.first() != Some(none));
    for share in before.chain(steps.iter().copied()) {
        let changed = ramp.step(&objects, share.ppm);
        let deployment = Deployment::new_quietly(written.with(&changed), namespace, found.wished()?)?;
        let users_moved = policies.as_ref().and_then(|before| users_moved(before, &deployment.policy));
        found.scenario.metadata.name = share.to_string();
        let report = player.play(&found, Played { deployment: &deployment, later: &[] })?;
        if player.is_stopped() {
            say::note("stopped: the step under way is not judged");
            break;
        }
        let gates = ramping.steps.last().map_or_else(Vec::new, |before| gates(options).judge(&before.report, &report));
        let step = RampStep { share, report, gates, users_moved };
        policies = Some(deployment.policy);
        let is_open = step.is_open();
        ramping.steps.push(step);
        if !is_open {
            break;
        }
        if let Some(folder) = into.as_deref().filter(|_| steps.contains(&share)) {
            let number = steps.iter().position(|step| *step == share).unwrap_or_default().saturating_add(1);
            write(folder, number, share, &changed, &ramping)?;
        }
    }
    output.write(&match output.is_json() {
        true => serde_json::to_string_pretty(&ramping).map_err(|error| Failure::Failed(error.to_string()))? + "\n",
        false => ramping.to_string(),
    })?;
    match ramping.closed() {
        None => Ok(()),
        Some(step) => {
            let closed = step.gates.iter().filter(|gate| !gate.is_open);
            let why = closed.map(|gate| format!("{}: {} seen, {} wanted", gate.name, gate.seen, gate.wanted));
            Err(Failure::Failed(format!("stopped at {}: {}", step.share, why.collect::<Vec<_>>().join("; "))))
        }
    }
}

/// Share of the users of sticky rules who move; of several rules the largest. `None` where no rule has users who stay.
fn users_moved(before: &Policy, now: &Policy) -> Option<f64> {
    now.sticky_rules().next()?;
    let moved = users::moved(before, now, ToString::to_string, ToString::to_string);
    Some(moved.iter().map(UsersMoved::share).fold(0.0, f64::max))
}

fn gates(options: &RampOptions) -> Gates {
    let RampOptions { min_success, max_drop, max_latency, max_rise, .. } = options;
    Gates { success: *min_success, drop: *max_drop, latency: max_latency.clone(), rise_percent: *max_rise }
}

/// The one scenario that tells load and services.
fn only_scenario(manifests: &[PathBuf], recursive: bool, named: Option<&Path>) -> Result<Found, Failure> {
    let files = named.map_or_else(|| manifests.to_vec(), |file| vec![file.to_owned()]);
    let mut all = scenarios_among(&files, recursive && named.is_none())?;
    let names: Vec<String> =
        all.iter().map(|found| format!("{} ({})", found.scenario.metadata.name, found.file)).collect();
    match (all.pop(), all.is_empty()) {
        (Some(only), true) => Ok(only),
        (None, _) => Err(Failure::Usage(
            "no `kind: Scenario` in these files: --scenario FILE names one, which tells the load and how the services behave".to_owned(),
        )),
        (Some(_), false) => Err(Failure::Usage(format!("--scenario FILE must name one of {}", names.join(", ")))),
    }
}

/// Manifests as they were written: the file of each, and every object in it.
struct Written {
    files: Vec<(String, Vec<Value>)>,
}

impl Written {
    fn read(manifests: &[PathBuf], recursive: bool) -> Result<Self, Failure> {
        let mut files = Vec::new();
        for path in manifests {
            for file in input::manifests(path, recursive)? {
                let text = std::fs::read_to_string(&file).map_err(|error| Failure::file(&file, error))?;
                // A fault in the text is told with its place when the rules are read.
                let (documents, _) = documents(&text);
                let objects = documents.into_iter().flat_map(|document| match document.value.get("items") {
                    Some(Value::Array(items)) if document.value.get("kind").is_some_and(|kind| kind == "List") => {
                        items.clone()
                    }
                    _ => vec![document.value],
                });
                files.push((file.display().to_string(), objects.collect()));
            }
        }
        Ok(Self { files })
    }

    fn objects(&self) -> impl Iterator<Item = &Value> {
        self.files.iter().flat_map(|(_, objects)| objects)
    }

    /// All of them, some changed.
    fn with(&self, changed: &[(usize, Value)]) -> Input {
        let mut input = Input::default();
        let mut place = 0;
        for (file, objects) in &self.files {
            let mut text = String::new();
            for object in objects {
                let object = changed.iter().find(|(at, _)| *at == place).map_or(object, |(_, changed)| changed);
                text += &format!("---\n{object}\n");
                place += 1;
            }
            input.add(file, text.as_bytes());
        }
        input
    }
}

/// Writes what a step that has passed changes.
fn write(
    folder: &Path,
    number: usize,
    share: Percent,
    changed: &[(usize, Value)],
    ramping: &Ramping,
) -> Result<(), Failure> {
    std::fs::create_dir_all(folder).map_err(|error| Failure::file(folder, error))?;
    let percent = share.to_string().replace(" %", "");
    let file = folder.join(format!("{number:02}-{percent}-percent.yaml"));
    let objects: Vec<Value> = changed.iter().map(|(_, object)| object.clone()).collect();
    let comment = format!(
        "Written by `shunt ramp`: {} to {}, {share}; its rehearsal passed all gates.",
        ramping.route, ramping.to
    );
    output::to_file(&file, Format::Yaml.write_all(&objects, &[&comment]).as_bytes())
}
