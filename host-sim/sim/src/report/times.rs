//! Times gathered and told: percentiles of an HDR histogram to three digits, and a coarse picture.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

/// Percentiles of some times, in microseconds; all zero when there were none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Times {
    /// How many.
    pub count: u64,
    /// The mean, cut to whole microseconds.
    pub mean_us: u64,
    /// The shortest.
    pub min_us: u64,
    /// Half took no longer. Percentiles are true to three digits.
    pub p50_us: u64,
    /// Nine tenths took no longer.
    pub p90_us: u64,
    /// 95 % took no longer.
    pub p95_us: u64,
    /// 99 % took no longer.
    pub p99_us: u64,
    /// The longest.
    pub max_us: u64,
}

/// Gathers times.
#[derive(Clone, Debug, Default)]
pub(crate) struct Clock {
    /// In microseconds; made with the first time.
    histogram: Option<Histogram<u64>>,
    sum_us: u128,
    min_us: u64,
    max_us: u64,
}

impl Clock {
    pub(crate) fn record(&mut self, took: Duration) {
        let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        if self.histogram.is_none() {
            // Three digits are within what the type offers; if they were not, there would be no percentiles.
            self.histogram = Histogram::new(3).ok();
            self.min_us = us;
        }
        if let Some(histogram) = &mut self.histogram {
            // It grows as needed, so it refuses nothing.
            let _ = histogram.record(us);
        }
        self.sum_us += u128::from(us);
        self.min_us = self.min_us.min(us);
        self.max_us = self.max_us.max(us);
    }

    /// Adds what another has gathered.
    pub(crate) fn add(&mut self, other: &Self) {
        match (&mut self.histogram, &other.histogram) {
            (_, None) => {}
            (None, Some(_)) => *self = other.clone(),
            (Some(histogram), Some(others)) => {
                // It grows as needed, so it takes every value.
                let _ = histogram.add(others);
                self.sum_us += other.sum_us;
                self.min_us = self.min_us.min(other.min_us);
                self.max_us = self.max_us.max(other.max_us);
            }
        }
    }

    /// The mean; `None` without times.
    pub(crate) fn mean_us(&self) -> Option<u64> {
        let count = self.histogram.as_ref()?.len();
        Some(u64::try_from(self.sum_us / u128::from(count.max(1))).unwrap_or(u64::MAX))
    }

    /// So many millionths of all took no longer; `None` without times.
    #[expect(clippy::cast_precision_loss, reason = "at most a million")]
    pub(crate) fn at_ppm(&self, ppm: u64) -> Option<u64> {
        self.histogram.as_ref().map(|histogram| self.at(histogram, ppm as f64 / 1e6))
    }

    /// A bucket's upper end may lie above all that was recorded.
    fn at(&self, histogram: &Histogram<u64>, quantile: f64) -> u64 {
        histogram.value_at_quantile(quantile).clamp(self.min_us, self.max_us)
    }

    pub(crate) fn times(&self) -> Times {
        let Some(histogram) = &self.histogram else { return Times::default() };
        let at = |quantile| self.at(histogram, quantile);
        Times {
            count: histogram.len(),
            mean_us: self.mean_us().unwrap_or(0),
            min_us: self.min_us,
            p50_us: at(0.5),
            p90_us: at(0.9),
            p95_us: at(0.95),
            p99_us: at(0.99),
            max_us: self.max_us,
        }
    }
}

/// Microseconds to three digits, as they are shown and as percentiles are true.
pub(crate) fn three_digits(us: u64) -> u64 {
    let unit = us.checked_ilog10().and_then(|digits| 10_u64.checked_pow(digits.saturating_sub(2))).unwrap_or(1);
    us.saturating_add(unit / 2) / unit * unit
}

/// One bar: how many took at least `from_us` and less than `to_us` microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Bar {
    /// Included.
    pub from_us: u64,
    /// Excluded; the last bar has no end.
    pub to_us: Option<u64>,
    /// How many.
    pub count: u64,
}

