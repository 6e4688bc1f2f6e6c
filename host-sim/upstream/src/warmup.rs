//! Endpoints that joined a short time ago get less than their share (Envoy's slow start).
//!
//! An endpoint joins when a plan names it that the plan before did not; at the start all join together, and are equal. One
//! that was ejected and comes back has not joined again: in Envoy only active health checks would have it do so.

use std::time::Duration;

use envoy_plan::Warmup;

use crate::schedule::PARTS;
use crate::time::Timestamp;

/// When the last of a cluster's endpoints joined, and what that means.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Warming {
    settings: Warmup,
    last_joined: Timestamp,
}

impl Warming {
    /// `joined`: when each endpoint did.
    pub(crate) fn new(settings: Warmup, joined: impl Iterator<Item = Timestamp>) -> Self {
        Self { settings, last_joined: joined.max().unwrap_or_default() }
    }

    /// Whether any endpoint may get less than its share. While that is so, endpoints of equal weight are chosen by a schedule
    /// like those of unequal weight, and they go on so until something else changes.
    pub(crate) fn is_on(&self, now: Timestamp) -> bool {
        let Self { settings, last_joined } = self;
        !settings.window.is_zero() && millis(now.since(*last_joined)) <= millis(settings.window)
    }

    /// The part of its weight that an endpoint has, in [`PARTS`].
    pub(crate) fn part(&self, joined: Timestamp, now: Timestamp) -> u64 {
        let Warmup { window, least, aggression } = self.settings;
        let (passed, window) = (millis(now.since(joined)), millis(window));
        if passed >= window {
            return PARTS;
        }
        let passed = passed.max(1);
        let least = least.of(PARTS);
        // Both are far below 2^53.
        let grown = if aggression == 1.0 {
            PARTS.saturating_mul(passed) / window
        } else {
            // Not the platform's power, which need not be the same everywhere.
            (libm::pow(passed as f64 / window as f64, 1.0 / aggression) * PARTS as f64) as u64
        };
        grown.max(least).max(1)
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use envoy_plan::PerMillion;

    fn part(aggression: f64, least: f64, passed: u64) -> u64 {
        let settings = Warmup { window: Duration::from_secs(100), least: PerMillion::from_percent(least), aggression };
        let joined = Timestamp::from_nanos(5_000_000_000);
        Warming::new(settings, [joined].into_iter()).part(joined, joined.after(Duration::from_millis(passed)))
    }

    #[test]
    fn it_grows_with_time_and_never_falls_below_the_least() {
        assert_eq!(part(1.0, 10.0, 0), 100_000);
        assert_eq!(part(1.0, 0.0, 0), 10);
        assert_eq!(part(1.0, 10.0, 50_000), 500_000);
        assert_eq!(part(1.0, 10.0, 100_000), PARTS);
        // The square root, and the square.
        assert_eq!(part(2.0, 10.0, 25_000), 500_000);
        assert_eq!(part(0.5, 10.0, 50_000), 250_000);
        assert_eq!(part(0.5, 30.0, 50_000), 300_000);
    }

    #[test]
    fn it_is_on_until_the_window_of_the_last_is_over() {
        let settings =
            Warmup { window: Duration::from_secs(10), least: PerMillion::from_percent(10.0), aggression: 1.0 };
        let at = |seconds: u64| Timestamp::from_nanos(seconds * 1_000_000_000);
        let warming = Warming::new(settings, [at(3), at(20), at(4)].into_iter());
        assert!(warming.is_on(at(20)) && warming.is_on(at(30)) && !warming.is_on(at(31)));
        let never = Warming::new(Warmup { window: Duration::ZERO, ..settings }, [at(0)].into_iter());
        assert!(!never.is_on(at(0)));
    }
}
