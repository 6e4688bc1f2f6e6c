//! What carries a decision out: the plan's part of an answer, the same for every request that a rule takes.

use crate::elsewhere::{Elsewhere, NearHost};
use envoy_plan::{Cluster, DEFAULT_PROFILE, Discovery, HashKey, Plan, Profile, RetryPolicy};
use istio_config::{Config, ObjectRef};
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use traffic_policy::explain::{ActionName, Explanation, RuleName};

/// Finds the place of a field of an object, as `file:line`.
pub type Places = dyn Fn(&ObjectRef, &str) -> Option<String> + Send + Sync;

/// What the filter does not know of its own decisions.
pub struct Surroundings {
    /// The plan that belongs to the filter's configuration.
    pub plan: Arc<Plan>,
    /// The objects as they were read.
    pub config: Config,
    /// Namespace of the proxy.
    pub namespace: String,
    /// Where they stand.
    pub places: Box<Places>,
}

/// What carries a decision out. Serialized in camel case; what is absent or empty is left out.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Carried {
    /// `name` of the rule (`http[].name`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Where the rule stands, as `file:line`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub place: Option<String>,
    /// Limit for the whole request in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
    /// When and how often it is tried again; absent for never.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retries: Option<Retries>,
    /// When and how often another version is asked, where a destination has one; absent where none has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fallback: Option<Retries>,
    /// What an endpoint is chosen by, in this order, where a destination's cluster chooses by a hash.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub hash_keys: Vec<HashKeyTold>,
    /// The cluster of each mirror, in the order of `mirrors`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub mirror_clusters: Vec<String>,
    /// Every cluster that a request or a copy may go to; `null` for one that does not exist (503).
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub clusters: BTreeMap<String, Option<ClusterTold>>,
    /// VirtualServices that name the host and are not asked; where it is unknown, or has no rules here.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub elsewhere: Vec<Elsewhere>,
    /// Known hosts that look like an unknown one.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub near_hosts: Vec<NearHost>,
    /// The profile routes in Envoy's configuration that carry it, each as `shunt render envoy` writes it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub envoy_routes: Vec<Value>,
}

/// `retries`, with everything that goes without saying.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Retries {
    /// Tries after the first.
    pub attempts: u32,
    /// Conditions and status codes.
    pub on: Vec<String>,
    /// Limit for each try in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub per_try_timeout_ms: Option<u64>,
    /// The first waiting time lies between 0 and this, in milliseconds.
    pub backoff_ms: u64,
}

/// A key of `consistentHash`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HashKeyTold {
    /// `header`, `cookie`, `queryParameter` or `sourceIp`.
    pub by: &'static str,
    /// Name of the header, cookie or parameter.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
}

/// A cluster.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ClusterTold {
    /// As `trafficPolicy.loadBalancer.simple` says it; `RING_HASH` and `MAGLEV` for `consistentHash`.
    pub load_balancer: &'static str,
    /// `address:port` of each endpoint; none of them means 503.
    pub endpoints: Vec<String>,
    /// Endpoints are names that are looked up in DNS; absent if not.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub looked_up: bool,
    /// There are no endpoints: each request goes where its Host says. Absent if not.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub by_host: bool,
}

