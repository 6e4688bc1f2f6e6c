//! Who moves when weights change, where users stay on a version (`ShuntPolicy.sticky`).

use std::collections::BTreeMap;
use traffic_policy::rendezvous::{flow, staying};
use traffic_policy::{Policy, RuleId, StickyRule};

/// How the users of one rule move.
#[derive(Clone, Debug, PartialEq)]
pub struct UsersMoved {
    /// The rule, as it is called now.
    pub rule: String,
    /// Keys or salt are others: every user is placed anew, and the shares say what comes of it by chance.
    pub are_placed_anew: bool,
    /// From which version to which, and what share of all users, from 0 to 1; the largest first.
    pub moves: Vec<(String, String, f64)>,
}

impl UsersMoved {
    /// Share of all users who meet another version, from 0 to 1.
    pub fn share(&self) -> f64 {
        self.moves.iter().map(|(.., share)| share).sum()
    }
}

/// The rules of both policies whose users move. `key` names a rule on either side, so that the same one is found again.
pub fn moved<K: Ord>(
    old: &Policy,
    new: &Policy,
    key_of_old: impl Fn(&RuleId) -> K,
    key_of_new: impl Fn(&RuleId) -> K,
) -> Vec<UsersMoved> {
    let before: BTreeMap<K, StickyRule<'_>> = old.sticky_rules().map(|rule| (key_of_old(rule.rule), rule)).collect();
    let both = new.sticky_rules().filter_map(|rule| Some((*before.get(&key_of_new(rule.rule))?, rule)));
    both.map(|(old, new)| between(&old, &new)).filter(|moved| !moved.moves.is_empty()).collect()
}

fn between(old: &StickyRule<'_>, new: &StickyRule<'_>) -> UsersMoved {
    // Entry by entry the same version, by its name.
    let mut weights: BTreeMap<&str, (u32, u32)> = BTreeMap::new();
    old.versions().for_each(|(name, weight)| weights.entry(name).or_default().0 = weight);
    new.versions().for_each(|(name, weight)| weights.entry(name).or_default().1 = weight);
    let names: Vec<&str> = weights.keys().copied().collect();
    let (before, after): (Vec<u32>, Vec<u32>) = weights.into_values().unzip();
    let are_placed_anew = !new.has_users_of(old);
    let share = |weights: &[u32], at: usize| {
        let total: f64 = weights.iter().copied().map(f64::from).sum();
        weights.get(at).copied().map_or(0.0, f64::from) / total.max(1.0)
    };
    let mut moves = Vec::new();
    // Where nobody moves, rounding must not say otherwise.
    if are_placed_anew || staying(&before, &after) < 1.0 - 1e-9 {
        for (from, old) in names.iter().enumerate() {
            for (to, new) in names.iter().enumerate().filter(|(to, _)| *to != from) {
                let share = match are_placed_anew {
                    true => share(&before, from) * share(&after, to),
                    false => flow(&before, &after, from, to),
                };
                if share > 1e-9 {
                    moves.push(((*old).to_owned(), (*new).to_owned(), share));
                }
            }
        }
    }
    moves.sort_by(|(.., one), (.., other)| other.total_cmp(one));
    UsersMoved { rule: new.rule.to_string(), are_placed_anew, moves }
}

#[cfg(test)]
mod tests {
    use super::*;
    use istio_config::{Config, Diagnostics, FilterConfig, yaml};

    fn policy(weights: &[(&str, u32)], salt: &str) -> Policy {
        let route: String = weights
            .iter()
            .map(|(subset, weight)| format!("    - {{destination: {{host: a, subset: {subset}}}, weight: {weight}}}\n"))
            .collect();
        let text = format!(
            "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: a}}\nspec:\n  hosts: [a]\n  http:\n  - route:\n{route}---\napiVersion: shunt.dev/v1alpha1\nkind: ShuntPolicy\nmetadata: {{name: a}}\nspec:\n  targetRef: {{name: a}}\n  sticky: {{httpHeaderName: x-user, salt: '{salt}'}}\n"
        );
        let (mut config, mut sources, mut diagnostics) =
            (Config::default(), yaml::Sources::default(), Diagnostics::default());
        yaml::read("f", &text, &mut config, &mut sources, &mut diagnostics);
        let config = FilterConfig { config, namespace: "default".into(), ..FilterConfig::default() };
        Policy::compile(&config, &mut diagnostics).unwrap_or_else(|| panic!("{diagnostics:?}"))
    }

    fn check(old: &Policy, new: &Policy, expected: &[(&str, &str, f64)]) {
        let found = moved(old, new, ToString::to_string, ToString::to_string);
        let moves: Vec<_> = found.iter().flat_map(|rule| &rule.moves).collect();
        assert_eq!(moves.len(), expected.len(), "{found:?}");
        for ((from, to, share), (wanted_from, wanted_to, wanted)) in moves.into_iter().zip(expected) {
            assert_eq!((from.as_str(), to.as_str()), (*wanted_from, *wanted_to));
            assert!((share - wanted).abs() < 1e-9, "{share} {wanted}");
        }
    }

    #[test]
    fn those_move_who_have_to() {
        let canary = policy(&[("v1", 99), ("v2", 1)], "");
        check(&canary, &policy(&[("v1", 80), ("v2", 20)], ""), &[("v1", "v2", 0.19)]);
        check(&canary, &policy(&[("v2", 2), ("v1", 198)], ""), &[]);
        check(&canary, &policy(&[("v2", 1)], ""), &[]);
        // Where v2 goes it leaves some to v1, although v1 shrinks too.
        let stays = 1.0 / (2.0 + 1.0 / 99.0);
        check(
            &canary,
            &policy(&[("v1", 1), ("v3", 1)], ""),
            &[("v1", "v3", 0.99 - stays), ("v2", "v3", stays - 0.49), ("v2", "v1", 0.5 - stays)],
        );
    }

    #[test]
    fn another_cookie_age_or_another_word_for_testers_moves_nobody() {
        let even = [("v1", 1), ("v2", 1)];
        let more = "', allowOverride: {httpHeaderName: x-version}, httpCookie: {name: user, ttl: 1h}, httpQueryParameterName: 'q";
        let other = "', allowOverride: {httpHeaderName: x-other}, httpCookie: {name: user, ttl: 9h, path: /a}, httpQueryParameterName: 'q";
        check(&policy(&even, more), &policy(&even, other), &[]);
    }

    #[test]
    fn with_another_salt_users_are_others() {
        let even = policy(&[("v1", 1), ("v2", 1)], "");
        check(&even, &policy(&[("v1", 1), ("v2", 1)], "new"), &[("v1", "v2", 0.25), ("v2", "v1", 0.25)]);
    }
}
