//! Which of several DestinationRules for one host are merged, and which of the results holds (istio
//! `model/destination_rule.go`, `mergeDestinationRule`, and `model/sidecar.go`, `DestinationRule`).
//!
//! A rule joins those before it whose `exportTo` is the same or a part of its own. Rules with a `workloadSelector` are kept apart
//! from those without, and from those with another one; of them the first that means the caller holds. Without one the last
//! of the others does.

use std::collections::{BTreeMap, BTreeSet};

/// What decides about the company of a rule.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Scope {
    /// `exportTo`; empty: everybody. A rule with a selector is for its own namespace, whatever it says.
    pub(crate) export_to: BTreeSet<String>,
    /// The labels of `workloadSelector`, where there is one.
    pub(crate) selector: Option<BTreeMap<String, String>>,
}

impl Scope {
    /// Whether callers of this namespace see a rule that stands in `own`.
    pub(crate) fn is_seen_from(&self, namespace: &str, own: &str) -> bool {
        let names = |name: &str| self.export_to.contains(name);
        self.export_to.is_empty() || names("*") || names(namespace) || (namespace == own && names("."))
    }

    /// Whether it is for the namespace that it stands in alone.
    pub(crate) fn is_private(&self, own: &str) -> bool {
        self.export_to.len() == 1 && (self.export_to.contains(".") || self.export_to.contains(own))
    }

    fn selects(&self, labels: &BTreeMap<String, String>) -> bool {
        let is_there = |(key, value): (&String, &String)| labels.get(key) == Some(value);
        self.selector.as_ref().is_some_and(|selector| selector.iter().all(is_there))
    }
}

/// Those of `rules`, all of them in one namespace and in order of age, that hold together for a caller with these labels.
pub(crate) fn holding<T: Copy>(rules: &[T], scope: impl Fn(T) -> Scope, labels: &BTreeMap<String, String>) -> Vec<T> {
    let mut groups: Vec<(Scope, Vec<T>)> = Vec::new();
    // With a selector first, as istiod sorts them.
    let (with, without): (Vec<T>, Vec<T>) = rules.iter().copied().partition(|rule| scope(*rule).selector.is_some());
    for rule in with.into_iter().chain(without) {
        let own = scope(rule);
        let mut is_apart = true;
        for (first, group) in &mut groups {
            let is_wider = !first.export_to.is_empty() && first.export_to.is_subset(&own.export_to);
            if first.selector == own.selector && (first.export_to == own.export_to || is_wider) {
                group.push(rule);
                is_apart = false;
            }
        }
        if is_apart {
            groups.push((own, vec![rule]));
        }
    }
    let chosen = groups.iter().position(|(scope, _)| scope.selects(labels));
    let chosen = chosen.or_else(|| groups.iter().rposition(|(scope, _)| scope.selector.is_none()));
    chosen.map(|place| groups.swap_remove(place).1).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rules as `exportTo`, and a selector behind `@`; which hold, for a caller with the label `app: x`.
    fn check(rules: &[&str], expected: &[usize]) {
        let scope = |number: usize| {
            let (export_to, selector) =
                rules[number].split_once('@').map_or((rules[number], None), |(a, b)| (a, Some(b)));
            Scope {
                export_to: export_to.split(' ').filter(|name| !name.is_empty()).map(str::to_owned).collect(),
                selector: selector.map(|app| BTreeMap::from([("app".to_owned(), app.to_owned())])),
            }
        };
        let numbers: Vec<usize> = (0..rules.len()).collect();
        let labels = BTreeMap::from([("app".to_owned(), "x".to_owned()), ("version".to_owned(), "v1".to_owned())]);
        assert_eq!(holding(&numbers, scope, &labels), expected, "{rules:?}");
    }

    #[test]
    fn rules_for_the_same_namespaces_are_merged() {
        check(&["", "", ""], &[0, 1, 2]);
        check(&[".", "."], &[0, 1]);
        // The later one is for more, and has its part in the first.
        check(&["a", "a b"], &[0, 1]);
        // It is for fewer, or for others; the last one holds.
        check(&["a b", "a"], &[1]);
        check(&["", "*"], &[1]);
        check(&[], &[]);
    }

    #[test]
    fn a_selector_that_means_the_caller_goes_before_all() {
        check(&["", ".@x", "", ".@x"], &[1, 3]);
        check(&["", ".@y", ""], &[0, 2]);
        check(&[".@y"], &[]);
    }

    #[test]
    fn who_sees_a_rule() {
        let seen = |export_to: &[&str], namespace: &str| {
            let export_to = export_to.iter().map(|name| (*name).to_owned()).collect();
            Scope { export_to, selector: None }.is_seen_from(namespace, "own")
        };
        assert!(seen(&[], "other") && seen(&["*"], "other") && seen(&["other"], "other") && seen(&["."], "own"));
        assert!(!seen(&["."], "other") && !seen(&["third"], "other") && !seen(&["other"], "own"));
    }
}
