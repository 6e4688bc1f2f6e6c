//! Plays a scenario: clients send, services behave as described, and a report says what came of it.

mod arrivals;
mod models;
mod tally;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use envoy_plan::Plan;
use host_abi::{Module, StartError};

use crate::behaviour::Behaviour;
use crate::engine::{Decided, Engine, Given, Happened, Observer, Over, RequestSpec, Sent};
use crate::expect::Expectations;
use crate::report::Report;
use crate::run::arrivals::Arrivals;
use crate::run::models::Models;
pub(crate) use crate::run::models::{carries, host_of, is_host, labels};
use crate::run::tally::Tally;
use crate::scenario::{RequestKind, Scenario, ScenarioError};
use crate::trace::{Trace, Tracer};

/// How often progress is told and the stop flag is looked at, in events.
const PROGRESS_EVERY: u64 = 16_384;

/// What a run needs beside the scenario.
#[derive(Clone)]
pub struct Setup<'a> {
    /// The filter.
    pub module: &'a Module,
    /// Its configuration.
    pub configuration: &'a [u8],
    /// What carries its decisions out; made from the same manifests.
    pub plan: Arc<Plan>,
    /// The shares that the manifests ask for, for the report to compare with. May be empty.
    pub configured: Vec<ConfiguredShare>,
}

/// The share of one destination of one rule, as configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfiguredShare {
    /// The rule as the report shall call it.
    pub rule: String,
    /// The cluster of the destination, `outbound|80|v1|reviews`.
    pub cluster: String,
    /// Its weight; only ratios within the rule count.
    pub weight: u64,
}

/// How a run is watched and stopped.
#[derive(Default)]
pub struct Control<'a> {
    /// Called now and then.
    pub progress: Option<&'a mut dyn FnMut(Progress)>,
    /// Once true, the run ends soon, and the report tells what there is.
    pub stop: Option<&'a AtomicBool>,
}

/// How far a run has come. Real time is the caller's: he divides by what passed since he last heard.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Progress {
    /// From 0 to 1.
    pub fraction: f64,
    /// Virtual time so far.
    pub simulated: Duration,
    /// Requests begun so far.
    pub requests: u64,
}

/// Why a scenario could not be played.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The scenario does not fit the plan.
    #[error("{}", lines(.0))]
    Scenario(Vec<ScenarioError>),
    /// The filter does not start, or refuses its configuration.
    #[error(transparent)]
    Start(#[from] Box<StartError>),
}

