//! Bytes that are to be UTF-8, and what they probably are when they are not.

use super::{Position, SyntaxFault};

/// The text.
///
/// # Errors
/// Where the bytes stop being UTF-8, and what the file looks like instead.
pub(super) fn text(bytes: &[u8]) -> Result<&str, SyntaxFault> {
    let fault = |at, message: String, help| SyntaxFault { at: position(bytes, at), message, help };
    if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
        return Err(fault(0, "this is UTF-16".to_owned(), "save the file as UTF-8"));
    }
    let zero = bytes.iter().position(|byte| *byte == 0);
    if let Some(at) = zero {
        // Plain English in UTF-16 has a zero byte in every second place.
        let zeros = bytes.iter().filter(|byte| **byte == 0).count();
        return Err(if zeros >= bytes.len() / 3 && bytes.len() > 3 {
            fault(0, "this looks like UTF-16".to_owned(), "save the file as UTF-8")
        } else {
            fault(at, "this is no text: a zero byte stands here".to_owned(), "give it a text file, YAML or JSON")
        });
    }
    std::str::from_utf8(bytes).map_err(|error| {
        let at = error.valid_up_to();
        match bytes.get(at) {
            // Letters with accents in Latin-1, among plain text.
            Some(byte) if *byte >= 0xa0 && bytes.iter().all(|byte| is_latin1(*byte)) => {
                let message = format!("not UTF-8: the byte {byte:#04x} is `{}` in Latin-1", char::from(*byte));
                fault(at, message, "save the file as UTF-8")
            }
            _ => fault(at, "not UTF-8 from here on".to_owned(), "save the file as UTF-8"),
        }
    })
}

fn is_latin1(byte: u8) -> bool {
    matches!(byte, b'\t' | b'\n' | b'\r' | 0x20..=0x7e | 0xa0..=0xff)
}

fn position(bytes: &[u8], at: usize) -> Position {
    let before = bytes.get(..at).unwrap_or_default();
    let line = before.iter().filter(|byte| **byte == b'\n').count().saturating_add(1);
    let column = before.iter().rev().take_while(|byte| **byte != b'\n').count().saturating_add(1);
    Position { line, column }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(bytes: &[u8], line: usize, part: &str) {
        let fault = text(bytes).unwrap_err();
        assert!(fault.at.line == line && fault.message.contains(part), "{fault:?}");
    }

    #[test]
    fn what_is_not_utf_8_is_named() {
        let utf16: Vec<u8> = "kind: A\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
        check(&[&[0xff, 0xfe][..], &utf16].concat(), 1, "UTF-16");
        check(&utf16, 1, "UTF-16");
        check(b"a: 1\nb: caf\xe9\n", 2, "`\u{e9}` in Latin-1");
        check(b"a: 1\nb: \x80\n", 2, "not UTF-8");
        check(b"\x7fELF\x02\x01\n\0 and more text than zeros", 2, "no text");
        assert_eq!(text("caf\u{e9}".as_bytes()), Ok("caf\u{e9}"));
    }
}
