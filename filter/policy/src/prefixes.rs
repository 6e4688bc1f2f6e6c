//! Every prefix of a path among many, without trying each: a trie, flattened.
//!
//! The prefixes stand sorted, and each knows the longest other one that it begins with. The last one that is not
//! greater than the path shares with it all the prefixes they have in common: those are the path's own.

/// Values by prefix.
#[derive(Clone, Debug)]
pub(crate) struct Prefixes<V> {
    nodes: Box<[Node<V>]>,
}

#[derive(Clone, Debug)]
struct Node<V> {
    prefix: Box<[u8]>,
    /// The longest other prefix that this one begins with.
    parent: Option<usize>,
    value: V,
}

impl<V> Default for Prefixes<V> {
    fn default() -> Self {
        Self { nodes: Box::default() }
    }
}

impl<V> Prefixes<V> {
    /// Each prefix must occur once.
    pub(crate) fn new(entries: impl IntoIterator<Item = (Box<[u8]>, V)>) -> Self {
        let mut nodes: Vec<_> =
            entries.into_iter().map(|(prefix, value)| Node { prefix, parent: None, value }).collect();
        nodes.sort_by(|left, right| left.prefix.cmp(&right.prefix));
        // The chain of prefixes that the one before belongs to, longest last.
        let mut chain: Vec<usize> = Vec::new();
        for at in 0..nodes.len() {
            let begins_with = |parent: usize| match (nodes.get(at), nodes.get(parent)) {
                (Some(node), Some(parent)) => node.prefix.starts_with(&parent.prefix),
                _ => false,
            };
            while chain.last().is_some_and(|last| !begins_with(*last)) {
                chain.pop();
            }
            if let Some(node) = nodes.get_mut(at) {
                node.parent = chain.last().copied();
            }
            chain.push(at);
        }
        Self { nodes: nodes.into() }
    }

    /// Visits the value of every prefix that `path` begins with, longest first.
    pub(crate) fn visit(&self, path: &[u8], mut visit: impl FnMut(&V)) {
        let behind = self.nodes.partition_point(|node| *node.prefix <= *path);
        let mut next = behind.checked_sub(1);
        let Some(last) = next.and_then(|at| self.nodes.get(at)) else { return };
        let common = last.prefix.iter().zip(path).take_while(|(left, right)| left == right).count();
        while let Some(node) = next.and_then(|at| self.nodes.get(at)) {
            if node.prefix.len() <= common {
                visit(&node.value);
            }
            next = node.parent;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    fn check(prefixes: &[&str], path: &str) {
        let table = Prefixes::new(prefixes.iter().map(|prefix| (prefix.as_bytes().into(), *prefix)));
        let mut found = Vec::new();
        table.visit(path.as_bytes(), |prefix| found.push(*prefix));
        let mut expected: Vec<_> = prefixes.iter().copied().filter(|prefix| path.starts_with(prefix)).collect();
        expected.sort_by_key(|prefix| std::cmp::Reverse(prefix.len()));
        assert_eq!(found, expected, "{path}");
    }

    #[test]
    fn every_prefix_of_a_path_is_found_longest_first() {
        let prefixes = ["/", "/a", "/a/b", "/a/bc", "/a/b/", "/b", "/a/b/c/d", "/aa", ""];
        for path in ["/", "/a", "/a/b", "/a/b/c", "/a/b/c/d/e", "/a/bb", "/aaa", "/c", "", "x", "/a/b/z", "/b"] {
            check(&prefixes, path);
        }
        check(&[], "/a");
        check(&["/b"], "/a");
    }

    #[test]
    fn random_prefixes_and_paths_agree_with_trying_each() {
        let mut state = 1_u64;
        let mut next = |below: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % below
        };
        for _ in 0..300 {
            let mut word = |longest| (0..next(longest)).map(|_| ['a', 'b'][next(2) as usize]).collect::<String>();
            let words: std::collections::BTreeSet<_> = (0..20).map(|_| word(7)).collect();
            let prefixes: Vec<_> = words.iter().map(String::as_str).collect();
            check(&prefixes, &word(10));
        }
    }
}
