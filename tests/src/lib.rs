//! What all hosts must agree on: one corpus of cases, and the arms that run it.
//!
//! A case (`corpus/*.yaml`, described in [`case`](mod@case)) says what was written in Istio's API, how upstreams behave,
//! what a client sends and what is to be seen at both ends. Five arms run every case: the engine as native code, the
//! compiled filter in the simulator, `shunt proxy`, real Envoy with what `shunt render envoy` wrote, and with its native twin. An arm only
//! tells what it has observed; [`check`](mod@check) alone compares, so that no arm has an expectation of its own.
//!
//! - [`case`](mod@case): the format of a case, and reading the corpus
//! - [`asked`](mod@asked): endpoints that do what a request asks for
//! - [`escapes`](mod@escapes): bytes that no text can hold
//! - [`fleet`](mod@fleet): the services behind every case
//! - [`arms`](mod@arms): the ways to run one
//! - [`check`](mod@check), [`chance`](mod@chance): what was expected against what was observed
//! - [`corpus`](mod@corpus): all cases in one arm, and a report of every failure
//! - [`differential`](mod@differential): random rules, in every arm against the native twin
//! - [`fidelity`]: rehearsals beside the same stories in real time
//! - [`envoy_version`](mod@envoy_version): what only newer Envoys do
//! - [`servers`](mod@servers), [`client`](mod@client), [`message`](mod@message): raw HTTP/1.1 over loopback
//! - [`forgetful`](mod@forgetful): an application that hands on its request id alone
//! - [`http2`](mod@http2): the client's other protocol
//! - [`docs`](mod@docs): the commands in the documents, run and compared
//! - [`istio`]: a real istiod, and Envoys that it configures
//! - [`process`](mod@process): programs that are started, waited for and ended
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "this crate is tests: a broken assumption is a failed test"
)]

pub mod arms;
pub mod asked;
pub mod case;
pub mod chance;
pub mod check;
pub mod client;
pub mod corpus;
pub mod differential;
pub mod docs;
pub mod envoy_version;
pub mod escapes;
pub mod fidelity;
pub mod fleet;
pub mod forgetful;
pub mod http2;
pub mod istio;
pub mod message;
pub mod observed;
pub mod process;
pub mod schema;
pub mod servers;
