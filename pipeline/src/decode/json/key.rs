//! The key of an event, from its message key or from a row, in its one canonical form.
//!
//! A delete has no row, so the key that its message key names must be, byte for byte, the one that the
//! key columns of its row gave.

use schemas::key::KEY_SEPARATOR;
use schemas::{ColumnType, Datum, RowBuilder};
use serde::de::DeserializeSeed;
use serde_json::Deserializer;
use serde_json::value::RawValue;

use super::cells::{RowSeed, RowShape};
use super::schema::Schemas;
use crate::decode::column::{self, Encoding, Outcome};
use crate::decode::names::Piece;
use crate::decode::{DecodeError, PreparedContract};

/// Memory used again from key to key.
#[derive(Debug, Default)]
pub(in crate::decode) struct KeyBuffers {
    cells: Vec<Option<Piece>>,
    row: RowBuilder,
    /// Why a part of a key was none, since [`KeyBuffers::begin`].
    refused: Option<DecodeError>,
}

impl KeyBuffers {
    /// Forgets why earlier keys were none.
    pub(in crate::decode) fn begin(&mut self) {
        self.refused = None;
    }

    /// Why neither the message key nor a row named a key.
    pub(in crate::decode) fn why_none(&mut self) -> DecodeError {
        let lacking = "a delete whose message key and `before` both lack the key columns; give the table a \
                       primary key or REPLICA IDENTITY FULL, and use the json converter for keys";
        self.refused.take().unwrap_or_else(|| DecodeError(lacking.to_owned()))
    }
}

/// Appends the key that the message key names to `out`: a JSON object with the key columns, with or
/// without a schema block, or a bare scalar when the key is one column. Without one its values are
/// encoded as those of the event. Returns false, with `out` as it was, when it names no whole key.
pub(in crate::decode) fn from_message(
    contract: &PreparedContract,
    key: &[u8],
    encodings: &[Encoding],
    schemas: &mut Schemas,
    buffers: &mut KeyBuffers,
    out: &mut Vec<u8>,
) -> Result<bool, DecodeError> {
    let Ok(text) = std::str::from_utf8(key) else { return Ok(false) };
    let Ok(whole) = serde_json::from_str::<&RawValue>(text) else { return Ok(false) };
    let whole = whole.get();
    if is_value(contract, whole) {
        return from_value(contract, whole, encodings, buffers, out);
    }
    if !from_row(contract, whole, encodings, buffers, out)? {
        #[derive(serde::Deserialize)]
        struct Wrapped<'a> {
            #[serde(borrow)]
            payload: Option<&'a RawValue>,
            #[serde(borrow)]
            schema: Option<&'a RawValue>,
        }
        let Ok(Wrapped { payload: Some(payload), schema }) = serde_json::from_str(whole) else {
            return Ok(false);
        };
        let own = schema.filter(|schema| schema.get() != "null");
        let own = own.map(|schema| schemas.of_key(contract, schema.get())).transpose()?;
        let encodings = own.as_deref().unwrap_or(encodings);
        let payload = payload.get();
        if is_value(contract, payload) {
            return from_value(contract, payload, encodings, buffers, out);
        }
        return from_row(contract, payload, encodings, buffers, out);
    }
    Ok(true)
}

/// The table that a message key names beside its row: where Debezium's router writes several tables to one topic, it
/// tells their keys apart so.
pub(in crate::decode) fn table_of(key: &[u8]) -> Option<String> {
    #[derive(serde::Deserialize)]
    struct Named {
        #[serde(rename = "__dbz__physicalTableIdentifier")]
        table: Option<String>,
        payload: Option<Box<Named>>,
    }
    let text = std::str::from_utf8(key).ok()?;
    if !text.contains("\"__dbz__physicalTableIdentifier\"") {
        return None;
    }
    let Named { table, payload } = serde_json::from_str(text).ok()?;
    table.or_else(|| payload?.table)
}

/// Whether a key is the value of its only column, and no object with the key columns.
fn is_value(contract: &PreparedContract, raw: &str) -> bool {
    let Some(inside) = raw.strip_prefix('{') else { return true };
    // Every key comes by here, and next to none is a number of scale and bytes.
    let inside = inside.trim_ascii_start();
    (inside.starts_with("\"scale\"") || inside.starts_with("\"value\""))
        && contract.find("value", 0).is_none()
        && column::is_variable_scale(raw)
}

