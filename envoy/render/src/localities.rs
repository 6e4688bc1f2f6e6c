//! The endpoints of a cluster by priority and locality, as istiod writes a load assignment.

use crate::proto;
use envoy_plan::{Endpoint, Locality};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Envoy's `LocalityLbEndpoints`. `weights`: of localities, where they matter.
pub(crate) fn endpoints(endpoints: &[Endpoint], weights: Option<&BTreeMap<Locality, u32>>) -> Vec<Value> {
    let is_alike = |a: &Endpoint, b: &Endpoint| (a.priority, &a.locality) == (b.priority, &b.locality);
    let mut groups: Vec<Value> = endpoints.chunk_by(is_alike).map(|group| locality(group, weights)).collect();
    if groups.is_empty() {
        groups.push(json!({ "lb_endpoints": [] }));
    }
    groups
}

/// Endpoints of one priority and one locality; never none.
fn locality(group: &[Endpoint], weights: Option<&BTreeMap<Locality, u32>>) -> Value {
    let Some(Endpoint { locality, priority, .. }) = group.first() else { return Value::Null };
    let own = group.iter().fold(0_u32, |sum, endpoint| sum.saturating_add(endpoint.weight));
    let weight = weights.map(|weights| weights.get(locality).copied().unwrap_or(own));
    proto::with(
        json!({ "lb_endpoints": group.iter().map(endpoint).collect::<Vec<_>>() }),
        [
            ("locality", (!locality.is_unknown()).then(|| place(locality))),
            ("priority", (*priority > 0).then(|| json!(priority))),
            ("load_balancing_weight", weight.map(Value::from)),
        ],
    )
}

fn place(locality: &Locality) -> Value {
    let Locality { region, zone, subzone } = locality;
    let part = |part: &str| (!part.is_empty()).then(|| json!(part));
    proto::with(json!({}), [("region", part(region)), ("zone", part(zone)), ("sub_zone", part(subzone))])
}

/// Labels have done their work in the plan: each subset is a cluster.
fn endpoint(endpoint: &Endpoint) -> Value {
    let Endpoint { address, port, weight, labels: _, locality: _, priority: _ } = endpoint;
    json!({
        "endpoint": { "address": proto::socket_address(address, *port) },
        "load_balancing_weight": weight,
    })
}
