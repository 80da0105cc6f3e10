//! Debezium change events as JSON, with and without their schema.
//!
//! # Guarantees
//! - An event is scanned once; values go from its text into the row without a tree in between.
//! - Whether an event carries a schema, and in which order its fields come, makes no difference
//!   except for values that only a schema explains.

mod envelope;
mod key;
mod names;
mod near_miss;
mod origin;
mod salvage;
mod schema;
mod source;

use std::sync::Arc;

use serde::de::DeserializeSeed;

use self::envelope::{Envelope, EnvelopeSeed, RowShape};
use self::key::KeyBuffers;
use self::names::Piece;
use self::origin::OriginBuffers;
use self::schema::{Encodings, Schemas};
use super::change::{Change, ChangeBatch, ChangeKind, SnapshotMarker};
use super::column::{self, Encoding, Outcome};
use super::{DecodeError, Decoder, PreparedContract, Scratch};
use crate::record::RawRecord;

/// Decodes Debezium's JSON.
#[derive(Debug, Clone, Copy)]
pub struct DebeziumJson;

/// Memory used again from event to event.
#[derive(Debug, Default)]
pub(crate) struct Buffers {
    cells: Vec<Option<Piece>>,
    key: KeyBuffers,
    unavailable: Vec<usize>,
    absent: Vec<usize>,
    origin: OriginBuffers,
    schemas: Schemas,
    last: Option<Prefix>,
}

/// How the last event with a schema began: up to where its payload starts. Most events begin like
/// the one before, and then nothing of it needs to be scanned.
#[derive(Debug)]
struct Prefix {
    contract: u64,
    text: String,
    encodings: Encodings,
}

const SCHEMA_OPENS: &str = r#"{"schema":"#;
const PAYLOAD_OPENS: &str = r#","payload":"#;

impl Decoder for DebeziumJson {
    fn name(&self) -> &'static str {
        "debezium-json"
    }

    fn version(&self) -> u32 {
        2
    }

    fn decode(
        &self,
        contract: &PreparedContract,
        topic: &str,
        record: &RawRecord<'_>,
        scratch: &mut Scratch,
        out: &mut ChangeBatch,
    ) -> Result<(), DecodeError> {
        let Some(value) = record.value else {
            tombstone(contract, record, scratch, out);
            return Ok(());
        };
        if value.is_empty() {
            return fail("value is empty (zero bytes); a tombstone is a null value");
        }
        decode(contract, topic, (record, value), scratch, out)
            .map_err(|error| near_miss::explain(record, value, error))
    }

    fn salvage(
        &self,
        contract: &PreparedContract,
        topic: &str,
        record: &RawRecord<'_>,
        scratch: &mut Scratch,
        out: &mut ChangeBatch,
    ) {
        salvage::salvage(contract, topic, record, scratch, out);
    }
}

