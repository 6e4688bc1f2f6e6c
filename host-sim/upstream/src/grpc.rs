//! `grpc-timeout`: a client's own limit, in gRPC's notation (gRPC over HTTP/2, `Timeout`).
//!
//! Istio caps it by the rule's timeout (`max_grpc_timeout`), and of a gRPC request without one the rule's timeout is the
//! limit. The upstream is told what is left.

use std::time::Duration;

use crate::request_head::number;
use crate::retry::Answer;

/// The request header.
pub(crate) const TIMEOUT_HEADER: &str = "grpc-timeout";

/// Envoy writes at most so many digits.
const MILLIS_MAX: u128 = 99_999_999;

/// Whether a request is gRPC, by its `content-type`.
pub(crate) fn is_grpc(content_type: Option<&[u8]>) -> bool {
    let rest = content_type.and_then(|value| value.strip_prefix(b"application/grpc"));
    rest.is_some_and(|rest| rest.is_empty() || rest.first() == Some(&b'+'))
}

/// The limit that a client asks for, in whole milliseconds, rounded up; `None` for none and for nonsense.
pub(crate) fn asked(header: Option<&[u8]>) -> Option<Duration> {
    let (unit, digits) = header?.split_last()?;
    if digits.is_empty() || digits.len() > 8 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number: u64 = std::str::from_utf8(digits).ok()?.parse().ok()?;
    let millis = match unit {
        b'H' => number.checked_mul(3_600_000)?,
        b'M' => number.checked_mul(60_000)?,
        b'S' => number.checked_mul(1000)?,
        b'm' => number,
        b'u' => number.div_ceil(1000),
        b'n' => number.div_ceil(1_000_000),
        _ => return None,
    };
    Some(Duration::from_millis(millis))
}

/// The limit of a gRPC request: what it asks for, at most `max`. 0 means no limit, to both.
pub(crate) fn limit(asked: Option<Duration>, max: Option<Duration>) -> Option<Duration> {
    let asked = asked.filter(|asked| !asked.is_zero());
    asked.into_iter().chain(max).min()
}

/// The HTTP status that a gRPC answer stands for, where its head says how the call ended (Envoy's `grpcToHttpStatus`).
pub(crate) fn status(is_grpc: bool, answer: &Answer<'_>) -> Option<u16> {
    let status = number((answer.header)("grpc-status")).filter(|_| is_grpc)?;
    Some(match status {
        0 => 200,
        1 => 499,
        3 | 9 | 11 => 400,
        4 => 504,
        5 => 404,
        6 | 10 => 409,
        7 => 403,
        8 => 429,
        12 => 501,
        14 => 503,
        16 => 401,
        _ => 500,
    })
}

/// A time in gRPC's notation.
pub(crate) fn written(time: Duration) -> String {
    match time.as_millis() {
        millis @ ..=MILLIS_MAX => format!("{millis}m"),
        _ => format!("{}S", u128::from(time.as_secs()).min(MILLIS_MAX)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_writes_digits_and_a_unit() {
        let millis = |text: &str| asked(Some(text.as_bytes())).map(|time| time.as_millis());
        for (text, expected) in [("1H", 3_600_000), ("2M", 120_000), ("3S", 3000), ("100m", 100), ("1u", 1), ("1n", 1)]
        {
            assert_eq!(millis(text), Some(expected), "{text}");
        }
        for text in ["", "m", "1", "-1S", "123456789S", "1s", "1 S"] {
            assert_eq!(millis(text), None, "{text}");
        }
    }

    #[test]
    fn the_rule_caps_what_is_asked_for() {
        let limit = |asked: u64, max: Option<u64>| {
            limit(Some(Duration::from_millis(asked)), max.map(Duration::from_millis)).map(|time| time.as_millis())
        };
        assert_eq!(limit(100, None), Some(100));
        assert_eq!(limit(100, Some(50)), Some(50));
        assert_eq!(limit(100, Some(500)), Some(100));
        assert_eq!((limit(0, None), limit(0, Some(50))), (None, Some(50)));
    }

    #[test]
    fn the_upstream_reads_digits_and_a_unit() {
        assert_eq!(written(Duration::from_millis(5000)), "5000m");
        assert_eq!(written(Duration::from_secs(200_000)), "200000S");
    }

    #[test]
    fn grpc_is_told_by_its_content_type() {
        for (value, expected) in [
            ("application/grpc", true),
            ("application/grpc+proto", true),
            ("application/grpc-web", false),
            ("text", false),
        ] {
            assert_eq!(is_grpc(Some(value.as_bytes())), expected, "{value}");
        }
    }
}
