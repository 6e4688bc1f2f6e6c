//! Random rules: every arm against the native twin in real Envoy.
//!
//! Hand-picked cases hold what someone thought of. Here configurations and requests are drawn from a seed, over the fields of
//! Istio's API, and what comes of each request is compared at both ends: status, headers and body for the client, and for every
//! endpoint what it received, retries and copies among it. What chance decides (weights, percentages, the endpoint within a
//! cluster) is compared by possibility: what an arm did, the twin must be seen to do when it is asked often enough. How often,
//! is the subject of [`shares`].
//!
//! - [`words`], [`rules`], [`requests`], [`configuration`]: what is drawn
//! - [`observation`], [`batch`]: what is seen
//! - [`asking`]: what the twin does when it is asked again
//! - [`shrink`]: the smallest configuration that still shows a difference

pub mod asking;
pub mod batch;
pub mod configuration;
pub mod observation;
pub mod requests;
pub mod rules;
pub mod shares;
pub mod shrink;
pub mod words;

use crate::arms::{Arm, Engine};
use crate::case::Request;
use crate::servers::Servers;
use asking::never_seen;
use batch::Served;
use configuration::Configuration;
use observation::Observation;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Configurations that one start of every arm serves.
const BATCH: u64 = 50;

/// How long the twin of a whole batch is asked; thousands of requests that run into a timeout take many minutes.
const ASKING_MAX: Duration = Duration::from_secs(10);

/// How long it is asked when it serves nothing but the configuration in question.
const ASKING_ALONE_MAX: Duration = Duration::from_secs(90);

/// Mismatches that are looked at once more until so many of them were still there: then something is wrong with the others too. Each
/// takes seconds. One configuration in thirty is still open when the time for its batch is up, and few of these are one.
const CONFIRMED_MAX: usize = 20;

/// What is to be done.
#[derive(Clone, Copy, Debug)]
pub struct Run {
    /// The number of the first.
    pub from: u64,
    /// How many configurations.
    pub configurations: u64,
    /// Where they come from.
    pub seed: u64,
    /// How many mismatches are made smaller; each takes many starts of two arms.
    pub shrunk: usize,
}

