//! Two JSON values, field by field.

use serde_json::Value;

/// A field with another value.
#[derive(Clone, Debug, PartialEq)]
pub struct FieldChange {
    /// `route[0].weight`, from the object or rule that it stands in.
    pub path: String,
    /// What stood there; `None` for a field that is new.
    pub old: Option<Value>,
    /// What stands there now; `None` for a field that is gone.
    pub new: Option<Value>,
}

/// Every field that differs, as deep as both sides have the same form; lists are compared place by place.
pub(crate) fn compare(path: &str, old: Option<&Value>, new: Option<&Value>, changes: &mut Vec<FieldChange>) {
    match (old, new) {
        (Some(Value::Object(before)), Some(Value::Object(after))) => {
            for (key, value) in before {
                compare(&member(path, key), Some(value), after.get(key), changes);
            }
            for (key, value) in after.iter().filter(|(key, _)| !before.contains_key(*key)) {
                compare(&member(path, key), None, Some(value), changes);
            }
        }
        (Some(Value::Array(before)), Some(Value::Array(after))) => {
            for index in 0..before.len().max(after.len()) {
                compare(&format!("{path}[{index}]"), before.get(index), after.get(index), changes);
            }
        }
        (old, new) if old == new => {}
        (old, new) => changes.push(FieldChange { path: path.to_owned(), old: old.cloned(), new: new.cloned() }),
    }
}

fn member(path: &str, key: &str) -> String {
    let is_plain = key.bytes().all(|byte| byte.is_ascii_alphanumeric());
    match (path.is_empty(), is_plain) {
        (true, _) => key.to_owned(),
        (false, true) => format!("{path}.{key}"),
        (false, false) => format!("{path}[{key}]"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_deepest_fields_that_differ_are_told() {
        let old = json!({"a": {"b": [1, {"c": 2}], "end-user": 1}, "same": [1], "gone": true});
        let new = json!({"a": {"b": [1, {"c": 3}, 4], "end-user": 2}, "same": [1], "new": "x"});
        let mut changes = Vec::new();
        compare("", Some(&old), Some(&new), &mut changes);
        let told: Vec<_> = changes.iter().map(|change| (change.path.as_str(), &change.old, &change.new)).collect();
        assert_eq!(
            told,
            [
                ("a.b[1].c", &Some(json!(2)), &Some(json!(3))),
                ("a.b[2]", &None, &Some(json!(4))),
                ("a[end-user]", &Some(json!(1)), &Some(json!(2))),
                ("gone", &Some(json!(true)), &None),
                ("new", &None, &Some(json!("x"))),
            ]
        );
    }
}
