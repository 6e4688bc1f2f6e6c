//! What a rule does beside forwarding: redirect, direct response, fault, CORS.

use super::headers::is_one_line;
use super::matches::string_matcher;
use crate::decision::Abort;
use crate::matcher::{PathMatcher, StringMatcher};
use crate::ratio::Ratio;
use crate::reply::{Cors, Redirect, RedirectPath};
use crate::route::FaultRule;
use istio_config::diagnostic::{At, Diagnostics};
use istio_config::virtual_service::{
    self as raw, CorsPolicy, HttpBody, HttpDirectResponse, HttpFaultInjection, HttpRedirect, Percent,
    RedirectPortSelection, UnmatchedPreflights,
};

/// Istio's limit on the body of a direct response.
const DIRECT_RESPONSE_MAX: usize = 1 << 20;
/// From here on Istio warns.
const DIRECT_RESPONSE_LARGE: usize = 100_000;

/// A redirect but for its port, which may be the listener's.
#[derive(Clone, Debug)]
pub(super) struct RedirectTemplate {
    redirect: Redirect,
    from_request_port: bool,
}

impl RedirectTemplate {
    /// The redirect of a listener with this port. A port that goes without saying is left out, as istiod does.
    pub(super) fn on_port(&self, listener_port: u16) -> Redirect {
        let mut redirect = self.redirect.clone();
        if self.from_request_port {
            redirect.port = Some(listener_port);
        }
        // Servers with TLS are not served, so a request without a scheme of the redirect's came by http.
        let default = if redirect.scheme.as_deref().unwrap_or("http") == "https" { 443 } else { 80 };
        redirect.port = redirect.port.filter(|port| *port != default);
        redirect
    }
}

/// `paths`: what each match block of the rule asks of the path.
pub(super) fn redirect(
    at: &At<'_>,
    raw: &HttpRedirect,
    paths: &[Option<&PathMatcher>],
    diagnostics: &mut Diagnostics,
) -> Option<RedirectTemplate> {
    let HttpRedirect { uri, authority, port, derive_port, scheme, redirect_code, prefix_rewrite } = raw;
    let text = |text: &String| (!text.is_empty()).then(|| text.as_str().into());
    let mut sound = true;
    let mut fault = |at: &At<'_>, code, message: &str, help: &str| {
        diagnostics.error(at, code, message, help);
        sound = false;
    };
    if uri.is_empty()
        && authority.is_empty()
        && port.is_none()
        && derive_port.is_none()
        && scheme.is_empty()
        && prefix_rewrite.is_empty()
    {
        // A code alone is no redirect for Istio's validation either.
        fault(at, "empty-redirect", "the redirect names no other place", "give it uri, authority, port or scheme");
    }
    for (field, text) in [("uri", uri), ("authority", authority), ("prefixRewrite", prefix_rewrite)] {
        if text.bytes().any(|byte| matches!(byte, b'\r' | b'\n' | 0)) {
            fault(&at.field(field), "bad-header-value", "this has to be one line", "remove line ends and zero bytes");
        }
    }
    if !scheme.is_empty() && scheme != "http" && scheme != "https" {
        fault(&at.field("scheme"), "bad-value", "the scheme of a redirect is http or https", "write one of them");
    }
    if port.is_some() && derive_port.is_some() {
        fault(&at.field("derivePort"), "oneof", "only one of port and derivePort may be set", "remove the other");
    }
    if !uri.is_empty() && !prefix_rewrite.is_empty() {
        fault(&at.field("prefixRewrite"), "oneof", "only one of uri and prefixRewrite may be set", "remove the other");
    }
    // A block without `uri` matches the prefix `/`.
    let is_prefix = |path: &Option<&PathMatcher>| {
        matches!(path, None | Some(PathMatcher::Prefix(_) | PathMatcher::PrefixAnyCase(_)))
    };
    if !prefix_rewrite.is_empty() && !paths.iter().all(is_prefix) {
        let help = "match uri by prefix in every block that has one, or use uri";
        fault(&at.field("prefixRewrite"), "prefix-rewrite", "prefixRewrite needs a prefix to rewrite", help);
    }
    // 0 says no more than that there is a port, and istiod writes none.
    let port_number = port.filter(|port| *port != 0).map(|port| u16::try_from(port).ok());
    if port_number == Some(None) {
        fault(&at.field("port"), "bad-port", "this is not a port", "write 1 to 65535");
    }
    let status = redirect_code.filter(|code| *code != 0).unwrap_or(301);
    if ![301, 302, 303, 307, 308].contains(&status) {
        let help = "use 301, 302, 303, 307 or 308; istiod makes a route without an action of any other";
        fault(&at.field("redirectCode"), "bad-redirect-code", "Envoy does not redirect with this code", help);
    }
    let path = match (text(uri), text(prefix_rewrite)) {
        (Some(path), _) => RedirectPath::Whole(path),
        (None, Some(prefix)) => RedirectPath::Prefix(prefix),
        (None, None) => RedirectPath::Same,
    };
    let redirect = Redirect {
        status: u16::try_from(status).unwrap_or(301),
        scheme: text(scheme),
        authority: text(authority),
        port: port_number.flatten(),
        path,
        strips_port: true,
    };
    let from_request_port = *derive_port == Some(RedirectPortSelection::FromRequestPort);
    sound.then_some(RedirectTemplate { redirect, from_request_port })
}

