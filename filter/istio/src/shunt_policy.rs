//! `ShuntPolicy` (`shunt.dev/v1alpha1`): what Istio's API cannot say, attached to the rules of a VirtualService.
//!
//! Fields that Istio has elsewhere keep its names: keys are written as in `consistentHash`.

use crate::GoDuration;
use crate::destination_rule::CookieAttribute;
use serde::Deserialize;

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
