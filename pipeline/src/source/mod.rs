//! Where records come from: one trait, three implementations.
//!
//! A source is driven by one operating-system thread. It blocks in [`Source::poll`] and never
//! starts threads of its own, apart from those that librdkafka has.
//!
//! # Guarantees
//! - Records of one partition are handed out in offset order, each exactly once per start, from the
//!   offset that [`Progress`] names; a partition that it does not name starts at its earliest record.
//! - Nothing is skipped in silence: what cannot be read stops that topic (or the source) by name,
//!   and says what to do.
//! - [`Source::reread`] gives the same records again or says that they are gone.
//! - No partition can starve another: each has a quota within one poll.
//!
//! # Non-guarantees
//! - Offsets need not be dense: transaction markers and compaction leave holes.
//! - A source never decides what has been ingested. That is bronze's business.

mod config;
mod control;
mod embedded;
mod file;
mod kafka;
mod mapping;
mod properties;
mod reread;
mod transactions;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use schemas::Span;

use crate::record::{RawBatch, RawRecord, TopicPartition};

pub use config::{ConfigError, FileConfig, KafkaConfig, LostRecords, SourceConfig};
pub use control::{ControlFile, ControlFileError, control_partition, is_control};
pub use embedded::{EmbeddedBroker, EmbeddedSource, Regenerate, Regenerated};
pub(crate) use file::table;
pub use file::{FileSource, row_place, wrong_line};
pub use kafka::{Cause, Cluster, KafkaSource, Unanswered, names_transactions, probe};
pub use mapping::{Mapping, Snapshots};
pub use properties::Properties;
pub use reread::{Reread, Step};

/// How far one partition has been ingested.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reached {
    /// The next offset to read.
    pub next: i64,
    /// The last committed record, where it is known. It is read again and compared where the source
    /// has no other way to notice that its records were replaced.
    pub last: Option<LastRecord>,
}

/// The last committed record of a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LastRecord {
    /// Its offset.
    pub offset: i64,
    /// Its [`record_hash`].
    pub hash: u128,
}

/// How far every partition of a source has been ingested, former incarnations included.
pub type Progress = BTreeMap<TopicPartition, Reached>;

/// What one poll may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Records in all.
    pub records: usize,
    /// Bytes of keys and values in all.
    pub bytes: usize,
    /// Records of one partition.
    pub partition_records: usize,
    /// Bytes of one partition. Byte limits may be exceeded by what one look at a partition brings.
    pub partition_bytes: usize,
}

/// What one poll took.
#[derive(Debug, Default)]
pub struct Pulled {
    /// Records.
    pub records: usize,
    /// Bytes of their keys and values.
    pub bytes: usize,
    /// Nothing more was there when the poll ended; false when a limit ended it.
    pub idle: bool,
    /// The end that [`Source::stop_at_end`] fixed is reached by all partitions. A halted topic
    /// counts as reached.
    pub at_end: bool,
    /// Records are held back.
    pub is_holding: bool,
    /// Transactions that were handed out in parts.
    pub split: u64,
    /// What happened besides records.
    pub notices: Vec<Notice>,
}

/// How far one partition is behind its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lag {
    /// The partition.
    pub partition: Arc<TopicPartition>,
    /// The next offset to hand out.
    pub next: i64,
    /// The end of the partition as last heard.
    pub end: i64,
}

/// A replayable stream of records from partitions.
pub trait Source: Send {
    /// The configured name: part of the app ids under which progress is kept.
    fn name(&self) -> &str;

    /// Whether records can be read again from an offset. One that cannot publishes only after the
    /// bronze commit.
    fn replayable(&self) -> bool;

    /// Begins at `progress`. Needs no broker: partitions are found while polling, and each is
    /// announced by [`Notice::Assigned`].
    ///
    /// # Errors
    /// When the configuration is refused, or the files cannot be read.
    fn start(&mut self, progress: &Progress) -> Result<(), SourceError>;

    /// Fixes the end: what is there now is handed out, and nothing later.
    ///
    /// # Errors
    /// When the end cannot be learnt within some seconds, such as with the broker down.
    fn stop_at_end(&mut self) -> Result<(), SourceError>;

