//! RE2's syntax in the words of the crate `regex`, in its mode for bytes: a pattern means what it means in Envoy, or is
//! refused.
//!
//! Envoy (1.40) has RE2 read pattern and text as Latin-1, so that no byte of a header escapes it: a byte is a character. `é`
//! in a pattern is two of them, `.` takes one, `\xe9` is a byte and `\x{263a}` nothing at all; classes know the 256
//! characters of Latin-1, `\d`, `\w`, `\s`, `\b` and flag `i` ASCII only. What is spelled differently, or only here or there,
//! is translated: `\Q…\E`, `\C`, `\pL`, octal escapes, names of groups, flags, braces and brackets that stand for
//! themselves, set operators that RE2 does not have, repetitions of repetitions and their limit. All of it was compared
//! with RE2 itself; what that brought to light stands in the tests.
//!
//! - [`escape`](mod@escape): what stands behind a backslash
//! - [`class`](mod@class): what stands in brackets
//! - [`property`](mod@property): `\pL` and `\p{Greek}` in Latin-1

mod class;
mod escape;
mod property;

use std::collections::BTreeSet;

/// RE2's limit for one repetition, and for the product of those inside each other.
const REPETITIONS_MAX: u64 = 1000;

/// The same pattern for `regex` with Unicode off.
///
/// # Errors
/// What RE2 would refuse, or what cannot be said in the other syntax.
pub(super) fn translate(pattern: &str) -> Result<String, String> {
    let mut translator = Translator {
        rest: pattern.as_bytes(),
        out: String::with_capacity(pattern.len()),
        last: Last::Nothing,
        widest: 1,
        groups: Vec::new(),
    };
    translator.pattern()?;
    Ok(translator.out)
}

/// What a repetition would repeat.
#[derive(Clone, Copy)]
enum Last {
    Nothing,
    /// With the product of the repetitions in it.
    Item(u64),
    Repetition,
    /// `(?i)`, behind which RE2 repeats what stands before, and `regex` nothing.
    Flags,
}

struct Translator<'p> {
    rest: &'p [u8],
    out: String,
    last: Last,
    /// The largest product of repetitions in the open group.
    widest: u64,
    /// The same for the groups around it.
    groups: Vec<u64>,
}

impl<'p> Translator<'p> {
    fn pattern(&mut self) -> Result<(), String> {
        while let Some(next) = self.next() {
            match next {
                b'*' | b'+' | b'?' => self.repetition(&char::from(next).to_string(), 1)?,
                b'{' => self.brace()?,
                b'\\' => self.escape()?,
                b'[' => {
                    self.class()?;
                    self.item(1);
                }
                b'(' => self.group()?,
                b')' => {
                    self.out.push(')');
                    let inside = self.widest;
                    self.widest = self.groups.pop().ok_or("a parenthesis that closes nothing")?;
                    self.item(inside);
                }
                b'|' => {
                    self.out.push('|');
                    self.last = Last::Nothing;
                }
                b'.' | b'^' | b'$' => {
                    self.out.push(char::from(next));
                    self.item(1);
                }
                other => self.literal(other),
            }
        }
        if self.groups.is_empty() { Ok(()) } else { Err("a parenthesis without its `)`".to_owned()) }
    }

    fn next(&mut self) -> Option<u8> {
        let (next, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*next)
    }

    /// Takes `text` if it comes next.
    fn take(&mut self, text: &str) -> bool {
        let rest = self.rest.strip_prefix(text.as_bytes());
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    /// Takes what comes before `end`, and `end`.
    fn take_until(&mut self, end: &str) -> Option<&'p [u8]> {
        let at = self.rest.windows(end.len()).position(|window| window == end.as_bytes())?;
        let (before, behind) = self.rest.split_at_checked(at)?;
        self.rest = behind.get(end.len()..)?;
        Some(before)
    }

    /// Something that can be repeated was written; `product`: of the repetitions in it.
    fn item(&mut self, product: u64) {
        self.last = Last::Item(product);
        self.widest = self.widest.max(product);
    }

    /// A character that stands for itself.
    fn literal(&mut self, character: u8) {
        self.push_literal(character);
        self.item(1);
    }

