//! From a JSON value to a typed object, reporting every fault on the way.
//!
//! serde stops at the first fault. So a fault is reported, the field that has it is taken out, and reading starts
//! again, until what is left can be read: as many rounds as faults, and none of them hides another.

use crate::config::{Object, ObjectMeta, ObjectRef, Resource};
use crate::diagnostic::{Diagnostic, Diagnostics, Severity};
use crate::kinds::{self, KindFault};
use crate::reader::{self, Fault, Reason, Segment};
use crate::shunt_policy;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// Faults of one object that are still reported one by one; a document with more is hardly an Istio object.
const FAULTS_MAX: usize = 50;

const NETWORKING: &str = "networking.istio.io/";

/// The items of a `kind: List` (or `VirtualServiceList` and the like); `Err` gives back anything else.
pub(crate) fn list_items(mut document: Value) -> Result<Vec<Value>, Value> {
    let is_list = document.get("kind").and_then(Value::as_str).is_some_and(|kind| kind.ends_with("List"));
    match document.get_mut("items") {
        Some(Value::Array(items)) if is_list => Ok(std::mem::take(items)),
        _ => Err(document),
    }
}

/// The object without `status` and `metadata.managedFields`, which rules never depend on and which can be long.
pub(crate) fn without_status(mut value: Value) -> Value {
    if let Some(object) = value.as_object_mut() {
        object.remove("status");
        if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.remove("managedFields");
        }
    }
    value
}

/// One object. `None` when it is of a kind that is not served, or cannot be read; both are reported.
pub(crate) fn object(value: &Value, ordinal: usize, diagnostics: &mut Diagnostics) -> Option<Object> {
    let text = |value: Option<&Value>| value.and_then(Value::as_str).unwrap_or_default().to_owned();
    let metadata = value.get("metadata");
    let name = text(metadata.and_then(|metadata| metadata.get("name")));
    let namespace = text(metadata.and_then(|metadata| metadata.get("namespace")));
    let kind = text(value.get("kind"));
    let api_version = text(value.get("apiVersion"));
    let reference = ObjectRef {
        kind: if kind.is_empty() { "object" } else { kind.as_str() }.into(),
        namespace: if namespace.is_empty() { "default" } else { namespace.as_str() }.into(),
        name: name.as_str().into(),
        ordinal,
    };
    let mut report = |severity, code, path: &str, message: String, help: &str| {
        diagnostics.push(Diagnostic {
            severity,
            code,
            object: reference.clone(),
            path: path.to_owned(),
            message,
            help: help.to_owned(),
        });
    };
    if !value.is_object() || kind.is_empty() || api_version.is_empty() {
        let help = "every document is an object with apiVersion, kind, metadata and spec";
        report(Severity::Error, "not-an-object", "", "this is not a Kubernetes object".to_owned(), help);
        return None;
    }
    // Ours, for other commands: a rehearsal and route tests may stand beside the rules.
    if api_version.starts_with("shunt.dev/") && ["Scenario", "RouteTest"].contains(&kind.as_str()) {
        return None;
    }
    let is_policy = api_version == shunt_policy::API_VERSION && kind == shunt_policy::KIND;
    if api_version.starts_with("shunt.dev/") && !is_policy {
        let help = "kinds here: ShuntPolicy, Scenario, RouteTest, all of shunt.dev/v1alpha1";
        report(Severity::Error, "unknown-kind", "kind", format!("there is no {api_version} {kind}"), help);
        return None;
    }
    if let Some(fault) = kinds::fault(&api_version, &kind).filter(|_| cfg!(feature = "tools") && !is_policy) {
        let KindFault { severity, code, message, help } = fault;
        report(severity, code, "kind", message, &help);
        return None;
    }
    let is_of_istio = api_version.starts_with(NETWORKING)
        && ["VirtualService", "DestinationRule", "ServiceEntry", "Gateway"].contains(&kind.as_str());
    if !is_of_istio && !is_policy {
        match kinds::way_out(&api_version, &kind).filter(|_| cfg!(feature = "tools")) {
            Some(help) => {
                let message = format!("{api_version} {kind} is passed over, though it rules traffic");
                report(Severity::Warning, "traffic-kind-not-served", "kind", message, help);
            }
            None => {
                report(Severity::Note, "kind-not-served", "kind", format!("{api_version} {kind} is passed over"), "")
            }
        }
        return None;
    }
    let mut sound = true;
    for (path, value) in not_texts(metadata) {
        let help = "put it in quotes: numbers, true, yes, on, y and the like are no texts without them";
        report(Severity::Error, "bad-type", &path, format!("this is `{value}`, and no text"), help);
        sound = false;
    }
    if name.is_empty() && sound {
        report(Severity::Error, "no-name", "metadata.name", "the object has no name".to_owned(), "give it one");
        return None;
    }
    if let Some(fields) = value.as_object() {
        for field in
            fields.keys().filter(|key| !["apiVersion", "kind", "metadata", "spec", "status"].contains(&key.as_str()))
        {
            let help = "an object has apiVersion, kind, metadata and spec; rules stand under spec";
            report(Severity::Error, "unknown-field", field, format!("unknown field `{field}`"), help);
            sound = false;
        }
    }
    let meta = ObjectMeta {
        reference,
        creation_timestamp: text(metadata.and_then(|metadata| metadata.get("creationTimestamp"))),
        annotations: annotations(metadata),
    };
    let empty = Value::Object(Map::new());
    let spec = value.get("spec").filter(|spec| !spec.is_null()).unwrap_or(&empty);
    let object = match kind.as_str() {
        "VirtualService" => Object::VirtualService(Box::new(resource(meta, spec, diagnostics)?)),
        "DestinationRule" if !cfg!(feature = "tools") => return None,
        "DestinationRule" => Object::DestinationRule(Box::new(resource(meta, spec, diagnostics)?)),
        shunt_policy::KIND => Object::ShuntPolicy(Box::new(resource(meta, spec, diagnostics)?)),
        "ServiceEntry" => Object::ServiceEntry(Box::new(resource(meta, spec, diagnostics)?)),
        _ => Object::Gateway(Box::new(resource(meta, spec, diagnostics)?)),
    };
    sound.then_some(object)
}

