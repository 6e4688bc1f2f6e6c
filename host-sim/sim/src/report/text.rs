//! The report as text, to be shown to a colleague: at most 96 columns, the same bytes for the same seed.

use std::fmt;

use crate::expect::{Expectation, Judgement};
use crate::report::table::{Table, cluster, count, percent, short_host};
use crate::report::{Calls, Mirror, Report, Times, UsersMet, Verdict, Version};
use crate::span::Span;

/// Columns of the longest bar.
const BAR: u64 = 50;

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.head(f)?;
        expectations(f, "Expectations", &self.expectations)?;
        self.rules(f)?;
        self.response_times(f)?;
        by_version("Versions, attempt by attempt", &self.versions, f)?;
        self.answers(f)?;
        self.between_services(f)?;
        self.mirrored(f)?;
        self.remarks(f)
    }
}

impl Report {
    fn head(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}  (seed {})", self.scenario, self.seed)?;
        if !self.description.is_empty() {
            writeln!(f, "{}", self.description)?;
        }
        if self.stopped {
            writeln!(f, "STOPPED before its end: what follows is what there was by then.")?;
        }
        writeln!(f)?;
        let totals = &self.totals;
        writeln!(
            f,
            "  {} requests in {} of virtual time, {:.2} answers a second",
            count(totals.begun),
            micros(self.load_us),
            self.rate_per_second
        )?;
        writeln!(f, "  {} succeeded (answered below 500)", percent(totals.succeeded, totals.begun))?;
        for (number, what) in [
            (totals.reset, "were broken off"),
            (totals.gave_up, "were given up by their client"),
            (totals.waiting, "were still without an answer at the end"),
        ] {
            if number > 0 {
                writeln!(f, "  {} {what}", count(number))?;
            }
        }
        if let Some(UsersMet { came, failed, effective: _ }) = self.users {
            let (share, failed, came) = (percent(failed, came), count(failed), count(came));
            writeln!(f, "  {failed} of {came} users met a failure at least once: {share}")?;
        }
        Ok(())
    }

    fn rules(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rule = "";
        for (place, share) in self.shares.iter().enumerate() {
            if place == 0 {
                writeln!(f, "\nShares of requests: configured, observed, and to be expected in 19 runs of 20")?;
            }
            if share.rule == rule {
                continue;
            }
            rule = &share.rule;
            writeln!(f, "  {rule}")?;
            let mut table = Table::default();
            for share in self.shares.iter().filter(|other| other.rule == rule) {
                table.row([
                    format!("  {}", cluster(&share.cluster)),
                    percent(share.weight, share.weights),
                    percent(share.observed, share.total),
                    format!("{} .. {}", percent(share.low, share.total), percent(share.high, share.total)),
                    match share.verdict {
                        Verdict::Inside => "inside the band",
                        Verdict::Outside => "OUTSIDE the band",
                        Verdict::Guarded => "a breaker decides, too",
                        Verdict::NotToldApart => "serves other rules too",
                        Verdict::Unused => "no request came",
                    }
                    .to_owned(),
                ]);
            }
            table.write(f)?;
            let split = share.weight > 0 && share.weight < share.weights;
            if split && share.verdict != Verdict::NotToldApart {
                let (had, needed) = (count(share.draws), count(share.shows_one_percent));
                let what = match (share.draws < share.total, self.calls.is_some()) {
                    (true, _) => "users, as far as chance goes",
                    (false, true) => "requests and calls",
                    (false, false) => "requests",
                };
                writeln!(f, "    {had} {what}; one percentage point off would show from {needed} on")?;
            }
        }
        if self.shares.is_empty() && !self.clusters.is_empty() {
            writeln!(f, "\nRequests by destination")?;
            let mut table = Table::default();
            for (name, number) in &self.clusters {
                table.row([cluster(name), count(*number), percent(*number, self.totals.begun)]);
            }
            table.write(f)?;
        }
        Ok(())
    }

    fn response_times(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.times.count == 0 {
            return Ok(());
        }
        writeln!(f, "\nResponse times, as clients saw them")?;
        let mut table = Table::default();
        table.row(["", "mean", "min", "p50", "p90", "p95", "p99", "max"].map(str::to_owned));
        let times = &self.times;
        let cells = [times.mean_us, times.min_us, times.p50_us, times.p90_us, times.p95_us, times.p99_us, times.max_us];
        table.row(std::iter::once("all requests".to_owned()).chain(cells.map(micros)));
        table.write(f)?;
        writeln!(f)?;
        let longest = self.histogram.iter().map(|bar| bar.count).max().unwrap_or(1).max(1);
        let mut empty = 0;
        for bar in &self.histogram {
            empty = if bar.count == 0 { empty + 1 } else { 0 };
            match empty {
                0 => {}
                1 => {
                    writeln!(f, "{:>12}", "..")?;
                    continue;
                }
                _ => continue,
            }
            let to = bar.to_us.map_or_else(String::new, micros);
            // Whoever is there is seen.
            let columns = bar.count.saturating_mul(BAR).div_ceil(longest);
            let drawn = "#".repeat(usize::try_from(columns).unwrap_or(0));
            writeln!(f, "  {:>7} .. {to:<7} {:>10}  {drawn}", micros(bar.from_us), count(bar.count))?;
        }
        Ok(())
    }

    /// What services asked of each other.
    fn between_services(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(calls) = &self.calls else { return Ok(()) };
        let Calls { totals, by_copies, statuses, details, timeouts, edges, versions, .. } = calls;
        writeln!(f, "\nCalls between services, which are not among the requests above")?;
        writeln!(
            f,
            "  {} calls, {} for each hundred requests",
            count(totals.begun),
            hundredths(totals.begun, self.totals.begun)
        )?;
        writeln!(f, "  {} succeeded (answered below 500)", percent(totals.succeeded, totals.begun))?;
        for (number, what) in [
            (*by_copies, "more were made for the sake of copies"),
            (totals.reset, "were broken off"),
            (totals.gave_up, "were given up by their caller"),
            (totals.waiting, "were still without an answer at the end"),
            (totals.retries, "retries"),
            (timeouts.attempts, "attempts ran out of time"),
        ] {
            if number > 0 {
                writeln!(f, "  {} {what}", count(number))?;
            }
        }
        writeln!(f)?;
        let mut table = Table::default();
        table.row(["", "calls", "below 500", "mean", "p50", "p90", "p99", "max"].map(str::to_owned));
        let mut caller = (String::new(), String::new());
        for edge in edges {
            if (&caller.0, &caller.1) != (&edge.caller, &edge.caller_labels) {
                caller = (edge.caller.clone(), edge.caller_labels.clone());
                table.row([format!("{} {} asks", short_host(&caller.0), caller.1).replace("  ", " ")]);
            }
            let Times { mean_us, p50_us, p90_us, p99_us, max_us, .. } = edge.times;
            let whom = if edge.cluster.is_empty() { "nobody".to_owned() } else { cluster(&edge.cluster) };
            let cells = [format!("  {whom}"), count(edge.calls), percent(edge.succeeded, edge.calls)];
            table.row(cells.into_iter().chain([mean_us, p50_us, p90_us, p99_us, max_us].map(micros)));
        }
        table.write(f)?;
        by_version("Versions, attempt by attempt of these calls", versions, f)?;
        writeln!(f, "\nAnswers to these calls by status")?;
        let mut table = Table::default();
        let by_status = statuses.iter().map(|(status, number)| (status.to_string(), number));
        for (what, number) in by_status.chain(details.iter().map(|(details, number)| (details.clone(), number))) {
            table.row([what, count(*number), percent(*number, totals.begun)]);
        }
        table.write(f)
    }

    fn answers(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let begun = self.totals.begun;
        writeln!(f, "\nAnswers by status")?;
        let mut table = Table::default();
        for (status, number) in &self.statuses {
            table.row([status.to_string(), count(*number), percent(*number, begun)]);
        }
        table.write(f)?;
        if !self.details.is_empty() {
            writeln!(f, "\nAnswers that no upstream gave")?;
            let mut table = Table::default();
            for (details, number) in &self.details {
                table.row([details.clone(), count(*number), percent(*number, begun)]);
            }
            table.write(f)?;
        }
        writeln!(f, "\nAttempts for a request")?;
        let mut table = Table::default();
        for (attempts, number) in &self.attempts {
            table.row([attempts.to_string(), count(*number), percent(*number, begun)]);
        }
        table.write(f)?;
        let totals = &self.totals;
        writeln!(
            f,
            "  {} retries, {} for each hundred requests",
            count(totals.retries),
            hundredths(totals.retries, begun)
        )?;
        let timeouts = &self.timeouts;
        writeln!(f, "  {} attempts and {} requests ran out of time", count(timeouts.attempts), count(timeouts.requests))
    }

    fn mirrored(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for mirror in &self.mirrors {
            let Mirror { cluster: name, sent, succeeded, statuses, too_slow, times, .. } = mirror;
            writeln!(f, "\nMirrored to {}: {} requests", cluster(name), count(*sent))?;
            let mut table = Table::default();
            let mut row = |what: String, number: u64| table.row([what, count(number), percent(number, *sent)]);
            for (status, number) in statuses {
                row(format!("answered {status}"), *number);
            }
            for (what, number) in [
                ("connection closed", mirror.connection_closed),
                ("connection refused", mirror.refused),
                ("cut off at the timeout of the original", mirror.timed_out),
                ("never answered", mirror.waiting),
            ] {
                if number > 0 {
                    row(what.to_owned(), number);
                }
            }
            if let Some(limit) = self.too_slow {
                row(format!("answered, but later than {limit}"), *too_slow);
            }
            row("failed in all".to_owned(), sent.saturating_sub(*succeeded));
            table.write(f)?;
            let Times { p50_us, p90_us, max_us, .. } = *times;
            let [p50, p90, max] = [p50_us, p90_us, max_us].map(micros);
            writeln!(f, "  p50 {p50}, p90 {p90}, max {max}")?;
        }
        if !self.mirrors.is_empty() && self.violations.is_empty() {
            writeln!(f, "  No user saw any of it.")?;
        }
        if self.totals.dropped_mirrors > 0 {
            writeln!(f, "  {} copies had nowhere to go", count(self.totals.dropped_mirrors))?;
        }
        Ok(())
    }

    fn remarks(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.undescribed.is_empty() {
            writeln!(f, "\nNot described in the scenario, so these answered 200 at once")?;
            self.undescribed.iter().try_for_each(|name| writeln!(f, "  {}", short_host(name)))?;
        }
        if !self.warnings.is_empty() {
            writeln!(f, "\nThe filter says")?;
            for warning in &self.warnings {
                let times =
                    if warning.count > 1 { format!(" ({} times)", count(warning.count)) } else { String::new() };
                writeln!(f, "  {}: {}{times}", warning.level, warning.message)?;
            }
        }
        if !self.violations.is_empty() {
            writeln!(f, "\nBROKEN: this must never happen, whatever the rules are")?;
            self.violations.iter().try_for_each(|violation| writeln!(f, "  {violation}"))?;
        }
        Ok(())
    }
}

