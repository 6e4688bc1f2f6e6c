//! The filter in a mesh: a real istiod, and real Envoys that it configures (`make test-istio`).
//!
//! These tests are ignored unless they are asked for: they need an istiod, which takes minutes to build. So they are
//! compiled and linted with all others, and counted as ignored rather than as skipped for a reason of this machine.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "this is a test")]

mod agent;
mod context;
mod corpus;
mod failing;
mod gateway;
mod k8s;
mod plugins;
mod routes;
mod sidecar;
mod stories;
mod world;
