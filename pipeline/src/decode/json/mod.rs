//! Rows and keys in JSON, whatever envelope they come in: the format beside which envelopes are files.
//!
//! # Guarantees
//! - Values go from the text into the row without a tree in between.
//! - A row's own key and the one that its message key names are one, or the record is refused.

mod cells;
pub(super) mod key;
mod schema;

pub(super) use cells::{RowSeed, RowShape, not_an_object};
pub(super) use schema::{Encodings, Schemas};

use self::key::KeyBuffers;
use super::change::{Change, ChangeBatch, ChangeKind};
use super::column::{self, Encoding, Outcome};
use super::names::Piece;
use super::{DecodeError, PreparedContract, Scratch};
use crate::record::RawRecord;

/// Memory used again from record to record.
#[derive(Debug, Default)]
pub(crate) struct Buffers {
    pub(super) cells: Vec<Option<Piece>>,
    pub(super) key: KeyBuffers,
    pub(super) unavailable: Vec<usize>,
    /// Columns that the row does not have.
    pub(super) absent: Vec<usize>,
    /// Columns whose value is an infinity, taken as null.
    pub(super) infinite: Vec<usize>,
    pub(super) schemas: Schemas,
}

/// A row whose cells have been found in the text of its record.
#[derive(Debug, Clone, Copy)]
pub(super) struct Row<'a> {
    pub(super) contract: &'a PreparedContract,
    pub(super) record: &'a RawRecord<'a>,
    pub(super) text: &'a str,
    pub(super) encodings: &'a [Encoding],
    /// What the row is called in messages: `after`, or `the row`.
    pub(super) name: &'a str,
    /// Whether a field that is not there is null, and nothing else.
    pub(super) is_sparse: bool,
}

impl Row<'_> {
    /// Appends the row as an upsert.
    pub(super) fn upsert(
        &self,
        change: Change,
        scratch: &mut Scratch,
        out: &mut ChangeBatch,
    ) -> Result<(), DecodeError> {
        self.read(scratch)?;
        let Scratch { row, bytes, key, json, .. } = scratch;
        key.clear();
        for (part, &index) in self.contract.contract().key.iter().enumerate() {
            if row.is_null(index) {
                let column = self.contract.contract().column_name(index);
                let name = self.name;
                return fail(format!("key column `{column}` is null or missing in {name}"));
            }
            key::push(self.contract, part, row.datum(index), key)?;
        }
        self.check_message_key(key, json)?;
        bytes.clear();
        row.finish(self.contract.layout(), bytes);
        out.push(change, key, bytes, &json.unavailable);
        if !json.absent.is_empty() {
            out.set_absent(&json.absent);
        }
        if !json.infinite.is_empty() {
            out.set_infinite(&json.infinite);
        }
        self.note_move("__debezium.oldkey", scratch, out);
        Ok(())
    }

    /// Appends the delete of the row that the message key names, or `before`, a row as JSON text.
    pub(super) fn delete(
        &self,
        change: Change,
        before: Option<&str>,
        scratch: &mut Scratch,
        out: &mut ChangeBatch,
    ) -> Result<(), DecodeError> {
        let Scratch { key, json, .. } = scratch;
        let Buffers { schemas, key: own, .. } = json;
        key.clear();
        own.begin();
        let (contract, encodings) = (self.contract, self.encodings);
        let named = match self.record.key {
            Some(message_key) => {
                key::from_message(contract, message_key, encodings, schemas, own, key)?
            }
            None => false,
        };
        if !named {
            let from_before = match before {
                Some(before) => key::from_row(contract, before, encodings, own, key)?,
                None => false,
            };
            if !from_before {
                return Err(own.why_none());
            }
        }
        out.push(change, key, &[], &[]);
        self.note_move("__debezium.newkey", scratch, out);
        Ok(())
    }

    /// Sets the columns of `scratch.row` and the list of unavailable ones.
    fn read(&self, scratch: &mut Scratch) -> Result<(), DecodeError> {
        let Scratch { row, json, maps, .. } = scratch;
        let Buffers { cells, unavailable, absent, infinite, .. } = json;
        let columns = self.contract.columns();
        row.reset(columns.len());
        unavailable.clear();
        absent.clear();
        infinite.clear();
        for (index, (column, cell)) in columns.iter().zip(cells.iter()).enumerate() {
            if column.is_mapped {
                continue;
            }
            let raw = cell.clone().and_then(|piece| self.text.get(piece));
            let encoding = self.encodings.get(index).copied().unwrap_or_default();
            let outcome = match raw {
                Some(raw) => match column::set(row, index, column, raw, encoding) {
                    Err(_) if self.may_be_infinite(index, column, raw, encoding) => {
                        Outcome::Infinite
                    }
                    set => set?,
                },
                None => {
                    if !self.is_sparse {
                        absent.push(index);
                        // The source has the column, and somebody has dropped its value.
                        if encoding != Encoding::Plain && !column.required {
                            row.set_unknown(index);
                        }
                    }
                    Outcome::Null
                }
            };
            match outcome {
                Outcome::Set => {}
                Outcome::Unavailable => {
                    row.set_unknown(index);
                    unavailable.push(index);
                }
                Outcome::Infinite => infinite.push(index),
                // Silver keeps what the source says; who reads it takes null for the default tenant.
                Outcome::Null if index == self.contract.contract().tenant => {}
                Outcome::Null if column.required && raw.is_none() => {
                    return fail(format!("column `{}` is missing", column.name));
                }
                Outcome::Null if column.required => {
                    return fail(format!("column `{}` is null but required", column.name));
                }
                Outcome::Null => {}
            }
        }
        match self.contract.maps() {
            Some(all) => all.apply((self.text, cells, self.encodings), maps, row, unavailable),
            None => Ok(()),
        }
    }

    fn is_key(&self, column: usize) -> bool {
        self.contract.contract().key.contains(&column)
    }

    /// Whether a value that no such column holds is an infinity, where that is taken as null.
    fn may_be_infinite(
        &self,
        index: usize,
        column: &super::PreparedColumn,
        raw: &str,
        encoding: Encoding,
    ) -> bool {
        !column.required && !self.is_key(index) && column::is_infinite(column, raw, encoding)
    }

    /// A message key that names the key columns must name this row: deletes are found by it.
    fn check_message_key(
        &self,
        key: &mut Vec<u8>,
        buffers: &mut Buffers,
    ) -> Result<(), DecodeError> {
        let Some(message_key) = self.record.key else { return Ok(()) };
        let end = key.len();
        let Buffers { schemas, key: own, .. } = buffers;
        let (contract, encodings) = (self.contract, self.encodings);
        if key::from_message(contract, message_key, encodings, schemas, own, key)? {
            let (own, named) = key.split_at(end);
            if own != named {
                return fail(format!(
                    "the message key names row {} but {} is row {}; check `message.key.columns` and transforms",
                    column::shown(&String::from_utf8_lossy(named)),
                    self.name,
                    column::shown(&String::from_utf8_lossy(own)),
                ));
            }
        }
        key.truncate(end);
        Ok(())
    }

    /// Says where the row went or came from, if a header of Debezium names another key.
    fn note_move(&self, header: &str, scratch: &mut Scratch, out: &mut ChangeBatch) {
        let named = self.record.headers.iter().find(|named| *named.key == *header);
        let Some(value) = named.and_then(|named| named.value.as_deref()) else { return };
        let Scratch { key, json, .. } = scratch;
        let Buffers { schemas, key: own, .. } = json;
        key.clear();
        let (contract, encodings) = (self.contract, self.encodings);
        if key::from_message(contract, value, encodings, schemas, own, key) == Ok(true) {
            out.set_other(key);
        }
    }
}

