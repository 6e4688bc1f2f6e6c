//! How long an outcome takes, as a distribution that whole numbers can draw: no platform's `ln` or `exp`, so that every
//! machine draws the same. (The log-normal one uses fractions, and only arithmetic that all machines agree on.)

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, Error, MapAccess, Visitor};

use crate::chance::Chance;
use crate::portable::{exp, ln};
use crate::scenario::{Files, ScenarioError};
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
    /// `{logNormal: {p50: 40ms, p99: 300ms}}`: the long tail of most real services, by two of its percentiles.
    LogNormal {
        /// Half is faster.
        p50: Span,
        /// One in a hundred is slower.
        p99: Span,
    },
    /// `{samples: [12ms, 15ms, 90ms]}`: each of them as likely; or `{samplesFrom: FILE}`, one on each line.
    Samples(Samples),
}

/// Times that were measured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Samples {
    /// These.
    Listed(Arc<[Span]>),
    /// Those in this file, relative to the scenario's own; whoever reads the scenario reads it.
    In(String),
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
            Self::LogNormal { p50, p99 } => log_normal(*p50, *p99, chance.normal()),
            Self::Samples(Samples::Listed(spans)) => {
                let place = usize::try_from(chance.below(spans.len() as u64)).unwrap_or(0);
                spans.get(place).map_or(0, |span| span.as_nanos())
            }
            // Whoever plays the scenario has asked for the file.
            Self::Samples(Samples::In(_)) => 0,
        }
    }

    /// Reads the file that it names.
    pub(crate) fn read_file(&mut self, field: &str, files: Files<'_>, errors: &mut Vec<ScenarioError>) {
        let Self::Samples(Samples::In(name)) = self else { return };
        match files(name).and_then(|text| samples(name, &text)) {
            Ok(spans) => *self = Self::Samples(Samples::Listed(spans)),
            Err(message) => errors.push(ScenarioError::new(format!("{field}.samplesFrom"), message)),
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
            Self::LogNormal { p50, p99 } if p50.as_nanos() == 0 || p99 < p50 => {
                errors.push(ScenarioError::new(field, "`logNormal` needs a `p50` above zero and a `p99` not below it"));
            }
            Self::Samples(Samples::Listed(spans)) if spans.is_empty() => {
                errors.push(ScenarioError::new(field, "`samples` needs at least one, for example `20ms`"));
            }
            Self::Constant(_)
            | Self::Uniform(..)
            | Self::Exponential(_)
            | Self::Percentiles(_)
            | Self::LogNormal { .. }
            | Self::Samples(_) => {}
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
    /// A long tail, by two of its percentiles.
    LogNormal(TwoPercentiles),
    /// Each of them as likely.
    Samples(Vec<Span>),
    /// A file with a duration on each line, relative to the scenario's own.
    SamplesFrom(String),
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct TwoPercentiles {
    /// Half is faster.
    p50: Span,
    /// One in a hundred is slower.
    p99: Span,
}

/// `p50` times e to the power of `sigma` times a standard normal draw; `sigma` follows from `p99`.
fn log_normal(p50: Span, p99: Span, (is_below, off): (bool, u64)) -> u64 {
    /// The standard normal distribution has 99 % below this.
    const Z_99: f64 = 2.326_347_874_040_841;
    #[expect(clippy::cast_precision_loss, reason = "times are told in three digits")]
    let [p50, p99, off] = [p50.as_nanos(), p99.as_nanos(), off].map(|number| number as f64);
    let exponent = ln(p99 / p50) / Z_99 * (off / 4_294_967_296.0);
    let drawn = p50 * exp(if is_below { -exponent } else { exponent });
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "never negative; `as` stops at the ends"
    )]
    let drawn = drawn as u64;
    drawn
}

/// One duration on each line; empty lines and those that begin with `#` are none.
fn samples(name: &str, text: &str) -> Result<Arc<[Span]>, String> {
    let lines = text.lines().map(str::trim).zip(1_u64..).filter(|(line, _)| !line.is_empty() && !line.starts_with('#'));
    let spans = lines.map(|(line, number)| {
        Span::parse(line).ok_or_else(|| format!("{name}:{number}: `{line}` is not a duration; write it like `350ms`"))
    });
    let spans: Arc<[Span]> = spans.collect::<Result<_, _>>()?;
    if spans.is_empty() { Err(format!("{name} has no times in it")) } else { Ok(spans) }
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
                f.write_str("a duration, or one of `constant`, `uniform`, `exponential`, `logNormal`, `percentiles`, `samples`, `samplesFrom`")
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
                    Named::LogNormal(TwoPercentiles { p50, p99 }) => Latency::LogNormal { p50, p99 },
                    Named::Samples(spans) => Latency::Samples(Samples::Listed(spans.into())),
                    Named::SamplesFrom(name) => Latency::Samples(Samples::In(name)),
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
    fn log_normal_has_its_percentiles() {
        let latency = read(json!({"logNormal": {"p50": "40ms", "p99": "300ms"}}));
        let mut chance = Chance::new(1, "test");
        let mut drawn: Vec<u64> = (0..100_000).map(|_| latency.draw(&mut chance) / 1_000).collect();
        drawn.sort_unstable();
        assert!((39_400..=40_600).contains(&drawn[50_000]), "{}", drawn[50_000]);
        assert!((285_000..=316_000).contains(&drawn[99_000]), "{}", drawn[99_000]);
        // As much below as above, in powers: 40 ms * 40 / 300.
        assert!((5_050..=5_620).contains(&drawn[1_000]), "{}", drawn[1_000]);
    }

    #[test]
    fn samples_come_as_they_were_measured() {
        let file = |text: &'static str| {
            let mut latency = read(json!({"samplesFrom": "times.txt"}));
            let mut errors = Vec::new();
            latency.read_file("latency", &|_| Ok(text.to_owned()), &mut errors);
            (latency, errors.first().map(ToString::to_string).unwrap_or_default())
        };
        let listed = read(json!({"samples": ["12ms", "90ms"]}));
        assert_eq!(file("# measured\n12ms\n\n90ms\n"), (listed.clone(), String::new()));
        assert_eq!(
            file("12ms\nfast\n").1,
            "latency.samplesFrom: times.txt:2: `fast` is not a duration; write it like `350ms`"
        );
        assert_eq!(file("\n").1, "latency.samplesFrom: times.txt has no times in it");
        let mut chance = Chance::new(1, "test");
        let slow = (0..1_000).filter(|_| listed.draw(&mut chance) == 90_000_000).count();
        assert!((430..=570).contains(&slow), "{slow}");
    }

    #[test]
    fn uniform_stays_within_its_ends() {
        let latency = read(json!({"uniform": ["10ms", "20ms"]}));
        let mut chance = Chance::new(1, "test");
        assert!((0..1_000).all(|_| (10_000_000..20_000_000).contains(&latency.draw(&mut chance))));
    }
}
