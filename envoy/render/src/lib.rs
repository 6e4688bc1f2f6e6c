//! From a plan to files: here Envoy's bootstrap; Kubernetes manifests will stand beside it.
//!
//! Nothing is decided here. A [`Plan`](envoy_plan::Plan) says what there is, this crate says it in Envoy's words, and
//! where the plan is silent it says what istiod says. Values are JSON; [`text`] writes them as YAML or JSON.

mod bootstrap;
mod clusters;
mod dynamic;
mod envoy_filter;
mod filters;
mod listener;
mod native;
mod proto;
mod routes;
pub mod text;

pub use bootstrap::{Options, bootstrap};
pub use dynamic::{BOOTSTRAP_FILE, Dynamic, dynamic};
pub use envoy_filter::{Code, EnvoyFilter, Shipped, TargetRef, envoy_filter};
pub use native::{native, route_configuration as native_routes};
pub use routes::profile_route;
pub use text::Format;
