//! Several runs side by side: the same load under different rules.

use std::collections::BTreeSet;
use std::fmt;

use crate::expect::Judgement;
use crate::report::table::{Table, count, percent};
use crate::report::text::micros;
use crate::report::{Report, Times};

/// What a row tells, and where it stands.
type Row<T> = (&'static str, fn(&T) -> u64);

/// Reports with the names they have in the comparison.
#[derive(Clone, Debug)]
pub struct Comparison<'a> {
    columns: Vec<(&'a str, &'a Report)>,
}

impl<'a> Comparison<'a> {
    /// Up to five fit into 96 columns.
    pub fn new(columns: impl IntoIterator<Item = (&'a str, &'a Report)>) -> Self {
        Self { columns: columns.into_iter().collect() }
    }
}

impl fmt::Display for Comparison<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = Table::default();
        let mut row = |what: &str, cell: &dyn Fn(&Report) -> String| {
            table.row(std::iter::once(what.to_owned()).chain(self.columns.iter().map(|(_, report)| cell(report))));
        };
        row("requests", &|report| count(report.totals.begun));
        if self.columns.iter().any(|(_, report)| !report.expectations.is_empty()) {
            row("expectations met", &|report| {
                let met = report.expectations.iter().filter(|one| one.judgement == Judgement::Met).count();
                format!("{met} of {}", report.expectations.len())
            });
        }
        row("succeeded", &|report| percent(report.totals.succeeded, report.totals.begun));
        row("answers a second", &|report| format!("{:.2}", report.rate_per_second));
        let times: [Row<Times>; 6] = [
            ("mean", |times| times.mean_us),
            ("p50", |times| times.p50_us),
            ("p90", |times| times.p90_us),
            ("p95", |times| times.p95_us),
            ("p99", |times| times.p99_us),
            ("max", |times| times.max_us),
        ];
        for (name, time) in times {
            row(&format!("response time, {name}"), &|report| micros(time(&report.times)));
        }
        let statuses: BTreeSet<u16> =
            self.columns.iter().flat_map(|(_, report)| report.statuses.keys().copied()).collect();
        for status in statuses {
            row(&format!("answered {status}"), &|report| {
                percent(report.statuses.get(&status).copied().unwrap_or(0), report.totals.begun)
            });
        }
        let others: [Row<Report>; 4] = [
            ("broken off", |report| report.totals.reset),
            ("given up by the client", |report| report.totals.gave_up),
            ("without an answer", |report| report.totals.waiting),
            ("mirrored", |report| report.mirrors.iter().map(|mirror| mirror.sent).sum()),
        ];
        for (name, number) in others {
            if self.columns.iter().any(|(_, report)| number(report) > 0) {
                row(name, &|report| count(number(report)));
            }
        }
        row("retries", &|report| count(report.totals.retries));
        row("attempts out of time", &|report| count(report.timeouts.attempts));
        if self.columns.iter().any(|(_, report)| report.users.is_some()) {
            row("users who met a failure", &|report| {
                report.users.map_or_else(|| "-".to_owned(), |users| percent(users.failed, users.came))
            });
        }
        if self.columns.iter().any(|(_, report)| report.calls.is_some()) {
            let made = |report: &Report| report.calls.as_ref().map_or(0, |calls| calls.totals.begun);
            let well = |report: &Report| report.calls.as_ref().map_or(0, |calls| calls.totals.succeeded);
            row("calls between services", &|report| count(made(report)));
            row("calls that succeeded", &|report| percent(well(report), made(report)));
        }
        let mut head = Table::default();
        head.row(std::iter::once(String::new()).chain(self.columns.iter().map(|(name, _)| (*name).to_owned())));
        head.followed_by(table).write(f)
    }
}
