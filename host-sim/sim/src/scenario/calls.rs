//! What a service asks of other services before it answers.

use std::collections::BTreeMap;
use std::fmt;

use schemars::JsonSchema;
use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, Error, MapAccess, Visitor};

use crate::scenario::{ScenarioError, When};
use crate::span::Span;

/// More calls for one request are a slip of the pen.
const COUNT_MAX: u32 = 10_000;

/// One call, or several of the same kind, one after the other.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CallSpec {
    /// Requests for whose sake it is made; any unless given.
    #[serde(default)]
    pub when: When,
    /// The share of these for which it is made, from 0 to 1; all unless given.
    #[serde(default)]
    pub share: Share,
    /// How often it is made; once unless given.
    #[serde(default)]
    pub count: Count,
    /// All of `count` at once, instead of one after the other.
    #[serde(default)]
    pub parallel: bool,
    /// It begins together with the call written before it, instead of after it.
    #[serde(default)]
    pub alongside: bool,
    /// The Host header.
    pub host: String,
    /// `GET` unless given.
    #[serde(default = "get")]
    pub method: String,
    /// With the query; `/` unless given.
    #[serde(default = "root")]
    pub path: String,
    /// Headers of its own.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// The body; none unless given.
    #[serde(default)]
    pub body: String,
    /// The caller gives up after this time. Absent: it waits.
    #[serde(default)]
    pub timeout: Option<Span>,
    /// What the caller does when the call is answered 500 or above, or not at all; it fails with 500 unless given.
    #[serde(default)]
    pub on_failure: OnFailure,
}

/// A share, in millionths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// From 0 to 1 000 000.
    pub millionths: u64,
}

/// How often.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Count {
    /// `3`.
    Fixed(u32),
    /// `{uniform: [0, 50]}`: each number from the first to the last as likely.
    Uniform(u32, u32),
}

/// What a service does when its call fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnFailure {
    /// `ignore`: it goes on.
    Ignore,
    /// `{status: 502}`: it answers this at once, and makes no more calls.
    Status(u16),
}

pub(super) fn get() -> String {
    "GET".to_owned()
}

pub(super) fn root() -> String {
    "/".to_owned()
}

impl Default for Share {
    fn default() -> Self {
        Self { millionths: 1_000_000 }
    }
}

impl Default for Count {
    fn default() -> Self {
        Self::Fixed(1)
    }
}

impl Default for OnFailure {
    fn default() -> Self {
        Self::Status(500)
    }
}

impl CallSpec {
    /// `before` is the call written before it.
    pub(crate) fn check(&self, at: &str, before: Option<&Self>, errors: &mut Vec<ScenarioError>) {
        let Self {
            when,
            share: _,
            count,
            parallel: _,
            alongside,
            host,
            method,
            path,
            headers,
            body: _,
            timeout,
            on_failure,
        } = self;
        when.check(&format!("{at}.when"), errors);
        let bad_status = matches!(on_failure, OnFailure::Status(status) if !(200..=599).contains(status));
        let header = headers.keys().any(|name| name.is_empty() || name.starts_with(':'));
        let (low, high) = count.ends();
        for (field, wrong, message) in [
            ("host", host.is_empty(), "a call has a host"),
            ("method", method.is_empty(), "a method has a name"),
            ("path", !path.starts_with('/'), "a path begins with `/`"),
            ("headers", header, "a header needs a name without a colon"),
            ("count", low > high, "the lower end comes first in `uniform`"),
            ("count", high > COUNT_MAX, "a service makes at most 10000 calls of a kind"),
            ("alongside", *alongside && before.is_none(), "there is no call before this one"),
            (
                "alongside",
                *alongside && [Some(self), before].into_iter().flatten().any(Self::is_sequence),
                "calls go together where each is made once, or `parallel`",
            ),
            ("timeout", timeout.is_some_and(|span| span.as_nanos() == 0), "this must be above zero"),
            ("onFailure.status", bad_status, "an HTTP status lies between 200 and 599"),
        ] {
            if wrong {
                errors.push(ScenarioError::new(format!("{at}.{field}"), message));
            }
        }
    }

