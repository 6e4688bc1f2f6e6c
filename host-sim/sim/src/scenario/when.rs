//! Which requests something holds for: by path, method and headers, as a service sees them.

use std::collections::BTreeMap;
use std::fmt;

use host_abi::HeaderMap;
use schemars::JsonSchema;
use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, Error, MapAccess, Visitor};

use crate::scenario::ScenarioError;

/// What a request must be like; what is absent may be anything.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct When {
    /// The path, without the query.
    #[serde(default)]
    pub path: Option<Text>,
    /// The method, in capitals.
    #[serde(default)]
    pub method: Option<String>,
    /// Headers that it must have, with these values.
    #[serde(default)]
    pub headers: BTreeMap<String, Text>,
}

/// What a text must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Text {
    /// `/login`, or `{exact: /login}`.
    Exact(String),
    /// `{prefix: /static}`.
    Prefix(String),
}

impl Text {
    fn is_met(&self, text: &[u8]) -> bool {
        match self {
            Self::Exact(exact) => text == exact.as_bytes(),
            Self::Prefix(prefix) => text.starts_with(prefix.as_bytes()),
        }
    }
}

impl When {
    /// Whether it holds for every request.
    pub(crate) fn is_always(&self) -> bool {
        let Self { path, method, headers } = self;
        path.is_none() && method.is_none() && headers.is_empty()
    }

    /// Whether it holds for a request with this head.
    pub(crate) fn holds(&self, head: &HeaderMap) -> bool {
        let header = |name: &str, text: &Text| head.get_all(name).any(|value| text.is_met(value));
        self.holds_by(head.get(":path").unwrap_or_default(), head.get(":method").unwrap_or_default(), header)
    }

    /// The same, of what is known of a request; `header` says whether it may have such a header.
    pub(crate) fn holds_by(&self, path: &[u8], method: &[u8], header: impl Fn(&str, &Text) -> bool) -> bool {
        let Self { path: wanted_path, method: wanted_method, headers } = self;
        let path = path.split(|byte| *byte == b'?').next().unwrap_or(path);
        wanted_path.as_ref().is_none_or(|wanted| wanted.is_met(path))
            && wanted_method.as_ref().is_none_or(|wanted| wanted.as_bytes() == method)
            && headers.iter().all(|(name, wanted)| header(&name.to_ascii_lowercase(), wanted))
    }

    pub(crate) fn check(&self, at: &str, errors: &mut Vec<ScenarioError>) {
        let Self { path, method, headers } = self;
        if let Some(Text::Exact(path) | Text::Prefix(path)) = path
            && (!path.starts_with('/') || path.contains('?'))
        {
            errors.push(ScenarioError::new(format!("{at}.path"), "a path begins with `/`, and has no query here"));
        }
        if method.as_ref().is_some_and(String::is_empty) {
            errors.push(ScenarioError::new(format!("{at}.method"), "a method has a name"));
        }
        if headers.keys().any(|name| name.is_empty() || name.starts_with(':')) {
            errors.push(ScenarioError::new(format!("{at}.headers"), "a header needs a name without a colon"));
        }
    }

    /// Whether a header with this value would do.
    pub(crate) fn is_met(text: &Text, value: &str) -> bool {
        text.is_met(value.as_bytes())
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
enum Named {
    Exact(String),
    Prefix(String),
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = Text;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text, or one of `exact`, `prefix`")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Text, E> {
                Ok(Text::Exact(text.to_owned()))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Text, A::Error> {
                Ok(match Named::deserialize(MapAccessDeserializer::new(map))? {
                    Named::Exact(text) => Text::Exact(text),
                    Named::Prefix(text) => Text::Prefix(text),
                })
            }
        }
        deserializer.deserialize_any(Either)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[track_caller]
    fn check(when: serde_json::Value, expected: bool) {
        let when: When = serde_json::from_value(when).unwrap();
        let head = HeaderMap::from([(":method", "GET"), (":path", "/cart/7?full=1"), ("x-user", "ann")]);
        assert_eq!(when.holds(&head), expected, "{when:?}");
    }

    #[test]
    fn all_that_is_named_must_hold() {
        check(json!({}), true);
        check(json!({"path": "/cart/7"}), true);
        check(json!({"path": {"prefix": "/cart/"}, "method": "GET"}), true);
        check(json!({"path": {"exact": "/cart"}}), false);
        check(json!({"method": "POST"}), false);
        check(json!({"headers": {"X-User": "ann"}}), true);
        check(json!({"headers": {"x-user": {"prefix": "b"}}}), false);
        check(json!({"headers": {"x-other": ""}}), false);
    }
}
