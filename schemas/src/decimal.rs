//! Exact decimals: an `i128` mantissa at a scale that the column or KPI fixes.
//!
//! # Guarantees
//! - Nothing is rounded except by [`quotient`], which rounds half to even at [`VALUE_SCALE`].
//! - A number that does not fit is `None`, never a wrapped or truncated number.

/// Digits after the point of every KPI value.
pub const VALUE_SCALE: u32 = 10;

/// The largest mantissa of a `decimal(38, s)`.
pub const MANTISSA_MAX: i128 = 10_i128.pow(38) - 1;

/// Reads decimal text (`-12.50`, `1e3`, `.5`) at `scale`.
///
/// Returns `None` when it is no finite number, or has digits beyond `scale` that are not zero,
/// or does not fit into `decimal(38, scale)`.
pub fn parse(text: &[u8], scale: u32) -> Option<i128> {
    let (negative, digits) = match text.first()? {
        b'-' => (true, text.get(1..)?),
        b'+' => (false, text.get(1..)?),
        _ => (false, text),
    };
    let (digits, exponent) = split_exponent(digits)?;
    let mut mantissa: i128 = 0;
    let mut fraction: i64 = 0;
    let (mut point, mut seen) = (false, false);
    for &byte in digits {
        match byte {
            b'0'..=b'9' => {
                seen = true;
                mantissa = mantissa.checked_mul(10)?.checked_add(i128::from(byte - b'0'))?;
                fraction += i64::from(point);
            }
            b'.' if !point => point = true,
            _ => return None,
        }
    }
    if !seen {
        return None;
    }
    let shifted = shift(mantissa, i64::from(scale) + exponent - fraction)?;
    (shifted <= MANTISSA_MAX).then_some(if negative { -shifted } else { shifted })
}

fn split_exponent(digits: &[u8]) -> Option<(&[u8], i64)> {
    let Some(at) = digits.iter().position(|b| matches!(b, b'e' | b'E')) else {
        return Some((digits, 0));
    };
    let exponent: i64 = std::str::from_utf8(digits.get(at + 1..)?).ok()?.parse().ok()?;
    (exponent.abs() <= 400).then_some((digits.get(..at)?, exponent))
}

/// `mantissa * 10^by`, exact, or `None` when digits would be lost or it does not fit.
fn shift(mantissa: i128, by: i64) -> Option<i128> {
    if mantissa == 0 {
        return Some(0);
    }
    let power = 10_i128.checked_pow(u32::try_from(by.unsigned_abs()).ok()?)?;
    if by >= 0 {
        mantissa.checked_mul(power)
    } else {
        (mantissa % power == 0).then_some(mantissa / power)
    }
}

/// Reads the big-endian two's complement bytes of an unscaled integer with `from` digits after the
/// point, at `scale`.
pub fn from_be_bytes(bytes: &[u8], from: u32, scale: u32) -> Option<i128> {
    let first = *bytes.first()?;
    let fill = if first & 0x80 == 0 { 0x00 } else { 0xff };
    let extra = bytes.len().saturating_sub(16);
    if bytes.iter().take(extra).any(|&b| b != fill) {
        return None;
    }
    let mut wide = [fill; 16];
    let kept = bytes.get(extra..)?;
    wide.get_mut(16 - kept.len()..)?.copy_from_slice(kept);
    let mantissa = i128::from_be_bytes(wide);
    if extra > 0 && (mantissa < 0) != (fill == 0xff) {
        return None;
    }
    let shifted = shift(mantissa, i64::from(scale) - i64::from(from))?;
    (shifted.unsigned_abs() <= MANTISSA_MAX.unsigned_abs()).then_some(shifted)
}

/// Moves a mantissa from one scale to another; `None` when digits would be lost or it overflows.
pub fn rescale(mantissa: i128, from: u32, to: u32) -> Option<i128> {
    let shifted = shift(mantissa, i64::from(to) - i64::from(from))?;
    (shifted.unsigned_abs() <= MANTISSA_MAX.unsigned_abs()).then_some(shifted)
}

/// The text of a mantissa at `scale`, without trailing zeros after the point.
pub fn format(mantissa: i128, scale: u32) -> String {
    let digits = mantissa.unsigned_abs().to_string();
    let scale = scale as usize;
    let padded = format!("{digits:0>width$}", width = scale + 1);
    let (whole, fraction) = padded.split_at(padded.len() - scale);
    let fraction = fraction.trim_end_matches('0');
    let sign = if mantissa < 0 { "-" } else { "" };
    if fraction.is_empty() { format!("{sign}{whole}") } else { format!("{sign}{whole}.{fraction}") }
}

