//! A cluster at run time: its endpoints with what is under way on them, and whose turn it is.
//!
//! An exchange holds its pool, so it finishes on the endpoints it started with even when a new plan has replaced them.
//! Issue 7's limits (`connectionPool`), outlier detection and hashing belong here: a limit is asked in
//! [`Pool::choose`], and what an attempt came to is known where its [`Turn`] ends.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use envoy_plan::{Cluster, Discovery, UpstreamProtocol};

use crate::balance::Balancer;
use crate::draw::Draws;
use crate::passthrough::Passthrough;

/// One place that answers requests, as a member of one cluster.
#[derive(Debug)]
pub struct Endpoint {
    id: u64,
    cluster: Rc<str>,
    protocol: UpstreamProtocol,
    spec: envoy_plan::Endpoint,
    /// Shared with the same endpoint of an earlier plan.
    active: Rc<Cell<u32>>,
}

impl Endpoint {
    /// A number for connection pools and statistics: the same as long as plans name this address and port in this
    /// cluster with the same protocol, and never another's within one [`crate::Upstreams`].
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

    /// Labels of the workload, `version` and the like.
    pub fn labels(&self) -> &BTreeMap<String, String> {
        &self.spec.labels
    }

    /// Share relative to its neighbours. 0 counts as 1, as istiod reads it.
    pub fn weight(&self) -> u32 {
        self.spec.weight.max(1)
    }

    /// Attempts and copies under way, from the choice of the endpoint to the end of the answer.
    pub fn active(&self) -> u32 {
        self.active.get()
    }
}

/// An endpoint's time with one attempt. It counts as under way until this is dropped.
#[derive(Debug)]
pub(crate) struct Turn {
    endpoint: Rc<Endpoint>,
    /// The endpoint's place in its pool.
    pub(crate) place: usize,
}

impl Turn {
    fn new(endpoint: &Rc<Endpoint>, place: usize) -> Self {
        endpoint.active.set(endpoint.active.get().saturating_add(1));
        Self { endpoint: Rc::clone(endpoint), place }
    }

    pub(crate) fn endpoint(&self) -> &Rc<Endpoint> {
        &self.endpoint
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.endpoint.active.set(self.endpoint.active.get().saturating_sub(1));
    }
}

/// A cluster at run time.
#[derive(Debug)]
pub(crate) struct Pool {
    pub(crate) name: Rc<str>,
    pub(crate) connect_timeout: Duration,
    endpoints: Vec<Rc<Endpoint>>,
    /// Borrowed only while a choice is made, which calls nothing but the host's draws.
    balancer: RefCell<Balancer>,
    /// The pools of the hosts that requests name, where that is how endpoints are found.
    pub(crate) passthrough: Option<Passthrough>,
}

impl Pool {
    /// Builds the pool of `cluster`; endpoints that `before` has too keep their number and count.
    pub(crate) fn build(cluster: &Cluster, before: Option<&Self>, last_id: &Rc<Cell<u64>>) -> Self {
        let Cluster { name, load_balancing, connect_timeout, protocol, discovery, endpoints } = cluster;
        let passthrough = (*discovery == Discovery::RequestHost).then(|| Passthrough::new(cluster, last_id));
        let name: Rc<str> = Rc::from(name.as_str());
        let mut known: BTreeMap<(&str, u16), &Rc<Endpoint>> = before
            .into_iter()
            .flat_map(|pool| &pool.endpoints)
            .filter(|endpoint| endpoint.protocol == *protocol)
            .map(|endpoint| ((endpoint.address(), endpoint.port()), endpoint))
            .collect();
        let endpoints: Vec<_> = endpoints
            .iter()
            .map(|spec| {
                let (id, active) = match known.remove(&(spec.address.as_str(), spec.port)) {
                    Some(endpoint) => (endpoint.id, Rc::clone(&endpoint.active)),
                    None => {
                        last_id.set(last_id.get().saturating_add(1));
                        (last_id.get(), Rc::default())
                    }
                };
                Rc::new(Endpoint { id, cluster: Rc::clone(&name), protocol: *protocol, spec: spec.clone(), active })
            })
            .collect();
        let balancer = RefCell::new(Balancer::new(*load_balancing, &endpoints));
        Self { name, connect_timeout: *connect_timeout, endpoints, balancer, passthrough }
    }

    /// The endpoint for an attempt; `None` if the cluster has none.
    ///
    /// While the choice falls on a place in `avoid` it is made again, up to `redraws` times; then it stands.
    pub(crate) fn choose(&self, avoid: &[usize], redraws: u32, draws: &mut dyn Draws) -> Option<Turn> {
        let mut balancer = self.balancer.borrow_mut();
        let mut place = balancer.choose(&self.endpoints, draws)?;
        for _ in 0..redraws {
            if !avoid.contains(&place) {
                break;
            }
            place = balancer.choose(&self.endpoints, draws)?;
        }
        self.endpoints.get(place).map(|endpoint| Turn::new(endpoint, place))
    }
}
