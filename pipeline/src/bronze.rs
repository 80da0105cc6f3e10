//! Bronze: the single append-only table of all records, as they came.
//!
//! # Guarantees
//! - Every record is exactly one row, also one that cannot be decoded (`decode_error` says why).
//! - Rows, the offsets they reach, the epoch and its clock are one commit: progress never says more
//!   or less than the rows do.
//! - A commit that failed is tried again with the same files; epochs are held until it has succeeded.
//!
//! # Non-guarantees
//! - Nothing here decides how epochs are cut or what rows mean.

mod decisions;
mod last;
mod replay;
mod rows;

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef, TimeUnit};
use arrow::error::ArrowError;
use lake::{Commit, CommitError, FileFactory, FileWriter, LakeError, StagedFile, Table, TableSpec};
use schemas::{EpochId, EpochStamp, Micros};

use crate::record::{RawBatch, TopicPartition};
use crate::source::is_control;
pub use decisions::decisions;
pub use last::{epoch_of, last_records};
pub use replay::{headers_of, replay};
use rows::Rows;

/// The table's name.
pub const TABLE: &str = "bronze/changes";

/// App id of the last epoch that a table holds.
pub const EPOCH: &str = "weir/epoch";
/// App id of that epoch's clock, in microseconds.
pub const CLOCK: &str = "weir/clock";
/// App id, on bronze, of the last barrier that all tables completed.
pub const FLUSHED: &str = "weir/flushed";

/// Rows are handed to the file writer in batches of about this many bytes.
const BATCH_BYTES: usize = 4 << 20;

/// One epoch with its records and what could not be decoded. A tick has no batches.
#[derive(Debug)]
pub struct EpochRecords {
    /// Number, clock and quiet bit.
    pub stamp: EpochStamp,
    /// The records, by (source, topic, partition).
    pub batches: Vec<RawBatch>,
    /// For each batch, the records that could not be decoded: index and reason, ascending.
    pub errors: Vec<Vec<(usize, String)>>,
}

impl EpochRecords {
    /// An epoch without records.
    pub fn tick(stamp: EpochStamp) -> EpochRecords {
        EpochRecords { stamp, batches: Vec::new(), errors: Vec::new() }
    }

    /// Bytes of keys and values.
    pub fn bytes(&self) -> usize {
        self.batches.iter().map(RawBatch::bytes).sum()
    }

    /// The batches of configured sources, without those of control records.
    pub fn events(&self) -> impl Iterator<Item = &RawBatch> {
        self.batches.iter().filter(|batch| !is_control(batch.topic()))
    }

    /// Whether it is more than a tick: a record of a configured source is in it.
    pub fn has_events(&self) -> bool {
        self.events().next().is_some()
    }

    /// Whether it has no records at all.
    pub fn is_empty(&self) -> bool {
        self.batches.is_empty()
    }
}

/// The table as it is created.
pub fn spec() -> TableSpec {
    TableSpec {
        name: TABLE.into(),
        schema: schema(),
        partition_columns: vec!["day".into()],
        description: "every change record as it came, with its coordinates and epoch".into(),
    }
}

fn schema() -> SchemaRef {
    let instant = || DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    let header = Fields::from(vec![
        Field::new("key", DataType::Utf8, true),
        Field::new("value", DataType::Binary, true),
    ]);
    let headers = DataType::List(Arc::new(Field::new("element", DataType::Struct(header), true)));
    Arc::new(Schema::new(vec![
        Field::new("source", DataType::Utf8, false),
        Field::new("topic", DataType::Utf8, false),
        Field::new("incarnation", DataType::Utf8, false),
        Field::new("partition", DataType::Int32, false),
        Field::new("offset", DataType::Int64, false),
        Field::new("prev_offset", DataType::Int64, false),
        Field::new("kafka_timestamp", instant(), true),
        Field::new("key", DataType::Binary, true),
        Field::new("value", DataType::Binary, true),
        Field::new("headers", headers, true),
        Field::new("decode_error", DataType::Utf8, true),
        Field::new("epoch", DataType::Int64, false),
        Field::new("epoch_clock", instant(), false),
        Field::new("quiet", DataType::Boolean, false),
        Field::new("day", DataType::Date32, true),
    ]))
}

/// What bronze holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Held {
    /// The last epoch; 0 before the first.
    pub epoch: EpochId,
    /// Its clock.
    pub clock: Micros,
    /// The last barrier that all tables completed; 0 before the first.
    pub flushed: EpochId,
    /// The next offset of each partition.
    pub next: BTreeMap<TopicPartition, i64>,
}

