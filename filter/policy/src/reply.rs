//! Answers of the filter itself: redirects, direct responses, CORS preflights, and 404.

use crate::decision::ResponseRule;
use crate::request::RequestHead;
use std::borrow::Cow;

/// An answer that never leaves the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalReply<'p> {
    /// HTTP status.
    pub status: u16,
    /// Headers besides those the host makes.
    pub headers: Vec<(&'static str, Cow<'p, [u8]>)>,
    /// Body.
    pub body: Cow<'p, [u8]>,
    /// Envoy's RESPONSE_CODE_DETAILS, for logs.
    pub details: &'static str,
    /// Which response edits it meets.
    pub response: Option<ResponseRule>,
}

impl<'p> LocalReply<'p> {
    /// The host is known to no rule and no service.
    pub(crate) const UNKNOWN_HOST: Self =
        Self::plain(404, b"shunt: no VirtualService and no service has this host\n", "shunt_unknown_host");
    /// The host has rules and none of them matches: no fall-back to another host (Istio answers 404 too).
    pub(crate) const NO_RULE: Self =
        Self::plain(404, b"shunt: no rule of this host's VirtualService matches the request\n", "shunt_no_rule");
    /// The host is known to no rule and no service, and `outboundTrafficPolicy` lets nothing else out. Istio's answer has no
    /// body.
    pub(crate) const BLOCK_ALL: Self = Self::plain(
        502,
        b"shunt: no VirtualService and no service has this host, and the outbound traffic policy is REGISTRY_ONLY\n",
        "shunt_block_all",
    );

    pub(crate) const fn plain(status: u16, body: &'p [u8], details: &'static str) -> Self {
        Self { status, headers: Vec::new(), body: Cow::Borrowed(body), details, response: None }
    }
}

/// `HTTPRedirect`, as istiod hands it to Envoy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Redirect {
    pub(crate) status: u16,
    pub(crate) scheme: Option<Box<str>>,
    pub(crate) authority: Option<Box<str>>,
    /// `None` where it goes without saying: 80 with http, 443 with https.
    pub(crate) port: Option<u16>,
    pub(crate) path: RedirectPath,
    /// Whether a port that would be wrong now goes; Envoy's `require_tls` leaves it.
    pub(crate) strips_port: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum RedirectPath {
    Same,
    /// `uri`: the whole path. A query in it replaces the request's.
    Whole(Box<str>),
    /// `prefixRewrite`: replaces the matched prefix.
    Prefix(Box<str>),
}

impl Redirect {
    /// Of everything, to https (`tls.httpsRedirect`; Envoy's `require_tls: ALL`).
    pub(crate) fn to_https() -> Self {
        Self {
            status: 301,
            scheme: Some("https".into()),
            authority: None,
            port: None,
            path: RedirectPath::Same,
            strips_port: false,
        }
    }

    /// To where the request was for: what Envoy adds to a direct response with a status that wants a `location`.
    pub(crate) fn to_itself(status: u16) -> Self {
        Self { status, scheme: None, authority: None, port: None, path: RedirectPath::Same, strips_port: true }
    }

    /// The answer. `matched` is the length of the matched prefix.
    pub(crate) fn reply(&self, request: &RequestHead<'_>, matched: usize) -> LocalReply<'static> {
        let mut reply = LocalReply::plain(self.status, b"", "direct_response");
        reply.headers.push(("location", Cow::Owned(self.location(request, matched))));
        reply
    }

    /// The Location (Envoy `Http::Utility::newUri`).
    fn location(&self, request: &RequestHead<'_>, matched: usize) -> Vec<u8> {
        let first = |name: &[u8]| request.values(name).next().unwrap_or_default();
        let scheme = self.scheme.as_deref().map_or(first(b":scheme"), str::as_bytes);
        let mut location = scheme.to_vec();
        location.extend_from_slice(b"://");
        match &self.authority {
            Some(authority) => location.extend_from_slice(authority.as_bytes()),
            None => location.extend_from_slice(self.kept_authority(request, scheme, first(b"x-forwarded-proto"))),
        }
        if let Some(port) = self.port {
            location.extend_from_slice(format!(":{port}").as_bytes());
        }
        let (mut path, with_query) = match &self.path {
            RedirectPath::Same => (Cow::Borrowed(request.path()), true),
            RedirectPath::Whole(path) => (Cow::Borrowed(path.as_bytes()), !path.contains('?')),
            RedirectPath::Prefix(prefix) => {
                let rest = request.path().get(matched..).unwrap_or_default();
                (Cow::Owned([prefix.as_bytes(), rest].concat()), true)
            }
        };
        if path.first() != Some(&b'/') {
            path.to_mut().insert(0, b'/');
        }
        location.extend_from_slice(&path);
        if let Some(query) = request.query().filter(|_| with_query) {
            location.push(b'?');
            location.extend_from_slice(query);
        }
        location
    }

    /// The request's authority, without a port that would be wrong now.
    fn kept_authority<'r>(&self, request: &RequestHead<'r>, scheme: &[u8], came_by: &[u8]) -> &'r [u8] {
        let authority = request.authority();
        let at = authority.iter().rposition(|byte| *byte == b':');
        let in_brackets = authority.first() == Some(&b'[') && authority.last() == Some(&b']');
        let Some((host, port)) = at.filter(|_| !in_brackets).and_then(|at| authority.split_at_checked(at)) else {
            return authority;
        };
        let was_default = came_by == b"http" && port == b":80" || came_by == b"https" && port == b":443";
        if self.strips_port && (self.port.is_some() || scheme != came_by && was_default) { host } else { authority }
    }
}