fn from_value(
    contract: &PreparedContract,
    raw: &str,
    encodings: &[Encoding],
    buffers: &mut KeyBuffers,
    out: &mut Vec<u8>,
) -> Result<bool, DecodeError> {
    let [column] = contract.contract().key.as_slice() else { return Ok(false) };
    push_raw(contract, (0, *column), raw, encodings, buffers, out)
}

/// Appends the key of a row given as JSON text. Returns false, with `out` as it was, when the text is
/// no row with every key column.
pub(in crate::decode) fn from_row(
    contract: &PreparedContract,
    row: &str,
    encodings: &[Encoding],
    buffers: &mut KeyBuffers,
    out: &mut Vec<u8>,
) -> Result<bool, DecodeError> {
    let base = row.as_ptr().addr();
    let seed = RowSeed { contract, base, cells: &mut buffers.cells };
    match seed.deserialize(&mut Deserializer::from_str(row)) {
        Ok(RowShape::Row) => {}
        Ok(_) | Err(_) => return Ok(false),
    }
    let cells = std::mem::take(&mut buffers.cells);
    let found = from_cells(contract, (row, &cells), encodings, buffers, out);
    buffers.cells = cells;
    found
}

/// The same of a row whose cells are known, which lie in a text.
pub(super) fn from_cells(
    contract: &PreparedContract,
    (text, cells): (&str, &[Option<Piece>]),
    encodings: &[Encoding],
    buffers: &mut KeyBuffers,
    out: &mut Vec<u8>,
) -> Result<bool, DecodeError> {
    let start = out.len();
    for (part, &column) in contract.contract().key.iter().enumerate() {
        let raw = cells.get(column).cloned().flatten().and_then(|piece| text.get(piece));
        let Some(raw) = raw else {
            out.truncate(start);
            return Ok(false);
        };
        if !push_raw(contract, (part, column), raw, encodings, buffers, out)? {
            out.truncate(start);
            return Ok(false);
        }
    }
    Ok(true)
}

/// Appends one part of a key, given as JSON text. Returns false when it is no value of its column.
fn push_raw(
    contract: &PreparedContract,
    (part, index): (usize, usize),
    raw: &str,
    encodings: &[Encoding],
    buffers: &mut KeyBuffers,
    out: &mut Vec<u8>,
) -> Result<bool, DecodeError> {
    let Some(column) = contract.columns().get(index) else { return Ok(false) };
    let KeyBuffers { row, refused, .. } = buffers;
    let encoding = encodings.get(index).copied().unwrap_or_default();
    if column.kind == ColumnType::Text && raw != "null" {
        return match column::text(column, raw, encoding) {
            Ok(text) => push(contract, part, Datum::Text(&text), out).map(|()| true),
            Err(error) => {
                refused.get_or_insert(error);
                Ok(false)
            }
        };
    }
    row.reset(contract.columns().len());
    match column::set(row, index, column, raw, encoding) {
        Ok(Outcome::Set) => push(contract, part, row.datum(index), out).map(|()| true),
        Ok(_) => Ok(false),
        Err(error) => {
            refused.get_or_insert(error);
            Ok(false)
        }
    }
}

/// Appends one part of a key.
pub(in crate::decode) fn push(
    contract: &PreparedContract,
    part: usize,
    value: Datum<'_>,
    out: &mut Vec<u8>,
) -> Result<(), DecodeError> {
    let index = contract.contract().key.get(part);
    let column = index.and_then(|&index| contract.columns().get(index));
    if let Datum::Text(text) = value
        && contract.contract().key.len() > 1
        && text.as_bytes().contains(&KEY_SEPARATOR)
    {
        let column = column.map_or("", |column| &column.name);
        return Err(DecodeError(format!(
            "key column `{column}` contains the control character U+001F, which separates key parts"
        )));
    }
    let kind = column.map_or(ColumnType::Text, |column| column.kind);
    contract.key().push(part, value, kind, out);
    Ok(())
}
