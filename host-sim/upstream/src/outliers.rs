//! Which endpoints of a cluster are left out because they fail (Envoy's outlier detection). All workers of a proxy count
//! together, as in Envoy.
//!
//! An endpoint that fails so many times in a row is *ejected*, unless too many are already. It comes back at the first tick of
//! the interval after its time; the time is the base times the number of ejections. Each tick that finds it in service takes
//! one off that number. Nothing ticks here: what ticks would have done follows from the time.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use envoy_plan::OutlierDetection;

use crate::time::Timestamp;

/// What an attempt came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The connection is there.
    Connected,
    /// An answer with this status.
    Answered(u16),
    /// None: the connection failed, or broke off.
    Failed,
    /// None in time.
    TimedOut,
}

/// The endpoints of a cluster under observation.
#[derive(Debug)]
pub(crate) struct Outliers {
    pub(crate) settings: OutlierDetection,
    monitors: Mutex<Vec<Monitor>>,
    /// Grows with every change of who is ejected.
    version: AtomicU64,
    /// When the next endpoint may come back, in nanoseconds.
    next_return: AtomicU64,
}

/// One endpoint.
#[derive(Clone, Debug, Default)]
pub(crate) struct Monitor {
    /// 5xx in a row.
    errors: u32,
    /// 502, 503 and 504 in a row.
    gateway_errors: u32,
    /// Failures without an answer in a row.
    local_failures: u32,
    /// What the next ejection time is multiplied by, less one.
    ejections: u32,
    /// The number of the last tick that `ejections` takes account of.
    counted: u64,
    /// The number of the tick at which it comes back.
    returns: Option<u64>,
}

impl Outliers {
    /// `known`: what is known already of each endpoint, in the order of the cluster.
    pub(crate) fn new(settings: OutlierDetection, known: Vec<Monitor>) -> Self {
        let outliers = Self {
            settings,
            monitors: Mutex::new(Vec::new()),
            version: AtomicU64::new(1),
            next_return: AtomicU64::new(u64::MAX),
        };
        outliers.note_next_return(&known);
        *outliers.lock() = known;
        outliers
    }

    /// What is known of the endpoint at this place.
    pub(crate) fn monitor(&self, place: usize) -> Monitor {
        self.lock().get(place).cloned().unwrap_or_default()
    }

    /// The number of changes up to now.
    pub(crate) fn version(&self, now: Timestamp) -> u64 {
        if now.as_nanos() >= self.next_return.load(Ordering::Relaxed) {
            self.bring_back(&mut self.lock(), now);
        }
        self.version.load(Ordering::Relaxed)
    }

    /// Of each place whether its endpoint is in service.
    pub(crate) fn in_service(&self) -> Vec<bool> {
        self.lock().iter().map(|monitor| monitor.returns.is_none()).collect()
    }

    /// Counts what an attempt at the endpoint at this place came to.
    pub(crate) fn report(&self, place: usize, outcome: Outcome, now: Timestamp) {
        let mut monitors = self.lock();
        self.bring_back(&mut monitors, now);
        let count = number(monitors.len());
        let ejected = number(monitors.iter().filter(|monitor| monitor.returns.is_some()).count());
        let Some(monitor) = monitors.get_mut(place) else { return };
        if !monitor.count(&self.settings, outcome) || monitor.returns.is_some() {
            return;
        }
        // Whether or not it is ejected, it is counted from the beginning.
        monitor.forgive();
        if 100 * (ejected + 1) > u64::from(self.settings.ejected_percent_max) * count {
            return;
        }
        monitor.eject(&self.settings, now);
        self.version.fetch_add(1, Ordering::Relaxed);
        self.note_next_return(&monitors);
    }

    fn bring_back(&self, monitors: &mut [Monitor], now: Timestamp) {
        if now.as_nanos() < self.next_return.load(Ordering::Relaxed) {
            return;
        }
        let tick = now.as_nanos() / interval(&self.settings);
        for monitor in &mut *monitors {
            if let Some(returns) = monitor.returns.filter(|returns| *returns <= tick) {
                monitor.returns = None;
                monitor.counted = returns;
                monitor.forgive();
            }
        }
        self.version.fetch_add(1, Ordering::Relaxed);
        self.note_next_return(monitors);
    }

