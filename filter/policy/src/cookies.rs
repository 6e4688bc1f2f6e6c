//! The cookies of a request (RFC 6265, sections 4.2.1 and 5.4): `name=value` pairs, in one header or in several.
//!
//! A value is what stands behind the `=`, quotes and all: whoever gets a cookie handed on gets it as it was sent. Who a user is
//! does not depend on the quotes, which applications put there and take away; [`bare`] is without them.

use crate::request::{HeaderPair, RequestHead};

/// What stands between the semicolons, in order and without the blanks around it; a piece without `=` too.
pub(crate) fn pieces<'r>(pairs: &[HeaderPair<'r>]) -> impl Iterator<Item = &'r [u8]> {
    let headers = pairs.iter().filter(|(name, _)| *name == b"cookie");
    let pieces = headers.flat_map(|(_, value)| value.split(|byte| *byte == b';'));
    pieces.map(<[u8]>::trim_ascii).filter(|piece| !piece.is_empty())
}

/// Name and value of a piece, if it is a cookie.
pub(crate) fn named(piece: &[u8]) -> Option<HeaderPair<'_>> {
    let at = piece.iter().position(|byte| *byte == b'=')?;
    let (name, value) = piece.split_at_checked(at)?;
    Some((name.trim_ascii(), value.get(1..)?.trim_ascii()))
}

/// Names and values of all cookies, in order.
pub(crate) fn cookies<'r>(pairs: &[HeaderPair<'r>]) -> impl Iterator<Item = HeaderPair<'r>> {
    pieces(pairs).filter_map(named)
}

/// A value without the quotes that may stand around it.
pub(crate) fn bare(value: &[u8]) -> &[u8] {
    value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\"")).unwrap_or(value)
}

/// The first value of a cookie that is not empty, without quotes.
pub(crate) fn value<'r>(request: &RequestHead<'r>, name: &str) -> Option<&'r [u8]> {
    let named = cookies(request.pairs()).filter(|(known, _)| *known == name.as_bytes());
    named.map(|(_, value)| bare(value)).find(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    fn pairs<'r>(headers: &'r [&str]) -> Vec<HeaderPair<'r>> {
        headers.iter().map(|value| (&b"cookie"[..], value.as_bytes())).collect()
    }

    fn user(headers: &[&str]) -> Option<String> {
        let pairs = pairs(headers);
        let found = value(&RequestHead::new(&pairs), "user");
        found.map(|value| String::from_utf8_lossy(value).into_owned())
    }

    #[test]
    fn a_cookie_is_found_among_others_in_one_header_or_in_several() {
        assert_eq!(user(&["a=1; user=x;b=2"]).as_deref(), Some("x"));
        assert_eq!(user(&["a=1", " user = \"x=y\" "]).as_deref(), Some("x=y"));
        assert_eq!(user(&["user=; user=second"]).as_deref(), Some("second"));
        assert_eq!(user(&["user=\"\"; user=\"third"]).as_deref(), Some("\"third"));
        for headers in [&["users=1"][..], &["user"], &["a=user=1"], &[""], &[";;=;"], &["USER=1"]] {
            assert_eq!(user(headers), None, "{headers:?}");
        }
    }

    #[test]
    fn a_value_is_handed_on_as_it_was_sent() {
        let headers = ["a=1;; user = \" x \" ; flag", "=y; b="];
        let pairs = pairs(&headers);
        let found: Vec<_> = cookies(&pairs).collect();
        let expected: [HeaderPair<'_>; 4] = [(b"a", b"1"), (b"user", b"\" x \""), (b"", b"y"), (b"b", b"")];
        assert_eq!(found, expected);
        assert_eq!(pieces(&pairs).count(), 5, "a piece without a value is no cookie, and stays");
    }
}