pub(super) fn direct_response(
    at: &At<'_>,
    raw: &HttpDirectResponse,
    diagnostics: &mut Diagnostics,
) -> Option<(u16, Box<[u8]>)> {
    let HttpDirectResponse { status, body } = raw;
    let mut sound = true;
    let status = u16::try_from(*status).ok().filter(|status| (200..600).contains(status));
    if status.is_none() {
        let help = "write a status from 200 to 599";
        diagnostics.error(&at.field("status"), "bad-status", "a direct response needs a status", help);
        sound = false;
    }
    let at = at.field("body");
    let bytes: Vec<u8> = match body {
        None => Vec::new(),
        Some(HttpBody { string, bytes }) => match (string, bytes) {
            (Some(text), None) => text.as_bytes().to_vec(),
            (None, Some(encoded)) => decode_base64(encoded).unwrap_or_else(|| {
                diagnostics.error(
                    &at.field("bytes"),
                    "bad-base64",
                    "this is not base64",
                    "encode the body, or use string",
                );
                sound = false;
                Vec::new()
            }),
            (None, None) => Vec::new(),
            (Some(_), Some(_)) => {
                diagnostics.error(&at, "oneof", "only one of string and bytes may be set", "remove the other");
                return None;
            }
        },
    };
    if bytes.len() > DIRECT_RESPONSE_MAX {
        let message = format!("the body has {} bytes; Istio takes {DIRECT_RESPONSE_MAX}", bytes.len());
        diagnostics.error(&at, "large-body", message, "serve it from an upstream");
        sound = false;
    } else if bytes.len() > DIRECT_RESPONSE_LARGE {
        let message = format!("the body has {} bytes, and every worker keeps a copy", bytes.len());
        diagnostics.warning(&at, "large-body", message, "serve it from an upstream");
    }
    status.filter(|_| sound).map(|status| (status, bytes.into()))
}

/// Standard base64 with padding, as protobuf's JSON form has it; its URL alphabet is taken as well.
fn decode_base64(text: &str) -> Option<Vec<u8>> {
    let digits = text.trim_end_matches('=');
    let mut out = Vec::with_capacity(digits.len().checked_mul(3)? / 4);
    let (mut buffer, mut bits) = (0_u32, 0_u32);
    for byte in digits.bytes() {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' | b'-' => 62,
            b'/' | b'_' => 63,
            _ => return None,
        };
        buffer = buffer << 6 | u32::from(value);
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            out.push(u8::try_from(buffer >> bits & 0xff).ok()?);
        }
    }
    (digits.len() % 4 != 1).then_some(out)
}

