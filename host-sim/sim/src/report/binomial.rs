//! The binomial distribution, exactly: how often a draw that hits with a known probability hits in so many tries.
//!
//! Exact also for a handful of requests, where the usual `1.96 * sqrt(n * p * (1 - p))` is wrong. Only products, sums and
//! quotients: every machine gets the same numbers.

/// Terms below this, relative to the largest, change nothing.
const NEGLIGIBLE: f64 = 1e-17;

/// How many hits come in so many draws.
pub(crate) struct Binomial {
    /// The count of the first term; fewer hits practically never come.
    lowest: u64,
    /// Probabilities of this many hits, one more, and so on, relative to the most likely.
    terms: Vec<f64>,
    /// Their sum.
    all: f64,
}

impl Binomial {
    /// `total` draws that hit with probability `weight / weights`.
    #[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^53")]
    pub(crate) fn new(total: u64, weight: u64, weights: u64) -> Self {
        if weight == 0 || weights == 0 {
            return Self { lowest: 0, terms: vec![1.0], all: 1.0 };
        }
        if weight >= weights {
            return Self { lowest: total, terms: vec![1.0], all: 1.0 };
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
        let all = terms.iter().sum();
        Self { lowest, terms, all }
    }

    /// The probability of at most so many hits.
    pub(crate) fn at_most(&self, count: u64) -> f64 {
        let Some(above) = count.saturating_add(1).checked_sub(self.lowest) else { return 0.0 };
        let taken = usize::try_from(above).unwrap_or(usize::MAX);
        self.terms.iter().take(taken).sum::<f64>() / self.all
    }

    /// The probability of at least so many hits.
    pub(crate) fn at_least(&self, count: u64) -> f64 {
        let left_out = usize::try_from(count.saturating_sub(self.lowest)).unwrap_or(usize::MAX);
        self.terms.iter().rev().take(self.terms.len().saturating_sub(left_out)).sum::<f64>() / self.all
    }

    /// The smallest and the greatest count to expect: fewer, and more, come with a probability of at most `tail` each.
    pub(crate) fn middle(&self, tail: f64) -> (u64, u64) {
        let outside = |terms: &mut dyn Iterator<Item = &f64>| {
            let mut sum = 0.0;
            let fits = |term: &&f64| {
                sum += **term;
                sum <= tail * self.all
            };
            terms.take_while(fits).count() as u64
        };
        let highest = self.lowest + self.terms.len() as u64 - 1;
        (self.lowest + outside(&mut self.terms.iter()), highest - outside(&mut self.terms.iter().rev()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tails_are_those_of_the_tables() {
        // scipy.stats.binom.cdf(7, 20, 0.5), .sf(7, 20, 0.5), .cdf(9980, 10000, 0.999), .sf(9, 10, 0.9).
        let half = Binomial::new(20, 1, 2);
        assert!((half.at_most(7) - 0.131_587_982_177_734_38).abs() < 1e-12, "{}", half.at_most(7));
        assert!((half.at_least(8) - 0.868_412_017_822_265_6).abs() < 1e-12, "{}", half.at_least(8));
        let seldom = Binomial::new(10_000, 999, 1_000);
        assert!((seldom.at_most(9_980) - 0.003_437_566_815_702).abs() < 1e-9, "{}", seldom.at_most(9_980));
        assert!((Binomial::new(10, 9, 10).at_least(10) - 0.348_678_440_1).abs() < 1e-12);
    }

    #[test]
    fn ends_are_certain() {
        let some = Binomial::new(10, 1, 3);
        assert!((some.at_least(0) - 1.0).abs() < 1e-15 && (some.at_most(10) - 1.0).abs() < 1e-15);
        assert_eq!((Binomial::new(5, 0, 3).at_most(0), Binomial::new(5, 0, 3).at_least(1)), (1.0, 0.0));
        assert_eq!((Binomial::new(5, 3, 3).at_most(4), Binomial::new(5, 3, 3).at_least(5)), (0.0, 1.0));
        assert_eq!((Binomial::new(0, 1, 2).at_most(0), Binomial::new(0, 1, 2).at_least(0)), (1.0, 1.0));
    }
}
