//! Chance from one seed: every source of it (arrivals, latencies of a version, balancing, the guest) has a stream of its
//! own, so that one more draw in one moves nothing in another. All whole numbers: every machine draws the same.

use upstream::Draws;

/// A stream of random numbers: xoshiro256++ by Blackman and Vigna.
#[derive(Clone, Debug)]
pub(crate) struct Chance {
    state: [u64; 4],
}

impl Chance {
    /// The stream of this name under this seed.
    pub(crate) fn new(seed: u64, name: &str) -> Self {
        // FNV-1a spreads the name; SplitMix64 then fills the state, which so is never all zero.
        let name = name
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
        let mut mixer = SplitMix(seed);
        let mut mixer = SplitMix(mixer.next() ^ name);
        Self { state: [mixer.next(), mixer.next(), mixer.next(), mixer.next()] }
    }

    /// Even over all of `u64`.
    pub(crate) fn draw(&mut self) -> u64 {
        let [a, b, c, d] = &mut self.state;
        let result = a.wrapping_add(*d).rotate_left(23).wrapping_add(*a);
        let shifted = *b << 17;
        *c ^= *a;
        *d ^= *b;
        *b ^= *c;
        *a ^= *d;
        *c ^= shifted;
        *d = d.rotate_left(45);
        result
    }

    /// Even over `0..total`, without the bias of a remainder; zero if `total` is zero.
    pub(crate) fn below(&mut self, total: u64) -> u64 {
        scale(self.draw(), total)
    }

    /// Exponentially distributed with this mean, by von Neumann's method, which only compares: the longest falling run
    /// that begins with a draw `u` is odd with probability `exp(-u)`, so `u` is then the fraction, and each run of even
    /// length before it adds a whole mean.
    pub(crate) fn exponential(&mut self, mean: u64) -> u64 {
        let mut wholes = 0_u64;
        loop {
            let first = self.draw();
            let (mut last, mut length) = (first, 1_u32);
            loop {
                let next = self.draw();
                if next >= last {
                    break;
                }
                last = next;
                length += 1;
            }
            if length % 2 == 1 {
                return mean.saturating_mul(wholes).saturating_add(scale(first, mean));
            }
            wholes += 1;
        }
    }

    /// Standard normally distributed, in units of 2^-32: whether it is below zero, and how far from it. By von Neumann's
    /// method: an exponential draw `x` is kept when another one is above `(x - 1)^2 / 2`.
    pub(crate) fn normal(&mut self) -> (bool, u64) {
        const ONE: u64 = 1 << 32;
        loop {
            let (x, y) = (self.exponential(ONE), self.exponential(ONE));
            let off = u128::from(x.abs_diff(ONE));
            if (u128::from(y) << 33) >= off.saturating_mul(off) {
                return (self.draw() & 1 == 1, x);
            }
        }
    }

    /// Fills `bytes`.
    pub(crate) fn fill(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            let draw = self.draw().to_le_bytes();
            chunk.iter_mut().zip(draw).for_each(|(byte, drawn)| *byte = drawn);
        }
    }
}

impl Draws for Chance {
    fn next_u64(&mut self) -> u64 {
        self.draw()
    }
}

/// Spreads `draw` evenly over `0..total`.
fn scale(draw: u64, total: u64) -> u64 {
    // The upper half of a product of two u64 always fits.
    u64::try_from((u128::from(draw) * u128::from(total)) >> 64).unwrap_or(0)
}

struct SplitMix(u64);

impl SplitMix {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_differ_by_seed_and_by_name_and_repeat() {
        let draws = |seed, name| {
            let mut chance = Chance::new(seed, name);
            [chance.draw(), chance.draw()]
        };
        assert_eq!(draws(1, "arrivals"), draws(1, "arrivals"));
        assert_ne!(draws(1, "arrivals"), draws(2, "arrivals"));
        assert_ne!(draws(1, "arrivals"), draws(1, "latency"));
    }

    #[test]
    fn exponential_has_its_mean_and_its_tail() {
        let mut chance = Chance::new(7, "test");
        let (count, mean) = (200_000_u64, 1_000_000_u64);
        let (mut sum, mut beyond_three) = (0, 0);
        for _ in 0..count {
            let drawn = chance.exponential(mean);
            sum += drawn;
            beyond_three += u64::from(drawn > 3 * mean);
        }
        // Mean within four standard errors (1/sqrt(n) = 0.22 %); exp(-3) = 4.979 %.
        assert!((991_000..1_009_000).contains(&(sum / count)), "{}", sum / count);
        assert!((9_560..10_350).contains(&beyond_three), "{beyond_three}");
    }

    #[test]
    fn normal_has_its_spread_and_its_tails() {
        let mut chance = Chance::new(7, "test");
        let (mut below_zero, mut beyond_one, mut beyond_two) = (0, 0, 0);
        for _ in 0..100_000 {
            let (is_below, off) = chance.normal();
            below_zero += u64::from(is_below);
            beyond_one += u64::from(off > 1 << 32);
            beyond_two += u64::from(off > 2 << 32);
        }
        // 50 %, 31.731 % and 4.550 %, within four standard errors.
        assert!((49_360..50_640).contains(&below_zero), "{below_zero}");
        assert!((31_140..32_320).contains(&beyond_one), "{beyond_one}");
        assert!((4_286..4_814).contains(&beyond_two), "{beyond_two}");
    }

    #[test]
    fn below_stays_below_and_reaches_all() {
        let mut chance = Chance::new(1, "test");
        let mut seen = [0; 3];
        (0..3_000).for_each(|_| seen[usize::try_from(chance.below(3)).unwrap()] += 1);
        assert!(seen.iter().all(|count| (880..1_120).contains(count)), "{seen:?}");
        assert_eq!(chance.below(0), 0);
    }
}
