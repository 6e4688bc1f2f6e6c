//! How long a retry waits: exponential with full jitter, in whole milliseconds, as Envoy does it.
//!
//! Retry `n` waits one of `0, 1, .. ceiling - 1` milliseconds, each as likely, the ceiling being
//! `min(base * 2^(n - 1), max)`. Measured on Envoy 1.40: ceilings 25, 50, 100, 200, 250, 250 for a base of 25 ms.

use std::time::Duration;

use crate::draw::{Draws, scale};

/// Back-off in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Backoff {
    /// At least 1.
    base_ms: u64,
    /// At least the base.
    max_ms: u64,
}

impl Backoff {
    /// Rounds down to milliseconds, but not to zero.
    pub(crate) fn compile(backoff: envoy_plan::Backoff) -> Self {
        let envoy_plan::Backoff { base, max } = backoff;
        let millis = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        let base_ms = millis(base).max(1);
        Self { base_ms, max_ms: millis(max).max(base_ms) }
    }

    /// The wait before retry `number`, from 1.
    pub(crate) fn wait(self, number: u32, draws: &mut dyn Draws) -> Duration {
        Duration::from_millis(scale(draws.next_u64(), self.ceiling_ms(number)))
    }

    fn ceiling_ms(self, number: u32) -> u64 {
        let doublings = number.saturating_sub(1);
        let factor = 1_u64.checked_shl(doublings).unwrap_or(u64::MAX);
        self.base_ms.saturating_mul(factor).min(self.max_ms)
    }
}

impl Default for Backoff {
    fn default() -> Self {
        Self::compile(envoy_plan::Backoff::default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ceilings(base_ms: u64, max_ms: u64) -> Vec<u64> {
        let plan = envoy_plan::Backoff { base: Duration::from_millis(base_ms), max: Duration::from_millis(max_ms) };
        (1..=6).map(|number| Backoff::compile(plan).ceiling_ms(number)).collect()
    }

    #[test]
    fn ceilings_are_those_measured_on_envoy() {
        assert_eq!(ceilings(25, 250), [25, 50, 100, 200, 250, 250]);
    }

    #[test]
    fn odd_settings_are_made_sound() {
        assert_eq!(ceilings(0, 0), [1, 1, 1, 1, 1, 1]);
        assert_eq!(ceilings(100, 10), [100; 6]);
        assert_eq!(Backoff::default().ceiling_ms(u32::MAX), 250);
    }

    #[test]
    fn waits_fill_the_range_and_stay_below_the_ceiling() {
        let backoff = Backoff::default();
        assert_eq!(backoff.wait(1, &mut || 0), Duration::ZERO);
        assert_eq!(backoff.wait(1, &mut || u64::MAX), Duration::from_millis(24));
        assert_eq!(backoff.wait(3, &mut || u64::MAX / 2), Duration::from_millis(49));
    }
}
