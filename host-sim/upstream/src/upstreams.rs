//! The plan at work: which cluster and profile a request names, and the copies its profile asks for.
//!
//! One `Upstreams` serves one worker (one thread), as Envoy keeps load balancers and counts per worker.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use envoy_plan::Plan;

use crate::common::Common;
use crate::draw::Draws;
use crate::exchange::{Exchange, Step};
use crate::hash_keys;
use crate::pair::Pair;
use crate::policy::Policy;
use crate::pool::Pool;
use crate::reply::LocalReply;
use crate::request_head::Ask;
use crate::retry::Retry;
use crate::time::Timestamp;

/// A request that has found its cluster.
#[derive(Debug)]
pub struct Begun {
    /// The request and all its attempts.
    pub exchange: Exchange,
    /// What to do now: [`Step::Attempt`] or [`Step::Queue`].
    pub step: Step,
    /// The copies, to be started beside it; empty and not allocated for most requests.
    pub shadows: Vec<Shadow>,
}

/// A copy of a request for a mirror. It is driven like any exchange (which makes one attempt and has the time of the
/// original, so tell it of [`crate::Event::Received`] too); whatever it ends with is dropped, and what happens to it
/// never touches the original.
#[derive(Debug)]
pub struct Shadow {
    /// The copy on its way.
    pub exchange: Exchange,
    /// What to do now: [`Step::Attempt`] or [`Step::Queue`].
    pub step: Step,
}

/// The clusters and profiles of a plan with their state, for one worker.
#[derive(Debug)]
pub struct Upstreams {
    plan: Arc<Plan>,
    pools: BTreeMap<String, Rc<Pool>>,
    policies: BTreeMap<String, Rc<Policy>>,
    /// The first profile of the plan.
    default_policy: Rc<Policy>,
    common: Common,
    last_endpoint_id: Rc<Cell<u64>>,
    dropped_shadows: Cell<u64>,
}

impl Upstreams {
    /// Makes `plan` ready for use, by one worker alone.
    pub fn new(plan: Arc<Plan>, now: Timestamp) -> Self {
        Self::sharing(plan, Common::default(), now)
    }

    /// The same for one worker of several that count together.
    pub fn sharing(plan: Arc<Plan>, common: Common, now: Timestamp) -> Self {
        let mut upstreams = Self {
            plan: Arc::default(),
            pools: BTreeMap::new(),
            policies: BTreeMap::new(),
            default_policy: Rc::default(),
            common,
            last_endpoint_id: Rc::default(),
            dropped_shadows: Cell::new(0),
        };
        upstreams.replace_plan(plan, now);
        upstreams
    }

    /// Serves later requests by `plan`. Exchanges under way finish on what they started with. An unchanged cluster
    /// keeps all its state; in a changed one the endpoints that stay, by address and port, keep their number and count, and others
    /// join now.
    pub fn replace_plan(&mut self, plan: Arc<Plan>, now: Timestamp) {
        let mut pools = BTreeMap::new();
        for (name, cluster) in &plan.clusters {
            let before = self.pools.get(name);
            let pool = match before {
                Some(pool) if self.plan.clusters.get(name) == Some(cluster) => Rc::clone(pool),
                _ => {
                    let ledger = self.common.ledger(cluster);
                    Rc::new(Pool::build(cluster, ledger, before.map(Rc::as_ref), &self.last_endpoint_id, now))
                }
            };
            pools.insert(name.clone(), pool);
        }
        self.pools = pools;
        self.common.keep(&plan);
        let compiled = |profile| Rc::new(Policy::compile(profile));
        self.policies = plan.profiles.iter().map(|profile| (profile.name.clone(), compiled(profile))).collect();
        self.default_policy = plan.profiles.first().map(compiled).unwrap_or_default();
        self.plan = plan;
    }

    /// The plan in force.
    pub fn plan(&self) -> &Arc<Plan> {
        &self.plan
    }

    /// How many copies had no cluster or no endpoint to go to, or were one too many there.
    pub fn dropped_shadows(&self) -> u64 {
        self.dropped_shadows.get()
    }

    /// Finds the cluster and the profile of a request and starts its first attempt.
    ///
    /// # Errors
    ///
    /// The answer to give where there is nothing to start: 404 `NR` for an unknown profile (no route matches), 503
    /// `NC` for an unknown, empty or missing cluster name, 503 `UH` for a cluster without endpoints in service, 503 `UO` where
    /// more is under way than it allows; of a request that passes through, 503 when its Host is none. No copies are made then.
    pub fn begin(&self, ask: &Ask<'_>, now: Timestamp, draws: &mut dyn Draws) -> Result<Begun, LocalReply> {
        let policy = self.policy(ask.profile).ok_or(LocalReply::ROUTE_NOT_FOUND)?;
        let name = ask.cluster.unwrap_or_default();
        let pair = self.pair(name);
        let pool =
            pair.as_ref().and_then(Pair::any).or_else(|| self.pool(name)).ok_or(LocalReply::CLUSTER_NOT_FOUND)?;
        let pool = match &pool.passthrough {
            Some(passthrough) => passthrough.pool(ask.authority.unwrap_or_default(), now)?,
            None => Rc::clone(pool),
        };
        let mut cookies = Vec::new();
        let hash = match (ask.hash_key, ask.source) {
            _ if !pool.is_hashed() => None,
            (Some(key), _) => Some(hash_keys::hash_of(key)),
            (None, source) => source.and_then(|source| hash_keys::hash(&policy.hash_keys, source, &mut cookies)),
        };
        let exchange = Exchange::new(pool, Retry::new(Rc::clone(policy), ask), ask, now);
        let exchange = exchange.hashed(hash, cookies);
        let mut exchange = match pair {
            Some(pair) => exchange.between(pair),
            None => exchange,
        };
        let step = exchange.attempt(now, draws)?;
        let shadows = policy.mirrors.iter().filter_map(|cluster| self.shadow(&exchange, cluster, now, draws)).collect();
        Ok(Begun { exchange, step, shadows })
    }

    fn policy(&self, name: Option<&[u8]>) -> Option<&Rc<Policy>> {
        match name {
            None => Some(&self.default_policy),
            Some(name) => self.policies.get(std::str::from_utf8(name).ok()?),
        }
    }

    fn pool(&self, name: &[u8]) -> Option<&Rc<Pool>> {
        self.pools.get(std::str::from_utf8(name).ok()?)
    }

    /// The two clusters of a fallback of this name.
    fn pair(&self, name: &[u8]) -> Option<Pair> {
        if self.plan.fallbacks.is_empty() {
            return None;
        }
        let fallback = self.plan.fallbacks.get(std::str::from_utf8(name).ok()?)?;
        Pair::new(fallback, |name| self.pools.get(name).cloned())
    }

    fn shadow(&self, original: &Exchange, cluster: &str, now: Timestamp, draws: &mut dyn Draws) -> Option<Shadow> {
        let shadow = self.pool(cluster.as_bytes()).and_then(|pool| {
            let mut exchange = original.copy_to(Rc::clone(pool));
            let step = exchange.attempt(now, draws).ok()?;
            Some(Shadow { exchange, step })
        });
        if shadow.is_none() {
            self.dropped_shadows.set(self.dropped_shadows.get().saturating_add(1));
        }
        shadow
    }
}
