//! Weighted rendezvous hashing: which of several versions a user meets, from nothing but who he is and the weights.
//!
//! Every version draws a waiting time for the user, evenly distributed in its logarithm, by a hash of both; the heavier a
//! version, the shorter its time counts. Who comes first is met:
//!
//! ```text
//! time(user, version) = -log2(hash(user, version))          version met = the one with the least time / weight
//! ```
//!
//! From that follows what a release needs. Shares follow the weights. Only ratios of weights count. A user leaves `i` for `j`
//! only if `time(j) / weight(j)` fell below `time(i) / weight(i)`, so only if the weight of `j` rose relative to that of `i`.
//! Where one version grows against the rest, everybody who moves moves to it, and nobody else moves. Nothing is stored, so
//! every process that knows the weights says the same.
//!
//! Whole numbers only: native and wasm32 agree to the bit. Weights never touch the time, and times are compared by multiplying
//! across, so that 3:1 and 300:100 are the same comparison.

mod flows;

pub use flows::{flow, staying};

use twox_hash::XxHash64;

/// Binary digits of a time behind the point.
const FRACTION: u32 = 40;

/// The logarithm is looked up in this many cells, and read off a line within each. Its error is below 2^-22, and below a part
/// in 4,000 of a time that is short; shares differ from the weights by no more.
const CELLS_LOG2: u32 = 10;
const CELLS: usize = 1 << CELLS_LOG2;

/// `log2(1 + cell / CELLS)` in units of 2^-40.
static LOG2: [u64; CELLS + 1] = logarithms();

/// A user, under a salt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct User(u64);

/// The salt of a policy, ready to be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Salt(u64);

/// A version, by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VersionId(u64);

impl Salt {
    /// `XXH64(salt, seed 0)`.
    pub fn new(text: &str) -> Self {
        Self(XxHash64::oneshot(0, text.as_bytes()))
    }

    /// The user with this key: `XXH64(key, seed salt)`.
    pub fn user(self, key: &[u8]) -> User {
        User(XxHash64::oneshot(self.0, key))
    }
}

impl VersionId {
    /// `XXH64(name, seed 0)`.
    pub fn new(name: &str) -> Self {
        Self(XxHash64::oneshot(0, name.as_bytes()))
    }
}

/// Which of these the user meets, by its place; of equals the first. `None` where nothing has a weight.
pub fn choose(user: User, versions: impl IntoIterator<Item = (VersionId, u32)>) -> Option<usize> {
    let mut best: Option<(usize, u64, u32)> = None;
    for (place, (version, weight)) in versions.into_iter().enumerate().filter(|(_, (_, weight))| *weight > 0) {
        let time = time(user, version);
        // time / weight < best / its weight
        let is_sooner = best.is_none_or(|(_, best_time, best_weight)| {
            u128::from(time) * u128::from(best_weight) < u128::from(best_time) * u128::from(weight)
        });
        if is_sooner {
            best = Some((place, time, weight));
        }
    }
    best.map(|(place, ..)| place)
}

/// How long this version keeps the user waiting: `-log2((XXH64(user, seed version) | 1) / 2^64)`, in units of 2^-40.
fn time(user: User, version: VersionId) -> u64 {
    let hash = XxHash64::oneshot(version.0, &user.0.to_le_bytes()) | 1;
    let zeros = hash.leading_zeros();
    // What stands behind the first one: shifted in two steps, as one of 64 is none.
    let fraction = hash << zeros << 1;
    let cell = usize::try_from(fraction >> (64 - CELLS_LOG2)).unwrap_or(0);
    let within = (fraction << CELLS_LOG2) >> 32;
    let (from, to) = (logarithm(cell), logarithm(cell.saturating_add(1)));
    let log2 = from + (((to - from) * within) >> 32);
    ((u64::from(zeros) + 1) << FRACTION) - log2
}

fn logarithm(cell: usize) -> u64 {
    LOG2.get(cell).copied().unwrap_or(1 << FRACTION)
}

/// Digit by digit: the square of a number has twice its logarithm.
#[expect(clippy::indexing_slicing, reason = "worked out when this is compiled")]
const fn logarithms() -> [u64; CELLS + 1] {
    const ONE: u128 = 1 << 62;
    let mut all = [1 << FRACTION; CELLS + 1];
    let mut cell = 0;
    while cell < CELLS {
        let mut square = ONE + ((cell as u128) << (62 - CELLS_LOG2));
        let (mut digits, mut digit) = (0, 0);
        while digit < FRACTION {
            square = square * square / ONE;
            digits <<= 1;
            if square >= 2 * ONE {
                square /= 2;
                digits |= 1;
            }
            digit += 1;
        }
        all[cell] = digits;
        cell += 1;
    }
    all
}

#[cfg(test)]
mod tests;
