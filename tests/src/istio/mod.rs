//! A real istiod and real Envoys that it configures, on loopback.
//!
//! Istio's control plane is the program `pilot-discovery`, as Istio ships it. It reads its objects from a folder. For
//! the rest it wants a Kubernetes, and meets one in which nothing is; there is no iptables either, so listeners
//! are bound to addresses (`INTERCEPTION_MODE: NONE`), and a client connects to the port that a workload would have
//! been asked for.
//!
//! - [`kubernetes`]: the API server of an empty cluster
//! - [`mesh`]: istiod, the objects that it serves, and its own validation
//! - [`workload`]: an Envoy as a sidecar or as a gateway
//! - [`agent`]: Istio's own program between the two, which fetches the compiled filter
//! - [`download`]: where it fetches that
//! - [`objects`]: objects that tests need beside those of a user
//! - [`render`]: the manifest under test
//! - [`routes`]: what Envoy got, to be compared
//! - [`arm`]: the corpus, with every case's rules in istiod and in the filter
//! - [`server`]: what the servers of these tests have in common

pub mod agent;
pub mod arm;
pub mod download;
pub mod kubernetes;
pub mod mesh;
pub mod objects;
pub mod render;
pub mod routes;
pub mod server;
pub mod workload;

use std::path::PathBuf;

/// The programs that tests with Istio run.
#[derive(Clone, Debug)]
pub struct Programs {
    /// `pilot-discovery`.
    pub istiod: PathBuf,
    /// Envoy.
    pub envoy: PathBuf,
    /// The command.
    pub shunt: PathBuf,
}

impl Programs {
    /// By `$ISTIOD`, `$ENVOY` and as [`crate::process::shunt`] finds the command.
    ///
    /// # Errors
    ///
    /// One is not named or not there, and how to get it.
    pub fn find() -> Result<Self, String> {
        let named = |variable: &str, what: &str| {
            let path = std::env::var_os(variable).map(PathBuf::from);
            path.ok_or_else(|| format!("no {what}: name one in {variable}, or run `make test-istio`"))
        };
        let (istiod, envoy) = (named("ISTIOD", "istiod")?, named("ENVOY", "Envoy")?);
        Ok(Self { istiod, envoy, shunt: crate::process::shunt()? })
    }
}