impl Surroundings {
    /// The plan's part of an answer for a request with this authority.
    pub fn carried(&self, explanation: &Explanation<'_>, authority: &str) -> Carried {
        let mut carried = Carried::default();
        if depends_on_host(explanation) {
            carried.elsewhere = self.elsewhere(authority, explanation.rule.as_ref().map(|rule| &*rule.owner));
        }
        if explanation.action == ActionName::UnknownHost {
            carried.near_hosts = self.near(authority);
        }
        if let Some(rule) = &explanation.rule {
            let last = rule.delegate.as_deref().unwrap_or(rule);
            carried.name = self.field(last, "name").and_then(Value::as_str).map(str::to_owned);
            carried.place = self.place(rule);
        }
        if explanation.action != ActionName::Forward {
            return carried;
        }
        let names = explanation.profiles.iter().map(|name| if name.is_empty() { DEFAULT_PROFILE } else { name });
        let mut profiles: Vec<(usize, &Profile)> =
            names.enumerate().filter_map(|(drawn, name)| Some((drawn, self.profile(name)?))).collect();
        if profiles.is_empty() {
            profiles.extend(self.profile(DEFAULT_PROFILE).map(|profile| (0, profile)));
        }
        carried.mirror_clusters = mirror_clusters(explanation.mirrors.len(), &profiles);
        // A combination of mirrors that cannot be drawn has no profile of its own; the richest is always one of the rule's.
        let own = profiles.iter().max_by_key(|(_, profile)| profile.mirrors.len());
        if let Some((_, Profile { name: _, timeout, retry, mirrors: _, hash_keys, falls_back: _ })) = own {
            carried.hash_keys = hash_keys.iter().map(HashKeyTold::from).collect();
            carried.timeout_ms = timeout.map(millis);
            carried.retries = retry.as_ref().map(Retries::from);
        }
        let mut falling_back: Vec<&Profile> =
            explanation.fallback_profiles.iter().filter_map(|name| self.profile(name)).collect();
        falling_back.dedup();
        carried.fallback = falling_back.first().and_then(|profile| profile.retry.as_ref()).map(Retries::from);
        let destinations = explanation.destinations.iter().map(|destination| &*destination.cluster);
        let all = destinations.chain(carried.mirror_clusters.iter().map(String::as_str));
        carried.clusters = all.map(|name| (name.to_owned(), self.cluster(name))).collect();
        let mut told: Vec<&str> = Vec::new();
        for profile in profiles.into_iter().map(|(_, profile)| profile).chain(falling_back) {
            if !told.contains(&profile.name.as_str()) {
                told.push(&profile.name);
                carried.envoy_routes.push(envoy_render::profile_route(profile));
            }
        }
        carried
    }

    /// The version that is asked where that of this cluster fails.
    pub(crate) fn asked_instead(&self, fallback: &str) -> Option<&str> {
        self.plan.fallbacks.get(fallback).map(|fallback| &*fallback.then)
    }

    fn cluster(&self, name: &str) -> Option<ClusterTold> {
        self.plan.clusters.get(name).map(ClusterTold::from)
    }

    /// A condition of the match block as the user wrote it, and whether it is compared without case; of a delegated rule in
    /// the delegate, or in the rule that hands over to it.
    pub fn written(&self, rule: &RuleName<'_>, condition: &str) -> Option<(&Value, bool)> {
        let delegate = rule.delegate.as_deref();
        delegate.and_then(|delegate| self.written(delegate, condition)).or_else(|| self.written_here(rule, condition))
    }

    fn written_here(&self, rule: &RuleName<'_>, condition: &str) -> Option<(&Value, bool)> {
        let block = rule.r#match.and_then(|block| usize::try_from(block).ok())?;
        let block = self.field(rule, "match")?.get(block)?;
        let Some((field, key)) = condition.strip_suffix(']').and_then(|condition| condition.split_once('[')) else {
            let ignores_case = condition == "uri" && block.get("ignoreUriCase").and_then(Value::as_bool) == Some(true);
            return Some((block.get(condition)?, ignores_case));
        };
        // Header names are compared without their case.
        let entries = block.get(field)?.as_object()?;
        entries.iter().find(|(name, _)| name.eq_ignore_ascii_case(key)).map(|(_, value)| (value, false))
    }

    /// Where the rule, or its match block, stands; of a delegated rule the delegate's.
    pub fn place(&self, rule: &RuleName<'_>) -> Option<String> {
        if let Some(delegate) = &rule.delegate {
            return self.place(delegate);
        }
        let object = self.object(rule)?;
        let block = rule.r#match.map(|block| format!(".match[{block}]")).unwrap_or_default();
        (self.places)(object, &format!("spec.http[{}]{block}", rule.http?))
    }

