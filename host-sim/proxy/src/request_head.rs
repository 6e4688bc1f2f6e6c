//! Request heads: from the client to the filter, cleaned as Envoy's connection manager cleans them ([`upstream::arrival`]),
//! and from the filter to the upstream.

use crate::conversation::local;
use crate::headers::{Invalid, is_hop_by_hop, plain_headers};
use crate::worker::Outside;
use envoy_plan::UpstreamProtocol;
use host_abi::HeaderMap;
use hyper::header::{self, HeaderName, HeaderValue};
use hyper::http::request;
use hyper::http::uri::{Authority, PathAndQuery, Scheme};
use hyper::{Method, Request, Uri, Version};
use std::borrow::Cow;
use upstream::request_head::{ATTEMPT_COUNT_HEADER, reaches_upstream};
use upstream::{LocalReply, arrival, referer};

/// The request head as Envoy would show it to a filter.
///
/// # Errors
///
/// The answer to what is refused before the filter sees it: what [`arrival`] refuses, no host, too many headers, `CONNECT`.
pub(crate) fn for_guest(parts: &request::Parts, outside: &Outside) -> Result<HeaderMap, LocalReply> {
    if parts.method == Method::CONNECT {
        return Err(local(405, "CONNECT is not supported", "connect_not_supported"));
    }
    if parts.headers.len() > outside.limits.headers {
        return Err(local(431, "too many request headers", "too_many_headers"));
    }
    let is_http1 = parts.version < Version::HTTP_2;
    let method = parts.method.as_str().as_bytes();
    // What has neither scheme nor slash was read as a bare host.
    let target = parts.uri.path_and_query().ok_or(LocalReply::INVALID_REQUEST)?.as_str().as_bytes();
    let foreign = parts.uri.scheme().is_some_and(|scheme| *scheme != Scheme::HTTP && *scheme != Scheme::HTTPS);
    if is_http1 && (foreign || !arrival::is_method_of_http1(method)) {
        return Err(LocalReply::INVALID_REQUEST);
    }
    if parts.uri.scheme().is_some() && target.starts_with(b"?") {
        return Err(LocalReply::NOT_A_PATH);
    }
    let authority = authority(parts)?;
    let path = arrival::admit(method, &authority, target, outside.path_normalization)?;
    let mut map = HeaderMap::with_capacity(parts.headers.len() + 6, 768);
    map.append(":authority", &authority);
    map.append(":path", &path);
    map.append(":method", method);
    // Its value follows from what is still to be read.
    map.append(":scheme", "http");
    for (name, value) in &parts.headers {
        if !stays_here(name, &parts.headers) {
            map.append(name.as_str(), value.as_bytes());
        }
    }
    if !is_http1 && map.remove("cookie") > 0 {
        let crumbs = parts.headers.get_all(header::COOKIE).iter().map(HeaderValue::as_bytes);
        if let Some(cookie) = arrival::cookie(crumbs) {
            map.append("cookie", cookie);
        }
    }
    if takes_trailers(&parts.headers) {
        map.append("te", "trailers");
    }
    if map.get("referer").is_some_and(referer::is_removed) {
        map.remove("referer");
    }
    let told_https = map.get("x-forwarded-proto").map(|scheme| scheme == b"https");
    match parts.uri.scheme_str() {
        Some(scheme) if !is_http1 => map.set(":scheme", scheme),
        _ if told_https == Some(true) => map.set(":scheme", "https"),
        _ => {}
    }
    if told_https.is_none() {
        map.append("x-forwarded-proto", "http");
    }
    if map.get("x-request-id").is_none_or(<[u8]>::is_empty) {
        map.set("x-request-id", outside.random.uuid());
    }
    Ok(map)
}

