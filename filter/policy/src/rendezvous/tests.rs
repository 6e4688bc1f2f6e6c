use super::*;
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

/// For draws that repeat themselves (Vigna's SplitMix64).
struct Drawn(u64);

impl Drawn {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: u32) -> u32 {
        u32::try_from(self.next() % u64::from(end)).unwrap_or(0)
    }
}

/// Under Node, on wasm32, fewer users have to do.
const USERS: u32 = if cfg!(target_arch = "wasm32") { 50_000 } else { 1_000_000 };

const NAMES: [&str; 6] = ["v1", "v2", "v3", "v4", "v5", "v6"];

fn met(user: User, weights: &[u32]) -> usize {
    let versions = NAMES.iter().map(|name| VersionId::new(name)).zip(weights.iter().copied());
    choose(user, versions).expect("a weight")
}

/// Users with even hashes and names of the usual form.
fn users(salt: &str, count: u32) -> impl Iterator<Item = User> {
    let salt = Salt::new(salt);
    (0..count).map(move |number| salt.user(format!("user-{number}").as_bytes()))
}

/// How many of `count` users are where: before, after, and the number for each way from one to the other.
fn moves(count: u32, old: &[u32], new: &[u32]) -> Vec<Vec<u32>> {
    let mut moved = vec![vec![0; new.len()]; old.len()];
    for user in users("moves", count) {
        moved[met(user, old)][met(user, new)] += 1;
    }
    moved
}

fn share(weights: &[u32], version: usize) -> f64 {
    f64::from(weights[version]) / weights.iter().map(|weight| f64::from(*weight)).sum::<f64>()
}

/// Whether so many of all are what a share would give, at five standard deviations.
fn is_likely(found: u32, of: u32, share: f64) -> bool {
    let expected = f64::from(of) * share;
    (f64::from(found) - expected).abs() <= 5.0 * (expected * (1.0 - share)).sqrt() + 1.0
}

/// The form for ever: whoever changes these figures moves every user of every release that is under way.
#[test]
fn golden_vectors() {
    let found: Vec<String> = ["", "checkout-2026"]
        .iter()
        .flat_map(|salt| {
            ["alice", "bob", "", "\u{fc}ser", "00000000000000000000000000000000"].iter().map(move |key| {
                let user = Salt::new(salt).user(key.as_bytes());
                let times = ["v1", "v2"].map(|name| time(user, VersionId::new(name)));
                let met = [[1, 1], [99, 1], [1, 99]].map(|weights| met(user, &weights) + 1);
                format!("{:016x} {times:?} {met:?}", user.0)
            })
        })
        .collect();
    assert_eq!(found, GOLDEN);
}

#[test]
fn times_are_logarithms() {
    for (index, entry) in LOG2.iter().enumerate() {
        let exact = (1.0 + index as f64 / CELLS as f64).log2() * (1_u64 << FRACTION) as f64;
        assert!((*entry as f64 - exact).abs() < 4.0, "{index}: {entry} {exact}");
    }
    // Times of even hashes have the mean of an exponential distribution.
    let version = VersionId::new("v1");
    let total: f64 = users("times", USERS).map(|user| time(user, version) as f64).sum();
    let mean = total / f64::from(USERS) / (1_u64 << FRACTION) as f64;
    assert!((mean - std::f64::consts::LOG2_E).abs() < 0.01, "{mean}");
}

#[test]
fn shares_follow_the_weights() {
    let count = 2 * USERS;
    for weights in
        [&[50, 50][..], &[99, 1], &[1, 99], &[9999, 1], &[1, 2, 3], &[70, 20, 10, 0], &[u32::MAX, 1, u32::MAX]]
    {
        let mut found = vec![0; weights.len()];
        for user in users("shares", count) {
            found[met(user, weights)] += 1;
        }
        for (version, found) in found.iter().enumerate() {
            assert!(is_likely(*found, count, share(weights, version)), "{weights:?}: {version} {found}");
        }
    }
}

#[test]
fn only_ratios_of_weights_count() {
    let mut drawn = Drawn(1);
    for user in users("ratios", USERS / 50) {
        let weights: Vec<u32> = (0..4).map(|_| drawn.below(200) + 1).collect();
        let factor = drawn.below(10_000_000) + 1;
        let larger: Vec<u32> = weights.iter().map(|weight| weight * factor.min(u32::MAX / weight)).collect();
        let is_exact = weights.iter().zip(&larger).all(|(small, large)| large / small == larger[0] / weights[0]);
        assert!(!is_exact || met(user, &weights) == met(user, &larger), "{weights:?} {larger:?}");
        assert_eq!(met(user, &[3, 1]), met(user, &[300, 100]));
    }
}

