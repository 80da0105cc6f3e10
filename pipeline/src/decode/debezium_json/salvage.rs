//! What can be read of an event that cannot be decoded: which row it is of, and where it stands.
//!
//! # Guarantees
//! - Nothing is guessed: a key is that of the message key, or else of the event's row, by the rules by
//!   which rows and deletes are keyed.

use std::sync::Arc;

use super::envelope::Envelope;
use super::{Event, scan};
use crate::decode::json::{self, Encodings, RowShape};
use crate::decode::names::Piece;
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
    let envelope = envelope(contract, text, &mut scratch.json.cells);
    let encodings: Encodings = envelope.as_ref().map_or_else(Arc::default, |envelope| {
        let schema = envelope.schema.clone().and_then(|piece| text.get(piece));
        let own = schema.map(|schema| scratch.json.schemas.of_event(contract, schema));
        own.and_then(Result::ok).unwrap_or_default()
    });
    let mut change = Change::new(ChangeKind::Unreadable, 0);
    change.origin = NO_ORIGIN;
    if let Some(envelope) = &envelope {
        let source = envelope.source.as_ref();
        let origin = source.and_then(|source| scratch.origin.of(source, text));
        // An event without a source block is of its topic.
        let origin = out.origin(origin.unwrap_or(topic));
        let encodings = &*encodings;
        let event = Event { contract, origin, record, text, envelope, encodings };
        let op = envelope.op.clone().and_then(|piece| text.get(piece));
        let op = op.and_then(|op| op.as_bytes().get(1)).copied().unwrap_or_default();
        change = event.change(ChangeKind::Unreadable, op);
    }
    let has_row = envelope.as_ref().is_some_and(|envelope| envelope.after == RowShape::Row);
    let before = envelope.and_then(|envelope| text.get(envelope.before?));
    json::find_key(contract, (record, text), has_row, before, &encodings, scratch);
    out.push(change, &scratch.key, &[], &[]);
}

/// The envelope of a change event, if the value has the form of one.
fn envelope(
    contract: &PreparedContract,
    text: &str,
    cells: &mut Vec<Option<Piece>>,
) -> Option<Envelope> {
    let base = text.as_ptr().addr();
    cells.clear();
    let (envelope, shape) = scan(contract, text, base, false, cells).ok()?;
    let is_event = envelope.op.is_some() || envelope.source.is_some();
    (shape == RowShape::Row && is_event).then_some(envelope)
}