    fn field(&self, rule: &RuleName<'_>, name: &str) -> Option<&Value> {
        let object = self.object(rule)?;
        let is_it = |written: &&Value| {
            let text = |path: &str| written.pointer(path).and_then(Value::as_str);
            text("/kind") == Some(&object.kind)
                && text("/metadata/name") == Some(&object.name)
                && text("/metadata/namespace").unwrap_or("default") == &*object.namespace
        };
        let written = self.config.written.iter().find(is_it)?;
        written.pointer("/spec/http")?.get(usize::try_from(rule.http?).ok()?)?.get(name)
    }

    fn object(&self, rule: &RuleName<'_>) -> Option<&ObjectRef> {
        let services = self.config.virtual_services.iter();
        services.map(|service| &service.meta).find(|meta| meta.full_name() == rule.owner).map(|meta| &meta.reference)
    }

    fn profile(&self, name: &str) -> Option<&Profile> {
        self.plan.profiles.iter().find(|profile| profile.name == name)
    }
}

/// Whether the plan's part depends on the host of the request, too.
pub(crate) fn depends_on_host(explanation: &Explanation<'_>) -> bool {
    let is_default_route = explanation.rule.as_ref().is_some_and(|rule| rule.http.is_none());
    explanation.action == ActionName::UnknownHost || is_default_route
}

/// The profile of a combination lists the clusters of its mirrors in order; together they name all.
fn mirror_clusters(count: usize, profiles: &[(usize, &Profile)]) -> Vec<String> {
    let cluster = |mirror: usize| {
        profiles.iter().find_map(|(drawn, profile)| {
            let bits: Vec<usize> = (0..count).filter(|bit| drawn >> bit & 1 == 1).collect();
            let place = bits.iter().position(|bit| *bit == mirror)?;
            (profile.mirrors.len() == bits.len()).then(|| profile.mirrors.get(place))?
        })
    };
    (0..count).map(|mirror| cluster(mirror).cloned().unwrap_or_default()).collect()
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

impl From<&RetryPolicy> for Retries {
    fn from(policy: &RetryPolicy) -> Self {
        let RetryPolicy { retries, on, status_codes, per_try_timeout, backoff, .. } = policy;
        let conditions = on.iter().map(|condition| condition.name().to_owned());
        Self {
            attempts: *retries,
            on: conditions.chain(status_codes.iter().map(u16::to_string)).collect(),
            per_try_timeout_ms: per_try_timeout.map(millis),
            backoff_ms: millis(backoff.base),
        }
    }
}

impl From<&HashKey> for HashKeyTold {
    fn from(key: &HashKey) -> Self {
        let (by, name) = match key {
            HashKey::Header(name) => ("header", name.clone()),
            HashKey::Cookie(cookie) => ("cookie", cookie.name.clone()),
            HashKey::QueryParameter(name) => ("queryParameter", name.clone()),
            HashKey::SourceIp => ("sourceIp", String::new()),
        };
        Self { by, name }
    }
}

impl ClusterTold {
    /// Whether it chooses by a hash.
    pub(crate) fn is_hashed(&self) -> bool {
        matches!(self.load_balancer, "RING_HASH" | "MAGLEV")
    }
}

impl From<&Cluster> for ClusterTold {
    fn from(cluster: &Cluster) -> Self {
        let endpoints = cluster.endpoints.iter();
        Self {
            load_balancer: cluster.load_balancing.name(),
            looked_up: cluster.discovery.is_by_name(),
            by_host: cluster.discovery == Discovery::RequestHost,
            endpoints: endpoints.map(|endpoint| format!("{}:{}", endpoint.address, endpoint.port)).collect(),
        }
    }
}
