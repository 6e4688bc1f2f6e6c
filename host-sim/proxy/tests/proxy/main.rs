//! The proxy end to end: the real filter, real sockets on loopback, upstreams that do as each test says.

mod admin;
mod bodies;
mod lifecycle;
mod mirrors;
mod reload;
mod retries;
mod routing;
mod support;
