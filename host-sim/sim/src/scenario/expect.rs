//! What a scenario expects of its run: one measure of one thing, within one bound.

use std::collections::BTreeMap;
use std::fmt;

use schemars::JsonSchema;
use serde::Deserialize;
use serde::de::{Deserializer, Error};
use serde_json::Value;

use crate::expect::{Bound, Confidence, Percent, Quantity};
use crate::scenario::ScenarioError;
use crate::scenario::latency::ppm;

/// One expectation. Exactly one of `atLeast`, `atMost`, `between` and `equal` says what is wanted.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ExpectSpec {
    /// What the report calls it; no two have the same.
    pub name: String,
    /// What is looked at.
    pub measure: Measure,
    /// Whose; absent: of all requests, as clients saw them.
    #[serde(default)]
    pub of: Option<OfSpec>,
    /// Which answers, for `answers`: a status (`503`), a class (`5xx`) or `none`.
    #[serde(default)]
    pub status: Option<Statuses>,
    /// Which percentile, for `responseTime`: `p50`, `p99.9`, `p100` for the longest.
    #[serde(default)]
    pub percentile: Option<Percentile>,
    /// No less than this: a share (`99.5%`), a count (`12`) or a time (`300ms`).
    #[serde(default)]
    pub at_least: Option<Quantity>,
    /// No more than this.
    #[serde(default)]
    pub at_most: Option<Quantity>,
    /// No less than the first and no more than the second.
    #[serde(default)]
    pub between: Option<[Quantity; 2]>,
    /// Just this.
    #[serde(default)]
    pub equal: Option<Quantity>,
    /// How sure a judgement of a share has to be, such as `95%`. Absent: what was seen is compared as it is.
    #[serde(default)]
    pub confidence: Option<Percent>,
}

/// What is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Measure {
    /// How many of the requests that reached the service met these versions first; a share.
    Share,
    /// How many were answered below 500; a share.
    SuccessRate,
    /// How many were answered with a status; a share or a count.
    Answers,
    /// A percentile of the response times.
    ResponseTime,
    /// The mean of the response times.
    MeanResponseTime,
    /// How many requests there were; of a service, how many reached it.
    Requests,
    /// How many attempts were made.
    Attempts,
    /// How many attempts were not the first.
    Retries,
    /// How many requests were answered 504 for lack of time; of a service, how many attempts were given up for it.
    Timeouts,
    /// How many copies were sent.
    Mirrors,
    /// How many copies were answered below 500, and not too slow; a share.
    MirrorSuccessRate,
    /// How many of the users who came met a failure at least once; a share or a count.
    UsersFailed,
}

/// Some versions of a service, or the calls of services.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct OfSpec {
    /// Its host, whole or its first labels: what reached it, from clients and from other services.
    #[serde(default)]
    pub service: Option<String>,
    /// Labels of the endpoints that are meant; none: all.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// In place of a service: the calls between services, as their callers saw them.
    #[serde(default)]
    pub calls: bool,
}

/// Which answers are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Statuses {
    /// Those with a status from the first to the last.
    Within(u16, u16),
    /// Those that never came: broken off, given up, refused, still awaited.
    None,
}

/// Which of all response times in order, in parts per million.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Percentile {
    pub(crate) ppm: u64,
}

/// An expectation with its units in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    Share(Bound<Percent>, Option<Confidence>),
    Count(Bound<u64>),
    TimeUs(Bound<u64>),
}

impl Measure {
    fn takes(self, quantity: Quantity) -> bool {
        match self {
            Self::Share | Self::SuccessRate | Self::MirrorSuccessRate => matches!(quantity, Quantity::Share(_)),
            Self::Answers | Self::UsersFailed => matches!(quantity, Quantity::Share(_) | Quantity::Count(_)),
            Self::ResponseTime | Self::MeanResponseTime => matches!(quantity, Quantity::Time(_)),
            Self::Requests | Self::Attempts | Self::Retries | Self::Timeouts | Self::Mirrors => {
                matches!(quantity, Quantity::Count(_))
            }
        }
    }

