//! Lengths of time as users write them, in Go's form (`1h30m`, `350ms`, `0.5s`), like everywhere in Istio.

use std::fmt;
use std::time::Duration;

use serde::de::{Deserialize, Deserializer, Error};
use serde::ser::{Serialize, Serializer};

/// A length of virtual time; never negative, at most 584 years.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span {
    nanos: u64,
}

/// Ascending; of names for the same unit the last is written.
const UNITS: [(&str, u64); 8] = [
    ("ns", 1),
    ("µs", 1_000),
    ("μs", 1_000),
    ("us", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

impl Span {
    /// So many nanoseconds.
    pub const fn from_nanos(nanos: u64) -> Self {
        Self { nanos }
    }

    /// In nanoseconds.
    pub const fn as_nanos(self) -> u64 {
        self.nanos
    }

    /// Reads Go's form. `None` for anything else, also for a bare number other than `0`.
    pub fn parse(text: &str) -> Option<Self> {
        if text == "0" {
            return Some(Self::default());
        }
        let (mut rest, mut nanos) = (text, 0_u64);
        while !rest.is_empty() {
            let (number, after_number) = split(rest, |c| c.is_ascii_digit() || c == '.');
            let (unit, after_unit) = split(after_number, |c| !c.is_ascii_digit() && c != '.');
            let (_, unit) = UNITS.iter().find(|(name, _)| *name == unit)?;
            nanos = nanos.checked_add(scaled(number, *unit)?)?;
            rest = after_unit;
        }
        (!text.is_empty()).then_some(Self { nanos })
    }
}

fn split(text: &str, belongs: impl Fn(char) -> bool) -> (&str, &str) {
    let end = text.find(|c| !belongs(c)).unwrap_or(text.len());
    text.split_at_checked(end).unwrap_or((text, ""))
}

/// `number`, perhaps with a fraction, times `unit` nanoseconds; what is below a nanosecond is cut off.
fn scaled(number: &str, unit: u64) -> Option<u64> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if (whole.is_empty() && fraction.is_empty()) || number.len() > 20 {
        return None;
    }
    let digits = |text: &str| if text.is_empty() { Some(0) } else { text.parse::<u64>().ok() };
    let scale = 10_u128.checked_pow(u32::try_from(fraction.len()).ok()?)?;
    let parts = u128::from(digits(fraction)?).checked_mul(u128::from(unit))?.checked_div(scale)?;
    digits(whole)?.checked_mul(unit)?.checked_add(u64::try_from(parts).ok()?)
}

impl From<Span> for Duration {
    fn from(span: Span) -> Self {
        Self::from_nanos(span.nanos)
    }
}

impl From<Duration> for Span {
    /// Cut off at 584 years.
    fn from(duration: Duration) -> Self {
        Self { nanos: u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX) }
    }
}

impl fmt::Display for Span {
    /// Three significant digits in the unit that reads best, as in a table.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (unit, name): (u64, _) = match self.nanos {
            0 => return f.pad("0 ms"),
            1..1_000 => (1, "ns"),
            1_000..1_000_000 => (1_000, "us"),
            1_000_000..1_000_000_000 => (1_000_000, "ms"),
            _ => (1_000_000_000, "s"),
        };
        // In hundredths, rounded half up; then as many places as three digits leave.
        let hundredths = (u128::from(self.nanos) * 100 + u128::from(unit / 2)) / u128::from(unit);
        let text = match hundredths {
            0..1_000 => format!("{}.{:02} {name}", hundredths / 100, hundredths % 100),
            1_000..9_995 => format!("{}.{} {name}", (hundredths + 5) / 100, (hundredths + 5) / 10 % 10),
            _ => format!("{} {name}", (hundredths + 50) / 100),
        };
        f.pad(&text)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| {
            D::Error::custom(format_args!("`{text}` is not a duration; write it like `350ms`, `2.5s` or `1h30m`"))
        })
    }
}

impl Serialize for Span {
    /// Go's form in the largest unit that leaves a whole number.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.nanos == 0 {
            return serializer.serialize_str("0s");
        }
        let (name, unit) =
            UNITS.iter().rev().find(|(_, unit)| self.nanos.is_multiple_of(*unit)).copied().unwrap_or(("ns", 1));
        serializer.collect_str(&format_args!("{}{name}", self.nanos / unit))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn go_durations_are_read() {
        for (text, nanos) in [
            ("1h30m", 5_400_000_000_000),
            ("350ms", 350_000_000),
            ("0.5s", 500_000_000),
            (".5s", 500_000_000),
            ("2s500ms", 2_500_000_000),
            ("0", 0),
            ("7ns", 7),
        ] {
            assert_eq!(Span::parse(text), Some(Span::from_nanos(nanos)), "{text}");
        }
        for text in ["", "5", "s", "-1s", "1 s", "1d", "1.2.3s", ".s", "99999999999h"] {
            assert_eq!(Span::parse(text), None, "{text}");
        }
    }

    #[test]
    fn tables_show_three_digits() {
        for (nanos, text) in [
            (0, "0 ms"),
            (21_000_000, "21.0 ms"),
            (1_000_447_000, "1.00 s"),
            (29_997_000_000, "30.0 s"),
            (299_780_000_000, "300 s"),
            (12_340_000, "12.3 ms"),
            (99_960_000, "100 ms"),
            (999, "999 ns"),
        ] {
            assert_eq!(Span::from_nanos(nanos).to_string(), text, "{nanos}");
        }
    }

    #[test]
    fn json_has_gos_form() {
        assert_eq!(serde_json::to_string(&Span::from_nanos(90_000_000_000)).unwrap(), "\"90s\"");
        assert_eq!(serde_json::to_string(&Span::from_nanos(1_500_000)).unwrap(), "\"1500us\"");
        assert_eq!(serde_json::to_string(&Span::default()).unwrap(), "\"0s\"");
    }
}