fn lines(errors: &[ScenarioError]) -> String {
    errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

/// Plays `scenario`. What a check finds broken stands in [`Report::violations`].
///
/// # Errors
///
/// The scenario names what the plan does not have, or the filter does not start.
pub fn run(scenario: &Scenario, setup: Setup<'_>, control: Control<'_>) -> Result<Report, RunError> {
    play(scenario, setup, control, None).map(|(report, _)| report)
}

/// Plays `scenario` until all has happened that one request causes, and tells it; `None` where the load has fewer requests.
/// Requests are numbered from 1 in the order in which they come.
///
/// # Errors
///
/// The scenario names what the plan does not have, or the filter does not start.
pub fn trace(
    scenario: &Scenario,
    setup: Setup<'_>,
    control: Control<'_>,
    request: u64,
) -> Result<Option<Trace>, RunError> {
    let (_, tracer) = play(scenario, setup, control, Some(Tracer::new(request)))?;
    Ok(tracer.and_then(|tracer| tracer.finish(&scenario.metadata.name, scenario.spec.seed)))
}

fn play(
    scenario: &Scenario,
    setup: Setup<'_>,
    mut control: Control<'_>,
    tracer: Option<Tracer>,
) -> Result<(Report, Option<Tracer>), RunError> {
    let Setup { module, configuration, plan, configured } = setup;
    let spec = &scenario.spec;
    let (models, expectations) =
        both(Models::new(&spec.services, &plan, spec.seed), Expectations::new(&spec.expect, &spec.services, &plan))
            .map_err(RunError::Scenario)?;
    let mut engine = Engine::new(module, configuration, plan, spec.seed)?;
    engine.path_normalization = spec.path_normalization.0;
    let mut arrivals = Arrivals::new(spec);
    let requests: Vec<RequestSpec> = spec.load.requests.iter().map(|kind| request(kind, spec.client_timeout)).collect();
    let mut stage = Stage { models, tally: Tally::new(spec.too_slow, spec.duration), free: Vec::new(), tracer };

    arrivals.start(&mut engine);
    let (mut events, mut stopped) = (0_u64, false);
    loop {
        match engine.next(&mut stage) {
            None => break,
            Some(Happened::Inside) => {}
            Some(Happened::Outside(client)) => {
                if let Some((number, kind)) = arrivals.arrive(client, &mut engine)
                    && let Some(spec) = requests.get(kind)
                {
                    stage.tally.begun();
                    if let Some(tracer) = &mut stage.tracer {
                        tracer.begun(number, spec, engine.now());
                    }
                    engine.begin(number, spec, &mut stage);
                }
            }
        }
        for request in stage.free.drain(..) {
            arrivals.freed(request, &mut engine);
        }
        if stage.tracer.as_ref().is_some_and(Tracer::is_over) {
            stopped = true;
            break;
        }
        events += 1;
        if events.is_multiple_of(PROGRESS_EVERY) {
            if let Some(progress) = &mut control.progress {
                progress(arrivals.progress(&engine));
            }
            if control.stop.is_some_and(|stop| stop.load(Ordering::Relaxed)) {
                stopped = true;
                break;
            }
        }
    }
    let violations = engine.close(!stopped, &mut stage);
    if let Some(progress) = &mut control.progress {
        progress(arrivals.progress(&engine));
    }
    let Stage { models, tally, free: _, tracer } = stage;
    let mut report = tally.report(scenario, &engine, models.undescribed(), &configured, violations, stopped);
    report.expectations = expectations.judge(&report);
    Ok((report, tracer))
}

/// Both, or the faults of both.
fn both<A, B, E>(first: Result<A, Vec<E>>, second: Result<B, Vec<E>>) -> Result<(A, B), Vec<E>> {
    match (first, second) {
        (Ok(first), Ok(second)) => Ok((first, second)),
        (Err(errors), Ok(_)) | (Ok(_), Err(errors)) => Err(errors),
        (Err(mut errors), Err(more)) => {
            errors.extend(more);
            Err(errors)
        }
    }
}

fn request(kind: &RequestKind, timeout: Option<crate::span::Span>) -> RequestSpec {
    let RequestKind { weight: _, method, host, path, headers, body } = kind;
    let spec = RequestSpec::new(method, host, path, headers, Bytes::copy_from_slice(body.as_bytes()));
    match timeout {
        Some(timeout) => spec.with_timeout(timeout.into()),
        None => spec,
    }
}

/// The services on one side, the books on the other.
struct Stage {
    models: Models,
    tally: Tally,
    /// Requests that have ended since the last look.
    free: Vec<u64>,
    /// Whoever looks at one request.
    tracer: Option<Tracer>,
}

impl Observer for Stage {
    fn decided(&mut self, decided: &Decided<'_>) {
        if let Some(tracer) = &mut self.tracer {
            tracer.decided(decided);
        }
    }

    fn behave(&mut self, sent: &Sent<'_>) -> Behaviour {
        if let Some(tracer) = &mut self.tracer {
            tracer.sent(sent);
        }
        self.tally.sent(sent);
        self.models.behave(sent.endpoint)
    }

    fn over(&mut self, over: &Over<'_>) {
        if let Some(tracer) = &mut self.tracer {
            tracer.over(over);
        }
        self.tally.over(over);
    }

    fn given(&mut self, given: &Given<'_>) {
        if let Some(tracer) = &mut self.tracer {
            tracer.given(given);
        }
        self.tally.given(given);
        self.free.push(given.request);
    }
}
