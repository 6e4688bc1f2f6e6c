//! What a bound is written in: a share (`99.5%`), a count (`12`) or a time (`300ms`).

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, Visitor};
use serde::ser::{Serialize, Serializer};

use crate::span::Span;

/// All of something, in parts per million.
pub(crate) const WHOLE: u64 = 1_000_000;

/// A value that a bound names, with its unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quantity {
    /// `99.5%`.
    Share(Percent),
    /// `12`.
    Count(u64),
    /// `300ms`.
    Time(Span),
}

impl Quantity {
    /// What it is, as messages say it.
    pub(crate) fn unit(self) -> &'static str {
        match self {
            Self::Share(_) => "a share",
            Self::Count(_) => "a count",
            Self::Time(_) => "a time",
        }
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Share(share) => share.fmt(f),
            Self::Count(count) => f.write_str(&crate::report::count(*count)),
            Self::Time(span) => span.fmt(f),
        }
    }
}

impl Serialize for Quantity {
    /// As it was written.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Share(share) => serializer.collect_str(&format_args!("{}%", share.digits())),
            Self::Count(count) => serializer.serialize_u64(*count),
            Self::Time(span) => span.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Quantity {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;
        impl Visitor<'_> for Any {
            type Value = Quantity;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a share (`99.5%`), a count (`12`) or a time (`300ms`)")
            }

            fn visit_u64<E: Error>(self, count: u64) -> Result<Quantity, E> {
                Ok(Quantity::Count(count))
            }

            fn visit_f64<E: Error>(self, number: f64) -> Result<Quantity, E> {
                Err(E::custom(format_args!("`{number}` is no count; write a share like `99.5%`")))
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Quantity, E> {
                if text.trim_end().ends_with('%') {
                    return Percent::parse(text).map(Quantity::Share).map_err(E::custom);
                }
                Span::parse(text).map(Quantity::Time).ok_or_else(|| {
                    E::custom(format_args!(
                        "`{text}` is neither a share (`99.5%`) nor a count (`12`) nor a time (`300ms`)"
                    ))
                })
            }
        }
        deserializer.deserialize_any(Any)
    }
}

/// A part of a whole, from 0 to 100 %, to the ten-thousandth of a percent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Percent {
    /// Parts per million.
    pub ppm: u64,
}

impl Percent {
    /// `99.5%`, with or without a blank before the sign.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is no share: write it like `99.5%`, with at most four places");
        let number = text.trim_end().strip_suffix('%').map(str::trim_end).ok_or_else(wrong)?;
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        let is_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        if whole.is_empty() || whole.len() > 6 || fraction.len() > 4 || !is_digits(whole) || !is_digits(fraction) {
            return Err(wrong());
        }
        let ppm: u64 = format!("{whole}{fraction:0<4}").parse().map_err(|_| wrong())?;
        if ppm > WHOLE {
            return Err(format!("`{text}` is more than all there is"));
        }
        Ok(Self { ppm })
    }

    /// Neither nothing nor all.
    pub(crate) fn is_between(self) -> bool {
        (1..WHOLE).contains(&self.ppm)
    }

    /// In percent, without the sign.
    pub(crate) fn digits(self) -> String {
        let (whole, fraction) = (self.ppm / 10_000, self.ppm % 10_000);
        match fraction {
            0 => whole.to_string(),
            _ => format!("{whole}.{fraction:04}").trim_end_matches('0').to_owned(),
        }
    }
}

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} %", self.digits())
    }
}

impl Serialize for Percent {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{}%", self.digits()))
    }
}

impl<'de> Deserialize<'de> for Percent {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(value: serde_json::Value) -> Result<Quantity, String> {
        serde_json::from_value(value).map_err(|error| error.to_string())
    }

    #[test]
    fn units_tell_what_is_meant() {
        assert_eq!(read(json!("99.5%")), Ok(Quantity::Share(Percent { ppm: 995_000 })));
        assert_eq!(read(json!("0.0001 %")), Ok(Quantity::Share(Percent { ppm: 1 })));
        assert_eq!(read(json!("100%")), Ok(Quantity::Share(Percent { ppm: WHOLE })));
        assert_eq!(read(json!(12)), Ok(Quantity::Count(12)));
        assert_eq!(read(json!("300ms")), Ok(Quantity::Time(Span::from_nanos(300_000_000))));
        for bad in [
            json!(0.99),
            json!(-1),
            json!("12"),
            json!("101%"),
            json!("%"),
            json!("1.00001%"),
            json!("-1%"),
            json!(true),
        ] {
            assert!(read(bad.clone()).is_err(), "{bad}");
        }
        assert!(read(json!(0.99)).unwrap_err().contains("write a share like `99.5%`"));
    }

    #[test]
    fn shares_are_shown_as_they_were_written() {
        for text in ["99.5", "100", "0", "0.0001", "12.34"] {
            let share = Percent::parse(&format!("{text}%")).unwrap();
            assert_eq!(share.to_string(), format!("{text} %"));
            assert_eq!(serde_json::to_value(share).unwrap(), json!(format!("{text}%")));
        }
    }
}
