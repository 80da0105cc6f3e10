//! Exact numbers: decimals, and whole ones of 64 bits.
//!
//! They come as text, as JSON numbers, as base64 with the scale in the event's schema, or as an object of
//! scale and base64.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use schemas::decimal;
use serde::Deserialize;

use super::{DecodeError, Encoding, PreparedColumn, is_integer, is_number, string, wrong};

/// Digits that a number in a text has at most after its point, or zeros at its end.
const DIGITS_MAX: u32 = 38;

/// The mantissa at `scale` of a value, which must be in the range of its column.
pub(super) fn read(
    column: &PreparedColumn,
    raw: &str,
    encoding: Encoding,
    scale: u32,
) -> Result<i128, DecodeError> {
    let mantissa = read_any(column, raw, encoding, scale)?;
    if mantissa.abs() >= column.mantissa_end {
        return Err(wrong(column, raw, &format!("does not fit {}", column.kind)));
    }
    Ok(mantissa)
}

/// The whole number of a value. One with digits after the point is none, unless they are zeros.
pub(super) fn read_bigint(
    column: &PreparedColumn,
    raw: &str,
    encoding: Encoding,
) -> Result<i64, DecodeError> {
    if is_integer(raw)
        && let Ok(number) = raw.parse()
    {
        return Ok(number);
    }
    let fits = || wrong(column, raw, "does not fit bigint; declare the column decimal(38,0)");
    i64::try_from(read_any(column, raw, encoding, 0)?).map_err(|_| fits())
}

/// The unscaled integer and the scale of a base64 number; `None` when `raw` is no such number.
pub(super) fn unscaled(
    column: &PreparedColumn,
    raw: &str,
    encoding: Encoding,
) -> Result<Option<(i128, i32)>, DecodeError> {
    let (bytes, scale) = match encoding {
        _ if raw.starts_with('{') => {
            let VariableScale { scale, value } = variable_scale(column, raw)?;
            (value, scale)
        }
        Encoding::Decimal { scale } => {
            let Some(text) = string(raw) else { return Ok(None) };
            let text = text.map_err(|e| wrong(column, raw, &e))?;
            let scale = i32::try_from(scale).unwrap_or(i32::MAX);
            (base64(column, raw, &text)?, scale)
        }
        _ => return Ok(None),
    };
    let mantissa = decimal::from_be_bytes(&bytes, 0, 0);
    let mantissa = mantissa.ok_or_else(|| wrong(column, raw, "has more than 38 digits"))?;
    Ok(Some((mantissa, scale)))
}

/// The plain decimal text of a base64 number, with as many digits after the point as its scale says, which
/// is what a connector that sends numbers as text sends; `None` when `raw` is no such number.
pub(super) fn plain_text(
    column: &PreparedColumn,
    raw: &str,
    encoding: Encoding,
) -> Result<Option<String>, DecodeError> {
    if raw.starts_with('{') && !is_variable_scale(raw) {
        return Ok(None);
    }
    let Some((mantissa, scale)) = unscaled(column, raw, encoding)? else { return Ok(None) };
    let moved = scale.unsigned_abs();
    let width = usize::try_from(moved).ok().filter(|_| moved <= DIGITS_MAX);
    let Some(width) = width else { return Err(wrong(column, raw, "has more than 38 digits")) };
    let (sign, digits) = (if mantissa < 0 { "-" } else { "" }, mantissa.unsigned_abs().to_string());
    if scale > 0 {
        let padded = format!("{digits:0>least$}", least = width + 1);
        let (whole, fraction) = padded.split_at(padded.len() - width);
        return Ok(Some(format!("{sign}{whole}.{fraction}")));
    }
    let zeros = if mantissa == 0 { 0 } else { width };
    Ok(Some(format!("{sign}{digits}{}", "0".repeat(zeros))))
}

