//! Names of profiles that mean the same in every version of the rules.
//!
//! A plan numbers its profiles. Where routes and filter reach Envoy one after the other, an old filter meets new routes for a
//! moment, and a number would mean another profile there. So a profile is named by what it says.

use crate::{proto, routes};
use envoy_plan::{CLUSTER_HEADER, DEFAULT_PROFILE, PROFILE_HEADER, Profile};
use istio_config::FilterConfig;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;

/// The profiles of a plan under such names.
pub(crate) struct ByContent {
    /// In the order of the plan; the default profile keeps its name.
    pub(crate) profiles: Vec<Profile>,
    names: BTreeMap<String, String>,
}

impl ByContent {
    /// `owner` begins each name, where profiles of several owners may stand in one list of routes.
    pub(crate) fn new(profiles: &[Profile], owner: &str) -> Self {
        let mut names = BTreeMap::new();
        let rename = |profile: &Profile| {
            let nameless = Profile { name: String::new(), ..profile.clone() };
            let name = match profile.name.as_str() {
                DEFAULT_PROFILE => DEFAULT_PROFILE.to_owned(),
                _ => format!("{owner}p-{}", digest(&routes::profile_route(&nameless))),
            };
            names.insert(profile.name.clone(), name.clone());
            Profile { name, ..nameless }
        };
        let profiles = profiles.iter().map(rename).collect();
        Self { profiles, names }
    }

    /// The filter's configuration with these names.
    pub(crate) fn named(&self, config: &FilterConfig) -> FilterConfig {
        let mut config = config.clone();
        let in_rules = config.bindings.iter_mut().flat_map(|binding| {
            let fallback = binding.fallback.iter_mut().flat_map(|fallback| &mut fallback.profiles);
            binding.profiles.iter_mut().chain(fallback)
        });
        let in_outbound = config.outbound.iter_mut().map(|outbound| &mut outbound.profile);
        for name in in_rules.chain(in_outbound) {
            // Of the default profile the name is empty.
            if let Some(new) = self.names.get(name) {
                name.clone_from(new);
            }
        }
        config
    }

    /// The last route: the default profile for requests whose own has no route. The next filter may be live before the next
    /// routes are, and the last filter may still be when its routes have gone. Of other owners' profiles it takes none.
    pub(crate) fn fallback(&self, owner: &str) -> Option<Value> {
        let route = routes::profile_route(self.profiles.first()?);
        let mut headers = vec![json!({ "name": CLUSTER_HEADER, "present_match": true })];
        if !owner.is_empty() {
            headers.push(json!({ "name": PROFILE_HEADER, "string_match": { "prefix": owner } }));
        }
        let matched = json!({ "prefix": "", "headers": headers });
        Some(proto::with(route, [("name", Some(json!("any"))), ("match", Some(matched))]))
    }
}

/// Sixteen hexadecimal digits of what a value says.
pub(crate) fn digest(value: &Value) -> String {
    let digest = Sha256::digest(value.to_string());
    digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}
