//! What the engine says about a request; all of it borrowed.

use crate::headers::Edit;
use crate::route::RuleId;

/// What becomes of a request.
#[derive(Clone, Debug, PartialEq)]
pub enum Decision<'p> {
    /// It goes to a cluster.
    Forward(Forward<'p>),
    /// It is answered here.
    Reply(LocalReply),
}

/// Where a request goes and what changes on the way.
#[derive(Clone, Debug, PartialEq)]
pub struct Forward<'p> {
    /// The rule that decided.
    pub rule: &'p RuleId,
    /// Cluster, by Istio's name.
    pub cluster: &'p str,
    /// Profile route; `None` is the default profile.
    pub profile: Option<&'p str>,
    /// Which of the rule's mirrors get a copy: bit `i` for mirror `i`. The profile carries them out.
    pub mirrors: u64,
    /// New request target, path and query.
    pub path: Option<Vec<u8>>,
    /// New authority.
    pub authority: Option<&'p str>,
    /// Edits of the request headers, in order.
    pub edits: &'p [Edit],
    /// What to ask the policy for when the response comes; `None` when it stays as it is.
    pub response: Option<ResponseRule>,
}

/// Remembers which edits a response meets (`Policy::response_edits`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResponseRule(pub(crate) u32);

/// An answer of the filter itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalReply {
    /// HTTP status.
    pub status: u16,
    /// Body, plain text.
    pub body: &'static str,
    /// Envoy's RESPONSE_CODE_DETAILS, for logs.
    pub details: &'static str,
}

impl LocalReply {
    /// The host is known to no rule and no service.
    pub const UNKNOWN_HOST: Self = Self {
        status: 404,
        body: "shunt: no VirtualService and no service has this host\n",
        details: "shunt_unknown_host",
    };
    /// The host has rules and none of them matches: no fall-back to another host (Istio answers 404 too).
    pub const NO_RULE: Self = Self {
        status: 404,
        body: "shunt: no rule of this host's VirtualService matches the request\n",
        details: "shunt_no_rule",
    };
}
