//! What a worker counts: plain cells of its own, added up with those of other workers when the admin pages ask.

use host_abi::{BUCKETS, Histogram, Metric};
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;
use std::time::Duration;
use upstream::{Endpoint, Flags};

/// How a request ended, as Istio labels it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Outcome {
    /// The endpoint that the last attempt went to.
    pub(crate) endpoint: Option<Rc<Endpoint>>,
    /// HTTP status; 0 if the client got none.
    pub(crate) status: u16,
    /// Why, if something is to be remarked.
    pub(crate) flags: Flags,
    /// The client went away before the end (Envoy's `DC`).
    pub(crate) client_gone: bool,
}

/// One series of requests: endpoint (0 for none), status, flags, client gone.
type Key = (u64, u16, u64, bool);

/// One row of Istio's metrics.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Labels {
    pub(crate) destination_service: String,
    pub(crate) destination_version: String,
    pub(crate) response_code: u16,
    pub(crate) response_flags: String,
}

/// Requests with the same labels.
#[derive(Clone, Debug, Default)]
pub(crate) struct Requests {
    pub(crate) milliseconds: Histogram,
}

/// The counters of one worker.
#[derive(Debug, Default)]
pub(crate) struct Stats {
    series: RefCell<HashMap<Key, (Labels, Requests)>>,
    /// Requests by cluster and address.
    endpoints: RefCell<HashMap<u64, (Rc<Endpoint>, u64)>>,
    retries: Cell<u64>,
    pub(crate) shadows: Gauge,
    pub(crate) shadows_dropped: Cell<u64>,
    pub(crate) callouts: Gauge,
    pub(crate) connections: Gauge,
    pub(crate) requests: Gauge,
}

/// How many there are now, and were in all.
#[derive(Debug, Default)]
pub(crate) struct Gauge {
    now: Cell<u64>,
    total: Cell<u64>,
}

impl Gauge {
    /// One more.
    pub(crate) fn enter(&self) {
        self.now.set(self.now.get() + 1);
        self.total.set(self.total.get() + 1);
    }

    /// One less.
    pub(crate) fn leave(&self) {
        self.now.set(self.now.get().saturating_sub(1));
    }

    pub(crate) fn now(&self) -> u64 {
        self.now.get()
    }
}

impl Stats {
    /// A request is over.
    pub(crate) fn ended(&self, outcome: &Outcome, took: Duration) {
        let Outcome { endpoint, status, flags, client_gone } = outcome;
        let id = endpoint.as_ref().map_or(0, |endpoint| endpoint.id());
        let mut series = self.series.borrow_mut();
        let (_, requests) = series
            .entry((id, *status, flags.bits(), *client_gone))
            .or_insert_with(|| (Labels::of(outcome), Requests::default()));
        requests.milliseconds.sample(u64::try_from(took.as_millis()).unwrap_or(u64::MAX));
        if let Some(endpoint) = endpoint {
            let mut endpoints = self.endpoints.borrow_mut();
            endpoints.entry(id).or_insert_with(|| (Rc::clone(endpoint), 0)).1 += 1;
        }
    }

    /// A request was sent once more.
    pub(crate) fn retried(&self) {
        self.retries.set(self.retries.get() + 1);
    }

    /// Copies everything out.
    pub(crate) fn snapshot(&self) -> Snapshot {
        let mut snapshot = Snapshot::default();
        for (labels, requests) in self.series.borrow().values() {
            add(&mut snapshot.requests.entry(labels.clone()).or_default().milliseconds, &requests.milliseconds);
        }
        for (endpoint, requests) in self.endpoints.borrow().values() {
            let address = format!("{}:{}", endpoint.address(), endpoint.port());
            let counts = snapshot.endpoints.entry((endpoint.cluster().to_owned(), address)).or_default();
            counts.requests += requests;
            counts.active += u64::from(endpoint.active());
        }
        snapshot.counters = BTreeMap::from([
            ("shunt_upstream_retries_total", self.retries.get()),
            ("shunt_shadow_requests_total", self.shadows.total.get()),
            ("shunt_shadow_requests_dropped_total", self.shadows_dropped.get()),
            ("shunt_callouts_total", self.callouts.total.get()),
            ("shunt_downstream_connections_total", self.connections.total.get()),
        ]);
        snapshot.gauges = BTreeMap::from([
            ("shunt_downstream_connections_active", self.connections.now()),
            ("shunt_downstream_requests_active", self.requests.now()),
            ("shunt_shadow_requests_active", self.shadows.now()),
            ("shunt_callouts_active", self.callouts.now()),
        ]);
        snapshot
    }
}

