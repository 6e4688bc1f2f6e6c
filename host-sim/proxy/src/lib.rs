//! The standalone proxy: the compiled filter on real sockets.
//!
//! It brings together three things that know nothing of each other: hyper speaks HTTP with clients and endpoints,
//! `host-abi` runs the filter, `upstream` carries out the plan. This crate moves events between them and decides nothing
//! about traffic itself. It knows neither Istio nor files: a [`Deployment`] is handed in, and later another.
//!
//! A worker is one thread with one runtime, one instance of the filter, one listening socket (`SO_REUSEPORT`) and its own
//! connections and counters, so nothing on the way of a request is shared and nothing is locked. [`serve`] starts the
//! workers and gives a [`Handle`] to replace what they serve, and to stop them.
//!
//! # The life of a request
//!
//! 1. `connection` accepts it; `request_head` makes of it the header map that Envoy would show to a filter.
//! 2. `guest` opens a stream and asks the filter, which may change, hold, answer or cut off.
//! 3. `conversation` reads what the filter decided; `upstream` names the endpoint, and the mirrors.
//! 4. `journey` carries one request there over a connection of `connections`, as often as `upstream` says; each copy for a
//!    mirror has a journey of its own, which the client's does not wait for.
//! 5. The answer passes the filter part by part and goes to the client as it comes.
//! 6. The stream is closed and the request counted (`stats`), whoever ended it.
//!
//! # The inbound side
//!
//! With an [`Application`] there are workers of a second kind, in front of it: the same filter with another configuration, and a plan with one
//! cluster. What filters share (Proxy-Wasm's shared data) they share across all workers of both kinds.
//!
//! # What is as in Envoy, and what is not
//!
//! Local replies, retries, timeouts, path normalisation, what is refused with 400 and the headers a client may not send are
//! Envoy's. Not imitated: the response headers `server` and
//! `x-envoy-upstream-service-time`. Known gaps:
//!
//! - Upgrades (WebSocket) are not offered: the request is served as plain HTTP, without its upgrade headers. `CONNECT` is
//!   answered with 405.
//! - A `#fragment` in the path is cut off by the HTTP library before it can be refused with 400. To `<`, `>`, `"` and the
//!   backtick it answers 400 where they may not stand in a URI; Envoy escapes them in a path and lets them pass in a query.
//! - While a client does not read, the response's own limits do not run; the idle limit ends it.
//! - A request that the filter holds across a reload keeps its rules and meets the new plan.
//! - TLS, on either side.
//!
//! Names of endpoints are looked up beside all this, in `dns`; those that requests name themselves
//! (`outboundTrafficPolicy: ALLOW_ANY`) when a connection is opened.

mod admin;
mod callouts;
mod clock;
mod connection;
mod connections;
mod control;
mod conversation;
mod dns;
mod feed;
mod framing;
mod guest;
mod handle;
mod headers;
mod journey;
mod listener;
mod prometheus;
mod random;
mod request_head;
mod settings;
mod shadows;
mod stats;
mod tls;
mod worker;
mod world;

pub use envoy_plan::{Application, PathNormalization};
pub use handle::{Handle, Refused, StartError, serve};
pub use settings::{Deployment, Limits, LogSink, Settings, to_stderr};
