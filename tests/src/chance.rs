//! Draws that repeat themselves, and whether counts fit shares: Pearson's chi-square test, so strict that a right split fails
//! once in a million runs.

/// The value of a standard normal variable that is exceeded once in a million.
const Z: f64 = 4.753_424;

/// SplitMix64: enough for tests, and the same on every run.
#[derive(Clone, Debug)]
pub struct SplitMix(u64);

impl SplitMix {
    /// A source of its own for each seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 64 bits.
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// One of `0..limit`; the bias of a remainder does not matter here.
    pub fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.draw() % limit.max(1) as u64).unwrap_or(0)
    }

    /// True in so many percent.
    pub fn percent(&mut self, share: usize) -> bool {
        self.below(100) < share
    }

    /// One of the items.
    pub fn pick<'a, T: ?Sized>(&mut self, items: &[&'a T]) -> &'a T {
        items[self.below(items.len())]
    }
}

/// Why `counts` do not fit `shares`; `None` when they do. Where the share is 0, nothing may be counted.
pub fn misfit(counts: &[u64], shares: &[f64]) -> Option<String> {
    let total = counts.iter().sum::<u64>() as f64;
    let whole: f64 = shares.iter().sum();
    let mut statistic = 0.0;
    let mut cells = 0;
    for (count, share) in counts.iter().zip(shares) {
        let expected = total * share / whole;
        if expected > 0.0 {
            statistic += (*count as f64 - expected).powi(2) / expected;
            cells += 1;
        } else if *count > 0 {
            return Some(format!("{count} where there should be none"));
        }
    }
    let limit = critical(f64::from(cells - 1));
    (statistic > limit).then(|| format!("chi-square {statistic:.1}, above {limit:.1}"))
}

/// Wilson and Hilferty's approximation of the value that is exceeded once in a million.
fn critical(degrees: f64) -> f64 {
    if degrees < 1.0 {
        return 0.0;
    }
    let spread = 2.0 / (9.0 * degrees);
    degrees * (1.0 - spread + Z * spread.sqrt()).powi(3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fits_passes_and_what_does_not_is_found() {
        assert_eq!(misfit(&[800, 200], &[80.0, 20.0]), None);
        assert_eq!(misfit(&[840, 160], &[80.0, 20.0]), None);
        assert!(misfit(&[880, 120], &[80.0, 20.0]).is_some());
        assert!(misfit(&[500, 500], &[80.0, 20.0]).is_some());
        assert_eq!(misfit(&[330, 340, 330], &[1.0, 1.0, 1.0]), None);
        assert!(misfit(&[430, 280, 290], &[1.0, 1.0, 1.0]).is_some());
    }

    #[test]
    fn a_share_of_zero_gets_nothing() {
        assert_eq!(misfit(&[800, 0, 200], &[80.0, 0.0, 20.0]), None);
        assert!(misfit(&[800, 1, 200], &[80.0, 0.0, 20.0]).is_some());
        assert_eq!(misfit(&[7, 0], &[1.0, 0.0]), None);
    }

    #[test]
    fn the_limit_is_close_to_the_tables() {
        // One in a million: 23.9 for one degree of freedom, 27.6 for two; too lenient by a little is fine.
        assert!((23.9..28.0).contains(&critical(1.0)), "{}", critical(1.0));
        assert!((27.6..31.0).contains(&critical(2.0)), "{}", critical(2.0));
    }
}