/// Something that an arm does and the twin does not.
#[derive(Clone, Debug)]
pub struct Mismatch {
    /// Which arm.
    pub arm: &'static str,
    /// What both served; only the last request matters.
    pub configuration: Configuration,
    /// The request.
    pub request: Request,
    /// What differs, as lines.
    pub difference: String,
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Report {
    /// Configurations that ran.
    pub configurations: u64,
    /// Configurations that nobody serves, as Istio's validation refuses them.
    pub refused: u64,
    /// Requests, in each arm.
    pub requests: u64,
    /// Requests of which the twin had to be asked again, as chance has a part in them, in all arms together.
    pub asked_again: u64,
    /// Mismatches that were none when the configuration was served alone: the arm, and the configuration's number.
    pub not_again: Vec<(&'static str, u64)>,
    /// All others.
    pub mismatches: Vec<Mismatch>,
    /// How long it took.
    pub took: Duration,
}

impl Run {
    /// Runs it: `native` is the measure, `arms` are measured.
    ///
    /// # Panics
    ///
    /// An arm does not serve what the engine takes.
    pub fn run(self, native: &dyn Arm, arms: &[&dyn Arm]) -> Report {
        let begun = Instant::now();
        let (next, report) = (AtomicU64::new(self.from), Mutex::new(Report::default()));
        std::thread::scope(|scope| {
            for _ in 0..native.parallel() {
                scope.spawn(|| {
                    loop {
                        let from = next.fetch_add(BATCH, Ordering::Relaxed);
                        if from >= self.end() {
                            return;
                        }
                        let of_batch = self.batch(from, native, arms);
                        report.lock().expect("no panic while it is held").add(of_batch);
                    }
                });
            }
        });
        let mut report = report.into_inner().expect("no panic while it is held");
        report.mismatches.sort_by_key(|mismatch| (mismatch.configuration.number, mismatch.arm));
        let mut not_again = Vec::new();
        let arm = |mismatch: &Mismatch| *arms.iter().find(|arm| arm.name() == mismatch.arm).expect("one of these");
        // Alone and in quiet: among fifty configurations a copy may have been late, or the time for asking short.
        let mut confirmed = 0;
        report.mismatches.retain_mut(|mismatch| {
            if confirmed < CONFIRMED_MAX {
                let Some(difference) = shrink::still_differs(mismatch, native, arm(mismatch)) else {
                    not_again.push((mismatch.arm, mismatch.configuration.number));
                    return false;
                };
                // What is told is what was left, and not what the batch saw.
                mismatch.difference = difference;
                confirmed += 1;
            }
            true
        });
        report.not_again = not_again;
        for mismatch in report.mismatches.iter_mut().take(self.shrunk) {
            let arm = arm(mismatch);
            shrink::shrink(mismatch, native, arm);
        }
        report.took = begun.elapsed();
        report
    }

    /// The number behind the last.
    fn end(self) -> u64 {
        self.from + self.configurations
    }

    fn batch(self, from: u64, native: &dyn Arm, arms: &[&dyn Arm]) -> Report {
        let to = self.end().min(from + BATCH);
        let drawn = (from..to).map(|number| Configuration::new(self.seed, number));
        let (taken, refused): (Vec<_>, Vec<_>) = drawn.partition(|drawn| Engine.start(&batch::case(&[drawn])).is_ok());
        let configurations: Vec<&Configuration> = taken.iter().collect();
        let requests: Vec<(usize, &Request)> = (0..)
            .zip(&taken)
            .flat_map(|(place, drawn)| drawn.requests.iter().map(move |request| (place, request)))
            .collect();
        let sent: Vec<&Request> = requests.iter().map(|(_, request)| *request).collect();
        let case = batch::case(&configurations);
        let servers = Arc::new(Servers::start(&case));
        let started = |arm: &dyn Arm| {
            Served::start(arm, &servers, &case).unwrap_or_else(|error| panic!("{} from {from}: {error}", arm.name()))
        };
        let mut twin = started(native);
        let measure = twin.observe(&sent, 0);
        let expected = measure.iter().map(Observation::arrivals).sum();
        let mut report = Report {
            configurations: taken.len() as u64,
            refused: refused.len() as u64,
            requests: sent.len() as u64,
            ..Report::default()
        };
        for arm in arms {
            let observed = started(*arm).observe(&sent, expected);
            let open: Vec<usize> = (0..sent.len()).filter(|number| observed[*number] != measure[*number]).collect();
            report.asked_again += open.len() as u64;
            for number in never_seen(&mut twin, &sent, &observed, open, ASKING_MAX) {
                let (place, request) = requests[number];
                report.mismatches.push(Mismatch {
                    arm: arm.name(),
                    configuration: taken[place].clone(),
                    request: request.clone(),
                    difference: measure[number].difference(&observed[number]),
                });
            }
        }
        report
    }
}

impl Report {
    fn add(&mut self, other: Self) {
        let Self { configurations, refused, requests, asked_again, not_again: _, mismatches, took: _ } = other;
        self.configurations += configurations;
        self.refused += refused;
        self.requests += requests;
        self.asked_again += asked_again;
        self.mismatches.extend(mismatches);
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { configurations, refused, requests, asked_again, not_again, mismatches, took } = self;
        let seconds = took.as_secs_f64();
        write!(
            f,
            "{configurations} configurations ({refused} more were refused), {requests} requests in each arm, {asked_again} decided by chance, {} mismatches ({} more did not repeat themselves), {seconds:.0} s",
            mismatches.len(),
            not_again.len()
        )?;
        not_again.iter().try_for_each(|(arm, number)| write!(f, "\nnot again: {arm}, configuration {number}"))
    }
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { arm, configuration, request, difference } = self;
        writeln!(f, "{arm}, configuration {}:", configuration.number)?;
        write!(f, "{}", configuration.text())?;
        writeln!(f, "request: {}{}", request.send, if request.http2 { " over HTTP/2" } else { "" })?;
        for (name, value) in request.headers() {
            writeln!(f, "  {name}: {value}")?;
        }
        if let Some(body) = &request.body {
            writeln!(f, "  body {body:?}")?;
        }
        write!(f, "{difference}")
    }
}
