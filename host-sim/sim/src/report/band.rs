//! How far an observed share may be off without meaning anything: the middle 95 % of the binomial distribution.
//!
//! Exact, also for a handful of requests, where the usual `1.96 * sqrt(n * p * (1 - p))` is wrong. Only products, sums and
//! quotients: every machine gets the same band.

/// What may fall out on either side.
const TAIL: f64 = 0.025;

/// Terms below this, relative to the largest, change nothing.
const NEGLIGIBLE: f64 = 1e-17;

/// The smallest and the largest count to expect of `total` draws that hit with probability `weight / weights`: fewer, and
/// more, come with at most 2.5 % each.
#[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^53")]
pub(crate) fn band(total: u64, weight: u64, weights: u64) -> (u64, u64) {
    if weight == 0 || weights == 0 {
        return (0, 0);
    }
    if weight >= weights {
        return (total, total);
    }
    let odds = weight as f64 / (weights - weight) as f64;
    let mode = u128::from(total) * u128::from(weight) / u128::from(weights);
    let mode = u64::try_from(mode).unwrap_or(total);
    // Relative to the mode, outwards: P(k + 1) = P(k) * (n - k) / (k + 1) * odds.
    let up = |k: u64| (total - k) as f64 / (k + 1) as f64 * odds;
    let mut below = Vec::new();
    let (mut k, mut term) = (mode, 1.0);
    while k > 0 {
        term /= up(k - 1);
        if term < NEGLIGIBLE {
            break;
        }
        k -= 1;
        below.push(term);
    }
    let lowest = k;
    let mut terms: Vec<f64> = below.into_iter().rev().collect();
    terms.push(1.0);
    let (mut k, mut term) = (mode, 1.0);
    while k < total {
        term *= up(k);
        if term < NEGLIGIBLE {
            break;
        }
        k += 1;
        terms.push(term);
    }
    let all: f64 = terms.iter().sum();
    let outside = |terms: &mut dyn Iterator<Item = &f64>| {
        let mut sum = 0.0;
        let fits = |term: &&f64| {
            sum += **term;
            sum <= TAIL * all
        };
        terms.take_while(fits).count() as u64
    };
    let low = lowest + outside(&mut terms.iter());
    let high = lowest + terms.len() as u64 - 1 - outside(&mut terms.iter().rev());
    (low, high)
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