/// Lower ends of the bars after the first, in microseconds: 1, 2, 5, 10 and so on from a millisecond to 200 seconds.
const EDGES_US: [u64; 17] = [
    1_000,
    2_000,
    5_000,
    10_000,
    20_000,
    50_000,
    100_000,
    200_000,
    500_000,
    1_000_000,
    2_000_000,
    5_000_000,
    10_000_000,
    20_000_000,
    50_000_000,
    100_000_000,
    200_000_000,
];

/// Gathers the picture.
#[derive(Default)]
pub(crate) struct Shape {
    counts: [u64; EDGES_US.len() + 1],
}

impl Shape {
    pub(crate) fn record(&mut self, took: Duration) {
        let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        if let Some(count) = self.counts.get_mut(EDGES_US.partition_point(|edge| *edge <= us)) {
            *count += 1;
        }
    }

    /// From the first bar with anything in it to the last.
    pub(crate) fn bars(&self) -> Vec<Bar> {
        let starts = std::iter::once(0).chain(EDGES_US);
        let ends = EDGES_US.into_iter().map(Some).chain([None]);
        let bars = starts.zip(ends).zip(self.counts);
        let mut bars: Vec<Bar> = bars.map(|((from_us, to_us), count)| Bar { from_us, to_us, count }).collect();
        let full = bars.iter().rposition(|bar| bar.count > 0).map_or(0, |last| last + 1);
        bars.truncate(full);
        bars.into_iter().skip_while(|bar| bar.count == 0).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_constant_time_is_told_exactly() {
        let mut clock = Clock::default();
        (0..100).for_each(|_| clock.record(Duration::from_secs(1)));
        let times = clock.times();
        assert_eq!(
            (times.p50_us, times.p99_us, times.max_us, times.mean_us),
            (1_000_000, 1_000_000, 1_000_000, 1_000_000)
        );
    }

    #[test]
    fn percentiles_are_true_to_three_digits() {
        let mut clock = Clock::default();
        (1..=1_000).for_each(|ms| clock.record(Duration::from_millis(ms)));
        let times = clock.times();
        assert!((500_000..=500_500).contains(&times.p50_us), "{times:?}");
        assert!((990_000..=991_000).contains(&times.p99_us), "{times:?}");
        assert_eq!((times.min_us, times.max_us, times.mean_us), (1_000, 1_000_000, 500_500));
    }

    #[test]
    fn three_digits_are_kept() {
        for (us, rounded) in
            [(0, 0), (7, 7), (999, 999), (1_004, 1_000), (20_015, 20_000), (20_050, 20_100), (9_996, 10_000)]
        {
            assert_eq!(three_digits(us), rounded, "{us}");
        }
    }

    #[test]
    fn times_of_two_are_those_of_both() {
        let clock = |range: std::ops::RangeInclusive<u64>| {
            let mut clock = Clock::default();
            range.for_each(|ms| clock.record(Duration::from_millis(ms)));
            clock
        };
        let mut both = clock(1..=100);
        both.add(&clock(101..=50_000));
        both.add(&Clock::default());
        assert_eq!(both.times(), clock(1..=50_000).times());
        let mut from_nothing = Clock::default();
        from_nothing.add(&both);
        assert_eq!((from_nothing.at_ppm(999_000), Clock::default().at_ppm(1)), (both.at_ppm(999_000), None));
    }

    #[test]
    fn bars_begin_and_end_where_something_is() {
        let mut shape = Shape::default();
        [3, 4, 30].into_iter().for_each(|ms| shape.record(Duration::from_millis(ms)));
        let counts: Vec<u64> = shape.bars().iter().map(|bar| bar.count).collect();
        assert_eq!(counts, [2, 0, 0, 1]);
        assert!(Shape::default().bars().is_empty());
    }
}
