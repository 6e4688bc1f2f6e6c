//! Names of endpoints (`ServiceEntry.resolution: DNS` and `DNS_ROUND_ROBIN`), looked up by the system's resolver: before a
//! deployment is served, and again every few seconds.
//!
//! The resolver tells no time to live, so the interval is fixed. As in Envoy, a look-up that fails changes nothing: the
//! last addresses are used, and a name that has never been found has no endpoint, which is a 503. Where a name has addresses
//! of both kinds, those of IPv4 are used.
//!
//! A look-up can take as long as a dead name server makes it; so it never happens while something is locked, and never in a
//! worker's thread.

use crate::control::Workers;
use crate::settings::{Deployment, LogSink};
use crate::tls::Contexts;
use envoy_plan::Plan;
use host_abi::LogLevel;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr, ToSocketAddrs, UdpSocket};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// How often names are looked up again.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// How long a new deployment waits for its names.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long the look-up between takes at most; the system gives up earlier.
const PATIENCE_BETWEEN: Duration = Duration::from_secs(120);

/// How many names are looked up at a time.
const THREADS: usize = 8;

/// Addresses by name, or why there are none.
type Found = BTreeMap<String, Result<Vec<IpAddr>, String>>;

/// What is served: what was handed in, and the same with addresses in place of names.
pub(crate) struct Served {
    /// The plan with names.
    written: Arc<Plan>,
    /// The plan in here has addresses.
    pub(crate) deployment: Deployment,
    /// How endpoints are spoken to under TLS.
    pub(crate) tls: Contexts,
    addresses: BTreeMap<String, Vec<IpAddr>>,
    /// Names whose last look-up failed, which was said.
    failing: BTreeSet<String>,
}

impl Served {
    /// Looks up the names of a deployment, as far as `before` does not know them, for some seconds at most.
    pub(crate) fn new(deployment: Deployment, tls: Contexts, before: Option<&Mutex<Self>>, log: &LogSink) -> Self {
        let written = Arc::clone(&deployment.plan);
        let mut names = written.names();
        let mut addresses = BTreeMap::new();
        if let Some(before) = before {
            let before = lock(before);
            for name in &names {
                addresses
                    .extend(before.addresses.get_key_value(name).map(|(name, known)| (name.clone(), known.clone())));
            }
        }
        names.retain(|name| !addresses.contains_key(name));
        let mut served = Self { written, deployment, tls, addresses, failing: BTreeSet::new() };
        served.learn(look_up(names, PATIENCE), log);
        served
    }

    /// Takes new addresses over. Whether the plan that is to be served has changed.
    fn learn(&mut self, found: Found, log: &LogSink) -> bool {
        for (name, found) in found {
            match found {
                Ok(addresses) => {
                    self.failing.remove(&name);
                    let known = self.addresses.entry(name).or_default();
                    // The order changes from answer to answer and means nothing; a logical name stays where it is.
                    if known.iter().collect::<BTreeSet<_>>() != addresses.iter().collect() {
                        *known = addresses;
                    }
                }
                Err(reason) => {
                    let then = match self.addresses.contains_key(&name) {
                        true => "the addresses it had are used",
                        false => "its requests are answered 503 until it can be",
                    };
                    if self.failing.insert(name.clone()) {
                        log(LogLevel::Warn, &format!("cannot look up {name} ({reason}): {then}"));
                    }
                }
            }
        }
        let resolved = self.written.resolved(&self.addresses);
        let changed = resolved != *self.deployment.plan;
        if changed {
            self.deployment.plan = Arc::new(resolved);
        }
        changed
    }
}

/// A poisoned lock only says that another thread died; what it guards is whole.
fn lock(served: &Mutex<Served>) -> MutexGuard<'_, Served> {
    served.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Looks names up again and again, and tells the workers what has changed, until `stop` is dropped.
pub(crate) fn run(current: &Mutex<Served>, workers: &Workers, stop: &Receiver<()>, log: &LogSink) {
    while let Err(RecvTimeoutError::Timeout) = stop.recv_timeout(LOOK_EVERY) {
        let written = Arc::clone(&lock(current).written);
        let found = look_up(written.names(), PATIENCE_BETWEEN);
        let mut served = lock(current);
        // Another deployment may be served meanwhile; it has seen to its own names.
        if !found.is_empty() && Arc::ptr_eq(&served.written, &written) && served.learn(found, log) {
            // Still locked, so that no deployment is overtaken.
            workers.resolve(&served.deployment.plan);
        }
    }
}