/// What the table at this version holds.
pub fn held(table: &Table) -> Held {
    let number = |app| table.progress(app).and_then(|n| u64::try_from(n).ok()).unwrap_or(0);
    let apps = table.progress_all().iter();
    Held {
        epoch: number(EPOCH),
        clock: Micros(table.progress(CLOCK).unwrap_or(0)),
        flushed: number(FLUSHED),
        next: apps.filter_map(|(app, next)| Some((parse_app(app)?, *next))).collect(),
    }
}

/// The app id under which a partition's next offset is kept.
pub fn app_id(partition: &TopicPartition) -> String {
    let TopicPartition { source, topic, incarnation, partition } = partition;
    format!("weir/{source}/{topic}/{incarnation}/{partition}")
}

fn parse_app(app: &str) -> Option<TopicPartition> {
    let mut parts = app.strip_prefix("weir/")?.rsplitn(4, '/');
    let partition = parts.next()?.parse().ok()?;
    let (incarnation, topic, source) = (parts.next()?, parts.next()?, parts.next()?);
    let (source, topic, incarnation) = (source.into(), topic.into(), incarnation.into());
    Some(TopicPartition { source, topic, incarnation, partition })
}

/// Writes epochs to bronze.
#[derive(Debug)]
pub struct BronzeWriter {
    table: Table,
    files: FileFactory,
    rows: Rows,
    open: Option<(String, FileWriter)>,
    staged: Vec<StagedFile>,
    /// Epochs that no prepared commit covers yet.
    pending: Vec<Arc<EpochRecords>>,
    /// How many of `pending` are in `rows`, `open` or `staged`; fewer after a failed write.
    streamed: usize,
    prepared: Option<Prepared>,
    flushed: EpochId,
}

#[derive(Debug)]
struct Prepared {
    commit: Commit,
    last: Option<EpochStamp>,
    flushed: EpochId,
}