/// Appends a null value: it names the key of a row, if its message key can be read, and its table where Debezium's
/// router has put that beside it.
pub(super) fn tombstone(
    contract: &PreparedContract,
    record: &RawRecord<'_>,
    scratch: &mut Scratch,
    out: &mut ChangeBatch,
) {
    names_a_key(contract, record, scratch);
    push_null(record, scratch, out);
}

/// Appends a null value of the key in `scratch.key`.
pub(super) fn push_null(record: &RawRecord<'_>, scratch: &Scratch, out: &mut ChangeBatch) {
    out.push(Change::new(ChangeKind::Tombstone, 0), &scratch.key, &[], &[]);
    if let Some(table) = record.key.and_then(key::table_of) {
        out.set_other(table.as_bytes());
    }
}

/// Reads the key that a message key without a value names into `scratch.key`; false, and none, when it
/// names none.
pub(super) fn names_a_key(
    contract: &PreparedContract,
    record: &RawRecord<'_>,
    scratch: &mut Scratch,
) -> bool {
    let Scratch { key, json, .. } = scratch;
    let Buffers { schemas, key: own, .. } = json;
    key.clear();
    let read = |message: &[u8]| key::from_message(contract, message, &[], schemas, own, key);
    let names = record.key.map(read) == Some(Ok(true));
    if !names {
        key.clear();
    }
    names
}

/// Reads the key of a record that was refused into `scratch.key`, if any part of it names one: its message
/// key, else its row, whose cells were found (`has_row`), else the row before, as JSON text.
pub(super) fn find_key(
    contract: &PreparedContract,
    (record, text): (&RawRecord<'_>, &str),
    has_row: bool,
    before: Option<&str>,
    encodings: &[Encoding],
    scratch: &mut Scratch,
) {
    let Scratch { key: out, json, .. } = scratch;
    let Buffers { schemas, key: own, cells, .. } = json;
    out.clear();
    let message = |message| key::from_message(contract, message, encodings, schemas, own, out);
    if record.key.map(message) == Some(Ok(true)) {
        return;
    }
    out.clear();
    if has_row && key::from_cells(contract, (text, cells), encodings, own, out) == Ok(true) {
        return;
    }
    out.clear();
    let of_before = |before| key::from_row(contract, before, encodings, own, out);
    if before.map(of_before) != Some(Ok(true)) {
        out.clear();
    }
}

/// The text of a value, which must be UTF-8.
pub(super) fn text(value: &[u8]) -> Result<&str, DecodeError> {
    std::str::from_utf8(value).map_err(|e| {
        let from = e.valid_up_to();
        DecodeError(format!("value is not utf-8 from byte {from} on; use the json converter"))
    })
}

pub(super) fn fail<T>(reason: impl Into<String>) -> Result<T, DecodeError> {
    Err(DecodeError(reason.into()))
}
