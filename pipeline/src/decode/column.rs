//! One value of an event into one column of a row.
//!
//! Values come as their JSON text, so that numbers are read from their digits and never through a
//! float.

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use schemas::{ColumnType, RowBuilder, decimal};
use serde::Deserialize;

use super::timestamp::{self, Unit};
use super::{DecodeError, PreparedColumn};

/// Stands for a large value that did not change and was therefore not sent.
const UNAVAILABLE: &str = "__debezium_unavailable_value";
/// The same inside an array, which columns of arrays hold.
const UNAVAILABLE_ARRAY: &str = r#"["__debezium_unavailable_value"]"#;

/// Longest piece of a value that an error text repeats, in characters.
const SHOWN_MAX: usize = 40;

/// How the event's own schema says that a column is encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Encoding {
    /// As it looks; also when there is no schema.
    #[default]
    Plain,
    /// Base64 of an unscaled integer with so many digits after the point.
    Decimal { scale: u32 },
    /// A number of units since 1970.
    Instant(Unit),
}

/// What became of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    Set,
    Null,
    /// The event does not carry it.
    Unavailable,
}

/// Sets `column` of `row`, the `index`-th, from JSON text.
pub(super) fn set(
    row: &mut RowBuilder,
    index: usize,
    column: &PreparedColumn,
    raw: &str,
    encoding: Encoding,
) -> Result<Outcome, DecodeError> {
    if raw == "null" {
        return Ok(Outcome::Null);
    }
    match column.kind {
        ColumnType::Decimal { precision, scale } => {
            let mantissa = read_decimal(column, raw, encoding, u32::from(scale))?;
            if mantissa.abs() >= column.mantissa_end {
                let fits = format!("does not fit decimal({precision},{scale})");
                return Err(wrong(column, raw, &fits));
            }
            row.set_decimal(index, mantissa);
        }
        ColumnType::Timestamp => {
            let at = read_instant(column, raw, encoding)?;
            let outside = "is no instant in the years 1 to 9999 (expected timestamp)";
            row.set_timestamp(index, at.ok_or_else(|| wrong(column, raw, outside))?);
        }
        ColumnType::Text | ColumnType::Json => return set_text(row, index, column, raw, encoding),
    }
    Ok(Outcome::Set)
}

fn set_text(
    row: &mut RowBuilder,
    index: usize,
    column: &PreparedColumn,
    raw: &str,
    encoding: Encoding,
) -> Result<Outcome, DecodeError> {
    if let Encoding::Decimal { .. } = encoding {
        let advice = "is a base64 decimal, but the column is text; set `decimal.handling.mode=string` \
                      in the connector, or declare the column decimal(p,s)";
        return Err(wrong(column, raw, advice));
    }
    if let Some(text) = string(raw) {
        let text = text.map_err(|e| wrong(column, raw, &e))?;
        if text == UNAVAILABLE {
            return Ok(Outcome::Unavailable);
        }
        row.set_text(index, &text);
        return Ok(Outcome::Set);
    }
    if column.kind == ColumnType::Json {
        if raw == UNAVAILABLE_ARRAY {
            return Ok(Outcome::Unavailable);
        }
        row.set_text(index, raw);
    } else if is_integer(raw) || raw == "true" || raw == "false" {
        row.set_text(index, raw);
    } else {
        let what = if raw.starts_with(['{', '[']) { "an object or array" } else { "a float" };
        let advice = format!("is {what} (expected text, an integer or a boolean)");
        return Err(wrong(column, raw, &advice));
    }
    Ok(Outcome::Set)
}

/// The text of a part of a key: a string, an integer or a boolean; `None` for anything else.
pub(super) fn key_text(raw: &str) -> Option<Cow<'_, str>> {
    match string(raw) {
        Some(text) => text.ok(),
        None if is_integer(raw) || raw == "true" || raw == "false" => Some(Cow::Borrowed(raw)),
        None => None,
    }
}

/// The text of a JSON string; `None` when `raw` is no string.
fn string(raw: &str) -> Option<Result<Cow<'_, str>, String>> {
    let inner = raw.strip_prefix('"')?.strip_suffix('"')?;
    if !inner.as_bytes().contains(&b'\\') {
        return Some(Ok(Cow::Borrowed(inner)));
    }
    let text = serde_json::from_str(raw).map(Cow::Owned);
    Some(text.map_err(|e| format!("is not valid text: {e}")))
}

fn is_integer(raw: &str) -> bool {
    let digits = raw.strip_prefix('-').unwrap_or(raw);
    !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit())
}

