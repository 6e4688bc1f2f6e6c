//! What of a scenario can be played in real time: open loads of one rate, services that answer by chance. Anything else in
//! one is an error here, so that no comparison leaves something out in silence.

use crate::chance::SplitMix;
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::Duration;

/// A scenario; what belongs to the rehearsal alone is not looked at.
#[derive(Debug, Deserialize)]
pub(super) struct Scenario {
    pub(super) metadata: Metadata,
    pub(super) spec: Spec,
}

#[derive(Debug, Deserialize)]
pub(super) struct Metadata {
    pub(super) name: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Spec {
    pub(super) manifests: Vec<String>,
    pub(super) services: Vec<Service>,
    pub(super) load: Load,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Service {
    pub(super) host: String,
    pub(super) versions: Vec<Version>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Version {
    #[serde(default)]
    pub(super) labels: BTreeMap<String, String>,
    pub(super) outcomes: Vec<Outcome>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Outcome {
    #[serde(default = "one")]
    pub(super) share: usize,
    #[serde(default = "ok")]
    pub(super) status: u16,
    #[serde(default)]
    pub(super) latency: Latency,
    #[serde(default)]
    pub(super) body: String,
}

/// A time, or what times are drawn from.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "Value")]
pub(super) enum Latency {
    Constant(Duration),
    Uniform(Duration, Duration),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Load {
    pub(super) open: Open,
    pub(super) requests: Vec<Kind>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Open {
    pub(super) rate_per_second: f64,
    #[serde(default)]
    pub(super) arrivals: Arrivals,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Arrivals {
    #[default]
    Constant,
    Poisson,
}

/// One kind of request; only one can be played.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Kind {
    pub(super) method: String,
    pub(super) host: String,
    pub(super) path: String,
    #[serde(default)]
    pub(super) headers: BTreeMap<String, String>,
    #[serde(default)]
    pub(super) body: String,
}

fn one() -> usize {
    1
}

fn ok() -> u16 {
    200
}

impl Version {
    /// What happens to an attempt.
    pub(super) fn draw(&self, chance: &mut SplitMix) -> Option<&Outcome> {
        let mut drawn = chance.below(self.outcomes.iter().map(|outcome| outcome.share).sum());
        self.outcomes.iter().find(|outcome| match drawn.checked_sub(outcome.share) {
            Some(rest) => {
                drawn = rest;
                false
            }
            None => true,
        })
    }
}

impl Default for Latency {
    fn default() -> Self {
        Self::Constant(Duration::ZERO)
    }
}

impl Latency {
    pub(super) fn draw(&self, chance: &mut SplitMix) -> Duration {
        match self {
            Self::Constant(time) => *time,
            Self::Uniform(from, to) => *from + to.saturating_sub(*from).mul_f64(uniform(chance)),
        }
    }
}

/// Above 0 and up to 1.
pub(super) fn uniform(chance: &mut SplitMix) -> f64 {
    ((chance.draw() >> 11) + 1) as f64 / (1_u64 << 53) as f64
}

impl TryFrom<Value> for Latency {
    type Error = String;

    fn try_from(value: Value) -> Result<Self, String> {
        let range = value.get("uniform").and_then(Value::as_array).map(Vec::as_slice);
        match (&value, range) {
            (Value::String(text), _) => Ok(Self::Constant(time(text)?)),
            (_, Some([Value::String(from), Value::String(to)])) => Ok(Self::Uniform(time(from)?, time(to)?)),
            _ => Err(format!("{value}: only fixed and uniform times are played in real time")),
        }
    }
}

fn time(text: &str) -> Result<Duration, String> {
    let unit = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(unit);
    match (number.parse(), unit) {
        (Ok(number), "ms") => Ok(Duration::from_millis(number)),
        (Ok(number), "s") => Ok(Duration::from_secs(number)),
        _ => Err(format!("{text}: only whole s and ms are played in real time")),
    }
}
