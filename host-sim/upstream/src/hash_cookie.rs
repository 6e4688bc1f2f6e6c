//! Cookies by which an endpoint is chosen: found in a request, written for an answer.

use std::fmt::{self, Write};

use envoy_plan::HashCookie;

/// The value of a cookie in one header, without its quotes.
pub(crate) fn value_in<'a>(header: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let mut crumbs = header.split(|byte| *byte == b';').filter_map(|crumb| {
        let crumb = crumb.get(crumb.iter().position(|byte| *byte != b' ')?..)?;
        let equals = crumb.iter().position(|byte| *byte == b'=')?;
        Some((crumb.get(..equals)?, crumb.get(equals.saturating_add(1)..)?))
    });
    let (_, value) = crumbs.find(|(own, _)| *own == name)?;
    let unquoted = value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\""));
    Some(unquoted.unwrap_or(value))
}

/// Envoy's `makeSetCookieValue`.
pub(crate) fn set_cookie(cookie: &HashCookie, value: &str) -> String {
    let HashCookie { name, path, ttl, attributes } = cookie;
    let mut text = format!("{name}=\"{value}\"");
    let mut add = |part: fmt::Arguments<'_>| {
        // Writing to a String cannot fail.
        let _ = write!(text, "; {part}");
    };
    if let Some(seconds) = ttl.map(|ttl| ttl.as_secs()).filter(|seconds| *seconds > 0) {
        add(format_args!("Max-Age={seconds}"));
    }
    if !path.is_empty() {
        add(format_args!("Path={path}"));
    }
    for (name, value) in attributes {
        match value.as_str() {
            "" => add(format_args!("{name}")),
            value => add(format_args!("{name}={value}")),
        }
    }
    add(format_args!("HttpOnly"));
    text
}