    fn wants(self) -> &'static str {
        match self {
            Self::Share | Self::SuccessRate | Self::MirrorSuccessRate => "a share, like `99.5%`",
            Self::Answers | Self::UsersFailed => "a share, like `0.5%`, or a count, like `12`",
            Self::ResponseTime | Self::MeanResponseTime => "a time, like `300ms`",
            Self::Requests | Self::Attempts | Self::Retries | Self::Timeouts | Self::Mirrors => "a count, like `12`",
        }
    }
}

/// Copies are counted by where they went, whoever caused them.
fn is_of_copies(measure: Measure) -> bool {
    matches!(measure, Measure::Mirrors | Measure::MirrorSuccessRate)
}

impl ExpectSpec {
    /// The one bound as it was written, with its field.
    pub(crate) fn bound(&self) -> Option<(&'static str, Bound<Quantity>)> {
        let Self { at_least, at_most, between, equal, .. } = self;
        let given = [
            at_least.map(|low| ("atLeast", Bound::AtLeast(low))),
            at_most.map(|high| ("atMost", Bound::AtMost(high))),
            between.map(|[low, high]| ("between", Bound::Between(low, high))),
            equal.map(|value| ("equal", Bound::Equal(value))),
        ];
        let mut given = given.into_iter().flatten();
        let only = given.next();
        if given.next().is_some() { None } else { only }
    }

    /// What is wanted. `None` where [`ExpectSpec::check`] finds fault.
    pub(crate) fn wanted(&self) -> Option<Wanted> {
        let (_, bound) = self.bound()?;
        let of = |pick: fn(Quantity) -> Option<u64>| -> Option<Bound<u64>> {
            bound.values().all(|value| pick(value).is_some()).then(|| bound.map(|value| pick(value).unwrap_or(0)))
        };
        let share = |value| if let Quantity::Share(share) = value { Some(share.ppm) } else { None };
        let count = |value| if let Quantity::Count(count) = value { Some(count) } else { None };
        let micros = |value| if let Quantity::Time(span) = value { Some(span.as_nanos() / 1_000) } else { None };
        let shares = of(share).map(|bound| bound.map(|ppm| Percent { ppm }));
        let shares = shares.map(|bound| Wanted::Share(bound, self.confidence.map(Confidence)));
        shares.or_else(|| of(count).map(Wanted::Count)).or_else(|| of(micros).map(Wanted::TimeUs))
    }

