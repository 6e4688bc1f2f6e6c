//! Request heads: from the client to the filter, cleaned as Envoy's connection manager cleans them, and from the filter to
//! the upstream.
//!
//! The client is external, as every client of an Envoy without `internal_address_config` is: it may not set the router's
//! switches. What else begins with `x-envoy-` passes; `x-shunt-*` is the filter's own to remove.

use crate::headers::{Invalid, is_hop_by_hop, plain_headers};
use crate::path;
use crate::random::Random;
use envoy_plan::UpstreamProtocol;
use host_abi::HeaderMap;
use hyper::header::{self, HeaderName, HeaderValue};
use hyper::http::request;
use hyper::http::uri::{Authority, PathAndQuery, Scheme};
use hyper::{Method, Request, Uri, Version};
use upstream::request_head::{EXPECTED_TIMEOUT_HEADER, reaches_upstream};

/// What Envoy removes from an external client's request (`ConnectionManagerUtility::cleanInternalHeaders`).
const CLIENT_MAY_NOT_SEND: [&str; 16] = [
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
    "x-envoy-external-address",
];

/// A request that is refused before the filter sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// HTTP status.
    pub(crate) status: u16,
    /// Plain text.
    pub(crate) body: &'static str,
}

const BAD_REQUEST: Refusal = Refusal { status: 400, body: "Bad Request" };

/// The request head as Envoy would show it to a filter.
///
/// # Errors
///
/// A [`Refusal`] for what cannot be served: no host or two, a path with an escaped NUL, too many headers, `CONNECT`.
pub(crate) fn for_guest(parts: &request::Parts, headers_max: usize, random: &Random) -> Result<HeaderMap, Refusal> {
    if parts.method == Method::CONNECT {
        return Err(Refusal { status: 405, body: "CONNECT is not supported" });
    }
    if parts.headers.len() > headers_max {
        return Err(Refusal { status: 431, body: "too many request headers" });
    }
    let target = parts.uri.path_and_query().map_or("/", PathAndQuery::as_str);
    let path = path::normalize(target).map_err(|_| BAD_REQUEST)?;
    let mut map = HeaderMap::with_capacity(parts.headers.len() + 6, 768);
    map.append(":authority", authority(parts)?);
    map.append(":path", path.as_bytes());
    map.append(":method", parts.method.as_str());
    let forwarded_proto = parts.headers.get("x-forwarded-proto").map(HeaderValue::as_bytes);
    let scheme = match (parts.uri.scheme_str(), forwarded_proto) {
        (Some(scheme), _) if parts.version >= Version::HTTP_2 => scheme.as_bytes(),
        (_, Some(proto @ (b"http" | b"https"))) => proto,
        _ => b"http",
    };
    map.append(":scheme", scheme);
    for (name, value) in &parts.headers {
        if !stays_here(name, value, &parts.headers) {
            map.append(name.as_str(), value.as_bytes());
        }
    }
    if forwarded_proto.is_none() {
        map.append("x-forwarded-proto", "http");
    }
    if !parts.headers.contains_key("x-request-id") {
        map.append("x-request-id", random.uuid());
    }
    Ok(map)
}

fn authority(parts: &request::Parts) -> Result<&[u8], Refusal> {
    if let Some(authority) = parts.uri.authority() {
        return Ok(authority.as_str().as_bytes());
    }
    let mut hosts = parts.headers.get_all(header::HOST).iter();
    match (hosts.next(), hosts.next()) {
        (Some(host), None) if !host.is_empty() => Ok(host.as_bytes()),
        _ => Err(BAD_REQUEST),
    }
}

/// Whether a header of the client goes no further.
fn stays_here(name: &HeaderName, value: &HeaderValue, all: &hyper::HeaderMap) -> bool {
    match name.as_str() {
        // It is `:authority` now; `expect` is answered here.
        "host" | "expect" => true,
        "te" => !value.as_bytes().trim_ascii().eq_ignore_ascii_case(b"trailers"),
        own if own.starts_with("x-envoy-") => CLIENT_MAY_NOT_SEND.contains(&own),
        _ => is_hop_by_hop(name, all),
    }
}

/// The request head as the upstream is to see it, for as many attempts as there will be.
#[derive(Clone, Debug)]
pub(crate) struct Outgoing {
    method: Method,
    path: PathAndQuery,
    authority: HeaderValue,
    scheme: Scheme,
    headers: hyper::HeaderMap,
}

impl Outgoing {
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
        })
    }

    /// The request for one attempt.
    ///
    /// # Errors
    ///
    /// [`Invalid`] if the authority cannot be written in HTTP/2.
    pub(crate) fn request<B>(
        &self,
        protocol: UpstreamProtocol,
        expected_timeout_ms: Option<u64>,
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
        if let Some(millis) = expected_timeout_ms {
            headers.insert(EXPECTED_TIMEOUT_HEADER, HeaderValue::from(millis));
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

    fn parts(target: &str, headers: &[(&str, &str)]) -> request::Parts {
        let mut request = Request::builder().uri(target);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    fn read(target: &str, headers: &[(&str, &str)]) -> Result<HeaderMap, u16> {
        for_guest(&parts(target, headers), 100, &Random::from_system()).map_err(|refusal| refusal.status)
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
        for name in CLIENT_MAY_NOT_SEND.into_iter().chain(["connection", "upgrade", "te", "expect"]) {
            let map = read("/", &[("host", "a"), (name, "1")]).unwrap();
            assert!(map.get("host").is_none());
            assert!(map.get(name).is_none(), "{name}");
        }
        let map = read("/", &[("host", "a"), ("te", "trailers"), ("x-envoy-attempt-count", "1")]).unwrap();
        assert!(map.get("te").is_some() && map.get("x-envoy-attempt-count").is_some());
    }

    #[test]
    fn what_cannot_be_served_is_refused() {
        assert_eq!(read("/", &[]).unwrap_err(), 400);
        assert_eq!(read("/", &[("host", "a"), ("host", "b")]).unwrap_err(), 400);
        assert_eq!(read("/%00", &[("host", "a")]).unwrap_err(), 400);
        let many: Vec<_> = std::iter::once(("host", "a")).chain((0..100).map(|_| ("x", "y"))).collect();
        assert_eq!(read("/", &many).unwrap_err(), 431);
    }

    #[test]
    fn an_absolute_target_names_the_host() {
        let map = read("http://b.example/x", &[("host", "a")]).unwrap();
        assert_eq!((map.get_str(":authority"), map.get_str(":path")), (Some("b.example"), Some("/x")));
    }

    #[test]
    fn the_upstream_sees_no_decision() {
        let mut map = read("/x", &[("host", "a:80"), ("accept", "y")]).unwrap();
        map.set("x-shunt-cluster", "c");
        map.set("x-envoy-retry-on", "5xx");
        let outgoing = Outgoing::from_guest(&map).unwrap();
        let request = outgoing.request(UpstreamProtocol::Http1, Some(7), ()).unwrap();
        assert_eq!(request.uri(), "/x");
        assert_eq!(request.headers()["host"], "a:80");
        assert_eq!(request.headers()[EXPECTED_TIMEOUT_HEADER], "7");
        assert!(
            !request.headers().contains_key("x-shunt-cluster") && !request.headers().contains_key("x-envoy-retry-on")
        );
        let request = outgoing.request(UpstreamProtocol::Http2, None, ()).unwrap();
        assert_eq!(request.uri(), "http://a:80/x");
        assert!(!request.headers().contains_key("host"));
    }
}
