//! Chance: one generator per VM, seeded by the host.
//!
//! The host's `random_get` is the only source, so a simulator that seeds it repeats a run to the bit. One call seeds the
//! generator; draws for requests cost no hostcall.

use rand::rngs::Xoshiro256PlusPlus;
use rand::{Rng, SeedableRng};
use std::cell::RefCell;

#[link(wasm_import_module = "wasi_snapshot_preview1")]
unsafe extern "C" {
    fn random_get(buffer: *mut u8, size: usize) -> u32;
}

/// getrandom's source on this target (`--cfg getrandom_backend="custom"`).
///
/// # Safety
/// `buffer` points to `size` writable bytes; getrandom sees to that.
#[unsafe(no_mangle)]
unsafe extern "Rust" fn __getrandom_v03_custom(buffer: *mut u8, size: usize) -> Result<(), getrandom::Error> {
    // SAFETY: passed on as received.
    match unsafe { random_get(buffer, size) } {
        0 => Ok(()),
        _ => Err(getrandom::Error::UNSUPPORTED),
    }
}

thread_local! {
    static GENERATOR: RefCell<Xoshiro256PlusPlus> = RefCell::new(Xoshiro256PlusPlus::from_seed(seed()));
}

/// A host without randomness gets the same draws in each VM, which still meet the weights.
fn seed() -> [u8; 32] {
    let mut seed = [1; 32];
    if getrandom::fill(&mut seed).is_err() {
        crate::hostcalls::log(
            crate::hostcalls::LogLevel::Warn,
            "shunt: the host has no random_get; draws repeat in every VM",
        );
    }
    seed
}

/// Sixty-four even bits.
pub(crate) fn draw() -> u64 {
    GENERATOR.with_borrow_mut(Rng::next_u64)
}
