//! What the workers of one proxy know together of each cluster: what is under way, and who is ejected.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use envoy_plan::{Cluster, Plan};

use crate::load::Load;
use crate::outliers::{Monitor, Outliers};

/// The common knowledge. Its copies are one and the same; each worker's [`crate::Upstreams`] is given one.
#[derive(Clone, Debug, Default)]
pub struct Common(Arc<Mutex<BTreeMap<String, Ledger>>>);

/// One cluster.
#[derive(Clone, Debug)]
pub(crate) struct Ledger {
    pub(crate) load: Arc<Load>,
    pub(crate) outliers: Option<Arc<Outliers>>,
    /// Address and port of each endpoint, in order.
    endpoints: Arc<[(String, u16)]>,
}

impl Common {
    /// The ledger of `cluster`, which goes on as far as the cluster is what it was.
    pub(crate) fn ledger(&self, cluster: &Cluster) -> Ledger {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let ledger = Ledger::new(cluster, all.get(&cluster.name));
        all.insert(cluster.name.clone(), ledger.clone());
        ledger
    }

    /// Forgets what is no longer in the plan.
    pub(crate) fn keep(&self, plan: &Plan) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|name, _| plan.clusters.contains_key(name));
    }
}

impl Ledger {
    pub(crate) fn new(cluster: &Cluster, before: Option<&Self>) -> Self {
        let endpoints: Arc<[_]> =
            cluster.endpoints.iter().map(|endpoint| (endpoint.address.clone(), endpoint.port)).collect();
        let load = before.filter(|before| before.load.limits == cluster.limits).map(|before| Arc::clone(&before.load));
        let watched = before.and_then(|before| Some((before, before.outliers.as_ref()?)));
        let outliers = cluster.outliers.as_ref().map(|settings| match watched {
            Some((before, outliers)) if outliers.settings == *settings => match before.endpoints == endpoints {
                true => Arc::clone(outliers),
                false => {
                    let place = |endpoint| before.endpoints.iter().position(|known| known == endpoint);
                    let known = endpoints.iter().map(|endpoint| place(endpoint).map(|place| outliers.monitor(place)));
                    Arc::new(Outliers::new(settings.clone(), known.map(Option::unwrap_or_default).collect()))
                }
            },
            _ => Arc::new(Outliers::new(settings.clone(), vec![Monitor::default(); endpoints.len()])),
        });
        Self { load: load.unwrap_or_else(|| Load::new(cluster.limits)), outliers, endpoints }
    }
}
