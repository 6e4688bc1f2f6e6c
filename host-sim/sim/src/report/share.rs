//! Whether the observed shares are those that were configured, or could be by chance.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::report::band::{band, requests_for_one_percent};
use crate::run::ConfiguredShare;

/// One destination of one rule: what was configured and what came.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RuleShare {
    /// The rule.
    pub rule: String,
    /// The cluster of the destination.
    pub cluster: String,
    /// The configured weight.
    pub weight: u64,
    /// The sum of the weights of the rule.
    pub weights: u64,
    /// Requests to this cluster.
    pub observed: u64,
    /// Requests to all clusters of the rule.
    pub total: u64,
    /// What was drawn by chance: requests, or users where these are divided.
    pub draws: u64,
    /// The least count to expect, at 95 %.
    pub low: u64,
    /// The greatest count to expect, at 95 %.
    pub high: u64,
    /// Whether it came as configured.
    pub verdict: Verdict,
    /// From how many draws on a deviation of one percentage point would show.
    pub shows_one_percent: u64,
}

/// Whether a share came as configured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Verdict {
    /// Noise explains the difference.
    Inside,
    /// Noise hardly does: less than one run in twenty is so far off.
    Outside,
    /// Noise hardly does, and a breaker or a kill switch may.
    Guarded,
    /// The cluster serves several rules, and requests do not tell by which they came.
    NotToldApart,
    /// No request met the rule.
    Unused,
}

/// Compares. `users`: how many there were, as far as chance goes; `None` where each request is somebody else's.
pub(crate) fn shares(
    configured: &[ConfiguredShare],
    observed: &BTreeMap<String, u64>,
    users: Option<u64>,
) -> Vec<RuleShare> {
    let seen = |cluster: &str| observed.get(cluster).copied().unwrap_or(0);
    let of_rule =
        |rule: &str| -> Vec<&ConfiguredShare> { configured.iter().filter(|share| share.rule == rule).collect() };
    // A cluster may stand twice in one rule; then its weights add up.
    let mut rows: Vec<RuleShare> = Vec::new();
    for share in configured {
        let rule = of_rule(&share.rule);
        if rows.iter().any(|row| row.rule == share.rule && row.cluster == share.cluster) {
            continue;
        }
        let own = rule.iter().filter(|other| other.cluster == share.cluster);
        let weight = own.fold(0_u64, |sum, other| sum.saturating_add(other.weight));
        let weights = rule.iter().fold(0_u64, |sum, other| sum.saturating_add(other.weight));
        let mut clusters: Vec<&str> = rule.iter().map(|other| other.cluster.as_str()).collect();
        clusters.sort_unstable();
        clusters.dedup();
        let total = clusters.iter().map(|cluster| seen(cluster)).sum();
        let shared = configured.iter().any(|other| other.rule != share.rule && clusters.contains(&&*other.cluster));
        let draws = users.filter(|_| share.by_user).map_or(total, |users| users.min(total));
        let (low, high) = band(draws, weight, weights);
        // In requests, of which every user has as many.
        let in_requests = |users: u64| {
            let requests = u128::from(users) * u128::from(total) / u128::from(draws.max(1));
            u64::try_from(requests).unwrap_or(u64::MAX)
        };
        let (low, high) = (in_requests(low), in_requests(high));
        let count = seen(&share.cluster);
        let verdict = match total {
            _ if shared => Verdict::NotToldApart,
            0 => Verdict::Unused,
            _ if (low..=high).contains(&count) => Verdict::Inside,
            _ if share.guarded => Verdict::Guarded,
            _ => Verdict::Outside,
        };
        rows.push(RuleShare {
            rule: share.rule.clone(),
            cluster: share.cluster.clone(),
            weight,
            weights,
            observed: count,
            total,
            draws,
            low,
            high,
            verdict,
            shows_one_percent: requests_for_one_percent(weight, weights),
        });
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rules as `rule: cluster weight, cluster weight; ..`, counts as `cluster count, ..`.
    #[track_caller]
    fn check(rules: &str, counts: &str, expected: &str) {
        let mut configured = Vec::new();
        for (rule, list) in rules.split("; ").map(|rule| rule.split_once(": ").unwrap()) {
            for (cluster, weight) in list.split(", ").map(|item| item.split_once(' ').unwrap()) {
                let weight = weight.parse().unwrap();
                configured.push(ConfiguredShare {
                    rule: rule.into(),
                    cluster: cluster.into(),
                    weight,
                    by_user: false,
                    guarded: false,
                });
            }
        }
        let counts = counts.split(", ").map(|item| item.split_once(' ').unwrap());
        let counts = counts.map(|(cluster, count)| (cluster.to_owned(), count.parse().unwrap())).collect();
        let rows = shares(&configured, &counts, None);
        let told = rows.iter().map(|row| format!("{} {:?} {}..{}", row.cluster, row.verdict, row.low, row.high));
        assert_eq!(told.collect::<Vec<_>>().join(", "), expected);
    }

    #[test]
    fn the_reported_72_6_percent_was_noise() {
        check("hello: v1 75, v2 25", "v1 73, v2 27", "v1 Inside 66..83, v2 Inside 17..34");
    }

    #[test]
    fn where_users_are_divided_the_band_is_theirs() {
        let share = |cluster: &str, weight| ConfiguredShare {
            rule: "a".into(),
            cluster: cluster.into(),
            weight,
            by_user: true,
            guarded: false,
        };
        let counts = BTreeMap::from([("v1".to_owned(), 7_300), ("v2".to_owned(), 2_700)]);
        let rows = shares(&[share("v1", 75), share("v2", 25)], &counts, Some(100));
        let told: Vec<_> = rows.iter().map(|row| (row.verdict, row.draws, row.low, row.high)).collect();
        assert_eq!(told, [(Verdict::Inside, 100, 6_600, 8_300), (Verdict::Inside, 100, 1_700, 3_400)]);
        let alone = shares(&[share("v1", 75), share("v2", 25)], &counts, None);
        assert!(alone.iter().all(|row| row.verdict == Verdict::Outside && row.draws == 10_000));
    }

    #[test]
    fn a_split_that_is_wrong_is_called_so() {
        check("a: v1 75, v2 25", "v1 50, v2 50", "v1 Outside 66..83, v2 Outside 17..34");
    }

    #[test]
    fn rules_that_share_a_cluster_are_not_judged() {
        let told = "v1 NotToldApart 36..54, v2 NotToldApart 36..54, v1 NotToldApart 60..60";
        check("a: v1 50, v2 50; b: v1 100", "v1 60, v2 30", told);
    }

    #[test]
    fn a_rule_nobody_met_is_not_judged() {
        check("a: v1 100; b: v9 1", "v1 5", "v1 Inside 5..5, v9 Unused 0..0");
    }

    #[test]
    fn weights_of_a_repeated_destination_add_up() {
        check("a: v1 1, v1 1, v2 2", "v1 5, v2 5", "v1 Inside 2..8, v2 Inside 2..8");
    }
}