impl Labels {
    fn of(outcome: &Outcome) -> Self {
        const UNKNOWN: &str = "unknown";
        let endpoint = outcome.endpoint.as_deref();
        // `outbound|PORT|SUBSET|HOST`
        let service = endpoint.and_then(|endpoint| endpoint.cluster().rsplit('|').next());
        let version = endpoint.and_then(|endpoint| endpoint.labels().get("version"));
        let flags = if outcome.client_gone { "DC".to_owned() } else { outcome.flags.to_string() };
        Labels {
            destination_service: service.unwrap_or(UNKNOWN).to_owned(),
            destination_version: version.map_or(UNKNOWN, String::as_str).to_owned(),
            response_code: outcome.status,
            response_flags: flags,
        }
    }
}

/// What was counted for one endpoint.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct EndpointCounts {
    pub(crate) requests: u64,
    pub(crate) active: u64,
}

/// All counts of one worker, or of several added up.
#[derive(Clone, Debug, Default)]
pub(crate) struct Snapshot {
    pub(crate) requests: BTreeMap<Labels, Requests>,
    /// By cluster and address.
    pub(crate) endpoints: BTreeMap<(String, String), EndpointCounts>,
    pub(crate) counters: BTreeMap<&'static str, u64>,
    pub(crate) gauges: BTreeMap<&'static str, u64>,
    /// The filter's own, by name.
    pub(crate) filter: BTreeMap<String, Metric>,
}

impl Snapshot {
    /// Adds another worker's counts.
    pub(crate) fn merge(&mut self, other: Snapshot) {
        let Snapshot { requests, endpoints, counters, gauges, filter } = other;
        for (labels, requests) in requests {
            add(&mut self.requests.entry(labels).or_default().milliseconds, &requests.milliseconds);
        }
        for (name, counts) in endpoints {
            let own = self.endpoints.entry(name).or_default();
            own.requests += counts.requests;
            own.active += counts.active;
        }
        for (name, value) in counters {
            *self.counters.entry(name).or_default() += value;
        }
        for (name, value) in gauges {
            *self.gauges.entry(name).or_default() += value;
        }
        for (name, metric) in filter {
            self.add_metric(name, metric);
        }
    }

    /// Adds a metric of the filter: as in Envoy, one name is one metric, whatever worker counts.
    pub(crate) fn add_metric(&mut self, name: String, metric: Metric) {
        match (self.filter.get_mut(&name), metric) {
            (Some(Metric::Counter(own)), Metric::Counter(value)) => *own = own.wrapping_add(value),
            // Workers have it together.
            (Some(Metric::Gauge(_)), Metric::Gauge(_)) => {}
            (Some(Metric::Histogram(own)), Metric::Histogram(value)) => add(own, &value),
            (_, metric) => {
                self.filter.insert(name, metric);
            }
        }
    }
}

fn add(own: &mut Histogram, other: &Histogram) {
    own.count += other.count;
    own.sum = own.sum.wrapping_add(other.sum);
    for (own, other) in own.buckets.iter_mut().zip(other.buckets) {
        *own += other;
    }
}

/// The buckets of a histogram as Prometheus wants them: upper bound, and how many samples up to it.
pub(crate) fn cumulative(histogram: &Histogram) -> impl Iterator<Item = (String, u64)> {
    let bounds = BUCKETS.iter().map(f64::to_string).chain(std::iter::once("+Inf".to_owned()));
    let sums = histogram.buckets.iter().scan(0, |sum, bucket| {
        *sum += bucket;
        Some(*sum)
    });
    bounds.zip(sums.collect::<Vec<_>>())
}
