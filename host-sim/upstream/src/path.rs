//! Path normalisation as Envoy does it, byte for byte, so that what the filter matches is what an upstream would resolve.
//!
//! `BASE` is Envoy's `normalize_path` (Chromium's `CanonicalizePath` behind it): dot segments are removed, also written
//! `%2e`, and plain ones also with path parameters (`..;a`, CVE-2026-73511); escaped unreserved characters are unescaped; a backslash is a slash; what may not stand in a path is escaped.
//! `//` and `%2F` stay. `MERGE_SLASHES` adds `merge_slashes`, and `DECODE_AND_MERGE_SLASHES` does
//! `path_with_escaped_slashes_action: UNESCAPE_AND_FORWARD` before both. The query is left alone.

use std::borrow::Cow;

use envoy_plan::PathNormalization;

/// The path may not be served: it holds an escaped NUL. Envoy answers 400.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BadPath;

/// Normalises a request target that begins with a slash. One that is normal already, as most are, is not copied.
///
/// # Errors
///
/// [`BadPath`] for a NUL, escaped or not, unless nothing is to be normalised.
pub(crate) fn normalize(target: &[u8], how: PathNormalization) -> Result<Cow<'_, [u8]>, BadPath> {
    let (decode, merge) = match how {
        PathNormalization::None => return Ok(Cow::Borrowed(target)),
        PathNormalization::Base => (false, false),
        PathNormalization::MergeSlashes => (false, true),
        PathNormalization::DecodeAndMergeSlashes => (true, true),
    };
    let query_at = target.iter().position(|byte| *byte == b'?').unwrap_or(target.len());
    let (path, query) = target.split_at(query_at);
    if is_normal(path) && !(merge && has_double_slash(path)) {
        return Ok(Cow::Borrowed(target));
    }
    let path = if decode { decode_slashes(path) } else { Cow::Borrowed(path) };
    let mut path = Canonical::of(&without_dot_parameters(&path))?;
    if merge && has_double_slash(&path) {
        path = merge_slashes(&path);
    }
    path.extend_from_slice(query);
    Ok(Cow::Owned(path))
}

/// Nothing is to be resolved, escaped or unescaped.
fn is_normal(path: &[u8]) -> bool {
    let mut slash = false;
    path.iter().all(|byte| {
        let plain = !(slash && *byte == b'.') && *byte != b'%' && *byte != b'\\' && !must_be_escaped(*byte);
        slash = *byte == b'/';
        plain
    })
}

fn has_double_slash(path: &[u8]) -> bool {
    path.windows(2).any(|pair| pair == b"//")
}

/// `%2F` and `%5C` as what they stand for.
fn decode_slashes(path: &[u8]) -> Cow<'_, [u8]> {
    let mut decoded = Vec::with_capacity(path.len());
    let mut rest = path;
    while let Some((&byte, tail)) = rest.split_first() {
        let (byte, tail) = match escaped(rest) {
            Some((slash @ (b'/' | b'\\'), tail)) => (slash, tail),
            _ => (byte, tail),
        };
        decoded.push(byte);
        rest = tail;
    }
    Cow::Owned(decoded)
}

/// Path parameters of dot segments go, whatever stands in them; those of others stay. Envoy does this before everything
/// else, so here a dot is only a dot and a slash only a slash.
fn without_dot_parameters(path: &[u8]) -> Cow<'_, [u8]> {
    let bare =
        |segment: &[u8]| [&b".;"[..], b"..;"].iter().find(|start| segment.starts_with(start)).map(|s| s.len() - 1);
    let is_slash = |byte: &u8| *byte == b'/';
    if !path.split(is_slash).any(|segment| bare(segment).is_some()) {
        return Cow::Borrowed(path);
    }
    let segments = path.split(is_slash).map(|segment| segment.get(..bare(segment).unwrap_or(segment.len())));
    Cow::Owned(segments.map(Option::unwrap_or_default).collect::<Vec<_>>().join(&b'/'))
}

