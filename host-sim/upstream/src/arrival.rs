//! What happens to a request before a filter sees it: what Envoy's HTTP/1 codec and connection manager refuse, how they
//! write the target, and which headers of a client they drop.
//!
//! The client is external, as every client of an Envoy without `internal_address_config` is: it may not set the router's
//! switches. What else begins with `x-envoy-` passes; `x-shunt-*` is the filter's own to remove.

use std::borrow::Cow;

use envoy_plan::PathNormalization;

use crate::path;
use crate::reply::LocalReply;

/// Every method that Envoy's HTTP/1 codec knows (`allow_custom_methods` is off). There is no QUERY among them, and
/// M-SEARCH is misspelt.
const METHODS: [&str; 34] = [
    "ACL",
    "BIND",
    "CHECKOUT",
    "CONNECT",
    "COPY",
    "DELETE",
    "GET",
    "HEAD",
    "LINK",
    "LOCK",
    "MERGE",
    "MKACTIVITY",
    "MKCALENDAR",
    "MKCOL",
    "MOVE",
    "MSEARCH",
    "NOTIFY",
    "OPTIONS",
    "PATCH",
    "POST",
    "PROPFIND",
    "PROPPATCH",
    "PURGE",
    "PUT",
    "REBIND",
    "REPORT",
    "SEARCH",
    "SOURCE",
    "SUBSCRIBE",
    "TRACE",
    "UNBIND",
    "UNLINK",
    "UNLOCK",
    "UNSUBSCRIBE",
];

/// What Envoy removes from an external client's request (`cleanInternalHeaders`, and `forward_client_cert_details`,
/// whose default is SANITIZE).
const REMOVED: [&str; 16] = [
    "x-envoy-internal",
    "x-envoy-retry-on",
    "x-envoy-retry-grpc-on",
    "x-envoy-max-retries",
    "x-envoy-retriable-status-codes",
    "x-envoy-retriable-header-names",
    "x-envoy-upstream-alt-stat-name",
    "x-envoy-upstream-rq-timeout-ms",
    "x-envoy-upstream-rq-per-try-timeout-ms",
    "x-envoy-upstream-rq-timeout-alt-response",
    "x-envoy-expected-rq-timeout-ms",
    "x-envoy-hedge-on-per-try-timeout",
    "x-envoy-force-trace",
    "x-envoy-ip-tags",
    "x-envoy-original-url",
    "x-forwarded-client-cert",
];

/// Whether a method may stand in an HTTP/1 request. In HTTP/2 any may.
pub fn is_method_of_http1(method: &[u8]) -> bool {
    METHODS.iter().any(|known| known.as_bytes() == method)
}

/// Whether a header of the client is shown to the filter. Names are in lower case.
pub fn is_kept(name: &[u8]) -> bool {
    !name.starts_with(b"x-") || !REMOVED.iter().any(|removed| removed.as_bytes() == name)
}

/// The cookie that HTTP/2 may bring in crumbs, one header for each (RFC 9113, 8.2.3): Envoy's codec puts them together, and has
/// no cookie where nothing is in them.
pub fn cookie<'v>(crumbs: impl IntoIterator<Item = &'v [u8]>) -> Option<Vec<u8>> {
    let mut cookie = Vec::new();
    for crumb in crumbs {
        if !cookie.is_empty() {
            cookie.extend_from_slice(b"; ");
        }
        cookie.extend_from_slice(crumb);
    }
    (!cookie.is_empty()).then_some(cookie)
}

