//! Four ways to run a case, and the native twin, which none of our code takes part in.

mod engine;
mod served;
mod simulator;
mod watched;

pub use engine::Engine;
pub use served::{Envoy, Proxy, render, start_envoy, start_envoy_that_drains};
pub use simulator::InSimulator;

use crate::case::{Case, Request};
use crate::envoy_version::Version;
use crate::escapes;
use crate::fleet::Fleet;
use crate::observed::{Arrival, Reply};
use crate::process;
use crate::servers::Servers;
use host_abi::HeaderMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// All arms that serve sockets. `test` is told to be skipped in part where there is no Envoy.
pub fn of_sockets(test: &str) -> Vec<Box<dyn Arm>> {
    let shunt = || process::shunt().unwrap_or_else(|error| panic!("{error}"));
    let mut arms: Vec<Box<dyn Arm>> = vec![Box::new(Proxy::new(shunt()))];
    match process::envoy() {
        Some(envoy) => {
            arms.push(Box::new(Envoy::new(shunt(), envoy.clone()).expect("the command renders")));
            arms.push(Box::new(Envoy::native(shunt(), envoy).expect("the command renders")));
        }
        None => process::skipped(test, "no Envoy: name one in ENVOY, or run `make test`"),
    }
    arms
}

/// A way to run cases.
pub trait Arm: Sync {
    /// As `skip` names it.
    fn name(&self) -> &'static str;

    /// Which Envoy it is, if it is one.
    fn envoy(&self) -> Option<Version> {
        None
    }

    /// How many cases may run at a time.
    fn parallel(&self) -> usize;

    /// How much later than expected a response may come.
    fn slack(&self) -> Duration;

    /// Makes everything ready for a case, with endpoints of its own.
    ///
    /// # Errors
    ///
    /// The host does not take the configuration, in its own words.
    fn start(&self, case: &Case) -> Result<Box<dyn Running>, String> {
        self.start_on(&Arc::new(Servers::start(case)), case)
    }

    /// The same with endpoints that another arm has as well. A hash chooses by their addresses, so both choose alike. To be asked one
    /// after the other: what arrives is told to whoever asks first.
    ///
    /// # Errors
    ///
    /// As [`start`](Self::start).
    fn start_on(&self, servers: &Arc<Servers>, case: &Case) -> Result<Box<dyn Running>, String>;
}

/// A case under way.
pub trait Running {
    /// Sends one request.
    ///
    /// # Errors
    ///
    /// There is no response.
    fn send(&mut self, request: &Request) -> Result<Reply, String>;

    /// Where the endpoints are.
    fn fleet(&self) -> &Fleet;

    /// What has arrived at endpoints since last asked. At least so many are on their way, if all is right.
    fn arrivals(&mut self, expected: usize) -> Vec<Arrival>;

    /// Where the host takes connections, if it has sockets.
    fn address(&self) -> Option<SocketAddr> {
        None
    }

    /// What the host has said.
    fn log(&self) -> String {
        String::new()
    }
}

/// Every arm by its name.
pub const NAMES: [&str; 5] = ["engine", "simulator", "proxy", "envoy", "native"];

/// The headers of a request as they come from the wire.
fn received(request: &Request) -> impl Iterator<Item = (String, Vec<u8>)> {
    request.headers().map(|(name, value)| (name.to_ascii_lowercase(), escapes::bytes(value)))
}

/// What was observed of a head: all but pseudo headers.
fn plain(head: &HeaderMap) -> Vec<(String, String)> {
    let plain = head.iter().filter(|(name, _)| !name.starts_with(b":"));
    plain.map(|(name, value)| (escapes::text(name), escapes::text(value))).collect()
}

/// A request as an endpoint gets it.
fn arrival(endpoint: &'static str, head: &HeaderMap, body: &[u8]) -> Arrival {
    let pseudo = |name: &str| escapes::text(head.get(name).unwrap_or_default());
    Arrival {
        endpoint,
        method: pseudo(":method"),
        target: pseudo(":path"),
        authority: pseudo(":authority"),
        headers: plain(head),
        body: body.to_vec(),
    }
}
