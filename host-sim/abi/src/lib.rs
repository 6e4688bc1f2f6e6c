//! A Proxy-Wasm host (ABI 0.2.0 and 0.2.1) for HTTP filters, on wasmtime.
//!
//! It runs a compiled filter as Envoy does: contexts, header maps that open and close, pausing and resuming, local replies,
//! callouts, ticks, shared data, failure policies. What it does not know is everything around: time, chance, sockets and
//! clusters come through the traits of [`Host`], so a simulator in virtual time and a proxy over sockets run the same code
//! and agree. Nothing here blocks; an answer comes later, by token.
//!
//! # Who does what
//!
//! The *world* (simulator or proxy) tells a [`Vm`] what arrives, part by part, and after each [`Flow::Continue`] and each
//! [`Wakeup`] takes what may go on. It may feed parts while the guest holds the stream: they wait here. Everything else is
//! done here:
//!
//! - What the guest wishes during a callback (resume, cut off, answer) happens when the callback has returned.
//! - A local reply passes the filter's own response callbacks before the world hears of it; the world only takes it.
//! - What happens to a stream from another context's callback is a [`Wakeup`].
//! - After a trap the failure policy holds; the world sees ordinary 503s with details [`FAIL_STREAM`].
//!
//! ```no_run
//! use host_abi::{CalloutAnswer, Flow, HeaderMap, Host, Module, PluginConfig, StreamId, Vm, Woken};
//!
//! # fn forward(_: Option<&HeaderMap>, _: &[u8], _end: bool) {}
//! # fn answer(_: Option<&HeaderMap>, _: &[u8], _end: bool) {}
//! # fn cut_off(_: StreamId) {}
//! fn exchange<H: Host>(wasm: &[u8], host: H) -> Result<(), Box<dyn std::error::Error>> {
//!     let module = Module::compile(wasm)?; // slow, once for all threads
//!     let config = PluginConfig { name: "shunt".into(), configuration: b"{}".to_vec(), ..PluginConfig::default() };
//!     let mut vm = Vm::start(&module, host, config)?;
//!
//!     // A request arrives.
//!     let stream = vm.open_stream();
//!     let head = HeaderMap::from([(":method", "GET"), (":path", "/"), (":authority", "reviews")]);
//!     let flow = vm.request_headers(stream, head, true);
//!     act(&mut vm, stream, flow);
//!
//!     // An upstream has answered.
//!     let flow = vm.response_headers(stream, HeaderMap::from([(":status", "200")]), false);
//!     act(&mut vm, stream, flow);
//!     let flow = vm.response_body(stream, "hello", true);
//!     act(&mut vm, stream, flow);
//!     vm.close_stream(stream); // on_log, on_done, on_delete
//!
//!     // Time passes; a callout is answered. Either may move other streams.
//!     if vm.tick_due().is_some_and(|due| due <= vm.host().monotonic_ns()) {
//!         vm.tick();
//!     }
//!     vm.callout_answered(4, CalloutAnswer::new(HeaderMap::from([(":status", "503")]), "no healthy upstream"));
//!     while let Some(wakeup) = vm.next_wakeup() {
//!         let flow = match wakeup.what {
//!             Woken::Request | Woken::Response => Flow::Continue,
//!             Woken::LocalReply { details } => Flow::LocalReply { details },
//!             Woken::Reset { details } => Flow::Reset { details },
//!         };
//!         act(&mut vm, wakeup.stream, flow);
//!     }
//!     Ok(())
//! }
//!
//! /// Takes what may go on. Both directions are asked: what has nothing gives nothing.
//! fn act<H: Host>(vm: &mut Vm<H>, stream: StreamId, flow: Flow) {
//!     match flow {
//!         Flow::Reset { .. } => cut_off(stream),
//!         Flow::Pause => {}
//!         Flow::Continue | Flow::LocalReply { .. } => {
//!             if matches!(flow, Flow::Continue) && let Some(part) = vm.take_request(stream) {
//!                 forward(part.headers, &part.body, part.end);
//!             }
//!             if let Some(part) = vm.take_response(stream) {
//!                 answer(part.headers, &part.body, part.end);
//!             }
//!         }
//!     }
//! }
//! ```
//!
//! # What a world must still do
//!
//! - Limit buffers: parts that wait for the guest are kept without limit here ([`Vm::held_bytes`]).
//! - Frame bodies anew: the guest may have changed their length ([`Danger::BodyLengthChanged`]).
//! - Refuse header maps with line breaks or odd names before writing them ([`HeaderMap::first_invalid`]).
//! - Give up on streams whose guest never lets go: in Envoy too only the idle timeout does.
//! - Choose the route again when the guest asks for it ([`Vm::take_route_cleared`]).

mod body;
mod callout;
mod canary;
mod config;
mod driver;
mod exports;
mod failure;
mod half;
mod headers;
mod host;
mod hostcalls;
mod instance;
mod local_reply;
mod memory;
mod metrics;
mod module;
mod pairs;
mod question;
mod root;
mod roots;
mod shared;
mod singular;
mod state;
mod status;
mod stream;
mod streams;
mod types;
mod vm;

pub use callout::CalloutAnswer;
pub use config::PluginConfig;
pub use driver::{Flow, Wakeup, Woken};
pub use failure::FailurePolicy;
pub use half::Released;
pub use headers::HeaderMap;
pub use host::{Callout, CalloutError, Callouts, Clock, Danger, Entropy, Host, Log, Metrics, Properties};
pub use local_reply::{CLOSE_STREAM, FAIL_STREAM, LocalReply, is_grpc};
pub use metrics::{BUCKETS, Gauge, Gauges, Histogram, Metric, MetricError, MetricStore};
pub use module::{CompileError, Module};
pub use question::AskError;
pub use shared::SharedStore;
pub use status::Status;
pub use stream::StreamId;
pub use streams::Closed;
pub use types::{LogLevel, MetricKind};
pub use vm::{ConfigureError, StartError, Vm};