/// What `:authority` says: the host of a whole URL, without a user's name, or all Host headers.
fn authority(parts: &request::Parts) -> Result<Cow<'_, [u8]>, LocalReply> {
    if let Some(authority) = parts.uri.authority() {
        let host = authority.as_str().rsplit('@').next().unwrap_or_default();
        return Ok(Cow::Borrowed(host.as_bytes()));
    }
    let mut hosts = parts.headers.get_all(header::HOST).iter().map(HeaderValue::as_bytes);
    let first = hosts.next().ok_or(LocalReply::INVALID_REQUEST)?;
    Ok(hosts.fold(Cow::Borrowed(first), |all, host| Cow::Owned([&all, &b","[..], host].concat())))
}

/// Whether a header of the client goes no further.
fn stays_here(name: &HeaderName, all: &hyper::HeaderMap) -> bool {
    match name.as_str() {
        // It is `:authority` now; `expect` is answered here.
        "host" | "expect" | "te" => true,
        own => !arrival::is_kept(own.as_bytes()) || is_hop_by_hop(name, all),
    }
}

/// Of all that `te` may say, only this goes on.
fn takes_trailers(headers: &hyper::HeaderMap) -> bool {
    let mut codings = headers.get_all(header::TE).iter().flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    codings.any(|coding| coding.trim_ascii().eq_ignore_ascii_case(b"trailers"))
}

/// The request head as the upstream is to see it, for as many attempts as there will be.
#[derive(Clone, Debug)]
pub(crate) struct Outgoing {
    method: Method,
    path: PathAndQuery,
    authority: HeaderValue,
    scheme: Scheme,
    headers: hyper::HeaderMap,
    /// The upstream is told which attempt it sees.
    is_counted: bool,
}

impl Outgoing {
    /// The host that it is for.
    pub(crate) fn authority(&self) -> &HeaderValue {
        &self.authority
    }

    /// Takes from the filter's header map what reaches an upstream.
    ///
    /// # Errors
    ///
    /// [`Invalid`] if a pseudo header is missing, or anything cannot be written.
    pub(crate) fn from_guest(map: &HeaderMap) -> Result<Self, Invalid> {
        let pseudo = |name| map.get(name).ok_or(Invalid);
        let scheme = if map.get(":scheme") == Some(b"https") { Scheme::HTTPS } else { Scheme::HTTP };
        Ok(Outgoing {
            method: Method::from_bytes(pseudo(":method")?).map_err(|_| Invalid)?,
            path: PathAndQuery::try_from(pseudo(":path")?).map_err(|_| Invalid)?,
            authority: HeaderValue::from_bytes(pseudo(":authority")?).map_err(|_| Invalid)?,
            scheme,
            headers: plain_headers(map, |name| name != b"host" && reaches_upstream(name))?,
            is_counted: true,
        })
    }

    /// The same for a call of the filter itself, whose attempts are not told to the upstream.
    ///
    /// # Errors
    ///
    /// As [`Self::from_guest`].
    pub(crate) fn of_call(map: &HeaderMap) -> Result<Self, Invalid> {
        Ok(Self { is_counted: false, ..Self::from_guest(map)? })
    }