/// What stands in `metadata` where only texts may, with its path.
fn not_texts(metadata: Option<&Value>) -> Vec<(String, &Value)> {
    let Some(metadata) = metadata else { return Vec::new() };
    let of_maps = ["labels", "annotations"].into_iter().flat_map(|map| {
        let entries = metadata.get(map).and_then(Value::as_object).into_iter().flatten();
        entries.map(move |(key, value)| (format!("metadata.{map}[{key}]"), value))
    });
    let names = ["name", "namespace"].into_iter();
    let names = names.filter_map(|field| Some((format!("metadata.{field}"), metadata.get(field)?)));
    names.chain(of_maps).filter(|(_, value)| !value.is_string() && !value.is_null()).collect()
}

pub(crate) fn annotations(metadata: Option<&Value>) -> BTreeMap<String, String> {
    let entries = metadata.and_then(|metadata| metadata.get("annotations")).and_then(Value::as_object);
    entries.into_iter().flatten().filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect()
}

fn resource<T: DeserializeOwned>(meta: ObjectMeta, spec: &Value, diagnostics: &mut Diagnostics) -> Option<Resource<T>> {
    let read = reader::read(spec);
    let spec = read.map_or_else(|first| report_all(&meta.reference, spec.clone(), first, diagnostics), Some)?;
    Some(Resource { meta, spec })
}