    /// Several, one after the other.
    fn is_sequence(&self) -> bool {
        self.count.ends().1 > 1 && !self.parallel
    }

    /// Whether the call, which takes over the headers `forwards`, may be one that `when` holds for.
    pub(crate) fn may_meet(&self, when: &When, forwards: &[String]) -> bool {
        when.holds_by(self.path.as_bytes(), self.method.as_bytes(), |name, text| {
            let own = self.headers.iter().find(|(own, _)| own.eq_ignore_ascii_case(name));
            let is_forwarded = || forwards.iter().any(|forwarded| forwarded.eq_ignore_ascii_case(name));
            own.map_or_else(is_forwarded, |(_, value)| When::is_met(text, value))
        })
    }
}

impl Count {
    /// The least and the greatest number.
    pub(crate) fn ends(self) -> (u32, u32) {
        match self {
            Self::Fixed(count) => (count, count),
            Self::Uniform(low, high) => (low, high),
        }
    }
}

impl<'de> Deserialize<'de> for Share {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = f64::deserialize(deserializer)?;
        if !(0.0..=1.0).contains(&number) {
            return Err(D::Error::custom("a share lies between 0 and 1"));
        }
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "whole and within 0..=10^6")]
        Ok(Self { millionths: (number * 1e6).round() as u64 })
    }
}

impl<'de> Deserialize<'de> for Count {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        enum Named {
            Uniform([u32; 2]),
        }
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = Count;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a whole number from 0 on, or `{uniform: [0, 50]}`")
            }

            fn visit_u64<E: Error>(self, number: u64) -> Result<Count, E> {
                Ok(Count::Fixed(u32::try_from(number).unwrap_or(u32::MAX)))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Count, A::Error> {
                let Named::Uniform([low, high]) = Named::deserialize(MapAccessDeserializer::new(map))?;
                Ok(Count::Uniform(low, high))
            }
        }
        deserializer.deserialize_any(Either)
    }
}

impl<'de> Deserialize<'de> for OnFailure {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        enum Named {
            Status(u16),
        }
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = OnFailure;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("`ignore`, or `{status: 500}`")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<OnFailure, E> {
                if text == "ignore" {
                    return Ok(OnFailure::Ignore);
                }
                Err(E::custom(format_args!("write `ignore` or `{{status: 500}}`, not `{text}`")))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<OnFailure, A::Error> {
                let Named::Status(status) = Named::deserialize(MapAccessDeserializer::new(map))?;
                Ok(OnFailure::Status(status))
            }
        }
        deserializer.deserialize_any(Either)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[track_caller]
    fn read(change: impl FnOnce(&mut Value)) -> Result<CallSpec, String> {
        let mut value = json!({"host": "numbers"});
        change(&mut value);
        serde_json::from_value(value).map_err(|error| error.to_string())
    }

    #[test]
    fn every_form_is_read() {
        let plain = read(|_| {}).unwrap();
        assert_eq!(
            (plain.count, plain.share.millionths, plain.on_failure),
            (Count::Fixed(1), 1_000_000, OnFailure::Status(500))
        );
        let full = read(|call| {
            call["count"] = json!({"uniform": [0, 50]});
            call["share"] = json!(0.25);
            call["onFailure"] = json!("ignore");
        });
        let full = full.unwrap();
        assert_eq!(
            (full.count, full.share.millionths, full.on_failure),
            (Count::Uniform(0, 50), 250_000, OnFailure::Ignore)
        );
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let said = |field: &str, value: Value| read(|call| call[field] = value).unwrap_err();
        assert_eq!(said("share", json!(1.5)), "a share lies between 0 and 1");
        assert_eq!(said("share", json!(-0.1)), "a share lies between 0 and 1");
        assert!(said("count", json!(-1)).contains("a whole number from 0 on"), "{}", said("count", json!(-1)));
        assert!(said("timeout", json!("-1s")).contains("is not a duration"));
        assert!(said("onFailure", json!("fail")).contains("write `ignore`"));
    }
}
