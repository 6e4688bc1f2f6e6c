//! From a plan to files: Envoy's bootstrap, and the manifests that bring the filter into a mesh.
//!
//! Nothing is decided here. A [`Plan`](envoy_plan::Plan) says what there is, this crate says it in Envoy's words, and
//! where the plan is silent it says what istiod says. Values are JSON; [`text`] writes them as YAML or JSON.

mod backends;
mod bootstrap;
mod clusters;
mod dynamic;
mod envoy_filter;
mod envoy_gateway;
mod filters;
mod hashing;
mod inbound;
mod limits;
mod listener;
mod localities;
mod mesh;
mod native;
mod profiles;
mod proto;
mod routes;
pub mod text;
mod tls;
mod wasm_plugin;
mod written;

pub use bootstrap::{Options, bootstrap};
pub use dynamic::{BOOTSTRAP_FILE, Dynamic, dynamic};
pub use envoy_filter::{companion, envoy_filter};
pub use envoy_gateway::{EnvoyGateway, envoy_gateway};
pub use mesh::{Code, Manifest, Shipped, TargetRef};
pub use native::{native, route_configuration as native_routes};
pub use routes::profile_route;
pub use text::Format;
pub use wasm_plugin::{Plugin, wasm_plugins};
pub use written::{FILES as DYNAMIC_FILES, is_ours};
