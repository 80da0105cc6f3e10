//! Rows of Parquet, a batch at a time.

use std::collections::VecDeque;
use std::fs::File;
use std::io;

use ::parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};

use super::{Row, Rows, encode};

/// Rows that are taken from a file at once.
const BATCH_ROWS: usize = 1024;

pub(super) struct ParquetRows {
    batches: Option<ParquetRecordBatchReader>,
    ready: VecDeque<Row>,
}

impl ParquetRows {
    /// The rows from row `skip` on. A file that is no Parquet has one, which says so.
    pub(super) fn new(file: File, skip: u64) -> ParquetRows {
        let skip = usize::try_from(skip).unwrap_or(usize::MAX);
        let opened = ParquetRecordBatchReaderBuilder::try_new(file)
            .and_then(|builder| builder.with_batch_size(BATCH_ROWS).with_offset(skip).build());
        match opened {
            Ok(batches) => ParquetRows { batches: Some(batches), ready: VecDeque::new() },
            Err(error) => {
                let wrong = Row::wrong("", format!("the file is no Parquet: {error}"));
                let ready = (skip == 0).then_some(wrong).into_iter().collect();
                ParquetRows { batches: None, ready }
            }
        }
    }
}

impl Rows for ParquetRows {
    fn next(&mut self) -> io::Result<Option<Row>> {
        while self.ready.is_empty() {
            let Some(batch) = self.batches.as_mut().and_then(Iterator::next) else { break };
            match batch.and_then(|batch| encode::rows(&batch)) {
                Ok(rows) => {
                    let row = |value| Row { value, ..Row::default() };
                    self.ready.extend(rows.into_iter().map(row));
                }
                Err(error) => {
                    self.batches = None;
                    let reason = format!("the file cannot be read behind this row: {error}");
                    self.ready.push_back(Row::wrong("", reason));
                }
            }
        }
        Ok(self.ready.pop_front())
    }
}
