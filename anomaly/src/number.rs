//! Between exact decimals, floats and text.
//!
//! # Guarantees
//! - Equal floats give equal mantissas and equal text: rounding goes through decimal digits.
//!
//! # Non-guarantees
//! - A float made from a mantissa keeps about 15 digits; sums stay exact elsewhere.

use schemas::decimal::{self, VALUE_SCALE};

const UNIT: f64 = 1e10;

/// The float nearest to a mantissa at [`VALUE_SCALE`].
pub(crate) fn float(mantissa: i128) -> f64 {
    mantissa as f64 / UNIT
}

/// A statistic that may lose digits, in half the memory.
#[expect(clippy::cast_possible_truncation, reason = "a float that loses digits, on purpose")]
pub(crate) fn narrow(value: f64) -> f32 {
    value as f32
}

/// The nearest count.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates")]
pub(crate) fn whole(value: f64) -> u64 {
    value.round() as u64
}

/// A statistic as a mantissa with six significant digits: more would claim a precision that an
/// expectation does not have.
pub(crate) fn mantissa(value: f64) -> Option<i128> {
    if !value.is_finite() {
        return None;
    }
    let short = format!("{value:.5e}");
    decimal::parse(short.as_bytes(), VALUE_SCALE)
        .or_else(|| decimal::parse(format!("{value:.10}").as_bytes(), VALUE_SCALE))
}

/// The text of a mantissa rounded to `digits` after the point, halves away from zero, with commas
/// between thousands.
pub(crate) fn grouped(mantissa: i128, digits: u32) -> String {
    let step = 10_u128.pow(VALUE_SCALE - digits.min(VALUE_SCALE));
    let rounded = (mantissa.unsigned_abs() + step / 2) / step;
    let text = format!("{rounded:0>width$}", width = digits as usize + 1);
    let (whole, fraction) = text.split_at(text.len() - digits as usize);
    let mut out = String::new();
    if mantissa < 0 && rounded > 0 {
        out.push('-');
    }
    for (at, digit) in whole.chars().enumerate() {
        if at > 0 && (whole.len() - at) % 3 == 0 {
            out.push(',');
        }
        out.push(digit);
    }
    if digits > 0 {
        out.push('.');
        out.push_str(fraction);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: i128 = 10_000_000_000;

    #[test]
    fn statistics_keep_six_digits() {
        assert_eq!(mantissa(1_240.104_9), Some(12_401 * ONE / 10));
        assert_eq!(mantissa(-0.123_456_78), Some(-1_234_570_000));
        assert_eq!(mantissa(1.234_567e-8), Some(123));
        assert_eq!(mantissa(0.0), Some(0));
        assert_eq!(mantissa(f64::NAN), None);
        assert_eq!(mantissa(f64::INFINITY), None);
        assert_eq!(mantissa(1e300), None);
    }

    #[test]
    fn amounts_read_well() {
        assert_eq!(grouped(1_240 * ONE + ONE / 10, 2), "1,240.10");
        assert_eq!(grouped(-1_234_567 * ONE, 0), "-1,234,567");
        assert_eq!(grouped(-1, 2), "0.00");
        assert_eq!(grouped(ONE / 200, 2), "0.01");
        assert_eq!(grouped(999_999 * ONE / 1000, 1), "1,000.0");
    }
}