fn read_decimal(
    column: &PreparedColumn,
    raw: &str,
    encoding: Encoding,
    scale: u32,
) -> Result<i128, DecodeError> {
    if raw.starts_with('{') {
        return read_variable_scale(column, raw, scale);
    }
    let Some(text) = string(raw) else {
        let number = raw.starts_with(|c: char| c == '-' || c.is_ascii_digit());
        let read = if number { decimal::parse(raw.as_bytes(), scale) } else { None };
        return read.ok_or_else(|| wrong(column, raw, &decimal_problem(column, raw, raw)));
    };
    let text = text.map_err(|e| wrong(column, raw, &e))?;
    if let Encoding::Decimal { scale: from } = encoding {
        let bytes = STANDARD.decode(text.as_bytes());
        let bytes = bytes.map_err(|_| wrong(column, raw, "is not base64, as its schema says"))?;
        let fits = || wrong(column, raw, &format!("does not fit {}", type_name(column.kind)));
        return decimal::from_be_bytes(&bytes, from, scale).ok_or_else(fits);
    }
    let read = decimal::parse(text.as_bytes(), scale);
    read.ok_or_else(|| wrong(column, raw, &decimal_problem(column, raw, &text)))
}

/// Reads Debezium's decimal without a fixed scale: `{"scale":2,"value":"MDk="}`.
fn read_variable_scale(
    column: &PreparedColumn,
    raw: &str,
    scale: u32,
) -> Result<i128, DecodeError> {
    #[derive(Deserialize)]
    struct VariableScale {
        scale: i32,
        value: String,
    }
    let shape = "is no {scale, value} decimal";
    let parts: VariableScale = serde_json::from_str(raw).map_err(|_| wrong(column, raw, shape))?;
    let bytes = STANDARD.decode(parts.value.as_bytes()).map_err(|_| wrong(column, raw, shape))?;
    let read = match u32::try_from(parts.scale) {
        Ok(from) => decimal::from_be_bytes(&bytes, from, scale),
        Err(_) => decimal::from_be_bytes(&bytes, 0, 0).and_then(|mantissa| {
            let shift = parts.scale.unsigned_abs().checked_add(scale)?;
            10_i128.checked_pow(shift)?.checked_mul(mantissa)
        }),
    };
    let fits = || wrong(column, raw, &format!("does not fit {}", type_name(column.kind)));
    read.filter(|mantissa| mantissa.unsigned_abs() <= decimal::MANTISSA_MAX.unsigned_abs())
        .ok_or_else(fits)
}

/// Says why `text`, the content of `raw`, is no decimal of the column's type.
fn decimal_problem(column: &PreparedColumn, raw: &str, text: &str) -> String {
    let kind = type_name(column.kind);
    let numeric = |b: u8| b.is_ascii_digit() || matches!(b, b'.' | b'-' | b'+' | b'e' | b'E');
    let lower = text.get(..16).unwrap_or(text).to_ascii_lowercase();
    if text.bytes().any(|b| b.is_ascii_digit()) && text.bytes().all(numeric) {
        return format!("does not fit {kind} exactly");
    }
    if lower == "nan" || lower.trim_start_matches(['-', '+']).starts_with("inf") {
        return format!("is not a finite number (expected {kind})");
    }
    // A text, that is, and not the literal `true`.
    if text.len() < raw.len() && STANDARD.decode(text.as_bytes()).is_ok_and(|b| !b.is_empty()) {
        return format!(
            "is base64 without a schema that gives its scale (expected {kind}); set \
             `decimal.handling.mode=string` in the connector, or `schemas.enable=true` in its converter"
        );
    }
    format!("is not a number (expected {kind})")
}

fn read_instant(
    column: &PreparedColumn,
    raw: &str,
    encoding: Encoding,
) -> Result<Option<schemas::Micros>, DecodeError> {
    if let Some(text) = string(raw) {
        let text = text.map_err(|e| wrong(column, raw, &e))?;
        return Ok(timestamp::from_text(&text));
    }
    if !is_integer(raw) {
        return Err(wrong(column, raw, "is neither text nor an integer (expected timestamp)"));
    }
    let unit = if let Encoding::Instant(unit) = encoding { unit } else { Unit::Micros };
    Ok(raw.parse().ok().and_then(|number| timestamp::from_number(number, unit)))
}

/// The type as contracts write it.
fn type_name(kind: ColumnType) -> String {
    match kind {
        ColumnType::Text => "text".into(),
        ColumnType::Json => "json".into(),
        ColumnType::Timestamp => "timestamp".into(),
        ColumnType::Decimal { precision, scale } => format!("decimal({precision},{scale})"),
    }
}

fn wrong(column: &PreparedColumn, raw: &str, problem: &str) -> DecodeError {
    DecodeError(format!("column `{}`: {} {problem}", column.name, shown(raw)))
}

/// A value, shortened, for an error text.
pub(super) fn shown(raw: &str) -> String {
    match raw.char_indices().nth(SHOWN_MAX) {
        None => raw.to_owned(),
        Some((at, _)) => {
            let (head, _) = raw.split_at_checked(at).unwrap_or((raw, ""));
            format!("{head}... ({} bytes)", raw.len())
        }
    }
}
