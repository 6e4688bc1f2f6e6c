//! What a request meets: Istio's `http` rules as one pure function.
//!
//! ```text
//! FilterConfig --compile--> Policy --decide(&RequestHead, draws)--> Decision
//! ```
//!
//! [`Policy::compile`] reports every fault of the configuration and returns a policy that needs no second look.
//! [`Policy::decide`] neither fails nor blocks nor logs: the request head and the random draws are handed in, and what it
//! returns borrows from policy and request. Time, chance, files and Proxy-Wasm are elsewhere, so the same code decides
//! in the filter (wasm32), in tests and in tools.
//!
//! - [`hosts`](mod@hosts): the Host header picks a virtual host
//! - [`route`](mod@route): its rules in file order, the first that matches decides
//! - [`index`](mod@index): how the first match is found without walking the list
//! - [`select`](mod@select): weights and the draw
//! - [`sticky`](mod@sticky), [`rendezvous`](mod@rendezvous): users who stay on a version while weights move
//! - [`breaker`](mod@breaker): a version that keeps failing gets nothing for a while
//! - [`fallback`](mod@fallback): another version is asked where one fails
//! - [`headers`](mod@headers), [`format`](mod@format), [`rewrite`](mod@rewrite): what changes on the way
//! - [`propagate`](mod@propagate): context that survives the application
//! - [`trace`](mod@trace): a span of its own for each hop, when asked
//! - [`reply`](mod@reply): what is answered here
//! - [`explain`](mod@explain): the same look-up with everything said and nothing drawn

pub mod breaker;
mod compile;
mod decision;
pub mod explain;
mod fallback;
mod format;
mod headers;
mod hosts;
mod index;
mod matcher;
mod prefixes;
pub mod propagate;
mod ratio;
pub mod rendezvous;
mod reply;
mod request;
mod rewrite;
mod route;
mod select;
mod sticky;
mod table;
mod trace;

pub use compile::Pattern;
pub use decision::{Abort, Decision, Fault, Forward, NewAuthority, ResponseRule};
pub use fallback::{Budget, BudgetRule};
pub use format::Fact;
pub use headers::{Edit, ORIGINAL_HOST_HEADER, ORIGINAL_PATH_HEADER};
pub use reply::LocalReply;
pub use request::{HeaderPair, RequestHead};
pub use route::{Policy, RuleId};
pub use select::Draw;
pub use sticky::{Choice, StickyRule};
