//! `ShuntPolicy` (`shunt.dev/v1alpha1`): what Istio's API cannot say, attached to the rules of a VirtualService.
//!
//! Fields that Istio has elsewhere keep its names: keys are written as in `consistentHash`.

use crate::GoDuration;
use crate::destination_rule::CookieAttribute;
use crate::virtual_service::{Destination, PortSelector};
use serde::Deserialize;

pub mod attachment;
#[cfg(feature = "tools")]
pub mod schema;

/// The API version of the kind.
pub const API_VERSION: &str = "shunt.dev/v1alpha1";

/// The name of the kind.
pub const KIND: &str = "ShuntPolicy";

raw! {
    /// Policies for rules.
    #[cfg_attr(feature = "tools", derive(schemars::JsonSchema))]
    pub struct ShuntPolicy {
        /// Whose rules. Only `propagate` does without.
        pub target_ref: Option<TargetRef>,
        /// A user stays on a version while weights move.
        pub sticky: Option<Sticky>,
        /// Headers follow a request through services that do not hand them on.
        pub propagate: Option<Propagate>,
        /// The version that stands in for others: where `fallback`, `breaker` and `killSwitch` send requests.
        pub stable: Option<VersionRef>,
        /// Another version is asked where the one that was chosen fails.
        pub fallback: Option<Fallback>,
        /// A version that keeps failing gets no requests for a while.
        pub breaker: Option<Breaker>,
        /// Everything goes to `stable`, at once.
        pub kill_switch: Option<KillSwitch>,
    }

    /// A VirtualService in the policy's namespace, or one rule of it (Gateway API, `LocalPolicyTargetReferenceWithSectionName`).
    #[cfg_attr(feature = "tools", derive(schemars::JsonSchema))]
    pub struct TargetRef {
        /// `networking.istio.io`; absent means that.
        pub group: String,
        /// `VirtualService`; absent means that.
        pub kind: String,
        /// Its name.
        pub name: String,
        /// The `name` of one rule in `spec.http`; absent means all of them.
        pub section_name: String,
    }

    /// Who a user is: the first of these that a request has. The version follows from it and from the weights.
    #[cfg_attr(feature = "tools", derive(schemars::JsonSchema))]
    pub struct Sticky {
        /// First key: a request header.
        pub http_header_name: Option<String>,
        /// Second key: a cookie. Where a request has no key at all it is made.
        pub http_cookie: Option<StickyCookie>,
        /// Third key: a query parameter.
        pub http_query_parameter_name: Option<String>,
        /// Fourth key: the client's address.
        pub use_source_ip: Option<bool>,
        /// Text that goes into the choice: with another salt other users come first.
        pub salt: String,
        /// Where testers name the version they want.
        pub allow_override: Option<StickyOverride>,
    }

    /// A cookie with a user's key, which is made where a request has no key at all.
    #[cfg_attr(feature = "tools", derive(schemars::JsonSchema))]
    pub struct StickyCookie {
        /// Its name.
        pub name: String,
        /// `Path` of a cookie that is made; absent means `/`.
        pub path: String,
        /// `Max-Age` of a cookie that is made, in whole seconds; absent means that it lasts as long as the browser.
        pub ttl: Option<GoDuration>,
        /// Further attributes of a cookie that is made, such as SameSite, Secure and HttpOnly.
        pub attributes: Vec<CookieAttribute>,
    }

    /// A header or a cookie whose value is the name of a version.
    #[cfg_attr(feature = "tools", derive(schemars::JsonSchema))]
    pub struct StickyOverride {
        /// A request header.
        pub http_header_name: Option<String>,
        /// A cookie, by its name.
        pub http_cookie_name: Option<String>,
    }

    /// What is kept of an inbound request, and given to the outbound requests that belong to it.
    #[cfg_attr(feature = "tools", derive(schemars::JsonSchema))]
    pub struct Propagate {
        /// What both have in common; absent means the request's id.
        pub id: Option<ContextId>,
        /// Names of the headers; absent means the usual ones of tracing.
        pub headers: Vec<String>,
        /// Hosts of the services that may get them: names, or wildcards such as `*.shop.svc.cluster.local`.
        pub to: Vec<String>,
        /// Whether what the application sends is replaced.
        pub overwrite: Option<bool>,
        /// How many requests are kept at most.
        pub capacity: Option<u32>,
        /// How long one is kept.
        pub ttl: Option<GoDuration>,
    }

    /// A version, as a rule's destination names it.
    #[cfg_attr(feature = "tools", derive(schemars::JsonSchema))]
    pub struct VersionRef {
        /// Service host; absent means that of the rule's destination.
        pub host: String,
        /// Subset of the host's DestinationRule.
        pub subset: String,
        /// Service port; absent means that of the rule's destination where the host is the same.
        pub port: Option<PortSelector>,
    }

    /// Another version is asked where the one that was chosen fails.
    #[cfg_attr(feature = "tools", derive(schemars::JsonSchema))]
    pub struct Fallback {
        /// What counts as failing, as in `retries.retryOn`; absent means `5xx,reset,connect-failure,refused-stream`. What
        /// the rule's own retries name counts too.
        pub retry_on: String,
        /// How often another version is asked at most; absent means as often as the rule's `retries` say, and once where it has none.
        pub attempts: Option<u32>,
        /// Limit for each attempt, the first too; absent means that of the rule's `retries`.
        pub per_try_timeout: Option<GoDuration>,
        /// Whom to ask: the first of these that is not the version that failed. Absent means `stable`.
        pub to: Vec<VersionRef>,
        /// Requests with these methods are protected; absent means the idempotent ones: GET, HEAD, OPTIONS, TRACE, PUT, DELETE.
        pub methods: Vec<String>,
        /// How many more requests this may cost.
        pub budget: Option<FallbackBudget>,
    }

    /// How many requests may be asked again. It is kept for the last ten seconds, by each worker for itself.
    #[cfg_attr(feature = "tools", derive(schemars::JsonSchema))]
    pub struct FallbackBudget {
        /// Share of the rule's requests in percent; absent means 20.
        pub percent: Option<f64>,
        /// So many a second are always allowed; absent means 10.
        pub min_per_second: Option<u32>,
    }

    /// A version that keeps failing gets no requests for a while.
    #[cfg_attr(feature = "tools", derive(schemars::JsonSchema))]
    pub struct Breaker {
        /// Which answers are failures: `5xx`, `gateway-error` and status codes, as in `retryOn`; absent means `5xx`.
        pub fail_on: String,
        /// An answer that takes longer than this is a failure too.
        pub slower_than: Option<GoDuration>,
        /// So many failures in a row open it; 0 or absent: no matter how many.
        pub consecutive_failures: Option<u32>,
        /// So much of the window's requests failing opens it; absent: no matter how much.
        pub failure_percent: Option<u32>,
        /// With fewer requests in the window `failurePercent` says nothing; absent means 20.
        pub min_requests: Option<u32>,
        /// How far back failures count; absent means 10s.
        pub window: Option<GoDuration>,
        /// How long it stays open at first; absent means 5s. Each time it opens again before it has recovered this doubles.
        pub open_for: Option<GoDuration>,
        /// The longest it stays open; absent means 60s.
        pub max_open_for: Option<GoDuration>,
        /// So many probes must succeed before requests come back; absent means 3.
        pub probes: Option<u32>,
        /// Over so long the version's share comes back, from a tenth to all of it; absent means 10s.
        pub return_over: Option<GoDuration>,
        /// At most so much of a rule's weight is out at once; absent means 100.
        pub max_out_percent: Option<u32>,
    }

    /// Everything goes to `stable`, at once.
    #[cfg_attr(feature = "tools", derive(schemars::JsonSchema))]
    pub struct KillSwitch {
        /// Whether it is on from the start.
        pub on: Option<bool>,
        /// The SHA-256, in hexadecimal digits, of the secret that turns it on and off at run time.
        pub sha256: Option<String>,
    }
}

impl VersionRef {
    /// The destination it means, for a rule with this one.
    pub fn beside(&self, other: &Destination) -> Destination {
        let Self { host, subset, port } = self;
        match host.is_empty() {
            true => Destination {
                host: other.host.clone(),
                subset: subset.clone(),
                port: port.clone().or_else(|| other.port.clone()),
            },
            false => Destination { host: host.clone(), subset: subset.clone(), port: port.clone() },
        }
    }
}

/// What an inbound request and the outbound requests that belong to it have in common.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[cfg_attr(feature = "tools", derive(schemars::JsonSchema))]
pub enum ContextId {
    /// The header `x-request-id`.
    #[default]
    RequestId,
    /// The trace id of `traceparent`, `b3` or `x-b3-traceid`.
    TraceId,
}
