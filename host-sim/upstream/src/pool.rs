//! A cluster at run time: its endpoints with what is under way on them, and whose turn it is.
//!
//! An exchange holds its pool, so it finishes on the endpoints it started with even when a new plan has replaced them.
//!
//! Limits are those of HTTP/1.1, where a connection carries one request at a time: connections are counted while they carry
//! one. (Envoy counts those without a request too, so there an endpoint may find the limit used up by another's.) Where the
//! limit is reached requests wait for a connection to *their* endpoint, and an endpoint without any always gets its first,
//! both as in Envoy. HTTP/2 connections are not counted: one to each endpoint is enough.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use envoy_plan::{Cluster, Discovery, Locality, UpstreamProtocol, UpstreamTls};

use crate::chooser::Chooser;
use crate::common::Ledger;
use crate::draw::Draws;
use crate::levels::Count;
use crate::load::{Load, Resource, Slot};
use crate::outliers::{Outcome, Outliers};
use crate::passthrough::Passthrough;
use crate::queue::{Queue, Waiting};
use crate::time::Timestamp;

/// One place that answers requests, as a member of one cluster.
#[derive(Debug)]
pub struct Endpoint {
    id: u64,
    cluster: Rc<str>,
    protocol: UpstreamProtocol,
    tls: Option<Rc<UpstreamTls>>,
    spec: envoy_plan::Endpoint,
    /// Its place in the cluster.
    place: usize,
    /// Who waits for a connection to it; shared with the same endpoint of an earlier plan, whose requests make room for later ones.
    pub(crate) queue: Rc<Queue>,
    /// Shared likewise.
    active: Rc<Cell<u32>>,
    joined: Timestamp,
}

impl Endpoint {
    /// A number for connection pools and statistics: the same as long as plans name this address and port in this
    /// cluster with the same protocol and the same TLS, and never another's within one [`crate::Upstreams`].
    pub fn id(&self) -> u64 {
        self.id
    }

    /// The name of its cluster.
    pub fn cluster(&self) -> &str {
        &self.cluster
    }

    /// IP address; or a name that the host looks up itself, where the request has named it or nobody has looked it up before.
    pub fn address(&self) -> &str {
        &self.spec.address
    }

    /// TCP port.
    pub fn port(&self) -> u16 {
        self.spec.port
    }

    /// What is spoken to it.
    pub fn protocol(&self) -> UpstreamProtocol {
        self.protocol
    }

    /// TLS to speak it under; `None`: none.
    pub fn tls(&self) -> Option<&UpstreamTls> {
        self.tls.as_deref()
    }

    /// Labels of the workload, `version` and the like.
    pub fn labels(&self) -> &BTreeMap<String, String> {
        &self.spec.labels
    }

    /// Share relative to its neighbours. 0 counts as 1, as istiod reads it.
    pub fn weight(&self) -> u32 {
        self.spec.weight.max(1)
    }

    /// Its priority; 0 is the first.
    pub(crate) fn priority(&self) -> u32 {
        self.spec.priority
    }

    /// Where it is.
    pub(crate) fn locality(&self) -> &Locality {
        &self.spec.locality
    }

    /// Its place in the cluster.
    pub(crate) fn place(&self) -> usize {
        self.place
    }

    /// Since when plans name it in this cluster.
    pub(crate) fn joined(&self) -> Timestamp {
        self.joined
    }

    /// Attempts and copies under way, from the choice of the endpoint to the end of the answer.
    pub fn active(&self) -> u32 {
        self.active.get()
    }
}

/// An endpoint's time with one attempt. It counts as under way until this is dropped; then its connection is free.
#[derive(Debug)]
pub(crate) struct Turn {
    endpoint: Rc<Endpoint>,
    request: Option<Slot>,
    /// Where connections are limited.
    connection: Option<Slot>,
}

impl Turn {
    fn new(endpoint: Rc<Endpoint>, request: Slot, connection: Option<Slot>) -> Self {
        endpoint.active.set(endpoint.active.get().saturating_add(1));
        Self { endpoint, request: Some(request), connection }
    }

    pub(crate) fn endpoint(&self) -> &Rc<Endpoint> {
        &self.endpoint
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.endpoint.active.set(self.endpoint.active.get().saturating_sub(1));
        // Whoever is woken by the connection finds the request over.
        self.request = None;
        if let Some(connection) = self.connection.take() {
            self.endpoint.queue.hand_over(connection);
        }
    }
}

/// What became of the wish for an endpoint.
#[derive(Debug)]
pub(crate) enum Choice {
    /// It can be sent to.
    Turn(Turn),
    /// It is chosen, and has to be waited for.
    Wait(Waiting),
    /// More is under way than is allowed.
    Overflow,
    /// The cluster has none, or all are ejected.
    Nobody,
}

/// A cluster at run time.
#[derive(Debug)]
pub(crate) struct Pool {
    pub(crate) name: Rc<str>,
    pub(crate) connect_timeout: Duration,
    endpoints: Vec<Rc<Endpoint>>,
    /// Borrowed only while a choice is made, which calls nothing but the host's draws.
    chooser: RefCell<Chooser>,
    pub(crate) load: Arc<Load>,
    outliers: Option<Arc<Outliers>>,
    /// The pools of the hosts that requests name, where that is how endpoints are found.
    pub(crate) passthrough: Option<Passthrough>,
}

