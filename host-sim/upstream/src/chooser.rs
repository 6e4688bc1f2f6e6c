//! Which endpoint is next: first a priority, then where localities matter a locality of it, then by the cluster's method an
//! endpoint there.
//!
//! A cluster of one priority and without weights of localities, as most are, costs what its method costs.

use std::collections::BTreeMap;
use std::rc::Rc;

use envoy_plan::{Cluster, Locality};

use crate::balance::Balancer;
use crate::draw::{Draws, index};
use crate::hash_table::LocalityWeights;
use crate::levels::{self, Count, Share};
use crate::outliers::Outliers;
use crate::pool::Endpoint;
use crate::schedule::{PARTS, Schedule, cost};
use crate::time::Timestamp;
use crate::warmup::Warming;

/// Endpoints among which is chosen by the method of the cluster.
#[derive(Debug)]
struct Group {
    balancer: Balancer,
    members: Vec<Rc<Endpoint>>,
}

/// The endpoints of one locality within a priority.
#[derive(Debug)]
struct Place {
    all: Vec<Rc<Endpoint>>,
    weight: u64,
    /// The weight, or less of it where too few endpoints are in service. 0: never chosen.
    parts: u64,
    group: Group,
}

/// The endpoints of one priority.
#[derive(Debug)]
struct Level {
    all: Vec<Rc<Endpoint>>,
    count: Count,
    share: Share,
    group: Group,
    /// Empty where localities do not matter.
    places: Vec<Place>,
    turns: Schedule,
}

/// All endpoints of a cluster, and whose turn it is.
#[derive(Debug)]
pub(crate) struct Chooser {
    levels: Vec<Level>,
    healthy_percent_min: u64,
    /// The version of the ejections that this is made of.
    version: u64,
}

impl Chooser {
    /// `endpoints` are those of the cluster, in its order; all are in service.
    pub(crate) fn new(cluster: &Cluster, endpoints: &[Rc<Endpoint>], now: Timestamp) -> Self {
        let joined = endpoints.iter().map(|endpoint| endpoint.joined());
        let warming = cluster.warmup.map(|warmup| Warming::new(warmup, joined));
        let group = |localities| {
            let balancer = Balancer::new(cluster.load_balancing, warming, localities);
            Group { balancer, members: Vec::new() }
        };
        let mut by_priority: BTreeMap<u32, Vec<Rc<Endpoint>>> = BTreeMap::new();
        for endpoint in endpoints {
            by_priority.entry(endpoint.priority()).or_default().push(Rc::clone(endpoint));
        }
        let level = |all: Vec<Rc<Endpoint>>| {
            let weights = cluster.locality_weights.as_ref().map(|said| weights(&all, said));
            let (places, group) = match weights {
                None => (Vec::new(), group(None)),
                // A hash leads to the same endpoint, so localities take no turns: their weights go into the table.
                weights if cluster.load_balancing.is_hashed() => (Vec::new(), group(weights)),
                Some(weights) => (places(&all, &weights, &|| group(None)), group(None)),
            };
            Level { share: Share::default(), count: Count::default(), group, places, turns: Schedule::default(), all }
        };
        let healthy_percent_min = cluster.outliers.as_ref().map_or(0, |outliers| outliers.healthy_percent_min).into();
        // Of the endpoints none is ejected in version 0, which there never is.
        let mut chooser =
            Self { levels: by_priority.into_values().map(level).collect(), healthy_percent_min, version: 0 };
        chooser.serve(&|_| true, now);
        chooser
    }

    /// Looks whether other endpoints are ejected than before.
    pub(crate) fn heed(&mut self, outliers: Option<&Outliers>, now: Timestamp) {
        let Some(outliers) = outliers else { return };
        let version = outliers.version(now);
        if version != self.version {
            self.version = version;
            let in_service = outliers.in_service();
            self.serve(&|endpoint| in_service.get(endpoint.place()).copied().unwrap_or_default(), now);
        }
    }