pub(super) fn fault(at: &At<'_>, raw: &HttpFaultInjection, diagnostics: &mut Diagnostics) -> Option<FaultRule> {
    let HttpFaultInjection { delay, abort } = raw;
    let at = at.field("fault");
    if delay.is_none() && abort.is_none() {
        diagnostics.error(&at, "empty-fault", "the fault says nothing", "give it delay or abort");
    }
    let delay = delay.as_ref().and_then(|raw| delay_rule(&at.field("delay"), raw, diagnostics));
    let abort = abort.as_ref().and_then(|raw| abort_rule(&at.field("abort"), raw, diagnostics));
    Some(FaultRule { delay, abort })
}

fn delay_rule(at: &At<'_>, raw: &raw::Delay, diagnostics: &mut Diagnostics) -> Option<(Ratio, u64)> {
    let raw::Delay { percent, fixed_delay, exponential_delay, percentage } = raw;
    if exponential_delay.is_some() {
        let help = "use fixedDelay";
        diagnostics.error(&at.field("exponentialDelay"), "not-served", "Istio refuses exponentialDelay", help);
    }
    let share = match (percentage, percent) {
        (None, Some(percent)) => {
            let percent = Percent { value: f64::from(*percent) };
            fault_share(&at.field("percent"), Some(&percent), diagnostics)
        }
        (percentage, _) => fault_share(at, percentage.as_ref(), diagnostics),
    };
    let Some(delay) = fixed_delay.map(|delay| delay.0.as_millis()).filter(|delay| *delay > 0) else {
        if exponential_delay.is_none() {
            diagnostics.error(
                &at.field("fixedDelay"),
                "no-delay",
                "the delay needs fixedDelay of 1 ms or more",
                "write how long",
            );
        }
        return None;
    };
    u64::try_from(delay).ok().map(|delay| (share, delay))
}

fn abort_rule(at: &At<'_>, raw: &raw::Abort, diagnostics: &mut Diagnostics) -> Option<(Ratio, Abort)> {
    let raw::Abort { http_status, grpc_status, http2_error, percentage } = raw;
    if http2_error.is_some() {
        diagnostics.error(
            &at.field("http2Error"),
            "not-served",
            "Istio refuses http2Error",
            "use httpStatus or grpcStatus",
        );
        return None;
    }
    let share = fault_share(at, percentage.as_ref(), diagnostics);
    let abort = match (http_status, grpc_status) {
        (Some(_), Some(_)) => {
            diagnostics.error(at, "oneof", "only one of httpStatus and grpcStatus may be set", "remove the other");
            return None;
        }
        (Some(status), None) => {
            let status = u16::try_from(*status).ok().filter(|status| (200..=600).contains(status));
            if status.is_none() {
                let help = "write a status from 200 to 600";
                diagnostics.error(&at.field("httpStatus"), "bad-status", "this is not an HTTP status", help);
            }
            Abort::Http(status?)
        }
        (None, Some(status)) => {
            let number = grpc_status_number(status);
            if number.is_none() {
                let help = "write a name such as UNAVAILABLE";
                diagnostics.error(
                    &at.field("grpcStatus"),
                    "bad-status",
                    format!("`{status}` is not a gRPC status"),
                    help,
                );
            }
            Abort::Grpc(number?)
        }
        (None, None) => {
            diagnostics.warning(
                at,
                "no-abort",
                "without httpStatus or grpcStatus nothing is aborted",
                "add one of them",
            );
            return None;
        }
    };
    Some((share, abort))
}

/// Absent means none: the one place where Istio's default share is nothing.
fn fault_share(at: &At<'_>, percentage: Option<&Percent>, diagnostics: &mut Diagnostics) -> Ratio {
    let Some(Percent { value }) = percentage else {
        diagnostics.warning(at, "never-injected", "without a percentage the fault is never injected", "add percentage");
        return Ratio::NONE;
    };
    // Istio takes 0, or a share that is at least one in a million.
    let share = Ratio::from_percent(*value).filter(|share| *value == 0.0 || *share != Ratio::NONE);
    share.unwrap_or_else(|| {
        let help = "write 0, or a number from 0.0001 to 100";
        diagnostics.error(&at.field("percentage"), "bad-percentage", format!("{value} is not a share"), help);
        Ratio::NONE
    })
}

