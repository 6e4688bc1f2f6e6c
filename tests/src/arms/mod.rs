//! Four ways to run a case.

mod engine;
mod served;
mod simulator;
mod watched;

pub use engine::Engine;
pub use served::{Envoy, Proxy, render, start_envoy};
pub use simulator::InSimulator;

use crate::case::{Case, Request};
use crate::observed::{Arrival, Reply};
use std::net::SocketAddr;
use std::time::Duration;

/// A way to run cases.
pub trait Arm: Sync {
    /// As `skip` names it.
    fn name(&self) -> &'static str;

    /// How many cases may run at a time.
    fn parallel(&self) -> usize;

    /// How much later than expected a response may come.
    fn slack(&self) -> Duration;

    /// Makes everything ready for a case.
    ///
    /// # Errors
    ///
    /// The host does not take the configuration, in its own words.
    fn start(&self, case: &Case) -> Result<Box<dyn Running>, String>;
}

/// A case under way.
pub trait Running {
    /// Sends one request.
    ///
    /// # Errors
    ///
    /// There is no response.
    fn send(&mut self, request: &Request) -> Result<Reply, String>;

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
pub const NAMES: [&str; 4] = ["engine", "simulator", "proxy", "envoy"];

/// What Envoy removes from the request of a client it does not know (`cleanInternalHeaders`), and does not show to a
/// filter. The engine and the simulator begin behind that, so their arms do it.
const CLIENT_MAY_NOT_SEND: [&str; 12] = [
    "x-envoy-internal",
    "x-envoy-retry-on",
    "x-envoy-retry-grpc-on",
    "x-envoy-max-retries",
    "x-envoy-retriable-status-codes",
    "x-envoy-retriable-header-names",
    "x-envoy-upstream-alt-stat-name",
    "x-envoy-upstream-rq-timeout-ms",
    "x-envoy-upstream-rq-per-try-timeout-ms",
    "x-envoy-upstream-rq-timeout-alt-response",
    "x-envoy-expected-rq-timeout-ms",
    "x-envoy-hedge-on-per-try-timeout",
];

/// The headers of a request as a filter meets them.
fn received(request: &Request) -> impl Iterator<Item = (String, &str)> {
    let headers = request.headers().map(|(name, value)| (name.to_ascii_lowercase(), value));
    headers.filter(|(name, _)| !CLIENT_MAY_NOT_SEND.contains(&name.as_str()))
}
