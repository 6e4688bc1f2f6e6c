//! Bytes that YAML cannot hold. In a case, `\xNN` in a header's value or a request target is the byte NN (in single quotes,
//! or YAML would read it); what was observed is written the same way, so that nothing is lost by becoming text.

/// The bytes that a text of a case stands for.
pub fn bytes(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        let (byte, behind) = escape(rest).unwrap_or((first, tail));
        bytes.push(byte);
        rest = behind;
    }
    bytes
}

/// Bytes as a case writes them: what is no UTF-8 as escapes, and a backslash that would begin one too.
pub fn text(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        let mut rest = chunk.valid();
        while let Some(at) = rest.find('\\') {
            let (before, behind) = rest.split_at(at);
            text += before;
            text += if escape(behind.as_bytes()).is_some() { r"\x5c" } else { r"\" };
            rest = &behind[1..];
        }
        text += rest;
        chunk.invalid().iter().for_each(|byte| text += &format!("\\x{byte:02x}"));
    }
    text
}

fn escape(text: &[u8]) -> Option<(u8, &[u8])> {
    let ([b'\\', b'x', high, low], rest) = text.split_first_chunk::<4>()? else { return None };
    let digit = |byte: u8| char::from(byte).to_digit(16);
    Some((u8::try_from(digit(*high)? * 16 + digit(*low)?).ok()?, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_text_comes_back() {
        for (written, meant) in [
            ("plain \u{e9}", "plain \u{e9}".as_bytes()),
            (r"a\xff\xfeb", b"a\xff\xfeb"),
            (r"\x5cx41", br"\x41"),
            (r"\..\x", br"\..\x"),
            ("", b""),
        ] {
            assert_eq!(bytes(written), meant, "{written}");
            assert_eq!(text(meant), written);
        }
        assert_eq!(bytes(r"\xFF\xC3\xa9"), b"\xff\xc3\xa9");
    }
}
