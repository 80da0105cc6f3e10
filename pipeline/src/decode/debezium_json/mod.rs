//! Debezium change events as JSON, with and without their schema.
//!
//! # Guarantees
//! - An event is scanned once; values go from its text into the row without a tree in between.
//! - Whether an event carries a schema, and in which order its fields come, makes no difference
//!   except for values that only a schema explains.

mod envelope;
mod salvage;

use std::sync::Arc;

use serde::de::DeserializeSeed;

use self::envelope::{Envelope, EnvelopeSeed};
use super::change::{Change, ChangeBatch, ChangeKind};
use super::column::{self, Encoding};
use super::json::{self, Encodings, RowShape, fail};
use super::names::Piece;
use super::{DecodeError, Decoder, PreparedContract, Scratch, near_miss};
use crate::record::RawRecord;

/// Decodes Debezium's JSON.
#[derive(Debug, Clone, Copy)]
pub struct DebeziumJson;

/// How the last event with a schema began: up to where its payload starts. Most events begin like
/// the one before, and then nothing of it needs to be scanned.
#[derive(Debug)]
pub(crate) struct Prefix {
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
            json::tombstone(contract, record, scratch, out);
            return Ok(());
        };
        if value.is_empty() {
            return fail("value is empty (zero bytes); a tombstone is a null value");
        }
        decode(contract, topic, (record, value), scratch, out)
            .map_err(|error| near_miss::explain(contract, record, value, error))
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
    let text = json::text(value)?;
    let (envelope, encodings) = read(contract, text, scratch)?;
    if envelope.payload == RowShape::Null {
        json::tombstone(contract, record, scratch, out);
        return Ok(());
    }
    let source = envelope.source.as_ref();
    let origin = source.and_then(|source| scratch.origin.of(source, text));
    let origin = out.origin(origin.unwrap_or(topic));
    let (envelope, encodings) = (&envelope, &*encodings);
    let event = Event { contract, origin, record, text, envelope, encodings };
    event.decode(scratch, out)
}

/// Scans the event: its parts, and what its schema says.
fn read(
    contract: &PreparedContract,
    text: &str,
    scratch: &mut Scratch,
) -> Result<(Envelope, Encodings), DecodeError> {
    let Scratch { json: buffers, prefix: last, .. } = scratch;
    let base = text.as_ptr().addr();
    let known = last.as_ref().filter(|prefix| prefix.contract == contract.fingerprint());
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
        *last = Some(Prefix { contract, text: prefix.to_owned(), encodings });
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
        change.place_in(self.envelope.source.as_ref());
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
        self.row().upsert(self.change(ChangeKind::Upsert, op), scratch, out)
    }

    fn delete(&self, scratch: &mut Scratch, out: &mut ChangeBatch) -> Result<(), DecodeError> {
        let before = self.envelope.before.clone().and_then(|piece| self.text.get(piece));
        self.row().delete(self.change(ChangeKind::Delete, b'd'), before, scratch, out)
    }

    fn row(&self) -> json::Row<'_> {
        let Event { contract, record, text, encodings, .. } = *self;
        json::Row { contract, record, text, encodings, name: "`after`", is_sparse: false }
    }
}