/// Why bronze could not be written.
#[derive(Debug, thiserror::Error)]
pub enum BronzeError {
    /// A data file could not be written; the epochs are held and it may be tried again.
    #[error("could not write bronze: {0}")]
    Write(#[from] LakeError),
    /// The rows do not make a batch.
    #[error("could not build rows of bronze: {0}")]
    Rows(#[from] ArrowError),
    /// The commit failed.
    #[error("could not commit bronze: {0}")]
    Commit(#[from] CommitError),
}

impl BronzeError {
    /// Whether trying again later may succeed.
    pub fn is_retryable(&self) -> bool {
        matches!(self, BronzeError::Write(_) | BronzeError::Commit(CommitError::Store { .. }))
    }
}

impl BronzeWriter {
    /// A writer that goes on where `table` ends.
    ///
    /// # Errors
    /// When the table was opened for reading.
    pub fn new(table: Table) -> Result<BronzeWriter, LakeError> {
        Ok(BronzeWriter {
            files: table.files_factory()?,
            rows: Rows::new(table.file_schema()),
            open: None,
            staged: Vec::new(),
            pending: Vec::new(),
            streamed: 0,
            prepared: None,
            flushed: held(&table).flushed,
            table,
        })
    }

    /// The table, as of the last commit.
    pub fn table(&self) -> &Table {
        &self.table
    }

    /// The last barrier that a commit has published.
    pub fn flushed(&self) -> EpochId {
        self.flushed
    }

    /// The table, for checkpoints and clean-up between commits.
    pub fn table_mut(&mut self) -> &mut Table {
        &mut self.table
    }

    /// Takes an epoch. It is held until a commit that covers it has succeeded.
    ///
    /// # Errors
    /// When its rows could not be written out; they are tried again by the next call.
    pub fn append(&mut self, epoch: Arc<EpochRecords>) -> Result<(), BronzeError> {
        self.pending.push(epoch);
        self.stream()
    }

    /// Bytes held in memory or in files that are not committed.
    pub fn pending_bytes(&self) -> usize {
        self.pending.iter().map(|epoch| epoch.bytes()).sum()
    }

    /// Whether there is something to commit.
    pub fn is_pending(&self, flushed: EpochId) -> bool {
        self.prepared.is_some() || !self.pending.is_empty() || flushed > self.flushed
    }

    /// Commits everything taken so far, and that all tables completed the barrier `flushed`. Returns
    /// the last epoch that the table now holds, when it is a new one.
    ///
    /// # Errors
    /// See [`BronzeError::is_retryable`]: nothing is lost by trying again.
    pub async fn commit(&mut self, flushed: EpochId) -> Result<Option<EpochStamp>, BronzeError> {
        if self.prepared.is_none() {
            self.prepare(flushed)?;
        }
        #[cfg(feature = "defects")]
        self.commit_progress_apart().await?;
        let Some(prepared) = &self.prepared else { return Ok(None) };
        self.table.commit(&prepared.commit).await?;
        self.flushed = prepared.flushed;
        let last = prepared.last;
        self.prepared = None;
        Ok(last)
    }

    #[cfg(feature = "defects")]
    async fn commit_progress_apart(&mut self) -> Result<(), BronzeError> {
        let Some(prepared) = self.prepared.as_mut() else { return Ok(()) };
        if crate::defect::is_planted("progress-apart") {
            let progress = std::mem::take(&mut prepared.commit.progress);
            let apart = Commit { progress, operation: "WRITE", ..Commit::default() };
            self.table.commit(&apart).await?;
        }
        Ok(())
    }

    fn stream(&mut self) -> Result<(), BronzeError> {
        while let Some(epoch) = self.pending.get(self.streamed).map(Arc::clone) {
            if let Err(error) = self.stream_epoch(&epoch) {
                self.forget_files();
                return Err(error);
            }
            self.streamed += 1;
        }
        Ok(())
    }

    fn stream_epoch(&mut self, epoch: &Arc<EpochRecords>) -> Result<(), BronzeError> {
        let day = epoch.stamp.clock.date();
        if self.open.as_ref().is_some_and(|(open, _)| *open != day) {
            self.close_file()?;
        }
        if self.open.is_none() && !epoch.is_empty() {
            let writer = self.files.file_writer(&[("day".into(), day.clone())])?;
            self.open = Some((day, writer));
        }
        for (at, batch) in epoch.batches.iter().enumerate() {
            if self.lend(epoch, at)? {
                continue;
            }
            let errors = epoch.errors.get(at).map(Vec::as_slice).unwrap_or_default();
            self.rows.append(&epoch.stamp, batch, errors);
            if self.rows.bytes() > BATCH_BYTES {
                self.write_rows()?;
            }
        }
        Ok(())
    }

    /// Writes a large batch without copying its values; false when it is not large.
    fn lend(&mut self, epoch: &Arc<EpochRecords>, at: usize) -> Result<bool, BronzeError> {
        if !epoch.batches.get(at).is_some_and(rows::is_large) {
            return Ok(false);
        }
        self.write_rows()?;
        let Some(rows) = self.rows.lend(epoch, at)? else { return Ok(false) };
        if let Some((_, writer)) = &mut self.open {
            writer.write(&rows)?;
        }
        Ok(true)
    }

    fn write_rows(&mut self) -> Result<(), BronzeError> {
        if let (Some((_, writer)), Some(batch)) = (&mut self.open, self.rows.finish()?) {
            writer.write(&batch)?;
        }
        Ok(())
    }

    fn close_file(&mut self) -> Result<(), BronzeError> {
        self.write_rows()?;
        if let Some((_, writer)) = self.open.take() {
            self.staged.push(writer.finish()?);
        }
        Ok(())
    }

    fn prepare(&mut self, flushed: EpochId) -> Result<(), BronzeError> {
        self.stream()?;
        if let Err(error) = self.close_file() {
            self.forget_files();
            return Err(error);
        }
        let last = self.pending.last().map(|epoch| epoch.stamp);
        if last.is_none() && flushed <= self.flushed {
            return Ok(());
        }
        let progress = progress(&self.pending, last, flushed.max(self.flushed));
        self.prepared = Some(Prepared {
            commit: Commit {
                adds: std::mem::take(&mut self.staged),
                progress,
                operation: "WRITE",
                ..Commit::default()
            },
            last,
            flushed: flushed.max(self.flushed),
        });
        self.pending.clear();
        self.streamed = 0;
        Ok(())
    }

    /// Starts the pending epochs over: a file that failed is worth nothing.
    fn forget_files(&mut self) {
        self.open = None;
        self.rows.clear();
        for file in self.staged.drain(..) {
            file.discard();
        }
        self.streamed = 0;
    }
}

fn progress(
    epochs: &[Arc<EpochRecords>],
    last: Option<EpochStamp>,
    flushed: EpochId,
) -> Vec<(String, i64)> {
    let mut next = BTreeMap::new();
    for batch in epochs.iter().flat_map(|epoch| &epoch.batches) {
        if let Some((_, to)) = batch.span() {
            next.insert(app_id(batch.topic()), to);
        }
    }
    let number = |epoch: EpochId| i64::try_from(epoch).unwrap_or(i64::MAX);
    if let Some(stamp) = last {
        next.insert(EPOCH.into(), number(stamp.id));
        next.insert(CLOCK.into(), stamp.clock.0);
    }
    if flushed > 0 {
        next.insert(FLUSHED.into(), number(flushed));
    }
    next.into_iter().collect()
}

#[cfg(test)]
mod tests;
