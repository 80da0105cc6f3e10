//! Binary floating point numbers. The only type that rounds: a decimal becomes the nearest double.

use super::decimal::{problem, unscaled};
use super::{DecodeError, Encoding, PreparedColumn, is_number, string, wrong};

/// The double of a value: a JSON number, its text, or a decimal in any of its forms.
pub(super) fn read(
    column: &PreparedColumn,
    raw: &str,
    encoding: Encoding,
) -> Result<f64, DecodeError> {
    if let Some((mantissa, scale)) = unscaled(column, raw, encoding)? {
        let text = format!("{mantissa}e{}", -i64::from(scale));
        return parse(&text).ok_or_else(|| wrong(column, raw, "does not fit double"));
    }
    let text = string(raw).transpose().map_err(|e| wrong(column, raw, &e))?;
    let text = text.as_deref();
    // The JSON converter writes what JSON has no number for as these texts.
    match text {
        Some("NaN") => return Ok(f64::NAN),
        Some("Infinity") => return Ok(f64::INFINITY),
        Some("-Infinity") => return Ok(f64::NEG_INFINITY),
        _ => {}
    }
    let digits = text.unwrap_or(raw);
    let digits = digits.strip_prefix('+').unwrap_or(digits);
    let number = if is_number(digits) || digits.starts_with('.') { parse(digits) } else { None };
    number.ok_or_else(|| match digits.parse::<f64>() {
        Ok(number) if number.is_infinite() && is_number(digits) => {
            wrong(column, raw, "does not fit double")
        }
        _ => wrong(column, raw, &problem(column, raw, digits)),
    })
}

/// The nearest double, unless that is infinite.
fn parse(text: &str) -> Option<f64> {
    text.parse().ok().filter(|number: &f64| number.is_finite())
}
