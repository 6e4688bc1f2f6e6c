//! Requests as they were recorded: one on each line, as `OFFSET METHOD HOST PATH`.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::scenario::{Files, ScenarioError};
use crate::span::Span;

/// A load that repeats what was recorded.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TraceLoad {
    /// Its file, relative to the scenario's own; whoever reads the scenario reads it.
    pub file: String,
    /// What stands in it.
    #[serde(skip)]
    pub(crate) lines: Arc<[TraceLine]>,
}

/// One request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TraceLine {
    /// When it was sent, counted from the start.
    pub(crate) at: Span,
    pub(crate) method: String,
    pub(crate) host: String,
    /// With the query.
    pub(crate) path: String,
}

impl TraceLoad {
    pub(crate) fn read_file(&mut self, at: &str, files: Files<'_>, errors: &mut Vec<ScenarioError>) {
        match files(&self.file).and_then(|text| lines(&self.file, &text)) {
            Ok(lines) => self.lines = lines.into(),
            Err(message) => errors.push(ScenarioError::new(format!("{at}.file"), message)),
        }
    }
}

/// Empty lines and those that begin with `#` say nothing.
fn lines(file: &str, text: &str) -> Result<Vec<TraceLine>, String> {
    let mut lines: Vec<TraceLine> = Vec::new();
    for (text, number) in text.lines().zip(1_u64..) {
        let words: Vec<&str> = text.split_whitespace().collect();
        if words.first().is_none_or(|word| word.starts_with('#')) {
            continue;
        }
        let wrong = |what: &str| Err(format!("{file}:{number}: {what}"));
        let [at, method, host, path] = words.as_slice() else {
            return wrong("a line has four words: when, method, host and path, as in `1.5s GET example.com /cart`");
        };
        let Some(at) = Span::parse(at) else {
            return wrong(&format!("`{at}` is not a duration; write it like `350ms`, `2.5s` or `1h30m`"));
        };
        if !path.starts_with('/') {
            return wrong("a path begins with `/`");
        }
        if lines.last().is_some_and(|last| last.at > at) {
            return wrong("lines come in the order of time");
        }
        let [method, host, path] = [*method, *host, *path].map(str::to_owned);
        lines.push(TraceLine { at, method, host, path });
    }
    if lines.is_empty() { Err(format!("{file} has no requests in it")) } else { Ok(lines) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &str) {
        let told = match lines("t", text) {
            Ok(lines) => format!("{} lines", lines.len()),
            Err(message) => message,
        };
        assert!(told.starts_with(expected), "{told}");
    }

    #[test]
    fn lines_are_read_and_errors_have_their_number() {
        check("# recorded\n\n0s GET example.com /\n1.5s POST example.com /cart?x=1\n1.5s GET a /\n", "3 lines");
        check("", "t has no requests in it");
        check("0s GET example.com", "t:1: a line has four words");
        check("\nsoon GET example.com /", "t:2: `soon` is not a duration");
        check("0s GET example.com cart", "t:1: a path begins");
        check("2s GET a /\n1s GET a /", "t:2: lines come in the order of time");
    }
}
