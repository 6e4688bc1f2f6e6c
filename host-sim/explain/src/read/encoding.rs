//! Bytes of a file of requests: named as what they are where they are no UTF-8, line by line, since one odd line in a log
//! says nothing about the others.

use crate::RequestError;

/// The file without a byte order mark.
///
/// # Errors
///
/// It is UTF-16.
pub(crate) fn whole(bytes: &[u8]) -> Result<&[u8], RequestError> {
    if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
        return Err(RequestError("this is UTF-16: save the file as UTF-8".to_owned()));
    }
    // Plain English in UTF-16 has a zero byte in every second place.
    let begin = bytes.get(..bytes.len().min(4096)).unwrap_or_default();
    let zeros = begin.iter().filter(|byte| **byte == 0).count();
    if begin.len() > 3 && zeros >= begin.len() / 3 {
        return Err(RequestError("this looks like UTF-16: save the file as UTF-8".to_owned()));
    }
    Ok(bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes))
}

/// A line, or a file that is one request or one archive.
///
/// # Errors
///
/// It is no UTF-8, or no text.
pub(crate) fn text(bytes: &[u8]) -> Result<&str, RequestError> {
    if bytes.contains(&0) {
        return Err(RequestError("this is no text: a zero byte stands here".to_owned()));
    }
    std::str::from_utf8(bytes).map_err(|error| match bytes.get(error.valid_up_to()) {
        // Letters with accents in Latin-1, among plain text.
        Some(byte) if *byte >= 0xa0 && bytes.iter().all(|byte| is_latin1(*byte)) => {
            let letter = char::from(*byte);
            RequestError(format!("not UTF-8: the byte {byte:#04x} is `{letter}` in Latin-1: save the file as UTF-8"))
        }
        _ => RequestError("not UTF-8: save the file as UTF-8".to_owned()),
    })
}

fn is_latin1(byte: u8) -> bool {
    matches!(byte, b'\t' | b'\n' | b'\r' | 0x20..=0x7e | 0xa0..=0xff)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_utf_8_is_named() {
        let utf16: Vec<u8> = "curl http://a\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
        assert!(whole(&[&[0xff, 0xfe][..], &utf16].concat()).unwrap_err().0.contains("is UTF-16"));
        assert!(whole(&utf16).unwrap_err().0.contains("looks like UTF-16"));
        assert_eq!(whole(b"\xef\xbb\xbfcurl"), Ok(&b"curl"[..]));
        assert!(text(b"curl http://caf\xe9/").unwrap_err().0.contains("`\u{e9}` in Latin-1"));
        assert!(text(b"a \x80").unwrap_err().0.starts_with("not UTF-8: save"));
        assert!(text(b"a \0").unwrap_err().0.contains("no text"));
        assert_eq!(text("caf\u{e9}".as_bytes()), Ok("caf\u{e9}"));
    }
}
