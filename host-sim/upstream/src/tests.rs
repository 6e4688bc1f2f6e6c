//! The rules of Envoy and Istio, one named test each, told as stories: a set-up, what upstreams do, what must follow.

mod balancing;
mod clusters;
mod fallback;
mod limits;
mod localities;
mod retries;
mod shadows;
mod story;
mod timeouts;
