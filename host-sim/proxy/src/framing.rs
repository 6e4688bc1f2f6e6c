//! What Envoy's HTTP/1 codec refuses before anybody looks at a request, and the HTTP library does not: codings that would
//! be taken off unseen, and old versions. (Of a length beside `chunked` the library drops the length, as RFC 9112 allows.)

use hyper::Version;
use hyper::header::TRANSFER_ENCODING;
use hyper::http::request;

/// Status and text of Envoy's answer, after which the connection is closed: where the request ends is in doubt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unframed {
    /// HTTP status.
    pub(crate) status: u16,
    /// Plain text.
    pub(crate) body: &'static str,
}

/// Whether the request is framed in the one way that is served.
///
/// # Errors
///
/// [`Unframed`]: 426 for HTTP/1.0, 501 for a coding other than `chunked`.
pub(crate) fn check(parts: &request::Parts) -> Result<(), Unframed> {
    if parts.version == Version::HTTP_10 {
        return Err(Unframed { status: 426, body: "Upgrade Required" });
    }
    let mut codings = parts.headers.get_all(TRANSFER_ENCODING).iter();
    let Some(coding) = codings.next() else { return Ok(()) };
    if codings.next().is_some() || !coding.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked") {
        return Err(Unframed { status: 501, body: "Not Implemented" });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::Request;

    fn status(version: Version, headers: &[(&str, &str)]) -> Option<u16> {
        let mut request = Request::builder().version(version);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        check(&request.body(()).unwrap().into_parts().0).err().map(|refusal| refusal.status)
    }

    #[test]
    fn one_framing_is_served() {
        for headers in [
            &[][..],
            &[("content-length", "1")],
            &[("transfer-encoding", "chunked")],
            &[("transfer-encoding", "Chunked")],
        ] {
            assert_eq!(status(Version::HTTP_11, headers), None, "{headers:?}");
        }
        assert_eq!(status(Version::HTTP_2, &[("content-length", "1")]), None);
    }

    #[test]
    fn others_are_refused() {
        let chunked = ("transfer-encoding", "chunked");
        assert_eq!(status(Version::HTTP_11, &[chunked, chunked]), Some(501));
        assert_eq!(status(Version::HTTP_11, &[("transfer-encoding", "gzip, chunked")]), Some(501));
        assert_eq!(status(Version::HTTP_10, &[]), Some(426));
    }
}
