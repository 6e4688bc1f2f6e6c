//! What is kept of requests as they end: clients' in one set of books, those of services in another.

use std::collections::BTreeMap;
use std::time::Duration;

use upstream::{Endpoint, Flags, Timestamp};

use crate::engine::{AttemptEnd, Ended, Given, Over, Sent};
use crate::names::{host, labels};
use crate::report::{Clock, Shape, Timeouts, Totals, Version};

/// Counts and times of requests.
#[derive(Default)]
pub(super) struct Books {
    pub(super) totals: Totals,
    pub(super) statuses: BTreeMap<u16, u64>,
    pub(super) clusters: BTreeMap<String, u64>,
    pub(super) details: BTreeMap<String, u64>,
    pub(super) attempts: BTreeMap<u32, u64>,
    pub(super) timeouts: Timeouts,
    pub(super) times: Clock,
    pub(super) shape: Shape,
    pub(super) last_end: Timestamp,
    /// Answers that came while the load went on.
    pub(super) in_time: u64,
    versions: ByEndpoint<Version, Clock>,
}

/// Rows by name, found by who sends and the number of the endpoint.
pub(super) struct ByEndpoint<R, C> {
    pub(super) rows: Vec<(R, C)>,
    places: Vec<Vec<Option<usize>>>,
}

impl<R, C> Default for ByEndpoint<R, C> {
    fn default() -> Self {
        Self { rows: Vec::new(), places: Vec::new() }
    }
}

impl<R, C: Default> ByEndpoint<R, C> {
    /// Endpoints may be others from now on.
    pub(super) fn forget(&mut self) {
        self.places.clear();
    }

    /// The row of this endpoint; `is` knows it among those that exist, `new` makes it.
    pub(super) fn row(
        &mut self,
        sender: usize,
        endpoint: &Endpoint,
        is: impl Fn(&R, &Endpoint) -> bool,
        new: impl Fn(&Endpoint) -> R,
    ) -> Option<&mut (R, C)> {
        let id = usize::try_from(endpoint.id()).ok()?;
        let place = match self.places.get(sender).and_then(|places| places.get(id)).copied().flatten() {
            Some(place) => place,
            None => {
                let place = self.rows.iter().position(|(row, _)| is(row, endpoint)).unwrap_or(self.rows.len());
                if place == self.rows.len() {
                    self.rows.push((new(endpoint), C::default()));
                }
                if self.places.len() <= sender {
                    self.places.resize(sender.saturating_add(1), Vec::new());
                }
                let places = self.places.get_mut(sender)?;
                if places.len() <= id {
                    places.resize(id.saturating_add(1), None);
                }
                if let Some(slot) = places.get_mut(id) {
                    *slot = Some(place);
                }
                place
            }
        };
        self.rows.get_mut(place)
    }
}

impl Books {
    /// Endpoints may be others from now on.
    pub(super) fn forget(&mut self) {
        self.versions.forget();
    }

    /// An attempt begins.
    pub(super) fn sent(&mut self, sent: &Sent<'_>) {
        if let Some((version, _)) = self.version(sent.sender, sent.endpoint) {
            version.attempts += 1;
            version.requests += u64::from(sent.number == 1);
        }
    }

    /// An attempt is over.
    pub(super) fn over(&mut self, over: &Over<'_>) {
        self.timeouts.attempts += u64::from(over.end == AttemptEnd::TimedOut);
        if let Some((version, clock)) = self.version(over.sender, over.endpoint) {
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

    /// A request is over; `duration` is how long the load goes on.
    pub(super) fn given(&mut self, given: &Given<'_>, duration: Option<Duration>) {
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
        let in_time = duration.is_none_or(|duration| given.at <= Timestamp::default().after(duration));
        self.in_time += u64::from(in_time && given.ended == Ended::Answered);
    }

    /// What each version did, by name.
    pub(super) fn take_versions(&mut self) -> Vec<Version> {
        let rows = std::mem::take(&mut self.versions.rows).into_iter();
        let mut versions: Vec<Version> =
            rows.map(|(row, clock)| Version { times: clock.times(), clock, ..row }).collect();
        versions.sort_by(|a, b| (&a.host, &a.labels).cmp(&(&b.host, &b.labels)));
        versions
    }

    fn version(&mut self, sender: usize, endpoint: &Endpoint) -> Option<&mut (Version, Clock)> {
        let is = |row: &Version, endpoint: &Endpoint| (&*row.host, &row.labels) == (host(endpoint), &labels(endpoint));
        let new = |endpoint: &Endpoint| Version {
            host: host(endpoint).to_owned(),
            labels: labels(endpoint),
            ..Version::default()
        };
        self.versions.row(sender, endpoint, is, new)
    }
}

pub(super) fn count(counts: &mut BTreeMap<String, u64>, name: &str) {
    if let Some(count) = counts.get_mut(name) {
        *count += 1;
    } else {
        counts.insert(name.to_owned(), 1);
    }
}