    fn note_next_return(&self, monitors: &[Monitor]) {
        let first = monitors.iter().filter_map(|monitor| monitor.returns).min();
        let at = first.map_or(u64::MAX, |tick| tick.saturating_mul(interval(&self.settings)));
        self.next_return.store(at, Ordering::Relaxed);
    }

    /// A poisoned lock only says that another worker died; what it guards is whole.
    fn lock(&self) -> MutexGuard<'_, Vec<Monitor>> {
        self.monitors.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Monitor {
    /// Whether this outcome makes a row full.
    fn count(&mut self, settings: &OutlierDetection, outcome: Outcome) -> bool {
        let status = match (outcome, settings.local_failures) {
            (Outcome::Connected, _) => {
                self.local_failures = 0;
                return false;
            }
            (Outcome::Failed | Outcome::TimedOut, Some(max)) => {
                self.local_failures = self.local_failures.saturating_add(1);
                return self.local_failures == max;
            }
            (Outcome::Failed, None) => 503,
            (Outcome::TimedOut, None) => 504,
            (Outcome::Answered(status), _) if settings.error_codes.is_empty() => status,
            (Outcome::Answered(status), _) => {
                if settings.error_codes.contains(&status) {
                    500
                } else {
                    200
                }
            }
        };
        let grown = |row: u32, holds: bool| if holds { row.saturating_add(1) } else { 0 };
        self.errors = grown(self.errors, matches!(status, 500..=599));
        self.gateway_errors = grown(self.gateway_errors, matches!(status, 502..=504));
        // A count of 0 is never reached.
        (self.errors > 0 && self.errors == settings.errors)
            || (self.gateway_errors > 0 && self.gateway_errors == settings.gateway_errors)
    }

    fn forgive(&mut self) {
        (self.errors, self.gateway_errors, self.local_failures) = (0, 0, 0);
    }

    fn eject(&mut self, settings: &OutlierDetection, now: Timestamp) {
        let OutlierDetection { ejection_time, ejection_time_max, .. } = settings;
        let interval = interval(settings);
        let tick = now.as_nanos() / interval;
        let passed = u32::try_from(tick.saturating_sub(self.counted)).unwrap_or(u32::MAX);
        self.ejections = self.ejections.saturating_sub(passed);
        if ejection_time.saturating_mul(self.ejections) < ejection_time_max.saturating_add(*ejection_time) {
            self.ejections = self.ejections.saturating_add(1);
        }
        let time = ejection_time.saturating_mul(self.ejections).min(*ejection_time_max);
        self.returns = Some(now.after(time).as_nanos().div_ceil(interval).max(tick.saturating_add(1)));
    }
}

fn interval(settings: &OutlierDetection) -> u64 {
    u64::try_from(settings.interval.max(Duration::from_millis(1)).as_nanos()).unwrap_or(u64::MAX)
}

fn number(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_nanos(seconds * 1_000_000_000)
    }

    fn outliers(endpoints: usize, settings: OutlierDetection) -> Outliers {
        Outliers::new(settings, vec![Monitor::default(); endpoints])
    }

    fn all_out() -> OutlierDetection {
        OutlierDetection { errors: 2, ejected_percent_max: 100, ..OutlierDetection::default() }
    }

    fn fail(outliers: &Outliers, place: usize, outcomes: &[Outcome], now: Timestamp) {
        outcomes.iter().for_each(|outcome| outliers.report(place, *outcome, now));
    }

    /// Who is in service then.
    fn seen(outliers: &Outliers, seconds: u64) -> Vec<usize> {
        outliers.version(at(seconds));
        (0..).zip(outliers.in_service()).filter_map(|(place, serves)| serves.then_some(place)).collect()
    }

