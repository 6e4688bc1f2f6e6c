//! A hash table over bytes whose shape depends on its keys alone.
//!
//! Keys come from the configuration, never from a client, so nobody can choose them to collide; only lookups come from
//! clients. It is never iterated, so its order can decide nothing.

use rustc_hash::FxBuildHasher;

#[expect(clippy::disallowed_types, reason = "fixed hasher, looked up only: see above")]
type Map<V> = std::collections::HashMap<Box<[u8]>, V, FxBuildHasher>;

/// Values by byte string.
#[derive(Clone, Debug)]
pub(crate) struct Table<V>(Map<V>);

impl<V> Default for Table<V> {
    fn default() -> Self {
        Self(Map::default())
    }
}

impl<V> Table<V> {
    pub(crate) fn get(&self, key: &[u8]) -> Option<&V> {
        self.0.get(key)
    }

    pub(crate) fn insert(&mut self, key: &[u8], value: V) {
        self.0.insert(key.into(), value);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
