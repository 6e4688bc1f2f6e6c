//! `referer`: Envoy's connection manager removes one that can be no reference to a page (`Utility::isValidRefererValue`), before
//! any filter runs.

/// Whether a request loses its `referer`: it has to be an absolute URL without user and fragment, or something that can be a
/// relative one.
pub fn is_removed(referer: &[u8]) -> bool {
    match is_absolute_url(referer) {
        true => referer.contains(&b'#') || server(referer).contains(&b'@'),
        false => !is_relative(referer),
    }
}

/// Everything before the path of an absolute URL.
fn server(url: &[u8]) -> &[u8] {
    let mut slashes = url.iter().enumerate().filter(|(_, byte)| b"/?".contains(byte)).skip(2);
    slashes.next().map_or(url, |(end, _)| &url[..end])
}

/// A colon has to come after a slash.
fn is_relative(text: &[u8]) -> bool {
    let is_allowed = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@/?%".contains(byte);
    let colon = text.iter().position(|byte| *byte == b':');
    let slash = text.iter().position(|byte| *byte == b'/');
    let in_order = colon.is_none_or(|colon| slash.is_some_and(|slash| slash < colon));
    in_order && text.iter().all(is_allowed)
}

/// What Envoy's `Url::initialize` takes: `scheme://[user@]host[:port]` and whatever printable follows.
fn is_absolute_url(text: &[u8]) -> bool {
    let Some(colon) = text.iter().position(|byte| *byte == b':') else { return false };
    let (scheme, rest) = text.split_at(colon);
    if scheme.is_empty() || !scheme.iter().all(u8::is_ascii_alphabetic) {
        return false;
    }
    let Some(rest) = rest.strip_prefix(b"://") else { return false };
    let end = rest.iter().position(|byte| b"/?".contains(byte)).unwrap_or(rest.len());
    let (server, path) = rest.split_at(end);
    is_server(server) && path.iter().all(|byte| *byte >= 0x80 || byte.is_ascii_graphic() || b"\t\x0c".contains(byte))
}

fn is_server(server: &[u8]) -> bool {
    let may_stand_in_user = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.!~*'()%;:&=+$,".contains(byte);
    let (user, server) = match server.iter().rposition(|byte| *byte == b'@') {
        Some(at) => (&server[..at], &server[at + 1..]),
        None => (&server[..0], server),
    };
    let (host, port) = if let Some(address) = server.strip_prefix(b"[") {
        let Some(end) = address.iter().position(|byte| *byte == b']') else { return false };
        (&address[..end], &address[end + 1..])
    } else {
        server.split_at(server.iter().position(|byte| *byte == b':').unwrap_or(server.len()))
    };
    let in_brackets = server.first() == Some(&b'[');
    let may_stand_in_host = |byte: &u8| match in_brackets {
        true => byte.is_ascii_hexdigit() || b":.".contains(byte),
        false => byte.is_ascii_alphanumeric() || b".-_".contains(byte),
    };
    let is_port = |port: &[u8]| str::from_utf8(port).is_ok_and(|port| port.parse::<u16>().is_ok());
    let port_is_sound = match port.split_first() {
        None => true,
        Some((b':', digits)) => is_port(digits),
        Some(_) => false,
    };
    user.iter().all(may_stand_in_user) && !host.is_empty() && host.iter().all(may_stand_in_host) && port_is_sound
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_be_no_reference_is_removed() {
        let kept = [
            "http://a",
            "https://a.b:8443/x?y",
            "x://a?q",
            "http://[::1]:80/",
            "/a",
            "a",
            "",
            "a?b=c",
            "/a:b",
            "%41",
            "de,en;q=1",
            "http://a/\u{e9}",
        ];
        for referer in kept {
            assert!(!is_removed(referer.as_bytes()), "{referer}");
        }
        for referer in
            ["a b", "caf\u{e9}", "a:b", "about:blank", "http://u@a/", "http://a/#x", "#x", "http:///a", "http://a:x"]
        {
            assert!(is_removed(referer.as_bytes()), "{referer}");
        }
    }
}
