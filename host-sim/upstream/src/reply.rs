//! The answers the router gives itself, in Envoy's words: status, body, response flags and details.
//!
//! The texts are those of Envoy 1.40. Since 1.38 the transport's own reason ("Connection refused") stays out of the
//! body, so every body is one of a few fixed texts.

use std::fmt;

/// Envoy's response flags (`%RESPONSE_FLAGS%`), as bits with the values of the property `response.flags`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Flags(u64);

impl Flags {
    /// Nothing to remark.
    pub const NONE: Self = Self(0);
    /// `UH`: the cluster has no endpoint to choose.
    pub const NO_HEALTHY_UPSTREAM: Self = Self(0x2);
    /// `UT`: the time for the request or for its last attempt was over.
    pub const UPSTREAM_TIMEOUT: Self = Self(0x4);
    /// `UR`: the upstream reset the stream.
    pub const UPSTREAM_REMOTE_RESET: Self = Self(0x10);
    /// `UF`: no connection to the upstream.
    pub const UPSTREAM_CONNECTION_FAILURE: Self = Self(0x20);
    /// `UC`: the upstream closed the connection.
    pub const UPSTREAM_CONNECTION_TERMINATION: Self = Self(0x40);
    /// `FI`: a fault was injected.
    pub const FAULT_INJECTED: Self = Self(0x400);
    /// `UO`: more is under way than the cluster allows.
    pub const UPSTREAM_OVERFLOW: Self = Self(0x80);
    /// `NR`: no route.
    pub const NO_ROUTE: Self = Self(0x100);
    /// `URX`: one more retry was called for, but none was left.
    pub const RETRY_LIMIT_EXCEEDED: Self = Self(0x8000);
    /// `UPE`: what the upstream sent was not HTTP.
    pub const UPSTREAM_PROTOCOL_ERROR: Self = Self(0x80_0000);
    /// `NC`: no such cluster.
    pub const NO_CLUSTER: Self = Self(0x100_0000);
    /// `DF`: the host's name cannot be looked up.
    pub const DNS_RESOLUTION_FAILED: Self = Self(0x400_0000);

    /// In the order of `%RESPONSE_FLAGS%`, where limits on retries are noticed before what they make final.
    const NAMES: [(Self, &'static str); 12] = [
        (Self::RETRY_LIMIT_EXCEEDED, "URX"),
        (Self::UPSTREAM_OVERFLOW, "UO"),
        (Self::NO_HEALTHY_UPSTREAM, "UH"),
        (Self::UPSTREAM_TIMEOUT, "UT"),
        (Self::UPSTREAM_REMOTE_RESET, "UR"),
        (Self::UPSTREAM_CONNECTION_FAILURE, "UF"),
        (Self::UPSTREAM_CONNECTION_TERMINATION, "UC"),
        (Self::FAULT_INJECTED, "FI"),
        (Self::NO_ROUTE, "NR"),
        (Self::UPSTREAM_PROTOCOL_ERROR, "UPE"),
        (Self::NO_CLUSTER, "NC"),
        (Self::DNS_RESOLUTION_FAILED, "DF"),
    ];

    /// The bits of the property `response.flags`.
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// Both together.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether all of `other` are set.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

impl fmt::Display for Flags {
    /// As an access log writes them: `URX,UF`, or `-`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for (flag, name) in Self::NAMES {
            if self.contains(flag) {
                write!(f, "{separator}{name}")?;
                separator = ",";
            }
        }
        if separator.is_empty() { f.write_str("-") } else { Ok(()) }
    }
}

/// An answer in place of an upstream's. To gRPC requests the host translates it, as it does with the filter's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LocalReply {
    /// HTTP status.
    pub status: u16,
    /// Plain text; may be empty.
    pub body: &'static str,
    /// Why, in short.
    pub flags: Flags,
    /// Why, as `%RESPONSE_CODE_DETAILS%` has it.
    pub details: &'static str,
    /// Headers beside those that every such answer has.
    pub headers: &'static [(&'static str, &'static str)],
    /// For gRPC requests, where it is not what the HTTP status stands for.
    pub grpc_status: Option<u16>,
}

