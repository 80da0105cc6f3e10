//! Raw records as sources hand them out: the records of one partition, in offset order.
//!
//! # Guarantees
//! - What is pushed is read back byte for byte: an absent key or value is not an empty one.
//! - Records lie in a few growing arenas; none of them is a heap object of its own (except the
//!   headers of those that have any).
//! - [`RawBatch::hash_into`] is one fixed function of the records' offsets, timestamps, keys, values
//!   and headers. It may never change, because ledgers hold its results.
//!
//! # Non-guarantees
//! - Offsets grow, but need not be dense.

use std::sync::Arc;

use schemas::{Micros, Span};
use xxhash_rust::xxh3::Xxh3;

use arena::Arena;
pub use quiet::QuietRows;

/// One partition of one life of a topic.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicPartition {
    /// The configured source.
    pub source: Arc<str>,
    /// The topic.
    pub topic: Arc<str>,
    /// Which life of the topic: Kafka's topic id, or a hash standing in for it.
    pub incarnation: Arc<str>,
    /// The partition.
    pub partition: i32,
}

impl From<&Span> for TopicPartition {
    fn from(span: &Span) -> TopicPartition {
        TopicPartition {
            source: Arc::from(span.source.as_str()),
            topic: Arc::from(span.topic.as_str()),
            incarnation: Arc::from(span.incarnation.as_str()),
            partition: span.partition,
        }
    }
}

/// One header of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// Its name.
    pub key: Box<str>,
    /// Its value.
    pub value: Option<Box<[u8]>>,
}

/// One record, borrowed from its batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RawRecord<'a> {
    /// Its offset.
    pub offset: i64,
    /// One past the offset of the record read before it in this partition.
    pub prev_offset: i64,
    /// Its Kafka timestamp.
    pub timestamp: Option<Micros>,
    /// Its key; `None` is a null key.
    pub key: Option<&'a [u8]>,
    /// Its value; `None` is a null value, a tombstone.
    pub value: Option<&'a [u8]>,
    /// Its headers.
    pub headers: &'a [Header],
}

/// Stands for "no timestamp".
const NO_TIMESTAMP: i64 = i64::MIN;

/// Records of one partition, in offset order.
#[derive(Debug, Clone)]
pub struct RawBatch {
    topic: Arc<TopicPartition>,
    first_prev_offset: Option<i64>,
    offsets: Vec<i64>,
    /// In microseconds.
    timestamps: Vec<i64>,
    keys: Arena,
    values: Arena,
    /// Empty until a record has headers; then one entry per record.
    headers: Vec<Option<Box<[Header]>>>,
    quiet: QuietRows,
}

impl RawBatch {
    /// An empty batch.
    pub fn new(topic: Arc<TopicPartition>) -> RawBatch {
        RawBatch {
            topic,
            first_prev_offset: None,
            offsets: Vec::new(),
            timestamps: Vec::new(),
            keys: Arena::default(),
            values: Arena::default(),
            headers: Vec::new(),
            quiet: QuietRows::None,
        }
    }

    /// An empty batch that covers a span from its beginning.
    pub fn of_span(span: &Span) -> RawBatch {
        let mut batch = RawBatch::new(Arc::new(span.into()));
        batch.set_first_prev_offset(span.from);
        batch
    }

    /// Where the records are from.
    pub fn topic(&self) -> &Arc<TopicPartition> {
        &self.topic
    }

    /// Says what was read before the first record: one past the last record's offset, or where the
    /// partition's reading began. Unless said, it is the first record's own offset.
    pub fn set_first_prev_offset(&mut self, prev_offset: i64) {
        self.first_prev_offset = Some(prev_offset);
    }

    /// Appends a record; `timestamp_ms` is Kafka's, in milliseconds.
    pub fn push(
        &mut self,
        offset: i64,
        timestamp_ms: Option<i64>,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[(&str, Option<&[u8]>)],
    ) {
        self.offsets.push(offset);
        self.timestamps.push(timestamp_ms.map_or(NO_TIMESTAMP, |ms| ms.saturating_mul(1000)));
        self.keys.push(key);
        self.values.push(value);
        if !headers.is_empty() {
            self.headers.resize(self.offsets.len() - 1, None);
            let own = |(key, value): &(&str, Option<&[u8]>)| Header {
                key: Box::from(*key),
                value: value.map(Box::from),
            };
            self.headers.push(Some(headers.iter().map(own).collect()));
        } else if !self.headers.is_empty() {
            self.headers.push(None);
        }
    }

    /// Appends a record as it is, such as one read back from bronze.
    pub fn push_record(&mut self, record: &RawRecord<'_>) {
        if self.is_empty() {
            self.first_prev_offset = Some(record.prev_offset);
        }
        self.push(record.offset, None, record.key, record.value, &[]);
        if let (Some(at), Some(slot)) = (record.timestamp, self.timestamps.last_mut()) {
            *slot = at.0;
        }
        if !record.headers.is_empty() {
            self.headers.resize(self.offsets.len(), None);
            if let Some(slot) = self.headers.last_mut() {
                *slot = Some(record.headers.into());
            }
        }
    }

