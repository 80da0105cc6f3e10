//! Single records found in bronze: the last one of partitions, by which a source recognises that they were
//! replaced, and the epoch of one.
//!
//! # Guarantees
//! - Files are looked at from the newest on and no further than needed; only coordinates are read of
//!   a file that has none of the records.
//!
//! # Non-guarantees
//! - A record that bronze should have and does not is left out; `weir verify` is what finds that.

use std::collections::{BTreeMap, BTreeSet};

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::{Int32Type, Int64Type};
use lake::{DataFile, LakeError, Table};
use schemas::EpochId;

use super::replay::{rows_at, unreadable};
use crate::record::TopicPartition;
use crate::source::{LastRecord, last_of};

/// What says whose a row is.
const COORDINATES: [&str; 5] = ["source", "topic", "incarnation", "partition", "offset"];

/// The last record of each partition: `wanted` says which offset follows it.
///
/// # Errors
/// When the table's files cannot be read.
pub fn last_records(
    table: &Table,
    wanted: BTreeMap<TopicPartition, i64>,
) -> Result<BTreeMap<TopicPartition, LastRecord>, LakeError> {
    let before = |(of, next): (TopicPartition, i64)| (of, next.saturating_sub(1));
    let mut wanted: BTreeMap<TopicPartition, i64> = wanted.into_iter().map(before).collect();
    let mut lasts = BTreeMap::new();
    for file in newest_first(table) {
        let offsets: BTreeSet<i64> = wanted.values().copied().collect();
        let Some((first, last)) = offsets.first().zip(offsets.last()) else { break };
        let mut found = BTreeSet::new();
        for batch in table.read_range(&[file], Some(&COORDINATES), "offset", *first..=*last)? {
            let hits = hits(&batch?, &wanted, &offsets);
            found.extend(hits.ok_or_else(unreadable)?);
        }
        let Some((first, last)) = found.first().zip(found.last()) else { continue };
        for epoch in rows_at(table, file, *first..=*last)? {
            for batch in epoch?.batches {
                let of = batch.topic().as_ref();
                let last = last_of(&batch).filter(|last| wanted.get(of) == Some(&last.offset));
                if let Some(last) = last {
                    wanted.remove(of);
                    lasts.insert(of.clone(), last);
                }
            }
        }
    }
    Ok(lasts)
}

/// The epoch that took one record; `None` when it is not there.
///
/// # Errors
/// When the table's files cannot be read.
pub fn epoch_of(
    table: &Table,
    of: &TopicPartition,
    offset: i64,
) -> Result<Option<EpochId>, LakeError> {
    for file in newest_first(table) {
        for epoch in rows_at(table, file, offset..=offset)? {
            let epoch = epoch?;
            if epoch.batches.iter().any(|batch| batch.topic().as_ref() == of) {
                return Ok(Some(epoch.stamp.id));
            }
        }
    }
    Ok(None)
}

fn newest_first(table: &Table) -> Vec<&DataFile> {
    let newest = |file: &DataFile| file.range_i64("epoch").map_or(i64::MAX, |range| range.1);
    let mut files: Vec<&DataFile> = table.files().map(AsRef::as_ref).collect();
    files.sort_by_key(|file| std::cmp::Reverse(newest(file)));
    files
}

/// The offsets of wanted rows; `None` when a column is of another type.
fn hits(
    batch: &RecordBatch,
    wanted: &BTreeMap<TopicPartition, i64>,
    offsets: &BTreeSet<i64>,
) -> Option<Vec<i64>> {
    let text = |name| batch.column_by_name(name)?.as_string_opt::<i32>();
    let (source, topic, incarnation) = (text("source")?, text("topic")?, text("incarnation")?);
    let partition = batch.column_by_name("partition")?.as_primitive_opt::<Int32Type>()?;
    let offset = batch.column_by_name("offset")?.as_primitive_opt::<Int64Type>()?;
    let is_wanted = |row: &usize| {
        let of = TopicPartition {
            source: source.value(*row).into(),
            topic: topic.value(*row).into(),
            incarnation: incarnation.value(*row).into(),
            partition: partition.value(*row),
        };
        wanted.get(&of) == Some(&offset.value(*row))
    };
    let rows = (0..batch.num_rows()).filter(|row| offsets.contains(&offset.value(*row)));
    Some(rows.filter(is_wanted).map(|row| offset.value(row)).collect())
}
