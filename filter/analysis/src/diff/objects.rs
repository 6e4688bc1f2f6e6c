//! What was written: objects that came, went or changed, and the rules of VirtualServices one by one.
//!
//! A rule is the same rule by its name; else by saying the same; else by its match blocks; else by its place.

use super::fields::{self, FieldChange};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// On which side something stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// On the new side only.
    Added,
    /// On the old side only.
    Removed,
    /// On both, and not the same.
    Changed,
}

/// An object that is not the same on both sides.
#[derive(Clone, Debug, PartialEq)]
pub struct ObjectChange {
    /// `VirtualService` and the like.
    pub kind: String,
    /// `metadata.namespace`.
    pub namespace: String,
    /// `metadata.name`.
    pub name: String,
    /// Where it stands.
    pub presence: Presence,
    /// Changed fields from the object on, without `spec.http`.
    pub fields: Vec<FieldChange>,
    /// Rules of a VirtualService, by their new place; those that are gone last.
    pub rules: Vec<RuleChange>,
    /// `spec.hosts` of both sides, in full; for VirtualServices.
    pub(crate) hosts: BTreeSet<String>,
}

/// A rule that is not the same on both sides.
#[derive(Clone, Debug, PartialEq)]
pub struct RuleChange {
    /// Its name, if it has one.
    pub name: String,
    /// Index in the old `spec.http`.
    pub old: Option<usize>,
    /// Index in the new `spec.http`.
    pub new: Option<usize>,
    /// Whether its place among the rules that both sides have is another.
    pub is_moved: bool,
    /// Changed fields, from the rule on.
    pub fields: Vec<FieldChange>,
}

/// Kind, namespace and name.
type Key = (String, String, String);

/// Compares all objects; by kind, namespace and name.
pub(crate) fn compare(old: &[Value], new: &[Value]) -> Vec<ObjectChange> {
    let (old, new) = (by_key(old), by_key(new));
    let keys: BTreeSet<&Key> = old.keys().chain(new.keys()).collect();
    keys.into_iter().filter_map(|key| object(key, old.get(key).copied(), new.get(key).copied())).collect()
}

fn by_key(objects: &[Value]) -> BTreeMap<Key, &Value> {
    let text = |value: Option<&Value>| value.and_then(Value::as_str).unwrap_or_default().to_owned();
    let key = |object: &Value| {
        let metadata = object.get("metadata");
        let namespace = text(metadata.and_then(|metadata| metadata.get("namespace")));
        let namespace = if namespace.is_empty() { "default".to_owned() } else { namespace };
        (text(object.get("kind")), namespace, text(metadata.and_then(|metadata| metadata.get("name"))))
    };
    objects.iter().map(|object| (key(object), object)).collect()
}

fn object(key: &Key, old: Option<&Value>, new: Option<&Value>) -> Option<ObjectChange> {
    let (kind, namespace, name) = key.clone();
    let spec = |object: Option<&Value>| object.and_then(|object| object.get("spec")).cloned().unwrap_or(Value::Null);
    let (mut before, mut after) = (spec(old), spec(new));
    let mut hosts = BTreeSet::new();
    let (mut fields, mut rules) = (Vec::new(), Vec::new());
    let is_service = kind == "VirtualService";
    if is_service {
        for host in [&before, &after].into_iter().flat_map(|spec| list(spec, "hosts")) {
            hosts.insert(istio_config::names::full_host(host.as_str().unwrap_or_default(), &namespace));
        }
    }
    let presence = match (old, new) {
        (None, _) => Presence::Added,
        (_, None) => Presence::Removed,
        (Some(_), Some(_)) => {
            if is_service {
                rules = compare_rules(&list(&before, "http"), &list(&after, "http"));
                for spec in [&mut before, &mut after] {
                    spec.as_object_mut().map(|spec| spec.remove("http"));
                }
            }
            fields::compare("spec", Some(&before), Some(&after), &mut fields);
            if fields.is_empty() && rules.is_empty() {
                return None;
            }
            Presence::Changed
        }
    };
    Some(ObjectChange { kind, namespace, name, presence, fields, rules, hosts })
}

fn list(spec: &Value, field: &str) -> Vec<Value> {
    spec.get(field).and_then(Value::as_array).cloned().unwrap_or_default()
}

