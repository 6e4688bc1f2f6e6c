//! Durations as Istio writes them: Go's form, `1h30m`, `350ms`, `0.5s`.

use serde::de::{Deserialize, Deserializer, Error};
use std::fmt;
use std::time::Duration;

/// A duration that was written in Go's form (`time.ParseDuration`); never negative, and at most Go's longest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct GoDuration(pub Duration);

/// Why a text is no such duration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DurationFault {
    /// It is not written in Go's form, as a bare number other than `0`.
    NoDuration,
    /// It begins with a minus sign.
    Negative,
    /// It is longer than 2^63 - 1 nanoseconds, the longest that Go knows.
    TooLong,
}

impl fmt::Display for DurationFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoDuration => "is not a duration; write it like `350ms`, `2.5s` or `1h30m`",
            Self::Negative => "is less than no time at all; write it without the minus sign",
            Self::TooLong => "is longer than 292 years; write `2562047h` or less",
        })
    }
}

const UNITS: [(&str, u128); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("μs", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

/// Digits of a fraction that count: of an hour the last of them is far below a nanosecond.
const FRACTION_DIGITS: usize = 18;

impl GoDuration {
    /// Reads Go's form.
    ///
    /// # Errors
    ///
    /// It is not written so, or no such duration can be.
    pub fn parse(text: &str) -> Result<Self, DurationFault> {
        if let Some(rest) = text.strip_prefix('-') {
            return Self::parse_size(rest).and(Err(DurationFault::Negative));
        }
        Self::parse_size(text.strip_prefix('+').unwrap_or(text))
    }

    /// Reads what stands behind the sign.
    fn parse_size(text: &str) -> Result<Self, DurationFault> {
        if text == "0" {
            return Ok(Self::default());
        }
        let mut rest = text;
        let mut nanoseconds = 0_u128;
        if rest.is_empty() {
            return Err(DurationFault::NoDuration);
        }
        while !rest.is_empty() {
            let (number, after_number) = split_at_end_of(rest, |c| c.is_ascii_digit() || c == '.');
            let (unit, after_unit) = split_at_end_of(after_number, |c| !c.is_ascii_digit() && c != '.');
            let (_, unit) = UNITS.iter().find(|(name, _)| *name == unit).ok_or(DurationFault::NoDuration)?;
            nanoseconds = nanoseconds.saturating_add(scaled(number, *unit)?);
            rest = after_unit;
        }
        let nanoseconds = i64::try_from(nanoseconds).map_err(|_| DurationFault::TooLong)?;
        Ok(Self(Duration::from_nanos(nanoseconds.unsigned_abs())))
    }
}

fn split_at_end_of(text: &str, belongs: impl Fn(char) -> bool) -> (&str, &str) {
    let end = text.find(|c| !belongs(c)).unwrap_or(text.len());
    text.split_at_checked(end).unwrap_or((text, ""))
}

/// `number`, which may have a fraction, times `unit` nanoseconds; digits below a nanosecond are cut off, and what is too much
/// for the type is its largest number.
fn scaled(number: &str, unit: u128) -> Result<u128, DurationFault> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && fraction.is_empty() || fraction.contains('.') {
        return Err(DurationFault::NoDuration);
    }
    let fraction = fraction.get(..FRACTION_DIGITS).unwrap_or(fraction);
    // Digits alone: what cannot be read is too much.
    let whole: u128 = if whole.is_empty() { 0 } else { whole.parse().unwrap_or(u128::MAX) };
    let digits: u128 = if fraction.is_empty() { 0 } else { fraction.parse().unwrap_or_default() };
    let scale = (0..fraction.len()).fold(1_u128, |scale, _| scale.saturating_mul(10));
    let below = digits.saturating_mul(unit).checked_div(scale).unwrap_or_default();
    Ok(whole.saturating_mul(unit).saturating_add(below))
}

impl<'de> Deserialize<'de> for GoDuration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(|fault| D::Error::custom(format_args!("`{text}` {fault}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Result<u64, DurationFault>) {
        assert_eq!(GoDuration::parse(text), expected.map(|n| GoDuration(Duration::from_nanos(n))), "{text}");
    }

    #[test]
    fn go_durations_are_read() {
        check("1h30m", Ok(5_400_000_000_000));
        check("350ms", Ok(350_000_000));
        check("0.5s", Ok(500_000_000));
        check("1.5h", Ok(5_400_000_000_000));
        check(".5s", Ok(500_000_000));
        check("1us", Ok(1_000));
        check("0", Ok(0));
        check("+0s", Ok(0));
        check("2s500ms", Ok(2_500_000_000));
        check("0.1000000000000000000000000000s", Ok(100_000_000));
        check("2562047h47m16.854775807s", Ok(9_223_372_036_854_775_807));
    }

    #[test]
    fn other_forms_are_refused() {
        for text in ["", "5", "s", "1 s", "1d", "1.2.3s", ".s", "1e3s", "-", "-5", "--1s", "+-1s"] {
            check(text, Err(DurationFault::NoDuration));
        }
    }

    #[test]
    fn what_no_duration_can_be_is_told_from_what_is_written_otherwise() {
        check("-1s", Err(DurationFault::Negative));
        check("-0.5h", Err(DurationFault::Negative));
        let digits = "9".repeat(60);
        for text in ["2562047h47m16.854775808s", "99999999999h", &format!("{digits}s"), &format!("1s{digits}h")] {
            check(text, Err(DurationFault::TooLong));
        }
    }
}