    /// Waits until something is there or `wait` has passed, then takes what is there, waiting for
    /// more only while a partition is known to be far behind, and at most `linger`. Appends one batch
    /// per partition that had records.
    ///
    /// # Errors
    /// When the source as a whole cannot go on. A broker that is down is no error.
    fn poll(
        &mut self,
        wait: Duration,
        linger: Duration,
        limits: &Limits,
        into: &mut Vec<RawBatch>,
    ) -> Result<Pulled, SourceError>;

    /// Begins to read exactly these spans again.
    ///
    /// # Errors
    /// When the configuration is refused, or the files cannot be read.
    fn reread<'a>(&'a mut self, spans: &'a [Span]) -> Result<Box<dyn Reread + 'a>, SourceError>;

    /// How far every partition is behind, from what has been heard so far; asks nobody.
    fn lag(&self) -> Vec<Lag>;

    /// Tells the broker how far this group is, for lag dashboards only: never waits, never fails.
    fn commit_group_offsets(&mut self, progress: &[(Arc<TopicPartition>, i64)]);
}

/// Whether a source recognises a topic that was replaced by its last committed record only: it has no
/// topic id. The file of control records may be lost: bronze has what was read of it.
pub fn needs_last(partition: &TopicPartition) -> bool {
    if is_control(partition) {
        return false;
    }
    let incarnation = &*partition.incarnation;
    incarnation == file::INCARNATION || incarnation.parse::<u64>().is_ok()
}

/// The last committed record among these, for those that need it.
pub fn last_of(batch: &RawBatch) -> Option<LastRecord> {
    let last = batch.get(batch.len().checked_sub(1)?)?;
    needs_last(batch.topic()).then(|| LastRecord { offset: last.offset, hash: record_hash(&last) })
}

/// The hash of one record, headers and offset aside, by which a replaced topic or file is recognised.
pub fn record_hash(record: &RawRecord<'_>) -> u128 {
    let mut hash = xxhash_rust::xxh3::Xxh3::new();
    hash.update(&record.timestamp.map_or(i64::MIN, |at| at.0).to_le_bytes());
    for part in [record.key, record.value] {
        let length = part.map_or(u64::MAX, |p| p.len() as u64);
        hash.update(&length.to_le_bytes());
        hash.update(part.unwrap_or_default());
    }
    hash.digest128()
}

