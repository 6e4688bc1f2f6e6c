//! JSON text to a value whose lists and maps take the room they need and no more.
//!
//! Linear memory never shrinks, and the value of a configuration is the largest thing the filter ever holds. Growing maps
//! step by step leaves most of them with room for four fields where they have one; so the fields are gathered first.

use crate::protobuf;
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::Value;
use std::fmt;

/// A value; numbers are whole where they can be. `80.0` becomes `80`, because Istio passes configuration through a Struct,
/// which knows doubles only.
pub(crate) struct Compact(pub(crate) Value);

/// The fields of an object as a map; of two with one name the last counts.
pub(crate) fn object(fields: Vec<(String, Value)>) -> Value {
    Value::Object(fields.into_iter().collect())
}

/// Items as a list.
pub(crate) fn list(mut items: Vec<Value>) -> Value {
    items.shrink_to_fit();
    Value::Array(items)
}

impl<'de> Deserialize<'de> for Compact {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(CompactVisitor).map(Self)
    }
}

struct CompactVisitor;

impl<'de> Visitor<'de> for CompactVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(protobuf::number(value).unwrap_or_default())
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(text.into())
    }

    fn visit_string<E>(self, text: String) -> Result<Value, E> {
        Ok(text.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(Compact(item)) = access.next_element()? {
            items.push(item);
        }
        Ok(list(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut fields = Vec::new();
        while let Some((key, Compact(value))) = access.next_entry()? {
            fields.push((key, value));
        }
        Ok(object(fields))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(text: &str, expected: Value) {
        assert_eq!(serde_json::from_str(text).map(|Compact(value)| value).ok(), Some(expected), "{text}");
    }

    #[test]
    fn text_becomes_the_value_it_says() {
        check(
            r#"{"a": [null, true, -1, 18446744073709551615, "x\n", {}], "b": {"c": 0.5}}"#,
            json!({"a": [null, true, -1, u64::MAX, "x\n", {}], "b": {"c": 0.5}}),
        );
        check(r#"[80.0, -0.0, 1e300, -7.25]"#, json!([80, 0, 1e300, -7.25]));
        check(r#"{"a": 1, "a": 2}"#, json!({"a": 2}));
    }

    #[test]
    fn what_is_not_json_or_too_deep_is_refused() {
        for text in ["", "{", "[1,]", "{\"a\"}", "nul", &"[".repeat(1000)] {
            assert!(serde_json::from_str::<Compact>(text).is_err(), "{text}");
        }
    }
}
