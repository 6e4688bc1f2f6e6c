//! How long an outcome takes, as a distribution that whole numbers can draw: no platform's `ln` or `exp`, so that every
//! machine draws the same. Issue 8 adds log-normal and empirical ones behind the same type.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, Error, MapAccess, Visitor};

use crate::chance::Chance;
use crate::scenario::ScenarioError;
use crate::span::Span;

/// Time from the moment an attempt is sent to its outcome.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Latency {
    /// `30s`, or `{constant: 30s}`.
    Constant(Span),
    /// `{uniform: [10ms, 50ms]}`: each moment between as likely, the upper end excluded.
    Uniform(Span, Span),
    /// `{exponential: 40ms}`, by its mean.
    Exponential(Span),
    /// `{percentiles: {p50: 20ms, p99: 300ms, p100: 1s}}`: straight lines between; `p0` is zero unless given, and nothing
    /// is slower than the last. In parts per million of all requests, ascending.
    Percentiles(Vec<(u64, Span)>),
}

impl Default for Latency {
    fn default() -> Self {
        Self::Constant(Span::default())
    }
}

const MILLION: u64 = 1_000_000;

impl Latency {
    /// One draw, in nanoseconds. A constant draws nothing.
    pub(crate) fn draw(&self, chance: &mut Chance) -> u64 {
        match self {
            Self::Constant(span) => span.as_nanos(),
            Self::Uniform(low, high) => {
                let (low, high) = (low.as_nanos(), high.as_nanos());
                low.saturating_add(chance.below(high.saturating_sub(low)))
            }
            Self::Exponential(mean) => chance.exponential(mean.as_nanos()),
            Self::Percentiles(points) => {
                // In millionths of a millionth, so that a point's neighbourhood is not one step.
                let at = chance.below(MILLION * MILLION);
                let (mut below, mut from) = (0, 0);
                for (ppm, span) in points {
                    let (point, to) = (ppm * MILLION, span.as_nanos());
                    if at < point {
                        let rise = u128::from(to.saturating_sub(from)) * u128::from(at.saturating_sub(below));
                        let rise = rise / u128::from(point.saturating_sub(below).max(1));
                        return from.saturating_add(u64::try_from(rise).unwrap_or(u64::MAX));
                    }
                    (below, from) = (point, to);
                }
                from
            }
        }
    }

    pub(crate) fn check(&self, field: &str, errors: &mut Vec<ScenarioError>) {
        match self {
            Self::Uniform(low, high) if low > high => {
                errors.push(ScenarioError::new(field, "the lower end comes first in `uniform`"));
            }
            Self::Percentiles(points) if points.is_empty() => {
                errors.push(ScenarioError::new(field, "`percentiles` needs at least one, for example `p50: 20ms`"));
            }
            Self::Percentiles(points) if !points.is_sorted_by_key(|(_, span)| *span) => {
                errors.push(ScenarioError::new(field, "a higher percentile cannot be faster than a lower one"));
            }
            Self::Constant(_) | Self::Uniform(..) | Self::Exponential(_) | Self::Percentiles(_) => {}
        }
    }
}

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
enum Named {
    /// Always the same.
    Constant(Span),
    /// Each moment between the two as likely.
    Uniform([Span; 2]),
    /// By its mean.
    Exponential(Span),
    /// By points such as `p50: 20ms`, `p99.9: 1s`, with straight lines between.
    Percentiles(BTreeMap<String, Span>),
}

impl JsonSchema for Latency {
    fn schema_name() -> Cow<'static, str> {
        "Latency".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({"anyOf": [generator.subschema_for::<Span>(), generator.subschema_for::<Named>()]})
    }
}

impl<'de> Deserialize<'de> for Latency {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = Latency;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a duration, or one of `constant`, `uniform`, `exponential`, `percentiles`")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Latency, E> {
                let span = Span::parse(text).ok_or_else(|| {
                    E::custom(format_args!("`{text}` is not a duration; write it like `350ms`, `2.5s` or `1h30m`"))
                })?;
                Ok(Latency::Constant(span))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Latency, A::Error> {
                Ok(match Named::deserialize(MapAccessDeserializer::new(map))? {
                    Named::Constant(span) => Latency::Constant(span),
                    Named::Uniform([low, high]) => Latency::Uniform(low, high),
                    Named::Exponential(mean) => Latency::Exponential(mean),
                    Named::Percentiles(points) => {
                        let points: Option<BTreeMap<u64, Span>> =
                            points.iter().map(|(name, span)| Some((ppm(name)?, *span))).collect();
                        let points = points.ok_or_else(|| A::Error::custom("percentiles are named `p50`, `p99.9`"))?;
                        Latency::Percentiles(points.into_iter().collect())
                    }
                })
            }
        }
        deserializer.deserialize_any(Either)
    }
}

/// `p99.9` as parts per million; at most four places.
pub(super) fn ppm(name: &str) -> Option<u64> {
    let (whole, fraction) = name.strip_prefix('p')?.split_once('.').unwrap_or((name.strip_prefix('p')?, ""));
    let digits = format!("{whole}{fraction:0<4}");
    let valid = fraction.len() <= 4 && digits.bytes().all(|byte| byte.is_ascii_digit());
    digits.parse().ok().filter(|ppm| valid && *ppm <= MILLION)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(value: serde_json::Value) -> Latency {
        serde_json::from_value(value).unwrap()
    }

    fn millis(millis: u64) -> Span {
        Span::from_nanos(millis * 1_000_000)
    }

    #[test]
    fn every_form_is_read() {
        assert_eq!(read(json!("30s")), Latency::Constant(millis(30_000)));
        assert_eq!(read(json!({"constant": "30s"})), Latency::Constant(millis(30_000)));
        assert_eq!(read(json!({"uniform": ["1ms", "2ms"]})), Latency::Uniform(millis(1), millis(2)));
        assert_eq!(read(json!({"exponential": "40ms"})), Latency::Exponential(millis(40)));
        let points = vec![(500_000, millis(20)), (999_000, millis(300))];
        assert_eq!(read(json!({"percentiles": {"p99.9": "300ms", "p50": "20ms"}})), Latency::Percentiles(points));
    }

    #[test]
    fn percentiles_are_met() {
        let latency = read(json!({"percentiles": {"p50": "20ms", "p90": "100ms", "p100": "1s"}}));
        let mut chance = Chance::new(1, "test");
        let mut drawn: Vec<u64> = (0..20_000).map(|_| latency.draw(&mut chance) / 1_000_000).collect();
        drawn.sort_unstable();
        assert!((19..=21).contains(&drawn[10_000]), "{}", drawn[10_000]);
        assert!((96..=110).contains(&drawn[18_000]), "{}", drawn[18_000]);
        assert!(drawn[19_999] < 1_000);
    }

    #[test]
    fn uniform_stays_within_its_ends() {
        let latency = read(json!({"uniform": ["10ms", "20ms"]}));
        let mut chance = Chance::new(1, "test");
        assert!((0..1_000).all(|_| (10_000_000..20_000_000).contains(&latency.draw(&mut chance))));
    }
}