/// Decodes a record that has a value.
fn decode(
    contract: &PreparedContract,
    topic: &str,
    (record, value): (&RawRecord<'_>, &[u8]),
    scratch: &mut Scratch,
    out: &mut ChangeBatch,
) -> Result<(), DecodeError> {
    let text = std::str::from_utf8(value).map_err(|e| {
        DecodeError(format!(
            "value is not utf-8 from byte {} on; use the json converter",
            e.valid_up_to()
        ))
    })?;
    let (envelope, encodings) = read(contract, text, &mut scratch.debezium)?;
    if envelope.payload == RowShape::Null {
        tombstone(contract, record, scratch, out);
        return Ok(());
    }
    let source = envelope.source.as_ref();
    let origin = source.and_then(|source| scratch.debezium.origin.of(source, text));
    let origin = out.origin(origin.unwrap_or(topic));
    let (envelope, encodings) = (&envelope, &*encodings);
    let event = Event { contract, origin, record, text, envelope, encodings };
    event.decode(scratch, out)
}

/// A null value names the key of a row, if its message key can be read.
fn tombstone(
    contract: &PreparedContract,
    record: &RawRecord<'_>,
    scratch: &mut Scratch,
    out: &mut ChangeBatch,
) {
    let Scratch { key, debezium, .. } = scratch;
    let Buffers { schemas, key: own, .. } = debezium;
    key.clear();
    let read = |message: &[u8]| key::from_message(contract, message, &[], schemas, own, key);
    if record.key.map(read).is_none_or(|read| read != Ok(true)) {
        key.clear();
    }
    out.push(Change::new(ChangeKind::Tombstone, 0), key, &[], &[]);
}

fn fail<T>(reason: impl Into<String>) -> Result<T, DecodeError> {
    Err(DecodeError(reason.into()))
}

/// Scans the event: its parts, and what its schema says.
fn read(
    contract: &PreparedContract,
    text: &str,
    buffers: &mut Buffers,
) -> Result<(Envelope, Encodings), DecodeError> {
    let base = text.as_ptr().addr();
    let known = buffers.last.as_ref().filter(|prefix| prefix.contract == contract.fingerprint());
    if let Some(prefix) = known
        && let Some(rest) = text.strip_prefix(prefix.text.as_str())
        && let Some(payload) = rest.trim_ascii_end().strip_suffix('}')
        && let Ok((envelope, shape)) = scan(contract, payload, base, true, &mut buffers.cells)
        && shape == RowShape::Row
    {
        return Ok((envelope, Arc::clone(&prefix.encodings)));
    }
    let (envelope, shape) = scan(contract, text, base, false, &mut buffers.cells)?;
    if shape != RowShape::Row {
        return fail(format!("value is not a json object: {}", column::shown(text)));
    }
    if envelope.payload == RowShape::Other {
        return fail("`payload` is not an object");
    }
    let Some(piece) = envelope.schema.clone() else {
        return Ok((envelope, Arc::default()));
    };
    let encodings =
        buffers.schemas.of_event(contract, text.get(piece.clone()).unwrap_or_default())?;
    let opens = piece.start == SCHEMA_OPENS.len() && text.starts_with(SCHEMA_OPENS);
    if opens && text.get(piece.end..).is_some_and(|rest| rest.starts_with(PAYLOAD_OPENS)) {
        let prefix = text.get(..piece.end + PAYLOAD_OPENS.len()).unwrap_or_default();
        let encodings = Arc::clone(&encodings);
        let contract = contract.fingerprint();
        buffers.last = Some(Prefix { contract, text: prefix.to_owned(), encodings });
    }
    Ok((envelope, encodings))
}

fn scan(
    contract: &PreparedContract,
    text: &str,
    base: usize,
    inside_payload: bool,
    cells: &mut Vec<Option<Piece>>,
) -> Result<(Envelope, RowShape), DecodeError> {
    let mut envelope = Envelope::default();
    let mut json = serde_json::Deserializer::from_str(text);
    let seed = EnvelopeSeed { contract, base, cells, envelope: &mut envelope, inside_payload };
    let shape = seed.deserialize(&mut json).and_then(|shape| json.end().map(|()| shape));
    match shape {
        Ok(shape) => Ok((envelope, shape)),
        Err(error) => fail(format!("value is not a valid debezium json event: {error}")),
    }
}

/// A scanned event.
struct Event<'a> {
    contract: &'a PreparedContract,
    /// The number of its origin in the batch.
    origin: u32,
    record: &'a RawRecord<'a>,
    text: &'a str,
    envelope: &'a Envelope,
    encodings: &'a [Encoding],
}

