//! Patterns: RE2 in Istio, the crate `regex` here. Both run in linear time.

use super::re2;
use istio_config::diagnostic::{At, Diagnostics};
use regex::bytes::{Regex, RegexBuilder};

/// Istio's limit on the length of a pattern.
const PATTERN_MAX: usize = 1024;

/// Memory one compiled pattern may take, in bytes.
const PROGRAM_MAX: usize = 4 << 20;

/// The pattern as it is compiled: it has to match the whole string.
pub(crate) fn anchored(pattern: &str) -> String {
    format!(r"\A(?:{pattern})\z")
}

/// Compiles a pattern that is looked for anywhere (`uriRegexRewrite`).
pub(super) fn anywhere(at: &At<'_>, pattern: &str, diagnostics: &mut Diagnostics) -> Option<Regex> {
    compile(at, pattern, str::to_owned, diagnostics)
}

/// Compiles a whole-string match. Bytes are characters, as in Envoy's RE2.
pub(super) fn whole_string(at: &At<'_>, pattern: &str, diagnostics: &mut Diagnostics) -> Option<Regex> {
    compile(at, pattern, anchored, diagnostics)
}

/// An RE2 pattern as match conditions use it, over whole values; for tools that ask about patterns.
#[derive(Clone, Debug)]
pub struct Pattern {
    text: String,
    regex: Regex,
}

impl Pattern {
    /// Compiles a pattern. `None` when a policy would refuse it.
    pub fn new(text: &str) -> Option<Self> {
        let sound = !text.is_empty() && text.len() <= PATTERN_MAX;
        let translated = re2::translate(text).ok().filter(|_| sound)?;
        build(&translated).ok()?;
        build(&anchored(&translated)).ok().map(|regex| Self { text: text.to_owned(), regex })
    }

    /// As it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether it matches the whole of `value`.
    pub fn matches(&self, value: &[u8]) -> bool {
        self.regex.is_match(value)
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

fn compile(
    at: &At<'_>,
    pattern: &str,
    form: impl FnOnce(&str) -> String,
    diagnostics: &mut Diagnostics,
) -> Option<Regex> {
    let fault = if pattern.is_empty() {
        "the pattern is empty".to_owned()
    } else if pattern.len() > PATTERN_MAX {
        format!("the pattern has {} bytes; Istio takes {PATTERN_MAX}", pattern.len())
    } else {
        // Alone first: `a)(b` would pass inside the anchors.
        let built = re2::translate(pattern).and_then(|pattern| {
            build(&pattern).and_then(|_| build(&form(&pattern))).map_err(|error| match error {
                regex::Error::Syntax(text) => last_line(&text),
                error => error.to_string(),
            })
        });
        match built {
            Ok(regex) => return Some(regex),
            Err(fault) => fault,
        }
    };
    diagnostics.error(at, "bad-regex", format!("`{pattern}`: {fault}"), "write an RE2 pattern");
    None
}

fn build(pattern: &str) -> Result<Regex, regex::Error> {
    RegexBuilder::new(pattern).unicode(false).size_limit(PROGRAM_MAX).build()
}

/// The crate draws the pattern with a caret below; what is wrong stands in the last line.
fn last_line(text: &str) -> String {
    text.lines().last().unwrap_or(text).trim_start_matches("error: ").to_owned()
}
