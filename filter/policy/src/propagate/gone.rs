//! Which ids had to leave a slot while they were alive.
//!
//! Another request of such an id could not be told from the one that left: kept, it would pass for that one. So it gets a slot
//! without a context. The ids are in a Bloom filter, which never forgets one too early and takes some for seen that were
//! not; in the fuller of two, so that each is known for one time to live at least and for two at most.

use twox_hash::XxHash64;

/// Bits of one filter; four are set for each id. Of a hundred ids, another is mistaken for one of them in one per cent of cases.
const BITS: usize = 1024;
pub(super) const BYTES: usize = BITS / 8;

/// The ids that have left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Gone {
    /// When `now` began, in milliseconds since 1970.
    pub(super) since_ms: u64,
    pub(super) now: [u8; BYTES],
    pub(super) before: [u8; BYTES],
}

impl Gone {
    /// Nothing has left yet.
    pub(super) fn new(now_ms: u64) -> Self {
        Self { since_ms: now_ms, now: [0; BYTES], before: [0; BYTES] }
    }

    /// Everything may have left.
    pub(super) fn everything(now_ms: u64) -> Self {
        Self { now: [0xff; BYTES], ..Self::new(now_ms) }
    }

    /// The same at a later time; `None` when nothing of it counts any more. A clock that was set back makes it last longer, by
    /// one time to live at most.
    pub(super) fn at(self, now_ms: u64, ttl_ms: u64) -> Option<Self> {
        match now_ms.checked_sub(self.since_ms) {
            None => Some(Self { since_ms: now_ms, ..self }),
            Some(age) if age < ttl_ms => Some(self),
            Some(age) if age < ttl_ms.saturating_mul(2) => {
                Some(Self { since_ms: now_ms, now: [0; BYTES], before: self.now })
            }
            Some(_) => None,
        }
    }

    pub(super) fn add(&mut self, id: &[u8]) {
        for (byte, bit) in places(id) {
            if let Some(byte) = self.now.get_mut(byte) {
                *byte |= bit;
            }
        }
    }

    pub(super) fn has(&self, id: &[u8]) -> bool {
        let in_one = |filter: &[u8; BYTES]| {
            places(id).into_iter().all(|(byte, bit)| filter.get(byte).is_some_and(|byte| byte & bit != 0))
        };
        in_one(&self.now) || in_one(&self.before)
    }
}

/// The byte and the bit of each of an id's places.
fn places(id: &[u8]) -> [(usize, u8); 4] {
    let hash = XxHash64::oneshot(1, id);
    [0, 16, 32, 48].map(|shift| {
        let place = usize::try_from(hash >> shift & 0xffff).unwrap_or_default() % BITS;
        (place / 8, 1 << (place % 8))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn what_has_left_is_known_for_one_time_to_live_at_least() {
        const TTL: u64 = 1000;
        for offset in [0, 1, 500, 999] {
            let mut gone = Gone::new(10_000);
            gone = gone.at(10_000 + offset, TTL).unwrap();
            gone.add(b"an id");
            for after in (0..TTL).step_by(37) {
                gone = gone.at(10_000 + offset + after, TTL).expect("it still counts");
                assert!(gone.has(b"an id"), "{offset} {after}");
            }
            let later = gone.clone().at(10_000 + offset + 4 * TTL, TTL);
            assert!(later.is_none_or(|gone| !gone.has(b"an id")));
            assert!(gone.at(3, TTL).expect("the clock went back").has(b"an id"));
        }
    }

    #[test]
    fn few_are_mistaken() {
        let mut gone = Gone::new(0);
        (0..100_u32).for_each(|id| gone.add(&id.to_le_bytes()));
        assert!((0..100_u32).all(|id| gone.has(&id.to_le_bytes())));
        let mistaken = (1000..11_000_u32).filter(|id| gone.has(&id.to_le_bytes())).count();
        assert!(mistaken < 200, "{mistaken} of 10000");
        assert!(Gone::everything(0).has(b"whatever"));
    }
}
