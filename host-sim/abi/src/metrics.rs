//! Metrics by Envoy's rules: a counter grows only by more than zero, `record` adds to a counter and sets a gauge, a
//! histogram cannot be read by the guest, and one name is one metric however often it is defined. The low two bits of an
//! id are the kind, as in Envoy.

use crate::host::Metrics;
use crate::status::Status;
use crate::types::MetricKind;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Upper bounds of the histogram buckets that Envoy prints by default.
pub const BUCKETS: [f64; 19] = [
    0.5, 1.0, 5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0, 1000.0, 2500.0, 5000.0, 10000.0, 30000.0, 60000.0, 300000.0,
    600000.0, 1800000.0, 3600000.0,
];

/// Why a metric call failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MetricError {
    /// The id is unknown.
    #[error("no such metric")]
    NotFound,
    /// The kind of metric does not allow it.
    #[error("not possible for this kind of metric")]
    BadArgument,
}

impl From<MetricError> for Status {
    fn from(error: MetricError) -> Self {
        match error {
            MetricError::NotFound => Status::NotFound,
            MetricError::BadArgument => Status::BadArgument,
        }
    }
}

/// Samples of one histogram.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Histogram {
    /// How many samples there were.
    pub count: u64,
    /// Their sum.
    pub sum: u64,
    /// Samples up to each bound of [`BUCKETS`], not cumulative; the last place is above all bounds.
    pub buckets: [u64; BUCKETS.len() + 1],
}

/// What a gauge says now. Clones are handles to the same gauge, and may be used from several threads.
#[derive(Clone, Debug, Default)]
pub struct Gauge(Arc<AtomicU64>);

impl Gauge {
    /// The number.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl PartialEq for Gauge {
    fn eq(&self, other: &Self) -> bool {
        self.get() == other.get()
    }
}

/// The gauges of one process. Clones are handles to the same: as in Envoy one name is one gauge whatever VM sets it, and whoever says
/// something last is heard.
#[derive(Clone, Debug, Default)]
pub struct Gauges(Arc<Mutex<BTreeMap<String, Gauge>>>);

impl Gauges {
    fn of(&self, name: &str) -> Gauge {
        let mut gauges = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        gauges.entry(name.to_owned()).or_default().clone()
    }
}

/// One metric as the store keeps it.
#[derive(Clone, Debug, PartialEq)]
pub enum Metric {
    /// Only grows.
    Counter(u64),
    /// Goes both ways.
    Gauge(Gauge),
    /// Collects samples.
    Histogram(Box<Histogram>),
}

/// All metrics of one host, ready to embed: forward [`Metrics`] to it.
#[derive(Clone, Debug, Default)]
pub struct MetricStore {
    metrics: Vec<(String, Metric)>,
    by_name: BTreeMap<(MetricKind, String), u32>,
    gauges: Gauges,
}

impl MetricStore {
    /// An empty store with gauges of its own.
    pub fn new() -> Self {
        MetricStore::default()
    }

    /// An empty store whose gauges other stores have as well.
    pub fn sharing(gauges: Gauges) -> Self {
        MetricStore { gauges, ..MetricStore::default() }
    }

    /// All metrics in the order they were first defined.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Metric)> {
        self.metrics.iter().map(|(name, metric)| (name.as_str(), metric))
    }

    /// The counter of that name, 0 when there is none.
    pub fn counter(&self, name: &str) -> u64 {
        match self.find(MetricKind::Counter, name) {
            Some(Metric::Counter(value)) => *value,
            _ => 0,
        }
    }

    /// The gauge of that name, 0 when there is none.
    pub fn gauge(&self, name: &str) -> u64 {
        match self.find(MetricKind::Gauge, name) {
            Some(Metric::Gauge(gauge)) => gauge.get(),
            _ => 0,
        }
    }

    /// The histogram of that name.
    pub fn histogram(&self, name: &str) -> Option<&Histogram> {
        match self.find(MetricKind::Histogram, name) {
            Some(Metric::Histogram(histogram)) => Some(histogram),
            _ => None,
        }
    }

    fn find(&self, kind: MetricKind, name: &str) -> Option<&Metric> {
        let id = self.by_name.get(&(kind, name.to_owned()))?;
        self.metrics.get((id >> 2) as usize).map(|(_, metric)| metric)
    }

    fn by_id(&mut self, id: u32) -> Result<&mut Metric, MetricError> {
        match self.metrics.get_mut((id >> 2) as usize) {
            Some((_, metric)) if metric.kind() as u32 == id & 3 => Ok(metric),
            _ => Err(MetricError::NotFound),
        }
    }
}

impl Metric {
    fn kind(&self) -> MetricKind {
        match self {
            Metric::Counter(_) => MetricKind::Counter,
            Metric::Gauge(_) => MetricKind::Gauge,
            Metric::Histogram(_) => MetricKind::Histogram,
        }
    }
}