fn read_any(
    column: &PreparedColumn,
    raw: &str,
    encoding: Encoding,
    scale: u32,
) -> Result<i128, DecodeError> {
    if raw.starts_with('{') {
        return read_variable_scale(column, raw, scale);
    }
    let Some(text) = string(raw) else {
        let read = if is_number(raw) { decimal::parse(raw.as_bytes(), scale) } else { None };
        return read.ok_or_else(|| wrong(column, raw, &problem(column, raw, raw)));
    };
    let text = text.map_err(|e| wrong(column, raw, &e))?;
    if let Encoding::Decimal { scale: from } = encoding {
        let bytes = base64(column, raw, &text)?;
        let fits = || wrong(column, raw, &format!("does not fit {}", column.kind));
        return decimal::from_be_bytes(&bytes, from, scale).ok_or_else(fits);
    }
    let read = decimal::parse(text.as_bytes(), scale);
    read.ok_or_else(|| wrong(column, raw, &problem(column, raw, &text)))
}

fn base64(column: &PreparedColumn, raw: &str, text: &str) -> Result<Vec<u8>, DecodeError> {
    let bytes = STANDARD.decode(text.as_bytes());
    bytes.map_err(|_| wrong(column, raw, "is not base64, as its schema says"))
}

/// Debezium's decimal without a fixed scale: `{"scale":2,"value":"MDk="}`.
struct VariableScale {
    scale: i32,
    value: Vec<u8>,
}

impl VariableScale {
    fn parse(raw: &str) -> Option<VariableScale> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Parts {
            scale: i32,
            value: String,
        }
        let Parts { scale, value } = serde_json::from_str(raw).ok()?;
        Some(VariableScale { scale, value: STANDARD.decode(value.as_bytes()).ok()? })
    }
}

/// Whether a value is a decimal of scale and base64.
pub(in crate::decode) fn is_variable_scale(raw: &str) -> bool {
    VariableScale::parse(raw).is_some()
}

fn variable_scale(column: &PreparedColumn, raw: &str) -> Result<VariableScale, DecodeError> {
    let shape = "is no {scale, value} decimal";
    VariableScale::parse(raw).ok_or_else(|| wrong(column, raw, shape))
}

fn read_variable_scale(
    column: &PreparedColumn,
    raw: &str,
    scale: u32,
) -> Result<i128, DecodeError> {
    let parts = variable_scale(column, raw)?;
    let read = match u32::try_from(parts.scale) {
        Ok(from) => decimal::from_be_bytes(&parts.value, from, scale),
        Err(_) => decimal::from_be_bytes(&parts.value, 0, 0).and_then(|mantissa| {
            let shift = parts.scale.unsigned_abs().checked_add(scale)?;
            10_i128.checked_pow(shift)?.checked_mul(mantissa)
        }),
    };
    let fits = || wrong(column, raw, &format!("does not fit {}", column.kind));
    read.filter(|mantissa| mantissa.unsigned_abs() <= decimal::MANTISSA_MAX.unsigned_abs())
        .ok_or_else(fits)
}

/// Why `text`, the content of `raw`, is no number of the column's type.
pub(super) fn problem(column: &PreparedColumn, raw: &str, text: &str) -> String {
    let kind = column.kind;
    let numeric = |b: u8| b.is_ascii_digit() || matches!(b, b'.' | b'-' | b'+' | b'e' | b'E');
    let lower = text.get(..16).unwrap_or(text).to_ascii_lowercase();
    if text.bytes().any(|b| b.is_ascii_digit()) && text.bytes().all(numeric) {
        return format!("does not fit {kind} exactly");
    }
    if lower == "nan" || lower.trim_start_matches(['-', '+']).starts_with("inf") {
        return format!("is not a finite number (expected {kind})");
    }
    // A text, that is, and not the literal `true`; and no plain word.
    let is_word = text.bytes().all(|b| b.is_ascii_lowercase());
    if text.len() < raw.len()
        && !is_word
        && STANDARD.decode(text.as_bytes()).is_ok_and(|b| !b.is_empty())
    {
        return format!(
            "is base64 without a schema that gives its scale (expected {kind}); set \
             `decimal.handling.mode=string` in the connector, or `schemas.enable=true` in its converter"
        );
    }
    format!("is not a number (expected {kind})")
}