/// Looks up several names at a time. Those that take longer than `patience` are told as failures.
fn look_up(names: BTreeSet<String>, patience: Duration) -> Found {
    let threads = names.len().min(THREADS);
    let mut found: Found = names.iter().map(|name| (name.clone(), Err("no answer in time".to_owned()))).collect();
    let waiting = Arc::new(Mutex::new(names.into_iter()));
    let (tell, told) = mpsc::channel();
    for _ in 0..threads {
        let (waiting, tell) = (Arc::clone(&waiting), tell.clone());
        let work = move || {
            loop {
                let name = waiting.lock().unwrap_or_else(PoisonError::into_inner).next();
                let Some(name) = name else { return };
                let addresses = addresses(&name);
                // Nobody waits any longer.
                if tell.send((name, addresses)).is_err() {
                    return;
                }
            }
        };
        // Without a thread its names are not answered in time, and asked for again.
        let _ = thread::Builder::new().name("shunt-look-up".to_owned()).spawn(work);
    }
    drop(tell);
    let until = Instant::now() + patience;
    while let Ok((name, addresses)) = told.recv_timeout(until.saturating_duration_since(Instant::now())) {
        found.insert(name, addresses);
    }
    found
}

fn addresses(name: &str) -> Result<Vec<IpAddr>, String> {
    let found = (name, 0).to_socket_addrs().map_err(|error| {
        let error = error.to_string();
        error.trim_start_matches("failed to lookup address information: ").to_owned()
    })?;
    let found = preferred(found.collect());
    if found.is_empty() { Err("no address".to_owned()) } else { Ok(found.iter().map(SocketAddr::ip).collect()) }
}

/// Those of IPv4 where there are any (Envoy's `V4_PREFERRED`).
pub(crate) fn preferred(mut addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    if addresses.iter().any(SocketAddr::is_ipv4) {
        addresses.retain(SocketAddr::is_ipv4);
    }
    addresses
}

