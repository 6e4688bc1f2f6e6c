//! What comes out of a story, rehearsed or played, and how much of a difference chance may make.

use super::clients::Answered;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// The percentiles that are compared.
const PERCENTILES: [usize; 3] = [50, 90, 99];

/// So many standard deviations are chance's: one comparison in 15,000 is beyond by chance.
const SIGMAS: f64 = 4.0;

/// How much longer or shorter an answer may take: the real machine has other work, and its network takes time.
const TIME_MAX: (f64, Duration) = (0.1, Duration::from_millis(15));

/// How many events come together: answers come alone. Attempts of one request do not, so their number varies more than one of
/// independent events, as if those that have company came in lots of four.
const ALONE: f64 = 1.0;
const ATTEMPTS: f64 = 4.0;

/// Of one run.
#[derive(Clone, Debug)]
pub struct Figures {
    requests: u64,
    /// By status, 0 for none.
    statuses: BTreeMap<u16, u64>,
    /// By a version's labels; copies are attempts too.
    attempts: BTreeMap<String, u64>,
    percentiles: [Duration; PERCENTILES.len()],
}

/// Of a run in real time.
#[derive(Clone, Debug)]
pub struct Played {
    figures: Figures,
    /// Of all answers, sorted.
    times: Vec<Duration>,
}

/// One figure of both runs.
#[derive(Clone, Debug)]
pub struct Compared {
    /// What it is.
    pub what: String,
    /// In virtual time.
    pub rehearsed: String,
    /// In real time.
    pub played: String,
    /// Within what chance and the machine may make of it.
    pub agrees: bool,
}

impl Figures {
    /// Of a report of `shunt sim -o json`, which tells copies by cluster; `labels` are those of a cluster's endpoints.
    pub(super) fn of_report(report: &Value, labels: impl Fn(&str) -> Option<String>) -> Result<Self, String> {
        let number = |value: &Value, what: &str| value.as_u64().ok_or(format!("the report has no {what}"));
        let statuses = report["statuses"].as_object().into_iter().flatten();
        let statuses: Result<_, String> = statuses
            .map(|(status, count)| Ok((status.parse().map_err(|_| "no status")?, number(count, "count")?)))
            .collect();
        let versions = report["versions"].as_array().into_iter().flatten();
        let attempts: Result<BTreeMap<String, u64>, String> = versions
            .map(|version| {
                let labels = version["labels"].as_str().unwrap_or_default().to_owned();
                Ok((labels, number(&version["attempts"], "attempts")?))
            })
            .collect();
        let mut attempts = attempts?;
        for mirror in report["mirrors"].as_array().into_iter().flatten() {
            let version = mirror["cluster"].as_str().and_then(&labels).ok_or("a mirror of no cluster")?;
            *attempts.entry(version).or_default() += number(&mirror["sent"], "copies")?;
        }
        let mut percentiles = [Duration::ZERO; PERCENTILES.len()];
        for (time, percent) in percentiles.iter_mut().zip(PERCENTILES) {
            let name = format!("p{percent}Us");
            *time = Duration::from_micros(number(&report["times"][&name], &name)?);
        }
        let requests = number(&report["totals"]["begun"], "requests")?;
        Ok(Self { requests, statuses: statuses?, attempts, percentiles })
    }

    /// Side by side with what was played.
    pub fn compare(&self, played: &Played) -> Vec<Compared> {
        let Played { figures: played, times } = played;
        let mut all = vec![Compared {
            what: "requests".to_owned(),
            rehearsed: self.requests.to_string(),
            played: played.requests.to_string(),
            agrees: true,
        }];
        let below_500 = |figures: &Self| figures.statuses.range(1..500).map(|(_, count)| count).sum();
        all.push(self.share("answered below 500", played, ALONE, below_500));
        let statuses = self.statuses.keys().chain(played.statuses.keys()).collect::<BTreeSet<_>>();
        for status in statuses {
            let of = |figures: &Self| figures.statuses.get(status).copied().unwrap_or_default();
            all.push(self.share(&format!("answered {status}"), played, ALONE, of));
        }
        let versions = self.attempts.keys().chain(played.attempts.keys()).collect::<BTreeSet<_>>();
        for version in versions {
            let of = |figures: &Self| figures.attempts.get(version).copied().unwrap_or_default();
            all.push(self.share(&format!("attempts at {version}"), played, ATTEMPTS, of));
        }
        for (place, percent) in PERCENTILES.iter().enumerate() {
            let both = [self, played].map(|figures| figures.percentiles.get(place).copied().unwrap_or_default());
            let agrees = takes(times, both[0], *percent as f64 / 100.0);
            let [rehearsed, played] = both.map(|time| format!("{:.0} ms", time.as_secs_f64() * 1000.0));
            all.push(Compared { what: format!("response time, p{percent}"), rehearsed, played, agrees });
        }
        all
    }

