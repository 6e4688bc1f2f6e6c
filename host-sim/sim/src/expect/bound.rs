//! Whether what was seen keeps within a bound: exactly, or as far as so many draws can tell.

use std::fmt;

use serde::Serialize;

use crate::expect::quantity::{Percent, WHOLE};
use crate::report::Binomial;

/// More requests than this are nothing to wait for.
const ENOUGH_MAX: u64 = 1 << 32;

/// What is wanted of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bound<T> {
    AtLeast(T),
    AtMost(T),
    Between(T, T),
    Equal(T),
}

impl<T> Bound<T> {
    /// The same of other values.
    pub(crate) fn map<U>(self, mut to: impl FnMut(T) -> U) -> Bound<U> {
        match self {
            Self::AtLeast(low) => Bound::AtLeast(to(low)),
            Self::AtMost(high) => Bound::AtMost(to(high)),
            Self::Between(low, high) => Bound::Between(to(low), to(high)),
            Self::Equal(value) => Bound::Equal(to(value)),
        }
    }

    /// Every value in it.
    pub(crate) fn values(self) -> impl Iterator<Item = T> {
        let (first, second) = match self {
            Self::AtLeast(value) | Self::AtMost(value) | Self::Equal(value) => (value, None),
            Self::Between(low, high) => (low, Some(high)),
        };
        std::iter::once(first).chain(second)
    }
}

impl<T: fmt::Display> fmt::Display for Bound<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtLeast(low) => write!(f, "at least {low}"),
            Self::AtMost(high) => write!(f, "at most {high}"),
            Self::Between(low, high) => write!(f, "{low} to {high}"),
            Self::Equal(value) => value.fmt(f),
        }
    }
}

/// What came of an expectation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Judgement {
    /// It holds; at its confidence, if it has one.
    Met,
    /// The run was too short to tell, or was stopped.
    Undecided,
    /// It does not hold; at its confidence, if it has one.
    Failed,
}

/// Compares what is known exactly.
pub(crate) fn exactly<T: Ord>(bound: &Bound<T>, seen: &T) -> Judgement {
    let holds = match bound {
        Bound::AtLeast(low) => seen >= low,
        Bound::AtMost(high) => seen <= high,
        Bound::Between(low, high) => (low..=high).contains(&seen),
        Bound::Equal(value) => seen == value,
    };
    if holds { Judgement::Met } else { Judgement::Failed }
}

/// Compares the share of `part` in `whole`, without rounding.
pub(crate) fn share_exactly(bound: Bound<Percent>, part: u64, whole: u64) -> Judgement {
    let wanted = bound.map(|share| u128::from(share.ppm) * u128::from(whole));
    exactly(&wanted, &(u128::from(part) * u128::from(WHOLE)))
}

/// How sure a judgement of shares must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Confidence(pub(crate) Percent);

impl Confidence {
    /// The probability of being wrong that is put up with.
    #[expect(clippy::cast_precision_loss, reason = "at most a million")]
    fn doubt(self) -> f64 {
        (WHOLE - self.0.ppm) as f64 / WHOLE as f64
    }

    /// The counts of `whole` draws that a share of exactly `share` explains.
    pub(crate) fn noise(self, share: Percent, whole: u64) -> (u64, u64) {
        Binomial::new(whole, share.ppm, WHOLE).middle(self.doubt() / 2.0)
    }

    /// Judges a share behind what was seen: `whole` draws, of which `part` hit.
    ///
    /// `Failed`: a share within the bound would hardly have given this. `Met`: a share outside of it would hardly have; an
    /// equal share cannot be proved, and is met where it explains what was seen. `Undecided`: both would have. Bounds of
    /// 0 % and 100 % are compared exactly: no number of draws proves them.
    pub(crate) fn judge(self, bound: Bound<Percent>, part: u64, whole: u64) -> Judgement {
        let doubt = self.doubt();
        let one_sided = |share: Percent, is_low: bool| {
            if !share.is_between() {
                let bound = if is_low { Bound::AtLeast(share) } else { Bound::AtMost(share) };
                return share_exactly(bound, part, whole);
            }
            let at_bound = Binomial::new(whole, share.ppm, WHOLE);
            let (fewer, more) = (at_bound.at_most(part), at_bound.at_least(part));
            let (against, for_it) = if is_low { (fewer, more) } else { (more, fewer) };
            match (against <= doubt, for_it <= doubt) {
                (true, _) => Judgement::Failed,
                (false, true) => Judgement::Met,
                (false, false) => Judgement::Undecided,
            }
        };
        match bound {
            Bound::AtLeast(low) => one_sided(low, true),
            Bound::AtMost(high) => one_sided(high, false),
            Bound::Between(low, high) => one_sided(low, true).max(one_sided(high, false)),
            Bound::Equal(share) if !share.is_between() => share_exactly(bound, part, whole),
            Bound::Equal(share) => {
                let (low, high) = self.noise(share, whole);
                if (low..=high).contains(&part) { Judgement::Met } else { Judgement::Failed }
            }
        }
    }

