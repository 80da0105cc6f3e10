//! Exact numbers the slow way: strings of digits and one digit of a quotient at a time.
//!
//! # Guarantees
//! - Nothing is rounded except the last digit of [`quotient`], half to even.
//! - What does not fit is `None`.

/// Digits after the point of a KPI value.
pub const SCALE: u32 = 10;

/// One, as a KPI value.
pub const ONE: i128 = 10_000_000_000;

/// The largest magnitude of a `decimal(38, s)`.
pub const LARGEST: i128 = 99_999_999_999_999_999_999_999_999_999_999_999_999;

/// Reads decimal text as a whole number of units of `10^-scale` with at most `precision` digits.
pub fn parse(text: &str, precision: usize, scale: u32) -> Option<i128> {
    let (sign, unsigned) = match text.strip_prefix('-') {
        Some(rest) => ("-", rest),
        None => ("", text.strip_prefix('+').unwrap_or(text)),
    };
    let (body, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((body, exponent)) => (body, exponent.parse::<i64>().ok()?),
        None => (unsigned, 0),
    };
    let (whole, fraction) = body.split_once('.').unwrap_or((body, ""));
    let all = format!("{whole}{fraction}");
    if all.is_empty() || !all.bytes().all(|b| b.is_ascii_digit()) || exponent.abs() > 400 {
        return None;
    }
    let digits = all.trim_start_matches('0');
    if digits.is_empty() {
        return Some(0);
    }
    let shift = exponent + i64::from(scale) - i64::try_from(fraction.len()).ok()?;
    let moved = if shift >= 0 {
        format!("{digits}{}", "0".repeat(usize::try_from(shift).ok()?))
    } else {
        drop_zeros(digits, usize::try_from(-shift).ok()?)?
    };
    if moved.len() > precision {
        return None;
    }
    format!("{sign}{moved}").parse().ok()
}

/// The digits without their last `count`, all of which must be zeros.
fn drop_zeros(digits: &str, count: usize) -> Option<String> {
    let kept = digits.len().checked_sub(count)?;
    let (kept, dropped) = (digits.chars().take(kept), digits.chars().skip(kept));
    dropped.clone().all(|c| c == '0').then(|| kept.collect())
}

/// The number that big-endian two's complement bytes mean.
pub fn from_bytes(bytes: &[u8]) -> Option<i128> {
    let first = *bytes.first()?;
    let start: i128 = if first >= 0x80 { -1 } else { 0 };
    bytes.iter().try_fold(start, |sum, &byte| sum.checked_mul(256)?.checked_add(i128::from(byte)))
}

/// Reads standard base64, with or without padding.
pub fn from_base64(text: &str) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    let (mut bits, mut count) = (0_u32, 0_u32);
    for byte in text.trim_end_matches('=').bytes() {
        let digit = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = (bits << 6 | u32::from(digit)) & 0xf_ffff;
        count += 6;
        if count >= 8 {
            count -= 8;
            out.push(u8::try_from(bits >> count & 0xff).ok()?);
        }
    }
    Some(out)
}

/// Writes padded standard base64.
pub fn to_base64(bytes: &[u8]) -> String {
    let digits = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for group in bytes.chunks(3) {
        let at = |i: usize| u32::from(group.get(i).copied().unwrap_or(0));
        let bits = at(0) << 16 | at(1) << 8 | at(2);
        for (place, shift) in [18, 12, 6, 0].into_iter().enumerate() {
            let digit = digits.get((bits >> shift & 0x3f) as usize).copied();
            out.push(if place <= group.len() { char::from(digit.unwrap_or(b'?')) } else { '=' });
        }
    }
    out
}

/// Moves a number of units of `10^-from` to units of `10^-to`; digits must not get lost.
pub fn rescale(units: i128, from: u32, to: u32) -> Option<i128> {
    let moved = if to >= from {
        units.checked_mul(10_i128.checked_pow(to - from)?)?
    } else {
        let power = 10_i128.checked_pow(from - to)?;
        if units % power != 0 {
            return None;
        }
        units / power
    };
    (moved.unsigned_abs() <= LARGEST.unsigned_abs()).then_some(moved)
}