    use Outcome::{Answered, Connected, Failed, TimedOut};

    #[test]
    fn a_full_row_ejects_and_a_good_answer_breaks_it() {
        let outliers = outliers(2, all_out());
        fail(&outliers, 0, &[Answered(500), Answered(404), Answered(500)], at(1));
        assert_eq!(seen(&outliers, 1), [0, 1]);
        fail(&outliers, 0, &[Answered(599)], at(1));
        assert_eq!(seen(&outliers, 1), [1]);
        fail(&outliers, 1, &[Failed, TimedOut], at(1));
        assert_eq!(seen(&outliers, 1), [0_usize; 0]);
    }

    #[test]
    fn it_comes_back_at_a_tick_and_each_time_later() {
        let outliers = outliers(1, all_out());
        let eject = |seconds| fail(&outliers, 0, &[Answered(503); 2], at(seconds));
        // Thirty seconds, until the tick at 40.
        eject(1);
        assert_eq!((seen(&outliers, 39).len(), seen(&outliers, 40).len()), (0, 1));
        // Sixty.
        eject(41);
        assert_eq!((seen(&outliers, 109).len(), seen(&outliers, 110).len()), (0, 1));
        // Three ticks in service make up for two ejections.
        eject(141);
        assert_eq!((seen(&outliers, 179).len(), seen(&outliers, 180).len()), (0, 1));
    }

    #[test]
    fn no_time_is_longer_than_the_longest() {
        let outliers = outliers(1, all_out());
        let mut now = 0;
        for _ in 0..20 {
            fail(&outliers, 0, &[Answered(503); 2], at(now));
            let back = (now..).find(|second| !seen(&outliers, *second).is_empty()).unwrap();
            assert!(back - now <= 300, "{back} - {now}");
            now = back;
        }
        fail(&outliers, 0, &[Answered(503); 2], at(now));
        assert!(seen(&outliers, now + 299).is_empty());
    }

    #[test]
    fn so_many_may_be_out() {
        let half = outliers(3, OutlierDetection { ejected_percent_max: 66, ..all_out() });
        fail(&half, 0, &[Answered(500); 2], at(0));
        fail(&half, 1, &[Answered(500); 2], at(0));
        assert_eq!(seen(&half, 0), [1, 2]);
        // One in ten is the default: of two never one.
        let default = outliers(2, OutlierDetection { errors: 1, ..OutlierDetection::default() });
        fail(&default, 0, &[Answered(500)], at(0));
        assert_eq!(seen(&default, 0), [0, 1]);
    }

    #[test]
    fn rows_are_counted_as_they_are_told() {
        let ejects = |settings: OutlierDetection, outcomes: &[Outcome]| {
            let outliers = outliers(1, OutlierDetection { ejected_percent_max: 100, ..settings });
            fail(&outliers, 0, outcomes, at(0));
            seen(&outliers, 0).is_empty()
        };
        let gateway = || OutlierDetection { errors: 0, gateway_errors: 2, ..OutlierDetection::default() };
        assert!(ejects(gateway(), &[Answered(503), Answered(504)]));
        assert!(!ejects(gateway(), &[Answered(503), Answered(500), Answered(503)]));
        assert!(!ejects(OutlierDetection { gateway_errors: 0, ..gateway() }, &[Answered(503); 9]));
        let apart = || OutlierDetection { errors: 2, local_failures: Some(3), ..OutlierDetection::default() };
        assert!(ejects(apart(), &[Failed, Answered(200), TimedOut, Failed]));
        assert!(!ejects(apart(), &[Failed, Failed, Connected, Failed]));
        assert!(ejects(apart(), &[Answered(500), Failed, Answered(500)]));
        let codes = || OutlierDetection { errors: 2, error_codes: vec![429], ..OutlierDetection::default() };
        assert!(ejects(codes(), &[Answered(429); 2]));
        assert!(!ejects(codes(), &[Answered(500); 9]));
        assert!(ejects(codes(), &[Failed, Answered(429)]));
    }
}
