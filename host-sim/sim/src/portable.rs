//! `exp` and `ln` from sums, products and quotients alone, which every machine and every build computes alike. A platform's
//! own differ in the last digit.

const LN_2: f64 = std::f64::consts::LN_2;

/// e to the power of `x`; zero and infinity beyond what fits.
pub(crate) fn exp(x: f64) -> f64 {
    if x.abs() > 746.0 {
        return if x > 0.0 { f64::INFINITY } else { 0.0 };
    }
    // x = k ln 2 + r, with r small enough for the series.
    let k = (x / LN_2).round();
    let r = x - k * LN_2;
    let (mut term, mut sum) = (1.0, 1.0);
    for n in 1..=16_u32 {
        term = term * r / f64::from(n);
        sum += term;
    }
    #[expect(clippy::cast_possible_truncation, reason = "whole, and within -1077..=1077")]
    let k = k as i32;
    // Halving and doubling are exact.
    let factor = if k < 0 { 0.5 } else { 2.0 };
    (0..k.unsigned_abs()).fold(sum, |product, _| product * factor)
}

/// The natural logarithm of a finite `x` above zero; zero of anything else.
pub(crate) fn ln(x: f64) -> f64 {
    if !(x > 0.0 && x.is_finite()) {
        return 0.0;
    }
    let (mut m, mut k) = (x, 0.0);
    while m >= 2.0 {
        (m, k) = (m / 2.0, k + 1.0);
    }
    while m < 1.0 {
        (m, k) = (m * 2.0, k - 1.0);
    }
    // ln m = 2 (t + t^3/3 + t^5/5 + ..), with t = (m - 1) / (m + 1), at most a third.
    let t = (m - 1.0) / (m + 1.0);
    let (mut power, mut sum) = (t, 0.0);
    for n in 0..20_u32 {
        sum += power / f64::from(2 * n + 1);
        power *= t * t;
    }
    k * LN_2 + 2.0 * sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_agree_with_the_platforms_to_thirteen_digits() {
        for x in [-20.0, -1.5, -0.3, 0.0, 0.1, 1.0, 2.5, 30.0] {
            assert!((exp(x) / f64::exp(x) - 1.0).abs() < 1e-13, "exp({x}) = {}", exp(x));
        }
        for x in [1e-9, 0.3, 1.0, 1.5, 2.0, 7.5, 1e12] {
            assert!((ln(x) - f64::ln(x)).abs() < 1e-13 * f64::ln(x).abs().max(1.0), "ln({x}) = {}", ln(x));
        }
        assert_eq!((exp(-5_000.0), exp(5_000.0), ln(0.0)), (0.0, f64::INFINITY, 0.0));
    }
}
