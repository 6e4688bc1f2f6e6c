//! Bytes for those who have none: from a seed, and by changing others.

/// Splitmix64: the same bytes on every machine.
#[derive(Clone, Debug)]
pub struct Source(u64);

impl Source {
    /// From a seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Sixty-four even bits.
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    /// A number below `end`, which is above 0.
    pub fn below(&mut self, end: usize) -> usize {
        (self.draw() % end as u64) as usize
    }

    /// Up to `longest` bytes; short ones are as likely as long ones.
    pub fn bytes(&mut self, longest: usize) -> Vec<u8> {
        let bits = self.below(longest.ilog2() as usize + 1);
        let length = self.below((1 << bits) + 1);
        (0..length).map(|_| self.draw() as u8).collect()
    }

    /// `seed` with some things changed: bytes, and pieces cut, repeated, or taken from `other`.
    pub fn mutate(&mut self, seed: &[u8], other: &[u8]) -> Vec<u8> {
        let mut bytes = seed.to_vec();
        for _ in 0..=self.below(4) {
            let at = self.below(bytes.len() + 1);
            let end = at + self.below((bytes.len() - at).min(40) + 1);
            match self.below(5) {
                0 if at < bytes.len() => bytes[at] ^= 1 << self.below(8),
                1 if at < bytes.len() => bytes[at] = self.draw() as u8,
                2 => drop(bytes.drain(at..end)),
                3 => {
                    let piece = bytes[at..end].to_vec();
                    let to = self.below(bytes.len() + 1);
                    bytes.splice(to..to, piece);
                }
                _ => {
                    let from = self.below(other.len() + 1);
                    let to = from + self.below((other.len() - from).min(40) + 1);
                    bytes.splice(at..end, other[from..to].iter().copied());
                }
            }
        }
        bytes
    }
}
