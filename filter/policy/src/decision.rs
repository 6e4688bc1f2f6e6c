//! What the engine says about a request; most of it borrowed.

use crate::breaker::Watch;
use crate::headers::Edit;
use crate::reply::LocalReply;
use crate::route::RuleId;
use crate::sticky::Choice;
use istio_config::names::PASSTHROUGH_CLUSTER;

/// What becomes of a request.
#[derive(Clone, Debug, PartialEq)]
pub enum Decision<'p> {
    /// It goes to a cluster.
    Forward(Forward<'p>),
    /// It is answered here.
    Reply(LocalReply<'p>),
    /// It is left to the routes of whoever owns the listener: none of the rules is for its host.
    Pass,
}

/// Where a request goes and what changes on the way.
#[derive(Clone, Debug, PartialEq)]
pub struct Forward<'p> {
    /// The rule that decided.
    pub rule: &'p RuleId,
    /// Which of the policy's targets.
    pub(crate) target: u32,
    /// Cluster: the version's, or one that asks another version where that fails.
    pub cluster: &'p str,
    /// Cluster of the version that was chosen, by Istio's name.
    pub version: &'p str,
    /// The budget that pays if another version is asked. `None`: no other may be.
    pub budget: Option<u32>,
    /// What its answer counts for, where somebody watches the version.
    pub watch: Option<Watch>,
    /// How the version came about, where users stay on one (`ShuntPolicy.sticky`).
    pub choice: Option<Choice>,
    /// Profile route; `None` is the default profile.
    pub profile: Option<&'p str>,
    /// Which of the rule's mirrors get a copy: bit `i` for mirror `i`. The profile carries them out.
    pub mirrors: u64,
    /// New request target, path and query.
    pub path: Option<Vec<u8>>,
    /// New authority.
    pub authority: Option<&'p NewAuthority>,
    /// Edits of the request headers, in order.
    pub edits: Vec<Edit<'p>>,
    /// The fault that was drawn, for the host to inject before it forwards.
    pub fault: Fault,
    /// What to ask the policy for when the response comes; `None` when it stays as it is.
    pub response: Option<ResponseRule>,
}

impl Forward<'_> {
    /// Whether nothing but the request itself says where it goes (`outboundTrafficPolicy: ALLOW_ANY`).
    pub(crate) fn passes_through(&self) -> bool {
        self.cluster == PASSTHROUGH_CLUSTER
    }
}

/// A new `:authority`, with what Envoy tells the upstream of the old one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewAuthority {
    pub(crate) name: Box<str>,
    pub(crate) original: OriginalHost,
}

/// What stands in `x-envoy-original-host`. Envoy's routes write it, and its weighted clusters do not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum OriginalHost {
    /// What the client sent.
    Client,
    /// What the destination, one of several, had written before the rule did.
    Destination(Box<str>),
    /// Nothing: only the destination, one of several, writes.
    Untold,
}

impl NewAuthority {
    /// The new authority.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The value of `x-envoy-original-host`, given what the client sent; `None`: it is not written.
    pub fn original<'a>(&'a self, client: &'a [u8]) -> Option<&'a [u8]> {
        match &self.original {
            OriginalHost::Client => Some(client),
            OriginalHost::Destination(name) => Some(name.as_bytes()),
            OriginalHost::Untold => None,
        }
    }
}

/// A drawn fault (`HTTPFaultInjection`). The delay comes first, does not count against the timeout, and an aborted request is
/// neither forwarded nor retried nor mirrored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fault {
    /// Milliseconds to wait.
    pub delay_ms: Option<u64>,
    /// Answer instead of forwarding.
    pub abort: Option<Abort>,
}

/// How a request is aborted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Abort {
    /// With this HTTP status.
    Http(u16),
    /// With this gRPC status.
    Grpc(u16),
}

/// What of a request its response needs (`Policy::response_edits`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResponseRule {
    /// Whose response edits apply.
    pub(crate) target: u32,
    /// Values that were known when the request was decided, in the order of the edits.
    pub(crate) early: Vec<Vec<u8>>,
    /// The action whose CORS policy allowed this origin.
    pub(crate) cors: Option<(u32, Vec<u8>)>,
    /// The action whose policy made a cookie, and the cookie's value.
    pub(crate) new_cookie: Option<(u32, String)>,
    /// Whether edits look at the response's headers.
    pub(crate) needs_headers: bool,
}

impl ResponseRule {
    /// Whether [`Policy::response_edits`](crate::Policy::response_edits) looks at the response's headers; otherwise it may be
    /// given none.
    pub fn needs_headers(&self) -> bool {
        self.needs_headers
    }
}