    /// The request for one attempt, from 1.
    ///
    /// # Errors
    ///
    /// [`Invalid`] if the authority cannot be written in HTTP/2.
    pub(crate) fn request<B>(
        &self,
        protocol: UpstreamProtocol,
        attempt: u32,
        told: impl Iterator<Item = (&'static str, String)>,
        body: B,
    ) -> Result<Request<B>, Invalid> {
        let mut request = Request::new(body);
        *request.method_mut() = self.method.clone();
        let headers = request.headers_mut();
        headers.reserve(self.headers.len() + 2);
        if protocol == UpstreamProtocol::Http1 {
            headers.insert(header::HOST, self.authority.clone());
        }
        headers.extend(self.headers.clone());
        if self.is_counted {
            headers.insert(ATTEMPT_COUNT_HEADER, HeaderValue::from(attempt));
        }
        for (name, value) in told {
            // Digits and a letter are always a value.
            let value = HeaderValue::from_maybe_shared(value);
            value.map(|value| headers.insert(name, value)).map_err(|_| Invalid)?;
        }
        *request.uri_mut() = match protocol {
            UpstreamProtocol::Http1 => Uri::from(self.path.clone()),
            UpstreamProtocol::Http2 => {
                let mut uri = hyper::http::uri::Parts::default();
                uri.scheme = Some(self.scheme.clone());
                uri.authority = Some(Authority::try_from(self.authority.as_bytes()).map_err(|_| Invalid)?);
                uri.path_and_query = Some(self.path.clone());
                Uri::from_parts(uri).map_err(|_| Invalid)?
            }
        };
        if protocol == UpstreamProtocol::Http2 {
            *request.version_mut() = Version::HTTP_2;
        }
        Ok(request)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Settings;
    use std::rc::Rc;
    use std::sync::Arc;
    use upstream::Common;

    fn parts(target: &str, headers: &[(&str, &str)]) -> request::Parts {
        let mut request = Request::builder().uri(target);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    fn outside() -> Rc<Outside> {
        let settings = Settings::new(std::net::SocketAddr::from(([127, 0, 0, 1], 0)));
        Outside::new(
            &settings,
            crate::settings::Side::Outbound,
            Arc::default(),
            &[],
            Common::default(),
            crate::world::Said::default(),
        )
    }

    fn read(target: &str, headers: &[(&str, &str)]) -> Result<HeaderMap, u16> {
        for_guest(&parts(target, headers), &outside()).map_err(|reply| reply.status)
    }

    #[test]
    fn pseudo_headers_come_first_and_what_the_proxy_knows_is_added() {
        let map = read("/a/../b?c", &[("Host", "reviews:80"), ("accept", "x")]).unwrap();
        let names: Vec<_> = map.iter().map(|(name, _)| std::str::from_utf8(name).unwrap()).collect();
        assert_eq!(names, [":authority", ":path", ":method", ":scheme", "accept", "x-forwarded-proto", "x-request-id"]);
        assert_eq!(map.get_str(":path"), Some("/b?c"));
        assert_eq!(map.get_str(":authority"), Some("reviews:80"));
        assert!(map.get("x-forwarded-for").is_none());
    }

    #[test]
    fn what_is_there_is_kept() {
        let map = read("/", &[("host", "a"), ("x-request-id", "mine"), ("x-forwarded-proto", "https")]).unwrap();
        assert_eq!((map.get_str("x-request-id"), map.get_str(":scheme")), (Some("mine"), Some("https")));
    }

    #[test]
    fn a_client_sets_no_switches_and_no_headers_of_the_connection() {
        for name in ["x-envoy-retry-on", "x-forwarded-client-cert", "connection", "upgrade", "te", "expect"] {
            let map = read("/", &[("host", "a"), (name, "1")]).unwrap();
            assert!(map.get("host").is_none());
            assert!(map.get(name).is_none(), "{name}");
        }
        let map = read("/", &[("host", "a"), ("te", "trailers"), ("x-envoy-attempt-count", "1")]).unwrap();
        assert!(map.get("te").is_some() && map.get("x-envoy-attempt-count").is_some());
    }

    #[test]
    fn what_envoy_keeps_once_is_joined_and_te_says_one_word() {
        let host = ("host", "a");
        let map = read("/", &[host, ("accept", "x"), ("accept", "y"), ("te", "gzip, trailers"), ("te", "br")]).unwrap();
        assert_eq!((map.get_str("accept"), map.get_str("te")), (Some("x,y"), Some("trailers")));
        let map = read("/", &[host, ("host", "b"), ("x-forwarded-proto", "https"), ("x-request-id", "")]).unwrap();
        assert_eq!((map.get_str(":authority"), map.get_str(":scheme")), (Some("a,b"), Some("https")));
        assert_eq!(map.get("x-request-id").map(<[u8]>::len), Some(36));
        let map = read("/", &[host, ("x-forwarded-proto", "http"), ("x-forwarded-proto", "https")]).unwrap();
        assert_eq!((map.get_str("x-forwarded-proto"), map.get_str(":scheme")), (Some("http,https"), Some("http")));
    }

    #[test]
    fn over_http2_a_cookie_is_whole_and_the_protocol_is_told_too() {
        let read = |headers: &[(&str, &str)]| {
            let mut parts = parts("http://a.test/", headers);
            parts.version = Version::HTTP_2;
            for_guest(&parts, &outside()).unwrap()
        };
        let map = read(&[("cookie", "a=1"), ("cookie", "b=2")]);
        assert_eq!((map.get_str("cookie"), map.get_str("x-forwarded-proto")), (Some("a=1; b=2"), Some("http")));
        let map = read(&[("cookie", ""), ("x-forwarded-proto", "https")]);
        assert_eq!((map.get_str("cookie"), map.get_str("x-forwarded-proto")), (None, Some("https")));
        assert_eq!(map.get_str(":scheme"), Some("http"));
    }

    #[test]
    fn what_cannot_be_served_is_refused() {
        let host = [("host", "a")];
        assert_eq!(read("/", &[]).unwrap_err(), 400);
        assert_eq!(read("/", &[("host", "a/b")]).unwrap_err(), 400);
        for target in ["/%00", "/\u{e9}", "admin", "*", "ftp://a/"] {
            assert_eq!(read(target, &host).unwrap_err(), 400, "{target}");
        }
        assert_eq!(read("http://a?b", &host).unwrap_err(), 404);
        let mut unknown = parts("/", &host);
        unknown.method = Method::from_bytes(b"FOO").unwrap();
        assert_eq!(for_guest(&unknown, &outside()).unwrap_err().status, 400);
        unknown.version = Version::HTTP_2;
        assert!(for_guest(&unknown, &outside()).is_ok());
        let many: Vec<_> = std::iter::once(("host", "a")).chain((0..100).map(|_| ("x", "y"))).collect();
        assert_eq!(read("/", &many).unwrap_err(), 431);
    }

    #[test]
    fn an_absolute_target_names_the_host() {
        let map = read("http://b.example/x", &[("host", "a")]).unwrap();
        assert_eq!((map.get_str(":authority"), map.get_str(":path")), (Some("b.example"), Some("/x")));
        let map = read("http://me:secret@b.example", &[("host", "a")]).unwrap();
        assert_eq!((map.get_str(":authority"), map.get_str(":path")), (Some("b.example"), Some("/")));
    }

    #[test]
    fn the_upstream_sees_no_decision() {
        let mut map = read("/x", &[("host", "a:80"), ("accept", "y")]).unwrap();
        map.set("x-shunt-cluster", "c");
        map.set("x-envoy-retry-on", "5xx");
        let outgoing = Outgoing::from_guest(&map).unwrap();
        let request =
            outgoing.request(UpstreamProtocol::Http1, 2, [("x-time", "7".to_owned())].into_iter(), ()).unwrap();
        assert_eq!(request.uri(), "/x");
        assert_eq!(request.headers()["host"], "a:80");
        assert_eq!(request.headers()["x-time"], "7");
        assert_eq!(request.headers()[ATTEMPT_COUNT_HEADER], "2");
        assert!(
            !request.headers().contains_key("x-shunt-cluster") && !request.headers().contains_key("x-envoy-retry-on")
        );
        let request =
            Outgoing::of_call(&map).unwrap().request(UpstreamProtocol::Http2, 1, std::iter::empty(), ()).unwrap();
        assert_eq!(request.uri(), "http://a:80/x");
        assert!(!request.headers().contains_key("host") && !request.headers().contains_key(ATTEMPT_COUNT_HEADER));
    }
}