fn by_version(title: &str, versions: &[Version], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    if versions.is_empty() {
        return Ok(());
    }
    writeln!(f, "\n{title}")?;
    let mut table = Table::default();
    table.row(["", "attempts", "below 500", "5xx", "no answer", "p50", "p90", "p99", "max"].map(str::to_owned));
    let mut host = "";
    for version in versions {
        if version.host != host {
            host = &version.host;
            table.row([short_host(host)]);
        }
        let succeeded = version.succeeded();
        let answered: u64 = version.statuses.values().sum();
        let Times { p50_us, p90_us, p99_us, max_us, .. } = version.times;
        let cells = [
            format!("  {}", if version.labels.is_empty() { "no labels" } else { &version.labels }),
            count(version.attempts),
            percent(succeeded, version.attempts),
            percent(answered - succeeded, version.attempts),
            percent(version.attempts.saturating_sub(answered), version.attempts),
        ];
        table.row(cells.into_iter().chain([p50_us, p90_us, p99_us, max_us].map(micros)));
    }
    table.write(f)
}

/// A line for each, the remark below it.
pub(super) fn expectations(f: &mut fmt::Formatter<'_>, title: &str, all: &[Expectation]) -> fmt::Result {
    if all.is_empty() {
        return Ok(());
    }
    let number = |judgement| all.iter().filter(|one| one.judgement == judgement).count();
    let counts = [(Judgement::Met, "met"), (Judgement::Failed, "FAILED"), (Judgement::Undecided, "undecided")];
    let counts = counts.map(|(judgement, word)| (number(judgement), word));
    let counts: Vec<String> =
        counts.iter().filter(|(number, _)| *number > 0).map(|(number, word)| format!("{number} {word}")).collect();
    writeln!(f, "\n{title}: {}", counts.join(", "))?;
    let mut table = Table::default();
    for Expectation { name, wanted, confidence, seen, judgement, remark, .. } in all {
        let sure = confidence.map_or_else(String::new, |confidence| format!(" ({confidence} sure)"));
        let judged = match judgement {
            Judgement::Met => "met",
            Judgement::Failed => "FAILED",
            Judgement::Undecided => "undecided",
        };
        table.row([name.clone(), seen.to_string(), format!("{wanted}{sure}"), judged.to_owned()]);
        if !remark.is_empty() {
            table.row([format!("  {remark}")]);
        }
    }
    table.write(f)
}

/// Microseconds for people.
pub(crate) fn micros(us: u64) -> String {
    Span::from_nanos(us.saturating_mul(1_000)).to_string()
}

/// So many for each hundred, with two places.
fn hundredths(part: u64, whole: u64) -> String {
    let share = percent(part, whole);
    share.trim_end_matches(" %").to_owned()
}
