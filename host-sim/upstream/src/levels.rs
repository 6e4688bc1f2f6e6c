//! How requests are shared among priorities, and when an unhealthy endpoint gets some all the same (Envoy's priority levels and
//! its panic threshold).
//!
//! A priority whose endpoints are healthy takes all. As they fail it takes less, but not before more than two in seven have:
//! 1.4 times the healthy share counts (the overprovisioning factor). What it does not take goes to the next. Where all priorities
//! together have too little, each is in *panic* whose healthy share is below the threshold: all its endpoints get requests. Where
//! all are in panic, requests are shared by the number of endpoints.

/// 1.4, in percent. istiod leaves it at that.
const OVERPROVISIONING: u64 = 140;

/// The endpoints of a priority.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Count {
    pub(crate) healthy: u64,
    pub(crate) all: u64,
}

/// What a priority gets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Share {
    /// Of the requests; all priorities together get 100.
    pub(crate) percent: u64,
    /// All its endpoints get requests, not only the healthy ones.
    pub(crate) panics: bool,
}

/// What each priority gets, first the first. `healthy_percent_min`: the panic threshold; 0: no panic.
pub(crate) fn shares(counts: &[Count], healthy_percent_min: u64) -> Vec<Share> {
    let health: Vec<u64> = counts.iter().map(Count::health).collect();
    let total = health.iter().sum::<u64>().min(100);
    let is_in_panic = |count: &Count| total < 100 && 100 * count.healthy < healthy_percent_min * count.all.max(1);
    let mut shares: Vec<Share> = counts.iter().map(|count| Share { percent: 0, panics: is_in_panic(count) }).collect();
    if total > 0 {
        give(&mut shares, health.iter().map(|health| health * 100 / total));
    }
    if shares.iter().all(|share| share.panics) {
        let all = counts.iter().map(|count| count.all).sum::<u64>().max(1);
        give(&mut shares, counts.iter().map(|count| count.all * 100 / all));
    } else if total == 0 {
        // Nobody is there; the first says so.
        give(&mut shares, std::iter::empty());
    }
    shares
}

/// Whose share `drawn`, of `0..100`, falls into.
pub(crate) fn pick(shares: impl Iterator<Item = Share>, drawn: u64) -> Option<usize> {
    let mut left = drawn;
    shares.enumerate().find_map(|(place, share)| {
        let is_it = left < share.percent;
        left = left.saturating_sub(share.percent);
        is_it.then_some(place)
    })
}

/// As much of a locality's weight as its healthy endpoints can take.
pub(crate) fn part(count: Count, weight: u64) -> u64 {
    let taken = u128::from(weight) * u128::from(OVERPROVISIONING) * u128::from(count.healthy);
    let taken = taken.checked_div(100 * u128::from(count.all)).unwrap_or(0);
    u64::try_from(taken).unwrap_or(u64::MAX).min(weight)
}

impl Count {
    /// In percent, at most 100.
    fn health(&self) -> u64 {
        (OVERPROVISIONING * self.healthy).checked_div(self.all).unwrap_or(0).min(100)
    }
}

/// Gives each what it can take, as long as there is something left; what rounding leaves goes to the first that takes any.
fn give(shares: &mut [Share], percents: impl Iterator<Item = u64>) {
    let mut left: u64 = 100;
    for (share, percent) in shares.iter_mut().zip(percents.chain(std::iter::repeat(0))) {
        share.percent = percent.min(left);
        left -= share.percent;
    }
    let first = shares.iter().position(|share| share.percent > 0).unwrap_or(0);
    if let Some(first) = shares.get_mut(first) {
        first.percent += left;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `2/3` is two healthy endpoints of three; `!` is panic.
    fn check(counts: &str, healthy_percent_min: u64, expected: &str) {
        let number = |text: &str| text.parse().unwrap();
        let count = |text: &str| {
            let (healthy, all) = text.split_once('/').unwrap();
            Count { healthy: number(healthy), all: number(all) }
        };
        let counts: Vec<Count> = counts.split(' ').map(count).collect();
        let shares = shares(&counts, healthy_percent_min);
        assert_eq!(shares.iter().map(|share| share.percent).sum::<u64>(), 100);
        let told = shares.iter().map(|share| format!("{}{}", share.percent, if share.panics { "!" } else { "" }));
        assert_eq!(told.collect::<Vec<_>>().join(" "), expected);
    }

    #[test]
    fn the_next_priority_takes_what_the_one_before_cannot() {
        check("3/3 3/3", 0, "100 0");
        check("5/7 1/1", 0, "100 0");
        check("1/2 1/1", 0, "70 30");
        check("0/2 1/1", 0, "0 100");
        check("1/4 1/4", 0, "50 50");
        // In proportion, and what rounding leaves to the first.
        check("1/10 2/10 1/10", 0, "25 50 25");
        check("1/7 1/7 1/7", 0, "34 33 33");
        check("0/1 0/1", 0, "100 0");
    }

    #[test]
    fn too_few_healthy_ones_mean_all() {
        check("1/2", 51, "100!");
        check("1/2", 50, "100");
        // With four of five a priority is as good as whole, whatever the threshold.
        check("4/5", 90, "100");
        check("1/4 3/3", 50, "35 65");
        check("1/4 1/4", 50, "50! 50!");
        check("1/5 1/3", 30, "38! 62");
        check("0/1 0/3", 1, "25! 75!");
    }

    #[test]
    fn a_locality_keeps_its_weight_until_too_many_fail() {
        let part = |healthy, all| part(Count { healthy, all }, 1000);
        assert_eq!([part(3, 3), part(5, 7), part(1, 2), part(0, 2), part(0, 0)], [1000, 1000, 700, 0, 0]);
    }
}
