//! What a report says about one measure.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::Serialize;

use crate::names::is_host;
use crate::report::{Clock, Mirror, Report, Totals, UsersMet, Version, count, micros, percent};
use crate::scenario::{ExpectSpec, Measure, Statuses};

/// What was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Seen {
    /// `part` of `whole`, which is not zero.
    #[serde(rename_all = "camelCase")]
    Share {
        /// So many.
        part: u64,
        /// Of so many.
        whole: u64,
    },
    /// So many.
    Count(u64),
    /// So long, in microseconds.
    TimeUs(u64),
    /// There was nothing to look at.
    Nothing,
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&match self {
            Self::Share { part, whole } => format!("{} of {}", percent(*part, *whole), count(*whole)),
            Self::Count(number) => count(*number),
            Self::TimeUs(us) => micros(*us),
            Self::Nothing => "-".to_owned(),
        })
    }
}

/// Whose measure it is.
pub(crate) enum Whose<'a> {
    /// That of all requests, as clients saw them.
    All,
    /// That of all calls between services, as their callers saw them.
    Calls,
    /// That of some versions of a service.
    Service {
        service: &'a str,
        labels: &'a BTreeMap<String, String>,
        /// The clusters with endpoints that are meant.
        clusters: BTreeSet<String>,
    },
}

impl Whose<'_> {
    /// Rows of the report that are meant; `exactly`: with these labels, and not the whole service.
    fn versions<'r>(&self, report: &'r Report, exactly: bool) -> impl Iterator<Item = &'r Version> {
        let of_calls = report.calls.iter().flat_map(|calls| &calls.versions);
        let own = report.versions.iter().filter(|_| !matches!(self, Self::Calls));
        own.chain(of_calls.filter(|_| !matches!(self, Self::All))).filter(move |version| match self {
            Self::All | Self::Calls => true,
            Self::Service { service, labels, .. } => {
                is_host(service, &version.host) && (!exactly || has(&version.labels, labels))
            }
        })
    }

    fn mirrors<'r>(&self, report: &'r Report) -> impl Iterator<Item = &'r Mirror> {
        report.mirrors.iter().filter(move |mirror| match self {
            Self::All | Self::Calls => true,
            Self::Service { clusters, .. } => clusters.contains(&mirror.cluster),
        })
    }

    /// What whoever asked got; `None` where only attempts are known.
    fn asked<'r>(&self, report: &'r Report) -> Option<Asked<'r>> {
        match self {
            Self::All => Some(Asked {
                totals: &report.totals,
                statuses: &report.statuses,
                timeouts: report.timeouts.requests,
                clock: &report.clock,
            }),
            Self::Calls => report.calls.as_ref().map(|calls| Asked {
                totals: &calls.totals,
                statuses: &calls.statuses,
                timeouts: calls.timeouts.requests,
                clock: &calls.clock,
            }),
            Self::Service { .. } => None,
        }
    }
}

/// The side of whoever asks.
struct Asked<'r> {
    totals: &'r Totals,
    statuses: &'r BTreeMap<u16, u64>,
    timeouts: u64,
    clock: &'r Clock,
}

/// Whether a version with these labels (`a=b,c=d`) carries all that are wanted.
fn has(labels: &str, wanted: &BTreeMap<String, String>) -> bool {
    wanted.iter().all(|(name, value)| {
        labels.split(',').any(|label| label.split_once('=').is_some_and(|(own, has)| own == name && has == value))
    })
}

/// Looks it up. `as_share`: a share is wanted where a count could be told too.
pub(crate) fn measure(spec: &ExpectSpec, as_share: bool, whose: &Whose<'_>, report: &Report) -> Seen {
    let own = |value: fn(&Version) -> u64| -> u64 { whose.versions(report, true).map(value).sum() };
    let either = |part: u64, whole: u64| if as_share { share(part, whole) } else { Seen::Count(part) };
    let asked = whose.asked(report);
    match (spec.measure, asked) {
        (Measure::Share, _) => {
            share(own(|version| version.requests), whose.versions(report, false).map(|it| it.requests).sum())
        }
        (Measure::SuccessRate, Some(Asked { totals, .. })) => share(totals.succeeded, totals.begun),
        (Measure::SuccessRate, None) => share(own(Version::succeeded), own(|version| version.attempts)),
        (Measure::Answers, Some(Asked { totals, statuses, .. })) => {
            either(number(spec.status, statuses, totals.begun.saturating_sub(totals.answered)), totals.begun)
        }
        (Measure::Answers, None) => {
            let of = |version: &Version| {
                let answered: u64 = version.statuses.values().sum();
                number(spec.status, &version.statuses, version.attempts.saturating_sub(answered))
            };
            either(whose.versions(report, true).map(of).sum(), own(|version| version.attempts))
        }
        (Measure::ResponseTime | Measure::MeanResponseTime, asked) => {
            let mut clock = Clock::default();
            match asked {
                Some(asked) => clock.add(asked.clock),
                None => whose.versions(report, true).for_each(|version| clock.add(&version.clock)),
            }
            let time = match spec.percentile {
                Some(percentile) => clock.at_ppm(percentile.ppm),
                None => clock.mean_us(),
            };
            time.map_or(Seen::Nothing, Seen::TimeUs)
        }
        (Measure::Requests, Some(Asked { totals, .. })) => Seen::Count(totals.begun),
        (Measure::Requests, None) => Seen::Count(own(|version| version.requests)),
        (Measure::Attempts, _) => Seen::Count(own(|version| version.attempts)),
        (Measure::Retries, Some(Asked { totals, .. })) => Seen::Count(totals.retries),
        (Measure::Retries, None) => Seen::Count(own(|version| version.attempts.saturating_sub(version.requests))),
        (Measure::Timeouts, Some(Asked { timeouts, .. })) => Seen::Count(timeouts),
        (Measure::Timeouts, None) => Seen::Count(own(|version| version.timed_out)),
        (Measure::Mirrors, _) => Seen::Count(whose.mirrors(report).map(|mirror| mirror.sent).sum()),
        (Measure::MirrorSuccessRate, _) => {
            let sums = whose.mirrors(report).fold((0, 0), |(part, whole), it| (part + it.succeeded, whole + it.sent));
            share(sums.0, sums.1)
        }
        (Measure::UsersFailed, _) => {
            let UsersMet { came, failed, effective: _ } = report.users.unwrap_or_default();
            either(failed, came)
        }
    }
}

fn share(part: u64, whole: u64) -> Seen {
    if whole == 0 { Seen::Nothing } else { Seen::Share { part, whole } }
}

fn number(statuses: Option<Statuses>, answers: &BTreeMap<u16, u64>, none: u64) -> u64 {
    match statuses {
        // A scenario that was read says which.
        None | Some(Statuses::None) => none,
        Some(Statuses::Within(first, last)) => answers.range(first..=last).map(|(_, count)| count).sum(),
    }
}