    /// The record at `index`.
    pub fn get(&self, index: usize) -> Option<RawRecord<'_>> {
        let offset = *self.offsets.get(index)?;
        let previous = index.checked_sub(1).and_then(|before| self.offsets.get(before));
        let prev_offset = match previous {
            Some(before) => before.saturating_add(1),
            None => self.first_prev_offset.unwrap_or(offset),
        };
        let timestamp = *self.timestamps.get(index)?;
        Some(RawRecord {
            offset,
            prev_offset,
            timestamp: (timestamp != NO_TIMESTAMP).then_some(Micros(timestamp)),
            key: self.keys.get(index),
            value: self.values.get(index),
            headers: self.headers.get(index).and_then(|h| h.as_deref()).unwrap_or_default(),
        })
    }

    /// Every record, in order.
    pub fn iter(&self) -> impl Iterator<Item = RawRecord<'_>> {
        (0..self.len()).filter_map(|index| self.get(index))
    }

    /// The number of records.
    pub fn len(&self) -> usize {
        self.offsets.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.offsets.is_empty()
    }

    /// The oldest timestamp, `None` when it is empty; that of a record without one is older than any.
    pub fn oldest(&self) -> Option<Micros> {
        self.timestamps.iter().min().map(|at| Micros(*at))
    }

    /// Which records are quiet in the epoch that has taken them; none before that.
    pub fn quiet(&self) -> &QuietRows {
        &self.quiet
    }

    /// Says which records are quiet, all of them being here.
    pub fn set_quiet(&mut self, quiet: QuietRows) {
        self.quiet = quiet;
    }

    /// Says whether the last record is quiet, those before it being said.
    pub(crate) fn push_quiet(&mut self, is_quiet: bool) {
        if let Some(last) = self.len().checked_sub(1) {
            self.quiet.push(last, is_quiet);
        }
    }

    /// Whether no record says when it was written.
    pub fn is_timeless(&self) -> bool {
        self.timestamps.iter().all(|at| *at == NO_TIMESTAMP)
    }

    /// The bytes of all values, end to end.
    pub(crate) fn value_bytes(&self) -> &[u8] {
        self.values.bytes()
    }

    /// Where each value ends in [`RawBatch::value_bytes`], and whether it is there.
    pub(crate) fn value_ends(&self) -> impl Iterator<Item = (usize, bool)> {
        self.values.ends()
    }

    /// Bytes of keys and values.
    pub fn bytes(&self) -> usize {
        self.keys.len() + self.values.len()
    }

    /// What the batch covers: from the first record's `prev_offset` to one past its last offset.
    /// `None` when it is empty.
    pub fn span(&self) -> Option<(i64, i64)> {
        let first = self.get(0)?;
        Some((first.prev_offset, self.offsets.last()?.saturating_add(1)))
    }

    /// Drops the records from `len` on.
    pub fn truncate(&mut self, len: usize) {
        self.offsets.truncate(len);
        self.timestamps.truncate(len);
        self.keys.truncate(len);
        self.values.truncate(len);
        self.headers.truncate(len);
    }

    /// Takes the records from `at` on out of this batch.
    #[must_use]
    pub fn split_off(&mut self, at: usize) -> RawBatch {
        let mut tail = RawBatch::new(Arc::clone(&self.topic));
        for record in (at..self.len()).filter_map(|index| self.get(index)) {
            tail.push_record(&record);
        }
        self.truncate(at);
        tail
    }

    /// Adds every record to `hash`: offset, timestamp, lengths and bytes of key, value and headers.
    pub fn hash_into(&self, hash: &mut Xxh3) {
        for record in self.iter() {
            let timestamp = record.timestamp.map_or(NO_TIMESTAMP, |at| at.0);
            let mut fixed = [0; 40];
            let parts = [
                record.offset.to_le_bytes(),
                timestamp.to_le_bytes(),
                length(record.key),
                length(record.value),
                (record.headers.len() as u64).to_le_bytes(),
            ];
            for (slot, part) in fixed.chunks_exact_mut(8).zip(parts) {
                slot.copy_from_slice(&part);
            }
            hash.update(&fixed);
            hash.update(record.key.unwrap_or_default());
            hash.update(record.value.unwrap_or_default());
            for header in record.headers {
                hash.update(&length(Some(header.key.as_bytes())));
                hash.update(header.key.as_bytes());
                hash.update(&length(header.value.as_deref()));
                hash.update(header.value.as_deref().unwrap_or_default());
            }
        }
    }
}

/// The length prefix of something that may be absent.
fn length(part: Option<&[u8]>) -> [u8; 8] {
    part.map_or(u64::MAX, |part| part.len() as u64).to_le_bytes()
}

mod arena;
mod quiet;
#[cfg(test)]
mod tests;