/// Reports every fault. What is left is handed on for further checks when only unknown fields were in the way: without
/// them nothing is missing that would make another fault appear.
fn report_all<T: DeserializeOwned>(
    object: &ObjectRef,
    mut spec: Value,
    first: Fault,
    diagnostics: &mut Diagnostics,
) -> Option<T> {
    let mut fault = first;
    let mut is_whole = true;
    for _ in 0..FAULTS_MAX {
        diagnostics.push(diagnostic(object, &fault));
        is_whole &= matches!(fault.reason, Reason::UnknownField { .. });
        if !take_out(&mut spec, &fault.path) {
            return None;
        }
        match reader::read(&spec) {
            Ok(rest) => return is_whole.then_some(rest),
            Err(next) => fault = next,
        }
    }
    None
}

fn diagnostic(object: &ObjectRef, fault: &Fault) -> Diagnostic {
    let (code, message, help) = match &fault.reason {
        Reason::UnknownField { field, known } => {
            ("unknown-field", format!("unknown field `{field}`"), suggestion(field, known))
        }
        Reason::UnknownValue { value, known } => {
            ("bad-value", format!("unknown value `{value}`"), format!("write one of {}", known.join(", ")))
        }
        Reason::Type { found, expected } if found.starts_with("boolean") && expected == "a string" => (
            "bad-type",
            format!("this is {found}"),
            "put it in quotes: without them yes, no, on, off, y and n are booleans too".to_owned(),
        ),
        Reason::Type { found, expected } => ("bad-type", format!("this is {found}"), format!("write {expected}")),
        Reason::Other(message) => {
            let (message, help) = message.rsplit_once("; ").unwrap_or((message, ""));
            ("bad-value", message.to_owned(), help.to_owned())
        }
    };
    let path = format!("spec{}", fault.rendered_path());
    Diagnostic { severity: Severity::Error, code, object: object.clone(), path, message, help }
}

/// The known field nearest to the unknown one, or the list of all.
fn suggestion(unknown: &str, known: &[&str]) -> String {
    let to_unknown = |name: &str| distance(&unknown.to_lowercase(), &name.to_lowercase());
    // What is far longer is near to none.
    let nearest = known.iter().filter(|name| unknown.len() <= name.len().saturating_add(8));
    match nearest.min_by_key(|name| to_unknown(name)) {
        Some(name) if to_unknown(name) <= 2 => format!("did you mean `{name}`?"),
        _ => format!("fields here: {}", known.join(", ")),
    }
}

/// Levenshtein distance.
pub(crate) fn distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (i, l) in left.chars().enumerate() {
        let mut diagonal = i;
        let mut previous = i.saturating_add(1);
        for (cell, r) in row.iter_mut().skip(1).zip(&right) {
            let substituted = diagonal.saturating_add(usize::from(l != *r));
            diagonal = *cell;
            *cell = substituted.min(diagonal.saturating_add(1)).min(previous.saturating_add(1));
            previous = *cell;
        }
        if let Some(first) = row.first_mut() {
            *first = i.saturating_add(1);
        }
    }
    row.last().copied().unwrap_or_default()
}

/// Removes what stands at `path`. `false` when there is nothing there that could be removed.
fn take_out(value: &mut Value, path: &[Segment]) -> bool {
    let Some((last, parents)) = path.split_last() else { return false };
    let mut at = value;
    for segment in parents {
        let child = match segment {
            Segment::Index(index) => at.get_mut(*index),
            Segment::Key(key) => at.get_mut(key.as_str()),
        };
        let Some(child) = child else { return false };
        at = child;
    }
    match (at, last) {
        (Value::Object(map), Segment::Key(key)) => map.remove(key).is_some(),
        // An element is emptied, not removed, so that those behind it keep their number.
        (Value::Array(list), Segment::Index(index)) => match list.get_mut(*index) {
            Some(element) if !element.is_null() && *element != Value::Object(Map::new()) => {
                *element = if element.is_object() { Value::Null } else { Value::Object(Map::new()) };
                true
            }
            _ => false,
        },
        _ => false,
    }
}
