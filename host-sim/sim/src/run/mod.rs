//! Plays a scenario: clients send, services behave as described, and a report says what came of it.

mod arrivals;
mod books;
mod circles;
mod models;
mod pages;
mod ramp;
mod tally;
mod timeline;
mod users;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use envoy_plan::Plan;
use host_abi::{Module, StartError};

use crate::behaviour::Behaviour;
use crate::engine::{
    Broken, Caller, Decided, Engine, Given, Happened, Observer, Over, RequestSpec, Rules, Sent, Workload,
};
use crate::expect::Expectations;
use crate::report::Report;
use crate::run::arrivals::Arrivals;
use crate::run::models::Models;
use crate::run::pages::Pages;
use crate::run::tally::{Closing, Phase, Tally};
use crate::run::timeline::Timeline;
use crate::run::users::Users;
use crate::scenario::{Load, Moment, RequestKind, Scenario, ScenarioError, TraceLine};
use crate::span::Span;
use crate::trace::{Trace, Tracer};

/// How often progress is told and the stop flag is looked at, in events.
const PROGRESS_EVERY: u64 = 16_384;

/// What a run needs beside the scenario.
#[derive(Clone)]
pub struct Setup<'a> {
    /// The filter.
    pub module: &'a Module,
    /// What the scenario's manifests say.
    pub rules: Rules,
    /// The shares that the manifests ask for, for the report to compare with. May be empty.
    pub configured: Vec<ConfiguredShare>,
    /// The same of the manifests that the scenario's moments apply, in their order.
    pub later: Vec<Later>,
}

/// What the manifests say that a moment applies.
#[derive(Clone)]
pub struct Later {
    /// What they say.
    pub rules: Rules,
    /// The shares that they ask for.
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
    /// Whether users are divided, and not requests (`ShuntPolicy.sticky`).
    pub by_user: bool,
    /// Whether a version may be kept from its share (`ShuntPolicy.breaker`, `killSwitch`).
    pub guarded: bool,
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
    /// The scenario does not fit the plan, or leads in a circle.
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
    let Setup { module, rules, configured, later } = setup;
    let spec = &scenario.spec;
    let plans: Vec<&Plan> =
        std::iter::once(&rules).chain(later.iter().map(|later| &later.rules)).map(|rules| &*rules.plan).collect();
    let models = Models::new(&spec.services, &plans, spec.seed);
    let expectations = Expectations::new(&spec.expect, &spec.services, spec.load.users.is_some(), &plans);
    let (models, expectations) = both(models, expectations).map_err(RunError::Scenario)?;
    let kinds_of_calls = circles::check(&spec.services, &plans).map_err(RunError::Scenario)?;
    let wrong = timeline::check(&spec.timeline, &models, &plans);
    if !wrong.is_empty() {
        return Err(RunError::Scenario(wrong));
    }
    let phases = phases(&spec.timeline, configured, &later);
    let mut timeline = Timeline::new(&spec.timeline, rules.clone(), later);
    let clients = Workload { namespace: "default".to_owned(), labels: spec.labels.clone() };
    let mut engine = Engine::new(module, &rules, clients, spec.seed)?;
    engine.depth_max = kinds_of_calls;
    engine.path_normalization = spec.path_normalization.0;
    let mut arrivals = Arrivals::new(spec);
    let requests = requests(&spec.load, spec.client_timeout);
    let users = spec.load.users.as_ref().map(|users| Users::new(users, spec.seed));
    let pages = spec.load.files.then(Pages::default);
    let tally = Tally::new(spec.too_slow, spec.duration);
    let mut stage = Stage { models, tally, users, pages, free: Vec::new(), tracer };

