//! The books of a run, made into a report at the end: clients' requests, the calls of services, copies.

use std::collections::BTreeMap;
use std::time::Duration;

use host_abi::LogLevel;
use upstream::{Endpoint, Timestamp};

use crate::engine::{AttemptEnd, Ended, Engine, Given, Over, Role, Sent};
use crate::names::{host, labels};
use crate::report::{Calls, Clock, Edge, Mirror, Report, Totals, UsersMet, Warning, shares};
use crate::run::ConfiguredShare;
use crate::run::books::{Books, ByEndpoint, count};
use crate::scenario::Scenario;
use crate::span::Span;

/// Counts and times of a run.
pub(crate) struct Tally {
    too_slow: Option<Span>,
    duration: Option<Duration>,
    /// Requests of clients.
    clients: Books,
    /// Requests of services for their sake.
    services: Books,
    /// The same by who asks what.
    edges: Vec<(Edge, Clock)>,
    /// Requests of services for the sake of copies.
    by_copies: u64,
    mirrors: ByEndpoint<Mirror, Clock>,
    /// Requests and calls by cluster, under each set of rules but the first, with the moment from which on it holds.
    later: Vec<(Timestamp, BTreeMap<String, u64>)>,
}

/// The shares that hold from a moment on.
pub(crate) struct Phase {
    /// `None`: from the start.
    pub(crate) from: Option<Span>,
    pub(crate) configured: Vec<ConfiguredShare>,
}

/// What others know when a run is over.
pub(crate) struct Closing {
    /// Endpoints that were asked and that nobody describes.
    pub(crate) undescribed: Vec<String>,
    pub(crate) users: Option<UsersMet>,
    /// What the checkers found.
    pub(crate) violations: Vec<String>,
    /// It was ended from outside.
    pub(crate) stopped: bool,
}

impl Tally {
    pub(crate) fn new(too_slow: Option<Span>, duration: Option<Span>) -> Self {
        Self {
            too_slow,
            duration: duration.map(Duration::from),
            clients: Books::default(),
            services: Books::default(),
            edges: Vec::new(),
            by_copies: 0,
            mirrors: ByEndpoint::default(),
            later: Vec::new(),
        }
    }

    /// From now on other rules hold, and endpoints may be others.
    pub(crate) fn other_rules(&mut self, now: Timestamp) {
        self.later.push((now, BTreeMap::new()));
        self.clients.forget();
        self.services.forget();
        self.mirrors.forget();
    }

    /// A client sends a request.
    pub(crate) fn begun(&mut self) {
        self.clients.totals.begun += 1;
    }

    pub(crate) fn sent(&mut self, sent: &Sent<'_>) {
        match sent.role {
            Role::Primary if sent.cause.by_copy => {}
            Role::Primary if sent.cause.call > 0 => self.services.sent(sent),
            Role::Primary => self.clients.sent(sent),
            Role::Shadow => {
                if let Some((mirror, _)) = self.mirror(sent.sender, sent.endpoint) {
                    mirror.sent += 1;
                }
            }
            Role::Callout => self.clients.totals.callouts += 1,
        }
    }

