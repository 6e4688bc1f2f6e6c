//! By what an endpoint is chosen that is to be the same for the same caller (`loadBalancer.consistentHash`).
//!
//! Envoy has the two halves of it in two places. The table, ring hash or Maglev, belongs to the cluster
//! ([`LoadBalancing`](crate::LoadBalancing)); the key belongs to the route, and so to a profile: where a rule has several
//! destinations, the keys of all of them are put together.

use std::fmt;
use std::time::Duration;

/// Envoy's `ring_hash_lb_config.minimum_ring_size` by default; istiod says the same.
pub(crate) const RING_SIZE_MIN: u64 = 1024;

/// The longest ring that Envoy takes.
pub const RING_SIZE_MAX: u64 = 8 * 1024 * 1024;

/// Envoy's `maglev_lb_config.table_size` by default.
pub const TABLE_SIZE: u64 = 65_537;

/// Maglev's tables are smaller than this, for Envoy and for Istio.
pub(crate) const TABLE_SIZE_END: u64 = 5_000_011;

/// Whether Maglev takes a table of so many places: a prime that is not too large, for Envoy and for Istio.
pub fn is_table_size(size: u64) -> bool {
    let mut factors = (2..=size).take_while(|factor| factor.saturating_mul(*factor) <= size);
    (2..TABLE_SIZE_END).contains(&size) && !factors.any(|factor| size.is_multiple_of(factor))
}

/// One key (Envoy's `RouteAction.HashPolicy`). A request without it is left to the next one; without any, to chance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HashKey {
    /// All values of a request header (`httpHeaderName`).
    Header(String),
    /// A cookie (`httpCookie`).
    Cookie(HashCookie),
    /// The client's address (`useSourceIp`).
    SourceIp,
    /// The first value of a query parameter, as it stands there (`httpQueryParameterName`).
    QueryParameter(String),
}

impl fmt::Display for HashKey {
    /// As people are told of it: header `x-user`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Header(name) => write!(f, "header `{name}`"),
            Self::Cookie(cookie) => write!(f, "cookie `{}`", cookie.name),
            Self::SourceIp => f.write_str("address of the client"),
            Self::QueryParameter(name) => write!(f, "query parameter `{name}`"),
        }
    }
}

/// A cookie to choose by, which may be made where it is missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HashCookie {
    /// Its name.
    pub name: String,
    /// `Path` of a cookie that is made; empty for none.
    pub path: String,
    /// `Max-Age` of a cookie that is made, in whole seconds; of zero there is none, so that it lasts as long as the browser.
    /// `None`: no cookie is made.
    pub ttl: Option<Duration>,
    /// Further attributes of a cookie that is made; an empty value stands for the name alone.
    pub attributes: Vec<(String, String)>,
}
