//! Path normalisation as Envoy's `normalize_path` does it (istiod's `BASE`), so that what the filter matches is what an
//! upstream would resolve: dot segments are removed, also written `%2e`; escaped unreserved characters are unescaped;
//! a backslash is a slash; what may not stand in a path is escaped. `//` and `%2F` stay. The query is left alone.

use std::borrow::Cow;

/// The path may not be served: it holds an escaped NUL. Envoy answers 400.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BadPath;

/// Normalises the path of a request target; what does not begin with a slash (`*`) stays as it is.
///
/// # Errors
///
/// [`BadPath`] for an escaped NUL.
pub(crate) fn normalize(target: &str) -> Result<Cow<'_, str>, BadPath> {
    if !target.starts_with('/') {
        return Ok(Cow::Borrowed(target));
    }
    let (path, query) = match target.find('?') {
        Some(at) => target.split_at(at),
        None => (target, ""),
    };
    if is_normal(path) {
        return Ok(Cow::Borrowed(target));
    }
    let segments = remove_dots(&unescape(path)?);
    Ok(Cow::Owned(segments + query))
}

/// Most paths are, and then nothing is copied.
fn is_normal(path: &str) -> bool {
    let mut slash = false;
    path.bytes().all(|byte| {
        let plain = !(slash && byte == b'.') && byte != b'%' && byte != b'\\' && !must_be_escaped(byte);
        slash = byte == b'/';
        plain
    })
}

/// Unescapes what need not be escaped, escapes what must be, and turns backslashes.
fn unescape(path: &str) -> Result<String, BadPath> {
    let mut out = String::with_capacity(path.len() + 8);
    let mut rest = path.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        match (byte, escaped(rest)) {
            (b'%', Some((decoded, tail))) => {
                match decoded {
                    0 => return Err(BadPath),
                    b'-' | b'.' | b'_' | b'~' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' => {
                        out.push(char::from(decoded))
                    }
                    _ => {
                        out.push('%');
                        out.extend(rest.iter().take(2).map(|digit| char::from(*digit)));
                    }
                }
                rest = tail;
            }
            (b'\\', _) => out.push('/'),
            _ if must_be_escaped(byte) => out.push_str(&format!("%{byte:02X}")),
            _ => out.push(char::from(byte)),
        }
    }
    Ok(out)
}

/// The byte that two hexadecimal digits at the start mean, and what follows them.
fn escaped(text: &[u8]) -> Option<(u8, &[u8])> {
    let ([high, low], rest) = text.split_first_chunk::<2>()?;
    let digit = |byte: u8| char::from(byte).to_digit(16);
    Some((u8::try_from(digit(*high)? << 4 | digit(*low)?).ok()?, rest))
}

fn must_be_escaped(byte: u8) -> bool {
    matches!(byte, 0..=b' ' | b'"' | b'<' | b'>' | b'`' | b'{' | b'}' | 0x7f..)
}

/// RFC 3986, section 5.2.4, for a path that begins with a slash.
fn remove_dots(path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    let mut segments = path.split('/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        let last = segments.peek().is_none();
        match segment {
            "." => {}
            ".." => out.truncate(out.rfind('/').unwrap_or(0)),
            _ => {
                out.push('/');
                out.push_str(segment);
                continue;
            }
        }
        if last {
            out.push('/');
        }
    }
    if out.is_empty() {
        out.push('/');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(target: &str, expected: &str) {
        assert_eq!(normalize(target).as_deref(), Ok(expected), "{target}");
        let again = normalize(expected);
        assert_eq!(again.as_deref(), Ok(expected), "a normal path stays");
    }

    #[test]
    fn what_is_normal_is_not_copied() {
        for target in ["/", "/a/b", "/a/b/?q=/../%41", "/a//b", "/.../x", "/a.b/c..", "*", "/a;v=1/b,c"] {
            assert!(target.contains("/...") || matches!(normalize(target), Ok(Cow::Borrowed(same)) if same == target));
            assert_eq!(normalize(target).as_deref(), Ok(target));
        }
    }

    #[test]
    fn dot_segments_go() {
        check("/a/./b", "/a/b");
        check("/a/../b", "/b");
        check("/a/b/..", "/a/");
        check("/a/b/.", "/a/b/");
        check("/..", "/");
        check("/../../a", "/a");
        check("/a/.hidden", "/a/.hidden");
        check("/a//../b", "/a/b");
        check("/a/..//b", "//b");
    }

    #[test]
    fn escaped_dots_are_dots() {
        check("/a/%2e%2E/b", "/b");
        check("/a/.%2e", "/");
        check("/a/%2e/b?x=%2e", "/a/b?x=%2e");
    }

    #[test]
    fn unreserved_characters_are_unescaped_and_others_stay() {
        check("/%61%7Eb%2dc", "/a~b-c");
        check("/a%2Fb%2f%3F", "/a%2Fb%2f%3F");
        check("/a%zz%4", "/a%zz%4");
        check("/a%20b", "/a%20b");
    }

    #[test]
    fn backslashes_are_slashes_and_odd_bytes_are_escaped() {
        check("/a\\..\\b", "/b");
        check("/a\"<>{}", "/a%22%3C%3E%7B%7D");
        check("/\u{e9}", "/%C3%A9");
    }

    #[test]
    fn an_escaped_nul_is_refused() {
        assert_eq!(normalize("/a%00b"), Err(BadPath));
        assert_eq!(normalize("/a?b=%00").as_deref(), Ok("/a?b=%00"));
    }
}