/// Over random weights: whoever leaves `i` for `j` does so because `j` rose relative to `i`.
#[test]
fn users_move_only_towards_versions_that_rose() {
    let mut drawn = Drawn(2);
    for user in users("rose", USERS / 2) {
        let count = 2 + drawn.below(5) as usize;
        let mut draw = || -> Vec<u32> {
            let largest = 1 << drawn.below(20);
            let mut weights: Vec<u32> = (0..count).map(|_| drawn.below(largest + 1)).collect();
            weights[0] += 1;
            weights
        };
        let (old, new) = (draw(), draw());
        let (from, to) = (met(user, &old), met(user, &new));
        // new[to] / new[from] > old[to] / old[from]
        let rose = u64::from(new[to]) * u64::from(old[from]) > u64::from(old[to]) * u64::from(new[from]);
        assert!(from == to || rose, "{old:?} {new:?}: {from} to {to}");
    }
}

#[test]
fn of_two_versions_exactly_the_needed_share_moves_and_nobody_back() {
    let count = USERS;
    for (old, new) in [([100, 0], [99, 1]), ([99, 1], [80, 20]), ([80, 20], [50, 50]), ([50, 50], [0, 100])] {
        let moved = moves(count, &old, &new);
        assert_eq!(moved[1][0], 0, "{old:?} {new:?}: back");
        assert!(is_likely(moved[0][1], count, share(&new, 1) - share(&old, 1)), "{old:?} {new:?}: {moved:?}");
    }
}

#[test]
fn where_one_grows_against_the_rest_everybody_who_moves_moves_to_it() {
    let count = USERS;
    for (old, new) in [([60, 30, 0], [60, 30, 10]), ([60, 30, 10], [40, 20, 40]), ([1, 1, 8], [1, 1, 80])] {
        let moved = moves(count, &old, &new);
        for (from, row) in moved.iter().enumerate() {
            for (to, found) in row.iter().enumerate() {
                assert!(to == 2 || from == to || *found == 0, "{old:?} {new:?}: {from} to {to}");
            }
        }
        let needed = share(&new, 2) - share(&old, 2);
        assert!(is_likely(moved[0][2] + moved[1][2], count, needed), "{old:?} {new:?}: {moved:?}");
    }
}

/// For any other change: each way is taken by as many as the formula says, and never by twice the least possible in all (Moulton
/// and Jiang, "Maximally consistent sampling and the Jaccard index of probability distributions", 2018).
#[test]
fn any_other_change_moves_what_the_formula_says() {
    let count = USERS / 2;
    let mut drawn = Drawn(3);
    for _ in 0..12 {
        let mut weights = || -> Vec<u32> { (0..4).map(|_| drawn.below(100) + 1).collect() };
        let (old, new) = (weights(), weights());
        let moved = moves(count, &old, &new);
        for (from, to) in (0..16).map(|pair| (pair / 4, pair % 4)) {
            let (found, expected) = (moved[from][to], flow(&old, &new, from, to));
            assert!(is_likely(found, count, expected), "{old:?} {new:?}: {from} to {to}: {found} {expected}");
        }
        let least: f64 = (0..4).map(|version| (share(&new, version) - share(&old, version)).max(0.0)).sum();
        assert!(1.0 - staying(&old, &new) <= 2.0 * least / (1.0 + least) + 1e-12);
    }
}

#[test]
fn salts_are_independent_of_each_other() {
    let count = USERS;
    let both = users("one", count).zip(users("other", count));
    let both = both.filter(|(one, other)| met(*one, &[9, 1]) == 1 && met(*other, &[9, 1]) == 1);
    assert!(is_likely(u32::try_from(both.count()).unwrap(), count, 0.01));
}

#[test]
fn of_equals_the_first_is_met_and_of_nothing_nobody() {
    let version = VersionId::new("v1");
    let user = Salt::new("").user(b"alice");
    assert_eq!(choose(user, [(version, 1), (version, 1)]), Some(0));
    assert_eq!(choose(user, [(version, 0), (version, 7)]), Some(1));
    assert_eq!(choose(user, [(version, 0)]), None);
    assert_eq!(choose(user, []), None);
}

const GOLDEN: [&str; 10] = [
    "98bd01cc8f398066 [7055563729024, 3004801727237] [2, 1, 2]",
    "1d8ae2b325b410bb [2646150478010, 2275154702362] [2, 1, 2]",
    "a258d6ec1fb5d95c [2230692851167, 586725789835] [2, 1, 2]",
    "63b74d27ba4980d4 [577638091704, 4050056938141] [1, 1, 2]",
    "aca0ddb0b99b7314 [888612577542, 1015024019740] [1, 1, 2]",
    "e2218c91c75c9d82 [2534890876638, 3470658772972] [1, 1, 2]",
    "e7ebdc440dac5c57 [558553402518, 3895191121836] [1, 1, 2]",
    "651cdb5c94f941f8 [1674831032378, 9584495146] [2, 2, 2]",
    "2bcd18921634255e [112894092471, 696653918135] [1, 1, 2]",
    "9971e58d24f5354d [1275621568959, 1491374481370] [1, 1, 2]",
];
