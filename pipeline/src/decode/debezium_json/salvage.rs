//! What can be read of an event that cannot be decoded: which row it is of, and where it stands.
//!
//! # Guarantees
//! - Nothing is guessed: a key is that of the message key, or else of the event's row, by the rules by
//!   which rows and deletes are keyed.

use std::sync::Arc;

use super::envelope::{Envelope, RowShape};
use super::schema::Encodings;
use super::{Buffers, Event, key, scan};
use crate::decode::{Change, ChangeBatch, ChangeKind, NO_ORIGIN, PreparedContract, Scratch};
use crate::record::RawRecord;

/// Appends what is known of a record that was refused.
pub(super) fn salvage(
    contract: &PreparedContract,
    topic: &str,
    record: &RawRecord<'_>,
    scratch: &mut Scratch,
    out: &mut ChangeBatch,
) {
    let text = record.value.and_then(|value| std::str::from_utf8(value).ok()).unwrap_or_default();
    let envelope = envelope(contract, text, &mut scratch.debezium);
    let encodings: Encodings = envelope.as_ref().map_or_else(Arc::default, |envelope| {
        let schema = envelope.schema.clone().and_then(|piece| text.get(piece));
        let own = schema.map(|schema| scratch.debezium.schemas.of_event(contract, schema));
        own.and_then(Result::ok).unwrap_or_default()
    });
    let mut change = Change::new(ChangeKind::Unreadable, 0);
    change.origin = NO_ORIGIN;
    if let Some(envelope) = &envelope {
        let source = envelope.source.as_ref();
        let origin = source.and_then(|source| scratch.debezium.origin.of(source, text));
        // An event without a source block is of its topic.
        let origin = out.origin(origin.unwrap_or(topic));
        let encodings = &*encodings;
        let event = Event { contract, origin, record, text, envelope, encodings };
        let op = envelope.op.clone().and_then(|piece| text.get(piece));
        let op = op.and_then(|op| op.as_bytes().get(1)).copied().unwrap_or_default();
        change = event.change(ChangeKind::Unreadable, op);
    }
    let Scratch { key, debezium, .. } = scratch;
    key.clear();
    find_key(contract, (record, text), envelope.as_ref(), &encodings, debezium, key);
    out.push(change, key, &[], &[]);
}

/// The envelope of a change event, if the value has the form of one.
fn envelope(contract: &PreparedContract, text: &str, buffers: &mut Buffers) -> Option<Envelope> {
    let base = text.as_ptr().addr();
    buffers.cells.clear();
    let (envelope, shape) = scan(contract, text, base, false, &mut buffers.cells).ok()?;
    let is_event = envelope.op.is_some() || envelope.source.is_some();
    (shape == RowShape::Row && is_event).then_some(envelope)
}

/// Appends the key, if any part of the record names one.
fn find_key(
    contract: &PreparedContract,
    (record, text): (&RawRecord<'_>, &str),
    envelope: Option<&Envelope>,
    encodings: &Encodings,
    buffers: &mut Buffers,
    out: &mut Vec<u8>,
) {
    let Buffers { schemas, key: own, cells, .. } = buffers;
    let message = |message| key::from_message(contract, message, encodings, schemas, own, out);
    if record.key.map(message) == Some(Ok(true)) {
        return;
    }
    out.clear();
    let Some(envelope) = envelope else { return };
    let has_row = envelope.after == RowShape::Row;
    if has_row && key::from_cells(contract, (text, cells), encodings, own, out) == Ok(true) {
        return;
    }
    out.clear();
    let before = envelope.before.clone().and_then(|piece| text.get(piece));
    let of_before = |before| key::from_row(contract, before, encodings, own, out);
    if before.map(of_before) != Some(Ok(true)) {
        out.clear();
    }
}
