//! Headers for which Envoy's maps have one place only: a second value is joined to the first with a comma, whoever adds it,
//! client, upstream or filter. They are Envoy's inline headers (`INLINE_REQ_HEADERS`, `INLINE_RESP_HEADERS`, and those that
//! extensions register), as Envoy 1.40 joins them on the wire.

/// Of requests.
const IN_REQUESTS: [&str; 33] = [
    "accept",
    "accept-encoding",
    "access-control-request-headers",
    "access-control-request-method",
    "access-control-request-private-network",
    "authentication",
    "authorization",
    "cache-control",
    "content-encoding",
    "content-type",
    "expect",
    "grpc-accept-encoding",
    "grpc-timeout",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "origin",
    "pragma",
    "referer",
    "user-agent",
    "via",
    "x-client-trace-id",
    "x-envoy-attempt-count",
    "x-envoy-decorator-operation",
    "x-envoy-downstream-service-cluster",
    "x-envoy-downstream-service-node",
    "x-envoy-external-address",
    "x-envoy-original-path",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-port",
    "x-forwarded-proto",
];

/// Of responses.
const IN_RESPONSES: [&str; 27] = [
    "access-control-allow-credentials",
    "access-control-allow-headers",
    "access-control-allow-methods",
    "access-control-allow-origin",
    "access-control-expose-headers",
    "access-control-max-age",
    "age",
    "cache-control",
    "content-encoding",
    "content-type",
    "date",
    "etag",
    "expires",
    "grpc-message",
    "grpc-status",
    "last-modified",
    "location",
    "server",
    "vary",
    "via",
    "x-envoy-attempt-count",
    "x-envoy-decorator-operation",
    "x-envoy-degraded",
    "x-envoy-immediate-health-check-fail",
    "x-envoy-ratelimited",
    "x-envoy-upstream-canary",
    "x-envoy-upstream-healthchecked-cluster",
];

/// Of both, and by far the most frequent.
const IN_BOTH: &str = "x-request-id";

/// Whose header a map is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Request,
    Response,
    /// Trailers, which join nothing.
    Neither,
}

impl Side {
    /// By the first name of the map: pseudo headers stand first.
    pub(crate) fn of(first: Option<&[u8]>) -> Self {
        match first {
            Some(b":status") => Self::Response,
            Some(name) if name.first() == Some(&b':') => Self::Request,
            _ => Self::Neither,
        }
    }

    /// Whether this header has one place only. The name may be in any case.
    pub(crate) fn has_one(self, name: &[u8]) -> bool {
        if name.first() == Some(&b':') {
            return true;
        }
        let names = match self {
            Self::Neither => return false,
            Self::Request => &IN_REQUESTS[..],
            Self::Response => &IN_RESPONSES[..],
        };
        let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
        is(IN_BOTH) || names.iter().any(|known| is(known))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_and_responses_have_their_own() {
        assert!(Side::Request.has_one(b"Accept") && !Side::Response.has_one(b"accept"));
        assert!(Side::Response.has_one(b"vary") && !Side::Request.has_one(b"vary"));
        for side in [Side::Request, Side::Response] {
            assert!(side.has_one(b"x-request-id") && side.has_one(b":path"));
            assert!(!side.has_one(b"set-cookie") && !side.has_one(b"cookie") && !side.has_one(b"x"));
        }
        assert!(!Side::Neither.has_one(b"grpc-status"));
    }
}
