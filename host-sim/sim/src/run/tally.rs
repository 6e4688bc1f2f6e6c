//! The books of a run: counts and times as they come in, made into a report at the end.

use std::collections::BTreeMap;
use std::time::Duration;

use host_abi::LogLevel;
use upstream::{Endpoint, Flags, Timestamp};

use crate::engine::{AttemptEnd, Ended, Engine, Given, Over, Role, Sent};
use crate::report::{Clock, Mirror, Report, Shape, Timeouts, Totals, Version, Warning, shares};
use crate::run::ConfiguredShare;
use crate::run::models::{host, labels};
use crate::scenario::Scenario;
use crate::span::Span;

/// Counts and times of a run.
pub(crate) struct Tally {
    too_slow: Option<Span>,
    totals: Totals,
    statuses: BTreeMap<u16, u64>,
    clusters: BTreeMap<String, u64>,
    details: BTreeMap<String, u64>,
    attempts: BTreeMap<u32, u64>,
    timeouts: Timeouts,
    times: Clock,
    shape: Shape,
    last_end: Timestamp,
    versions: ByEndpoint<Version, Clock>,
    mirrors: ByEndpoint<Mirror, Clock>,
    /// Answers that came while the load went on.
    in_time: u64,
    duration: Option<Duration>,
}

/// Rows by name, found by the number of an endpoint.
struct ByEndpoint<R, C> {
    rows: Vec<(R, C)>,
    places: Vec<Option<usize>>,
}

impl<R, C> Default for ByEndpoint<R, C> {
    fn default() -> Self {
        Self { rows: Vec::new(), places: Vec::new() }
    }
}

impl<R, C: Default> ByEndpoint<R, C> {
    /// The row of this endpoint; `is` knows it among those that exist, `new` makes it.
    fn row(
        &mut self,
        endpoint: &Endpoint,
        is: impl Fn(&R, &Endpoint) -> bool,
        new: impl Fn(&Endpoint) -> R,
    ) -> Option<&mut (R, C)> {
        let id = usize::try_from(endpoint.id()).ok()?;
        let place = match self.places.get(id).copied().flatten() {
            Some(place) => place,
            None => {
                let place = self.rows.iter().position(|(row, _)| is(row, endpoint)).unwrap_or(self.rows.len());
                if place == self.rows.len() {
                    self.rows.push((new(endpoint), C::default()));
                }
                if self.places.len() <= id {
                    self.places.resize(id.saturating_add(1), None);
                }
                if let Some(slot) = self.places.get_mut(id) {
                    *slot = Some(place);
                }
                place
            }
        };
        self.rows.get_mut(place)
    }
}

impl Tally {
    pub(crate) fn new(too_slow: Option<Span>, duration: Option<Span>) -> Self {
        Self {
            too_slow,
            totals: Totals::default(),
            statuses: BTreeMap::new(),
            clusters: BTreeMap::new(),
            details: BTreeMap::new(),
            attempts: BTreeMap::new(),
            timeouts: Timeouts::default(),
            times: Clock::default(),
            shape: Shape::default(),
            last_end: Timestamp::default(),
            versions: ByEndpoint::default(),
            mirrors: ByEndpoint::default(),
            in_time: 0,
            duration: duration.map(Duration::from),
        }
    }

    pub(crate) fn begun(&mut self) {
        self.totals.begun += 1;
    }

    pub(crate) fn sent(&mut self, sent: &Sent<'_>) {
        match sent.role {
            Role::Primary => {
                if let Some((version, _)) = self.version(sent.endpoint) {
                    version.attempts += 1;
                    version.requests += u64::from(sent.number == 1);
                }
            }
            Role::Shadow => {
                if let Some((mirror, _)) = self.mirror(sent.endpoint) {
                    mirror.sent += 1;
                }
            }
            Role::Callout => self.totals.callouts += 1,
        }
    }

    pub(crate) fn over(&mut self, over: &Over<'_>) {
        match over.role {
            Role::Primary => {
                self.timeouts.attempts += u64::from(over.end == AttemptEnd::TimedOut);
                if let Some((version, clock)) = self.version(over.endpoint) {
                    match over.end {
                        AttemptEnd::Answered(status) => *version.statuses.entry(status).or_default() += 1,
                        AttemptEnd::ConnectionClosed => version.connection_closed += 1,
                        AttemptEnd::Refused => version.refused += 1,
                        AttemptEnd::TimedOut => version.timed_out += 1,
                        AttemptEnd::Abandoned => version.abandoned += 1,
                        AttemptEnd::Waiting => version.waiting += 1,
                    }
                    clock.record(over.took);
                }
            }
            Role::Shadow => {
                let late = self.too_slow.is_some_and(|limit| over.took > Duration::from(limit));
                if let Some((mirror, clock)) = self.mirror(over.endpoint) {
                    match over.end {
                        AttemptEnd::Answered(status) => {
                            *mirror.statuses.entry(status).or_default() += 1;
                            mirror.too_slow += u64::from(late);
                            mirror.succeeded += u64::from(status < 500 && !late);
                        }
                        AttemptEnd::ConnectionClosed => mirror.connection_closed += 1,
                        AttemptEnd::Refused => mirror.refused += 1,
                        AttemptEnd::TimedOut => mirror.timed_out += 1,
                        AttemptEnd::Abandoned | AttemptEnd::Waiting => mirror.waiting += 1,
                    }
                    clock.record(over.took);
                }
            }
            Role::Callout => {}
        }
    }

