//! One generator for each worker (xoshiro256++), seeded by the operating system: for balancing, back-off and request ids.
//! The filter's own draws come from the operating system directly ([`fill`]); it asks once, to seed its own.

use std::cell::Cell;
use upstream::Draws;

/// The generator. Shared within a worker, hence the cell.
#[derive(Debug)]
pub(crate) struct Random {
    state: Cell<[u64; 4]>,
}

impl Random {
    pub(crate) fn from_system() -> Self {
        let mut seed = [0u8; 32];
        fill(&mut seed);
        let mut state = [0u64; 4];
        for (word, bytes) in state.iter_mut().zip(seed.chunks_exact(8)) {
            *word = bytes.iter().fold(0, |word, byte| word << 8 | u64::from(*byte));
        }
        if state == [0; 4] {
            // The one state it cannot leave.
            state = [1; 4];
        }
        Random { state: Cell::new(state) }
    }

    pub(crate) fn next(&self) -> u64 {
        let [mut a, mut b, mut c, mut d] = self.state.get();
        let drawn = a.wrapping_add(d).rotate_left(23).wrapping_add(a);
        let shifted = b << 17;
        c ^= a;
        d ^= b;
        b ^= c;
        a ^= d;
        c ^= shifted;
        d = d.rotate_left(45);
        self.state.set([a, b, c, d]);
        drawn
    }

    /// A random UUID (version 4) in its usual text form.
    pub(crate) fn uuid(&self) -> String {
        let high = self.next() & !0xf000 | 0x4000;
        let low = self.next() & !(0b11 << 62) | 0b10 << 62;
        format!(
            "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
            high >> 32,
            high >> 16 & 0xffff,
            high & 0xffff,
            low >> 48,
            low & 0xffff_ffff_ffff
        )
    }
}

impl Draws for &Random {
    fn next_u64(&mut self) -> u64 {
        self.next()
    }
}

/// Bytes from the operating system. Should it have none, the address space and the clock must do: better a guessable
/// draw than a proxy that stops.
pub(crate) fn fill(bytes: &mut [u8]) {
    if getrandom::fill(bytes).is_err() {
        let mut word = crate::clock::realtime_ns() ^ (bytes.as_ptr() as u64).rotate_left(32);
        for byte in bytes {
            word = word.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            *byte = word.to_le_bytes()[7];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_id_is_a_uuid_of_version_4() {
        let random = Random::from_system();
        for _ in 0..100 {
            let id = random.uuid();
            let groups: Vec<_> = id.split('-').map(str::len).collect();
            assert_eq!(groups, [8, 4, 4, 4, 12], "{id}");
            assert!(id[14..].starts_with('4') && matches!(&id[19..20], "8" | "9" | "a" | "b"), "{id}");
        }
        assert_ne!(random.uuid(), random.uuid());
    }
}