impl Pool {
    /// Builds the pool of `cluster`; endpoints that `before` has too keep their number, count and age.
    pub(crate) fn build(
        cluster: &Cluster,
        ledger: Ledger,
        before: Option<&Self>,
        last_id: &Rc<Cell<u64>>,
        now: Timestamp,
    ) -> Self {
        let Cluster {
            name,
            connect_timeout,
            // The chooser has them.
            load_balancing: _,
            warmup: _,
            locality_weights: _,
            // The ledger has them.
            limits: _,
            outliers: _,
            // The host's subject.
            connections: _,
            tls,
            protocol,
            discovery,
            endpoints,
        } = cluster;
        let Ledger { load, outliers, .. } = ledger;
        let passthrough = (*discovery == Discovery::RequestHost).then(|| Passthrough::new(cluster, last_id));
        let name: Rc<str> = Rc::from(name.as_str());
        let mut known: BTreeMap<(&str, u16), &Rc<Endpoint>> = before
            .into_iter()
            .flat_map(|pool| &pool.endpoints)
            .filter(|endpoint| endpoint.protocol == *protocol && endpoint.tls() == tls.as_ref())
            .map(|endpoint| ((endpoint.address(), endpoint.port()), endpoint))
            .collect();
        let tls = tls.clone().map(Rc::new);
        let endpoints: Vec<_> = endpoints
            .iter()
            .enumerate()
            .map(|(place, spec)| {
                let (id, active, queue, joined) = match known.remove(&(spec.address.as_str(), spec.port)) {
                    Some(endpoint) => {
                        (endpoint.id, Rc::clone(&endpoint.active), Rc::clone(&endpoint.queue), endpoint.joined)
                    }
                    None => {
                        last_id.set(last_id.get().saturating_add(1));
                        (last_id.get(), Rc::default(), Rc::default(), now)
                    }
                };
                let (cluster, tls, spec) = (Rc::clone(&name), tls.clone(), spec.clone());
                Rc::new(Endpoint { id, cluster, protocol: *protocol, tls, spec, place, queue, active, joined })
            })
            .collect();
        let chooser = RefCell::new(Chooser::new(cluster, &endpoints, now));
        Self { name, connect_timeout: *connect_timeout, endpoints, chooser, load, outliers, passthrough }
    }

    /// Whether a hash of the request decides.
    pub(crate) fn is_hashed(&self) -> bool {
        self.chooser.borrow().is_hashed()
    }

    /// How many endpoints there are in each priority, and how many of them are in service.
    pub(crate) fn levels(&self, now: Timestamp) -> Vec<Count> {
        let mut chooser = self.chooser.borrow_mut();
        chooser.heed(self.outliers.as_deref(), now);
        chooser.counts()
    }

    /// The endpoint for an attempt.
    ///
    /// While the choice falls on one in `avoid` (numbers) it is made again, up to `redraws` times; then it stands. A hash that
    /// decides, and is not there, is drawn. `priority` is the only one to choose from, where one is said.
    pub(crate) fn choose(
        &self,
        hash: Option<u64>,
        avoid: &[u64],
        redraws: u32,
        priority: Option<u32>,
        now: Timestamp,
        draws: &mut dyn Draws,
    ) -> Choice {
        match self.draw(hash, avoid, redraws, priority, now, draws) {
            Some(endpoint) => self.admit(endpoint),
            None => Choice::Nobody,
        }
    }

    fn draw(
        &self,
        hash: Option<u64>,
        avoid: &[u64],
        redraws: u32,
        priority: Option<u32>,
        now: Timestamp,
        draws: &mut dyn Draws,
    ) -> Option<Rc<Endpoint>> {
        let mut chooser = self.chooser.borrow_mut();
        chooser.heed(self.outliers.as_deref(), now);
        let hash = if chooser.is_hashed() { hash.unwrap_or_else(|| draws.next_u64()) } else { 0 };
        let mut chosen = chooser.choose(hash, 0, priority, now, draws)?;
        for again in 1..=redraws {
            if !avoid.contains(&chosen.id) {
                break;
            }
            chosen = chooser.choose(hash, again, priority, now, draws)?;
        }
        Some(chosen)
    }

    fn admit(&self, endpoint: Rc<Endpoint>) -> Choice {
        if endpoint.protocol == UpstreamProtocol::Http2 || self.load.limits.connections.is_none() {
            return self.start(endpoint, None);
        }
        let connection = match self.load.enter(Resource::Connection) {
            None if endpoint.active() == 0 => Some(self.load.force(Resource::Connection)),
            connection => connection,
        };
        match connection {
            Some(connection) => self.start(endpoint, Some(connection)),
            None => match self.load.enter(Resource::Pending) {
                Some(pending) => Choice::Wait(Waiting::new(endpoint, pending)),
                None => Choice::Overflow,
            },
        }
    }

    /// A request begins on a connection.
    pub(crate) fn start(&self, endpoint: Rc<Endpoint>, connection: Option<Slot>) -> Choice {
        match (self.load.enter(Resource::Request), connection) {
            (Some(request), connection) => Choice::Turn(Turn::new(endpoint, request, connection)),
            (None, Some(connection)) => {
                endpoint.queue.hand_over(connection);
                Choice::Overflow
            }
            (None, None) => Choice::Overflow,
        }
    }

    /// Tells what an attempt came to.
    pub(crate) fn report(&self, endpoint: &Endpoint, outcome: Outcome, now: Timestamp) {
        if let Some(outliers) = &self.outliers {
            outliers.report(endpoint.place, outcome, now);
        }
    }
}
