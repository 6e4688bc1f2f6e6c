//! Who moves when weights change, as shares of all users. For people: nothing is decided by these figures, which are no whole
//! numbers.

/// Share of all users who meet version `from` with the weights `old` and version `to` with the weights `new`; entry by entry the
/// same version.
///
/// With waiting times that are exponentially distributed, `a` for `from` and `t a` for `to`, both come first exactly where `t`
/// lies between the two ratios of their weights, and every other version has a time above
/// `a max(old / old[from], t new / new[to])`. Integrated over `a`, that is `1 / S(t)^2` with a sum `S` of straight lines.
pub fn flow(old: &[u32], new: &[u32], from: usize, to: usize) -> f64 {
    let weight = |weights: &[u32], version: usize| weights.get(version).copied().map_or(0.0, f64::from);
    let (old_from, new_to) = (weight(old, from), weight(new, to));
    if old_from <= 0.0 || new_to <= 0.0 {
        return 0.0;
    }
    let versions = || 0..old.len().min(new.len());
    let before = |version| weight(old, version) / old_from;
    let after = |version| weight(new, version) / new_to;
    if from == to {
        return 1.0 / versions().map(|version| before(version).max(after(version))).sum::<f64>();
    }
    let (start, end) = (before(to), 1.0 / after(from));
    if start >= end {
        return 0.0;
    }
    let others = || versions().filter(|version| ![from, to].contains(version));
    // Where another version's two lines cross.
    let crossings = others().map(|version| before(version) / after(version));
    let mut corners: Vec<f64> = crossings.filter(|at| (start..end).contains(at)).chain([start, end]).collect();
    corners.sort_by(f64::total_cmp);
    let pieces = corners.windows(2).filter_map(|piece| match piece {
        [from, to] if from < to => Some((*from, *to)),
        _ => None,
    });
    let within = pieces.map(|(from, to)| {
        let middle = if to.is_finite() { f64::midpoint(from, to) } else { from.mul_add(2.0, 1.0) };
        let is_flat = |version: &usize| before(*version) >= middle * after(*version);
        let constant = 1.0 + others().filter(is_flat).map(before).sum::<f64>();
        let slope = 1.0 + others().filter(|version| !is_flat(version)).map(after).sum::<f64>();
        let until = if to.is_finite() { (to - from) / slope.mul_add(to, constant) } else { 1.0 / slope };
        until / slope.mul_add(from, constant)
    });
    within.sum()
}

/// Share of the users who stay, from 0 to 1.
pub fn staying(old: &[u32], new: &[u32]) -> f64 {
    (0..old.len().min(new.len())).map(|version| flow(old, new, version, version)).sum::<f64>().min(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    fn near(found: f64, expected: f64) {
        assert!((found - expected).abs() < 1e-12, "{found} {expected}");
    }

    #[test]
    fn of_two_versions_the_difference_of_the_shares_moves() {
        near(flow(&[99, 1], &[80, 20], 0, 1), 0.19);
        near(flow(&[99, 1], &[80, 20], 1, 0), 0.0);
        near(flow(&[100, 0], &[0, 100], 0, 1), 1.0);
        near(staying(&[3, 1], &[300, 100]), 1.0);
    }

    #[test]
    fn rows_and_columns_are_the_shares() {
        for (old, new) in [([1, 98, 1], [0, 98, 2]), ([10, 20, 70], [70, 20, 10]), ([5, 0, 5], [0, 9, 1])] {
            let share = |weights: [u32; 3], version: usize| {
                f64::from(weights[version]) / f64::from(weights.iter().sum::<u32>())
            };
            for version in 0..3 {
                near((0..3).map(|to| flow(&old, &new, version, to)).sum(), share(old, version));
                near((0..3).map(|from| flow(&old, &new, from, version)).sum(), share(new, version));
            }
        }
    }
}
