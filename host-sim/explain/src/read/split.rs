//! A file of requests cut into requests: a line each, but a command of curl may go on over several.

use super::encoding;
use super::shell::{self, Quote};
use crate::RequestError;
use serde::de::IgnoredAny;

/// Lines that one command may have. What is open for longer is a quote that nobody closed.
const LINES_OF_COMMAND: usize = 1000;

/// Every request, with the number of its first line from 1. Blank lines are passed over.
///
/// # Errors
///
/// The whole is one JSON value and not one a line.
pub(crate) fn lines(bytes: &[u8]) -> Result<Vec<(usize, &[u8])>, RequestError> {
    refuse_json_over_lines(bytes)?;
    let mut lines = Lines { bytes, at: 0, number: 0 };
    let mut items = Vec::new();
    while let Some((number, start)) = lines.next_line() {
        let line = lines.between(start);
        if line.trim_ascii().is_empty() {
            continue;
        }
        let is_curl = line.len() < 1 << 20
            && encoding::text(line)
                .is_ok_and(|text| super::command(text.trim()).is_some_and(|_| !text.starts_with('{')));
        if is_curl {
            lines.go_on(start);
        }
        items.push((number, lines.between(start)));
    }
    Ok(items)
}

struct Lines<'t> {
    bytes: &'t [u8],
    at: usize,
    number: usize,
}

impl<'t> Lines<'t> {
    /// Steps behind the next line; its number and where it starts.
    fn next_line(&mut self) -> Option<(usize, usize)> {
        let rest = self.bytes.get(self.at..).filter(|rest| !rest.is_empty())?;
        let start = self.at;
        let length = rest.iter().position(|byte| *byte == b'\n').map_or(rest.len(), |at| at.saturating_add(1));
        self.at = start.saturating_add(length);
        self.number = self.number.saturating_add(1);
        Some((self.number, start))
    }

    fn between(&self, start: usize) -> &'t [u8] {
        self.bytes.get(start..self.at).unwrap_or_default()
    }

    /// Takes the lines that the command goes on with: behind a backslash, and until its quotes are closed. Where they never
    /// are, the lines stay what they would be without it.
    fn go_on(&mut self, start: usize) {
        let (mut quote, mut continues) = self.left(Quote::None, start);
        let mut kept = (self.at, self.number);
        for _ in 0..LINES_OF_COMMAND {
            if quote == Quote::None {
                kept = (self.at, self.number);
                if !continues {
                    break;
                }
            }
            let Some((_, next)) = self.next_line() else { break };
            (quote, continues) = self.left(quote, next);
        }
        if quote == Quote::None {
            kept = (self.at, self.number);
        }
        (self.at, self.number) = kept;
    }

    fn left(&self, quote: Quote, start: usize) -> (Quote, bool) {
        shell::after_line(quote, &String::from_utf8_lossy(self.between(start)))
    }
}

/// JSON that is printed for people has no request in any of its lines, and would be as many errors.
fn refuse_json_over_lines(bytes: &[u8]) -> Result<(), RequestError> {
    let text = bytes.trim_ascii_start();
    if text.starts_with(b"[") && serde_json::from_slice::<Vec<IgnoredAny>>(text).is_ok() {
        return Err(RequestError("this is one JSON list: write one object a line, as `jq -c .[]` does".to_owned()));
    }
    if !text.starts_with(b"{") && !text.starts_with(b"[") {
        return Ok(());
    }
    let mut lines = text.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii).filter(|line| !line.is_empty());
    let (Some(first), Some(second)) = (lines.next(), lines.next()) else { return Ok(()) };
    let is_whole = |line: &[u8]| serde_json::from_slice::<IgnoredAny>(line);
    let goes_on = is_whole(first).is_err_and(|error| error.is_eof());
    // The line of an access log may be cut short, and an envoy's begins with a bracket.
    if goes_on && (first == b"{" || first == b"[" || !second.starts_with(b"{")) && !first.starts_with(b"[2") {
        let what = "this looks like JSON over several lines: write one object a line, as `jq -c` does";
        return Err(RequestError(what.to_owned()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &[(usize, &str)]) {
        let found = lines(text.as_bytes()).unwrap();
        let found: Vec<_> =
            found.into_iter().map(|(number, line)| (number, std::str::from_utf8(line).unwrap().trim())).collect();
        assert_eq!(found, expected, "{text}");
    }

    #[test]
    fn a_line_is_a_request() {
        check("{}\n\n  \n{\"a\": 1}\r\nx", &[(1, "{}"), (4, "{\"a\": 1}"), (5, "x")]);
        check("", &[]);
    }

    #[test]
    fn a_command_goes_on_over_lines() {
        check("curl a \\\n -s \\\n -k\ncurl b", &[(1, "curl a \\\n -s \\\n -k"), (4, "curl b")]);
        check("curl -d '{\n\n}' a\nx", &[(1, "curl -d '{\n\n}' a"), (4, "x")]);
        check("$ curl a \\\r\n -s\r\nx", &[(1, "$ curl a \\\r\n -s"), (3, "x")]);
        check("x \\\ny", &[(1, "x \\"), (2, "y")]);
    }

    #[test]
    fn a_quote_that_is_never_closed_takes_no_other_line() {
        check("curl 'a\ncurl b\nx", &[(1, "curl 'a"), (2, "curl b"), (3, "x")]);
    }

    #[test]
    fn json_over_several_lines_is_one_error() {
        let refused = |text: &str| lines(text.as_bytes()).err().map(|error| error.0).unwrap_or_default();
        assert!(refused("{\n  \"url\": \"http://a\"\n}\n").contains("JSON over several lines"));
        assert!(refused("[\n  {\"url\": \"http://a\"}\n]\n").contains("JSON list"));
        assert!(refused("[{\"url\": \"http://a\"}]").contains("JSON list"));
        assert!(refused("{\"url\": \"http://a\",\n \"method\": \"GET\"}").contains("JSON over several lines"));
        for text in
            ["{\"url\": \"http\n{\"url\": \"http://a\"}", "{", "[2026-11-26T01:02:03.004Z] \"GET / HTTP/1.1\" 200\nx"]
        {
            assert_eq!(refused(text), "", "{text}");
        }
    }
}
