//! True and false, also as the 1 and 0 of databases that have no boolean type.

use super::{DecodeError, PreparedColumn, string, wrong};

/// The boolean of a value.
pub(super) fn read(column: &PreparedColumn, raw: &str) -> Result<bool, DecodeError> {
    let text = string(raw).transpose().map_err(|e| wrong(column, raw, &e))?;
    match text.as_deref().unwrap_or(raw) {
        "true" | "1" => Ok(true),
        "false" | "0" => Ok(false),
        _ => Err(wrong(column, raw, "is no boolean (expected true, false, 1 or 0)")),
    }
}
