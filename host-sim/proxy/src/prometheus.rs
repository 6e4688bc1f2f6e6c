//! The counts as text for Prometheus.

use crate::stats::{Labels, Snapshot, cumulative};
use host_abi::{Histogram, Metric};
use std::fmt::Write;

/// Prints all counts.
pub(crate) fn print(snapshot: &Snapshot) -> String {
    let mut out = String::new();
    if !snapshot.requests.is_empty() {
        out.push_str("# TYPE istio_requests_total counter\n");
    }
    for (labels, requests) in &snapshot.requests {
        line(&mut out, "istio_requests_total", &labels.text(), requests.milliseconds.count);
    }
    if !snapshot.requests.is_empty() {
        out.push_str("# TYPE istio_request_duration_milliseconds histogram\n");
    }
    for (labels, requests) in &snapshot.requests {
        histogram(&mut out, "istio_request_duration_milliseconds", &labels.text(), &requests.milliseconds);
    }
    for (kind, values) in [("counter", &snapshot.counters), ("gauge", &snapshot.gauges)] {
        for (name, value) in values {
            typed(&mut out, name, kind);
            line(&mut out, name, "", *value);
        }
    }
    for (name, metric) in &snapshot.filter {
        let name = sanitized(name);
        match metric {
            Metric::Counter(value) => {
                typed(&mut out, &name, "counter");
                line(&mut out, &name, "", *value);
            }
            Metric::Gauge(gauge) => {
                typed(&mut out, &name, "gauge");
                line(&mut out, &name, "", gauge.get());
            }
            Metric::Histogram(samples) => {
                typed(&mut out, &name, "histogram");
                histogram(&mut out, &name, "", samples);
            }
        }
    }
    out
}

impl Labels {
    fn text(&self) -> String {
        let Labels { destination_service, destination_version, response_code, response_flags } = self;
        format!(
            "reporter=\"source\",destination_service=\"{}\",destination_version=\"{}\",response_code=\"{response_code}\",response_flags=\"{}\"",
            quoted(destination_service),
            quoted(destination_version),
            quoted(response_flags)
        )
    }
}

fn histogram(out: &mut String, name: &str, labels: &str, histogram: &Histogram) {
    let comma = if labels.is_empty() { "" } else { "," };
    for (bound, count) in cumulative(histogram) {
        line(out, &format!("{name}_bucket"), &format!("{labels}{comma}le=\"{bound}\""), count);
    }
    line(out, &format!("{name}_sum"), labels, histogram.sum);
    line(out, &format!("{name}_count"), labels, histogram.count);
}

fn typed(out: &mut String, name: &str, kind: &str) {
    // Writing to a string cannot fail.
    let _ = writeln!(out, "# TYPE {name} {kind}");
}

fn line(out: &mut String, name: &str, labels: &str, value: u64) {
    let _ = match labels {
        "" => writeln!(out, "{name} {value}"),
        _ => writeln!(out, "{name}{{{labels}}} {value}"),
    };
}

/// Envoy's rule: what a name may not hold becomes `_`.
fn sanitized(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() || c == '_' { c } else { '_' }).collect()
}

fn quoted(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::{Outcome, Stats};
    use std::time::Duration;
    use upstream::Flags;

    #[test]
    fn counts_of_several_workers_are_one() {
        let mut sum = Snapshot::default();
        for millis in [3, 7] {
            let stats = Stats::default();
            let outcome = Outcome { status: 503, flags: Flags::NO_CLUSTER, ..Outcome::default() };
            stats.ended(&outcome, Duration::from_millis(millis));
            let mut snapshot = stats.snapshot();
            snapshot.add_metric("a.b-c".to_owned(), Metric::Counter(millis));
            sum.merge(snapshot);
        }
        let text = print(&sum);
        let labels = "reporter=\"source\",destination_service=\"unknown\",destination_version=\"unknown\",response_code=\"503\",response_flags=\"NC\"";
        for wanted in [
            &format!("istio_requests_total{{{labels}}} 2\n"),
            &format!("istio_request_duration_milliseconds_bucket{{{labels},le=\"5\"}} 1\n"),
            &format!("istio_request_duration_milliseconds_bucket{{{labels},le=\"+Inf\"}} 2\n"),
            &format!("istio_request_duration_milliseconds_sum{{{labels}}} 10\n"),
            "# TYPE a_b_c counter\na_b_c 10\n",
        ] {
            assert!(text.contains(wanted), "{wanted}\nis not in\n{text}");
        }
    }
}