fn compare_rules(old: &[Value], new: &[Value]) -> Vec<RuleChange> {
    let pairs = pairs(old, new);
    // Places among those that both sides have: a rule that is new in front moves nobody.
    let rank = |places: BTreeSet<usize>| places.into_iter().zip(0_usize..).collect::<BTreeMap<_, _>>();
    let old_rank = rank(pairs.values().copied().collect());
    let new_rank = rank(pairs.keys().copied().collect());
    let mut changes = Vec::new();
    for (place, rule) in new.iter().enumerate() {
        let mut fields = Vec::new();
        let partner = pairs.get(&place);
        if let Some(partner) = partner {
            fields::compare("", old.get(*partner), Some(rule), &mut fields);
        }
        let is_moved = partner.is_some_and(|partner| old_rank.get(partner) != new_rank.get(&place));
        if partner.is_none() || is_moved || !fields.is_empty() {
            let name = name(rule).to_owned();
            changes.push(RuleChange { name, old: partner.copied(), new: Some(place), is_moved, fields });
        }
    }
    for (place, rule) in old.iter().enumerate().filter(|(place, _)| !old_rank.contains_key(place)) {
        let name = name(rule).to_owned();
        changes.push(RuleChange { name, old: Some(place), new: None, is_moved: false, fields: Vec::new() });
    }
    changes
}

fn name(rule: &Value) -> &str {
    rule.get("name").and_then(Value::as_str).unwrap_or_default()
}

/// For each new rule the old one that it was, by their places.
fn pairs(old: &[Value], new: &[Value]) -> BTreeMap<usize, usize> {
    let mut pairs = BTreeMap::new();
    let mut taken = BTreeSet::new();
    // What makes two rules the same, from the surest sign to the weakest.
    let signs: [fn(usize, &Value) -> Option<String>; 4] = [
        |_, rule| Some(name(rule).to_owned()).filter(|name| !name.is_empty()),
        |_, rule| Some(rule.to_string()),
        |_, rule| Some(rule.get("match").map(Value::to_string).unwrap_or_default()),
        |place, _| Some(place.to_string()),
    ];
    for sign in signs {
        let mut free: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        // Backwards, so that the first comes off first.
        for (place, rule) in old.iter().enumerate().rev().filter(|(place, _)| !taken.contains(place)) {
            if let Some(sign) = sign(place, rule) {
                free.entry(sign).or_default().push(place);
            }
        }
        for (place, rule) in new.iter().enumerate() {
            if pairs.contains_key(&place) {
                continue;
            }
            let partner = sign(place, rule).and_then(|sign| free.get_mut(&sign)?.pop());
            if let Some(partner) = partner {
                taken.insert(partner);
                pairs.insert(place, partner);
            }
        }
    }
    pairs
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(old: Value, new: Value, wanted: &[(Option<usize>, Option<usize>, bool, &str)]) {
        let (old, new) = (old.as_array().unwrap().clone(), new.as_array().unwrap().clone());
        let changes = compare_rules(&old, &new);
        let told: Vec<_> = changes
            .iter()
            .map(|change| {
                let paths: Vec<_> = change.fields.iter().map(|field| field.path.as_str()).collect();
                (change.old, change.new, change.is_moved, paths.join(" "))
            })
            .collect();
        let wanted: Vec<_> =
            wanted.iter().map(|(old, new, moved, paths)| (*old, *new, *moved, (*paths).to_owned())).collect();
        assert_eq!(told, wanted);
    }

    #[test]
    fn rules_are_the_same_by_name_content_match_and_place() {
        let (a, b) = (json!({"match": [1], "timeout": "1s"}), json!({"match": [2]}));
        check(json!([a, b]), json!([a, b]), &[]);
        // One that is new in front moves nobody.
        check(json!([a, b]), json!([{"match": [3]}, a, b]), &[(None, Some(0), false, "")]);
        check(json!([a, b]), json!([b]), &[(Some(0), None, false, "")]);
        check(json!([a, b]), json!([b, a]), &[(Some(1), Some(0), true, ""), (Some(0), Some(1), true, "")]);
        // By its match.
        check(
            json!([a, b]),
            json!([{"match": [3]}, b, {"match": [1]}]),
            &[(None, Some(0), false, ""), (Some(1), Some(1), true, ""), (Some(0), Some(2), true, "timeout")],
        );
        // By its name, whatever it says; by its place, when nothing else is the same.
        check(
            json!([{"name": "x", "match": [1]}, b]),
            json!([b, {"name": "x", "match": [9]}]),
            &[(Some(1), Some(0), true, ""), (Some(0), Some(1), true, "match[0]")],
        );
        check(json!([a, b]), json!([a, {"match": [3]}]), &[(Some(1), Some(1), false, "match[0]")]);
    }

    #[test]
    fn objects_come_go_and_change() {
        let service = |name: &str, host: &str| json!({"kind": "VirtualService", "metadata": {"name": name}, "spec": {"hosts": [host], "http": []}});
        let changes = compare(
            &[service("a", "a"), service("b", "b"), service("same", "c")],
            &[service("b", "x.b"), service("d", "d"), service("same", "c")],
        );
        let told: Vec<_> = changes.iter().map(|change| (change.name.as_str(), change.presence)).collect();
        assert_eq!(told, [("a", Presence::Removed), ("b", Presence::Changed), ("d", Presence::Added)]);
        assert_eq!(changes[1].fields[0].path, "spec.hosts[0]");
        assert!(changes[1].hosts.contains("b.default.svc.cluster.local") && changes[1].hosts.contains("x.b"));
    }
}