    /// So many in each hundred requests; they come in `lots`.
    fn share(&self, what: &str, played: &Self, lots: f64, of: impl Fn(&Self) -> u64) -> Compared {
        let [rehearsed, real] = [self, played].map(|figures| of(figures) as f64 / figures.requests.max(1) as f64);
        let variance = |share: f64, figures: &Self| {
            lots * (share * (1.0 - share).max(0.0)).max(share.max(1.0) - 1.0) / figures.requests.max(1) as f64
        };
        let deviation = (variance(rehearsed, self) + variance(rehearsed, played)).sqrt();
        let agrees = (rehearsed - real).abs() <= SIGMAS * deviation;
        let [rehearsed, played] = [rehearsed, real].map(|share| format!("{:.2} %", share * 100.0));
        Compared { what: what.to_owned(), rehearsed, played, agrees }
    }
}

/// Whether such a share of all answers takes so long or less, as far as chance and the machine allow. A percentile itself
/// may lie anywhere in a gap between two kinds of answers.
fn takes(times: &[Duration], percentile: Duration, share: f64) -> bool {
    let slack = percentile.mul_f64(TIME_MAX.0).max(TIME_MAX.1);
    let within = |limit: Duration| times.partition_point(|time| *time <= limit) as f64 / times.len().max(1) as f64;
    let deviation = (share * (1.0 - share) / times.len().max(1) as f64).sqrt();
    within(percentile.saturating_sub(slack)) <= share + SIGMAS * deviation
        && within(percentile + slack) >= share - SIGMAS * deviation
}

impl Played {
    /// Of what clients and services saw.
    pub(super) fn seen(answers: Vec<Answered>, attempts: BTreeMap<String, u64>) -> Self {
        let mut statuses = BTreeMap::new();
        for Answered { status, .. } in &answers {
            *statuses.entry(status.unwrap_or(0)).or_default() += 1;
        }
        let mut times: Vec<_> = answers.iter().map(|answer| answer.took).collect();
        times.sort_unstable();
        let at = |percent: usize| times.get((times.len() * percent).div_ceil(100).max(1) - 1).copied();
        let percentiles = PERCENTILES.map(|percent| at(percent).unwrap_or_default());
        let figures = Figures { requests: answers.len() as u64, statuses, attempts, percentiles };
        Self { figures, times }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures(requests: u64, failed: u64, at_v1: u64, p50: u64) -> Figures {
        Figures {
            requests,
            statuses: BTreeMap::from([(200, requests - failed), (500, failed)]),
            attempts: BTreeMap::from([("version=v1".to_owned(), at_v1)]),
            percentiles: [Duration::from_millis(p50); PERCENTILES.len()],
        }
    }

    fn disagree(one: &Figures, other: &Figures) -> Vec<String> {
        let times = vec![other.percentiles[0]; 3_000];
        let played = Played { figures: other.clone(), times };
        one.compare(&played).into_iter().filter(|compared| !compared.agrees).map(|compared| compared.what).collect()
    }

    #[test]
    fn chance_is_no_difference_and_more_than_chance_is() {
        let rehearsed = figures(30_000, 4_000, 24_000, 40);
        assert_eq!(disagree(&rehearsed, &figures(3_000, 420, 2_380, 44)), [""; 0]);
        let found = disagree(&rehearsed, &figures(3_000, 520, 2_000, 40));
        assert_eq!(found, ["answered below 500", "answered 200", "answered 500", "attempts at version=v1"]);
        let slow = disagree(&rehearsed, &figures(3_000, 400, 2_400, 60));
        assert_eq!(slow, ["response time, p50", "response time, p90", "response time, p99"]);
    }

    #[test]
    fn a_percentile_in_a_gap_may_lie_anywhere_in_it() {
        let of = |fast: usize| {
            let times = [vec![Duration::from_millis(40); fast], vec![Duration::from_secs(3); 1_000 - fast]];
            takes(&times.concat(), Duration::from_millis(274), 0.9)
        };
        assert!(of(890) && of(900) && of(910) && !of(800) && !of(990));
    }
}
