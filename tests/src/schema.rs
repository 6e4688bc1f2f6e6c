//! As much of JSON Schema as our own schemas use, to hold them to what the readers take. A keyword that is not known here
//! is a fault of the test, not one to pass over.

use regex::Regex;
use serde_json::Value;

/// What says nothing about whether a value is taken.
const TELLING: [&str; 8] = ["$schema", "$id", "$defs", "title", "description", "default", "format", "examples"];

/// A schema, whole.
pub struct Schema(Value);

impl Schema {
    /// This one.
    pub fn new(schema: Value) -> Self {
        Self(schema)
    }

    /// What is wrong with a value, each with its place.
    pub fn faults(&self, value: &Value) -> Vec<String> {
        let mut faults = Vec::new();
        self.check(&self.0, value, "", &mut faults);
        faults
    }

    fn takes(&self, schema: &Value, value: &Value) -> bool {
        let mut faults = Vec::new();
        self.check(schema, value, "", &mut faults);
        faults.is_empty()
    }

    fn check(&self, schema: &Value, value: &Value, at: &str, faults: &mut Vec<String>) {
        let keywords = match schema {
            Value::Bool(true) => return,
            Value::Object(keywords) => keywords,
            _ => return faults.push(format!("{at}: nothing may stand here")),
        };
        for (keyword, rule) in keywords {
            if let Err(fault) = self.keyword(keyword, rule, schema, value, at, faults) {
                faults.push(format!("{at}: {fault}"));
            }
        }
    }

    fn keyword(
        &self,
        keyword: &str,
        rule: &Value,
        schema: &Value,
        value: &Value,
        at: &str,
        faults: &mut Vec<String>,
    ) -> Result<(), String> {
        let list = || rule.as_array().map(Vec::as_slice).unwrap_or_default();
        let number = |holds: fn(f64, f64) -> bool| match (value.as_f64(), rule.as_f64()) {
            (Some(value), Some(limit)) => holds(value, limit),
            _ => true,
        };
        let holds = match keyword {
            "$ref" => {
                let pointer = rule.as_str().and_then(|name| name.strip_prefix('#')).unwrap_or("/?");
                let meant = self.0.pointer(pointer).ok_or_else(|| format!("{rule} leads nowhere"))?;
                self.check(meant, value, at, faults);
                true
            }
            "type" => match rule {
                Value::Array(names) => names.iter().any(|name| is(name, value)),
                name => is(name, value),
            },
            "const" => rule == value,
            "enum" => list().contains(value),
            "anyOf" => list().iter().any(|one| self.takes(one, value)),
            "oneOf" => list().iter().filter(|one| self.takes(one, value)).count() == 1,
            "allOf" => {
                list().iter().for_each(|one| self.check(one, value, at, faults));
                true
            }
            "minimum" => number(|value, limit| value >= limit),
            "maximum" => number(|value, limit| value <= limit),
            "minProperties" => value.as_object().is_none_or(|fields| Some(fields.len() as u64) >= rule.as_u64()),
            "maxProperties" => value.as_object().is_none_or(|fields| Some(fields.len() as u64) <= rule.as_u64()),
            "minItems" => value.as_array().is_none_or(|items| Some(items.len() as u64) >= rule.as_u64()),
            "maxItems" => value.as_array().is_none_or(|items| Some(items.len() as u64) <= rule.as_u64()),
            "pattern" => {
                let pattern = Regex::new(rule.as_str().unwrap_or_default()).map_err(|error| error.to_string())?;
                value.as_str().is_none_or(|text| pattern.is_match(text))
            }
            "items" => {
                for (index, item) in value.as_array().into_iter().flatten().enumerate() {
                    self.check(rule, item, &format!("{at}[{index}]"), faults);
                }
                true
            }
            "properties" => {
                for (name, property) in rule.as_object().into_iter().flatten() {
                    if let Some(field) = value.get(name) {
                        self.check(property, field, &format!("{at}.{name}"), faults);
                    }
                }
                true
            }
            "required" => {
                let missing =
                    |name: &&Value| value.is_object() && value.get(name.as_str().unwrap_or_default()).is_none();
                match list().iter().find(missing) {
                    Some(name) => return Err(format!("{name} is missing")),
                    None => true,
                }
            }
            "additionalProperties" => {
                let known = schema.get("properties");
                for (name, field) in value.as_object().into_iter().flatten() {
                    if known.is_none_or(|known| known.get(name).is_none()) {
                        self.check(rule, field, &format!("{at}.{name}"), faults);
                    }
                }
                true
            }
            known if TELLING.contains(&known) => true,
            unknown => return Err(format!("this test does not know the keyword {unknown}")),
        };
        if holds { Ok(()) } else { Err(format!("{value} does not fit {keyword} {rule}")) }
    }
}

fn is(name: &Value, value: &Value) -> bool {
    match name.as_str().unwrap_or_default() {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        _ => false,
    }
}
