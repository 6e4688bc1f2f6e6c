//! Requests that change in the same way, told once: the same rules, the same moves, the same kinds of difference.

use super::outcome::{Difference, RuleTitle};
use super::request::Sample;
use std::collections::{BTreeMap, BTreeSet};

/// Requests that change in the same way.
#[derive(Clone, Debug, PartialEq)]
pub struct Group {
    /// The difference of the plainest request.
    pub difference: Difference,
    /// The plainest request.
    pub example: Sample,
    /// How many requests were seen.
    pub count: usize,
    /// Hosts for which they were seen.
    pub hosts: BTreeSet<String>,
}

type Key = (RuleTitle, RuleTitle, Vec<(String, String, String)>, Vec<&'static str>);

/// All of them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Groups {
    groups: BTreeMap<Key, Group>,
}

impl Groups {
    /// Puts a request that changes to those like it.
    pub fn add(&mut self, host: &str, sample: &Sample, difference: Difference) {
        let moves = difference.moves.iter();
        let moves = moves.map(|moved| (moved.from.clone(), moved.to.clone(), format!("{:.9}", moved.share))).collect();
        let details = difference.details.iter().map(|detail| detail.what).collect();
        let key = (difference.old.clone(), difference.new.clone(), moves, details);
        match self.groups.get_mut(&key) {
            Some(group) => {
                group.count = group.count.saturating_add(1);
                if !group.hosts.contains(host) {
                    group.hosts.insert(host.to_owned());
                }
                if sample.effort() < group.example.effort() {
                    (group.example, group.difference) = (sample.clone(), difference);
                }
            }
            None => {
                let hosts = BTreeSet::from([host.to_owned()]);
                self.groups.insert(key, Group { difference, example: sample.clone(), count: 1, hosts });
            }
        }
    }

    /// By the rules' places on the old side, then on the new.
    pub fn iter(&self) -> impl Iterator<Item = &Group> {
        self.groups.values()
    }

    /// Whether no request changes.
    pub fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }
}
