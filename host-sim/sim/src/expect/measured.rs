//! What a report says about one measure.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::Serialize;

use crate::names::is_host;
use crate::report::{Clock, Mirror, Report, Version, count, micros, percent};
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
        report.versions.iter().filter(move |version| match self {
            Self::All => true,
            Self::Service { service, labels, .. } => {
                is_host(service, &version.host) && (!exactly || has(&version.labels, labels))
            }
        })
    }

    fn mirrors<'r>(&self, report: &'r Report) -> impl Iterator<Item = &'r Mirror> {
        report.mirrors.iter().filter(move |mirror| match self {
            Self::All => true,
            Self::Service { clusters, .. } => clusters.contains(&mirror.cluster),
        })
    }
}

/// Whether a version with these labels (`a=b,c=d`) carries all that are wanted.
fn has(labels: &str, wanted: &BTreeMap<String, String>) -> bool {
    wanted.iter().all(|(name, value)| {
        labels.split(',').any(|label| label.split_once('=').is_some_and(|(own, has)| own == name && has == value))
    })
}

/// Looks it up. `as_share`: a share is wanted where a count could be told too.
pub(crate) fn measure(spec: &ExpectSpec, as_share: bool, whose: &Whose<'_>, report: &Report) -> Seen {
    let is_all = matches!(whose, Whose::All);
    let own = |value: fn(&Version) -> u64| -> u64 { whose.versions(report, true).map(value).sum() };
    let totals = &report.totals;
    match spec.measure {
        Measure::Share => {
            share(own(|version| version.requests), whose.versions(report, false).map(|it| it.requests).sum())
        }
        Measure::SuccessRate if is_all => share(totals.succeeded, totals.begun),
        Measure::SuccessRate => share(own(Version::succeeded), own(|version| version.attempts)),
        Measure::Answers => {
            let Some(statuses) = spec.status else { return Seen::Nothing };
            let (part, whole) = if is_all {
                let answered = totals.begun.saturating_sub(totals.answered);
                (number(statuses, &report.statuses, answered), totals.begun)
            } else {
                let of = |version: &Version| {
                    let answered: u64 = version.statuses.values().sum();
                    number(statuses, &version.statuses, version.attempts.saturating_sub(answered))
                };
                (whose.versions(report, true).map(of).sum(), own(|version| version.attempts))
            };
            if as_share { share(part, whole) } else { Seen::Count(part) }
        }
        Measure::ResponseTime | Measure::MeanResponseTime => {
            let mut clock = Clock::default();
            match whose {
                Whose::All => clock.add(&report.clock),
                Whose::Service { .. } => whose.versions(report, true).for_each(|version| clock.add(&version.clock)),
            }
            let time = match spec.percentile {
                Some(percentile) => clock.at_ppm(percentile.ppm),
                None => clock.mean_us(),
            };
            time.map_or(Seen::Nothing, Seen::TimeUs)
        }
        Measure::Requests if is_all => Seen::Count(totals.begun),
        Measure::Requests => Seen::Count(own(|version| version.requests)),
        Measure::Attempts => Seen::Count(own(|version| version.attempts)),
        Measure::Retries if is_all => Seen::Count(totals.retries),
        Measure::Retries => Seen::Count(own(|version| version.attempts.saturating_sub(version.requests))),
        Measure::Timeouts if is_all => Seen::Count(report.timeouts.requests),
        Measure::Timeouts => Seen::Count(own(|version| version.timed_out)),
        Measure::Mirrors => Seen::Count(whose.mirrors(report).map(|mirror| mirror.sent).sum()),
        Measure::MirrorSuccessRate => {
            let sums = whose.mirrors(report).fold((0, 0), |(part, whole), it| (part + it.succeeded, whole + it.sent));
            share(sums.0, sums.1)
        }
    }
}

fn share(part: u64, whole: u64) -> Seen {
    if whole == 0 { Seen::Nothing } else { Seen::Share { part, whole } }
}

fn number(statuses: Statuses, answers: &BTreeMap<u16, u64>, none: u64) -> u64 {
    match statuses {
        Statuses::None => none,
        Statuses::Within(first, last) => answers.range(first..=last).map(|(_, count)| count).sum(),
    }
}
