//! One assigned partition: its queue, and how much of it is taken in one go.

use std::ffi::CString;
use std::sync::Arc;

use rdkafka::types::RDKafkaErrorCode;

use super::native::{Fetched, Item, Queue};
use crate::record::{RawBatch, TopicPartition};
use crate::source::{Limits, Pulled};

/// Records taken from one partition before the next one has its turn.
const SLICE: usize = 256;

/// An assigned partition.
#[derive(Debug)]
pub(super) struct Lane {
    pub(super) partition: Arc<TopicPartition>,
    pub(super) native_topic: CString,
    /// Logical offset = Kafka's offset + shift. Zero for a real broker.
    pub(super) shift: i64,
    /// The next logical offset.
    pub(super) next: i64,
    /// Where the partition was last seen to end.
    pub(super) eof: Option<i64>,
    /// Nothing at or after this offset is handed out.
    pub(super) end: Option<i64>,
    /// The broker refused the offset asked for.
    pub(super) refused: bool,
    /// An error stopped it, or its end is reached: nothing more is handed out.
    pub(super) stopped: bool,
    /// It is left alone for now.
    pub(super) is_held: bool,
    queue: Queue,
    slot: Option<usize>,
    records: usize,
    bytes: usize,
    /// Running mean of record sizes, to keep a slice within the byte limits.
    mean: usize,
}

/// What librdkafka complained about for one partition.
#[derive(Debug)]
pub(super) struct Complaint {
    pub(super) partition: Arc<TopicPartition>,
    pub(super) code: RDKafkaErrorCode,
    pub(super) offset: i64,
    pub(super) text: String,
}

impl Lane {
    pub(super) fn new(
        partition: Arc<TopicPartition>,
        native_topic: CString,
        queue: Queue,
        (next, shift): (i64, i64),
    ) -> Lane {
        Lane {
            partition,
            native_topic,
            shift,
            next,
            eof: None,
            end: None,
            refused: false,
            stopped: false,
            is_held: false,
            queue,
            slot: None,
            records: 0,
            bytes: 0,
            mean: 512,
        }
    }

    /// A new poll begins, with batches of its own.
    pub(super) fn begin(&mut self) {
        (self.slot, self.records, self.bytes) = (None, 0, 0);
    }

    /// Everything up to the fixed end is handed out (or the lane stopped on the way).
    pub(super) fn at_end(&self) -> bool {
        let reached = |end| self.next >= end || self.eof.is_some_and(|eof| eof >= end);
        self.stopped || self.end.is_some_and(reached)
    }

    /// The partition's quota for this poll is used up.
    pub(super) fn quota_used(&self, limits: &Limits) -> bool {
        self.records >= limits.partition_records || self.bytes >= limits.partition_bytes
    }

    fn slice(&self, limits: &Limits, pulled: &Pulled) -> usize {
        let records = limits.records.saturating_sub(pulled.records);
        let records = records.min(limits.partition_records.saturating_sub(self.records));
        let bytes = limits.bytes.saturating_sub(pulled.bytes);
        let bytes = bytes.min(limits.partition_bytes.saturating_sub(self.bytes));
        if bytes == 0 { 0 } else { records.min(SLICE).min(bytes / self.mean.max(1) + 1) }
    }

    /// Takes one slice. Returns how many items the queue gave; 0 when it is empty or may give no more.
    pub(super) fn take(
        &mut self,
        limits: &Limits,
        into: &mut Vec<RawBatch>,
        pulled: &mut Pulled,
        complaints: &mut Vec<Complaint>,
    ) -> usize {
        // A stopped lane is not emptied: once its queue is full, nothing more is fetched for it.
        let room = if self.stopped || self.is_held { 0 } else { self.slice(limits, pulled) };
        if room == 0 {
            return 0;
        }
        let (before_records, before_bytes) = (self.records, self.bytes);
        let Lane { queue, partition, shift, next, eof, end, stopped, refused, slot, .. } = self;
        let (mut records, mut bytes) = (0, 0);
        let taken = queue.take(room, |item| match item {
            _ if *stopped => {}
            Item::Record(record) => {
                let offset = record.offset.saturating_add(*shift);
                if end.is_some_and(|end| offset >= end) {
                    *stopped = true;
                } else if offset >= *next {
                    let batch = batch(slot, partition, *next, into);
                    bytes += push(batch, offset, &record);
                    *next = offset.saturating_add(1);
                    *eof = None;
                    records += 1;
                }
            }
            Item::End(offset) => *eof = Some(offset.saturating_add(*shift)),
            Item::Error(code, offset, text) => {
                *refused = is_refusal(code);
                *stopped = *refused || !is_passing(code);
                let partition = Arc::clone(partition);
                complaints.push(Complaint { partition, code, offset, text });
            }
        });
        self.records = before_records + records;
        self.bytes = before_bytes + bytes;
        if let Some(mean) = bytes.checked_div(records) {
            self.mean = (self.mean * 3 + mean) / 4 + 1;
        }
        pulled.records += records;
        pulled.bytes += bytes;
        taken
    }
}

/// This poll's batch of the partition.
fn batch<'a>(
    slot: &mut Option<usize>,
    partition: &Arc<TopicPartition>,
    next: i64,
    into: &'a mut Vec<RawBatch>,
) -> &'a mut RawBatch {
    let index = *slot.get_or_insert_with(|| {
        let mut batch = RawBatch::new(Arc::clone(partition));
        batch.set_first_prev_offset(next);
        into.push(batch);
        into.len() - 1
    });
    &mut into[index]
}

/// Copies one record. Returns its size in bytes.
fn push(batch: &mut RawBatch, offset: i64, record: &Fetched<'_>) -> usize {
    batch.push(offset, record.timestamp(), record.key, record.value, &record.headers());
    record.key.map_or(0, <[u8]>::len) + record.value.map_or(0, <[u8]>::len)
}

/// The broker has no such offset.
fn is_refusal(code: RDKafkaErrorCode) -> bool {
    use RDKafkaErrorCode as E;
    matches!(code, E::AutoOffsetReset | E::OffsetOutOfRange | E::NoOffset | E::LogTruncation)
}

/// librdkafka tries again by itself and jumps over nothing. After any other error (a checksum, a
/// compression that it lacks) it goes on behind the record, so the topic has to stop.
fn is_passing(code: RDKafkaErrorCode) -> bool {
    use RDKafkaErrorCode as E;
    matches!(
        code,
        E::UnknownTopicOrPartition
            | E::UnknownTopic
            | E::UnknownPartition
            | E::LeaderNotAvailable
            | E::NotLeaderForPartition
            | E::RequestTimedOut
            | E::OperationTimedOut
            | E::BrokerNotAvailable
            | E::ReplicaNotAvailable
            | E::NetworkException
            | E::BrokerTransportFailure
            | E::AllBrokersDown
            | E::TopicAuthorizationFailed
            | E::GroupAuthorizationFailed
            | E::KafkaStorageError
            | E::FencedLeaderEpoch
            | E::UnknownLeaderEpoch
            | E::OffsetNotAvailable
            | E::UnknownTopicId
            | E::Unknown
    )
}