/// One slash for several. A path of slashes alone keeps two, the first and the last.
fn merge_slashes(path: &[u8]) -> Vec<u8> {
    let mut merged = Vec::with_capacity(path.len());
    for segment in path.split(|byte| *byte == b'/').filter(|segment| !segment.is_empty()) {
        merged.push(b'/');
        merged.extend_from_slice(segment);
    }
    if merged.is_empty() {
        merged.push(b'/');
    }
    if path.ends_with(b"/") {
        merged.push(b'/');
    }
    merged
}

/// The byte that an escape at the start means, and what follows it.
fn escaped(text: &[u8]) -> Option<(u8, &[u8])> {
    let ([b'%', high, low], rest) = text.split_first_chunk::<3>()? else { return None };
    let digit = |byte: u8| char::from(byte).to_digit(16);
    Some((u8::try_from(digit(*high)? << 4 | digit(*low)?).ok()?, rest))
}

/// What stands for a dot at the start: itself, or `%2e`. Gives what follows it.
fn dot(text: &[u8]) -> Option<&[u8]> {
    match text.strip_prefix(b".") {
        Some(rest) => Some(rest),
        None => escaped(text).filter(|(byte, _)| *byte == b'.').map(|(_, rest)| rest),
    }
}

fn must_be_escaped(byte: u8) -> bool {
    matches!(byte, 0..=b' ' | b'"' | b'#' | b'<' | b'>' | b'^' | b'`' | b'{' | b'|' | b'}' | 0x7f..)
}

fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

/// A path under construction; it begins with a slash.
struct Canonical {
    out: Vec<u8>,
    /// Where in `out` the last `%` stands that began no escape. Unescaping right behind it could make it begin one.
    loose_percent: Option<usize>,
}

impl Canonical {
    fn of(path: &[u8]) -> Result<Vec<u8>, BadPath> {
        let mut canonical = Canonical { out: Vec::with_capacity(path.len() + 8), loose_percent: None };
        let mut rest = path;
        while let Some((&byte, tail)) = rest.split_first() {
            rest = match byte {
                0 => return Err(BadPath),
                b'.' | b'%' => match dot(rest) {
                    Some(behind) => canonical.dot(behind),
                    None => canonical.percent(rest, tail)?,
                },
                b'\\' => canonical.push(b'/', tail),
                _ if must_be_escaped(byte) => {
                    canonical.out.extend_from_slice(format!("%{byte:02X}").as_bytes());
                    tail
                }
                _ => canonical.push(byte, tail),
            };
        }
        Ok(canonical.out)
    }

