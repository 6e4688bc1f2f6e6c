//! Calls that cannot be: to services that nobody has, and in circles, which would never end.
//!
//! A circle is found by the names that calls ask for. Rules may send a call elsewhere; a run that goes in a circle that way
//! is stopped when more calls follow from one another than there are kinds of them.

use envoy_plan::{PASSTHROUGH_CLUSTER, Plan};

use crate::names::{host_of, is_host};
use crate::scenario::{CallSpec, Count, ScenarioError, ServiceSpec};

/// One kind of call, and who makes it.
struct Kind<'a> {
    field: String,
    /// As the scenario names it.
    caller: &'a str,
    forwards: &'a [String],
    call: &'a CallSpec,
}

impl Kind<'_> {
    /// The name that the call asks for, without a port.
    fn host(&self) -> &str {
        let host = &self.call.host;
        host.rsplit_once(':').map_or(host, |(name, _)| name)
    }

    fn is_made(&self) -> bool {
        self.call.count != Count::Fixed(0) && self.call.share.millionths > 0
    }

    /// Whether whoever gets this call may make that one for its sake.
    fn leads_to(&self, other: &Kind<'_>, plans: &[&Plan]) -> bool {
        let is_same = |name: &str| is_host(self.host(), name) && is_host(other.caller, name);
        self.is_made()
            && other.is_made()
            && plans.iter().flat_map(|plan| plan.clusters.keys()).any(|cluster| is_same(host_of(cluster)))
            && self.call.may_meet(&other.call.when, self.forwards)
    }
}

/// How many kinds of calls there are.
///
/// # Errors
///
/// Calls to services that neither the manifests nor, outside of these, the scenario has; the first circle of calls.
pub(crate) fn check(services: &[ServiceSpec], plans: &[&Plan]) -> Result<u32, Vec<ScenarioError>> {
    let kinds = kinds(services);
    let mut errors = Vec::new();
    for kind in &kinds {
        let host = kind.host();
        let mut clusters = plans.iter().flat_map(|plan| plan.clusters.keys());
        let in_plan = clusters.any(|cluster| is_host(host, host_of(cluster)));
        let outside = plans.iter().any(|plan| plan.clusters.contains_key(PASSTHROUGH_CLUSTER))
            && services.iter().any(|service| service.host.eq_ignore_ascii_case(host));
        if !in_plan && !outside {
            let message = format!("the manifests have no service `{host}`");
            errors.push(ScenarioError::new(format!("{}.host", kind.field), message));
        }
    }
    if let Some(circle) = circle(&kinds, plans) {
        let told: Vec<String> =
            circle.iter().chain(circle.first()).filter_map(|place| name(kinds.get(*place)?)).collect();
        let field = circle.first().and_then(|place| kinds.get(*place)).map_or("spec.services", |kind| &kind.field);
        let message = format!("these calls go in a circle without end: {}; let a `when` end it", told.join(" -> "));
        errors.push(ScenarioError::new(field, message));
    }
    if errors.is_empty() { Ok(u32::try_from(kinds.len()).unwrap_or(u32::MAX)) } else { Err(errors) }
}

fn name(kind: &Kind<'_>) -> Option<String> {
    Some(format!("{} asks {} for {} {}", kind.caller, kind.host(), kind.call.method, kind.call.path))
}

fn kinds(services: &[ServiceSpec]) -> Vec<Kind<'_>> {
    let mut kinds = Vec::new();
    for (index, service) in services.iter().enumerate() {
        let field = format!("spec.services[{index}]");
        for (index, version) in service.versions.iter().enumerate() {
            let (caller, forwards) = (service.host.as_str(), version.forwards.as_slice());
            kinds.extend(version.calls.iter().enumerate().map(|(place, call)| {
                let field = format!("{field}.versions[{index}].calls[{place}]");
                Kind { field, caller, forwards, call }
            }));
        }
    }
    kinds
}

/// The first circle there is, as places in `kinds`.
fn circle(kinds: &[Kind<'_>], plans: &[&Plan]) -> Option<Vec<usize>> {
    // Of each kind: never seen, on the way here, or known to end.
    let mut known = vec![false; kinds.len()];
    for start in 0..kinds.len() {
        // The way here, each with the next kind to try from it.
        let mut way = vec![(start, 0)];
        while let Some((place, next)) = way.last_mut() {
            let (from, to) = (*place, *next);
            *next += 1;
            if known.get(from).copied().unwrap_or(true) || to >= kinds.len() {
                if let Some(known) = known.get_mut(from) {
                    *known = true;
                }
                way.pop();
                continue;
            }
            let leads = kinds.get(from).zip(kinds.get(to)).is_some_and(|(from, to)| from.leads_to(to, plans));
            if !leads {
                continue;
            }
            if let Some(begin) = way.iter().position(|(place, _)| *place == to) {
                return Some(way.iter().skip(begin).map(|(place, _)| *place).collect());
            }
            way.push((to, 0));
        }
    }
    None
}
