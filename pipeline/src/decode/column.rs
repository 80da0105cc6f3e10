//! One value of an event into one column of a row.
//!
//! Values come as their JSON text, so that numbers are read from their digits and never through a
//! float. Each kind of type has a file of its own beside this one.

mod boolean;
mod decimal;
mod double;
mod instant;

use std::borrow::Cow;

use schemas::{ColumnType, RowBuilder};

use super::timestamp::Unit;
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
        ColumnType::Text | ColumnType::Json => return set_text(row, index, column, raw, encoding),
        ColumnType::Bigint => row.set_bigint(index, decimal::read_bigint(column, raw, encoding)?),
        ColumnType::Double => row.set_double(index, double::read(column, raw, encoding)?),
        ColumnType::Boolean => row.set_boolean(index, boolean::read(column, raw)?),
        ColumnType::Date => row.set_date(index, instant::read_date(column, raw, encoding)?),
        ColumnType::Timestamp => row.set_timestamp(index, instant::read(column, raw, encoding)?),
        ColumnType::Decimal { scale, .. } => {
            row.set_decimal(index, decimal::read(column, raw, encoding, u32::from(scale))?);
        }
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

fn is_number(raw: &str) -> bool {
    raw.starts_with(|c: char| c == '-' || c.is_ascii_digit())
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
