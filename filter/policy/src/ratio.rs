//! Shares in percent, as Istio hands them to Envoy: parts of a million, cut off (`uint32(value * 10000)`).

use crate::select::{Draw, scale};

const MILLION: u64 = 1_000_000;

/// A share of requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ratio {
    per_million: u32,
}

impl Ratio {
    /// Every request.
    pub(crate) const ALL: Self = Self { per_million: 1_000_000 };

    /// No request.
    pub(crate) const NONE: Self = Self { per_million: 0 };

    /// `None` unless the percentage lies in `0..=100`.
    pub(crate) fn from_percent(percent: f64) -> Option<Self> {
        let inside = (0.0..=100.0).contains(&percent);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "0 to a million; cut off as istiod does"
        )]
        inside.then_some(Self { per_million: (percent * 10_000.0) as u32 })
    }

    /// Parts of a million.
    pub(crate) fn per_million(self) -> u32 {
        self.per_million
    }

    /// Whether this request is one of them. Draws only where there is a choice.
    pub(crate) fn hits(self, draws: &mut impl Draw) -> bool {
        self.hits_by(&mut None, draws)
    }

    /// The same for several shares of one request, for all of which `drawn` decides once one of them has drawn it: who is in the
    /// smaller share is in the larger one too. So Envoy decides over mirrors, by the number of the stream
    /// (`FilterUtility::shouldShadow`).
    pub(crate) fn hits_by(self, drawn: &mut Option<u64>, draws: &mut impl Draw) -> bool {
        match u64::from(self.per_million) {
            0 => false,
            MILLION.. => true,
            share => *drawn.get_or_insert_with(|| scale(draws.draw(), MILLION)) < share,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn per_million(percent: f64) -> Option<u32> {
        Ratio::from_percent(percent).map(Ratio::per_million)
    }

    #[test]
    fn percentages_become_millionths_and_the_rest_is_cut_off() {
        assert_eq!(per_million(0.0001), Some(1));
        assert_eq!(per_million(0.00009), Some(0));
        assert_eq!(per_million(12.5), Some(125_000));
        assert_eq!(per_million(100.0), Some(1_000_000));
        assert_eq!([per_million(100.1), per_million(-1.0), per_million(f64::NAN)], [None; 3]);
    }

    #[test]
    fn all_and_none_need_no_draw() {
        let mut never = || -> u64 { panic!("nothing to draw") };
        assert!(Ratio::ALL.hits(&mut never));
        assert!(!Ratio { per_million: 0 }.hits(&mut never));
    }

    #[test]
    fn one_draw_decides_for_several_shares() {
        let shares = [20, 100, 60, 0, 20].map(|percent| Ratio { per_million: percent * 10_000 });
        let of = |percent: u64| {
            let (mut drawn, mut asked) = (None, 0);
            let hits = shares.map(|share| {
                share.hits_by(&mut drawn, &mut || {
                    asked += 1;
                    u64::MAX / 100 * percent
                })
            });
            assert_eq!(asked, 1);
            hits
        };
        assert_eq!(of(10), [true, true, true, false, true]);
        assert_eq!(of(40), [false, true, true, false, false]);
        assert_eq!(of(80), [false, true, false, false, false]);
    }
}
