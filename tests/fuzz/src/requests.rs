//! Request heads drawn from bytes, from an alphabet that rules have in common, so that rules and requests often meet.

use arbitrary::{Result, Unstructured};
use traffic_policy::HeaderPair;

/// Hosts that rules serve and requests ask for.
pub const HOSTS: [&str; 6] = ["a", "b.example.com", "*.example.com", "*", "c.d.example.com", "*-x.example.com"];

/// Names of headers and query parameters.
pub const NAMES: [&str; 6] = ["x-a", "x-b", "cookie", "Origin", "x-envoy-fault-delay-request", "x-shunt-cluster"];

/// Paths and values, and beginnings of each other.
pub const WORDS: [&str; 14] =
    ["", "/", "/a", "/a/", "/a/b", "/A/b", "/ab", "/b/c", "a", "ab", "aB", "abc", "/%2e%2e/", "\u{e9}"];

/// One of a list.
pub fn choose<'l>(u: &mut Unstructured<'_>, list: &[&'l str]) -> Result<&'l str> {
    Ok(u.choose(list)?)
}

/// A word, a few of them, or anything at all.
pub fn text(u: &mut Unstructured<'_>) -> Result<String> {
    Ok(match u.int_in_range(0..=7)? {
        0..=4 => choose(u, &WORDS)?.to_owned(),
        5 | 6 => format!("{}{}", choose(u, &WORDS)?, choose(u, &WORDS)?),
        _ => u.arbitrary::<&str>()?.to_owned(),
    })
}

/// As [`text`], in bytes that need not be UTF-8.
pub fn value(u: &mut Unstructured<'_>) -> Result<Vec<u8>> {
    Ok(if u.ratio(1, 8)? { u.arbitrary::<&[u8]>()?.to_vec() } else { text(u)?.into_bytes() })
}

/// A request head; names in lower case, as all hosts have them.
pub type Head = Vec<(Vec<u8>, Vec<u8>)>;

/// A request head, pseudo-headers mostly present.
pub fn head(u: &mut Unstructured<'_>) -> Result<Head> {
    let mut head = Head::new();
    if !u.ratio(1, 16)? {
        head.push((b":method".into(), choose(u, &["GET", "POST", "OPTIONS", "get", ""])?.into()));
    }
    if !u.ratio(1, 16)? {
        head.push((b":scheme".into(), choose(u, &["http", "https", ""])?.into()));
    }
    if !u.ratio(1, 16)? {
        head.push((b":authority".into(), authority(u)?));
    }
    if !u.ratio(1, 16)? {
        head.push((b":path".into(), target(u)?));
    }
    for _ in 0..u.int_in_range(0..=6)? {
        let name = if u.ratio(1, 8)? { value(u)? } else { choose(u, &NAMES)?.as_bytes().to_vec() };
        head.push((name.to_ascii_lowercase(), value(u)?));
    }
    Ok(head)
}

/// What stands in Host.
pub fn authority(u: &mut Unstructured<'_>) -> Result<Vec<u8>> {
    if u.ratio(1, 8)? {
        return value(u);
    }
    let host = choose(u, &HOSTS)?.replace('*', choose(u, &["", "x", "a.b", "x-x"])?);
    Ok(format!("{host}{}", choose(u, &["", "", ":80", ".", ":", ":x", ".:1"])?).into_bytes())
}

/// A request target: path, query, fragment.
pub fn target(u: &mut Unstructured<'_>) -> Result<Vec<u8>> {
    let mut target = value(u)?;
    if u.arbitrary()? {
        target.push(b'?');
        for _ in 0..u.int_in_range(0..=4)? {
            target.extend(choose(u, &NAMES)?.as_bytes());
            target.extend(choose(u, &["=", "", "=="])?.as_bytes());
            target.extend(value(u)?);
            target.extend(choose(u, &["&", "&&", ";", "#"])?.as_bytes());
        }
    }
    Ok(target)
}

/// The head as the engine takes it.
pub fn pairs(head: &Head) -> Vec<HeaderPair<'_>> {
    head.iter().map(|(name, value)| (name.as_slice(), value.as_slice())).collect()
}