fn grpc_status_number(text: &str) -> Option<u16> {
    const NAMES: [&str; 17] = [
        "OK",
        "CANCELLED",
        "UNKNOWN",
        "INVALID_ARGUMENT",
        "DEADLINE_EXCEEDED",
        "NOT_FOUND",
        "ALREADY_EXISTS",
        "PERMISSION_DENIED",
        "RESOURCE_EXHAUSTED",
        "FAILED_PRECONDITION",
        "ABORTED",
        "OUT_OF_RANGE",
        "UNIMPLEMENTED",
        "INTERNAL",
        "UNAVAILABLE",
        "DATA_LOSS",
        "UNAUTHENTICATED",
    ];
    let by_name = NAMES.iter().position(|name| *name == text).and_then(|number| u16::try_from(number).ok());
    by_name.or_else(|| text.parse().ok().filter(|number| *number <= 16))
}

pub(super) fn cors(at: &At<'_>, raw: &CorsPolicy, diagnostics: &mut Diagnostics) -> Option<Cors> {
    let CorsPolicy {
        allow_origin,
        allow_origins,
        allow_methods,
        allow_headers,
        expose_headers,
        max_age,
        allow_credentials,
        unmatched_preflights,
    } = raw;
    let at = at.field("corsPolicy");
    let field = at.field("allowOrigins");
    for (index, raw) in allow_origins.iter().enumerate() {
        // Without a text it would let in every origin, with credentials where those are allowed.
        let raw::StringMatch { exact, prefix, regex } = raw;
        if [exact, prefix, regex].into_iter().flatten().all(String::is_empty) {
            let help = "write the origin, as in exact: https://example.com";
            diagnostics.error(&field.index(index), "empty-origin", "Istio refuses an origin without a text", help);
        }
    }
    let mut origins: Vec<Option<StringMatcher>> = allow_origins
        .iter()
        .enumerate()
        .map(|(index, raw)| string_matcher(&field.index(index), raw, diagnostics))
        .collect();
    // The deprecated list counts only where there is no other; in it `*` takes every origin.
    if allow_origins.is_empty() {
        origins = allow_origin
            .iter()
            .map(|origin| {
                Some(if origin == "*" {
                    StringMatcher::Present
                } else {
                    StringMatcher::Exact(origin.as_bytes().into())
                })
            })
            .collect();
    }
    // In Envoy an entry that takes the text `*` means every origin.
    let any = |matcher: StringMatcher| if matcher.matches(b"*") { StringMatcher::Present } else { matcher };
    if let Some(max_age) = max_age.filter(|max_age| max_age.0.subsec_nanos() != 0) {
        let message = format!("{:?} is not a whole number of seconds", max_age.0);
        diagnostics.error(&at.field("maxAge"), "bad-duration", message, "Istio takes whole seconds here");
    }
    let seconds = max_age.map(|max_age| max_age.0.as_secs().to_string()).unwrap_or_default();
    for (field, names) in
        [("allowMethods", allow_methods), ("allowHeaders", allow_headers), ("exposeHeaders", expose_headers)]
    {
        let field = at.field(field);
        for (index, name) in names.iter().enumerate() {
            is_one_line(&field.index(index), name, diagnostics);
        }
    }
    Some(Cors {
        origins: origins.into_iter().map(|origin| origin.map(any)).collect::<Option<_>>()?,
        methods: allow_methods.join(",").into(),
        headers: allow_headers.join(",").into(),
        expose: expose_headers.join(",").into(),
        max_age: seconds.into(),
        credentials: allow_credentials.unwrap_or_default(),
        answers_foreign_preflights: *unmatched_preflights == Some(UnmatchedPreflights::Ignore),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_of_both_alphabets_is_decoded() {
        let decoded = |text| decode_base64(text).map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        assert_eq!(decoded("aGVsbG8="), Some("hello".to_owned()));
        assert_eq!(decoded("aGVsbG8"), Some("hello".to_owned()));
        assert_eq!(decode_base64("-_8="), decode_base64("+/8="));
        assert_eq!((decoded("a"), decoded("a b c")), (None, None));
    }
}
