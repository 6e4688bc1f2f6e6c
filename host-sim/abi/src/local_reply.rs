//! Answers that no upstream gave, made into a response as Envoy makes them: gRPC requests get status 200 and a
//! `grpc-status`, HEAD gets no body, a body gets its length and a type.

use crate::headers::HeaderMap;
use bytes::Bytes;
use std::borrow::Cow;

/// A local reply before it is fitted to its request. The world may use it for its own replies (no host, timeout) too.
#[derive(Clone, Debug)]
pub struct LocalReply {
    /// HTTP status, 200 to 599.
    pub status: u32,
    /// Extra headers.
    pub headers: HeaderMap,
    /// Body, or the message for gRPC.
    pub body: Bytes,
    /// 0 to 16, for gRPC requests only; otherwise made from the HTTP status.
    pub grpc_status: Option<u32>,
    /// Response code details for the access log, without blanks.
    pub details: Cow<'static, str>,
}

/// Details of a stream whose guest has trapped.
pub const FAIL_STREAM: &str = "wasm_fail_stream";
/// Details of a stream that the guest has cut off.
pub const CLOSE_STREAM: &str = "wasm_close_stream";

impl LocalReply {
    /// A reply without headers of its own.
    pub fn new(status: u32, body: impl Into<Bytes>, details: impl Into<Cow<'static, str>>) -> Self {
        let (headers, body, details) = (HeaderMap::new(), body.into(), details.into());
        LocalReply { status, headers, body, grpc_status: None, details }
    }

    /// The 503 of a dead guest.
    pub(crate) fn fail_stream() -> Self {
        LocalReply { grpc_status: Some(14), ..LocalReply::new(503, Bytes::new(), FAIL_STREAM) }
    }

    /// The response head and body for this request.
    pub fn into_response(self, request: &HeaderMap) -> (HeaderMap, Bytes) {
        if is_grpc(request) {
            return (self.grpc_head(), Bytes::new());
        }
        let mut head = HeaderMap::with_capacity(self.headers.len() + 3, 128);
        head.append(":status", self.status.to_string());
        let mut typed = false;
        for (name, value) in self.headers.iter() {
            match name {
                b":status" | b"content-length" => {}
                // Envoy keeps one content-type: the last one given.
                b"content-type" => {
                    typed = true;
                    head.set(name, value);
                }
                _ => head.append(name, value),
            }
        }
        if self.body.is_empty() {
            head.remove("content-type");
            return (head, self.body);
        }
        head.set("content-length", self.body.len().to_string());
        if !typed {
            head.append("content-type", "text/plain");
        }
        let body = if request.get(":method") == Some(b"HEAD") { Bytes::new() } else { self.body };
        (head, body)
    }

    fn grpc_head(self) -> HeaderMap {
        let mut head = HeaderMap::from([(":status", "200"), ("content-type", "application/grpc")]);
        let status = self.grpc_status.unwrap_or_else(|| grpc_status(self.status));
        head.append("grpc-status", status.to_string());
        if !self.body.is_empty() {
            head.append("grpc-message", percent_encoded(&self.body));
        }
        for (name, value) in self.headers.iter() {
            if !matches!(name, b":status" | b"content-type" | b"content-length") {
                head.append(name, value);
            }
        }
        head
    }
}

/// Whether this request speaks gRPC, by its content type.
pub fn is_grpc(request: &HeaderMap) -> bool {
    let rest = request.get("content-type").and_then(|value| value.strip_prefix(b"application/grpc"));
    rest.is_some_and(|rest| matches!(rest.first(), None | Some(b'+')))
}

/// Envoy's gRPC status for an HTTP status.
fn grpc_status(status: u32) -> u32 {
    match status {
        400 => 13,
        401 => 16,
        403 => 7,
        404 => 12,
        429 | 502 | 503 | 504 => 14,
        _ => 2,
    }
}

/// gRPC's encoding of messages: printable ASCII but `%` stays.
fn percent_encoded(message: &[u8]) -> String {
    let mut text = String::with_capacity(message.len());
    for &byte in message {
        match byte {
            b' '..=b'~' if byte != b'%' => text.push(char::from(byte)),
            _ => text.push_str(&format!("%{byte:02X}")),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(request: &[(&str, &str)], headers: &[(&str, &str)], body: &'static str) -> (String, Bytes) {
        let request: HeaderMap = request.iter().copied().collect();
        let reply = LocalReply { headers: headers.iter().copied().collect(), ..LocalReply::new(503, body, "test") };
        let (head, body) = reply.into_response(&request);
        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
        (head.iter().map(|(n, v)| format!("{}={} ", text(n), text(v))).collect(), body)
    }

    #[test]
    fn a_body_brings_length_and_type() {
        let (head, body) = reply(&[], &[("x", "1"), ("x", "2")], "sorry");
        assert_eq!(head, ":status=503 x=1 x=2 content-length=5 content-type=text/plain ");
        assert_eq!(body, "sorry");
    }

    #[test]
    fn a_given_type_stays_and_a_given_length_is_corrected() {
        let (head, _) = reply(&[], &[("Content-Type", "a/b"), ("content-length", "99")], "sorry");
        assert_eq!(head, ":status=503 content-type=a/b content-length=5 ");
    }

    #[test]
    fn head_keeps_the_length_without_the_body() {
        let (head, body) = reply(&[(":method", "HEAD")], &[], "sorry");
        assert_eq!(head, ":status=503 content-length=5 content-type=text/plain ");
        assert!(body.is_empty());
    }

    #[test]
    fn grpc_gets_200_and_a_status() {
        let (head, body) = reply(&[("content-type", "application/grpc+proto")], &[], "a%b\n");
        assert_eq!(head, ":status=200 content-type=application/grpc grpc-status=14 grpc-message=a%25b%0A ");
        assert!(body.is_empty());
        assert!(!is_grpc(&HeaderMap::from([("content-type", "application/grpc-web")])));
    }
}