/// The target of a request as filter and upstream see it: path and query. `target` is what the client asked for, without
/// scheme and host if it had any.
///
/// # Errors
///
/// The answer in its place, which no filter sees: 400 for a character that may not stand in an authority, or that is none
/// of printable ASCII in the target, for a fragment, for an escaped NUL and for what is no path; 404 for `*`, which only
/// OPTIONS may ask for.
pub fn admit<'t>(
    method: &[u8],
    authority: &[u8],
    target: &'t [u8],
    how: PathNormalization,
) -> Result<Cow<'t, [u8]>, LocalReply> {
    if !target.iter().all(u8::is_ascii_graphic) || !authority.iter().all(|byte| may_stand_in_authority(*byte)) {
        return Err(LocalReply::INVALID_REQUEST);
    }
    match target.first() {
        Some(b'/') => {}
        Some(b'*') if target.len() == 1 && method == b"OPTIONS" => return Err(LocalReply::NOT_A_PATH),
        _ => return Err(LocalReply::INVALID_REQUEST),
    }
    if target.contains(&b'#') {
        return Err(LocalReply::BAD_PATH);
    }
    path::normalize(target, how).map_err(|path::BadPath| LocalReply::BAD_PATH)
}

fn may_stand_in_authority(byte: u8) -> bool {
    byte.is_ascii_graphic() && !br##""#/<>?\^`{|}"##.contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crumbs_make_one_cookie() {
        let whole = |crumbs: &[&str]| {
            cookie(crumbs.iter().map(|crumb| crumb.as_bytes())).map(|cookie| String::from_utf8(cookie).unwrap())
        };
        assert_eq!(whole(&["a=1"]).as_deref(), Some("a=1"));
        assert_eq!(whole(&["", "a=1", "b=2", ""]).as_deref(), Some("a=1; b=2; "));
        assert_eq!(whole(&[""]), None);
    }

    fn status(method: &str, asked: &str) -> Result<String, u16> {
        let found = admit(method.as_bytes(), b"h", asked.as_bytes(), PathNormalization::Base);
        found.map(|path| String::from_utf8_lossy(&path).into_owned()).map_err(|reply| reply.status)
    }

    #[test]
    fn what_is_no_path_is_refused() {
        for (method, target, expected) in [
            ("GET", "", 400),
            ("GET", "admin", 400),
            ("GET", "\\a", 400),
            ("GET", "*", 400),
            ("OPTIONS", "*", 404),
            ("OPTIONS", "**", 400),
            ("GET", "?a", 400),
            ("GET", "/\u{e9}", 400),
            ("GET", "/?\u{e9}", 400),
            ("GET", "/a\tb", 400),
            ("GET", "/a\u{7f}", 400),
            ("GET", "/a#b", 400),
            ("GET", "/?a#b", 400),
            ("GET", "/%00", 400),
        ] {
            assert_eq!(status(method, target), Err(expected), "{method} {target}");
        }
        assert_eq!(status("GET", "/%23/../a?%00"), Ok("/a?%00".to_owned()));
    }

    #[test]
    fn a_fragment_is_refused_also_where_nothing_is_normalised() {
        let refused = admit(b"GET", b"h", b"/a#b", PathNormalization::None);
        assert_eq!(refused, Err(LocalReply::BAD_PATH));
    }

    #[test]
    fn a_host_may_be_odd_but_not_anything() {
        let found = |host: &[u8]| admit(b"GET", host, b"/", PathNormalization::Base).is_ok();
        for host in ["", "a:80:80", "u@a", "a,b", "a%20", "[::1]", "a_b"] {
            assert!(found(host.as_bytes()), "{host}");
        }
        for host in ["a b", "a/", "a<", "a?", "a\\b", "\u{e9}", "a#b"] {
            assert!(!found(host.as_bytes()), "{host}");
        }
    }

    #[test]
    fn methods_are_those_of_envoys_codec() {
        for known in ["GET", "OPTIONS", "PROPFIND", "UNSUBSCRIBE", "MSEARCH"] {
            assert!(is_method_of_http1(known.as_bytes()), "{known}");
        }
        for unknown in ["FOO", "get", "QUERY", "M-SEARCH", "PRI", ""] {
            assert!(!is_method_of_http1(unknown.as_bytes()), "{unknown}");
        }
    }

    #[test]
    fn switches_of_the_router_are_not_the_clients() {
        for name in REMOVED {
            assert!(!is_kept(name.as_bytes()), "{name}");
        }
        for name in ["host", "x-request-id", "x-envoy-external-address", "x-envoy-attempt-count", "x-shunt-cluster"] {
            assert!(is_kept(name.as_bytes()), "{name}");
        }
    }
}