    pub(crate) fn check(&self, at: &str, errors: &mut Vec<ScenarioError>) {
        let Self { name, measure, of, status, percentile, confidence, .. } = self;
        let mut wrong = |field: &str, message: String| {
            let at = if field.is_empty() { at.to_owned() } else { format!("{at}.{field}") };
            errors.push(ScenarioError::new(at, message));
        };
        if name.is_empty() {
            wrong("name", "the report calls it by its name: give one".to_owned());
        }
        if let Some(OfSpec { service, labels, calls }) = of {
            if service.as_ref().is_some_and(String::is_empty) {
                wrong("of.service", "name the service".to_owned());
            }
            if service.is_some() == *calls {
                wrong("of", "give either a `service` or `calls: true`".to_owned());
            }
            if *calls && !labels.is_empty() {
                wrong("of.labels", "labels are those of a service".to_owned());
            }
            if *measure == Measure::UsersFailed || *calls && is_of_copies(*measure) {
                wrong("of", "this measure is not taken of these".to_owned());
            }
        }
        if *measure == Measure::Share && of.as_ref().is_none_or(|of| of.labels.is_empty()) {
            let example = "`of: {service: reviews, labels: {version: v2}}`";
            wrong("of", format!("a share is that of some versions of a service: say whose, as in {example}"));
        }
        for (field, is_given, belongs_to) in [
            ("status", status.is_some(), Measure::Answers),
            ("percentile", percentile.is_some(), Measure::ResponseTime),
        ] {
            let name = if belongs_to == Measure::Answers { "answers" } else { "responseTime" };
            match (is_given, *measure == belongs_to) {
                (true, false) => wrong(field, format!("this belongs to the measure `{name}`")),
                (false, true) => wrong("", format!("the measure `{name}` needs a `{field}`")),
                (true, true) | (false, false) => {}
            }
        }
        let Some((field, bound)) = self.bound() else {
            return wrong("", "give one of `atLeast`, `atMost`, `between` and `equal`".to_owned());
        };
        if let Some(value) = bound.values().find(|value| !measure.takes(*value)) {
            return wrong(field, format!("{value} is {}, and here belongs {}", value.unit(), measure.wants()));
        }
        let Some(wanted) = self.wanted() else {
            return wrong(field, "both ends are of one kind: two shares, or two counts".to_owned());
        };
        let is_upside_down = match wanted {
            Wanted::Share(Bound::Between(low, high), _) => low > high,
            Wanted::Count(Bound::Between(low, high)) | Wanted::TimeUs(Bound::Between(low, high)) => low > high,
            Wanted::Share(..) | Wanted::Count(_) | Wanted::TimeUs(_) => false,
        };
        if is_upside_down {
            wrong(field, "the lower end comes first".to_owned());
        }
        match (wanted, confidence) {
            (Wanted::Share(Bound::Equal(share), _), None) if share.is_between() => {
                wrong(field, "chance never gives just this: say how sure to be, as in `confidence: 95%`".to_owned());
            }
            (Wanted::Share(..), Some(confidence)) if !(500_000..1_000_000).contains(&confidence.ppm) => {
                wrong("confidence", "this lies between `50%` and `99.9999%`".to_owned());
            }
            (Wanted::Count(_) | Wanted::TimeUs(_), Some(_)) => {
                wrong(
                    "confidence",
                    "only shares are judged by it; counts and times are compared as they are".to_owned(),
                );
            }
            _ => {}
        }
    }
}

impl fmt::Display for Statuses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Within(first, last) if first == last => first.fmt(f),
            Self::Within(first, _) => write!(f, "{}xx", first / 100),
            Self::None => f.write_str("none"),
        }
    }
}

impl<'de> Deserialize<'de> for Statuses {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        let of_class = |class: char| class.to_digit(10).and_then(|class| u16::try_from(class).ok());
        let statuses = match &value {
            Value::Number(number) => {
                number.as_u64().and_then(|number| u16::try_from(number).ok()).map(|it| Self::Within(it, it))
            }
            Value::String(text) if text == "none" => Some(Self::None),
            Value::String(text) => match text.chars().collect::<Vec<_>>().as_slice() {
                [class @ '1'..='5', 'x', 'x'] => {
                    of_class(*class).map(|class| Self::Within(class * 100, class * 100 + 99))
                }
                _ => text.parse().ok().map(|status| Self::Within(status, status)),
            },
            _ => None,
        };
        let is_status = |statuses: &Self| !matches!(statuses, Self::Within(first, _) if !(100..=599).contains(first));
        statuses.filter(is_status).ok_or_else(|| {
            D::Error::custom(format_args!("{value} is no status: write `503`, `5xx`, or `none` for no answer at all"))
        })
    }
}

impl fmt::Display for Percentile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = format!("p{}.{:04}", self.ppm / 10_000, self.ppm % 10_000);
        f.write_str(text.trim_end_matches('0').trim_end_matches('.'))
    }
}

impl Percentile {
    /// `p99.9`; at most four places.
    pub fn parse(text: &str) -> Option<Self> {
        ppm(text).map(|ppm| Self { ppm })
    }
}

impl<'de> Deserialize<'de> for Percentile {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text)
            .ok_or_else(|| D::Error::custom(format_args!("`{text}` is no percentile: write it like `p99` or `p99.9`")))
    }
}
