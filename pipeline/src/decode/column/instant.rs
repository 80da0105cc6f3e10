//! Instants and dates: ISO 8601 text, or a number of units since 1970.
//!
//! # Guarantees
//! - The unit of a number is told by the event's schema or by the contract, and never guessed.

use schemas::{Date, Micros, TimeUnit};

use super::{DecodeError, Encoding, PreparedColumn, is_integer, string, wrong};
use crate::decode::timestamp;

/// The instant of a value.
pub(super) fn read(
    column: &PreparedColumn,
    raw: &str,
    encoding: Encoding,
) -> Result<Micros, DecodeError> {
    let outside = "is no instant in the years 1 to 9999 (expected timestamp)";
    any(column, raw, encoding, outside)
}

/// The date of a value.
pub(super) fn read_date(
    column: &PreparedColumn,
    raw: &str,
    encoding: Encoding,
) -> Result<Date, DecodeError> {
    let at = any(column, raw, encoding, "is no date in the years 1 to 9999 (expected date)")?;
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
    outside: &str,
) -> Result<Micros, DecodeError> {
    if let Some(text) = string(raw) {
        let text = text.map_err(|e| wrong(column, raw, &e))?;
        // In CSV a number is a text, too.
        let counted = || timestamp::from_number(text.parse().ok()?, column.unit?);
        return timestamp::from_text(&text).or_else(counted).ok_or_else(|| {
            if timestamp::is_infinite(&text) {
                let kind = column.kind;
                let problem =
                    format!("is an infinity, which no {kind} holds; use null in the source");
                return wrong(column, raw, &problem);
            }
            wrong(column, raw, outside)
        });
    }
    if !is_integer(raw) {
        let problem = format!("is neither text nor an integer (expected {})", column.kind);
        return Err(wrong(column, raw, &problem));
    }
    let unit = unit(column, raw, encoding)?;
    let at = raw.parse().ok().and_then(|number| timestamp::from_number(number, unit));
    at.ok_or_else(|| wrong(column, raw, outside))
}

/// Whether it is an infinity of PostgreSQL, in any of the forms in which Debezium writes one.
pub(super) fn is_infinite(column: &PreparedColumn, raw: &str, encoding: Encoding) -> bool {
    match string(raw) {
        Some(text) => text.is_ok_and(|text| timestamp::is_infinite(&text)),
        None => unit(column, raw, encoding).is_ok_and(|unit| {
            raw.parse().is_ok_and(|number| timestamp::is_infinite_number(number, unit))
        }),
    }
}

fn unit(column: &PreparedColumn, raw: &str, encoding: Encoding) -> Result<TimeUnit, DecodeError> {
    match (encoding, column.unit) {
        (Encoding::Instant(sent), Some(said)) if sent != said => {
            let problem = format!(
                "is a number of {sent} by the event's schema and of {said} by `unit` of the contract; correct \
                 `unit`"
            );
            Err(wrong(column, raw, &problem))
        }
        (Encoding::Instant(unit), _) | (_, Some(unit)) => Ok(unit),
        (_, None) => {
            let problem = format!(
                "is an integer, and nothing says its unit (expected {}); set `time.precision.mode=isostring` in \
                 the connector or `schemas.enable=true` in its converter, or say `unit` ({}) of the column in \
                 the contract",
                column.kind,
                TimeUnit::KNOWN
            );
            Err(wrong(column, raw, &problem))
        }
    }
}
