//! When requests come, which they are, and whose: clients that wait in a closed load, a clock in an open one, a file in a
//! recorded one.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use upstream::Timestamp;

use crate::chance::Chance;
use crate::engine::Engine;
use crate::run::Progress;
use crate::run::ramp::{ONE, Ramp};
use crate::scenario::{Latency, OpenArrivals, OpenLoad, Spec, TraceLine};

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
    /// Requests beside these, which they caused.
    more: u64,
    requests_max: Option<u64>,
    duration: Option<Duration>,
}

enum Source {
    Closed {
        clients: u64,
        think: Latency,
        thinking: Chance,
        /// Whose request is which.
        busy: BTreeMap<u64, u64>,
    },
    Open {
        arrivals: OpenArrivals,
        /// Per second.
        rate_micros: u64,
        /// When the next one was due, before any rounding adds up.
        due: u64,
    },
    Ramp {
        arrivals: OpenArrivals,
        ramp: Ramp,
        /// The area below the ramp at which the next one is due.
        due: u128,
    },
    Trace(Arc<[TraceLine]>),
}

/// The address of a client, by his number.
pub(super) fn address(number: u64) -> SocketAddr {
    let [.., b, c, d] = number.to_be_bytes();
    SocketAddr::from(([10, b, c, d], CLIENT_PORT))
}

impl Arrivals {
    /// From a scenario that has been checked.
    pub(crate) fn new(spec: &Spec) -> Self {
        let mut sum = 0_u64;
        let kinds = spec.load.requests.iter().map(|kind| {
            sum = sum.saturating_add(kind.weight);
            sum
        });
        Self {
            source: Source::new(spec),
            kinds: kinds.collect(),
            choice: Chance::new(spec.seed, "requests"),
            gaps: Chance::new(spec.seed, "arrivals"),
            begun: 0,
            more: 0,
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
            Source::Open { arrivals, rate_micros, due } => {
                if *arrivals == OpenArrivals::Poisson {
                    *due = self.gaps.exponential(mean_gap(*rate_micros));
                }
                engine.plan_outside(Timestamp::from_nanos(*due), OPEN);
            }
            Source::Ramp { arrivals, ramp, due } => {
                if *arrivals == OpenArrivals::Poisson {
                    *due = self.gaps.exponential(ONE).into();
                }
                if let Some(at) = ramp.at(*due) {
                    engine.plan_outside(Timestamp::from_nanos(at), OPEN);
                }
            }
            Source::Trace(lines) => plan_line(lines, 0, engine),
        }
    }

    /// The time of an arrival has come: the number and the kind of the request (of a trace, its line), or `None` when the load
    /// is over.
    pub(crate) fn arrive(&mut self, client: u64, engine: &mut Engine) -> Option<(u64, usize)> {
        let now = engine.now();
        let late = self.duration.is_some_and(|duration| now.as_nanos() >= nanos(duration));
        if late || self.requests_max.is_some_and(|max| self.numbered() >= max) {
            return None;
        }
        let before = self.begun;
        self.begun += 1;
        let number = self.numbered();
        match &mut self.source {
            Source::Closed { busy, .. } => {
                busy.insert(number, client);
            }
            Source::Open { arrivals, rate_micros, due } => {
                *due = match arrivals {
                    OpenArrivals::Constant => constant_due(self.begun, *rate_micros),
                    OpenArrivals::Poisson => due.saturating_add(self.gaps.exponential(mean_gap(*rate_micros))),
                };
                engine.plan_outside(Timestamp::from_nanos(*due), OPEN);
            }
            Source::Ramp { arrivals, ramp, due } => {
                let more = match arrivals {
                    OpenArrivals::Constant => ONE,
                    OpenArrivals::Poisson => self.gaps.exponential(ONE),
                };
                *due = due.saturating_add(more.into());
                if let Some(at) = ramp.at(*due) {
                    engine.plan_outside(Timestamp::from_nanos(at), OPEN);
                }
            }
            Source::Trace(lines) => {
                plan_line(lines, self.begun, engine);
                return Some((self.begun, usize::try_from(before).ok()?));
            }
        }
        let total = self.kinds.last().copied().unwrap_or(0);
        let drawn = if self.kinds.len() > 1 { self.choice.below(total) } else { 0 };
        Some((number, self.kinds.partition_point(|sum| *sum <= drawn)))
    }

