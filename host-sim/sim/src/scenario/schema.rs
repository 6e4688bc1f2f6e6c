//! The JSON Schema of a scenario. Most of it is read off the types; here are those with a reader of their own.

use std::borrow::Cow;

use envoy_plan::PathNormalization;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::Value;

use crate::expect::{Percent, Quantity};
use crate::scenario::{Count, Normalization, OnFailure, Percentile, Rate, Scenario, Share, Statuses, Text};
use crate::span::Span;

/// The schema, in the dialect of draft 2020-12.
pub fn scenario_schema() -> Value {
    let mut schema = SchemaGenerator::default().into_root_schema_for::<Scenario>();
    schema.insert("$id".to_owned(), "https://shunt.dev/schemas/v1alpha1/scenario.json".into());
    schema.to_value()
}

/// A name, and the schema that goes with it.
macro_rules! schema {
    ($type:ty, $name:literal, $schema:tt) => {
        impl JsonSchema for $type {
            fn schema_name() -> Cow<'static, str> {
                $name.into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!($schema)
            }
        }
    };
}

schema!(Span, "Duration", {
    "description": "A length of time, like `350ms`, `2.5s` or `1h30m`.",
    "type": "string",
    "pattern": r"^(0|(([0-9]+\.?[0-9]*|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h))+)$",
});
schema!(Percent, "Percent", {
    "description": "A share, like `99.5%`, with at most four places.",
    "type": "string",
    "pattern": r"^[0-9]+(\.[0-9]{0,4})? *%$",
});
schema!(Quantity, "Quantity", {
    "description": "A share (`99.5%`), a count (`12`) or a time (`300ms`).",
    "anyOf": [
        {"type": "integer", "minimum": 0},
        {"type": "string", "pattern": r"^(0|(([0-9]+\.?[0-9]*|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h))+|[0-9]+(\.[0-9]{0,4})? *%)$"},
    ],
});
schema!(Statuses, "Statuses", {
    "description": "A status (`503`), a class of them (`5xx`), or `none` for no answer.",
    "anyOf": [
        {"type": "integer", "minimum": 100, "maximum": 599},
        {"type": "string", "pattern": r"^([1-5]xx|[1-5][0-9][0-9]|none)$"},
    ],
});
schema!(Percentile, "Percentile", {
    "description": "A percentile, like `p50` or `p99.9`; `p100` is the greatest.",
    "type": "string",
    "pattern": r"^p([0-9]{1,2}(\.[0-9]{1,4})?|100(\.0{1,4})?)$",
});
schema!(Rate, "Rate", {
    "description": "So many a second; may be a fraction, and 0 in a ramp.",
    "type": "number",
    "minimum": 0,
    "maximum": 1_000_000_000,
});
schema!(Share, "Share", {
    "description": "A share of all, from 0 to 1.",
    "type": "number",
    "minimum": 0,
    "maximum": 1,
});
schema!(Count, "Count", {
    "description": "A number, or `{uniform: [0, 50]}`: each number from the first to the last as likely.",
    "anyOf": [
        {"type": "integer", "minimum": 0, "maximum": 10_000},
        {
            "type": "object",
            "properties": {
                "uniform": {
                    "type": "array",
                    "items": {"type": "integer", "minimum": 0, "maximum": 10_000},
                    "minItems": 2,
                    "maxItems": 2,
                },
            },
            "required": ["uniform"],
            "additionalProperties": false,
        },
    ],
});
schema!(OnFailure, "OnFailure", {
    "description": "`ignore` to go on, or the status that the caller answers.",
    "anyOf": [
        {"const": "ignore"},
        {
            "type": "object",
            "properties": {"status": {"type": "integer", "minimum": 200, "maximum": 599}},
            "required": ["status"],
            "additionalProperties": false,
        },
    ],
});
schema!(Text, "Text", {
    "description": "The text itself, or `{prefix: ..}`.",
    "anyOf": [
        {"type": "string"},
        {
            "type": "object",
            "properties": {"exact": {"type": "string"}},
            "required": ["exact"],
            "additionalProperties": false,
        },
        {
            "type": "object",
            "properties": {"prefix": {"type": "string"}},
            "required": ["prefix"],
            "additionalProperties": false,
        },
    ],
});

impl JsonSchema for Normalization {
    fn schema_name() -> Cow<'static, str> {
        "PathNormalization".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let names: Vec<String> = PathNormalization::ALL.iter().map(ToString::to_string).collect();
        json_schema!({"description": "What is done to paths before a rule sees them; case does not matter.", "enum": names})
    }
}
