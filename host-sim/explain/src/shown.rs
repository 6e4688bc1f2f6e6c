//! Text of others on a terminal: what a request says must not move the cursor, and a cookie of four thousand letters must
//! not bury the answer.

use std::borrow::Cow;
use std::fmt::Write;

/// Characters of one value that are shown.
const SHOWN: usize = 200;

/// The text for people: control characters, and those that turn the direction of writing, as escapes; cut where it is long,
/// with how much is left out.
pub fn shown(text: &str) -> Cow<'_, str> {
    if text.len() <= SHOWN && !text.chars().any(is_harmful) {
        return Cow::Borrowed(text);
    }
    let cut = text.char_indices().nth(SHOWN).map(|(at, _)| at);
    let (kept, rest) = cut.and_then(|at| text.split_at_checked(at)).unwrap_or((text, ""));
    let mut out = escaped(kept);
    if !rest.is_empty() {
        // Writing to a string cannot fail.
        let _ = write!(out, "… ({} characters more)", rest.chars().count());
    }
    Cow::Owned(out)
}

/// The same without a limit: for messages.
pub fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            harmful if is_harmful(harmful) => {
                let _ = write!(out, "\\u{{{:x}}}", u32::from(harmful));
            }
            plain => out.push(plain),
        }
    }
    out
}

fn is_harmful(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_escaped() {
        assert_eq!(shown("a\u{1b}[31m\n\u{202e}\u{9b}\t"), "a\\u{1b}[31m\\n\\u{202e}\\u{9b}\\t");
        assert!(matches!(shown("caf\u{e9} \u{4e2d}"), Cow::Borrowed(_)));
    }

    #[test]
    fn long_values_are_cut_with_how_much() {
        let long = "\u{e9}".repeat(250);
        assert_eq!(shown(&long), format!("{}… (50 characters more)", "\u{e9}".repeat(200)));
        assert_eq!(shown(&long[..400]), &long[..400]);
    }
}
