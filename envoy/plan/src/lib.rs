//! From Istio objects to the *plan*: what carries a decision out once the filter has made it.
//!
//! The filter decides (which version, which edits); something else forwards, retries, times out and mirrors: Envoy,
//! the simulator or the standalone proxy. The plan is what all three execute. It knows nothing about requests and
//! nothing about Envoy's file format.

mod plan;

pub use plan::{
    Backoff, CLUSTER_HEADER, Cluster, DEFAULT_PROFILE, Endpoint, LoadBalancing, PROFILE_HEADER, Plan, Profile, RetryOn,
    RetryPolicy, UpstreamProtocol,
};