/// `CorsPolicy`, decided by origin.
#[derive(Clone, Debug)]
pub(crate) struct Cors {
    pub(crate) origins: Box<[crate::matcher::StringMatcher]>,
    /// Joined by commas; `*` answers with what was asked.
    pub(crate) methods: Box<str>,
    pub(crate) headers: Box<str>,
    pub(crate) expose: Box<str>,
    pub(crate) max_age: Box<str>,
    pub(crate) credentials: bool,
    /// What becomes of preflights from other origins: `false` sends them on, `true` answers them.
    pub(crate) answers_foreign_preflights: bool,
}

/// What CORS makes of a request.
pub(crate) enum CorsOutcome<'p> {
    /// Nothing: no origin, or one that is not allowed.
    None,
    /// An allowed origin: the response gets its headers.
    Allowed,
    /// Answered here, and no edits act on it.
    Preflight(LocalReply<'p>),
}

impl Cors {
    /// Envoy's CORS filter, request phase.
    pub(crate) fn check<'p>(&'p self, request: &RequestHead<'_>) -> CorsOutcome<'p> {
        let first = |name: &[u8]| request.values(name).next().unwrap_or_default();
        let origin = first(b"origin");
        if origin.is_empty() {
            return CorsOutcome::None;
        }
        let asked_method = first(b"access-control-request-method");
        let is_preflight = first(b":method") == b"OPTIONS" && !asked_method.is_empty();
        let is_allowed = self.origins.iter().any(|matcher| matcher.matches(origin));
        match (is_allowed, is_preflight) {
            (true, false) => return CorsOutcome::Allowed,
            (false, true) if self.answers_foreign_preflights => {}
            (false, _) => return CorsOutcome::None,
            (true, true) => {}
        }
        let mut reply = LocalReply::plain(200, b"", "cors_response");
        // A foreign origin is told all the rest (tried on Envoy 1.40); without this header its browser refuses.
        if is_allowed {
            reply.headers.push(("access-control-allow-origin", Cow::Owned(origin.to_vec())));
        }
        if self.credentials {
            reply.headers.push(("access-control-allow-credentials", Cow::Borrowed(b"true")));
        }
        let asked_headers = first(b"access-control-request-headers");
        let or_asked = |configured: &'p str, asked: &[u8]| match configured {
            "*" => Cow::Owned(asked.to_vec()),
            _ => Cow::Borrowed(configured.as_bytes()),
        };
        let expose: &str = if is_allowed { &self.expose } else { "" };
        for (name, value) in [
            ("access-control-allow-methods", or_asked(&self.methods, asked_method)),
            ("access-control-allow-headers", or_asked(&self.headers, asked_headers)),
            ("access-control-max-age", Cow::Borrowed(self.max_age.as_bytes())),
            ("access-control-expose-headers", Cow::Borrowed(expose.as_bytes())),
        ] {
            if !value.is_empty() {
                reply.headers.push((name, value));
            }
        }
        CorsOutcome::Preflight(reply)
    }

    /// The response headers for an allowed origin, in Envoy's order.
    pub(crate) fn response_headers(&self, origin: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
        let mut headers = vec![("access-control-allow-origin", origin.to_vec())];
        if self.credentials {
            headers.push(("access-control-allow-credentials", b"true".to_vec()));
        }
        if !self.expose.is_empty() {
            headers.push(("access-control-expose-headers", self.expose.as_bytes().to_vec()));
        }
        headers
    }
}