/// `numerator / denominator` (mantissas of one scale) as a mantissa at [`VALUE_SCALE`], rounded half
/// to even. `None` when the denominator is zero or the result does not fit.
pub fn quotient(numerator: i128, denominator: i128) -> Option<i128> {
    if denominator == 0 {
        return None;
    }
    let negative = (numerator < 0) != (denominator < 0);
    let (n, d) = (numerator.unsigned_abs(), denominator.unsigned_abs());
    let (mut result, mut rest) = (n / d, n % d);
    if let Some(scaled) = n.checked_mul(10_u128.pow(VALUE_SCALE)) {
        // One division instead of a digit at a time: what nearly every number allows.
        (result, rest) = (scaled / d, scaled % d);
    } else {
        for _ in 0..VALUE_SCALE {
            let (digit, next) = next_digit(rest, d);
            result = result.checked_mul(10)?.checked_add(digit)?;
            rest = next;
        }
    }
    let half_up = rest > d - rest;
    let tie_to_odd = rest == d - rest && result % 2 == 1;
    let rounded = result.checked_add(u128::from(half_up || tie_to_odd))?;
    let rounded = i128::try_from(rounded).ok().filter(|r| *r <= MANTISSA_MAX)?;
    Some(if negative { -rounded } else { rounded })
}

/// The next decimal digit of `rest / d` and what remains: `rest * 10` may exceed 128 bits, so it is
/// added up with the quotient taken out at each step.
fn next_digit(rest: u128, d: u128) -> (u128, u128) {
    if let Some(ten) = rest.checked_mul(10) {
        return (ten / d, ten % d);
    }
    let (mut digit, mut sum) = (0, 0_u128);
    for _ in 0..10 {
        if sum >= d - rest {
            sum -= d - rest;
            digit += 1;
        } else {
            sum += rest;
        }
    }
    (digit, sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_what_fits_and_nothing_else() {
        assert_eq!(parse(b"12.50", 4), Some(125_000));
        assert_eq!(parse(b"-0.0001", 4), Some(-1));
        assert_eq!(parse(b"1.5e3", 4), Some(15_000_000));
        assert_eq!(parse(b"12.50000", 4), Some(125_000));
        assert_eq!(parse(b"12.50001", 4), None);
        for bad in [&b""[..], b"-", b".", b"1.2.3", b"NaN", b"1e999", b"0x1", b" 1"] {
            assert_eq!(parse(bad, 4), None, "{}", String::from_utf8_lossy(bad));
        }
        assert_eq!(parse(b"99999999999999999999999999999999999999", 0), Some(MANTISSA_MAX));
        assert_eq!(parse(b"100000000000000000000000000000000000000", 0), None);
    }

    #[test]
    fn reads_connect_decimal_bytes() {
        assert_eq!(from_be_bytes(&[0x24, 0x3a, 0x7b, 0x94, 0x00], 4, 4), Some(0x24_3a7b_9400));
        assert_eq!(from_be_bytes(&[0xff], 2, 4), Some(-100));
        assert_eq!(from_be_bytes(&[], 2, 4), None);
        assert_eq!(from_be_bytes(&[0; 20], 2, 2), Some(0));
        assert_eq!(from_be_bytes(&[0x7f; 20], 2, 2), None);
        let mut lowest = [0; 16];
        lowest[0] = 0x80;
        assert_eq!(from_be_bytes(&lowest, 2, 2), None, "it has no opposite");
    }

    #[test]
    fn prints_without_trailing_zeros() {
        assert_eq!(format(125_000, 4), "12.5");
        assert_eq!(format(-1, 10), "-0.0000000001");
        assert_eq!(format(0, 10), "0");
        assert_eq!(format(420_000_000_000, 10), "42");
    }

    #[test]
    fn quotients_round_half_to_even() {
        let one = 10_i128.pow(VALUE_SCALE);
        assert_eq!(quotient(one, 3 * one), Some(3_333_333_333));
        assert_eq!(quotient(2 * one, 3 * one), Some(6_666_666_667));
        assert_eq!(quotient(1, 2 * one), Some(0));
        assert_eq!(quotient(3, 2 * one), Some(2));
        assert_eq!(quotient(-3, 2 * one), Some(-2));
        assert_eq!(quotient(one, 0), None);
        assert_eq!(quotient(MANTISSA_MAX, MANTISSA_MAX - 1), Some(one));
        assert_eq!(quotient(MANTISSA_MAX / 3, MANTISSA_MAX), Some(3_333_333_333));
        assert_eq!(quotient(MANTISSA_MAX, 1), None);
    }
}
