//! The JSON Schema of the kind, from the types that read it, for editors and whoever writes it by program.

use super::{API_VERSION, KIND, ShuntPolicy};
use crate::GoDuration;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::{Value, json};
use std::borrow::Cow;

impl JsonSchema for GoDuration {
    fn schema_name() -> Cow<'static, str> {
        "Duration".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A length of time as Go writes it, like `90s` or `1h30m`.",
            "type": "string",
            "pattern": "^\\+?(0|(([0-9]+\\.?[0-9]*|\\.[0-9]+)(ns|us|µs|μs|ms|s|m|h))+)$",
        })
    }
}

/// The schema of a whole object.
pub fn schema() -> Value {
    let mut generator = SchemaGenerator::default();
    let spec = generator.subschema_for::<ShuntPolicy>();
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "https://shunt.dev/schemas/v1alpha1/shunt-policy.json",
        "title": KIND,
        "description": "What Istio's API cannot say, attached to the rules of a VirtualService.",
        "type": "object",
        "required": ["apiVersion", "kind", "metadata", "spec"],
        "additionalProperties": false,
        "properties": {
            "apiVersion": {"const": API_VERSION},
            "kind": {"const": KIND},
            "metadata": {"type": "object", "required": ["name"], "properties": {"name": {"type": "string"}, "namespace": {"type": "string"}}},
            "spec": spec,
            "status": true,
        },
        "$defs": generator.take_definitions(true),
    })
}