    pub(crate) fn over(&mut self, over: &Over<'_>) {
        match over.role {
            Role::Primary if over.cause.by_copy => {}
            Role::Primary if over.cause.call > 0 => self.services.over(over),
            Role::Primary => self.clients.over(over),
            Role::Shadow => {
                let late = self.too_slow.is_some_and(|limit| over.took > Duration::from(limit));
                if let Some((mirror, clock)) = self.mirror(over.sender, over.endpoint) {
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
        if given.cause.by_copy {
            self.by_copies += 1;
            return;
        }
        // Requests finish on the rules they began with.
        let rules = self.later.iter_mut().rev().find(|(from, _)| *from <= given.begun);
        if let (Some((_, met)), Some(cluster)) = (rules, given.cluster) {
            count(met, cluster);
        }
        if given.cause.call > 0 {
            self.services.totals.begun += 1;
            self.services.given(given, self.duration);
            self.went(given);
        } else {
            self.clients.given(given, self.duration);
        }
    }

    /// A service has asked another.
    fn went(&mut self, given: &Given<'_>) {
        let Some(caller) = given.caller else { return };
        let (own_host, own_labels) = (host(caller), labels(caller));
        let cluster = given.cluster.unwrap_or_default();
        let is = |(edge, _): &(Edge, Clock)| {
            edge.caller == own_host && edge.caller_labels == own_labels && edge.cluster == cluster
        };
        let place = self.edges.iter().position(is).unwrap_or(self.edges.len());
        if place == self.edges.len() {
            let (caller, cluster) = (own_host.to_owned(), cluster.to_owned());
            let edge = Edge { caller, caller_labels: own_labels, cluster, ..Edge::default() };
            self.edges.push((edge, Clock::default()));
        }
        if let Some((edge, clock)) = self.edges.get_mut(place) {
            edge.calls += 1;
            edge.succeeded += u64::from(given.status.is_some_and(|status| status < 500));
            if given.ended != Ended::Waiting {
                clock.record(given.at.since(given.begun));
            }
        }
    }

    fn mirror(&mut self, sender: usize, endpoint: &Endpoint) -> Option<&mut (Mirror, Clock)> {
        let is = |row: &Mirror, endpoint: &Endpoint| row.cluster == endpoint.cluster();
        let new = |endpoint: &Endpoint| Mirror { cluster: endpoint.cluster().to_owned(), ..Mirror::default() };
        self.mirrors.row(sender, endpoint, is, new)
    }

    /// Closes the books.
    pub(crate) fn report(self, scenario: &Scenario, engine: &Engine, phases: &[Phase], closing: Closing) -> Report {
        let Closing { undescribed, users, violations, stopped } = closing;
        let Self { too_slow, duration, mut clients, services, edges, by_copies, mirrors, later } = self;
        let simulated = Duration::from_nanos(engine.now().as_nanos());
        // The load's own time: what comes in afterwards only drains.
        let last = Duration::from_nanos(clients.last_end.as_nanos());
        let period = duration.map_or(last, |duration| duration.min(last));
        let mut mirrors: Vec<Mirror> =
            mirrors.rows.into_iter().map(|(row, clock)| Mirror { times: clock.times(), ..row }).collect();
        mirrors.sort_by(|a, b| a.cluster.cmp(&b.cluster));
        // A rule is met by whoever asks.
        let mut first = clients.clusters.clone();
        for (cluster, number) in &services.clusters {
            *first.entry(cluster.clone()).or_default() += number;
        }
        for (cluster, number) in later.iter().flat_map(|(_, met)| met) {
            first.entry(cluster.clone()).and_modify(|all| *all = all.saturating_sub(*number));
        }
        let met = std::iter::once(&first).chain(later.iter().map(|(_, met)| met));
        let shares = phases.iter().zip(met).flat_map(|(phase, met)| {
            let mut rows = shares(&phase.configured, met, users.map(|users| users.effective));
            if let Some(from) = phase.from {
                rows.iter_mut().for_each(|row| row.rule = format!("{} (from {from} on)", row.rule));
            }
            rows
        });
        let shares = shares.collect();
        let versions = clients.take_versions();
        Report {
            scenario: scenario.metadata.name.clone(),
            description: scenario.spec.description.clone(),
            seed: scenario.spec.seed,
            stopped,
            simulated_us: micros(simulated),
            load_us: micros(period),
            success_rate: ratio(clients.totals.succeeded, clients.totals.begun),
            rate_per_second: ratio(clients.in_time, 1) / (ratio(micros(period).max(1), 1) / 1e6),
            expectations: Vec::new(),
            totals: Totals { dropped_mirrors: engine.dropped_shadows(), ..clients.totals },
            statuses: clients.statuses,
            details: clients.details,
            attempts: clients.attempts,
            timeouts: clients.timeouts,
            times: clients.times.times(),
            clock: clients.times,
            histogram: clients.shape.bars(),
            shares,
            clusters: clients.clusters,
            versions,
            users,
            calls: calls(services, edges, by_copies),
            mirrors,
            too_slow,
            undescribed,
            warnings: warnings(engine),
            violations,
        }
    }
}

/// What services asked of each other, if they did.
fn calls(mut books: Books, edges: Vec<(Edge, Clock)>, by_copies: u64) -> Option<Calls> {
    if books.totals.begun == 0 && by_copies == 0 {
        return None;
    }
    let mut edges: Vec<Edge> = edges.into_iter().map(|(edge, clock)| Edge { times: clock.times(), ..edge }).collect();
    edges.sort_by(|a, b| (&a.caller, &a.caller_labels, &a.cluster).cmp(&(&b.caller, &b.caller_labels, &b.cluster)));
    let versions = books.take_versions();
    Some(Calls {
        success_rate: ratio(books.totals.succeeded, books.totals.begun),
        totals: books.totals,
        by_copies,
        statuses: books.statuses,
        details: books.details,
        attempts: books.attempts,
        timeouts: books.timeouts,
        times: books.times.times(),
        clock: books.times,
        clusters: books.clusters,
        edges,
        versions,
    })
}

/// What the filters complained about, each line once.
fn warnings(engine: &Engine) -> Vec<Warning> {
    let mut warnings: Vec<Warning> = Vec::new();
    let lines = engine.worlds().flat_map(|world| &world.lines.all);
    for (level, message, count) in lines.filter(|(level, ..)| *level >= LogLevel::Warn) {
        let level = format!("{level:?}").to_lowercase();
        match warnings.iter_mut().find(|known| known.level == level && known.message == *message) {
            Some(known) => known.count += count,
            None => warnings.push(Warning { level, message: message.clone(), count: *count }),
        }
    }
    warnings
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// Exact as long as both are below 2^53; division is the same on every machine.
#[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^53")]
fn ratio(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}
