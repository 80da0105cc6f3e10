//! From raw records to typed changes of rows. Pure: no IO, no clock.
//!
//! # Guarantees
//! - Every record becomes exactly one [`Change`]; nothing is skipped in silence. With an error it is of the
//!   kind [`ChangeKind::Unreadable`] and says which row it is of, as far as that can be read.
//! - No input panics, recurses or allocates beyond a small multiple of its own size.
//! - Numbers are exact: a value that its column cannot hold is an error, never rounded. Only a double
//!   column takes the double that is nearest to a decimal.
//!
//! # Non-guarantees
//! - A change says what the event says. Whether it is stale, doubled or late is decided by the fold.

mod change;
mod column;
mod debezium_json;
mod flat;
mod json;
mod maps;
mod names;
mod near_miss;
mod origin;
mod placeholder;
mod prepared;
pub mod registry;
mod source_block;
mod timestamp;

pub use change::{Change, ChangeBatch, ChangeKind, ChangeRef, NO_ORIGIN, SnapshotMarker};
pub use debezium_json::DebeziumJson;
pub use flat::Rows;
pub use near_miss::is_transaction_marker;
pub use placeholder::{Placeholder, PlaceholderError};
pub use prepared::{PrepareError, PreparedColumn, PreparedContract};
pub(crate) use timestamp::from_text as instant_of;

use schemas::RowBuilder;

use crate::record::{RawBatch, RawRecord};
use crate::source::wrong_line;

/// Turns the records of one encoding into changes.
pub trait Decoder: Send + Sync {
    /// The name by which contracts ask for it.
    fn name(&self) -> &'static str;

    /// Counts changes of what it makes of equal records: with another one tables are built anew.
    fn version(&self) -> u32;

    /// Decodes one record of a topic and appends its change to `out`.
    ///
    /// # Errors
    /// When the record cannot be understood under the contract; then nothing is appended.
    fn decode(
        &self,
        contract: &PreparedContract,
        topic: &str,
        record: &RawRecord<'_>,
        scratch: &mut Scratch,
        out: &mut ChangeBatch,
    ) -> Result<(), DecodeError>;

    /// Appends a change of the kind [`ChangeKind::Unreadable`] for a record that [`Decoder::decode`] has
    /// refused, with the key, the origin and the position that can be read all the same.
    fn salvage(
        &self,
        contract: &PreparedContract,
        topic: &str,
        record: &RawRecord<'_>,
        scratch: &mut Scratch,
        out: &mut ChangeBatch,
    );
}

/// Why a record cannot be decoded. The text is lowercase, names the field and says what to do; the
/// caller knows topic, partition and offset.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct DecodeError(pub String);

/// Memory that decoders use again from record to record. One per thread.
#[derive(Debug, Default)]
pub struct Scratch {
    pub(crate) row: RowBuilder,
    pub(crate) bytes: Vec<u8>,
    pub(crate) key: Vec<u8>,
    pub(crate) json: json::Buffers,
    pub(crate) maps: maps::Buffers,
    pub(crate) origin: origin::OriginBuffers,
    /// How the last change event with a schema began.
    pub(crate) prefix: Option<debezium_json::Prefix>,
}

/// Decodes a batch into `out`, which is cleared first. Records that cannot be decoded are in
/// [`ChangeBatch::errors`].
pub fn decode_batch(
    decoder: &dyn Decoder,
    contract: &PreparedContract,
    batch: &RawBatch,
    scratch: &mut Scratch,
    out: &mut ChangeBatch,
) {
    out.clear(batch.topic());
    out.cover(batch.span());
    out.read_for(contract.columns().len());
    for (index, record) in batch.iter().enumerate() {
        out.begin_record(index, record.offset);
        let topic = &batch.topic().topic;
        let decoded = match wrong_line(batch.topic(), &record) {
            Some(wrong) => Err(DecodeError(wrong.to_owned())),
            None => decoder.decode(contract, topic, &record, scratch, out),
        };
        if let Err(error) = decoded {
            out.push_error(index, error);
            decoder.salvage(contract, topic, &record, scratch, out);
        }
    }
}

#[cfg(test)]
mod mutation;
#[cfg(test)]
mod vectors;
