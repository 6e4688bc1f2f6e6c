//! The services of a scenario on the loopback ports that its manifests name.

use super::story::{Scenario, Version};
use crate::chance::SplitMix;
use crate::message::Reader;
use envoy_plan::{Cluster, Plan};
use istio_config::{Config, Diagnostics, yaml};
use std::collections::BTreeMap;
use std::io::Write;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

/// All that run.
pub(super) struct Services {
    running: Vec<(SocketAddr, Arc<Endpoint>, JoinHandle<()>)>,
}

/// One endpoint.
struct Endpoint {
    /// Of its version, as a report writes them.
    labels: String,
    version: Version,
    chance: Mutex<SplitMix>,
    attempts: AtomicU64,
    over: AtomicBool,
}

impl Services {
    /// Starts every endpoint that a version of the scenario describes.
    pub(super) fn start(scenario: &Scenario, manifests: &[PathBuf], seed: u64) -> Result<Self, String> {
        let plan = plan(manifests)?;
        let mut running = Vec::new();
        for service in &scenario.spec.services {
            let clusters = plan.clusters.values().filter(|cluster| is_whole(cluster, &service.host));
            for endpoint in clusters.flat_map(|cluster| &cluster.endpoints) {
                let carries = |version: &&Version| {
                    version.labels.iter().all(|(key, value)| endpoint.labels.get(key) == Some(value))
                };
                let Some(version) = service.versions.iter().find(carries) else { continue };
                let at = format!("{}:{}", endpoint.address, endpoint.port);
                let listener = TcpListener::bind(&at).map_err(|error| format!("{at}: {error}"))?;
                let at = listener.local_addr().map_err(|error| error.to_string())?;
                let endpoint = Arc::new(Endpoint {
                    labels: text(&version.labels),
                    version: version.clone(),
                    chance: Mutex::new(SplitMix::new(seed ^ u64::from(at.port()))),
                    attempts: AtomicU64::new(0),
                    over: AtomicBool::new(false),
                });
                let serving = Arc::clone(&endpoint);
                running.push((at, endpoint, std::thread::spawn(move || accept(&listener, &serving))));
            }
        }
        if running.is_empty() { Err("no endpoint is described".to_owned()) } else { Ok(Self { running }) }
    }

    /// How many attempts each version has had.
    pub(super) fn attempts(&self) -> BTreeMap<String, u64> {
        let mut all = BTreeMap::new();
        for (_, endpoint, _) in &self.running {
            *all.entry(endpoint.labels.clone()).or_default() += endpoint.attempts.load(Ordering::Relaxed);
        }
        all
    }
}

impl Drop for Services {
    fn drop(&mut self) {
        for (at, endpoint, thread) in self.running.drain(..) {
            endpoint.over.store(true, Ordering::Relaxed);
            // Wakes the thread, which then sees that it is over.
            let _ = TcpStream::connect(at);
            let _ = thread.join();
        }
    }
}

/// Labels as a report writes them.
pub(super) fn text(labels: &BTreeMap<String, String>) -> String {
    labels.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(",")
}

/// What the manifests come to.
pub(super) fn plan(manifests: &[PathBuf]) -> Result<Plan, String> {
    let (mut config, mut sources, mut diagnostics) =
        (Config::default(), yaml::Sources::default(), Diagnostics::default());
    for file in manifests {
        let text = std::fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
        yaml::read(&file.display().to_string(), &text, &mut config, &mut sources, &mut diagnostics);
    }
    config.complete(&mut diagnostics);
    Ok(Plan::build(&config, &mut diagnostics).0)
}

/// Whether this is the cluster of the whole service, called by its host or the host's first labels.
fn is_whole(cluster: &Cluster, service: &str) -> bool {
    let mut parts = cluster.name.split('|').skip(2);
    let (subset, host) = (parts.next(), parts.next().unwrap_or_default());
    let begins = host.strip_prefix(service).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
    subset == Some("") && begins
}

fn accept(listener: &TcpListener, endpoint: &Arc<Endpoint>) {
    for stream in listener.incoming() {
        if endpoint.over.load(Ordering::Relaxed) {
            return;
        }
        let (Ok(stream), endpoint) = (stream, Arc::clone(endpoint)) else { continue };
        // Whoever hangs when the others are done is left behind.
        std::thread::spawn(move || serve(&stream, &endpoint));
    }
}

/// One connection, until it ends.
fn serve(mut stream: &TcpStream, endpoint: &Endpoint) {
    let _ = stream.set_nodelay(true);
    let mut reader = Reader::new(stream);
    while let Ok(Some(_)) = reader.request() {
        endpoint.attempts.fetch_add(1, Ordering::Relaxed);
        let answer = {
            let mut chance = endpoint.chance.lock().unwrap_or_else(PoisonError::into_inner);
            endpoint.version.draw(&mut chance).map(|outcome| (outcome, outcome.latency.draw(&mut chance)))
        };
        let Some((outcome, latency)) = answer else { return };
        std::thread::sleep(latency);
        let (status, body) = (outcome.status, &outcome.body);
        let text = format!("HTTP/1.1 {status} \r\ncontent-length: {}\r\n\r\n{body}", body.len());
        if stream.write_all(text.as_bytes()).is_err() {
            return;
        }
    }
}
