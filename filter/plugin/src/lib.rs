//! The Proxy-Wasm filter: thin. Callbacks become questions to the engine, its answers become hostcalls.
//!
//! What a rule means stands in `traffic-policy`; nothing here knows weights, matches or retries. Nothing here may trap
//! either: a trap takes the VM and every stream in it along, so header values are bytes, statuses are plain numbers and
//! a bad configuration is refused with its reasons while the running one stays.
//!
//! - [`configuration`](mod@configuration): text or protobuf Struct to a compiled policy
//! - [`explain`](mod@explain): the same policy asked why, by tools
//! - `budgets`: how much may be asked of another version
//! - `context_store`: what is kept of inbound requests for outbound ones
//! - `compact`: JSON text to a value that takes little room
//! - [`pairs`](mod@pairs): the host's encoding of a header map, read in place
//! - [`protobuf`](mod@protobuf): Envoy hands a Struct over undecoded
//! - `guards`: who is out, as this worker knows it, and what all workers know together
//! - `switch`: everything to the stable version, by a request with a secret
//! - `hostcalls`: the calls the SDK would panic in
//! - `metrics`: what is counted
//! - `random`: one generator per VM, seeded by the host
//! - `root`, `stream`: the two contexts

mod compact;
pub mod configuration;
pub mod explain;
pub mod pairs;
pub mod protobuf;

#[cfg(target_arch = "wasm32")]
mod budgets;
#[cfg(target_arch = "wasm32")]
mod context_store;
#[cfg(target_arch = "wasm32")]
mod guards;
#[cfg(target_arch = "wasm32")]
mod hostcalls;
#[cfg(target_arch = "wasm32")]
mod metrics;
#[cfg(target_arch = "wasm32")]
mod random;
#[cfg(target_arch = "wasm32")]
mod root;
#[cfg(target_arch = "wasm32")]
mod stream;
#[cfg(target_arch = "wasm32")]
mod switch;
