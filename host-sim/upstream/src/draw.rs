//! Chance as the host hands it in: one seeded stream in the simulator, one generator per worker in the proxy.

/// Where random numbers come from.
pub trait Draws {
    /// The next number, evenly distributed over all of `u64`.
    fn next_u64(&mut self) -> u64;
}

impl<F: FnMut() -> u64> Draws for F {
    fn next_u64(&mut self) -> u64 {
        self()
    }
}

/// Spreads `draw` evenly over `0..total`, without the bias of a remainder. Zero if `total` is zero.
pub(crate) fn scale(draw: u64, total: u64) -> u64 {
    let product = u128::from(draw) * u128::from(total);
    u64::try_from(product >> 64).unwrap_or(0) // The upper half of a product of two u64 always fits.
}

/// A place in `0..len`; zero if `len` is zero.
pub(crate) fn index(draws: &mut dyn Draws, len: usize) -> usize {
    let total = u64::try_from(len).unwrap_or(u64::MAX);
    usize::try_from(scale(draws.next_u64(), total)).unwrap_or(0) // Below `len`, so it fits.
}
