//! Plays scenarios: on the machine's cores, under a bar, until there is a Ctrl-C.

use crate::deployment::Deployment;
use crate::failure::Failure;
use crate::say;
use crate::sim::rehearsal::{Found, configured};
use host_abi::Module;
use indicatif::{ProgressBar, ProgressStyle};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;
use traffic_sim::{Control, Later, Progress, Report, RunError, Scenario, Setup, Trace};

/// What the bar counts of one run: thousandths.
const STEPS: u64 = 1000;

/// The compiled filter, and whether to go on.
pub(crate) struct Player {
    module: Module,
    stop: Arc<AtomicBool>,
}

/// What a scenario is played on.
#[derive(Clone, Copy)]
pub(crate) struct Played<'a> {
    pub(crate) deployment: &'a Deployment,
    /// What its moments apply, in their order.
    pub(crate) later: &'a [Deployment],
}

impl Player {
    /// From now on Ctrl-C ends runs, and what there is by then is told.
    pub(crate) fn new(module: Module) -> Result<Self, Failure> {
        let stop = Arc::new(AtomicBool::new(false));
        let handler = stop.clone();
        ctrlc::set_handler(move || handler.store(true, Ordering::Relaxed))
            .map_err(|error| Failure::Failed(error.to_string()))?;
        Ok(Self { module, stop })
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// One run.
    pub(crate) fn play(&self, found: &Found, played: Played<'_>) -> Result<Report, Failure> {
        let watch = Watch::new(&found.scenario.metadata.name, 1);
        let report = self.run(&found.scenario, played, &watch).map_err(|error| found.not_played(&error))?;
        watch.tell(&found.scenario.metadata.name);
        Ok(report)
    }

    /// As many runs as asked, with seeds that follow each other, `jobs` at a time. The reports are in the order of the seeds,
    /// whichever came first; after a Ctrl-C those that were complete.
    pub(crate) fn play_many(
        &self,
        found: &Found,
        played: Played<'_>,
        runs: u64,
        jobs: usize,
    ) -> Result<Vec<Report>, Failure> {
        let watch = Watch::new(&found.scenario.metadata.name, runs);
        let (next, reports) = (AtomicU64::new(0), Mutex::new(BTreeMap::new()));
        let jobs = jobs.min(usize::try_from(runs).unwrap_or(usize::MAX)).max(1);
        std::thread::scope(|scope| {
            for _ in 0..jobs {
                scope.spawn(|| {
                    let mut scenario = found.scenario.clone();
                    loop {
                        let run = next.fetch_add(1, Ordering::Relaxed);
                        if run >= runs || self.is_stopped() {
                            return;
                        }
                        scenario.spec.seed = found.scenario.spec.seed.wrapping_add(run);
                        let played = self.run(&scenario, played, &watch).map(Report::slim);
                        if played.is_err() {
                            // The same fault meets every seed.
                            next.store(runs, Ordering::Relaxed);
                        }
                        reports.lock().unwrap_or_else(PoisonError::into_inner).insert(run, played);
                    }
                });
            }
        });
        let reports = reports.into_inner().unwrap_or_else(PoisonError::into_inner);
        let reports = reports.into_values().collect::<Result<Vec<Report>, RunError>>();
        let reports = reports.map_err(|error| found.not_played(&error))?;
        watch.tell(&found.scenario.metadata.name);
        Ok(reports.into_iter().filter(|report| !report.stopped).collect())
    }

    /// The life of one request.
    pub(crate) fn trace(&self, found: &Found, played: Played<'_>, request: u64) -> Result<Option<Trace>, Failure> {
        let control = Control { progress: None, stop: Some(&self.stop) };
        traffic_sim::trace(&found.scenario, self.setup(played), control, request)
            .map_err(|error| found.not_played(&error))
    }

    fn run(&self, scenario: &Scenario, played: Played<'_>, watch: &Watch) -> Result<Report, RunError> {
        let mut last = (0, 0);
        let mut progress = |progress: Progress| last = watch.heard(&progress, last);
        let control = Control { progress: Some(&mut progress), stop: Some(&self.stop) };
        traffic_sim::run(scenario, self.setup(played), control)
    }

    fn setup(&self, Played { deployment, later }: Played<'_>) -> Setup<'_> {
        let later = later.iter().map(|later| Later { rules: later.rules(), configured: configured(later) }).collect();
        Setup { module: &self.module, rules: deployment.rules(), configured: configured(deployment), later }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// A bar for all runs, on a terminal only and gone when the report stands.
struct Watch {
    bar: ProgressBar,
    begun: Instant,
    requests: AtomicU64,
}

impl Watch {
    fn new(name: &str, runs: u64) -> Self {
        let style = ProgressStyle::with_template("{prefix} {bar:30} {percent}% {msg}, {eta} to go");
        let bar = ProgressBar::new(runs.saturating_mul(STEPS)).with_prefix(name.to_owned());
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        Self { bar, begun: Instant::now(), requests: AtomicU64::new(0) }
    }

    /// A run has come farther; gives what to hand in the next time.
    fn heard(&self, progress: &Progress, (steps, requests): (u64, u64)) -> (u64, u64) {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 1000")]
        let now = (progress.fraction * 1000.0) as u64;
        self.requests.fetch_add(progress.requests.saturating_sub(requests), Ordering::Relaxed);
        self.bar.inc(now.saturating_sub(steps));
        self.bar.set_message(format!("{} requests/s", self.per_second()));
        (now, progress.requests)
    }

    fn per_second(&self) -> u64 {
        let elapsed = u64::try_from(self.begun.elapsed().as_micros()).unwrap_or(u64::MAX).max(1);
        self.requests.load(Ordering::Relaxed).saturating_mul(1_000_000) / elapsed
    }

    /// How fast it was.
    fn tell(&self, name: &str) {
        self.bar.finish_and_clear();
        say::note(&format!(
            "{name}: {} requests simulated in {:.1} s, {} a second",
            self.requests.load(Ordering::Relaxed),
            self.begun.elapsed().as_secs_f64(),
            self.per_second()
        ));
    }
}
