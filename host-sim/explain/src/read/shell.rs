//! The words of one command as bash takes them apart: quotes, `$'…'`, backslashes, lines that go on. Nothing is expanded:
//! no variables, no patterns, no substitution. Own code, because no library at hand reads `$'…'`, which browsers write.

use crate::RequestError;

/// In which quotes a place of a text stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Quote {
    #[default]
    None,
    Single,
    Double,
    /// `$'…'`
    Ansi,
}

/// Where a line leaves a command that it began or went on with: in which quotes, and whether a backslash at its end goes
/// on with the next line.
pub(super) fn after_line(mut quote: Quote, line: &str) -> (Quote, bool) {
    let mut characters = line.trim_end_matches(['\r', '\n']).chars().peekable();
    let mut before = ' ';
    while let Some(character) = characters.next() {
        quote = match (quote, character) {
            (Quote::None | Quote::Double | Quote::Ansi, '\\') => {
                if characters.next().is_none() {
                    return (quote, quote != Quote::Ansi);
                }
                before = '\\';
                continue;
            }
            (Quote::None, '\'') if before == '$' => Quote::Ansi,
            (Quote::None, '\'') => Quote::Single,
            (Quote::None, '"') => Quote::Double,
            (Quote::Single | Quote::Ansi, '\'') | (Quote::Double, '"') => Quote::None,
            (same, _) => same,
        };
        before = character;
    }
    (quote, false)
}

/// The words of a command, up to a pipe, a redirection or a second command.
///
/// # Errors
///
/// A quote is never closed.
pub(super) fn split(command: &str) -> Result<Vec<String>, RequestError> {
    let mut words = Vec::new();
    let mut rest = Characters { rest: command };
    while let Some(first) = rest.skip_blanks() {
        let is_end =
            matches!(first, '|' | ';' | '&' | '>' | '<') || ["1>", "2>"].iter().any(|end| rest.rest.starts_with(end));
        if is_end {
            break;
        }
        words.push(rest.word()?);
    }
    Ok(words)
}

struct Characters<'t> {
    rest: &'t str,
}

impl Iterator for Characters<'_> {
    type Item = char;

    fn next(&mut self) -> Option<char> {
        let mut characters = self.rest.chars();
        let next = characters.next();
        self.rest = characters.as_str();
        next
    }
}

