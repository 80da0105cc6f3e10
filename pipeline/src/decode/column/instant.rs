//! Instants and dates: ISO 8601 text, or a number of units since 1970.

use schemas::{Date, Micros};

use super::{DecodeError, Encoding, PreparedColumn, is_integer, string, wrong};
use crate::decode::timestamp::{self, Unit};

/// The instant of a value. A number without a schema is one of microseconds.
pub(super) fn read(
    column: &PreparedColumn,
    raw: &str,
    encoding: Encoding,
) -> Result<Micros, DecodeError> {
    let outside = "is no instant in the years 1 to 9999 (expected timestamp)";
    let at = any(column, raw, encoding, Unit::Micros)?;
    at.ok_or_else(|| wrong(column, raw, outside))
}

/// The date of a value. A number without a schema is one of days.
pub(super) fn read_date(
    column: &PreparedColumn,
    raw: &str,
    encoding: Encoding,
) -> Result<Date, DecodeError> {
    let outside = "is no date in the years 1 to 9999 (expected date)";
    let at = any(column, raw, encoding, Unit::Days)?;
    let at = at.ok_or_else(|| wrong(column, raw, outside))?;
    let date = Date::of(at);
    if date.midnight() != at {
        return Err(wrong(
            column,
            raw,
            "has a time of day (expected date); declare the column timestamp",
        ));
    }
    Ok(date)
}

fn any(
    column: &PreparedColumn,
    raw: &str,
    encoding: Encoding,
    plain: Unit,
) -> Result<Option<Micros>, DecodeError> {
    if let Some(text) = string(raw) {
        let text = text.map_err(|e| wrong(column, raw, &e))?;
        return Ok(timestamp::from_text(&text));
    }
    if !is_integer(raw) {
        let problem = format!("is neither text nor an integer (expected {})", column.kind);
        return Err(wrong(column, raw, &problem));
    }
    let unit = if let Encoding::Instant(unit) = encoding { unit } else { plain };
    Ok(raw.parse().ok().and_then(|number| timestamp::from_number(number, unit)))
}
