//! The proxy end to end: the real filter, real sockets on loopback, upstreams that do as each test says.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests are tests too")]

mod admin;
mod bodies;
mod lifecycle;
mod mirrors;
mod names;
mod other_filters;
mod reload;
mod retries;
mod routing;
mod support;
