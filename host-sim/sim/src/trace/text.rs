//! A trace as text: one line a step, in virtual time since the request came.

use std::fmt;

use crate::report::{cluster, count, micros};
use crate::trace::{Edit, Step, Trace, What};

impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { scenario, seed, request, begun_us, headers, body_bytes, rule, steps } = self;
        writeln!(f, "request {request} of {scenario}  (seed {seed}), at {} of virtual time\n", micros(*begun_us))?;
        let of = |name: &str| headers.iter().find(|(own, _)| own == name).map_or("", |(_, value)| value);
        let width = if steps.iter().any(|step| step.call > 0) { 19 } else { 11 };
        let line = |f: &mut fmt::Formatter<'_>, label: &str, text: &str| line(f, width, 0, label, text);
        line(f, "arrives", &format!("{} {}{}", of(":method"), of(":authority"), of(":path")))?;
        for (name, value) in headers.iter().filter(|(name, _)| !name.starts_with(':')) {
            more(f, width, &format!("{name}: {value}"))?;
        }
        if *body_bytes > 0 {
            more(f, width, &bytes(*body_bytes))?;
        }
        if let Some(rule) = rule {
            line(f, "rule", rule)?;
        }
        steps.iter().try_for_each(|step| step.told(f, width))
    }
}

impl Step {
    fn told(&self, f: &mut fmt::Formatter<'_>, width: usize) -> fmt::Result {
        let line = |f: &mut fmt::Formatter<'_>, label: &str, text: &str| match self.call {
            0 => line(f, width, self.at_us, label, text),
            call => line(f, width, self.at_us, &format!("call {call} {label}"), text),
        };
        match &self.what {
            What::Decided { target, cluster: name, profile, faults, edits } => {
                let name = name.as_deref().map_or_else(|| "no cluster".to_owned(), cluster);
                let target = if self.call > 0 { format!("{target}: ") } else { String::new() };
                let profile = profile.as_deref().unwrap_or("default");
                line(f, "decided", &format!("{target}{name}, profile {profile}"))?;
                faults.iter().try_for_each(|(name, value)| more(f, width, &format!("fault: {name}: {value}")))?;
                edits.iter().try_for_each(|edit| more(f, width, &edit.to_string()))
            }
            What::Sent { role, attempt, cluster: name, endpoint, labels, .. } => {
                let to = format!("to {} at {endpoint} {labels}", cluster(name));
                line(f, &numbered(role, *attempt), to.trim_end())
            }
            What::Over { role, attempt, end, took_us, .. } => {
                line(f, &numbered(role, *attempt), &format!("{end}, after {}", micros(*took_us)))
            }
            What::Given { end, status, details, attempts, body_bytes } => {
                let mut text = status.map_or_else(String::new, |status| status.to_string());
                if !details.is_empty() {
                    text += &format!(" by the proxy: {details}");
                }
                let attempts = if *attempts == 1 { "1 attempt".to_owned() } else { format!("{attempts} attempts") };
                let told = [text, attempts, bytes(*body_bytes)];
                let told: Vec<String> = told.into_iter().filter(|text| !text.is_empty()).collect();
                line(f, end, &told.join(", "))
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

fn line(f: &mut fmt::Formatter<'_>, width: usize, at_us: u64, label: &str, text: &str) -> fmt::Result {
    writeln!(f, "{:>9}  {}", micros(at_us), format!("{label:<width$}  {text}").trim_end())
}

fn more(f: &mut fmt::Formatter<'_>, width: usize, text: &str) -> fmt::Result {
    writeln!(f, "{:>9}  {:<width$}  {text}", "", "")
}

fn bytes(number: usize) -> String {
    format!("{} bytes of body", count(u64::try_from(number).unwrap_or(u64::MAX)))
}
