//! When requests come, which they are, and whose: clients that wait in a closed load, a clock in an open one.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use upstream::Timestamp;

use crate::chance::Chance;
use crate::engine::Engine;
use crate::run::Progress;
use crate::scenario::{OpenArrivals, OpenLoad, Spec};

/// The port that all clients send from.
const CLIENT_PORT: u16 = 50_000;

/// An open load is one client that does not wait.
const OPEN: u64 = 0;

/// The source of requests.
pub(crate) struct Arrivals {
    source: Source,
    /// Running sums of the weights.
    kinds: Vec<u64>,
    choice: Chance,
    gaps: Chance,
    begun: u64,
    requests_max: Option<u64>,
    duration: Option<Duration>,
}

enum Source {
    Closed {
        clients: u64,
        think: Duration,
        /// Whose request is which.
        busy: BTreeMap<u64, u64>,
    },
    Open {
        load: OpenLoad,
        /// When the next one was due, before any rounding adds up.
        due: u64,
    },
}

impl Arrivals {
    /// From a scenario that has been checked.
    pub(crate) fn new(spec: &Spec) -> Self {
        let source = match (&spec.load.closed, &spec.load.open) {
            (_, Some(open)) => Source::Open { load: open.clone(), due: 0 },
            (closed, None) => Source::Closed {
                clients: closed.as_ref().map_or(0, |closed| closed.clients.into()),
                think: closed.as_ref().map_or(Duration::ZERO, |closed| closed.think_time.into()),
                busy: BTreeMap::new(),
            },
        };
        let mut sum = 0_u64;
        let kinds = spec.load.requests.iter().map(|kind| {
            sum = sum.saturating_add(kind.weight);
            sum
        });
        Self {
            source,
            kinds: kinds.collect(),
            choice: Chance::new(spec.seed, "requests"),
            gaps: Chance::new(spec.seed, "arrivals"),
            begun: 0,
            requests_max: spec.requests,
            duration: spec.duration.map(Duration::from),
        }
    }

    /// Plans the first arrivals: all clients at once, or the first of an open load one gap after the start if gaps are
    /// drawn, and at once if they are not.
    pub(crate) fn start(&mut self, engine: &mut Engine) {
        match &mut self.source {
            Source::Closed { clients, .. } => {
                (0..*clients).for_each(|client| engine.plan_outside(engine.now(), client))
            }
            Source::Open { load, due } => {
                if load.arrivals == OpenArrivals::Poisson {
                    *due = self.gaps.exponential(mean_gap(load));
                }
                engine.plan_outside(Timestamp::from_nanos(*due), OPEN);
            }
        }
    }

    /// The time of an arrival has come: the number and the kind of the request, or `None` when the load is over.
    pub(crate) fn arrive(&mut self, client: u64, engine: &mut Engine) -> Option<(u64, usize)> {
        let now = engine.now();
        let late = self.duration.is_some_and(|duration| now.as_nanos() >= nanos(duration));
        if late || self.requests_max.is_some_and(|max| self.begun >= max) {
            return None;
        }
        self.begun += 1;
        match &mut self.source {
            Source::Closed { busy, .. } => {
                busy.insert(self.begun, client);
            }
            Source::Open { load, due } => {
                *due = match load.arrivals {
                    OpenArrivals::Constant => constant_due(self.begun, load),
                    OpenArrivals::Poisson => due.saturating_add(self.gaps.exponential(mean_gap(load))),
                };
                engine.plan_outside(Timestamp::from_nanos(*due), OPEN);
            }
        }
        let total = self.kinds.last().copied().unwrap_or(0);
        let drawn = if self.kinds.len() > 1 { self.choice.below(total) } else { 0 };
        Some((self.begun, self.kinds.partition_point(|sum| *sum <= drawn)))
    }

    /// Where a request comes from: each client of a closed load has an address of its own, and so has each request of an open
    /// one, of which nobody says who sends it.
    pub(crate) fn address(&self, client: u64, request: u64) -> SocketAddr {
        let number = match self.source {
            Source::Closed { .. } => client,
            Source::Open { .. } => request,
        };
        let [.., b, c, d] = number.to_be_bytes();
        SocketAddr::from(([10, b, c, d], CLIENT_PORT))
    }

    /// A request has ended: its client thinks, and comes again.
    pub(crate) fn freed(&mut self, request: u64, engine: &mut Engine) {
        if let Source::Closed { think, busy, .. } = &mut self.source
            && let Some(client) = busy.remove(&request)
        {
            engine.plan_outside(engine.now().after(*think), client);
        }
    }

    /// How far the load has come, by time or by number, whichever is farther.
    #[expect(clippy::cast_precision_loss, reason = "a fraction for a progress bar")]
    pub(crate) fn progress(&self, engine: &Engine) -> Progress {
        let now = engine.now().as_nanos();
        let by_time = self.duration.map_or(0.0, |duration| now as f64 / nanos(duration).max(1) as f64);
        let by_number = self.requests_max.map_or(0.0, |max| self.begun as f64 / max.max(1) as f64);
        Progress {
            fraction: by_time.max(by_number).min(1.0),
            simulated: Duration::from_nanos(now),
            requests: self.begun,
        }
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// Nanoseconds between two arrivals on average.
fn mean_gap(load: &OpenLoad) -> u64 {
    (1_000_000_000_000_000 / load.rate_per_second.micros.max(1)).max(1)
}

/// When arrival `number`, from 0, is due; computed from the start, so that no rounding adds up.
fn constant_due(number: u64, load: &OpenLoad) -> u64 {
    let nanos = u128::from(number) * 1_000_000_000_000_000 / u128::from(load.rate_per_second.micros.max(1));
    u64::try_from(nanos).unwrap_or(u64::MAX)
}