    /// How many draws with the same share as here would be enough for a judgement. `None`: no sensible number.
    pub(crate) fn enough(self, bound: Bound<Percent>, part: u64, whole: u64) -> Option<u64> {
        let tells = |draws: u64| {
            let hits = (u128::from(part) * u128::from(draws) + u128::from(whole / 2)) / u128::from(whole.max(1));
            self.judge(bound, u64::try_from(hits).unwrap_or(draws), draws) != Judgement::Undecided
        };
        let mut high = whole.max(1);
        while !tells(high) {
            high = high.checked_mul(2).filter(|draws| *draws <= ENOUGH_MAX)?;
        }
        let mut low = high / 2;
        while high - low > 1 {
            let middle = low + (high - low) / 2;
            if tells(middle) {
                high = middle;
            } else {
                low = middle;
            }
        }
        Some(high)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn share(percent: &str) -> Percent {
        Percent::parse(percent).unwrap()
    }

    #[track_caller]
    fn check(bound: Bound<&str>, part: u64, whole: u64, expected: Judgement) {
        let judgement = Confidence(share("95%")).judge(bound.map(share), part, whole);
        assert_eq!(judgement, expected, "{part} of {whole}, wanted {bound}");
    }

    #[test]
    fn few_requests_do_not_tell() {
        check(Bound::AtLeast("99%"), 100, 100, Judgement::Undecided);
        // 0.99^299 is the first power below 5 %.
        check(Bound::AtLeast("99%"), 298, 298, Judgement::Undecided);
        check(Bound::AtLeast("99%"), 299, 299, Judgement::Met);
        assert_eq!(Confidence(share("95%")).enough(Bound::AtLeast(share("99%")), 100, 100), Some(299));
    }

    #[test]
    fn what_chance_hardly_gives_fails() {
        check(Bound::AtLeast("99%"), 95, 100, Judgement::Failed);
        check(Bound::AtLeast("99%"), 97, 100, Judgement::Undecided);
        check(Bound::AtMost("1%"), 5, 100, Judgement::Failed);
        check(Bound::AtMost("1%"), 0, 300, Judgement::Met);
        check(Bound::Between("70%", "80%"), 75, 100, Judgement::Undecided);
        check(Bound::Between("70%", "80%"), 750, 1_000, Judgement::Met);
        check(Bound::Between("70%", "80%"), 600, 1_000, Judgement::Failed);
        check(Bound::Between("70%", "80%"), 900, 1_000, Judgement::Failed);
    }

    #[test]
    fn an_equal_share_has_the_band_of_the_report() {
        check(Bound::Equal("75%"), 66, 100, Judgement::Met);
        check(Bound::Equal("75%"), 65, 100, Judgement::Failed);
        check(Bound::Equal("75%"), 83, 100, Judgement::Met);
        check(Bound::Equal("75%"), 84, 100, Judgement::Failed);
    }

    #[test]
    fn all_and_nothing_are_compared_as_they_are() {
        check(Bound::AtLeast("100%"), 10, 10, Judgement::Met);
        check(Bound::AtLeast("100%"), 9, 10, Judgement::Failed);
        check(Bound::AtMost("0%"), 0, 10, Judgement::Met);
        check(Bound::Equal("0%"), 1, 1_000_000, Judgement::Failed);
    }

    #[test]
    fn shares_are_not_rounded() {
        assert_eq!(share_exactly(Bound::AtLeast(share("99.9%")), 998_999, 1_000_000), Judgement::Failed);
        assert_eq!(share_exactly(Bound::AtLeast(share("99.9%")), 999_000, 1_000_000), Judgement::Met);
        assert_eq!(share_exactly(Bound::Equal(share("33.3333%")), 1, 3), Judgement::Failed);
    }

    #[test]
    fn a_share_at_its_bound_is_never_told_from_it() {
        assert_eq!(Confidence(share("95%")).enough(Bound::AtLeast(share("50%")), 50, 100), None);
    }
}
