//! Decisions found in bronze, without reading the other records.
//!
//! # Guarantees
//! - They come in the order in which they took effect: by epoch, then by offset.

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::Int64Type;
use lake::{DataFile, LakeError, Table};
use schemas::{CONTROL, ControlRecord, EpochId, EpochStamp};

use super::replay::{replay_files, unreadable};
use crate::source::is_control;

/// What says whether a row is a decision, and when it took effect.
const COORDINATES: [&str; 2] = ["source", "epoch"];

/// The decisions of the epochs `after < epoch <= up_to`, each with the stamp of its epoch.
///
/// # Errors
/// When the table's files cannot be read.
pub fn decisions(
    table: &Table,
    after: EpochId,
    up_to: EpochId,
) -> Result<Vec<(EpochStamp, ControlRecord)>, LakeError> {
    let number = |epoch: EpochId| i64::try_from(epoch).unwrap_or(i64::MAX);
    let range = number(after.saturating_add(1))..=number(up_to);
    let mut found: Vec<(EpochStamp, i64, ControlRecord)> = Vec::new();
    for file in table.files() {
        let mut epochs: Option<(i64, i64)> = None;
        for batch in
            table.read_range(&[file.as_ref()], Some(&COORDINATES), "epoch", range.clone())?
        {
            for epoch in of_control(&batch?).ok_or_else(unreadable)? {
                let (first, last) = epochs.unwrap_or((epoch, epoch));
                epochs = Some((first.min(epoch), last.max(epoch)));
            }
        }
        if let Some((first, last)) = epochs {
            read(table, file, (first, last), &mut found)?;
        }
    }
    found.sort_by_key(|(stamp, offset, _)| (stamp.id, *offset));
    Ok(found.into_iter().map(|(stamp, _, record)| (stamp, record)).collect())
}

/// The epochs of the rows that are control records; `None` when a column is of another type.
fn of_control(batch: &RecordBatch) -> Option<Vec<i64>> {
    let source = batch.column_by_name("source")?.as_string_opt::<i32>()?;
    let epoch = batch.column_by_name("epoch")?.as_primitive_opt::<Int64Type>()?;
    let rows = (0..batch.num_rows()).filter(|row| source.value(*row) == CONTROL);
    Some(rows.map(|row| epoch.value(row)).collect())
}

fn read(
    table: &Table,
    file: &DataFile,
    (first, last): (i64, i64),
    found: &mut Vec<(EpochStamp, i64, ControlRecord)>,
) -> Result<(), LakeError> {
    for epoch in replay_files(table, &[file], first..=last)? {
        let epoch = epoch?;
        for batch in epoch.batches.iter().filter(|batch| is_control(batch.topic())) {
            for record in batch.iter() {
                // What is no decision is a dead letter.
                let decision = record.value.and_then(|value| ControlRecord::parse(value).ok());
                found.extend(decision.map(|decision| (epoch.stamp, record.offset, decision)));
            }
        }
    }
    Ok(())
}