/// Something an operator may want to know. The source goes on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Notice {
    /// A partition is read from here on. For the first start of a partition, `from` is its earliest
    /// offset: the `prev_offset` of its first record.
    #[error("reading topic `{}` partition {} from offset {from}", partition.topic, partition.partition)]
    Assigned {
        /// The partition.
        partition: Arc<TopicPartition>,
        /// The first offset asked for.
        from: i64,
    },
    /// A configured topic is not there; it is read once it appears.
    #[error(
        "topic `{topic}` does not exist; waiting for it (check its name in the configuration of the source, or create it)"
    )]
    TopicMissing {
        /// The topic.
        topic: Arc<str>,
    },
    /// The broker cannot be reached; reading goes on when it is back.
    #[error("no connection to the broker at {brokers}: {reason}; waiting for it")]
    Disconnected {
        /// The configured brokers.
        brokers: String,
        /// What librdkafka said.
        reason: String,
    },
    /// The broker answers again.
    #[error("the broker at {brokers} answers again after {seconds} s")]
    Reconnected {
        /// The configured brokers.
        brokers: String,
        /// How long it was away.
        seconds: u64,
    },
    /// The topic was deleted and created again: its new life is read from its earliest record, under
    /// the new incarnation.
    #[error(
        "topic `{topic}` was deleted and created again (id {old} became {new}); reading the new topic from its earliest record"
    )]
    Recreated {
        /// The topic.
        topic: Arc<str>,
        /// The incarnation read before.
        old: Arc<str>,
        /// The incarnation read from now on.
        new: Arc<str>,
    },
    /// A file of rows has another content than the one that was read: it is read from its first row.
    #[error(
        "file `{topic}` has another content now ({old} became {new}); reading it from its first row"
    )]
    Replaced {
        /// The file's name.
        topic: Arc<str>,
        /// The incarnation read before.
        old: Arc<str>,
        /// The incarnation read from now on.
        new: Arc<str>,
    },
    /// Records that were asked for are gone, and the configuration says to go on after them.
    #[error(
        "topic `{topic}` partition {partition}: records {from} to {to} (exclusive) are gone from the broker; going on after them, as `lost_records = \"skip\"` says"
    )]
    Gap {
        /// The topic.
        topic: Arc<str>,
        /// The partition.
        partition: i32,
        /// The offset wanted.
        from: i64,
        /// The offset at which reading goes on.
        to: i64,
    },
    /// One topic stopped; the others flow.
    #[error(
        "topic `{topic}` stopped at partition {partition}, offset {wanted} (the broker has {low} to {high}): {reason}"
    )]
    Halted {
        /// The topic.
        topic: Arc<str>,
        /// The partition that stopped it.
        partition: i32,
        /// The offset wanted.
        wanted: i64,
        /// The broker's first offset, -1 when unknown.
        low: i64,
        /// The broker's end offset, -1 when unknown.
        high: i64,
        /// Why, and what to do.
        reason: String,
    },
    /// The last line of a file is still being written.
    #[error("line {line} of `{path}` has no end yet; it is left for the next run")]
    Unended {
        /// The file.
        path: String,
        /// The line, from 1.
        line: u64,
    },
    /// Transactions left in parts.
    #[error(
        "{split} transactions were not whole within 1 s, 20,000 records or 8 MiB, and were handed out in parts (metadata topic `{topic}`): records are gone, filtered, or late"
    )]
    Split {
        /// The metadata topic.
        topic: Arc<str>,
        /// How many since this was last said.
        split: u64,
    },
    /// Transactions whose end lies behind the end that was fixed.
    #[error(
        "{unfinished} transactions have no END in `{topic}` yet; they are left for the next run, with what follows them"
    )]
    Unfinished {
        /// The metadata topic.
        topic: Arc<str>,
        /// How many.
        unfinished: usize,
    },
    /// The metadata topic is not there: until it is, nothing is held back.
    #[error(
        "metadata topic `{topic}` does not exist, so no transaction is kept whole: set `provide.transaction.metadata=true` in the connector, which writes to `<topic.prefix>.transaction`, or correct `transactions` of the source"
    )]
    NoMetadata {
        /// The metadata topic.
        topic: Arc<str>,
    },
    /// Changes name no transactions.
    #[error(
        "changes name no transactions, so none is kept whole (metadata topic `{topic}`): set `provide.transaction.metadata=true` in the connector, or take `transactions` out of the source"
    )]
    NoTransactions {
        /// The metadata topic.
        topic: Arc<str>,
    },
    /// Now they do.
    #[error("changes name their transactions now (metadata topic `{topic}`)")]
    Transactions {
        /// The metadata topic.
        topic: Arc<str>,
    },
    /// A passing or unexpected answer about one topic; it is tried again.
    #[error("topic `{topic}`: {reason}; trying again")]
    Trouble {
        /// The topic.
        topic: Arc<str>,
        /// What was answered.
        reason: String,
    },
}

/// Why a source cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The configuration is refused.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// librdkafka refused something that should not fail.
    #[error("source `{name}`: {action} failed: {reason}")]
    Kafka {
        /// The source.
        name: String,
        /// What was tried.
        action: &'static str,
        /// What librdkafka said.
        reason: String,
    },
    /// No answer within the deadline.
    #[error("source `{name}`: {action} got no answer in time: {reason}")]
    Unreachable {
        /// The source.
        name: String,
        /// What was asked.
        action: &'static str,
        /// Why, and what to do.
        reason: String,
    },
    /// Records that were read before are gone or were replaced.
    #[error("records {} to {} of topic `{}` partition {} cannot be read again: {reason}", span.from, span.to, span.topic, span.partition)]
    Lost {
        /// What was asked for.
        span: Box<Span>,
        /// Why it is gone.
        reason: String,
    },
    /// A file could not be read.
    #[error("could not read `{path}`: {source}")]
    Read {
        /// The file.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file contradicts what was read from it before, or itself.
    #[error("`{path}` line {line}: {reason}")]
    File {
        /// The file.
        path: String,
        /// The line, from 1.
        line: u64,
        /// What is wrong and what to do.
        reason: String,
    },
    /// The other side of an embedded broker is gone.
    #[error("the embedded broker is closed: {reason}")]
    Closed {
        /// Why.
        reason: String,
    },
}
