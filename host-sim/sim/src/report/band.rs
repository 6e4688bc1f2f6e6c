//! How far an observed share may be off without meaning anything: the middle 95 % of the binomial distribution.

use crate::report::binomial::Binomial;

/// What may fall out on either side.
const TAIL: f64 = 0.025;

/// The smallest and the largest count to expect of `total` draws that hit with probability `weight / weights`: fewer, and
/// more, come with at most 2.5 % each.
pub(crate) fn band(total: u64, weight: u64, weights: u64) -> (u64, u64) {
    Binomial::new(total, weight, weights).middle(TAIL)
}

/// From how many requests on a deviation of one percentage point is outside the band, roughly: `1.96^2 p (1 - p) / 0.01^2`.
pub(crate) fn requests_for_one_percent(weight: u64, weights: u64) -> u64 {
    let (weight, weights) = (u128::from(weight.min(weights)), u128::from(weights.max(1)));
    u64::try_from(38_416 * weight * (weights - weight) / (weights * weights)).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bands_are_those_of_the_tables() {
        // scipy.stats.binom.ppf(0.025, n, p) and .ppf(0.975, n, p).
        assert_eq!(band(100, 25, 100), (17, 34));
        assert_eq!(band(20, 80, 100), (12, 19));
        assert_eq!(band(10, 1, 2), (2, 8));
        assert_eq!(band(10_000, 1, 2), (4_902, 5_098));
    }

    #[test]
    fn certain_and_impossible_shares_have_no_width() {
        assert_eq!(band(50, 100, 100), (50, 50));
        assert_eq!(band(50, 0, 100), (0, 0));
        assert_eq!(band(0, 1, 2), (0, 0));
    }

    #[test]
    fn a_hundred_requests_do_not_show_one_percent() {
        assert_eq!(requests_for_one_percent(25, 100), 7_203);
    }
}
