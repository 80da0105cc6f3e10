//! Rows without the envelope of a change event: what Debezium's `ExtractNewRecordState` leaves of one, and
//! plain rows.
//!
//! # Guarantees
//! - A row is an upsert of its key, unless its field `__deleted` is true (or its `__op` is `d`): then its
//!   key has no row. A null value deletes the row that its message key names; one that names none is an
//!   error, for no other record says that the row is gone.
//! - What the transform was told to add (`add.fields`) says where the row stands, as the source block of a
//!   change event would. Fields that say only half of it say nothing.
//!
//! # Non-guarantees
//! - Of plain rows only `__deleted` means more than a column.

mod scan;

use self::scan::{Found, Scan};
use super::change::{Change, ChangeBatch, ChangeKind, NO_ORIGIN};
use super::json::{self, RowShape, fail};
use super::names::Piece;
use super::{DecodeError, Decoder, PreparedContract, Scratch, column, near_miss};
use crate::record::RawRecord;
use crate::source::row_place;

/// Decodes rows without an envelope.
#[derive(Debug, Clone, Copy)]
pub struct Rows {
    name: &'static str,
    /// Whether fields with two underscores say where the row comes from.
    is_flattened: bool,
    /// Of a row of a file: whether the file is text.
    in_file: Option<bool>,
}

impl Rows {
    /// Change events that Debezium's transform has flattened.
    pub const FLAT: Rows = Rows { name: "debezium-flat", is_flattened: true, in_file: None };
    /// Rows that never were events.
    pub const PLAIN: Rows = Rows { name: "rows", is_flattened: false, in_file: None };
    /// Rows of CSV files.
    pub const CSV: Rows = Rows { name: "csv", is_flattened: false, in_file: Some(true) };
    /// Rows of Parquet files.
    pub const PARQUET: Rows = Rows { name: "parquet", is_flattened: false, in_file: Some(false) };

    /// Whether only files hold rows of this format.
    pub fn is_of_files(format: &str) -> bool {
        [Rows::CSV, Rows::PARQUET].iter().any(|rows| rows.name == format)
    }

    /// Whether rows of this format say nothing of the table that they are of.
    pub fn is_plain(format: &str) -> bool {
        Rows::PLAIN.name == format || Rows::is_of_files(format)
    }
}

impl Decoder for Rows {
    fn name(&self) -> &'static str {
        self.name
    }

    fn version(&self) -> u32 {
        1
    }

    fn decode(
        &self,
        contract: &PreparedContract,
        topic: &str,
        record: &RawRecord<'_>,
        scratch: &mut Scratch,
        out: &mut ChangeBatch,
    ) -> Result<(), DecodeError> {
        let Some(value) = record.value else { return tombstone(contract, record, scratch, out) };
        if value.is_empty() {
            return fail("value is empty (zero bytes); a delete is a null value");
        }
        self.row(contract, topic, (record, value), scratch, out).map_err(|error| {
            match self.in_file {
                Some(is_text) => DecodeError(format!("{}: {error}", row_place(record, is_text))),
                None => near_miss::explain(contract, record, value, error),
            }
        })
    }

    fn salvage(
        &self,
        contract: &PreparedContract,
        topic: &str,
        record: &RawRecord<'_>,
        scratch: &mut Scratch,
        out: &mut ChangeBatch,
    ) {
        let value = record.value.and_then(|value| std::str::from_utf8(value).ok());
        let text = value.unwrap_or_default();
        scratch.json.cells.clear();
        let scan = Scan { contract, text, is_flattened: self.is_flattened };
        let found = scan.read(&mut scratch.json.cells).ok();
        let found = found.filter(|found| found.shape == RowShape::Row);
        let mut change = Change::new(ChangeKind::Unreadable, 0);
        change.origin = NO_ORIGIN;
        let mut encodings = json::Encodings::default();
        if let Some(found) = &found {
            let schema = found.schema.clone().and_then(|piece| text.get(piece));
            let schema = schema.filter(|schema| *schema != "null");
            let own = schema.map(|schema| scratch.json.schemas.of_row(contract, schema));
            encodings = own.and_then(Result::ok).unwrap_or_default();
            if let Ok((_, op)) = kind(found, text) {
                change = Change::new(ChangeKind::Unreadable, op);
            }
            let source = found.source.as_ref();
            let origin = source.and_then(|source| scratch.origin.of(source, text));
            change.origin = out.origin(origin.unwrap_or(topic));
            change.place_in(source);
        }
        json::find_key(contract, (record, text), found.is_some(), None, &encodings, scratch);
        out.push(change, &scratch.key, &[], &[]);
    }
}