impl LocalReply {
    /// What a client is told whose request was not sent because of a limit.
    pub(crate) const OVERLOADED: &'static [(&'static str, &'static str)] = &[("x-envoy-overloaded", "true")];

    /// What the client sent is no HTTP that could be served.
    pub const INVALID_REQUEST: Self = Self {
        status: 400,
        body: "Bad Request",
        flags: Flags::NONE,
        details: "http1.codec_error",
        headers: &[],
        grpc_status: None,
    };

    /// The path cannot be normalised, or has a fragment.
    pub(crate) const BAD_PATH: Self = Self {
        status: 400,
        body: "",
        flags: Flags::NONE,
        details: "path_normalization_failed",
        headers: &[],
        grpc_status: None,
    };

    /// The target is HTTP, but does not begin with a slash: `*`, or what is left of a whole URL that has a query and no path.
    pub const NOT_A_PATH: Self = Self {
        status: 404,
        body: "",
        flags: Flags::NONE,
        details: "absolute_path_rejected",
        headers: &[],
        grpc_status: None,
    };

    /// The profile is unknown: no route matches.
    pub(crate) const ROUTE_NOT_FOUND: Self = Self {
        status: 404,
        body: "",
        flags: Flags::NO_ROUTE,
        details: "route_not_found",
        headers: &[],
        grpc_status: None,
    };

    /// The cluster is unknown, or none is named.
    pub(crate) const CLUSTER_NOT_FOUND: Self = Self {
        status: 503,
        body: "",
        flags: Flags::NO_CLUSTER,
        details: "cluster_not_found",
        headers: &[],
        grpc_status: None,
    };

    /// The cluster has no endpoints.
    pub(crate) const NO_HEALTHY_UPSTREAM: Self = Self {
        status: 503,
        body: "no healthy upstream",
        flags: Flags::NO_HEALTHY_UPSTREAM,
        details: "no_healthy_upstream",
        headers: &[],
        grpc_status: None,
    };

    /// The request names a host that cannot be looked up.
    pub(crate) const DNS_RESOLUTION_FAILURE: Self = Self {
        status: 503,
        body: "DNS resolution failure",
        flags: Flags::DNS_RESOLUTION_FAILED,
        details: "dns_resolution_failure",
        headers: &[],
        grpc_status: None,
    };

    /// Too many hosts have something under way for one more.
    pub(crate) const DNS_CACHE_OVERFLOW: Self = Self {
        status: 503,
        body: "DNS cache overflow",
        flags: Flags::NONE,
        details: "dns_cache_overflow",
        headers: &[],
        grpc_status: None,
    };

    /// The host that the request names is the one that it has reached. Envoy would go round in circles.
    pub(crate) const LOOP: Self = Self {
        status: 502,
        body: "shunt: the request names this proxy itself, and would come back for ever",
        flags: Flags::NONE,
        details: "shunt_loop",
        headers: &[],
        grpc_status: None,
    };

    /// The time for the whole request is over.
    pub(crate) const TIMEOUT: Self = Self::timeout("response_timeout");

    /// The time for the last attempt is over.
    pub(crate) const PER_TRY_TIMEOUT: Self = Self::timeout("upstream_per_try_timeout");

    /// A retry is due, but the request has outgrown what is kept of it.
    pub(crate) const UNREPEATABLE: Self = Self {
        status: 507,
        body: "exceeded request buffer limit while retrying upstream",
        flags: Flags::NONE,
        details: "request_payload_exceeded_retry_buffer_limit",
        headers: &[],
        grpc_status: None,
    };

    const fn timeout(details: &'static str) -> Self {
        Self {
            status: 504,
            body: "upstream request timeout",
            flags: Flags::UPSTREAM_TIMEOUT,
            details,
            headers: &[],
            grpc_status: None,
        }
    }

    #[must_use]
    pub(crate) const fn flagged(mut self, flags: Flags) -> Self {
        self.flags = self.flags.with(flags);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_read_as_in_an_access_log() {
        assert_eq!(Flags::NONE.to_string(), "-");
        assert_eq!(LocalReply::TIMEOUT.flagged(Flags::RETRY_LIMIT_EXCEEDED).flags.to_string(), "URX,UT");
        assert_eq!(Flags::UPSTREAM_TIMEOUT.bits(), 4);
    }
}
