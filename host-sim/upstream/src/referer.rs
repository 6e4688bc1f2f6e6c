//! `referer`: Envoy's connection manager removes one that can be no reference to a page (`Utility::isValidRefererValue`), before
//! any filter runs.

/// Whether a request loses its `referer`: it has to be an absolute URL without user and fragment, or something that can be a
/// relative one.
pub fn is_removed(referer: &[u8]) -> bool {
    // Of bytes beyond ASCII it is enough to know that they are some.
    let referer = String::from_utf8_lossy(referer);
    match server_of_absolute_url(&referer) {
        Some(server) => referer.contains('#') || server.rsplit_once('@').is_some_and(|(user, _)| !user.is_empty()),
        None => !is_relative(&referer),
    }
}

/// A colon has to come after a slash.
fn is_relative(text: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@/?%".contains(&byte);
    let in_order = match (text.find(':'), text.find('/')) {
        (Some(colon), Some(slash)) => slash < colon,
        (colon, None) => colon.is_none(),
        (None, Some(_)) => true,
    };
    in_order && text.bytes().all(is_allowed)
}

/// What stands between scheme and path in `scheme://[user@]host[:port]` and whatever printable follows, as Envoy's
/// `Url::initialize` takes it.
fn server_of_absolute_url(text: &str) -> Option<&str> {
    let (scheme, rest) = text.split_once("://")?;
    let (server, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    let is_scheme = scheme.starts_with(|letter: char| letter.is_ascii_alphabetic())
        && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte));
    let is_path = path.bytes().all(|byte| byte.is_ascii_graphic());
    (is_scheme && is_path && is_server(server)).then_some(server)
}

fn is_server(server: &str) -> bool {
    let (user, server) = server.rsplit_once('@').unwrap_or(("", server));
    let may_stand_in_user = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.!~*'()%;:&=+$,".contains(&byte);
    let (host, port, is_host): (_, _, fn(u8) -> bool) = match server.strip_prefix('[').map(|rest| rest.split_once(']'))
    {
        Some(None) => return false,
        Some(Some((address, port))) => (address, port, |byte| byte.is_ascii_hexdigit() || b":.".contains(&byte)),
        None => {
            let (host, port) = server.split_at(server.find(':').unwrap_or(server.len()));
            (host, port, |byte| byte.is_ascii_alphanumeric() || b".-".contains(&byte))
        }
    };
    let is_number = |digits: &str| digits.bytes().all(|byte| byte.is_ascii_digit()) && digits.parse::<u16>().is_ok();
    let is_port = |port: &str| port.strip_prefix(':').is_some_and(is_number);
    user.bytes().all(may_stand_in_user)
        && !host.is_empty()
        && host.bytes().all(is_host)
        && (port.is_empty() || is_port(port))
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
            "ht+tp://a/",
            "http://@a/",
        ];
        for referer in kept {
            assert!(!is_removed(referer.as_bytes()), "{referer}");
        }
        for referer in [
            "a b",
            "caf\u{e9}",
            "a:b",
            "about:blank",
            "http://u@a/",
            "http://a/#x",
            "#x",
            "http:///a",
            "http://a:x",
            "http://a:+80/",
            "http://a_b/",
            "http://a/\u{e9}",
        ] {
            assert!(is_removed(referer.as_bytes()), "{referer}");
        }
    }
}
