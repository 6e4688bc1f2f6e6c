//! What stands in brackets, written so that nothing in it has a second meaning.

use super::Translator;

const POSIX_NAMES: [&str; 14] = [
    "alnum", "alpha", "ascii", "blank", "cntrl", "digit", "graph", "lower", "print", "punct", "space", "upper", "word",
    "xdigit",
];

impl Translator<'_> {
    /// A class up to its bracket. `[`, `&` and `~` stand for themselves, `--` is a range or two hyphens.
    pub(super) fn class(&mut self) -> Result<(), String> {
        self.out.push('[');
        if self.take("^") {
            self.out.push('^');
        }
        let mut is_first = true;
        while is_first || !self.take("]") {
            is_first = false;
            if !self.posix_class()? && !self.class_in_class()? {
                self.range()?;
            }
        }
        self.out.push(']');
        Ok(())
    }

    fn class_in_class(&mut self) -> Result<bool, String> {
        let before = self.rest;
        if self.take("\\") && self.escaped_class()? {
            return Ok(true);
        }
        self.rest = before;
        Ok(false)
    }

    /// Two characters with a hyphen between them, or one.
    fn range(&mut self) -> Result<(), String> {
        let first = self.class_character()?;
        self.push_literal(first);
        // A hyphen before the bracket is a hyphen.
        if self.rest.starts_with(b"-") && !self.rest.starts_with(b"-]") {
            self.take("-");
            let last = self.class_character()?;
            if last < first {
                return Err("a range in a class is backwards".to_owned());
            }
            self.out.push('-');
            self.push_literal(last);
        }
        Ok(())
    }

    fn class_character(&mut self) -> Result<u8, String> {
        match self.next() {
            Some(b'\\') => self.escaped_character(),
            Some(character) => Ok(character),
            None => Err("a class without its `]`".to_owned()),
        }
    }

    /// `[:alpha:]` and `[:^alpha:]`, written the same in both. Without its end it is characters.
    fn posix_class(&mut self) -> Result<bool, String> {
        let before = self.rest;
        let Some(name) = self.take("[:").then(|| self.take_until(":]")).flatten() else {
            self.rest = before;
            return Ok(false);
        };
        let name = String::from_utf8_lossy(name);
        if !POSIX_NAMES.contains(&name.strip_prefix('^').unwrap_or(&name)) {
            return Err(format!("`[:{name}:]`: RE2 has no such class"));
        }
        self.out.push_str(&format!("[:{name}:]"));
        Ok(true)
    }
}
