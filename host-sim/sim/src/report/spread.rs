//! Many runs of one scenario, each with a seed of its own: how far its figures vary, and how often expectations are met.

use std::collections::BTreeSet;
use std::fmt;

use serde::Serialize;

use crate::expect::{Expectation, Judgement};
use crate::report::table::{Table, cluster, count, percent, short_host};
use crate::report::text::{expectations, micros};
use crate::report::{Clock, Report, Times, Version};

/// One figure of many.
type Of<T> = fn(&T) -> u64;

/// Seeds that are named where an expectation fails or a checker finds something.
const SEEDS_MAX: usize = 5;

/// What came of many runs. The order in which they are given is that of their seeds.
#[derive(Clone, Debug)]
pub struct Spread {
    reports: Vec<Report>,
}

/// One figure over all runs, told as in a report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Row {
    figure: String,
    min: String,
    median: String,
    max: String,
}

/// One expectation over all runs.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Kept {
    /// All runs together.
    #[serde(flatten)]
    together: Expectation,
    /// So many runs met it.
    met: usize,
    /// So many did not.
    failed: usize,
    /// So many were too short.
    undecided: usize,
    /// Seeds of the first that did not.
    failed_seeds: Vec<u64>,
}

/// What JSON shows.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Told<'a> {
    scenario: &'a str,
    description: &'a str,
    runs: usize,
    first_seed: Option<u64>,
    figures: Vec<Row>,
    expectations: Vec<Kept>,
    violations: Vec<String>,
}

impl Report {
    /// The report without what only its own expectations needed; some hundreds of kilobytes less.
    #[must_use]
    pub fn slim(mut self) -> Self {
        self.clock = Clock::default();
        self.versions.iter_mut().for_each(|version| version.clock = Clock::default());
        if let Some(calls) = &mut self.calls {
            calls.clock = Clock::default();
            calls.versions.iter_mut().for_each(|version| version.clock = Clock::default());
        }
        self
    }
}

impl Spread {
    /// Of these runs of one scenario.
    pub fn new(reports: Vec<Report>) -> Self {
        Self { reports }
    }

    /// Expectations that did not come true in all runs together.
    pub fn failed(&self) -> impl Iterator<Item = Expectation> {
        self.kept().into_iter().map(|kept| kept.together).filter(|it| it.judgement == Judgement::Failed)
    }

    /// What must never happen and did, with the seed that shows it again.
    pub fn violations(&self) -> Vec<String> {
        let broken = self.reports.iter().filter(|report| !report.violations.is_empty()).take(SEEDS_MAX);
        broken.flat_map(|report| report.violations.iter().map(|line| format!("seed {}: {line}", report.seed))).collect()
    }

    /// One JSON object with all figures.
    ///
    /// # Errors
    ///
    /// None that is known; serde may have one.
    pub fn to_json(&self) -> Result<String, serde_json::Error> {
        let first = self.reports.first();
        serde_json::to_string_pretty(&Told {
            scenario: first.map_or("", |report| &report.scenario),
            description: first.map_or("", |report| &report.description),
            runs: self.reports.len(),
            first_seed: first.map(|report| report.seed),
            figures: self.rows(),
            expectations: self.kept(),
            violations: self.violations(),
        })
    }

    fn kept(&self) -> Vec<Kept> {
        let places = 0..self.reports.first().map_or(0, |report| report.expectations.len());
        let kept = places.filter_map(|place| {
            let runs: Vec<(u64, &Expectation)> =
                self.reports.iter().filter_map(|report| Some((report.seed, report.expectations.get(place)?))).collect();
            let number = |judgement| runs.iter().filter(|(_, run)| run.judgement == judgement).count();
            let failed = runs.iter().filter(|(_, run)| run.judgement == Judgement::Failed);
            Some(Kept {
                together: Expectation::together(&runs.iter().map(|(_, run)| *run).collect::<Vec<_>>())?,
                met: number(Judgement::Met),
                failed: number(Judgement::Failed),
                undecided: number(Judgement::Undecided),
                failed_seeds: failed.map(|(seed, _)| *seed).take(SEEDS_MAX).collect(),
            })
        });
        kept.collect()
    }

    /// The least, the middle and the greatest of a figure, by its key.
    fn row(&self, figure: impl Into<String>, key: impl Fn(&Report) -> u128, show: impl Fn(&Report) -> String) -> Row {
        let mut runs: Vec<&Report> = self.reports.iter().collect();
        runs.sort_by_key(|report| key(report));
        let at = |place: usize| runs.get(place).map_or_else(String::new, |report| show(report));
        let last = runs.len().saturating_sub(1);
        Row { figure: figure.into(), min: at(0), median: at(last / 2), max: at(last) }
    }

    fn share(&self, figure: impl Into<String>, of: impl Fn(&Report) -> (u64, u64)) -> Row {
        // Exact enough to order shares of counts below 2^53.
        let key = |report: &Report| {
            let (part, whole) = of(report);
            (u128::from(part) << 64) / u128::from(whole.max(1))
        };
        self.row(figure, key, |report| {
            let (part, whole) = of(report);
            percent(part, whole)
        })
    }

    fn number(&self, figure: impl Into<String>, of: impl Fn(&Report) -> u64) -> Row {
        self.row(figure, |report| of(report).into(), |report| count(of(report)))
    }