impl Characters<'_> {
    fn take(&mut self, start: &str) -> bool {
        let rest = self.rest.strip_prefix(start);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    /// The first character of the next word.
    fn skip_blanks(&mut self) -> Option<char> {
        loop {
            if !(self.take("\\\n") || self.take("\\\r\n")) {
                let first = self.rest.chars().next()?;
                if !first.is_ascii_whitespace() {
                    return Some(first);
                }
                self.next();
            }
        }
    }

    fn word(&mut self) -> Result<String, RequestError> {
        let mut word = Vec::new();
        let mut buffer = [0; 4];
        loop {
            if self.take("\\\n") || self.take("\\\r\n") {
                continue;
            }
            if self.take("$'") {
                self.ansi(&mut word)?;
                continue;
            }
            match self.next() {
                Some('\'') => self.single(&mut word)?,
                Some('"') => self.double(&mut word)?,
                Some('\\') => word.extend(self.next().iter().flat_map(|next| next.to_string().into_bytes())),
                Some(other) if !other.is_ascii_whitespace() => {
                    word.extend_from_slice(other.encode_utf8(&mut buffer).as_bytes());
                }
                _ => return Ok(String::from_utf8_lossy(&word).into_owned()),
            }
        }
    }

    fn single(&mut self, word: &mut Vec<u8>) -> Result<(), RequestError> {
        let (inside, rest) = self.rest.split_once('\'').ok_or_else(open)?;
        word.extend_from_slice(inside.as_bytes());
        self.rest = rest;
        Ok(())
    }

    fn double(&mut self, word: &mut Vec<u8>) -> Result<(), RequestError> {
        let mut buffer = [0; 4];
        loop {
            if self.take("\\\n") || self.take("\\\r\n") {
                continue;
            }
            let character = match self.next().ok_or_else(open)? {
                '"' => return Ok(()),
                // Before any other character a backslash is one.
                '\\' if self.rest.starts_with(['$', '`', '"', '\\']) => self.next().ok_or_else(open)?,
                other => other,
            };
            word.extend_from_slice(character.encode_utf8(&mut buffer).as_bytes());
        }
    }

    /// Behind `$'`, with the escapes of ANSI C as bash has them. What `\x` and octal digits give is a byte.
    fn ansi(&mut self, word: &mut Vec<u8>) -> Result<(), RequestError> {
        let mut buffer = [0; 4];
        loop {
            let escaped = match self.next().ok_or_else(open)? {
                '\'' => return Ok(()),
                '\\' => self.next().ok_or_else(open)?,
                plain => {
                    word.extend_from_slice(plain.encode_utf8(&mut buffer).as_bytes());
                    continue;
                }
            };
            match escaped {
                'a' => word.push(0x07),
                'b' => word.push(0x08),
                'e' | 'E' => word.push(0x1b),
                'f' => word.push(0x0c),
                'n' => word.push(b'\n'),
                'r' => word.push(b'\r'),
                't' => word.push(b'\t'),
                'v' => word.push(0x0b),
                'c' => word
                    .extend(self.next().and_then(|control| u8::try_from(control).ok()).map(|control| control & 0x1f)),
                'x' => word.extend(self.digits(16, 2).map(low_byte)),
                'u' => word
                    .extend(self.digits(16, 4).map(|code| scalar(code).to_string()).unwrap_or_default().into_bytes()),
                'U' => word
                    .extend(self.digits(16, 8).map(|code| scalar(code).to_string()).unwrap_or_default().into_bytes()),
                '0'..='7' => {
                    let first = escaped.to_digit(8).unwrap_or_default();
                    let (before, more) = (self.rest.len(), self.digits(8, 2).unwrap_or_default());
                    let places = before.saturating_sub(self.rest.len());
                    word.push(low_byte((0..places).fold(first, |code, _| code.saturating_mul(8)).saturating_add(more)));
                }
                other => {
                    // `\\`, `\'`, `\"` and `\?` stand for the character; before any other the backslash stays.
                    if !['\\', '\'', '"', '?'].contains(&other) {
                        word.push(b'\\');
                    }
                    word.extend_from_slice(other.encode_utf8(&mut buffer).as_bytes());
                }
            }
        }
    }

    /// At most so many digits as a number; `None` without any.
    fn digits(&mut self, radix: u32, most: usize) -> Option<u32> {
        let length = self.rest.bytes().take(most).take_while(|byte| char::from(*byte).is_digit(radix)).count();
        let (digits, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        u32::from_str_radix(digits, radix).ok()
    }
}

fn open() -> RequestError {
    RequestError("a quote in the command is never closed".to_owned())
}

fn low_byte(code: u32) -> u8 {
    u8::try_from(code & 0xff).unwrap_or_default()
}

fn scalar(code: u32) -> char {
    char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(command: &str, expected: &[&str]) {
        assert_eq!(split(command).unwrap(), expected, "{command}");
    }

    #[test]
    fn quotes_are_taken_off() {
        check("a 'b  c' \"d \\\"e\\\" \\n\" f\\ g h'i'\"j\"", &["a", "b  c", "d \"e\" \\n", "f g", "hij"]);
        check("a '' \"\"", &["a", "", ""]);
        check("  ", &[]);
        assert!(split("a 'b").is_err() && split("a \"b").is_err() && split("a $'b\\'").is_err());
    }

    #[test]
    fn ansi_quotes_have_escapes() {
        check(r"$'it\'s\n\t\\ \x41\x4 \u00e9\U0001f600 \101\0'", &["it's\n\t\\ A\u{4} \u{e9}\u{1f600} A\0"]);
        check(r"$'\xc3\xa9' x$'y'z $'\q\u0021'", &["\u{e9}", "xyz", "\\q!"]);
        check("'a'$'b' \"$'c'\"", &["ab", "$'c'"]);
    }

    #[test]
    fn a_command_ends_at_a_pipe_and_goes_on_behind_a_backslash() {
        check("curl a?b&c \\\n  -H x \\\r\n -s | jq .", &["curl", "a?b&c", "-H", "x", "-s"]);
        check("curl a > f; b", &["curl", "a"]);
        check("curl a 2>/dev/null", &["curl", "a"]);
        check("a\\\nb", &["ab"]);
    }

    #[test]
    fn a_line_tells_whether_the_next_belongs_to_it() {
        assert_eq!(after_line(Quote::None, "curl a \\\r\n"), (Quote::None, true));
        assert_eq!(after_line(Quote::None, "curl a\\\\"), (Quote::None, false));
        assert_eq!(after_line(Quote::None, "curl -d '{"), (Quote::Single, false));
        assert_eq!(after_line(Quote::Single, "}' -H $'a\\'"), (Quote::Ansi, false));
        assert_eq!(after_line(Quote::Double, "\\\" a\" b"), (Quote::None, false));
    }
}
