//! Who calls: the workload whose proxy carries the plan out, as far as rules and endpoints are chosen by it.

use crate::Locality;
use std::collections::BTreeMap;

/// The workload whose proxy this is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// Its namespace, by which rules are found.
    pub namespace: String,
    /// Where it runs.
    pub locality: Locality,
    /// Its labels, with which `failoverPriority` compares those of endpoints, and by which `workloadSelector` chooses.
    pub labels: BTreeMap<String, String>,
}

impl Default for Caller {
    /// In the namespace `default`, and nothing else is known of it.
    fn default() -> Self {
        Self { namespace: "default".to_owned(), locality: Locality::default(), labels: BTreeMap::new() }
    }
}
