//! Reports as one page to keep or to send: charts as plain SVG, no script, nothing that is fetched.

use std::fmt::{self, Write};

use crate::expect::Judgement;
use crate::report::table::{cluster, count, percent, short_host};
use crate::report::text::micros;
use crate::report::{Bar, Calls, Comparison, Report, RuleShare, Totals, UsersMet, Verdict, Version};

/// Width of a chart, in pixels.
const WIDTH: u64 = 560;
/// Height of a line of a chart.
const LINE: u64 = 22;
/// Where the bars of a chart begin.
const LEFT: u64 = 150;

const STYLE: &str = "
body { font: 15px/1.5 system-ui, sans-serif; color: #222; max-width: 62em; margin: 2em auto; padding: 0 1em }
h1, h2, h3 { line-height: 1.2; margin: 1.6em 0 .5em } h1 { margin-top: 0 }
table { border-collapse: collapse; margin: .5em 0 } th, td { padding: .2em .9em .2em 0; text-align: right; white-space: nowrap }
th:first-child, td:first-child { text-align: left; white-space: normal } th { font-weight: 600; border-bottom: 1px solid #bbb }
.figures { display: flex; flex-wrap: wrap; gap: .5em 2.5em } .figures b { display: block; font-size: 1.7em; line-height: 1.2 }
.met { color: #17683a } .failed { color: #b3261e; font-weight: 600 } .undecided { color: #8a5a00 } .remark { color: #666 }
pre { background: #f5f5f3; padding: 1em; overflow-x: auto; font-size: 13px; line-height: 1.35 } svg text { font: 12px system-ui, sans-serif; fill: #222 }
";

/// One page with all of these, side by side where there are several.
pub fn html(reports: &[Report]) -> String {
    let mut page = String::new();
    // Writing to a string cannot fail.
    let _ = write(&mut page, reports);
    page
}

fn write(page: &mut String, reports: &[Report]) -> fmt::Result {
    let names: Vec<String> = reports.iter().map(|report| escaped(&report.scenario)).collect();
    writeln!(
        page,
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{}</title>",
        names.join(", ")
    )?;
    writeln!(page, "<style>{STYLE}</style></head><body>")?;
    if reports.len() > 1 {
        let columns = reports.iter().map(|report| (report.scenario.as_str(), report));
        let comparison = Comparison::new(columns).to_string();
        writeln!(page, "<h1>Side by side</h1>\n<pre>{}</pre>", escaped(&comparison))?;
    }
    reports.iter().try_for_each(|report| one(page, report))?;
    writeln!(page, "</body></html>")
}

fn one(page: &mut String, report: &Report) -> fmt::Result {
    let Report { scenario, description, seed, totals, times, .. } = report;
    writeln!(
        page,
        "<h1>{}</h1>\n<p>{} <span class=\"remark\">Seed {seed}.</span></p>",
        escaped(scenario),
        escaped(description)
    )?;
    if report.stopped {
        writeln!(page, "<p class=\"failed\">Stopped before its end: this is what there was by then.</p>")?;
    }
    writeln!(page, "<div class=\"figures\">")?;
    for (figure, what) in [
        (percent(totals.succeeded, totals.begun), "succeeded"),
        (count(totals.begun), "requests"),
        (format!("{:.2}", report.rate_per_second), "answers a second"),
        (micros(times.p50_us), "p50"),
        (micros(times.p99_us), "p99"),
        (micros(times.max_us), "longest"),
        (count(totals.retries), "retries"),
    ] {
        writeln!(page, "<div><b>{figure}</b>{what}</div>")?;
    }
    if let Some(UsersMet { came, failed, effective: _ }) = report.users {
        let (share, came) = (percent(failed, came), count(came));
        writeln!(page, "<div><b>{share}</b>of {came} users met a failure</div>")?;
    }
    writeln!(page, "</div>")?;
    expectations(page, report)?;
    shares(page, &report.shares)?;
    histogram(page, &report.histogram)?;
    versions(page, "Versions, attempt by attempt", &report.versions)?;
    if let Some(calls) = &report.calls {
        edges(page, calls)?;
        versions(page, "Versions, attempt by attempt of these calls", &calls.versions)?;
    }
    writeln!(page, "<details><summary>The whole report</summary><pre>{}</pre></details>", escaped(&report.to_string()))
}

fn expectations(page: &mut String, report: &Report) -> fmt::Result {
    if report.expectations.is_empty() {
        return Ok(());
    }
    writeln!(page, "<h2>Expectations</h2>\n<table><tr><th><th>seen<th>wanted<th></tr>")?;
    for one in &report.expectations {
        let (class, word) = match one.judgement {
            Judgement::Met => ("met", "met"),
            Judgement::Failed => ("failed", "failed"),
            Judgement::Undecided => ("undecided", "undecided"),
        };
        let sure = one.confidence.map_or_else(String::new, |confidence| format!(", {confidence} sure"));
        writeln!(
            page,
            "<tr><td>{} <span class=\"remark\">{}</span><td>{}<td>{}{sure}<td class=\"{class}\">{word}</tr>",
            escaped(&one.name),
            escaped(&one.remark),
            one.seen,
            escaped(&one.wanted)
        )?;
    }
    writeln!(page, "</table>")
}

/// For each destination the band to expect, what was configured, and what came.
fn shares(page: &mut String, shares: &[RuleShare]) -> fmt::Result {
    let mut rule = "";
    for share in shares.iter().filter(|share| share.verdict != Verdict::Unused) {
        if share.rule == rule {
            continue;
        }
        rule = &share.rule;
        let rows: Vec<&RuleShare> = shares.iter().filter(|other| other.rule == rule).collect();
        let height = LINE.saturating_mul(rows.len() as u64);
        writeln!(page, "<h2>Shares of {}</h2>", escaped(rule))?;
        writeln!(page, "<p class=\"remark\">Grey: where 19 runs of 20 end. Line: configured. Dot: seen.</p>")?;
        writeln!(page, "<svg width=\"{}\" height=\"{height}\" role=\"img\">", WIDTH + 190)?;
        for (row, share) in (0_u64..).zip(rows) {
            let at = |part: u64, whole: u64| LEFT + scaled(part, whole, WIDTH - LEFT);
            let (low, high) = (at(share.low, share.total), at(share.high, share.total));
            let (top, middle) = (row * LINE, row * LINE + LINE / 2);
            let color = if share.verdict == Verdict::Outside { "#b3261e" } else { "#1a5fb4" };
            let seen = percent(share.observed, share.total);
            writeln!(
                page,
                "<text x=\"0\" y=\"{}\">{}</text>",
                middle + 4,
                escaped(last_words(&cluster(&share.cluster)))
            )?;
            writeln!(page, "<line x1=\"{LEFT}\" x2=\"{WIDTH}\" y1=\"{middle}\" y2=\"{middle}\" stroke=\"#ddd\"/>")?;
            let width = high.saturating_sub(low).max(1);
            writeln!(
                page,
                "<rect x=\"{low}\" y=\"{}\" width=\"{width}\" height=\"{}\" fill=\"#ccc\"/>",
                top + 4,
                LINE - 8
            )?;
            let weight = at(share.weight, share.weights);
            writeln!(
                page,
                "<line x1=\"{weight}\" x2=\"{weight}\" y1=\"{}\" y2=\"{}\" stroke=\"#222\"/>",
                top + 2,
                top + LINE - 2
            )?;
            writeln!(
                page,
                "<circle cx=\"{}\" cy=\"{middle}\" r=\"4\" fill=\"{color}\"/>",
                at(share.observed, share.total)
            )?;
            writeln!(page, "<text x=\"{}\" y=\"{}\">{seen} of {}</text>", WIDTH + 12, middle + 4, count(share.total))?;
        }
        writeln!(page, "</svg>")?;
    }
    Ok(())
}

fn histogram(page: &mut String, bars: &[Bar]) -> fmt::Result {
    let Some(longest) = bars.iter().map(|bar| bar.count).max().filter(|longest| *longest > 0) else { return Ok(()) };
    let height = LINE.saturating_mul(bars.len() as u64);
    writeln!(page, "<h2>Response times, as clients saw them</h2>")?;
    writeln!(page, "<svg width=\"{}\" height=\"{height}\" role=\"img\">", WIDTH + 100)?;
    for (row, bar) in (0_u64..).zip(bars) {
        let (top, base) = (row * LINE + 3, row * LINE + LINE / 2 + 4);
        let range = format!("{} .. {}", micros(bar.from_us), bar.to_us.map_or_else(String::new, micros));
        // Whoever is there is seen.
        let width = scaled(bar.count, longest, WIDTH - LEFT).max(u64::from(bar.count > 0));
        writeln!(page, "<text x=\"{}\" y=\"{base}\" text-anchor=\"end\">{range}</text>", LEFT - 8)?;
        writeln!(page, "<rect x=\"{LEFT}\" y=\"{top}\" width=\"{width}\" height=\"{}\" fill=\"#1a5fb4\"/>", LINE - 6)?;
        writeln!(page, "<text x=\"{}\" y=\"{base}\">{}</text>", LEFT + width + 6, count(bar.count))?;
    }
    writeln!(page, "</svg>")
}

fn versions(page: &mut String, title: &str, versions: &[Version]) -> fmt::Result {
    if versions.is_empty() {
        return Ok(());
    }
    writeln!(page, "<h2>{title}</h2>")?;
    writeln!(page, "<table><tr><th><th>attempts<th>below 500<th>p50<th>p90<th>p99<th>longest</tr>")?;
    for version in versions {
        write!(page, "<tr><td>{} {}", escaped(&short_host(&version.host)), escaped(&version.labels))?;
        let times = &version.times;
        write!(page, "<td>{}<td>{}", count(version.attempts), percent(version.succeeded(), version.attempts))?;
        [times.p50_us, times.p90_us, times.p99_us, times.max_us]
            .iter()
            .try_for_each(|us| write!(page, "<td>{}", micros(*us)))?;
        writeln!(page, "</tr>")?;
    }
    writeln!(page, "</table>")
}

/// Who asked whom.
fn edges(page: &mut String, calls: &Calls) -> fmt::Result {
    let Totals { begun, succeeded, .. } = calls.totals;
    writeln!(page, "<h2>Calls between services</h2>")?;
    writeln!(page, "<p>{} calls, of which {} succeeded.</p>", count(begun), percent(succeeded, begun))?;
    writeln!(page, "<table><tr><th><th>calls<th>below 500<th>p50<th>p99<th>longest</tr>")?;
    for edge in &calls.edges {
        let caller = format!("{} {}", short_host(&edge.caller), edge.caller_labels);
        write!(page, "<tr><td>{} asks {}", escaped(&caller), escaped(&cluster(&edge.cluster)))?;
        write!(page, "<td>{}<td>{}", count(edge.calls), percent(edge.succeeded, edge.calls))?;
        let times = &edge.times;
        [times.p50_us, times.p99_us, times.max_us].iter().try_for_each(|us| write!(page, "<td>{}", micros(*us)))?;
        writeln!(page, "</tr>")?;
    }
    writeln!(page, "</table>")
}

fn scaled(part: u64, whole: u64, width: u64) -> u64 {
    u64::try_from(u128::from(part) * u128::from(width) / u128::from(whole.max(1))).unwrap_or(width).min(width)
}

/// What fits beside a chart: the end of a name tells most.
fn last_words(name: &str) -> &str {
    let cut = name.char_indices().rev().nth(21).map_or(0, |(at, _)| at);
    name.get(cut..).unwrap_or(name)
}

/// What a scenario names may be anything.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
