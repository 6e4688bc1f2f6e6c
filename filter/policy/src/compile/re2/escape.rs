//! What stands behind a backslash.

use super::{Translator, property};

/// `\d`, `\s` and `\w` and their opposites, as classes. `\s` has no vertical tab.
fn perl_class(letter: u8) -> Option<&'static str> {
    Some(match letter {
        b'd' => "[0-9]",
        b'D' => "[^0-9]",
        b's' => r"[\t\n\f\r ]",
        b'S' => r"[^\t\n\f\r ]",
        b'w' => "[0-9A-Za-z_]",
        b'W' => "[^0-9A-Za-z_]",
        _ => return None,
    })
}

impl Translator<'_> {
    /// Outside of brackets.
    pub(super) fn escape(&mut self) -> Result<(), String> {
        for (escape, translated) in [("A", r"\A"), ("z", r"\z"), ("b", r"\b"), ("B", r"\B"), ("C", r"[\x00-\xFF]")] {
            if self.take(escape) {
                self.out.push_str(translated);
                self.item(1);
                return Ok(());
            }
        }
        if self.take("Q") {
            let quoted = match self.take_until(r"\E") {
                Some(quoted) => quoted,
                None => std::mem::take(&mut self.rest),
            };
            quoted.iter().for_each(|character| self.literal(*character));
        } else if self.escaped_class()? {
            self.item(1);
        } else {
            let character = self.escaped_character()?;
            self.literal(character);
        }
        Ok(())
    }

    /// `\d` and its kind, `\pL`, `\p{Greek}`; inside of brackets, too. Whether it was one.
    pub(super) fn escaped_class(&mut self) -> Result<bool, String> {
        let letter = *self.rest.first().ok_or("a backslash at the end")?;
        if let Some(class) = perl_class(letter) {
            self.next();
            self.out.push_str(class);
            return Ok(true);
        }
        if !self.take("p") && !self.take("P") {
            return Ok(false);
        }
        let name = if self.take("{") {
            self.take_until("}").ok_or(r"`\p{` without its brace")?
        } else {
            let (name, behind) = self.rest.split_at_checked(1).ok_or(r"`\p` at the end")?;
            self.rest = behind;
            name
        };
        let (negated, name) = name.strip_prefix(b"^").map_or((false, name), |name| (true, name));
        let name = std::str::from_utf8(name).unwrap_or_default();
        let class = property::characters(name).ok_or_else(|| format!(r"`\p{{{name}}}`: RE2 has no such class"))?;
        // Of nothing at all, the opposite of everything.
        let (class, negated) = if class.is_empty() { (r"\x00-\xFF", !negated) } else { (class, negated) };
        self.out.push_str(if negated == (letter == b'P') { "[" } else { "[^" });
        self.out.push_str(class);
        self.out.push(']');
        Ok(true)
    }

    /// A character by its number, by a letter, or as itself.
    pub(super) fn escaped_character(&mut self) -> Result<u8, String> {
        Ok(match self.next().ok_or("a backslash at the end")? {
            b'a' => b'\x07',
            b'f' => b'\x0c',
            b't' => b'\t',
            b'n' => b'\n',
            b'r' => b'\r',
            b'v' => b'\x0b',
            b'x' => return self.hexadecimal(),
            digit @ b'0'..=b'7' => return self.octal(digit),
            other if other.is_ascii() && !other.is_ascii_alphanumeric() => other,
            other => return Err(format!(r"`\{}`: RE2 has no such escape", char::from(other))),
        })
    }

    /// `\12` and `\123`; a single digit other than 0 would be a reference to a group, which RE2 does not have.
    fn octal(&mut self, first: u8) -> Result<u8, String> {
        let mut digits = String::from(char::from(first));
        while digits.len() < 3
            && let Some((digit @ b'0'..=b'7', rest)) = self.rest.split_first()
        {
            digits.push(char::from(*digit));
            self.rest = rest;
        }
        if digits.len() == 1 && first != b'0' {
            return Err(format!(r"`\{digits}`: RE2 has no references to groups"));
        }
        character(&digits, 8)
    }

    /// `\x7F` and `\x{7F}`.
    fn hexadecimal(&mut self) -> Result<u8, String> {
        let digits = if self.take("{") {
            self.take_until("}").ok_or(r"`\x{` without its brace")?
        } else {
            let (digits, behind) =
                self.rest.split_at_checked(2).ok_or(r"`\x`: two hexadecimal digits, or more in braces")?;
            self.rest = behind;
            digits
        };
        let is_number = !digits.is_empty() && digits.iter().all(u8::is_ascii_hexdigit);
        let digits = std::str::from_utf8(digits).ok().filter(|_| is_number);
        character(digits.ok_or(r"`\x`: two hexadecimal digits, or more in braces")?, 16)
    }
}

fn character(digits: &str, radix: u32) -> Result<u8, String> {
    u8::from_str_radix(digits, radix).map_err(|_| {
        format!(
            "`{digits}` is no character: Envoy matches byte by byte, and a byte ends at ff; write the character itself"
        )
    })
}
