//! Compaction of append-only tables: neighbouring small files become one, off the commit path.
//!
//! # Guarantees
//! - Rows stay in their order: files are copied one after the other, and a merge whose rows are not
//!   as many as the log says, or not in the order that it says, is given up.
//! - The table's owner makes the commit, between its own ones; it changes no rows (`dataChange` is
//!   false) and keeps the table's progress.
//! - A merge that is dropped uncommitted leaves no file behind.
//!
//! # Non-guarantees
//! - Tables whose rows are replaced or deleted are not merged here.

mod plan;

use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::{Array, Int64Array, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::DataType;

use crate::data_file::{FileFactory, StagedFile};
use crate::error::{CommitError, LakeError};
use crate::table::{Commit, Table};
use crate::version::DataFile;
pub use plan::{FAN_IN, Piece, TARGET_BYTES, next_merge};

/// Bytes written between two syncs, so that no sync is long.
const STRIDE_BYTES: u64 = 16 << 20;
/// Rows copied between two pauses.
const STRIDE_ROWS: u64 = 65_536;

/// What orders a table, and what limits its merging.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MergeRule {
    /// The column, an integer or an instant, by which files follow each other.
    pub order: &'static str,
    /// The column whose values say whether a file is old enough.
    pub limit: &'static str,
}

/// Looks for files to merge, and merges them; see [`Table::merge_job`].
#[derive(Debug)]
pub struct MergeJob {
    table: Table,
    files: FileFactory,
    rule: MergeRule,
    up_to: i64,
}

/// A merged file that waits for its commit.
#[derive(Debug)]
pub struct Merged {
    file: Option<StagedFile>,
    removes: Vec<String>,
    bytes: u64,
}

/// What is to be merged.
#[derive(Debug, Clone)]
pub struct Merge {
    files: Vec<Arc<DataFile>>,
}

impl Merge {
    /// The number of files.
    pub fn files(&self) -> usize {
        self.files.len()
    }

    /// Their bytes.
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.size).sum()
    }

    /// Their rows.
    pub fn rows(&self) -> u64 {
        self.files.iter().map(|file| file.live_rows()).sum()
    }
}

impl Table {
    /// A job over this version that merges files without rows beyond `up_to`.
    pub fn merge_job(&self, rule: MergeRule, up_to: i64) -> Result<MergeJob, LakeError> {
        Ok(MergeJob { table: self.pinned(), files: self.files_factory()?, rule, up_to })
    }
}

impl MergeJob {
    /// What is to be merged next, if anything.
    pub fn planned(&self) -> Option<Merge> {
        let mut files: Vec<(Piece, &Arc<DataFile>)> = Vec::new();
        for file in self.table.files() {
            let span = file.range_i64(self.rule.order)?;
            let newest = file.range_i64(self.rule.limit)?.1;
            let partition = file.partition.clone();
            files.push((Piece { bytes: file.size, span, newest, partition }, file));
        }
        files.sort_by(|(a, x), (b, y)| (a.span, &x.path).cmp(&(b.span, &y.path)));
        let pieces: Vec<Piece> = files.iter().map(|(piece, _)| piece.clone()).collect();
        let found = files.get(next_merge(&pieces, self.up_to)?)?;
        Some(Merge { files: found.iter().map(|(_, file)| Arc::clone(file)).collect() })
    }

    /// Merges the next files. `pause` is told how long each stride took, and whether to go on is its
    /// answer. `None` when there is nothing to merge, or it said no. Blocking.
    pub fn run(self, pause: &mut dyn FnMut(Duration) -> bool) -> Result<Option<Merged>, LakeError> {
        match self.planned() {
            Some(merge) => self.merge(&merge, pause),
            None => Ok(None),
        }
    }

    fn merge(
        &self,
        merge: &Merge,
        pause: &mut dyn FnMut(Duration) -> bool,
    ) -> Result<Option<Merged>, LakeError> {
        let Some(first) = merge.files.first() else { return Ok(None) };
        let values = first.partition.iter();
        let partition: Vec<(String, String)> =
            values.filter_map(|(name, value)| Some((name.clone(), value.clone()?))).collect();
        let mut writer = self.files.file_writer(&partition)?;
        let schema = self.table.file_schema();
        let columns: Vec<&str> =
            schema.fields().iter().map(|field| field.name().as_str()).collect();
        let files: Vec<&DataFile> = merge.files.iter().map(AsRef::as_ref).collect();
        let (mut reached, mut synced, mut rested) = (i64::MIN, 0, 0);
        let mut begun = Instant::now();
        for batch in self.table.read(&files, Some(&columns))? {
            let batch = batch?;
            reached = self.ordered(&batch, reached)?;
            writer.write(&batch)?;
            let is_long = writer.bytes() >= synced + STRIDE_BYTES;
            if is_long {
                writer.flush()?;
                synced = writer.bytes();
            }
            if is_long || writer.rows() >= rested + STRIDE_ROWS {
                rested = writer.rows();
                if !pause(begun.elapsed()) {
                    return Ok(None);
                }
                begun = Instant::now();
            }
        }
        if writer.rows() != merge.rows() {
            return Err(self.disorder(format!(
                "{} rows were read of files that hold {} by the log",
                writer.rows(),
                merge.rows()
            )));
        }
        let removes = merge.files.iter().map(|file| file.path.clone()).collect();
        Ok(Some(Merged { file: Some(writer.finish()?), removes, bytes: merge.bytes() }))
    }

    /// The last value of the ordering column, which must not fall.
    fn ordered(&self, batch: &RecordBatch, reached: i64) -> Result<i64, LakeError> {
        let column = batch.column_by_name(self.rule.order);
        let column = column.ok_or_else(|| self.disorder("a column is missing".to_owned()))?;
        let fault = LakeError::engine("read", self.table.name());
        let numbers = cast(column, &DataType::Int64).map_err(fault)?;
        let numbers = numbers.as_any().downcast_ref::<Int64Array>();
        let mut reached = reached;
        for value in numbers.into_iter().flatten() {
            let value = value.unwrap_or(i64::MIN);
            if value < reached {
                let order = self.rule.order;
                return Err(self.disorder(format!("{order} falls from {reached} to {value}")));
            }
            reached = value;
        }
        Ok(reached)
    }

    fn disorder(&self, detail: String) -> LakeError {
        let place = self.table.name().to_owned();
        let detail = format!("{detail}; the files are left as they are, run `weir verify --deep`");
        LakeError::Engine { action: "merge files of", place, detail }
    }
}

impl Merged {
    /// The commit that exchanges the files.
    fn commit(&self) -> Commit {
        Commit {
            adds: self.file.iter().cloned().collect(),
            removes: self.removes.clone(),
            operation: "OPTIMIZE",
            ..Commit::default()
        }
    }

    /// The number of files that it replaces, and their bytes.
    pub fn replaced(&self) -> (usize, u64) {
        (self.removes.len(), self.bytes)
    }

    /// Makes the commit. When it is not made the file is deleted, unless its entry may be there.
    pub async fn commit_to(mut self, table: &mut Table) -> Result<i64, CommitError> {
        let done = table.commit(&self.commit()).await;
        if !matches!(done, Err(CommitError::Store { .. })) {
            self.file = None;
        }
        done
    }
}

impl Drop for Merged {
    fn drop(&mut self) {
        if let Some(file) = self.file.take() {
            file.discard();
        }
    }
}

#[cfg(test)]
mod tests;