    /// The number of a request that one of these has caused: it counts like them, and comes whatever the limit is.
    pub(crate) fn one_more(&mut self) -> u64 {
        self.more += 1;
        self.numbered()
    }

    /// The number of the last request.
    fn numbered(&self) -> u64 {
        self.begun + self.more
    }

    /// Where a request comes from: each client of a closed load has an address of its own, and so has each request of another
    /// load, of which nobody says who sends it.
    pub(crate) fn address(&self, client: u64, request: u64) -> SocketAddr {
        match self.source {
            Source::Closed { .. } => address(client),
            Source::Open { .. } | Source::Ramp { .. } | Source::Trace(_) => address(request),
        }
    }

    /// A request has ended: its client thinks, and comes again.
    pub(crate) fn freed(&mut self, request: u64, engine: &mut Engine) {
        if let Source::Closed { think, thinking, busy, .. } = &mut self.source
            && let Some(client) = busy.remove(&request)
        {
            let pause = Duration::from_nanos(think.draw(thinking));
            engine.plan_outside(engine.now().after(pause), client);
        }
    }

    /// How far the load has come, by time or by number, whichever is farther.
    #[expect(clippy::cast_precision_loss, reason = "a fraction for a progress bar")]
    pub(crate) fn progress(&self, engine: &Engine) -> Progress {
        let now = engine.now().as_nanos();
        let by_time = self.duration.map_or(0.0, |duration| now as f64 / nanos(duration).max(1) as f64);
        let lines = if let Source::Trace(lines) = &self.source { Some(lines.len() as u64) } else { None };
        let by_number = self.requests_max.into_iter().chain(lines).min();
        let by_number = by_number.map_or(0.0, |max| self.numbered() as f64 / max.max(1) as f64);
        Progress {
            fraction: by_time.max(by_number).min(1.0),
            simulated: Duration::from_nanos(now),
            requests: self.numbered(),
        }
    }
}

impl Source {
    fn new(spec: &Spec) -> Self {
        let load = &spec.load;
        if let Some(trace) = &load.trace {
            return Self::Trace(Arc::clone(&trace.lines));
        }
        match &load.open {
            Some(OpenLoad { rate_per_second: Some(rate), ramp: _, arrivals }) => {
                Self::Open { arrivals: *arrivals, rate_micros: rate.micros, due: 0 }
            }
            Some(OpenLoad { rate_per_second: None, ramp, arrivals }) => {
                Self::Ramp { arrivals: *arrivals, ramp: Ramp::new(ramp), due: 0 }
            }
            None => Self::Closed {
                clients: load.closed.as_ref().map_or(0, |closed| closed.clients.into()),
                think: load.closed.as_ref().map_or_else(Latency::default, |closed| closed.think_time.clone()),
                thinking: Chance::new(spec.seed, "think time"),
                busy: BTreeMap::new(),
            },
        }
    }
}

fn plan_line(lines: &[TraceLine], number: u64, engine: &mut Engine) {
    if let Some(line) = usize::try_from(number).ok().and_then(|number| lines.get(number)) {
        engine.plan_outside(Timestamp::from_nanos(line.at.as_nanos()), OPEN);
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// Nanoseconds between two arrivals on average.
fn mean_gap(rate_micros: u64) -> u64 {
    (ONE / rate_micros.max(1)).max(1)
}

/// When arrival `number`, from 0, is due; computed from the start, so that no rounding adds up.
fn constant_due(number: u64, rate_micros: u64) -> u64 {
    let nanos = u128::from(number) * u128::from(ONE) / u128::from(rate_micros.max(1));
    u64::try_from(nanos).unwrap_or(u64::MAX)
}
