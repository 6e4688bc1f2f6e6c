//! From Istio objects to the *plan*: what carries a decision out once the filter has made it.
//!
//! The filter decides (which version, which edits); something else forwards, retries, times out and mirrors: Envoy,
//! the simulator or the standalone proxy. The plan is what all three execute. It knows nothing about requests and
//! nothing about Envoy's file format.
//!
//! Building it ([`Plan::build`]) reads what the filter does not: `retries`, `timeout` and mirrors of a VirtualService,
//! ServiceEntries and DestinationRules. What is wrong with these is reported here and nowhere else; hosts, matches,
//! weights and edits are the policy's subject.

mod application;
mod build;
mod caller;
mod clusters;
mod connection_pool;
mod consistent_hash;
mod destination_rules;
mod destinations;
mod durations;
mod fallback;
mod hash_keys;
mod limits;
mod load_balancer;
mod locality;
mod locality_lb;
mod merging;
mod mirrors;
mod outbound;
mod outliers;
mod path_normalization;
mod plan;
mod profiles;
mod resolution;
mod retries;
mod service_entries;
mod stand_ins;
mod syntax;
mod tls;
mod traffic_policy;
mod warmup;

#[cfg(test)]
mod testing;

pub use application::{APP_CLUSTER, Application};
pub use caller::Caller;
pub use hash_keys::{HashCookie, HashKey, RING_SIZE_MAX, TABLE_SIZE, is_table_size};
pub use limits::{Connections, Limits, OutlierDetection, PerMillion, Pings, RetryBudget, TcpKeepalive};
pub use locality::Locality;
pub use path_normalization::{PathNormalization, UnknownPathNormalization};
pub use plan::{
    Backoff, CLUSTER_HEADER, Cluster, DEFAULT_PROFILE, Discovery, Endpoint, Fallback, LoadBalancing,
    PASSTHROUGH_CLUSTER, PROFILE_HEADER, Plan, Profile, RetryOn, RetryPolicy, UpstreamProtocol,
};
pub use syntax::is_fqdn;
pub use tls::{ClientCertificate, Roots, UpstreamTls};
pub use warmup::Warmup;