/// Whether a connection to `address` would come back to one of our `own` listening addresses.
pub(crate) fn comes_back(address: SocketAddr, own: &[SocketAddr]) -> bool {
    // An address is of this machine exactly if a socket can be bound to it.
    let is_local = || address.ip().is_loopback() || UdpSocket::bind((address.ip(), 0)).is_ok();
    own.iter().any(|own| {
        own.port() == address.port()
            && (own.ip() == address.ip() || address.ip().is_unspecified() || own.ip().is_unspecified() && is_local())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use envoy_plan::{Cluster, Discovery, Endpoint};

    fn deployment(names: &[&str], discovery: Discovery) -> Deployment {
        let endpoint =
            |name: &&str| Endpoint { address: (*name).to_owned(), port: 80, weight: 1, ..Endpoint::default() };
        let cluster = Cluster {
            name: "c".to_owned(),
            connect_timeout: Duration::from_secs(1),
            discovery,
            endpoints: names.iter().map(endpoint).collect(),
            ..Cluster::default()
        };
        let clusters = BTreeMap::from([(cluster.name.clone(), cluster)]);
        Deployment {
            plan: Arc::new(Plan { clusters, ..Plan::default() }),
            filter_configuration: Vec::new(),
            inbound_configuration: Vec::new(),
        }
    }

    fn log() -> (LogSink, Arc<Mutex<Vec<String>>>) {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&lines);
        (Arc::new(move |_, line: &str| sink.lock().unwrap().push(line.to_owned())), lines)
    }

    fn endpoints(served: &Served) -> Vec<String> {
        served.deployment.plan.clusters["c"].endpoints.iter().map(|endpoint| endpoint.address.clone()).collect()
    }

    fn found(name: &str, addresses: Result<&[&str], &str>) -> Found {
        let parsed = addresses.map(|list| list.iter().map(|text| text.parse().unwrap()).collect());
        BTreeMap::from([(name.to_owned(), parsed.map_err(str::to_owned))])
    }

    #[test]
    fn names_are_looked_up_before_anything_is_served() {
        let (log, lines) = log();
        let served = Served::new(
            deployment(&["localhost", "nowhere.invalid"], Discovery::StrictDns),
            Contexts::default(),
            None,
            &log,
        );
        assert_eq!(endpoints(&served), ["127.0.0.1"]);
        let lines = lines.lock().unwrap();
        assert!(lines.len() == 1 && lines[0].starts_with("cannot look up nowhere.invalid ("), "{lines:?}");
        assert!(lines[0].ends_with("answered 503 until it can be"), "{lines:?}");
    }

    #[test]
    fn a_failure_keeps_the_last_addresses_and_is_said_once() {
        let (log, lines) = log();
        let mut served = Served::new(deployment(&["127.0.0.9"], Discovery::StrictDns), Contexts::default(), None, &log);
        served.written = deployment(&["a.test"], Discovery::StrictDns).plan;
        assert!(served.learn(found("a.test", Ok(&["10.0.0.1", "10.0.0.2"])), &log));
        for _ in 0..2 {
            assert!(!served.learn(found("a.test", Err("no route")), &log));
        }
        assert_eq!(endpoints(&served), ["10.0.0.1", "10.0.0.2"]);
        let said = "cannot look up a.test (no route): the addresses it had are used".to_owned();
        assert_eq!(*lines.lock().unwrap(), std::slice::from_ref(&said));
        assert!(served.learn(found("a.test", Ok(&["10.0.0.3"])), &log));
        assert_eq!(endpoints(&served), ["10.0.0.3"]);
        served.learn(found("a.test", Err("no route")), &log);
        assert_eq!(*lines.lock().unwrap(), [said.clone(), said]);
    }

    #[test]
    fn another_order_of_the_same_addresses_changes_nothing() {
        let (log, _) = log();
        let mut served =
            Served::new(deployment(&["127.0.0.9"], Discovery::LogicalDns), Contexts::default(), None, &log);
        served.written = deployment(&["a.test"], Discovery::LogicalDns).plan;
        assert!(served.learn(found("a.test", Ok(&["10.0.0.1", "10.0.0.2"])), &log));
        assert!(!served.learn(found("a.test", Ok(&["10.0.0.2", "10.0.0.1"])), &log));
        assert_eq!(endpoints(&served), ["10.0.0.1"]);
    }

    #[test]
    fn a_further_deployment_knows_what_the_last_one_knew() {
        let (log, _) = log();
        let mut first = Served::new(deployment(&["127.0.0.9"], Discovery::StrictDns), Contexts::default(), None, &log);
        first.addresses.insert("a.invalid".to_owned(), vec![[10, 0, 0, 1].into()]);
        let next = Served::new(
            deployment(&["a.invalid"], Discovery::StrictDns),
            Contexts::default(),
            Some(&Mutex::new(first)),
            &log,
        );
        assert_eq!(endpoints(&next), ["10.0.0.1"]);
    }

    #[test]
    fn the_older_kind_of_address_is_preferred() {
        let parse = |list: &[&str]| list.iter().map(|text| text.parse().unwrap()).collect::<Vec<SocketAddr>>();
        assert_eq!(preferred(parse(&["[::1]:1", "127.0.0.1:1"])), parse(&["127.0.0.1:1"]));
        assert_eq!(preferred(parse(&["[::1]:1"])), parse(&["[::1]:1"]));
    }

    #[test]
    fn what_would_come_back_is_known() {
        let check = |address: &str, own: &str| comes_back(address.parse().unwrap(), &[own.parse().unwrap()]);
        assert!(check("127.0.0.1:80", "127.0.0.1:80"));
        assert!(check("127.0.0.1:80", "0.0.0.0:80") && check("127.0.0.2:80", "0.0.0.0:80"));
        assert!(check("0.0.0.0:80", "127.0.0.1:80"));
        assert!(!check("127.0.0.1:81", "127.0.0.1:80") && !check("127.0.0.2:80", "127.0.0.1:80"));
        // An address for documentation, which no machine has.
        assert!(!check("192.0.2.1:80", "0.0.0.0:80"));
    }
}
