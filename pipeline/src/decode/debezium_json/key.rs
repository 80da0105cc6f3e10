//! The key text of an event, from its message key or from a row.

use serde::de::DeserializeSeed;
use serde_json::Deserializer;
use serde_json::value::RawValue;

use super::envelope::{Piece, RowSeed, RowShape};
use crate::decode::column::key_text;
use crate::decode::prepared::KEY_SEPARATOR;
use crate::decode::{DecodeError, PreparedContract};

/// Appends the key that the message key names to `out`: a JSON object with the key columns, with or
/// without a schema block, or a bare scalar when the key is one column. Returns false, with `out` as
/// it was, when it names no whole key.
pub(super) fn from_message(
    contract: &PreparedContract,
    key: &[u8],
    cells: &mut Vec<Option<Piece>>,
    out: &mut Vec<u8>,
) -> Result<bool, DecodeError> {
    let Ok(text) = std::str::from_utf8(key) else { return Ok(false) };
    let Ok(whole) = serde_json::from_str::<&RawValue>(text) else { return Ok(false) };
    let whole = whole.get();
    if !whole.starts_with('{') {
        return from_scalar(contract, whole, out);
    }
    if !from_row(contract, whole, cells, out)? {
        #[derive(serde::Deserialize)]
        struct Wrapped<'a> {
            #[serde(borrow)]
            payload: Option<&'a RawValue>,
        }
        let Ok(Wrapped { payload: Some(payload) }) = serde_json::from_str(whole) else {
            return Ok(false);
        };
        let payload = payload.get();
        if payload.starts_with('{') {
            return from_row(contract, payload, cells, out);
        }
        return from_scalar(contract, payload, out);
    }
    Ok(true)
}

fn from_scalar(
    contract: &PreparedContract,
    raw: &str,
    out: &mut Vec<u8>,
) -> Result<bool, DecodeError> {
    match (contract.contract().key.as_slice(), key_text(raw)) {
        ([_], Some(text)) => {
            out.extend_from_slice(text.as_bytes());
            Ok(true)
        }
        _ => Ok(false),
    }
}

/// Appends the key of a row given as JSON text. Returns false, with `out` as it was, when the text is
/// no row with every key column.
pub(super) fn from_row(
    contract: &PreparedContract,
    row: &str,
    cells: &mut Vec<Option<Piece>>,
    out: &mut Vec<u8>,
) -> Result<bool, DecodeError> {
    let base = row.as_ptr().addr();
    let seed = RowSeed { contract, base, cells };
    match seed.deserialize(&mut Deserializer::from_str(row)) {
        Ok(RowShape::Row) => {}
        Ok(_) | Err(_) => return Ok(false),
    }
    let start = out.len();
    for (part, &column) in contract.contract().key.iter().enumerate() {
        let raw = cells.get(column).cloned().flatten().and_then(|piece| row.get(piece));
        let Some(text) = raw.and_then(key_text) else {
            out.truncate(start);
            return Ok(false);
        };
        push_part(contract, part, &text, out)?;
    }
    Ok(true)
}

/// Appends one part of a key.
pub(super) fn push_part(
    contract: &PreparedContract,
    part: usize,
    text: &str,
    out: &mut Vec<u8>,
) -> Result<(), DecodeError> {
    if part > 0 {
        out.push(KEY_SEPARATOR);
    }
    if contract.contract().key.len() > 1 && text.as_bytes().contains(&KEY_SEPARATOR) {
        let names: Vec<_> = contract.contract().key.iter().collect();
        let column = names.get(part).and_then(|&&index| contract.columns().get(index));
        let column = column.map_or("", |column| &column.name);
        return Err(DecodeError(format!(
            "key column `{column}` contains the control character U+001F, which separates key parts"
        )));
    }
    out.extend_from_slice(text.as_bytes());
    Ok(())
}
