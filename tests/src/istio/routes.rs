//! The routes that an Envoy has, in a form that two can be compared by. Both come out of Envoy itself, which leaves out what is
//! as it would be anyway, so nothing is said here of defaults.

use serde_json::Value;
use std::collections::BTreeMap;

/// Routes by domain, and whether requests there have to come over TLS.
pub type ByDomain = BTreeMap<String, (Vec<Value>, Option<Value>)>;

/// Parts of a route that decide nothing about a request: names for logs, statistics and traces.
const NAMES: [&str; 4] = ["name", "metadata", "decorator", "stat_prefix"];

/// The route configuration in Envoy's `/config_dump` that has this domain; `None` where none has.
pub fn with_domain(dump: &Value, domain: &str) -> Option<ByDomain> {
    let sections = dump["configs"].as_array()?.iter().flat_map(|section| {
        let of = |kind: &str| section[kind].as_array().into_iter().flatten();
        of("static_route_configs").chain(of("dynamic_route_configs"))
    });
    sections.map(|entry| by_domain(&entry["route_config"])).find(|domains| domains.contains_key(domain))
}

fn by_domain(configuration: &Value) -> ByDomain {
    let mut all = ByDomain::new();
    for host in configuration["virtual_hosts"].as_array().into_iter().flatten() {
        let routes: Vec<Value> = host["routes"].as_array().into_iter().flatten().map(plain).collect();
        for domain in host["domains"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            all.insert(domain.to_owned(), (routes.clone(), host.get("require_tls").cloned()));
        }
    }
    all
}

/// The route without [`NAMES`], and with its conditions in an order of their own, as all of them have to hold.
fn plain(route: &Value) -> Value {
    let mut route = route.clone();
    if let Some(fields) = route.as_object_mut() {
        fields.retain(|name, _| !NAMES.contains(&name.as_str()));
    }
    for list in ["/match/headers", "/match/query_parameters"] {
        if let Some(conditions) = route.pointer_mut(list).and_then(Value::as_array_mut) {
            conditions.sort_by_key(Value::to_string);
        }
    }
    route
}

/// What differs between two values: where, and what stands there in the one and in the other.
pub fn differences(one: &Value, other: &Value) -> Vec<(String, Value, Value)> {
    let mut found = Vec::new();
    compare(one, other, String::new(), &mut found);
    found
}

fn compare(one: &Value, other: &Value, at: String, found: &mut Vec<(String, Value, Value)>) {
    match (one, other) {
        (Value::Object(ones), Value::Object(others)) => {
            let names: std::collections::BTreeSet<&String> = ones.keys().chain(others.keys()).collect();
            for name in names {
                compare(&one[name], &other[name], format!("{at}/{name}"), found);
            }
        }
        (Value::Array(ones), Value::Array(others)) if ones.len() == others.len() => {
            for (place, (one, other)) in ones.iter().zip(others).enumerate() {
                compare(one, other, format!("{at}/{place}"), found);
            }
        }
        (one, other) if one == other => {}
        (one, other) => found.push((at, one.clone(), other.clone())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn dump(routes: &Value) -> Value {
        let host = json!({ "name": "x", "domains": ["a.test", "a.test."], "routes": routes });
        let unrelated = json!({ "route_config": { "virtual_hosts": [{ "domains": ["b.test"] }] } });
        let entry = json!({ "route_config": { "virtual_hosts": [host] } });
        json!({ "configs": [{}, { "dynamic_route_configs": [unrelated, entry] }] })
    }

    #[test]
    fn names_and_the_order_of_conditions_do_not_count_and_all_else_does() {
        let one = json!([{ "name": "n", "match": { "headers": [{ "name": "a" }, { "name": "b" }] }, "route": { "timeout": "1s" } }]);
        let other =
            json!([{ "match": { "headers": [{ "name": "b" }, { "name": "a" }] }, "route": { "timeout": "2s" } }]);
        let [one, other] =
            [one, other].map(|routes| with_domain(&dump(&routes), "a.test.").unwrap()["a.test"].0[0].clone());
        assert_eq!(differences(&one, &other), [("/route/timeout".to_owned(), json!("1s"), json!("2s"))]);
        assert!(with_domain(&dump(&json!([])), "c.test").is_none());
    }
}
