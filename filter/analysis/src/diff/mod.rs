//! What a change of the rules means: which rules changed, and which requests meet something else.
//!
//! The first is a comparison of what was written ([`objects`](mod@objects)). The second asks both policies the same
//! questions: for each host, requests are made from every condition that either side's match blocks ask for
//! ([`dimensions`](mod@dimensions)), all combinations where they are few enough, else samples drawn from a seed
//! ([`cells`](mod@cells)); for a pattern that was changed, texts that tell it from the other are looked for
//! ([`patterns`](mod@patterns)). Two answers differ in what a client, a version or a mirror would notice
//! ([`outcome`](mod@outcome), and [`ends`](mod@ends) for where they go); what changes in the same way is told once, with the plainest request
//! ([`groups`](mod@groups)). Recorded requests are compared by the same code.

mod cells;
mod dimensions;
mod ends;
mod examples;
mod fields;
mod groups;
mod hosts;
mod objects;
mod outcome;
mod patterns;
mod policies;
mod report;
mod request;

pub use fields::FieldChange;
pub use groups::{Group, Groups};
pub use objects::{ObjectChange, Presence, RuleChange};
pub use outcome::{Detail, Difference, Move, RuleTitle};
pub use patterns::ToldAlike;
pub use report::{DiffReport, HostCompared, Recorded};
pub use request::Sample;

use crate::users;
use crate::view::{Rule, View, rule_at};
use ends::Ends;
use envoy_plan::{DEFAULT_PROFILE, Plan, Profile};
use istio_config::{FilterConfig, names};
use outcome::Outcome;
use std::collections::{BTreeMap, BTreeSet};
use traffic_policy::{Policy, RequestHead, RuleId, StickyRule};

/// How far the comparison goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Effort {
    /// Requests for each host at most. Where all combinations are more, so many are drawn. Many hosts share ten times as
    /// many.
    pub samples: usize,
    /// Seed of what is drawn.
    pub seed: u64,
}

/// One configuration, ready to be asked.
#[derive(Debug)]
pub struct Side<'a> {
    filter: &'a FilterConfig,
    policy: &'a Policy,
    view: View<'a>,
    /// Places in `view.expanded`, by `namespace/name`.
    places: BTreeMap<String, usize>,
    plan: &'a Plan,
    ends: Ends,
}

/// For how many hosts the full number of requests is made.
const FULL_HOSTS: usize = 10;

/// How few requests are enough for one of very many hosts.
const SAMPLES_MIN: usize = 200;

impl Effort {
    /// The same work, shared by so many hosts.
    fn shared_by(self, hosts: usize) -> Self {
        let share = self.samples.saturating_mul(FULL_HOSTS).checked_div(hosts).unwrap_or(self.samples);
        Self { samples: share.max(SAMPLES_MIN).min(self.samples), ..self }
    }
}

impl<'a> Side<'a> {
    /// `policy` is compiled from `filter`, and `plan` is built from the same objects.
    pub fn new(filter: &'a FilterConfig, policy: &'a Policy, plan: &'a Plan) -> Self {
        let view = View::new(&filter.config);
        let names = view.expanded.iter().map(|expanded| expanded.service.meta.full_name());
        Self { filter, policy, places: names.zip(0..).collect(), view, plan, ends: Ends::new(plan) }
    }

    /// The rule with this index of a VirtualService.
    fn rule(&self, owner: &str, http: u32) -> Option<Rule<'_>> {
        let expanded = self.view.expanded.get(*self.places.get(owner)?)?;
        rule_at(expanded, usize::try_from(http).ok()?)
    }

    /// What is carried out under this name; an empty one is the default.
    fn profile(&self, name: &str) -> Option<&'a Profile> {
        let name = if name.is_empty() { DEFAULT_PROFILE } else { name };
        self.plan.profiles.iter().find(|profile| profile.name == name)
    }

    /// What a rule keeps when others come or go before it: its name, or else its place.
    fn key(&self, rule: &RuleId) -> (String, String) {
        let RuleId { owner, http, .. } = rule;
        let name = http.and_then(|http| self.rule(owner, http)).map(|rule| rule.raw.name.clone());
        let name = name.filter(|name| !name.is_empty()).unwrap_or_else(|| format!("{http:?}"));
        (owner.to_string(), name)
    }

    /// Rules of VirtualServices for this host whose users stay on a version.
    fn sticky_rules(&self, host: &str) -> impl Iterator<Item = StickyRule<'a>> {
        self.policy.sticky_rules().filter(move |sticky| {
            let expanded = self.places.get(&*sticky.rule.owner).and_then(|place| self.view.expanded.get(*place));
            expanded.is_some_and(|expanded| {
                let service = &expanded.service;
                let mut hosts = service.spec.hosts.iter().map(|own| names::full_host(own, service.meta.namespace()));
                hosts.any(|own| overlap(&own, host))
            })
        })
    }

    fn outcome(&self, request: &RequestHead<'_>) -> Outcome<'_> {
        Outcome::new(self.policy.explain(request, 0), request, self)
    }
}

/// How one request fares on both sides; `None` when nobody would notice a difference.
pub fn compare(old: &Side<'_>, new: &Side<'_>, request: &RequestHead<'_>) -> Option<Difference> {
    outcome::difference(&old.outcome(request), &new.outcome(request))
}

/// Compares two configurations: what was written, and then what requests meet.
pub fn diff(old: &Side<'_>, new: &Side<'_>, effort: Effort) -> DiffReport {
    let objects = objects::compare(&old.filter.config.written, &new.filter.config.written);
    let mut groups = Groups::default();
    let mut compared = Vec::new();
    let mut told_alike = BTreeSet::new();
    let hosts = hosts::touched(&objects, [old, new]);
    let effort = effort.shared_by(hosts.len());
    for host in hosts {
        let changed = patterns::changed(&host, [&old.view, &new.view]);
        let mut table = dimensions::Table::new(&host, [&old.view, &new.view], &changed);
        [old, new].iter().for_each(|side| table.add_testers(side.sticky_rules(&host)));
        told_alike.extend(changed.told_alike);
        let mut told =
            HostCompared { host: host.clone(), requests: 0, changed: 0, is_sampled: table.size() > effort.samples };
        table.for_each(effort, |sample| {
            told.requests = told.requests.saturating_add(1);
            if let Some(difference) = sample.with_head(|head| compare(old, new, head)) {
                told.changed = told.changed.saturating_add(1);
                groups.add(&host, sample, difference);
            }
        });
        compared.push(told);
    }
    let told_alike = told_alike.into_iter().collect();
    let moved_in = old.ends.moved_in(&new.ends);
    let users = users::moved(old.policy, new.policy, |rule| old.key(rule), |rule| new.key(rule));
    DiffReport { objects, hosts: compared, groups, told_alike, moved_in, users, effort, recorded: None }
}

/// Whether two hosts, of which either may be a wildcard, have a name in common.
fn overlap(one: &str, other: &str) -> bool {
    names::covers(one, other) || names::covers(other, one) || one == other
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_hosts_share_the_work() {
        let samples = |hosts| Effort { samples: 20_000, seed: 1 }.shared_by(hosts).samples;
        assert_eq!([0, 1, 10, 20, 1000, 1_000_000].map(samples), [20_000, 20_000, 20_000, 10_000, 200, 200]);
        assert_eq!(Effort { samples: 50, seed: 1 }.shared_by(1000).samples, 50);
    }
}
