//! Durations as Istio writes them: Go's form, `1h30m`, `350ms`, `0.5s`.

use serde::de::{Deserialize, Deserializer, Error};
use std::time::Duration;

/// A duration that was written in Go's form (`time.ParseDuration`); never negative.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct GoDuration(pub Duration);

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

impl GoDuration {
    /// Reads Go's form. `None` for anything else, also for a bare number (other than `0`) and a negative duration.
    pub fn parse(text: &str) -> Option<Self> {
        let mut rest = text.strip_prefix('+').unwrap_or(text);
        if rest == "0" {
            return Some(Self::default());
        }
        let mut nanoseconds = 0_u128;
        if rest.is_empty() {
            return None;
        }
        while !rest.is_empty() {
            let (number, after_number) = split_at_end_of(rest, |c| c.is_ascii_digit() || c == '.');
            let (unit, after_unit) = split_at_end_of(after_number, |c| !c.is_ascii_digit() && c != '.');
            let (_, unit) = UNITS.iter().find(|(name, _)| *name == unit)?;
            nanoseconds = nanoseconds.checked_add(scaled(number, *unit)?)?;
            rest = after_unit;
        }
        u64::try_from(nanoseconds).ok().map(|nanoseconds| Self(Duration::from_nanos(nanoseconds)))
    }
}

fn split_at_end_of(text: &str, belongs: impl Fn(char) -> bool) -> (&str, &str) {
    let end = text.find(|c| !belongs(c)).unwrap_or(text.len());
    text.split_at_checked(end).unwrap_or((text, ""))
}

/// `number`, which may have a fraction, times `unit` nanoseconds; digits below a nanosecond are cut off.
fn scaled(number: &str, unit: u128) -> Option<u128> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && fraction.is_empty() || fraction.contains('.') || number.len() > 20 {
        return None;
    }
    let whole: u128 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let digits: u128 = if fraction.is_empty() { 0 } else { fraction.parse().ok()? };
    let scale = 10_u128.checked_pow(u32::try_from(fraction.len()).ok()?)?;
    whole.checked_mul(unit)?.checked_add(digits.checked_mul(unit)?.checked_div(scale)?)
}

impl<'de> Deserialize<'de> for GoDuration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| {
            D::Error::custom(format_args!("`{text}` is not a duration; write it like `350ms`, `2.5s` or `1h30m`"))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, nanoseconds: Option<u64>) {
        assert_eq!(GoDuration::parse(text), nanoseconds.map(|n| GoDuration(Duration::from_nanos(n))), "{text}");
    }

    #[test]
    fn go_durations_are_read() {
        check("1h30m", Some(5_400_000_000_000));
        check("350ms", Some(350_000_000));
        check("0.5s", Some(500_000_000));
        check("1.5h", Some(5_400_000_000_000));
        check(".5s", Some(500_000_000));
        check("1us", Some(1_000));
        check("0", Some(0));
        check("0s", Some(0));
        check("2s500ms", Some(2_500_000_000));
    }

    #[test]
    fn other_forms_are_refused() {
        for text in
            ["", "5", "s", "-1s", "1 s", "1d", "1.2.3s", ".s", "1e3s", "99999999999h", "999999999999999999999999s"]
        {
            check(text, None);
        }
    }
}