impl Rows {
    fn row(
        self,
        contract: &PreparedContract,
        topic: &str,
        (record, value): (&RawRecord<'_>, &[u8]),
        scratch: &mut Scratch,
        out: &mut ChangeBatch,
    ) -> Result<(), DecodeError> {
        let text = json::text(value)?;
        let scan = Scan { contract, text, is_flattened: self.is_flattened };
        let found = scan.read(&mut scratch.json.cells)?;
        match found.shape {
            RowShape::Row => {}
            RowShape::Null => return tombstone(contract, record, scratch, out),
            _ => return fail(format!("value is no json object: {}", column::shown(text))),
        }
        let schema = found.schema.clone().and_then(|piece| text.get(piece));
        let schema = schema.filter(|schema| *schema != "null");
        let schemas = &mut scratch.json.schemas;
        let encodings = schema.map(|schema| schemas.of_row(contract, schema)).transpose()?;
        let encodings = encodings.as_deref().unwrap_or_default();
        // Change events have every column, and plain rows need not.
        let is_sparse = !self.is_flattened;
        let row = json::Row { contract, record, text, encodings, name: "the row", is_sparse };
        let (kind, op) = kind(&found, text)?;
        if kind == ChangeKind::Truncate && scratch.json.cells.iter().any(Option::is_some) {
            return fail("`__op` is \"t\" in a row with columns; a truncate has none");
        }
        let source = found.source.as_ref();
        let origin = source.and_then(|source| scratch.origin.of(source, text));
        let mut change = Change::new(kind, op);
        change.origin = out.origin(origin.unwrap_or(topic));
        change.place_in(source);
        match kind {
            ChangeKind::Delete => row.delete(change, text.get(found.row), scratch, out),
            ChangeKind::Truncate => {
                out.push(change, &[], &[], &[]);
                Ok(())
            }
            _ => row.upsert(change, scratch, out),
        }
    }
}

/// What a row means, and the operation that it names.
fn kind(found: &Found, text: &str) -> Result<(ChangeKind, u8), DecodeError> {
    let of = |piece: &Option<Piece>| piece.clone().and_then(|piece| text.get(piece));
    let is_deleted = match of(&found.deleted) {
        Some(r#""true""# | "true") => true,
        None | Some(r#""false""# | "false" | "null") => false,
        Some(other) => {
            let shown = column::shown(other);
            return fail(format!("`__deleted` is {shown} (expected true or false)"));
        }
    };
    Ok(match of(&found.op) {
        Some(r#""d""#) => (ChangeKind::Delete, b'd'),
        _ if is_deleted => (ChangeKind::Delete, b'd'),
        None | Some("null") => (ChangeKind::Upsert, 0),
        Some(r#""c""#) => (ChangeKind::Upsert, b'c'),
        Some(r#""u""#) => (ChangeKind::Upsert, b'u'),
        Some(r#""r""#) => (ChangeKind::Upsert, b'r'),
        Some(r#""t""#) => (ChangeKind::Truncate, b't'),
        Some(other) => {
            let shown = column::shown(other);
            return fail(format!("`__op` is {shown}; known are c, u, d, r and t"));
        }
    })
}

fn tombstone(
    contract: &PreparedContract,
    record: &RawRecord<'_>,
    scratch: &mut Scratch,
    out: &mut ChangeBatch,
) -> Result<(), DecodeError> {
    if !json::names_a_key(contract, record, scratch) {
        return fail(
            "a null value deletes a row, and its message key does not name the key columns; use the json \
             converter for keys, and let them have the names of the contract's key",
        );
    }
    json::push_null(record, scratch, out);
    Ok(())
}
