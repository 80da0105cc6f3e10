//! Epochs read back from bronze, for recovery and for checks.

use std::ops::RangeInclusive;
use std::sync::Arc;

use arrow::array::{
    Array, AsArray, BinaryArray, BooleanArray, Int32Array, Int64Array, ListArray, RecordBatch,
    StringArray, StructArray, TimestampMicrosecondArray,
};
use arrow::datatypes::{Int32Type, Int64Type, TimestampMicrosecondType};
use lake::{DataFile, LakeError, Table};
use schemas::{EpochId, EpochStamp, Micros};

use super::EpochRecords;
use crate::record::{Header, RawBatch, RawRecord, TopicPartition};

/// The epochs `after < epoch <= up_to`, in order, with what could not be decoded when they were written.
///
/// # Errors
/// When the table's files cannot be read, now or while iterating.
pub fn replay(
    table: &Table,
    after: EpochId,
    up_to: EpochId,
) -> Result<impl Iterator<Item = Result<EpochRecords, LakeError>> + use<>, LakeError> {
    let number = |epoch: EpochId| i64::try_from(epoch).unwrap_or(i64::MAX);
    let range = number(after.saturating_add(1))..=number(up_to);
    let mut files: Vec<(i64, &DataFile)> = Vec::new();
    for file in table.files() {
        let (first, last) = file.range_i64("epoch").unwrap_or((0, i64::MAX));
        if first <= *range.end() && last >= *range.start() {
            files.push((first, file));
        }
    }
    files.sort_by(|a, b| (a.0, &a.1.path).cmp(&(b.0, &b.1.path)));
    let files: Vec<&DataFile> = files.into_iter().map(|(_, file)| file).collect();
    replay_files(table, &files, range)
}

/// The epochs of this range in some files, in order.
pub(super) fn replay_files(
    table: &Table,
    files: &[&DataFile],
    range: RangeInclusive<i64>,
) -> Result<impl Iterator<Item = Result<EpochRecords, LakeError>> + use<>, LakeError> {
    let batches = table.read_range(files, None, "epoch", range)?;
    Ok(Epochs { batches, batch: None, row: 0, current: None })
}

/// The rows of one file with offsets in this range, by epoch.
pub(super) fn rows_at(
    table: &Table,
    file: &DataFile,
    offsets: RangeInclusive<i64>,
) -> Result<impl Iterator<Item = Result<EpochRecords, LakeError>> + use<>, LakeError> {
    let batches = table.read_range(&[file], None, "offset", offsets)?;
    Ok(Epochs { batches, batch: None, row: 0, current: None })
}

struct Epochs<I> {
    batches: I,
    batch: Option<Columns>,
    row: usize,
    current: Option<EpochRecords>,
}

impl<I: Iterator<Item = Result<RecordBatch, LakeError>>> Iterator for Epochs<I> {
    type Item = Result<EpochRecords, LakeError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let Some(columns) = self.batch.as_ref().filter(|columns| self.row < columns.len())
            else {
                match self.batches.next() {
                    None => return self.current.take().map(Ok),
                    Some(Err(error)) => return Some(Err(error)),
                    Some(Ok(batch)) => {
                        let Some(columns) = Columns::new(&batch) else {
                            return Some(Err(unreadable()));
                        };
                        self.batch = Some(columns);
                        self.row = 0;
                    }
                }
                continue;
            };
            let stamp = columns.stamp(self.row);
            let ended = self.current.as_ref().is_some_and(|epoch| epoch.stamp.id != stamp.id);
            if ended {
                return self.current.take().map(Ok);
            }
            let epoch = self.current.get_or_insert_with(|| EpochRecords::tick(stamp));
            epoch.stamp.quiet |= stamp.quiet;
            columns.push_to(self.row, epoch);
            self.row += 1;
        }
    }
}

pub(super) fn unreadable() -> LakeError {
    LakeError::Engine {
        action: "read the columns of",
        place: super::TABLE.into(),
        detail: "a column is missing or of another type; restore the table from a backup".into(),
    }
}