    fn serve(&mut self, is_in_service: &dyn Fn(&Endpoint) -> bool, now: Timestamp) {
        let healthy = |all: &[Rc<Endpoint>]| -> Vec<Rc<Endpoint>> {
            all.iter().filter(|endpoint| is_in_service(endpoint)).map(Rc::clone).collect()
        };
        let counts: Vec<Count> = self.levels.iter().map(|level| count(&level.all, &healthy(&level.all))).collect();
        let shares = levels::shares(&counts, self.healthy_percent_min);
        for ((level, share), counted) in self.levels.iter_mut().zip(shares).zip(counts) {
            level.share = share;
            level.count = counted;
            level.group.serve(if share.panics { level.all.clone() } else { healthy(&level.all) }, now);
            level.turns = Schedule::default();
            for place in &mut level.places {
                let members = healthy(&place.all);
                place.parts = levels::part(count(&place.all, &members), place.weight.saturating_mul(PARTS));
                place.group.serve(members, now);
            }
        }
    }

    /// Whether a hash decides.
    pub(crate) fn is_hashed(&self) -> bool {
        self.levels.first().is_some_and(|level| level.group.balancer.is_hashed())
    }

    /// How many endpoints there are in each priority, and how many of them are in service.
    pub(crate) fn counts(&self) -> Vec<Count> {
        self.levels.iter().map(|level| level.count).collect()
    }

    /// The next endpoint, of this priority where one is said; `None` where there is none. `hash` decides where a hash does, also among priorities; `again` counts how
    /// often the choice has been made before for one attempt.
    pub(crate) fn choose(
        &mut self,
        hash: u64,
        again: u32,
        priority: Option<u32>,
        now: Timestamp,
        draws: &mut dyn Draws,
    ) -> Option<Rc<Endpoint>> {
        let is_hashed = self.is_hashed();
        let level = match (&mut self.levels[..], priority.and_then(|priority| usize::try_from(priority).ok())) {
            ([only], _) => only,
            (levels, Some(priority)) => levels.get_mut(priority)?,
            (levels, None) => {
                let drawn = if is_hashed { hash % 100 } else { u64::try_from(index(draws, 100)).unwrap_or_default() };
                let place = levels::pick(levels.iter().map(|level| level.share), drawn)?;
                levels.get_mut(place)?
            }
        };
        let Level { share, group, places, turns, .. } = level;
        // In panic localities do not matter either.
        if !places.is_empty() && !share.panics {
            let price =
                |place: usize| places.get(place).filter(|place| place.parts > 0).map(|place| cost(place.parts, 1));
            if let Some(place) = turns.next(places.len(), price, draws) {
                return places.get_mut(place)?.group.choose(hash, again, now, draws);
            }
        }
        group.choose(hash, again, now, draws)
    }
}

impl Group {
    fn serve(&mut self, members: Vec<Rc<Endpoint>>, now: Timestamp) {
        self.balancer.serve(&members, now);
        self.members = members;
    }

    fn choose(&mut self, hash: u64, again: u32, now: Timestamp, draws: &mut dyn Draws) -> Option<Rc<Endpoint>> {
        let place = self.balancer.choose(&self.members, hash, again, now, draws)?;
        self.members.get(place).map(Rc::clone)
    }
}

/// What each locality of a priority has: what is said of it, else the weights of its endpoints together.
fn weights(all: &[Rc<Endpoint>], said: &BTreeMap<Locality, u32>) -> LocalityWeights {
    let mut weights = LocalityWeights::new();
    for endpoint in all {
        let weight = weights.entry(endpoint.locality().clone()).or_default();
        *weight = weight.saturating_add(u64::from(endpoint.weight()));
    }
    for (locality, weight) in &mut weights {
        *weight = said.get(locality).map_or(*weight, |said| u64::from(*said));
    }
    weights
}

/// The localities of a priority.
fn places(all: &[Rc<Endpoint>], weights: &LocalityWeights, group: &dyn Fn() -> Group) -> Vec<Place> {
    let mut by_locality: BTreeMap<&Locality, Vec<Rc<Endpoint>>> = BTreeMap::new();
    for endpoint in all {
        by_locality.entry(endpoint.locality()).or_default().push(Rc::clone(endpoint));
    }
    let weight = |locality| weights.get(locality).copied().unwrap_or_default();
    let place = |(locality, all)| Place { all, weight: weight(locality), parts: 0, group: group() };
    by_locality.into_iter().map(place).collect()
}

fn count(all: &[Rc<Endpoint>], healthy: &[Rc<Endpoint>]) -> Count {
    let number = |endpoints: &[Rc<Endpoint>]| u64::try_from(endpoints.len()).unwrap_or(u64::MAX);
    Count { healthy: number(healthy), all: number(all) }
}