    fn rows(&self) -> Vec<Row> {
        let mut rows = vec![
            self.number("requests", |report| report.totals.begun),
            self.share("succeeded", |report| (report.totals.succeeded, report.totals.begun)),
            self.row(
                "answers a second",
                |report| millionths(report.rate_per_second),
                |report| format!("{:.2}", report.rate_per_second),
            ),
        ];
        let times: [(&str, Of<Times>); 6] = [
            ("mean", |times| times.mean_us),
            ("p50", |times| times.p50_us),
            ("p90", |times| times.p90_us),
            ("p95", |times| times.p95_us),
            ("p99", |times| times.p99_us),
            ("max", |times| times.max_us),
        ];
        for (name, time) in times {
            let of = |report: &Report| time(&report.times);
            rows.push(self.row(
                format!("response time, {name}"),
                |report| of(report).into(),
                |report| micros(of(report)),
            ));
        }
        let statuses: BTreeSet<u16> = self.reports.iter().flat_map(|report| report.statuses.keys().copied()).collect();
        for status in statuses {
            let answers = |report: &Report| report.statuses.get(&status).copied().unwrap_or(0);
            rows.push(self.share(format!("answered {status}"), |report| (answers(report), report.totals.begun)));
        }
        let shares: BTreeSet<(&str, &str)> = self
            .reports
            .iter()
            .flat_map(|report| &report.shares)
            .map(|share| (&*share.rule, &*share.cluster))
            .collect();
        for (rule, name) in shares {
            let is_it = |report: &Report| {
                let share = report.shares.iter().find(|share| (&*share.rule, &*share.cluster) == (rule, name));
                share.map_or((0, 0), |share| (share.observed, share.total))
            };
            rows.push(self.share(format!("share of {}", cluster(name)), is_it));
        }
        let versions: BTreeSet<(&str, &str)> =
            self.reports.iter().flat_map(|report| &report.versions).map(|it| (&*it.host, &*it.labels)).collect();
        for (host, labels) in versions {
            let succeeded = |report: &Report| {
                let version =
                    report.versions.iter().find(|version| (&*version.host, &*version.labels) == (host, labels));
                version.map_or((0, 0), |version| (Version::succeeded(version), version.attempts))
            };
            rows.push(self.share(format!("below 500 at {} {labels}", short_host(host)), succeeded));
        }
        if self.reports.iter().any(|report| report.users.is_some()) {
            let failed = |report: &Report| report.users.map_or((0, 0), |users| (users.failed, users.came));
            rows.push(self.share("users who met a failure", failed));
        }
        if self.reports.iter().any(|report| report.calls.is_some()) {
            let calls =
                |report: &Report| report.calls.as_ref().map_or((0, 0), |it| (it.totals.succeeded, it.totals.begun));
            rows.push(self.number("calls between services", |report| calls(report).1));
            rows.push(self.share("calls that succeeded", calls));
        }
        let others: [(&str, Of<Report>); 4] = [
            ("retries", |report| report.totals.retries),
            ("attempts out of time", |report| report.timeouts.attempts),
            ("without an answer", |report| report.totals.begun.saturating_sub(report.totals.answered)),
            ("mirrored", |report| report.mirrors.iter().map(|mirror| mirror.sent).sum()),
        ];
        for (name, of) in others {
            if self.reports.iter().any(|report| of(report) > 0) {
                rows.push(self.number(name, of));
            }
        }
        rows
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(first) = self.reports.first() else { return Ok(()) };
        let (runs, from) = (self.reports.len(), first.seed);
        writeln!(
            f,
            "{}  ({runs} runs, seeds {from} to {})",
            first.scenario,
            self.reports.last().map_or(from, |it| it.seed)
        )?;
        if !first.description.is_empty() {
            writeln!(f, "{}", first.description)?;
        }
        writeln!(f)?;
        let mut table = Table::default();
        table.row(["", "min", "median", "max"].map(str::to_owned));
        for Row { figure, min, median, max } in self.rows() {
            table.row([figure, min, median, max]);
        }
        table.write(f)?;
        let kept = self.kept();
        if !kept.is_empty() {
            writeln!(f, "\nRuns that met each expectation")?;
            let mut table = Table::default();
            table.row(["", "met", "failed", "undecided"].map(str::to_owned));
            for kept in &kept {
                let numbers = [kept.met, kept.failed, kept.undecided].map(|number| number.to_string());
                table.row(std::iter::once(kept.together.name.clone()).chain(numbers));
                if !kept.failed_seeds.is_empty() {
                    let seeds: Vec<String> = kept.failed_seeds.iter().map(u64::to_string).collect();
                    let more = if kept.failed > seeds.len() { ", …" } else { "" };
                    table.row([format!("  failed with --seed {}{more}", seeds.join(", "))]);
                }
            }
            table.write(f)?;
            let together: Vec<Expectation> = kept.into_iter().map(|kept| kept.together).collect();
            expectations(f, "All runs together, or the worst where there is no confidence", &together)?;
        }
        let violations = self.violations();
        if !violations.is_empty() {
            writeln!(f, "\nBROKEN: this must never happen, whatever the rules are")?;
            violations.iter().try_for_each(|violation| writeln!(f, "  {violation}"))?;
        }
        Ok(())
    }
}

/// To order rates, which are never negative.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "rates are far below 2^64")]
fn millionths(rate: f64) -> u128 {
    (rate * 1e6) as u128
}