struct Columns {
    source: StringArray,
    topic: StringArray,
    incarnation: StringArray,
    partition: Int32Array,
    offset: Int64Array,
    prev_offset: Int64Array,
    timestamp: TimestampMicrosecondArray,
    key: BinaryArray,
    value: BinaryArray,
    headers: ListArray,
    epoch: Int64Array,
    clock: TimestampMicrosecondArray,
    quiet: BooleanArray,
    error: StringArray,
}

impl Columns {
    fn new(batch: &RecordBatch) -> Option<Columns> {
        let column = |name| batch.column_by_name(name);
        let text = |name| column(name)?.as_string_opt::<i32>().cloned();
        let long = |name| column(name)?.as_primitive_opt::<Int64Type>().cloned();
        let bytes = |name| column(name)?.as_binary_opt::<i32>().cloned();
        let instant = |name| column(name)?.as_primitive_opt::<TimestampMicrosecondType>().cloned();
        Some(Columns {
            source: text("source")?,
            topic: text("topic")?,
            incarnation: text("incarnation")?,
            partition: column("partition")?.as_primitive_opt::<Int32Type>().cloned()?,
            offset: long("offset")?,
            prev_offset: long("prev_offset")?,
            timestamp: instant("kafka_timestamp")?,
            key: bytes("key")?,
            value: bytes("value")?,
            headers: column("headers")?.as_list_opt::<i32>().cloned()?,
            epoch: long("epoch")?,
            clock: instant("epoch_clock")?,
            quiet: column("quiet")?.as_boolean_opt().cloned()?,
            error: text("decode_error")?,
        })
    }

    fn len(&self) -> usize {
        self.offset.len()
    }

    /// The stamp of its epoch, as far as this row tells.
    fn stamp(&self, row: usize) -> EpochStamp {
        EpochStamp {
            id: u64::try_from(self.epoch.value(row)).unwrap_or(0),
            clock: Micros(self.clock.value(row)),
            quiet: self.quiet.value(row),
        }
    }

    /// Adds the row to the last batch, or to a new one when it is of another partition.
    fn push_to(&self, row: usize, epoch: &mut EpochRecords) {
        let EpochRecords { batches, errors, .. } = epoch;
        let is_same = batches.last().is_some_and(|batch| self.is_of(row, batch.topic()));
        if !is_same {
            batches.push(RawBatch::new(Arc::new(TopicPartition {
                source: self.source.value(row).into(),
                topic: self.topic.value(row).into(),
                incarnation: self.incarnation.value(row).into(),
                partition: self.partition.value(row),
            })));
            errors.push(Vec::new());
        }
        let (Some(batch), Some(errors)) = (batches.last_mut(), errors.last_mut()) else { return };
        if self.error.is_valid(row) {
            errors.push((batch.len(), self.error.value(row).to_owned()));
        }
        batch.push_record(&RawRecord {
            offset: self.offset.value(row),
            prev_offset: self.prev_offset.value(row),
            timestamp: self.timestamp.is_valid(row).then(|| Micros(self.timestamp.value(row))),
            key: self.key.is_valid(row).then(|| self.key.value(row)),
            value: self.value.is_valid(row).then(|| self.value.value(row)),
            headers: &headers_of(&self.headers, row),
        });
        batch.push_quiet(self.quiet.value(row));
    }

    fn is_of(&self, row: usize, partition: &TopicPartition) -> bool {
        self.partition.value(row) == partition.partition
            && self.topic.value(row) == &*partition.topic
            && self.source.value(row) == &*partition.source
            && self.incarnation.value(row) == &*partition.incarnation
    }
}

/// The headers of a row, from their column.
pub fn headers_of(headers: &ListArray, row: usize) -> Vec<Header> {
    if headers.is_null(row) {
        return Vec::new();
    }
    let entries = headers.value(row);
    let Some(entries) = entries.as_any().downcast_ref::<StructArray>() else {
        return Vec::new();
    };
    let (Some(keys), Some(values)) =
        (entries.column(0).as_string_opt::<i32>(), entries.column(1).as_binary_opt::<i32>())
    else {
        return Vec::new();
    };
    let header = |at: usize| Header {
        key: keys.value(at).into(),
        value: values.is_valid(at).then(|| values.value(at).into()),
    };
    (0..entries.len()).map(header).collect()
}