    pub(crate) fn given(&mut self, given: &Given<'_>) {
        if let Some(cluster) = given.cluster {
            count(&mut self.clusters, cluster);
        }
        if !given.details.is_empty() {
            count(&mut self.details, given.details);
        }
        *self.attempts.entry(given.attempts).or_default() += 1;
        self.totals.retries += u64::from(given.attempts.saturating_sub(1));
        self.timeouts.requests += u64::from(given.flags.contains(Flags::UPSTREAM_TIMEOUT));
        match given.ended {
            Ended::Answered => {
                self.totals.answered += 1;
                let status = given.status.unwrap_or(0);
                self.totals.succeeded += u64::from(status < 500);
                *self.statuses.entry(status).or_default() += 1;
            }
            Ended::Reset => self.totals.reset += 1,
            Ended::GaveUp => self.totals.gave_up += 1,
            Ended::Waiting => {
                self.totals.waiting += 1;
                return;
            }
        }
        let took = given.at.since(given.begun);
        self.times.record(took);
        self.shape.record(took);
        self.last_end = given.at;
        let in_time = self.duration.is_none_or(|duration| given.at <= Timestamp::default().after(duration));
        self.in_time += u64::from(in_time && given.ended == Ended::Answered);
    }

    fn version(&mut self, endpoint: &Endpoint) -> Option<&mut (Version, Clock)> {
        let is = |row: &Version, endpoint: &Endpoint| (&*row.host, &row.labels) == (host(endpoint), &labels(endpoint));
        let new = |endpoint: &Endpoint| Version {
            host: host(endpoint).to_owned(),
            labels: labels(endpoint),
            ..Version::default()
        };
        self.versions.row(endpoint, is, new)
    }

    fn mirror(&mut self, endpoint: &Endpoint) -> Option<&mut (Mirror, Clock)> {
        let is = |row: &Mirror, endpoint: &Endpoint| row.cluster == endpoint.cluster();
        let new = |endpoint: &Endpoint| Mirror { cluster: endpoint.cluster().to_owned(), ..Mirror::default() };
        self.mirrors.row(endpoint, is, new)
    }

    /// Closes the books.
    pub(crate) fn report(
        self,
        scenario: &Scenario,
        engine: &Engine,
        undescribed: Vec<String>,
        configured: &[ConfiguredShare],
        violations: Vec<String>,
        stopped: bool,
    ) -> Report {
        let simulated = Duration::from_nanos(engine.now().as_nanos());
        // The load's own time: what comes in afterwards only drains.
        let last = Duration::from_nanos(self.last_end.as_nanos());
        let period = self.duration.map_or(last, |duration| duration.min(last));
        let mut versions: Vec<Version> =
            self.versions.rows.into_iter().map(|(row, clock)| Version { times: clock.times(), clock, ..row }).collect();
        versions.sort_by(|a, b| (&a.host, &a.labels).cmp(&(&b.host, &b.labels)));
        let mut mirrors: Vec<Mirror> =
            self.mirrors.rows.into_iter().map(|(row, clock)| Mirror { times: clock.times(), ..row }).collect();
        mirrors.sort_by(|a, b| a.cluster.cmp(&b.cluster));
        let warnings = engine.world().lines.all.iter().filter(|(level, ..)| *level >= LogLevel::Warn);
        Report {
            scenario: scenario.metadata.name.clone(),
            description: scenario.spec.description.clone(),
            seed: scenario.spec.seed,
            stopped,
            simulated_us: micros(simulated),
            load_us: micros(period),
            success_rate: ratio(self.totals.succeeded, self.totals.begun),
            rate_per_second: ratio(self.in_time, 1) / (ratio(micros(period).max(1), 1) / 1e6),
            expectations: Vec::new(),
            totals: Totals { dropped_mirrors: engine.dropped_shadows(), ..self.totals },
            statuses: self.statuses,
            details: self.details,
            attempts: self.attempts,
            timeouts: self.timeouts,
            times: self.times.times(),
            clock: self.times,
            histogram: self.shape.bars(),
            shares: shares(configured, &self.clusters),
            clusters: self.clusters,
            versions,
            mirrors,
            too_slow: self.too_slow,
            undescribed,
            warnings: warnings
                .map(|(level, message, count)| Warning {
                    level: format!("{level:?}").to_lowercase(),
                    message: message.clone(),
                    count: *count,
                })
                .collect(),
            violations,
        }
    }
}

fn count(counts: &mut BTreeMap<String, u64>, name: &str) {
    if let Some(count) = counts.get_mut(name) {
        *count += 1;
    } else {
        counts.insert(name.to_owned(), 1);
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// Exact as long as both are below 2^53; division is the same on every machine.
#[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^53")]
fn ratio(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}
