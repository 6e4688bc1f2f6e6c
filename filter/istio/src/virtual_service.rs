//! `VirtualService` and everything in it (istio/api `networking/v1alpha3/virtual_service.proto`).

use crate::GoDuration;
use serde::Deserialize;
use std::collections::BTreeMap;

raw! {
    /// Rules for the requests to some hosts.
    pub struct VirtualService {
        /// Names or `*.suffix` wildcards that a request's Host is compared with.
        pub hosts: Vec<String>,
        /// Where the rules apply: `mesh`, gateway names, or both. Empty means `mesh`.
        pub gateways: Vec<String>,
        /// HTTP rules in order; the first that matches decides.
        pub http: Vec<HttpRoute>,
        /// TLS rules by SNI.
        pub tls: Vec<TlsRoute>,
        /// TCP rules.
        pub tcp: Vec<TcpRoute>,
        /// Namespaces that see these rules: `.`, `*`, or names. Empty means `*`.
        pub export_to: Vec<String>,
    }

    /// A named host, whole or one subset of it.
    pub struct Destination {
        /// Service host; a name without a dot gets the rule's namespace.
        pub host: String,
        /// Subset of the host's DestinationRule.
        pub subset: String,
        /// Service port; may be absent when the service has only one.
        pub port: Option<PortSelector>,
    }

    /// A port by number.
    #[cfg_attr(feature = "tools", derive(schemars::JsonSchema))]
    pub struct PortSelector {
        /// Port number.
        pub number: u32,
    }

    /// One HTTP rule: conditions and exactly one of route, redirect, directResponse and delegate.
    pub struct HttpRoute {
        /// Name for logs and statistics.
        pub name: String,
        /// Match blocks; any one is enough. Empty: every request.
        pub r#match: Vec<HttpMatchRequest>,
        /// Weighted destinations.
        pub route: Vec<HttpRouteDestination>,
        /// Answer with a redirect.
        pub redirect: Option<Box<HttpRedirect>>,
        /// Answer at once.
        pub direct_response: Option<Box<HttpDirectResponse>>,
        /// Hand over to another VirtualService.
        pub delegate: Option<Box<Delegate>>,
        /// Change path or authority.
        pub rewrite: Option<Box<HttpRewrite>>,
        /// Limit for the whole request; absent means none.
        pub timeout: Option<GoDuration>,
        /// Retry policy; absent means the mesh default.
        pub retries: Option<Box<HttpRetry>>,
        /// Injected faults.
        pub fault: Option<Box<HttpFaultInjection>>,
        /// One destination that gets copies.
        pub mirror: Option<Box<Destination>>,
        /// Several destinations that get copies.
        pub mirrors: Vec<HttpMirrorPolicy>,
        /// Deprecated: share for `mirror` in whole percent.
        pub mirror_percent: Option<u32>,
        /// Share for `mirror`; absent means all.
        pub mirror_percentage: Option<Percent>,
        /// CORS policy.
        pub cors_policy: Option<Box<CorsPolicy>>,
        /// Header edits for every destination of the rule.
        pub headers: Option<Box<Headers>>,
    }

    /// A VirtualService that continues a rule.
    pub struct Delegate {
        /// Its name.
        pub name: String,
        /// Its namespace; empty means the root's.
        pub namespace: String,
    }

    /// Header edits on the way up and on the way back.
    pub struct Headers {
        /// Before the request goes to the destination.
        pub request: Option<HeaderOperations>,
        /// Before the response goes to the client.
        pub response: Option<HeaderOperations>,
    }

    /// Edits of one header map.
    pub struct HeaderOperations {
        /// Overwrite.
        pub set: BTreeMap<String, String>,
        /// Append.
        pub add: BTreeMap<String, String>,
        /// Remove.
        pub remove: Vec<String>,
    }

    /// One TLS rule.
    pub struct TlsRoute {
        /// Conditions.
        pub r#match: Vec<TlsMatchAttributes>,
        /// Weighted destinations.
        pub route: Vec<RouteDestination>,
    }

    /// One TCP rule.
    pub struct TcpRoute {
        /// Conditions.
        pub r#match: Vec<L4MatchAttributes>,
        /// Weighted destinations.
        pub route: Vec<RouteDestination>,
    }

    /// Conditions of one match block; all must hold.
    pub struct HttpMatchRequest {
        /// Name for logs and statistics.
        pub name: String,
        /// Path without query.
        pub uri: Option<StringMatch>,
        /// `:scheme`.
        pub scheme: Option<StringMatch>,
        /// `:method`.
        pub method: Option<StringMatch>,
        /// `:authority`, with its port.
        pub authority: Option<StringMatch>,
        /// Headers that must match. A `null` entry is kept apart from `{}`: Istio refuses it here.
        pub headers: BTreeMap<String, Option<StringMatch>>,
        /// Port of the listener.
        pub port: Option<u32>,
        /// Labels of the calling workload.
        pub source_labels: BTreeMap<String, String>,
        /// Gateways for which the block holds; replaces the rule's.
        pub gateways: Vec<String>,
        /// Query parameters that must match.
        pub query_params: BTreeMap<String, Option<StringMatch>>,
        /// Compare exact and prefix `uri` without regard to case.
        pub ignore_uri_case: bool,
        /// Headers that must not match. `null` means "must be absent", as `{}` does.
        pub without_headers: BTreeMap<String, Option<StringMatch>>,
        /// Namespace of the calling workload.
        pub source_namespace: String,
        /// Prefix of statistics.
        pub stat_prefix: String,
    }

    /// A destination with its share.
    pub struct HttpRouteDestination {
        /// Where to.
        pub destination: Destination,
        /// Share relative to the others.
        pub weight: Option<i32>,
        /// Header edits for this destination alone.
        pub headers: Option<Box<Headers>>,
    }

    /// A destination with its share, for TCP and TLS.
    pub struct RouteDestination {
        /// Where to.
        pub destination: Destination,
        /// Share relative to the others.
        pub weight: Option<i32>,
    }

    /// Conditions of a TCP rule.
    pub struct L4MatchAttributes {
        /// Destination networks.
        pub destination_subnets: Vec<String>,
        /// Port of the listener.
        pub port: Option<u32>,
        /// Source network.
        pub source_subnet: String,
        /// Labels of the calling workload.
        pub source_labels: BTreeMap<String, String>,
        /// Gateways for which the block holds.
        pub gateways: Vec<String>,
        /// Namespace of the calling workload.
        pub source_namespace: String,
    }

    /// Conditions of a TLS rule.
    pub struct TlsMatchAttributes {
        /// Server names.
        pub sni_hosts: Vec<String>,
        /// Destination networks.
        pub destination_subnets: Vec<String>,
        /// Port of the listener.
        pub port: Option<u32>,
        /// Labels of the calling workload.
        pub source_labels: BTreeMap<String, String>,
        /// Gateways for which the block holds.
        pub gateways: Vec<String>,
        /// Namespace of the calling workload.
        pub source_namespace: String,
    }

    /// Answer with a redirect.
    pub struct HttpRedirect {
        /// New path, whole.
        pub uri: String,
        /// New authority.
        pub authority: String,
        /// New port.
        pub port: Option<u32>,
        /// Where the port comes from instead.
        pub derive_port: Option<RedirectPortSelection>,
        /// New scheme.
        pub scheme: String,
        /// Status; absent means 301.
        pub redirect_code: Option<u32>,
        /// Replaces the matched prefix.
        pub prefix_rewrite: String,
    }

    /// Answer at once.
    pub struct HttpDirectResponse {
        /// Status.
        pub status: u32,
        /// Body; absent means empty.
        pub body: Option<HttpBody>,
    }

    /// Body of a direct response.
    pub struct HttpBody {
        /// As text.
        pub string: Option<String>,
        /// As base64.
        pub bytes: Option<String>,
    }

    /// Change path or authority before the request goes on.
    pub struct HttpRewrite {
        /// Replaces the matched prefix, or the whole path for exact and regex matches.
        pub uri: String,
        /// Replaces the authority.
        pub authority: String,
        /// Replaces what a pattern finds in the path.
        pub uri_regex_rewrite: Option<RegexRewrite>,
    }

    /// A pattern and its replacement.
    pub struct RegexRewrite {
        /// RE2 pattern.
        pub r#match: String,
        /// Replacement with `\1` for groups.
        pub rewrite: String,
    }

    /// One of exact, prefix and regex; none of them means presence.
    pub struct StringMatch {
        /// Equal.
        pub exact: Option<String>,
        /// Begins with.
        pub prefix: Option<String>,
        /// RE2 pattern for the whole string.
        pub regex: Option<String>,
    }

    /// Retry policy.
    pub struct HttpRetry {
        /// Attempts after the first.
        pub attempts: Option<i32>,
        /// Limit for each attempt.
        pub per_try_timeout: Option<GoDuration>,
        /// Conditions, joined by commas.
        pub retry_on: String,
        /// Try other localities.
        pub retry_remote_localities: Option<bool>,
        /// Avoid endpoints already tried; absent means yes.
        pub retry_ignore_previous_hosts: Option<bool>,
        /// Base of the exponential back-off.
        pub backoff: Option<GoDuration>,
    }

    /// CORS policy.
    pub struct CorsPolicy {
        /// Deprecated: origins by equality.
        pub allow_origin: Vec<String>,
        /// Origins.
        pub allow_origins: Vec<StringMatch>,
        /// Methods.
        pub allow_methods: Vec<String>,
        /// Request headers.
        pub allow_headers: Vec<String>,
        /// Response headers that scripts may read.
        pub expose_headers: Vec<String>,
        /// How long a preflight may be cached.
        pub max_age: Option<GoDuration>,
        /// Whether credentials may be sent.
        pub allow_credentials: Option<bool>,
        /// What becomes of preflights from other origins.
        pub unmatched_preflights: Option<UnmatchedPreflights>,
    }

    /// Injected faults.
    pub struct HttpFaultInjection {
        /// Delay before forwarding.
        pub delay: Option<Delay>,
        /// Answer with an error instead of forwarding.
        pub abort: Option<Abort>,
    }

    /// An injected delay.
    pub struct Delay {
        /// Deprecated: share in whole percent.
        pub percent: Option<i32>,
        /// How long.
        pub fixed_delay: Option<GoDuration>,
        /// Refused by Istio's own validation.
        pub exponential_delay: Option<GoDuration>,
        /// Share of requests; absent means none.
        pub percentage: Option<Percent>,
    }

    /// An injected error.
    pub struct Abort {
        /// HTTP status.
        pub http_status: Option<i32>,
        /// gRPC status by name or number.
        pub grpc_status: Option<String>,
        /// Refused by Istio's own validation.
        pub http2_error: Option<String>,
        /// Share of requests; absent means none.
        pub percentage: Option<Percent>,
    }

    /// A destination that gets copies, with its share.
    pub struct HttpMirrorPolicy {
        /// Where to.
        pub destination: Destination,
        /// Share of requests; absent means all.
        pub percentage: Option<Percent>,
    }

    /// A share in percent, 0 to 100.
    pub struct Percent {
        /// The number.
        pub value: f64,
    }
}

/// Where the port of a redirect comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum RedirectPortSelection {
    /// 80 or 443 by scheme.
    FromProtocolDefault,
    /// The port the request came in on.
    FromRequestPort,
}

/// What becomes of a CORS preflight from an origin that is not allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum UnmatchedPreflights {
    /// As [`UnmatchedPreflights::Forward`].
    Unspecified,
    /// It goes to the destination.
    Forward,
    /// It is answered 200 without allow-origin.
    Ignore,
}