    // First, so that they are first where a request comes at the same moment.
    timeline.start(&mut engine);
    arrivals.start(&mut engine);
    let (mut events, mut stopped) = (0_u64, false);
    loop {
        match engine.next(&mut stage) {
            None => break,
            Some(Happened::Inside) => {}
            Some(Happened::Outside(name)) if let Some(moment) = timeline.moment(name) => {
                if timeline.come(moment, &mut engine, &mut stage.models)? {
                    stage.tally.other_rules(engine.now());
                }
            }
            Some(Happened::Outside(client)) => {
                if let Some((number, kind)) = arrivals.arrive(client, &mut engine)
                    && let Some(spec) = requests.get(kind)
                {
                    if let Some(pages) = &mut stage.pages {
                        pages.sent(number, kind);
                    }
                    let own = stage.users.as_mut().map(|users| users.send(number).clone());
                    let address = stage.users.as_ref().and_then(|users| users.address(number));
                    let address = address.unwrap_or_else(|| arrivals.address(client, number));
                    stage.send(number, spec, Caller { address, headers: own.as_ref() }, &mut engine);
                }
            }
        }
        stage.ask_for_files(&requests, &mut arrivals, &mut engine);
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
    match engine.broken() {
        None => {}
        Some(Broken::Start(error)) => return Err(RunError::Start(error)),
        Some(Broken::Circle(cause)) => {
            let message = format!(
                "the rules lead calls in a circle: {cause} is the {}th in a row, each for the sake of the one before, and \
                 there are only {kinds_of_calls} kinds of calls",
                cause.depth
            );
            return Err(RunError::Scenario(vec![ScenarioError::new("spec.services", message)]));
        }
    }
    let violations = engine.close(!stopped, &mut stage);
    if let Some(progress) = &mut control.progress {
        progress(arrivals.progress(&engine));
    }
    let Stage { models, tally, users, pages: _, free: _, tracer } = stage;
    let closing =
        Closing { undescribed: models.undescribed(), users: users.map(|users| users.met()), violations, stopped };
    let mut report = tally.report(scenario, &engine, &phases, closing);
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

/// The shares that hold at first, and from each moment on that applies others.
fn phases(moments: &[Moment], configured: Vec<ConfiguredShare>, later: &[Later]) -> Vec<Phase> {
    let applied = moments.iter().filter(|moment| moment.apply.is_some()).zip(later);
    let rest = applied.map(|(moment, later)| Phase { from: Some(moment.at), configured: later.configured.clone() });
    std::iter::once(Phase { from: None, configured }).chain(rest).collect()
}

/// What may be sent: a request of each kind, or for each line of a trace.
fn requests(load: &Load, timeout: Option<Span>) -> Vec<RequestSpec> {
    let kinds = load.requests.iter().map(|kind| {
        let RequestKind { weight: _, method, host, path, headers, body } = kind;
        RequestSpec::new(method, host, path, headers, Bytes::copy_from_slice(body.as_bytes()))
    });
    let lines = load.trace.iter().flat_map(|trace| &*trace.lines).map(|line| {
        let TraceLine { at: _, method, host, path } = line;
        RequestSpec::new(method, host, path, [("", ""); 0], Bytes::new())
    });
    let within = |request: RequestSpec| match timeout {
        Some(timeout) => request.with_timeout(timeout.into()),
        None => request,
    };
    kinds.chain(lines).map(within).collect()
}

/// The services on one side, the books on the other.
struct Stage {
    models: Models,
    tally: Tally,
    users: Option<Users>,
    /// Clients that load what pages name.
    pages: Option<Pages>,
    /// Requests that have ended since the last look.
    free: Vec<u64>,
    /// Whoever looks at one request.
    tracer: Option<Tracer>,
}

impl Stage {
    /// A client sends a request.
    fn send(&mut self, number: u64, spec: &RequestSpec, caller: Caller<'_>, engine: &mut Engine) {
        self.tally.begun();
        if let Some(tracer) = &mut self.tracer {
            tracer.begun(number, spec, engine.now());
        }
        engine.begin(number, spec, caller, self);
    }

    /// Users ask for what their pages name, at once and all together.
    fn ask_for_files(&mut self, requests: &[RequestSpec], arrivals: &mut Arrivals, engine: &mut Engine) {
        let due = self.pages.as_mut().map(Pages::due).unwrap_or_default();
        for (kind, user, path) in due {
            let (Some(users), Some(page)) = (&mut self.users, requests.get(kind)) else { continue };
            let number = arrivals.one_more();
            let own = users.send_as(number, user).clone();
            let caller = Caller { address: arrivals::address(user as u64), headers: Some(&own) };
            self.send(number, &pages::file(page, &path), caller, engine);
        }
    }
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
        self.models.behave(sent)
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
        if given.cause.call == 0 {
            let user = self.users.as_mut().and_then(|users| users.given(given));
            if let (Some(pages), Some(user)) = (&mut self.pages, user) {
                pages.given(given.cause.request, user, given.headers);
            }
            self.free.push(given.cause.request);
        }
    }
}
