//! A new version step by step: what each step does, and the gates that it has to pass before the next.

use std::fmt;

use serde::Serialize;

use crate::expect::{Percent, Quantity};
use crate::report::{Report, Table, Version, count, micros, percent, short_host, three_digits};
use crate::scenario::Percentile;
use crate::span::Span;

/// What a step has to keep to.
#[derive(Clone, Debug)]
pub struct Gates {
    /// At least so many requests are answered below 500.
    pub success: Percent,
    /// At most so many percentage points fewer than in the step before.
    pub drop: Percent,
    /// These percentiles of the response times are at most so long.
    pub latency: Vec<(Percentile, Span)>,
    /// The 99th percentile is at most so many percent longer than in the step before.
    pub rise_percent: u64,
}

/// One gate of one step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Gate {
    /// What it looks at.
    pub name: String,
    /// What it wants, in words.
    pub wanted: String,
    /// What it saw.
    pub seen: String,
    /// Whether it lets the step pass.
    pub is_open: bool,
}

impl Gates {
    /// Looks at a step, and at the one before it. What is seen is compared as it is, times to three digits, so the load should be long enough.
    pub fn judge(&self, before: &Report, now: &Report) -> Vec<Gate> {
        let Self { success, drop, latency, rise_percent } = self;
        // In millionths, cut, of whatever has come.
        let rate = |report: &Report| {
            let ppm = u128::from(report.totals.succeeded) * 1_000_000 / u128::from(report.totals.begun.max(1));
            u64::try_from(ppm).unwrap_or(0)
        };
        let seen = percent(now.totals.succeeded, now.totals.begun);
        let least = rate(before).saturating_sub(drop.ppm);
        let mut gates = vec![
            Gate {
                name: "succeeded".to_owned(),
                wanted: format!("at least {success}"),
                seen: seen.clone(),
                is_open: now.totals.begun > 0 && rate(now) >= success.ppm,
            },
            Gate {
                name: "against the step before".to_owned(),
                wanted: format!("at least {}", percent(least, 1_000_000)),
                seen,
                is_open: rate(now) >= least,
            },
        ];
        for (percentile, limit) in latency {
            let seen = now.clock.at_ppm(percentile.ppm);
            gates.push(Gate {
                name: percentile.to_string(),
                wanted: format!("at most {}", Quantity::Time(*limit)),
                seen: seen.map_or_else(|| "-".to_owned(), micros),
                is_open: seen.is_some_and(|us| three_digits(us) <= three_digits(limit.as_nanos() / 1_000)),
            });
        }
        let (old, new) = (before.times.p99_us, now.times.p99_us);
        let limit = u128::from(old) * u128::from(rise_percent.saturating_add(100)) / 100;
        let limit = u64::try_from(limit).unwrap_or(u64::MAX);
        gates.push(Gate {
            name: "p99 against the step before".to_owned(),
            wanted: format!("at most {}", micros(limit)),
            seen: micros(new),
            is_open: three_digits(new) <= three_digits(limit),
        });
        if let Some(violation) = now.violations.first() {
            gates.push(Gate {
                name: "checkers".to_owned(),
                wanted: "no violation".to_owned(),
                seen: violation.clone(),
                is_open: false,
            });
        }
        gates
    }
}

/// A step that was rehearsed.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RampStep {
    /// The share of the new version.
    pub share: Percent,
    /// What was measured. No expectations: they are those of the scenario's own rules.
    pub report: Report,
    /// What it had to keep to; none for the rules without the new version.
    pub gates: Vec<Gate>,
    /// Share of the users who have moved since the step before, from 0 to 1, where users stay on a version
    /// (`ShuntPolicy.sticky`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub users_moved: Option<f64>,
}

impl RampStep {
    /// Whether the next step may come.
    pub fn is_open(&self) -> bool {
        self.gates.iter().all(|gate| gate.is_open)
    }
}

/// A ramp as far as its gates let it come.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Ramping {
    /// The rule, as it was named.
    pub route: String,
    /// The version that grows.
    pub to: String,
    /// All shares that were asked for.
    pub planned: Vec<Percent>,
    /// Those that were rehearsed, behind one without the new version.
    pub steps: Vec<RampStep>,
}

impl Ramping {
    /// The step whose gates did not open, if there is one: it is the last.
    pub fn closed(&self) -> Option<&RampStep> {
        self.steps.last().filter(|step| !step.is_open())
    }
}

impl fmt::Display for Ramping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { route, to, planned, steps } = self;
        let shares: Vec<String> = planned.iter().map(|share| share.digits()).collect();
        writeln!(f, "{route} to {to}: {} %\n", shares.join(", "))?;
        let mut table = Table::default();
        let stays = steps.iter().any(|step| step.users_moved.is_some());
        let columns = ["", "requests", "succeeded", "p50", "p99", "retries", "users moved", "gates"];
        let shown = |column: &&&str| stays || **column != "users moved";
        table.row(columns.iter().filter(shown).map(|column| (*column).to_owned()));
        for step in steps {
            let report = &step.report;
            let gates = match (step.gates.is_empty(), step.is_open()) {
                (true, _) => "",
                (false, true) => "open",
                (false, false) => "CLOSED",
            };
            let mut cells = vec![
                step.share.to_string(),
                count(report.totals.begun),
                percent(report.totals.succeeded, report.totals.begun),
                micros(report.times.p50_us),
                micros(report.times.p99_us),
                count(report.totals.retries),
            ];
            if stays {
                cells.push(step.users_moved.map_or_else(|| "-".to_owned(), |share| format!("{:.2} %", share * 100.0)));
            }
            cells.push(gates.to_owned());
            table.row(cells);
        }
        table.write(f)?;
        match steps.last() {
            Some(last) if !last.is_open() => last.told(f),
            _ => Ok(()),
        }
    }
}

impl RampStep {
    /// Each gate, and what each version did.
    fn told(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "\nStopped at {}", self.share)?;
        let mut table = Table::default();
        for Gate { name, wanted, seen, is_open } in &self.gates {
            let verdict = if *is_open { "open" } else { "CLOSED" };
            table.row([name.clone(), seen.clone(), wanted.clone(), verdict.to_owned()]);
        }
        table.write(f)?;
        writeln!(f, "\nVersions at {}, attempt by attempt", self.share)?;
        let mut table = Table::default();
        table.row(["", "attempts", "below 500", "p50", "p99"].map(str::to_owned));
        for version in &self.report.versions {
            table.row([
                format!("{} {}", short_host(&version.host), version.labels).trim_end().to_owned(),
                count(version.attempts),
                percent(Version::succeeded(version), version.attempts),
                micros(version.times.p50_us),
                micros(version.times.p99_us),
            ]);
        }
        table.write(f)
    }
}