impl Metrics for MetricStore {
    fn define(&mut self, kind: MetricKind, name: &str) -> u32 {
        if let Some(id) = self.by_name.get(&(kind, name.to_owned())) {
            return *id;
        }
        let id = (self.metrics.len() as u32) << 2 | kind as u32;
        let metric = match kind {
            MetricKind::Counter => Metric::Counter(0),
            MetricKind::Gauge => Metric::Gauge(self.gauges.of(name)),
            MetricKind::Histogram => Metric::Histogram(Box::default()),
        };
        self.metrics.push((name.to_owned(), metric));
        self.by_name.insert((kind, name.to_owned()), id);
        id
    }

    fn increment(&mut self, id: u32, offset: i64) -> Result<(), MetricError> {
        // Envoy looks at the kind in the id first: an unknown histogram is a bad argument too.
        if id & 3 >= MetricKind::Histogram as u32 {
            return Err(MetricError::BadArgument);
        }
        match self.by_id(id)? {
            Metric::Counter(value) if offset > 0 => *value = value.wrapping_add(offset.unsigned_abs()),
            Metric::Gauge(gauge) => {
                gauge.0.fetch_add(offset.cast_unsigned(), Ordering::Relaxed);
            }
            Metric::Counter(_) | Metric::Histogram(_) => return Err(MetricError::BadArgument),
        }
        Ok(())
    }

    fn record(&mut self, id: u32, value: u64) -> Result<(), MetricError> {
        match self.by_id(id)? {
            Metric::Counter(old) => *old = old.wrapping_add(value),
            Metric::Gauge(gauge) => gauge.0.store(value, Ordering::Relaxed),
            Metric::Histogram(histogram) => histogram.sample(value),
        }
        Ok(())
    }

    fn get(&self, id: u32) -> Result<u64, MetricError> {
        if id & 3 >= MetricKind::Histogram as u32 {
            return Err(MetricError::BadArgument);
        }
        match self.metrics.get((id >> 2) as usize).map(|(_, metric)| metric) {
            Some(Metric::Counter(value)) if id & 3 == 0 => Ok(*value),
            Some(Metric::Gauge(gauge)) if id & 3 == 1 => Ok(gauge.get()),
            _ => Err(MetricError::NotFound),
        }
    }
}

impl Histogram {
    /// Takes one sample.
    pub fn sample(&mut self, value: u64) {
        self.count += 1;
        self.sum = self.sum.wrapping_add(value);
        let place = BUCKETS.partition_point(|bound| *bound < value as f64);
        if let Some(bucket) = self.buckets.get_mut(place) {
            *bucket += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counter_grows_by_more_than_zero_only() {
        let mut store = MetricStore::new();
        let id = store.define(MetricKind::Counter, "hits");
        assert_eq!(store.increment(id, 2), Ok(()));
        assert_eq!(store.increment(id, 0), Err(MetricError::BadArgument));
        assert_eq!(store.increment(id, -1), Err(MetricError::BadArgument));
        assert_eq!(store.record(id, 5), Ok(()));
        assert_eq!(store.counter("hits"), 7);
    }

    #[test]
    fn a_gauge_goes_both_ways_and_record_sets_it() {
        let mut store = MetricStore::new();
        let id = store.define(MetricKind::Gauge, "open");
        store.record(id, 5).unwrap();
        store.increment(id, -2).unwrap();
        assert_eq!(store.get(id), Ok(3));
    }

    #[test]
    fn a_gauge_that_stores_share_says_what_was_said_last() {
        let gauges = Gauges::default();
        let mut stores = [(); 2].map(|()| MetricStore::sharing(gauges.clone()));
        let ids = stores.each_mut().map(|store| store.define(MetricKind::Gauge, "open"));
        stores[0].record(ids[0], 5).unwrap();
        stores[1].record(ids[1], 1).unwrap();
        stores[0].increment(ids[0], -1).unwrap();
        assert_eq!(stores.each_ref().map(|store| store.gauge("open")), [0, 0]);
        stores[1].record(ids[1], 7).unwrap();
        assert_eq!(stores[0].get(ids[0]), Ok(7));
        assert_eq!(MetricStore::new().gauge("open"), 0, "and nobody else's");
    }

    #[test]
    fn a_histogram_takes_samples_and_is_not_readable() {
        let mut store = MetricStore::new();
        let id = store.define(MetricKind::Histogram, "ms");
        store.record(id, 7).unwrap();
        assert_eq!(store.get(id), Err(MetricError::BadArgument));
        assert_eq!(store.increment(id, 1), Err(MetricError::BadArgument));
        let histogram = store.histogram("ms").unwrap();
        assert_eq!((histogram.count, histogram.sum, histogram.buckets[3]), (1, 7, 1));
    }

    #[test]
    fn one_name_is_one_metric_and_unknown_ids_are_not_found() {
        let mut store = MetricStore::new();
        let id = store.define(MetricKind::Counter, "hits");
        assert_eq!(store.define(MetricKind::Counter, "hits"), id);
        assert_ne!(store.define(MetricKind::Gauge, "hits"), id);
        assert_eq!(store.increment(400, 1), Err(MetricError::NotFound));
        assert_eq!(store.record(id | 1, 1), Err(MetricError::NotFound));
    }
}
