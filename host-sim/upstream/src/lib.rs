//! What Envoy's router and cluster manager do, without I/O: carrying out a plan.
//!
//! The filter decides and writes its decision into request headers; this crate does the rest, for the simulator and
//! the standalone proxy alike, which therefore agree because they are the same code: it finds cluster and profile,
//! chooses endpoints, limits time, tries again, copies to mirrors, and words the answers that no upstream gave. It
//! knows no clock, no random source, no socket and no Wasm: time, draws and answers are handed in.
//!
//! A host's part, for each request:
//!
//! 1. Before the filter sees a request: refuse or rewrite its target by [`arrival::admit`], and drop the headers that are
//!    not [`arrival::is_kept`].
//! 2. [`Ask::read`] the request head as the filter left it, and say where it comes from ([`Ask::source`]); [`Upstreams::begin`] gives the first [`Step`] and the copies, or a
//!    [`LocalReply`].
//! 3. Send to the attempt's endpoint the headers that [`request_head::reaches_upstream`] lets through, with
//!    [`request_head::ATTEMPT_COUNT_HEADER`] as [`Attempt::number`] says, and with what [`Exchange::told`] says.
//!    To the head that [`Step::Deliver`] delivers add what [`Exchange::set_cookies`] says, before the filter sees it.
//! 4. Report to [`Exchange::on`] what happens ([`Event`]) and do what it says ([`Step`]); after each call set the one
//!    timer to [`Exchange::wake_at`]. While it waits for a connection, somebody else's end ends that: see [`Exchange::wake_by`].
//! 5. Drop the exchange when the answer has gone downstream or downstream has gone. That frees what it counted as.
//!
//! The rules are those of Envoy 1.40 under istiod's translation.

pub mod arrival;
mod backoff;
mod balance;
mod chooser;
mod common;
mod draw;
mod exchange;
mod failure;
mod fault;
mod grpc;
mod hash_cookie;
mod hash_keys;
mod hash_table;
mod levels;
mod load;
mod maglev;
mod outliers;
mod pair;
mod passthrough;
mod path;
mod policy;
mod pool;
mod queue;
pub mod referer;
mod reply;
pub mod request_head;
mod retry;
mod ring;
mod schedule;
#[cfg(test)]
mod tests;
mod time;
mod upstreams;
mod warmup;

pub use common::Common;
pub use draw::Draws;
pub use envoy_plan::{CLUSTER_HEADER, PROFILE_HEADER, PathNormalization};
pub use exchange::{Attempt, Event, Exchange, Step};
pub use failure::Failure;
pub use fault::Fault;
pub use hash_keys::{EachHeader, Source, client_address};
pub use pool::Endpoint;
pub use reply::{Flags, LocalReply};
pub use request_head::Ask;
pub use retry::Answer;
pub use time::Timestamp;
pub use upstreams::{Begun, Shadow, Upstreams};
