//! One value of an event into one column of a row.
//!
//! Values come as their JSON text, so that numbers are read from their digits and never through a
//! float. Each kind of type has a file of its own beside this one.

mod boolean;
mod decimal;
mod double;
mod instant;

use std::borrow::Cow;

use schemas::{ColumnType, RowBuilder, TimeUnit};

pub(super) use decimal::is_variable_scale;

use super::{DecodeError, PreparedColumn, timestamp};

/// Longest piece of a value that an error text repeats, in characters.
const SHOWN_MAX: usize = 40;

/// How the event's own schema says that a column is encoded. Every one but the first says that the schema names
/// it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Encoding {
    /// As it looks; also when there is no schema.
    #[default]
    Plain,
    /// The same, of a column that the schema names.
    Named,
    /// Base64 of an unscaled integer with so many digits after the point.
    Decimal { scale: u32 },
    /// A number of units since 1970.
    Instant(TimeUnit),
}

/// What became of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    Set,
    Null,
    /// An infinity, or no number, taken as null.
    Infinite,
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
    if column.placeholder.is(raw) {
        return Ok(Outcome::Unavailable);
    }
    match column.kind {
        ColumnType::Text => row.set_text(index, &text(column, raw, encoding)?),
        ColumnType::Json => row.set_text(index, &json(column, raw, encoding)?),
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

/// The same, but that a value of PostgreSQL which no such column holds is null: an infinity, or of a number
/// that it is none.
pub(super) fn set_or_infinite(
    row: &mut RowBuilder,
    index: usize,
    column: &PreparedColumn,
    raw: &str,
    encoding: Encoding,
) -> Result<Outcome, DecodeError> {
    match set(row, index, column, raw, encoding) {
        Err(_) if is_infinite(column, raw, encoding) => Ok(Outcome::Infinite),
        set => set,
    }
}

/// Whether a value that no such column holds is an infinity, or of a number that it is none.
pub(super) fn is_infinite(column: &PreparedColumn, raw: &str, encoding: Encoding) -> bool {
    match column.kind {
        ColumnType::Date | ColumnType::Timestamp => instant::is_infinite(column, raw, encoding),
        ColumnType::Decimal { .. } | ColumnType::Bigint => {
            let text = string(raw).and_then(Result::ok);
            text.is_some_and(|text| {
                text.eq_ignore_ascii_case("nan") || timestamp::is_infinite(&text)
            })
        }
        ColumnType::Text | ColumnType::Json | ColumnType::Double | ColumnType::Boolean => false,
    }
}

/// The text of a value: a number in any encoding is its digits.
pub(super) fn text<'a>(
    column: &PreparedColumn,
    raw: &'a str,
    encoding: Encoding,
) -> Result<Cow<'a, str>, DecodeError> {
    if let Some(digits) = decimal::plain_text(column, raw, encoding)? {
        return Ok(Cow::Owned(digits));
    }
    match string(raw) {
        Some(text) => text.map_err(|e| wrong(column, raw, &e)),
        None if is_integer(raw) || raw == "true" || raw == "false" => Ok(Cow::Borrowed(raw)),
        None => {
            let what = if raw.starts_with(['{', '[']) { "an object or array" } else { "a float" };
            let advice = format!("is {what} (expected text, an integer or a boolean)");
            Err(wrong(column, raw, &advice))
        }
    }
}

/// The JSON of a value: what a text holds, or the value itself.
fn json<'a>(
    column: &PreparedColumn,
    raw: &'a str,
    encoding: Encoding,
) -> Result<Cow<'a, str>, DecodeError> {
    if raw.starts_with('"') { text(column, raw, encoding) } else { Ok(Cow::Borrowed(raw)) }
}

/// The text of a string, an integer or a boolean; `None` for anything else.
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