/// `numerator / denominator` in units of `10^-10`, half to even, by long division: each digit is
/// found by adding the remainder up ten times.
pub fn quotient(numerator: i128, denominator: i128) -> Option<i128> {
    if denominator == 0 {
        return None;
    }
    let (n, d) = (numerator.unsigned_abs(), denominator.unsigned_abs());
    let (mut result, mut rest) = (n / d, n % d);
    for _ in 0..SCALE {
        let (mut digit, mut sum) = (0, 0);
        for _ in 0..10 {
            sum += rest;
            if sum >= d {
                sum -= d;
                digit += 1;
            }
        }
        result = result.checked_mul(10)?.checked_add(digit)?;
        rest = sum;
    }
    let up = match (2 * rest).cmp(&d) {
        std::cmp::Ordering::Less => 0,
        std::cmp::Ordering::Equal => result % 2,
        std::cmp::Ordering::Greater => 1,
    };
    let result = i128::try_from(result + up).ok().filter(|r| *r <= LARGEST)?;
    Some(if (numerator < 0) == (denominator < 0) { result } else { -result })
}

/// A number of units of `10^-scale` as text without needless zeros.
pub fn text(units: i128, scale: u32) -> String {
    let sign = if units < 0 { "-" } else { "" };
    let width = scale as usize + 1;
    let digits = format!("{:0>width$}", units.unsigned_abs());
    let whole: String = digits.chars().take(digits.len() - scale as usize).collect();
    let fraction: String = digits.chars().skip(whole.len()).collect();
    match fraction.trim_end_matches('0') {
        "" => format!("{sign}{whole}"),
        fraction => format!("{sign}{whole}.{fraction}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_text_exactly_or_not_at_all() {
        for (text, units) in [
            ("12.5", 125_000),
            ("-0.0001", -1),
            ("+1e2", 1_000_000),
            ("1.5E-1", 1_500),
            (".5", 5_000),
            ("7.", 70_000),
            ("0.000000", 0),
            ("12.50000", 125_000),
            ("99999999999999.9999", 999_999_999_999_999_999),
        ] {
            assert_eq!(parse(text, 18, 4), Some(units), "{text}");
        }
        for bad in
            ["", "-", ".", "1.2.3", "NaN", "1e999", "0.00001", "100000000000000", "1,5", "JDp7"]
        {
            assert_eq!(parse(bad, 18, 4), None, "{bad}");
        }
    }

    #[test]
    fn reads_connect_decimals() {
        for units in [0_i128, 1, -1, 127, 128, -128, -129, 155_555_555_555, -9_999_999_999_999] {
            let bytes = units.to_be_bytes();
            assert_eq!(from_bytes(&bytes), Some(units));
            assert_eq!(from_base64(&to_base64(&bytes)).as_deref(), Some(&bytes[..]));
        }
        assert_eq!(from_base64("JDp7lAA=").as_deref(), Some(&[0x24, 0x3a, 0x7b, 0x94, 0x00][..]));
        assert_eq!(to_base64(b"ab"), "YWI=");
        assert_eq!(from_base64("!"), None);
    }

    #[test]
    fn quotients_are_rounded_half_to_even() {
        for (n, d, expected) in [
            (ONE, 3 * ONE, Some(3_333_333_333)),
            (2 * ONE, -3 * ONE, Some(-6_666_666_667)),
            (1, 2 * ONE, Some(0)),
            (3, 2 * ONE, Some(2)),
            (5, 2 * ONE, Some(2)),
            (7, 2 * ONE, Some(4)),
            (LARGEST, LARGEST - 1, Some(ONE)),
            (LARGEST, 1, None),
            (1, 0, None),
        ] {
            assert_eq!(quotient(n, d), expected, "{n} / {d}");
        }
    }

    #[test]
    fn prints_and_moves_the_point() {
        assert_eq!(text(-125_000, 4), "-12.5");
        assert_eq!(text(420_000_000_000, 10), "42");
        assert_eq!(rescale(125_000, 4, 10), Some(125_000_000_000));
        assert_eq!(rescale(125, 4, 2), None);
    }

    proptest::proptest! {
        #[test]
        fn a_quotient_is_the_nearest_number(n in -1_000_000_000_i128..1_000_000_000, d in 1_i128..5000) {
            let units = quotient(n, d).unwrap();
            let off = 2 * (n * ONE - units * d).abs();
            assert!(off < d || (off == d && units % 2 == 0), "{n} / {d} = {units}");
            assert_eq!(parse(&text(units, SCALE), 38, SCALE), Some(units));
        }
    }
}
