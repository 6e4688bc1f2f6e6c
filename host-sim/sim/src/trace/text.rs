//! A trace as text: one line a step, in virtual time since the request came.

use std::fmt;

use crate::report::{cluster, count, micros};
use crate::trace::{Edit, Step, Trace, What};

impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { scenario, seed, request, begun_us, headers, body_bytes, rule, steps } = self;
        writeln!(f, "request {request} of {scenario}  (seed {seed}), at {} of virtual time\n", micros(*begun_us))?;
        let of = |name: &str| headers.iter().find(|(own, _)| own == name).map_or("", |(_, value)| value);
        line(f, 0, "arrives", &format!("{} {}{}", of(":method"), of(":authority"), of(":path")))?;
        for (name, value) in headers.iter().filter(|(name, _)| !name.starts_with(':')) {
            more(f, &format!("{name}: {value}"))?;
        }
        if *body_bytes > 0 {
            more(f, &bytes(*body_bytes))?;
        }
        if let Some(rule) = rule {
            line(f, 0, "rule", rule)?;
        }
        steps.iter().try_for_each(|step| step.fmt(f))
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = self.at_us;
        match &self.what {
            What::Decided { cluster: name, profile, faults, edits } => {
                let name = name.as_deref().map_or_else(|| "no cluster".to_owned(), cluster);
                line(f, at, "decided", &format!("{name}, profile {}", profile.as_deref().unwrap_or("default")))?;
                faults.iter().try_for_each(|(name, value)| more(f, &format!("fault: {name}: {value}")))?;
                edits.iter().try_for_each(|edit| more(f, &edit.to_string()))
            }
            What::Sent { role, attempt, cluster: name, endpoint, labels, .. } => {
                let to = format!("to {} at {endpoint} {labels}", cluster(name));
                line(f, at, &numbered(role, *attempt), to.trim_end())
            }
            What::Over { role, attempt, end, took_us, .. } => {
                line(f, at, &numbered(role, *attempt), &format!("{end}, after {}", micros(*took_us)))
            }
            What::Given { end, status, details, attempts, body_bytes } => {
                let mut text = status.map_or_else(String::new, |status| status.to_string());
                if !details.is_empty() {
                    text += &format!(" by the proxy: {details}");
                }
                let attempts = if *attempts == 1 { "1 attempt".to_owned() } else { format!("{attempts} attempts") };
                let told = [text, attempts, bytes(*body_bytes)];
                let told: Vec<String> = told.into_iter().filter(|text| !text.is_empty()).collect();
                line(f, at, end, &told.join(", "))
            }
        }
    }
}

impl fmt::Display for Edit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { header, before, after } = self;
        match (before, after) {
            (None, Some(after)) => write!(f, "added: {header}: {after}"),
            (Some(before), None) => write!(f, "removed: {header}: {before}"),
            (Some(before), Some(after)) => write!(f, "changed: {header}: {before} -> {after}"),
            (None, None) => f.write_str(header),
        }
    }
}

/// Only attempts are numbered: there is one of everything else.
fn numbered(role: &str, attempt: u32) -> String {
    if role == "attempt" { format!("attempt {attempt}") } else { role.to_owned() }
}

fn line(f: &mut fmt::Formatter<'_>, at_us: u64, label: &str, text: &str) -> fmt::Result {
    writeln!(f, "{:>9}  {}", micros(at_us), format!("{label:<11}  {text}").trim_end())
}

fn more(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    writeln!(f, "{:>9}  {:<11}  {text}", "", "")
}

fn bytes(number: usize) -> String {
    format!("{} bytes of body", count(u64::try_from(number).unwrap_or(u64::MAX)))
}
