//! Rates that change over time: when the next request is due.
//!
//! The area below the rate is the number of requests so far. It is counted in millionths of a request a second times
//! nanoseconds, all whole.

use crate::scenario::RampPoint;

/// The area of one request.
pub(super) const ONE: u64 = 1_000_000_000_000_000;

/// A rate over time.
pub(super) struct Ramp {
    /// When and how much, with the area before it; ascending.
    points: Vec<(u64, u64, u128)>,
}

impl Ramp {
    pub(super) fn new(spec: &[RampPoint]) -> Self {
        let mut points: Vec<(u64, u64, u128)> = Vec::new();
        // Before the first point the rate is that of the first.
        let first = spec.first().filter(|point| point.at.as_nanos() > 0).map(|point| (0, point.rate_per_second.micros));
        let spec = spec.iter().map(|point| (point.at.as_nanos(), point.rate_per_second.micros));
        for (at, rate) in first.into_iter().chain(spec) {
            let area = points.last().map_or(0, |(from, before, area)| {
                area.saturating_add(segment(*before, rate, at.saturating_sub(*from), at.saturating_sub(*from)))
            });
            points.push((at, rate, area));
        }
        Self { points }
    }

    /// The first moment at which the area is so large; `None`: it never is.
    pub(super) fn at(&self, area: u128) -> Option<u64> {
        let next = self.points.partition_point(|(.., before)| *before < area);
        let (from, rate, before) = *self.points.get(next.saturating_sub(1))?;
        let rest = area.saturating_sub(before);
        if rest == 0 {
            return Some(from);
        }
        let Some((to, rate_then, _)) = self.points.get(next).copied() else {
            let wait = rest.div_ceil(u128::from(rate).max(1));
            return if rate == 0 { None } else { u64::try_from(u128::from(from).saturating_add(wait)).ok() };
        };
        let length = to.saturating_sub(from);
        let (mut low, mut high) = (0, length);
        while low < high {
            let middle = low + (high - low) / 2;
            if segment(rate, rate_then, length, middle) >= rest {
                high = middle;
            } else {
                low = middle + 1;
            }
        }
        Some(from.saturating_add(low))
    }
}

/// The area of the first `passed` nanoseconds of `length`, in which the rate goes evenly from `rate` to `then`.
fn segment(rate: u64, then: u64, length: u64, passed: u64) -> u128 {
    let [rate, then, length, passed] = [rate, then, length.max(1), passed].map(u128::from);
    // A rectangle, and a triangle more or less: twice each. The triangle is divided last, as far as numbers go: near a rate of
    // zero a little area takes long.
    let change = rate.abs_diff(then).saturating_mul(passed);
    let triangle = (change / length).saturating_mul(passed).saturating_add(change % length * passed / length);
    let rectangle = rate.saturating_mul(passed).saturating_mul(2);
    (if then >= rate { rectangle.saturating_add(triangle) } else { rectangle.saturating_sub(triangle) }) / 2
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ramp(points: &[(&str, f64)]) -> Ramp {
        let points: Vec<RampPoint> = points
            .iter()
            .map(|(at, rate)| serde_json::from_value(serde_json::json!({"at": at, "ratePerSecond": rate})).unwrap())
            .collect();
        Ramp::new(&points)
    }

    /// When request `number` is due, in milliseconds.
    #[track_caller]
    fn check(points: &[(&str, f64)], number: u64, expected: Option<u64>) {
        let due = ramp(points).at(u128::from(number) * u128::from(ONE));
        assert_eq!(due.map(|nanos| (nanos + 500_000) / 1_000_000), expected);
    }

    #[test]
    fn requests_are_the_area_below_the_rate() {
        check(&[("0s", 10.0)], 0, Some(0));
        check(&[("0s", 10.0)], 25, Some(2_500));
        // From 0 to 10 a second in 10 s: n requests after sqrt(2 n) seconds.
        check(&[("0s", 0.0), ("10s", 10.0)], 2, Some(2_000));
        check(&[("0s", 0.0), ("10s", 10.0)], 50, Some(10_000));
        check(&[("0s", 0.0), ("10s", 10.0)], 60, Some(11_000));
        // Down again: 25 in the first 5 s, and no more than 50 in all.
        check(&[("0s", 10.0), ("10s", 0.0)], 50, Some(10_000));
        check(&[("0s", 10.0), ("10s", 0.0)], 51, None);
        check(&[("5s", 1.0), ("6s", 3.0)], 5, Some(5_000));
        check(&[("5s", 1.0), ("6s", 3.0)], 7, Some(6_000));
    }
}
