//! Which versions are watched together: those of one policy for which the same one stands in.

use super::breaker::Protection;
use crate::breaker::{Guard, Guarded, RuleWeights, STABLE};
use crate::route::at;
use istio_config::diagnostic::{At, Diagnostics};
use istio_config::{Resource, ShuntPolicy};

/// Guards as they come about, rule by rule.
pub(super) struct Guards<'c> {
    pub(super) protections: &'c [Protection],
    made: Vec<Made>,
}

struct Made {
    protection: u32,
    members: Vec<Box<str>>,
    weights: Vec<RuleWeights>,
}

impl<'c> Guards<'c> {
    pub(super) fn new(protections: &'c [Protection]) -> Self {
        Self { protections, made: Vec::new() }
    }

    /// The numbers of the guard for which `stable` stands in, and of `cluster` there.
    pub(super) fn add(&mut self, protection: u32, stable: &str, cluster: &str) -> (u32, u32) {
        let is_it =
            |made: &Made| made.protection == protection && made.members.first().is_some_and(|first| **first == *stable);
        let guard = self.made.iter().position(is_it).unwrap_or_else(|| {
            self.made.push(Made { protection, members: vec![stable.into()], weights: Vec::new() });
            self.made.len().saturating_sub(1)
        });
        let member = self.made.get_mut(guard).map_or(0, |Made { members, .. }| {
            members.iter().position(|member| **member == *cluster).unwrap_or_else(|| {
                members.push(cluster.into());
                members.len().saturating_sub(1)
            })
        });
        (number(guard), number(member))
    }

    /// A rule has these versions, with these weights.
    pub(super) fn weigh(&mut self, rule: &[(Guarded, u32)]) {
        for (guard, made) in self.made.iter_mut().enumerate() {
            let own = rule.iter().filter(|(guarded, _)| guarded.guard == number(guard));
            let weights: RuleWeights = own.map(|(guarded, weight)| (guarded.member, u64::from(*weight))).collect();
            if weights.iter().any(|(member, _)| *member != STABLE) {
                made.weights.push(weights);
            }
        }
    }

    /// All of them.
    pub(super) fn finish(self) -> Box<[Guard]> {
        let protections = self.protections;
        let guard = |Made { protection, members, weights }| {
            let protection = at(protections, protection)?;
            Some(Guard {
                policy: protection.policy.clone(),
                members: members.into(),
                weights: weights.into(),
                breaker: protection.breaker,
                failures: protection.failures.clone(),
                switch: protection.switch.clone(),
            })
        };
        self.made.into_iter().filter_map(guard).collect()
    }
}

/// Tells of versions that `maxOutPercent` never lets go out.
pub(super) fn report_too_heavy(guards: &[Guard], policies: &[Resource<ShuntPolicy>], diagnostics: &mut Diagnostics) {
    for guard in guards {
        let Some(policy) = policies.iter().find(|policy| policy.meta.full_name() == *guard.policy) else { continue };
        let object = At::object(&policy.meta.reference);
        let spec = object.field("spec");
        for version in guard.too_heavy() {
            let message = format!("{version} has more than that of a rule by itself, so it never goes out");
            let help = "raise it to the version's share, or leave it out";
            let at = spec.field("breaker");
            diagnostics.warning(&at.field("maxOutPercent"), "no-effect", message, help);
        }
    }
}

fn number(place: usize) -> u32 {
    u32::try_from(place).unwrap_or(u32::MAX)
}