    fn push<'a>(&mut self, byte: u8, rest: &'a [u8]) -> &'a [u8] {
        self.out.push(byte);
        rest
    }

    /// A dot, which is a whole segment, the first half of one, or part of a name. Gives what is left to read.
    fn dot<'a>(&mut self, behind: &'a [u8]) -> &'a [u8] {
        let ends = |rest: &'a [u8]| match rest.split_first() {
            None => Some(rest),
            Some((b'/' | b'\\', tail)) => Some(tail),
            Some(_) => None,
        };
        if !self.out.ends_with(b"/") {
            return self.push(b'.', behind);
        }
        if let Some(rest) = ends(behind) {
            return rest;
        }
        match dot(behind).and_then(ends) {
            Some(rest) => {
                self.up();
                rest
            }
            None => self.push(b'.', behind),
        }
    }

    /// Takes the last segment away, if there is one.
    fn up(&mut self) {
        let end = self.out.len().saturating_sub(1);
        let slash = self.out.get(..end).and_then(|before| before.iter().rposition(|byte| *byte == b'/'));
        self.out.truncate(slash.map_or(1, |slash| slash + 1));
    }

    /// A percent sign: an escape that stays as it is or is taken back, or no escape at all.
    fn percent<'a>(&mut self, at: &'a [u8], tail: &'a [u8]) -> Result<&'a [u8], BadPath> {
        match escaped(at) {
            Some((0, _)) => Err(BadPath),
            Some((byte, rest)) if is_unreserved(byte) => {
                self.out.push(byte);
                self.check_nested(rest);
                Ok(rest)
            }
            Some((_, rest)) => {
                self.out.extend(at.iter().take(3));
                Ok(rest)
            }
            None => {
                self.loose_percent = Some(self.out.len());
                Ok(self.push(b'%', tail))
            }
        }
    }

    /// `%%300` must not become `%00`: a loose percent sign that what was just unescaped has made the start of an escape
    /// is escaped itself.
    fn check_nested(&mut self, rest: &[u8]) {
        let Some(at) = self.loose_percent else { return };
        let mut looks = self.out.get(at..).unwrap_or_default().to_vec();
        match looks.len() {
            // What comes next would be its second digit.
            2 => looks.extend(rest.first()),
            3 => {}
            _ => return,
        }
        if escaped(&looks).is_some() {
            self.out.splice(at..=at, *b"%25");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What each target becomes was seen on Envoy 1.40.
    fn check(how: PathNormalization, cases: &[(&str, &str)]) {
        for (target, expected) in cases {
            let found = normalize(target.as_bytes(), how).map(|path| String::from_utf8(path.into_owned()).unwrap());
            assert_eq!(found.as_deref(), Ok(*expected), "{target} under {how}");
        }
    }

    #[test]
    fn what_is_normal_is_not_copied() {
        for target in ["/", "/a/b", "/a/b/?q=/../%41", "/a.b/c..", "/a;v=1/b,c", "/!$&'()*+,:;=@~_-[]"] {
            for how in PathNormalization::ALL {
                let found = normalize(target.as_bytes(), how);
                assert!(matches!(found, Ok(Cow::Borrowed(same)) if same == target.as_bytes()), "{target}");
            }
        }
        let slashes = normalize(b"/a//b", PathNormalization::Base);
        assert!(matches!(slashes, Ok(Cow::Borrowed(b"/a//b"))));
    }

    #[test]
    fn dot_segments_go() {
        check(
            PathNormalization::Base,
            &[
                ("/a/./b", "/a/b"),
                ("/a/../b", "/b"),
                ("/a/b/..", "/a/"),
                ("/a/b/.", "/a/b/"),
                ("/..", "/"),
                ("/../../a", "/a"),
                ("/a/.hidden", "/a/.hidden"),
                ("/...", "/..."),
                ("/a//../b", "/a/b"),
                ("/a/..//b", "//b"),
                ("//..", "/"),
                ("/a//../..", "/"),
                ("/a;p=1/../b", "/b"),
            ],
        );
    }

    #[test]
    fn dot_segments_lose_their_parameters_first() {
        let as_base = [
            ("/a/..;/b", "/b"),
            ("/a/.;x=1;y/b", "/a/b"),
            ("/a/..;", "/"),
            ("/a/.;x?q;", "/a/?q;"),
            ("/a/..;%00%zz../b", "/b"),
            ("/a/..;x\\b", "/"),
            ("/a/%2e%2e;/b", "/a/..;/b"),
            ("/a/.%2e;/b", "/a/..;/b"),
            ("/a/..%3b/b", "/a/..%3b/b"),
            ("/a/b..;/c", "/a/b..;/c"),
            ("/a/...;/b", "/a/...;/b"),
            ("/a/..\\;/b", "/;/b"),
        ];
        check(PathNormalization::Base, &as_base);
        check(PathNormalization::MergeSlashes, &as_base);
        check(PathNormalization::Base, &[("/a/..;%2fb", "/"), ("/a/..;//b", "//b")]);
        check(PathNormalization::DecodeAndMergeSlashes, &[("/a/..;%2fb", "/b"), ("/a/..;%5cb", "/")]);
    }

    #[test]
    fn escaped_dots_are_dots() {
        check(
            PathNormalization::Base,
            &[
                ("/a/%2e%2E/b", "/b"),
                ("/a/.%2e", "/"),
                ("/a/%2e/b?x=%2e", "/a/b?x=%2e"),
                ("/a/...%2e", "/a/...."),
                ("/a/.%2ex", "/a/..x"),
                ("/a/.%2", "/a/.%2"),
                ("//%2e%2e//a", "//a"),
                ("/a/%2e%2e%2fb", "/a/..%2fb"),
            ],
        );
    }

    #[test]
    fn unreserved_characters_are_unescaped_and_others_stay() {
        check(
            PathNormalization::Base,
            &[
                ("/%61%7Eb%2dc%5f", "/a~b-c_"),
                ("/a%2Fb%2f%3F%5C", "/a%2Fb%2f%3F%5C"),
                ("/a%20b%7f%80%C3%A9", "/a%20b%7f%80%C3%A9"),
                ("/%252e%252e/a", "/%252e%252e/a"),
                ("/a?b//c%2f/../d", "/a?b//c%2f/../d"),
            ],
        );
    }

    #[test]
    fn a_percent_sign_that_begins_no_escape_stays_loose() {
        check(
            PathNormalization::Base,
            &[
                ("/a%zz%4", "/a%zz%4"),
                ("/%", "/%"),
                ("/%%300", "/%2500"),
                ("/%%30%30", "/%2500"),
                ("/%3%30", "/%2530"),
                ("/%6%31", "/%2561"),
                ("/%%2561", "/%%2561"),
                ("/%25%36%31", "/%2561"),
                ("/%3%32%46", "/%2532F"),
            ],
        );
    }

    #[test]
    fn backslashes_are_slashes_and_odd_characters_are_escaped() {
        check(
            PathNormalization::Base,
            &[
                ("/a\\..\\b", "/b"),
                ("/|^<>`\"{}[]", "/%7C%5E%3C%3E%60%22%7B%7D[]"),
                ("/?|^<>`\"{}[]\\", "/?|^<>`\"{}[]\\"),
            ],
        );
    }

    #[test]
    fn slashes_are_merged_after_everything_else() {
        check(
            PathNormalization::MergeSlashes,
            &[
                ("/a//b///c//", "/a/b/c/"),
                ("//a", "/a"),
                ("//", "//"),
                ("///", "//"),
                ("/a//?//", "/a/?//"),
                ("/a//..", "/a/"),
                ("//%2e%2e//a", "/a"),
                ("/%2f/a", "/%2f/a"),
                ("/a\\\\b", "/a/b"),
            ],
        );
    }

    #[test]
    fn escaped_slashes_are_decoded_before_everything_else() {
        check(
            PathNormalization::DecodeAndMergeSlashes,
            &[
                ("/a%2Fb%2f", "/a/b/"),
                ("/a%5Cb%5c", "/a/b/"),
                ("/a%2f..%2fb", "/b"),
                ("/a/%2e%2e%2fb", "/b"),
                ("/%2f/a", "/a"),
                ("/%5c%2f", "//"),
                ("/..%5c..%2f", "/"),
                ("/%3%32%46", "/%2532F"),
                ("/%252Fa", "/%252Fa"),
                ("/%5Capp%2f%5c%2F%2e%2e%2fadmin%5c\\abc", "/app/admin/abc"),
            ],
        );
    }

    #[test]
    fn nothing_changes_where_nothing_is_to_be_normalised() {
        let targets = ["/a/../b", "/%2e%2e//%2F\\", "/%00", "/|<>"];
        check(PathNormalization::None, &targets.map(|target| (target, target)));
    }

    #[test]
    fn an_escaped_nul_is_refused() {
        for how in PathNormalization::ALL.into_iter().skip(1) {
            assert_eq!(normalize(b"/a%00b", how), Err(BadPath));
            assert_eq!(normalize(b"/a\0b", how), Err(BadPath));
            assert_eq!(normalize(b"/a?b=%00", how).as_deref(), Ok(&b"/a?b=%00"[..]));
        }
    }
}
