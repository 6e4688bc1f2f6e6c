//! `ShuntPolicy.breaker` and `killSwitch`: a version that stands in has to be there, and requests come to it by every rule that it
//! protects, whether that names it or not.

use crate::destinations::Client;
use istio_config::delegates::Expanded;
use istio_config::diagnostic::At;
use istio_config::shunt_policy::attachment::{Holder, Part, RulePlace};
use istio_config::shunt_policy::{ShuntPolicy, VersionRef};
use istio_config::virtual_service::HttpRoute;
use istio_config::{Config, Diagnostics, Resource};
use std::collections::{BTreeMap, BTreeSet};

/// The policies that hold, by rule.
pub(crate) struct StandIns<'c> {
    by_rule: BTreeMap<RulePlace, (&'c Resource<ShuntPolicy>, &'c VersionRef)>,
}

impl<'c> StandIns<'c> {
    /// Finds every policy. What is wrong with one is for the engine to tell, which reads all of it.
    pub(crate) fn find(config: &'c Config, expanded: &'c [Expanded<'_>]) -> Self {
        let mut told = Diagnostics::default();
        let mut by_rule = BTreeMap::new();
        for Holder { policy, held, .. } in Holder::find(Part::Guard, config, expanded, &mut told) {
            let Some(stable) = &policy.spec.stable else { continue };
            by_rule.extend(held.iter().map(|rule| (rule.place(), (policy, stable))));
        }
        Self { by_rule }
    }

    /// The clusters that stand in for those of a rule. One that is not there is reported: while a version is out, or the switch is
    /// on, every request would be a 503.
    pub(crate) fn clusters(
        &self,
        place: &RulePlace,
        rule: &HttpRoute,
        client: &Client<'_>,
        diagnostics: &mut Diagnostics,
    ) -> BTreeSet<String> {
        let Some((policy, stable)) = self.by_rule.get(place) else { return BTreeSet::new() };
        let object = At::object(&policy.meta.reference);
        let spec = object.field("spec");
        let at = spec.field("stable");
        let destinations = rule.route.iter().map(|route| stable.beside(&route.destination));
        destinations.filter_map(|stands_in| client.cluster(&at, &stands_in, diagnostics)).collect()
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{build, check_findings, rules};

    /// A rule that leads to `v2` of `a` alone, with a policy.
    fn text(policy: &str) -> String {
        let subsets = "---\napiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {name: a}\nspec: {host: a, subsets: [{name: v1, labels: {version: v1}}, {name: v2, labels: {version: v2}}]}\n";
        let policy = format!(
            "---\napiVersion: shunt.dev/v1alpha1\nkind: ShuntPolicy\nmetadata: {{name: p}}\nspec: {{targetRef: {{name: v}}, {policy}}}\n"
        );
        rules(&["{route: [{destination: {host: a, subset: v2}}], timeout: 3s}"]) + subsets + &policy
    }

    /// Whoever has routes for what the plan says is asked for needs one for the version that stands in.
    #[test]
    fn who_stands_in_is_used_by_every_rule_it_protects() {
        let v1 = "outbound|80|v1|a.default.svc.cluster.local";
        for part in ["breaker: {failurePercent: 50}", "killSwitch: {on: true}"] {
            let (plan, _, findings) = build(&text(&format!("stable: {{subset: v1}}, {part}")));
            assert_eq!(findings, Vec::<String>::new());
            let profiles: Vec<_> = plan.uses.iter().filter(|(_, to)| to == v1).map(|(profile, _)| profile).collect();
            assert_eq!(profiles, ["p1"], "{part}");
        }
        let (plan, ..) = build(&text("stable: {subset: v1}, sticky: {useSourceIp: true}"));
        assert!(plan.uses.iter().all(|(_, to)| to != v1));
    }

    #[test]
    fn who_stands_in_and_is_not_there_is_told_at_the_policy() {
        let nowhere = text("stable: {subset: v9}, breaker: {failurePercent: 50}");
        check_findings(&nowhere, &["ShuntPolicy spec.stable.subset: warning[IST0101]"]);
        let elsewhere = text("stable: {host: nobody}, killSwitch: {on: true}");
        check_findings(&elsewhere, &["ShuntPolicy spec.stable.host: warning[IST0101]"]);
    }
}