    fn push_literal(&mut self, character: u8) {
        if character.is_ascii() {
            self.out.push_str(&regex::escape(char::from(character).encode_utf8(&mut [0; 4])));
        } else {
            self.out.push_str(&format!(r"\x{character:02X}"));
        }
    }

    /// `?` behind a repetition makes it lazy; anything else may not follow it.
    fn repetition(&mut self, text: &str, times: u64) -> Result<(), String> {
        let product = match self.last {
            Last::Item(product) => product.saturating_mul(times.max(1)),
            Last::Repetition => return Err("a repetition cannot be repeated".to_owned()),
            Last::Nothing => return Err(format!("`{text}` has nothing to repeat")),
            Last::Flags => return Err(format!("`{text}` behind flags is not served; write the flags first")),
        };
        if product > REPETITIONS_MAX && times > 1 {
            return Err(format!("`{text}`: RE2 repeats at most {REPETITIONS_MAX} times, groups in groups multiplied"));
        }
        self.out.push_str(text);
        if self.take("?") {
            self.out.push('?');
        }
        self.item(product);
        self.last = Last::Repetition;
        Ok(())
    }

    /// `{2}`, `{2,}` and `{2,3}` repeat; any other brace stands for itself.
    fn brace(&mut self) -> Result<(), String> {
        let before = self.rest;
        let inside = self.take_until("}").and_then(|inside| std::str::from_utf8(inside).ok()).unwrap_or_default();
        let (least, most) = inside.split_once(',').unwrap_or((inside, inside));
        let is_number = |text: &str| {
            (1..9).contains(&text.len())
                && text.bytes().all(|byte| byte.is_ascii_digit())
                && (text.len() == 1 || !text.starts_with('0'))
        };
        if !is_number(least) || !(most.is_empty() || is_number(most)) {
            self.rest = before;
            self.literal(b'{');
            return Ok(());
        }
        let number = |text: &str| text.parse::<u64>().unwrap_or(u64::MAX);
        let times = number(if most.is_empty() { least } else { most });
        if number(least) > times || times > REPETITIONS_MAX {
            return Err(format!("`{{{inside}}}`: RE2 repeats from fewer to more, at most {REPETITIONS_MAX} times"));
        }
        self.repetition(&format!("{{{inside}}}"), times)
    }

    /// A group that captures, with or without a name, or flags for one or for the rest of this one.
    fn group(&mut self) -> Result<(), String> {
        if !self.take("?") {
            self.open("(");
            return Ok(());
        }
        if self.take("P<") || self.take("<") {
            let name = self.take_until(">").ok_or("a name without its `>`")?;
            if name.is_empty() || !name.iter().all(|letter| *letter == b'_' || letter.is_ascii_alphanumeric()) {
                return Err(format!("`{}` cannot be the name of a group", String::from_utf8_lossy(name)));
            }
            // Nobody asks for a group by name, and RE2 lets names repeat.
            self.open("(");
            return Ok(());
        }
        let (mut on, mut off, mut negated) = (BTreeSet::new(), BTreeSet::new(), false);
        loop {
            match self.next() {
                Some(flag @ (b'i' | b'm' | b's' | b'U')) => {
                    let (into, other) = if negated { (&mut off, &mut on) } else { (&mut on, &mut off) };
                    into.insert(char::from(flag));
                    other.remove(&char::from(flag));
                }
                Some(b'-') if !negated => negated = true,
                Some(end @ (b':' | b')')) if !negated || !off.is_empty() => {
                    let mut flags: String = on.iter().collect();
                    if !off.is_empty() {
                        flags.push('-');
                        flags.extend(&off);
                    }
                    if end == b':' {
                        self.open(&format!("(?{flags}:"));
                        return Ok(());
                    }
                    if !flags.is_empty() {
                        self.out.push_str(&format!("(?{flags})"));
                    }
                    self.last = Last::Flags;
                    return Ok(());
                }
                _ => return Err("`(?`: RE2 has groups with the flags i, m, s and U, and groups with names".to_owned()),
            }
        }
    }

    fn open(&mut self, text: &str) {
        self.out.push_str(text);
        self.groups.push(self.widest);
        self.widest = 1;
        self.last = Last::Nothing;
    }
}

#[cfg(test)]
mod tests;