impl Event<'_> {
    fn decode(&self, scratch: &mut Scratch, out: &mut ChangeBatch) -> Result<(), DecodeError> {
        let op = self.envelope.op.clone().and_then(|piece| self.text.get(piece));
        match op {
            Some(r#""c""#) => self.upsert(b'c', scratch, out),
            Some(r#""u""#) => self.upsert(b'u', scratch, out),
            Some(r#""r""#) => self.upsert(b'r', scratch, out),
            Some(r#""d""#) => self.delete(scratch, out),
            Some(r#""t""#) => {
                out.push(self.change(ChangeKind::Truncate, b't'), &[], &[], &[]);
                Ok(())
            }
            Some(r#""m""#) => {
                out.push(self.change(ChangeKind::Ignored, b'm'), &[], &[], &[]);
                Ok(())
            }
            Some(other) => {
                fail(format!("`op` is {}; known are c, u, d, r, t and m", column::shown(other)))
            }
            None if self.is_metadata() => {
                out.push(self.change(ChangeKind::Ignored, 0), &[], &[], &[]);
                Ok(())
            }
            None => fail(
                "`op` is missing: this is not a debezium change event; remove transforms that flatten events \
                 (ExtractNewRecordState), or remove this topic from the configuration",
            ),
        }
    }

    /// Whether a message without operation is a heartbeat, or transaction or schema metadata.
    fn is_metadata(&self) -> bool {
        let Envelope { hints, before, after, source, .. } = self.envelope;
        let no_row = before.is_none() && *after == RowShape::Absent && !hints.unknown;
        let heartbeat = hints.clock
            && source.is_none()
            && !(hints.status || hints.id || hints.ddl || hints.database);
        let ddl = hints.ddl && hints.database;
        let (contract, text) = (self.contract, self.text);
        let message = (heartbeat || ddl) && !near_miss::names_a_row(contract, text);
        no_row && (message || (hints.status && hints.id && near_miss::is_marker(text)))
    }

    fn change(&self, kind: ChangeKind, op: u8) -> Change {
        let mut change = Change::new(kind, op);
        change.origin = self.origin;
        let Some(source) = &self.envelope.source else {
            if op == b'r' {
                change.marker = SnapshotMarker::Within;
                change.position.snapshot = true;
            }
            return change;
        };
        change.marker = match source.marker {
            SnapshotMarker::Live if op == b'r' => SnapshotMarker::Within,
            marker => marker,
        };
        change.position.snapshot = change.marker != SnapshotMarker::Live;
        change.position.place = source.place(change.position.snapshot);
        change.position.source_ms = source.clock();
        change
    }

    fn upsert(
        &self,
        op: u8,
        scratch: &mut Scratch,
        out: &mut ChangeBatch,
    ) -> Result<(), DecodeError> {
        match self.envelope.after {
            RowShape::Row => {}
            RowShape::Null => {
                return fail(format!("`after` is null in an event with op `{}`", char::from(op)));
            }
            RowShape::Absent => {
                return fail(format!(
                    "`after` is missing in an event with op `{}`",
                    char::from(op)
                ));
            }
            RowShape::Other => return fail("`after` is not an object"),
        }
        self.row(scratch)?;
        let Scratch { row, bytes, key, debezium, .. } = scratch;
        key.clear();
        for (part, &index) in self.contract.contract().key.iter().enumerate() {
            if row.is_null(index) {
                let name = self.contract.columns().get(index).map_or("", |column| &column.name);
                return fail(format!("key column `{name}` is null or missing in `after`"));
            }
            key::push(self.contract, part, row.datum(index), key)?;
        }
        self.check_message_key(key, debezium)?;
        bytes.clear();
        row.finish(self.contract.layout(), bytes);
        out.push(self.change(ChangeKind::Upsert, op), key, bytes, &debezium.unavailable);
        if !debezium.absent.is_empty() {
            out.set_absent(&debezium.absent);
        }
        self.note_move("__debezium.oldkey", scratch, out);
        Ok(())
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
                    "the message key names row {} but `after` is row {}; check `message.key.columns` and transforms",
                    column::shown(&String::from_utf8_lossy(named)),
                    column::shown(&String::from_utf8_lossy(own)),
                ));
            }
        }
        key.truncate(end);
        Ok(())
    }

    /// Sets the columns of `scratch.row` and the list of unavailable ones.
    fn row(&self, scratch: &mut Scratch) -> Result<(), DecodeError> {
        let Scratch { row, debezium, .. } = scratch;
        let Buffers { cells, unavailable, absent, .. } = debezium;
        let columns = self.contract.columns();
        row.reset(columns.len());
        unavailable.clear();
        absent.clear();
        for (index, (column, cell)) in columns.iter().zip(cells.iter()).enumerate() {
            let raw = cell.clone().and_then(|piece| self.text.get(piece));
            let encoding = self.encodings.get(index).copied().unwrap_or_default();
            let outcome = match raw {
                Some(raw) => column::set(row, index, column, raw, encoding)?,
                None => {
                    absent.push(index);
                    Outcome::Null
                }
            };
            match outcome {
                Outcome::Set => {}
                Outcome::Unavailable => {
                    row.set_unknown(index);
                    unavailable.push(index);
                }
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
        Ok(())
    }

    fn delete(&self, scratch: &mut Scratch, out: &mut ChangeBatch) -> Result<(), DecodeError> {
        let Scratch { key, debezium, .. } = scratch;
        let Buffers { schemas, key: own, .. } = debezium;
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
            let before = self.envelope.before.clone().and_then(|piece| self.text.get(piece));
            let from_before = match before {
                Some(before) => key::from_row(contract, before, encodings, own, key)?,
                None => false,
            };
            if !from_before {
                return Err(own.why_none());
            }
        }
        out.push(self.change(ChangeKind::Delete, b'd'), key, &[], &[]);
        self.note_move("__debezium.newkey", scratch, out);
        Ok(())
    }

    /// Says where the row went or came from, if a header of Debezium names another key.
    fn note_move(&self, header: &str, scratch: &mut Scratch, out: &mut ChangeBatch) {
        let named = self.record.headers.iter().find(|named| *named.key == *header);
        let Some(value) = named.and_then(|named| named.value.as_deref()) else { return };
        let Scratch { key, debezium, .. } = scratch;
        let Buffers { schemas, key: own, .. } = debezium;
        key.clear();
        let (contract, encodings) = (self.contract, self.encodings);
        if key::from_message(contract, value, encodings, schemas, own, key) == Ok(true) {
            out.set_other(key);
        }
    }
}
