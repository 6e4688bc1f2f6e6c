//! RE2's syntax in the words of the crate `regex`. Most of it is the same; what is not is translated here, so that a pattern
//! means what it means in Envoy or is refused.
//!
//! Differences that matter: `\Q…\E`, `\C`, octal escapes, escaped punctuation, `\s` without vertical tab, braces and brackets
//! that stand for themselves, set operators that RE2 does not have, and at most 1000 repetitions.

use std::iter::Peekable;
use std::str::Chars;

const REPETITIONS_MAX: u32 = 1000;

/// RE2's white space.
const SPACE: &str = r"\t\n\f\r ";

/// The same pattern for `regex`, in its mode for bytes.
///
/// # Errors
/// What RE2 would refuse, or what cannot be said in the other syntax.
pub(super) fn translate(pattern: &str) -> Result<String, String> {
    let mut translator = Translator { rest: pattern.chars().peekable(), out: String::with_capacity(pattern.len()) };
    translator.pattern()?;
    Ok(translator.out)
}

struct Translator<'p> {
    rest: Peekable<Chars<'p>>,
    out: String,
}

impl Translator<'_> {
    fn pattern(&mut self) -> Result<(), String> {
        // Whether the last thing was a repetition, which RE2 does not repeat.
        let mut repeated = false;
        while let Some(next) = self.rest.next() {
            let is_repetition = match next {
                '*' | '+' | '?' => {
                    self.out.push(next);
                    true
                }
                '{' => self.brace()?,
                '\\' => {
                    self.escape(false)?;
                    false
                }
                '[' => {
                    self.class()?;
                    false
                }
                '(' => {
                    self.group()?;
                    false
                }
                other => {
                    self.out.push(other);
                    false
                }
            };
            if is_repetition {
                if repeated {
                    return Err("a repetition cannot be repeated".to_owned());
                }
                // `?` behind a repetition makes it lazy.
                if self.rest.next_if_eq(&'?').is_some() {
                    self.out.push('?');
                }
            }
            repeated = is_repetition;
        }
        Ok(())
    }

    /// `{2}`, `{2,}` and `{2,3}` repeat; any other brace stands for itself.
    fn brace(&mut self) -> Result<bool, String> {
        let ahead: String = self.rest.clone().take_while(|next| *next != '}').collect();
        let closed = self.rest.clone().any(|next| next == '}');
        let bounds = ahead.split_once(',').unwrap_or((&ahead, "0"));
        let number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let repeats = closed && number(bounds.0) && (bounds.1.is_empty() || number(bounds.1));
        if !repeats {
            self.out.push_str(r"\{");
            return Ok(false);
        }
        if [bounds.0, bounds.1]
            .iter()
            .any(|text| !text.is_empty() && text.parse().is_ok_and(|n: u32| n > REPETITIONS_MAX) || text.len() > 4)
        {
            return Err(format!("`{{{ahead}}}`: RE2 repeats at most {REPETITIONS_MAX} times"));
        }
        self.out.push('{');
        self.out.extend(self.rest.by_ref().take_while(|next| *next != '}'));
        self.out.push('}');
        Ok(true)
    }

    /// The flags of RE2 are `i`, `m`, `s` and `U`; a name is the same in both.
    fn group(&mut self) -> Result<(), String> {
        self.out.push('(');
        if self.rest.next_if_eq(&'?').is_none() {
            return Ok(());
        }
        self.out.push('?');
        if self.rest.peek().is_some_and(|next| matches!(next, 'P' | '<')) {
            return Ok(());
        }
        while let Some(flag) = self.rest.next_if(|next| !matches!(next, ':' | ')')) {
            if !"imsU-".contains(flag) {
                return Err(format!("`(?{flag}`: RE2 has no such group"));
            }
            self.out.push(flag);
        }
        Ok(())
    }

    fn escape(&mut self, in_class: bool) -> Result<(), String> {
        let Some(next) = self.rest.next() else { return Err("a backslash at the end".to_owned()) };
        match next {
            'Q' => self.quoted(),
            'C' if !in_class => self.out.push_str("(?s-u:.)"),
            's' if in_class => self.out.push_str(SPACE),
            's' => self.out.push_str(&format!("[{SPACE}]")),
            'S' => self.out.push_str(&format!("[^{SPACE}]")),
            'a' | 'f' | 't' | 'n' | 'r' | 'v' | 'd' | 'D' | 'w' | 'W' => self.out.extend(['\\', next]),
            'A' | 'z' | 'b' | 'B' if !in_class => self.out.extend(['\\', next]),
            'x' => self.hexadecimal()?,
            '0'..='7' => self.octal(next)?,
            'p' | 'P' => return Err(format!(r"`\{next}`: Unicode classes are not served; write the ranges out")),
            letter if letter.is_ascii_alphanumeric() => return Err(format!(r"`\{letter}`: RE2 has no such escape")),
            other => self.literal(other),
        }
        Ok(())
    }

    fn literal(&mut self, character: char) {
        self.out.push_str(&regex::escape(character.encode_utf8(&mut [0; 4])));
    }

    /// `\Q…\E`, or to the end of the pattern.
    fn quoted(&mut self) {
        while let Some(next) = self.rest.next() {
            if next == '\\' && self.rest.next_if_eq(&'E').is_some() {
                return;
            }
            self.literal(next);
        }
    }

    /// `\12` and `\123`; a single digit other than 0 would be a reference to a group, which RE2 does not have.
    fn octal(&mut self, first: char) -> Result<(), String> {
        let mut digits = String::from(first);
        while digits.len() < 3
            && let Some(digit) = self.rest.next_if(|next| ('0'..='7').contains(next))
        {
            digits.push(digit);
        }
        if digits.len() == 1 && first != '0' {
            return Err(format!(r"`\{first}`: RE2 has no references to groups"));
        }
        self.code_point(u32::from_str_radix(&digits, 8).unwrap_or(u32::MAX))
    }

    /// `\x7F` and `\x{10FFFF}`.
    fn hexadecimal(&mut self) -> Result<(), String> {
        let digits: String = if self.rest.next_if_eq(&'{').is_some() {
            self.rest.by_ref().take_while(|next| *next != '}').collect()
        } else {
            self.rest.by_ref().take(2).collect()
        };
        let code = u32::from_str_radix(&digits, 16)
            .map_err(|_| format!(r"`\x{digits}`: two hexadecimal digits, or more in braces"))?;
        self.code_point(code)
    }

    fn code_point(&mut self, code: u32) -> Result<(), String> {
        // In the mode for bytes a higher number would be a byte and not a character.
        let ascii = char::from_u32(code).filter(char::is_ascii);
        self.literal(
            ascii.ok_or_else(|| {
                format!("the escape of code point {code:#x} is not served; write the character itself")
            })?,
        );
        Ok(())
    }

    /// A class up to its bracket. `[`, `&` and `~` stand for themselves, `--` is a range or a hyphen.
    fn class(&mut self) -> Result<(), String> {
        self.out.push('[');
        if self.rest.next_if_eq(&'^').is_some() {
            self.out.push('^');
        }
        let mut is_first = true;
        while let Some(next) = self.rest.next() {
            match next {
                ']' if is_first => self.out.push_str(r"\]"),
                ']' => {
                    self.out.push(']');
                    return Ok(());
                }
                '[' if self.rest.peek() == Some(&':') => self.posix_class(),
                '[' => self.out.push_str(r"\["),
                '&' | '~' => self.out.extend(['\\', next]),
                '-' if self.out.ends_with('-') && !self.out.ends_with(r"\-") => self.out.push_str(r"\-"),
                '\\' => self.escape(true)?,
                other => self.out.push(other),
            }
            is_first = false;
        }
        Err("a class without its `]`".to_owned())
    }

    /// `[:alpha:]`; anything that does not end like it is characters.
    fn posix_class(&mut self) {
        let name: String = self.rest.clone().skip(1).take_while(char::is_ascii_alphabetic).collect();
        let end: String = self.rest.clone().skip(name.len().saturating_add(1)).take(2).collect();
        // `[:^alpha:]` is written the same in both.
        if end == ":]" {
            self.out.push_str(&format!("[:{name}:]"));
            self.rest.by_ref().take(name.len().saturating_add(3)).for_each(drop);
        } else {
            self.out.push_str(r"\[");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use regex::bytes::RegexBuilder;

    /// Whether the pattern matches the whole text.
    fn check(pattern: &str, text: &str, expected: bool) {
        let translated = translate(pattern).unwrap_or_else(|fault| panic!("{pattern}: {fault}"));
        let regex = RegexBuilder::new(&format!(r"\A(?:{translated})\z")).unicode(false).build();
        let regex = regex.unwrap_or_else(|fault| panic!("{pattern} as {translated}: {fault}"));
        assert_eq!(regex.is_match(text.as_bytes()), expected, "{pattern} as {translated} on {text:?}");
    }

    #[test]
    fn quotes_escapes_and_octals() {
        check(r"\Qa.b*\E+", "a.b**", true);
        check(r"\Qa.b", "axb", false);
        check(r"a\.b\-\_\<", "a.b-_<", true);
        check(r"\101\x42\x{43}", "ABC", true);
        check(r"a\Cb", "a\nb", true);
        check(r"\/v1\/.*", "/v1/x", true);
    }

    #[test]
    fn braces_and_brackets_that_stand_for_themselves() {
        check(r"{id}", "{id}", true);
        check(r"a{,2}", "a{,2}", true);
        check(r"a{2}", "aa", true);
        check(r"a{2,3}?", "aaa", true);
        check(r"[[]", "[", true);
        check(r"[a&&b]+", "a&b", true);
        check(r"[]a]+", "]a", true);
        check(r"[+--]+", "+,-", true);
        check(r"[[:alpha:]_]+", "ab_", true);
        check(r"[~~]", "~", true);
    }

    #[test]
    fn classes_are_ascii() {
        check(r"\d", "\u{0663}", false);
        check(r"\s", "\u{b}", false);
        check(r"[\s\S]+", "a \u{b}", true);
        check(r"\w+", "a_1", true);
        check(r"é+", "éé", true);
    }

    #[test]
    fn what_re2_refuses_is_refused() {
        for pattern in
            ["a**", "a{1001}", "a{2}{3}", r"\1", r"\8", r"\u0041", "(?x)a", "[a", r"\", "(?=a)", r"\pL", "a++"]
        {
            assert!(translate(pattern).is_err(), "{pattern}");
        }
    }
}
