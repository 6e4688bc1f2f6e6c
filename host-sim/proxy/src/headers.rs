//! Between the header maps of the HTTP library and those of the filter, and what must not pass a proxy: headers that
//! concern one connection only.

use host_abi::HeaderMap;
use hyper::header::{self, HeaderName, HeaderValue};
use hyper::http::response;
use hyper::{Response, StatusCode};

/// Headers of one connection.
const HOP_BY_HOP: [HeaderName; 5] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// A header that the filter, or an upstream, made unfit to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Invalid;

/// Whether `name` concerns one connection only, by itself or because `headers` name it in `connection`. What is needed
/// to route or to trust a request cannot be removed that way.
pub(crate) fn is_hop_by_hop(name: &HeaderName, headers: &hyper::HeaderMap) -> bool {
    HOP_BY_HOP.contains(name)
        || headers.contains_key(header::CONNECTION)
            && *name != header::HOST
            && *name != header::COOKIE
            && *name != header::CONTENT_LENGTH
            && !name.as_str().starts_with("x-forwarded-")
            && *name != header::TE
            && headers.get_all(header::CONNECTION).iter().any(|value| {
                let mut named = value.as_bytes().split(|byte| *byte == b',');
                named.any(|named| named.trim_ascii().eq_ignore_ascii_case(name.as_str().as_bytes()))
            })
}

/// An upstream's response head for the filter.
pub(crate) fn response_for_guest(parts: &response::Parts) -> HeaderMap {
    let mut map = HeaderMap::with_capacity(parts.headers.len() + 1, 512);
    map.append(":status", parts.status.as_str());
    for (name, value) in &parts.headers {
        if !is_hop_by_hop(name, &parts.headers) {
            map.append(name.as_str(), value.as_bytes());
        }
    }
    map
}

/// The response head as it leaves the filter.
///
/// # Errors
///
/// [`Invalid`] if there is no fit status, or a name or value cannot be written.
pub(crate) fn response_from_guest(map: &HeaderMap) -> Result<Response<()>, Invalid> {
    let status = map.get(":status").and_then(|status| StatusCode::from_bytes(status).ok()).ok_or(Invalid)?;
    if status.is_informational() {
        return Err(Invalid);
    }
    let mut response = Response::new(());
    *response.status_mut() = status;
    *response.headers_mut() = plain_headers(map, |_| true)?;
    Ok(response)
}

/// All but the pseudo headers that `wanted` lets through.
pub(crate) fn plain_headers(map: &HeaderMap, wanted: impl Fn(&[u8]) -> bool) -> Result<hyper::HeaderMap, Invalid> {
    let mut headers = hyper::HeaderMap::with_capacity(map.len());
    for (name, value) in map.iter() {
        if name.first() == Some(&b':') || !wanted(name) {
            continue;
        }
        let name = HeaderName::from_bytes(name).map_err(|_| Invalid)?;
        if HOP_BY_HOP.contains(&name) {
            // Framing is this host's business, whatever the filter writes.
            continue;
        }
        headers.append(name, HeaderValue::from_bytes(value).map_err(|_| Invalid)?);
    }
    Ok(headers)
}

/// Trailers for the filter.
pub(crate) fn trailers_for_guest(trailers: &hyper::HeaderMap) -> HeaderMap {
    trailers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect()
}

/// Trailers as they leave the filter; unfit ones are left out.
pub(crate) fn trailers_from_guest(map: &HeaderMap) -> hyper::HeaderMap {
    plain_headers(map, |_| true).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_of_one_connection_are_told_by_name_or_by_being_named() {
        let mut headers = hyper::HeaderMap::new();
        headers.insert("connection", HeaderValue::from_static("close, X-Own , host, x-forwarded-for"));
        let told = |name: &'static str| is_hop_by_hop(&HeaderName::from_static(name), &headers);
        for name in ["connection", "keep-alive", "transfer-encoding", "upgrade", "proxy-connection", "x-own"] {
            assert!(told(name), "{name}");
        }
        for name in ["host", "x-forwarded-for", "accept", "te"] {
            assert!(!told(name), "{name}");
        }
    }

    #[test]
    fn a_response_needs_a_status_and_fit_headers() {
        assert!(response_from_guest(&HeaderMap::from([("a", "b")])).is_err());
        assert!(response_from_guest(&HeaderMap::from([(":status", "abc")])).is_err());
        assert!(response_from_guest(&HeaderMap::from([(":status", "200"), ("a", "x\r\nb: c")])).is_err());
        let map = HeaderMap::from([(":status", "404"), ("a", "1"), ("a", "2"), ("transfer-encoding", "chunked")]);
        let response = response_from_guest(&map).unwrap();
        assert_eq!((response.status().as_u16(), response.headers().len()), (404, 2));
    }
}
