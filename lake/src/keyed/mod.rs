//! Keyed tables: one row for each live key, brought up to date by what changed.
//!
//! Rows are known by slot numbers that the caller gives. A changed or deleted row leaves a dead row in
//! its file. Either the file's deletion vector marks it ([`Deletes::Mark`]), or the file is written
//! again without it ([`Deletes::Rewrite`]). Where each slot's row lies is in memory only.
//!
//! # Guarantees
//! - After [`KeyedTable::commit`] the table holds exactly the rows of the live slots, each once, and a
//!   flush writes what changed: with vectors, its rows, and the vectors of the files they were in.
//! - [`KeyedTable::compact`] changes no row and no progress. Files under [`Deletes::Mark`] stay few, and
//!   a row is written again at most about nine times for each time that it changes.
//! - What to write is decided without IO.
//!
//! # Non-guarantees
//! - [`KeyedTable::plan`] runs ahead of the table: a plan must be staged and committed, as often as it
//!   takes, before the next one.

mod compaction;
mod locations;
mod plan;

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, Instant};

use arrow::record_batch::RecordBatch;
use roaring::RoaringBitmap;

use crate::data_file::StagedFile;
use crate::error::{CommitError, LakeError};
use crate::table::{Commit, Mark, Table};

pub use compaction::Compacted;
use compaction::{Pick, pick};
use locations::Locations;
pub use locations::{Cluster, FileId};
pub use plan::FilePlan;
use plan::Rules;

/// Rows of one data file: so a vector is at most 16 KiB.
pub const FILE_ROWS_MAX: usize = 131_072;
/// Rows of one data file of running rows, which is rewritten at nearly every flush.
const RUNNING_ROWS_MAX: usize = 8_192;
/// Rows of one batch handed to a file writer.
const BATCH_ROWS: usize = 16_384;
/// Rows that a round of compaction may always write, and for each row changed since the last one.
const ROUND_ROWS: usize = FILE_ROWS_MAX;
const ROUND_ROWS_PER_CHANGE: usize = 8;
/// A table without a change for this long gets rid of its vectors.
pub const IDLE_AFTER: Duration = Duration::from_secs(15 * 60);

/// Any error of the caller's rows.
pub type RowsError = Box<dyn std::error::Error + Send + Sync>;

/// The rows of a keyed state as they were at one epoch, by slot.
pub trait FrozenRows: Send + fmt::Debug {
    /// Whether there is a row in a slot.
    fn has_row(&self, slot: u32) -> bool;

    /// The slots that hold a row, ascending.
    fn live_slots(&self) -> Box<dyn Iterator<Item = u32> + '_>;

    /// Which rows the one in `slot` is kept with, where files are rewritten.
    fn cluster(&self, slot: u32) -> Cluster {
        let _ = slot;
        Cluster::Settled
    }

    /// Slots whose rows will never change again: they stay in the table, in a file of their own that
    /// only `whole` replaces, and the slots are free for other rows afterwards.
    fn lasting(&self) -> &[u32] {
        &[]
    }

    /// The rows of these slots, in order, with the columns of the table. Each slot holds a row.
    ///
    /// # Errors
    /// When they cannot be made into columns.
    fn batch(&self, slots: &[u32]) -> Result<RecordBatch, RowsError>;
}

/// How rows leave a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deletes {
    /// Copy-on-write: the file is written again without them. Plain Delta.
    Rewrite,
    /// A deletion vector names them.
    Mark,
}

/// What could not be written of a keyed table.
#[derive(Debug, thiserror::Error)]
pub enum KeyedError {
    /// A file.
    #[error(transparent)]
    Lake(#[from] LakeError),
    /// The commit.
    #[error(transparent)]
    Commit(#[from] CommitError),
    /// The caller's rows.
    #[error("rows cannot be written: {0}")]
    Rows(RowsError),
}

impl KeyedError {
    /// Whether the same step may succeed later: the disk refused.
    pub fn is_retryable(&self) -> bool {
        match self {
            KeyedError::Lake(_) => true,
            KeyedError::Commit(error) => matches!(error, CommitError::Store { .. }),
            KeyedError::Rows(_) => false,
        }
    }
}

/// The durable files and vectors of a plan.
#[derive(Debug)]
pub struct Staged {
    files: Vec<StagedFile>,
    marks: Vec<Mark>,
}

/// A table, and which of its files holds which slot.
pub struct KeyedTable {
    table: Table,
    deletes: Deletes,
    paths: BTreeMap<FileId, String>,
    locations: Locations,
    changed_at: Instant,
    /// Rows changed since the last round of compaction.
    changed: usize,
}

impl fmt::Debug for KeyedTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("KeyedTable");
        out.field("table", &self.table).field("deletes", &self.deletes).finish_non_exhaustive()
    }
}

impl KeyedTable {
    /// A keyed table over `table`, none of whose files is known yet.
    pub fn new(table: Table, deletes: Deletes) -> KeyedTable {
        KeyedTable {
            table,
            deletes,
            paths: BTreeMap::new(),
            locations: Locations::default(),
            changed_at: Instant::now(),
            changed: 0,
        }
    }

    /// The table.
    pub fn table(&self) -> &Table {
        &self.table
    }

    /// The table, for commits of other rows than those of slots.
    pub fn table_mut(&mut self) -> &mut Table {
        &mut self.table
    }

    /// Rows of live slots.
    pub fn live(&self) -> usize {
        self.locations.live()
    }

    /// Notes where the rows of a live file belong: for each row that is not gone, in order, its slot;
    /// `None` if no slot holds that row any more.
    ///
    /// # Errors
    /// When the table has no such file, or it has another number of rows.
    pub fn load(&mut self, path: &str, slots: &[Option<u32>]) -> Result<(), LakeError> {
        let wrong = |detail: String| LakeError::Schema {
            table: self.table.name().to_owned(),
            detail: format!("{path} {detail}"),
        };
        let file = self.table.file(path).ok_or_else(|| wrong("is not live".to_owned()))?;
        let (rows, live) = (file.rows, file.live_rows());
        if u64::try_from(slots.len()) != Ok(live) {
            return Err(wrong(format!("has {live} rows, {} were loaded", slots.len())));
        }
        let gone = self.table.gone(file)?;
        let rows = u32::try_from(rows).map_err(|error| wrong(error.to_string()))?;
        let id = self.locations.load(rows, gone, slots);
        self.paths.insert(id, path.to_owned());
        Ok(())
    }

    /// The row in `slot` is not the one that was loaded: the next flush writes it.
    pub fn touch(&mut self, slot: u32) {
        self.locations.upsert(slot);
    }

    /// Every slot of `live` for which no row was loaded is written by the next flush.
    pub fn touch_missing(&mut self, live: impl Iterator<Item = u32>) {
        let missing: Vec<u32> = live.filter(|slot| !self.locations.is_known(*slot)).collect();
        missing.into_iter().for_each(|slot| self.locations.upsert(slot));
    }

    /// Decides what to write so that the table holds `rows`. `changed` are the slots that changed since
    /// the last plan; `whole` replaces every file of the table.
    pub fn plan(&mut self, rows: &dyn FrozenRows, changed: &[u32], whole: bool) -> FilePlan {
        if whole {
            self.locations = Locations::default();
            self.paths.clear();
            rows.live_slots().for_each(|slot| self.locations.upsert(slot));
        } else {
            for &slot in changed {
                if rows.has_row(slot) {
                    self.locations.upsert(slot);
                } else {
                    self.locations.delete(slot);
                }
            }
        }
        let lasting = rows.lasting().iter().copied().filter(|slot| rows.has_row(*slot));
        let lasting: Vec<u32> = lasting.inspect(|slot| self.locations.delete(*slot)).collect();
        let mut plan = self.locations.plan(&Rules {
            deletes: self.deletes,
            cluster: &|slot| match self.deletes {
                Deletes::Rewrite => rows.cluster(slot),
                Deletes::Mark => Cluster::Settled,
            },
            file_rows_max: &|cluster| match cluster {
                Cluster::Settled => FILE_ROWS_MAX,
                Cluster::Running => RUNNING_ROWS_MAX,
            },
        });
        (plan.whole, plan.lasting) = (whole, lasting);
        if !plan.is_empty() {
            self.changed += plan.rows();
            self.changed_at = Instant::now();
        }
        plan
    }

    /// Writes the files and vectors of a plan. May be tried again.
    ///
    /// # Errors
    /// When the disk refuses, or the rows do not fit the table. Nothing is left behind then.
    pub fn stage(&self, plan: &FilePlan, rows: &dyn FrozenRows) -> Result<Staged, KeyedError> {
        let mut files = Unclaimed(Vec::with_capacity(plan.writes.len()));
        let lasting = Some(&plan.lasting).filter(|slots| !slots.is_empty());
        for slots in plan.writes.iter().map(|(_, slots)| slots).chain(lasting) {
            files.0.push(self.write_file(slots, rows)?);
        }
        let marks = self.stage_marks(plan)?;
        Ok(Staged { files: files.claim(), marks })
    }

    fn write_file(&self, slots: &[u32], rows: &dyn FrozenRows) -> Result<StagedFile, KeyedError> {
        let mut writer = self.table.file_writer(&[])?;
        for slots in slots.chunks(BATCH_ROWS) {
            writer.write(&rows.batch(slots).map_err(KeyedError::Rows)?)?;
        }
        Ok(writer.finish()?)
    }

    fn stage_marks(&self, plan: &FilePlan) -> Result<Vec<Mark>, LakeError> {
        let path = |id: &FileId| self.paths.get(id).cloned();
        let marks = plan.marks.iter().filter_map(|(id, gone)| Some((path(id)?, gone.clone())));
        let marks: Vec<(String, RoaringBitmap)> = marks.collect();
        if marks.is_empty() { Ok(Vec::new()) } else { self.table.stage_marks(&marks) }
    }

    /// Commits a staged plan together with progress. After [`CommitError::Store`] it may be tried again.
    ///
    /// # Errors
    /// As [`Table::commit`].
    pub async fn commit(
        &mut self,
        plan: &FilePlan,
        staged: &Staged,
        progress: Vec<(String, i64)>,
    ) -> Result<i64, CommitError> {
        let removes = if plan.whole {
            self.table.files().map(|file| file.path.clone()).collect()
        } else {
            plan.removes.iter().filter_map(|id| self.paths.get(id)).cloned().collect()
        };
        let commit = Commit {
            adds: staged.files.clone(),
            removes,
            marks: staged.marks.clone(),
            deletion_vectors: Some(self.deletes == Deletes::Mark),
            progress,
            operation: "WRITE",
            ..Commit::default()
        };
        let version = self.table.commit(&commit).await?;
        for id in &plan.removes {
            self.paths.remove(id);
        }
        let written = plan.writes.iter().map(|(id, _)| *id).zip(&staged.files);
        self.paths.extend(written.map(|(id, file)| (id, file.path().to_owned())));
        Ok(version)
    }

    /// One round of compaction: merges small files, writes files anew of which much is gone, and, when
    /// nothing has changed for `idle_after`, those with a vector. What it writes is bounded by what has
    /// changed since the last round. Call it between a commit and the next plan.
    ///
    /// # Errors
    /// When a file cannot be read or written, or the commit fails.
    pub async fn compact(&mut self, idle_after: Duration) -> Result<Compacted, KeyedError> {
        let mut done = Compacted::default();
        if self.deletes == Deletes::Rewrite || !self.locations.is_settled() {
            return Ok(done);
        }
        let changed = std::mem::take(&mut self.changed).saturating_mul(ROUND_ROWS_PER_CHANGE);
        let is_idle = self.changed_at.elapsed() >= idle_after;
        let mut budget = ROUND_ROWS.max(changed);
        loop {
            let shapes = self.locations.shapes();
            let Some(Pick { files, rows }) = pick(&shapes, FILE_ROWS_MAX, budget, is_idle) else {
                return Ok(done);
            };
            self.merge(&files).await?;
            done.files += files.len();
            done.rows += rows;
            budget = budget.saturating_sub(rows.max(1));
        }
    }

    async fn merge(&mut self, sources: &[FileId]) -> Result<(), KeyedError> {
        let removes = sources.iter().filter_map(|id| self.paths.get(id)).cloned();
        let removes: Vec<String> = removes.collect();
        let adds = self.copy(&removes)?;
        let commit =
            Commit { adds: adds.0.clone(), removes, operation: "OPTIMIZE", ..Commit::default() };
        match self.table.commit(&commit).await {
            Ok(_) => adds.claim(),
            Err(error @ CommitError::Store { .. }) => return Err(error.into()),
            Err(error) => {
                // What became of the commit is not known: its files may be live.
                adds.claim();
                return Err(error.into());
            }
        };
        let written = self.locations.moved(sources, commit.adds.iter().map(StagedFile::rows));
        for id in sources {
            self.paths.remove(id);
        }
        let adds = commit.adds.iter().map(|file| file.path().to_owned());
        self.paths.extend(written.into_iter().zip(adds));
        Ok(())
    }

    /// The rows of live files, one after the other, in new files.
    fn copy(&self, paths: &[String]) -> Result<Unclaimed, KeyedError> {
        let files = paths.iter().filter_map(|path| self.table.file(path));
        let files: Vec<_> = files.map(AsRef::as_ref).collect();
        let mut copies = Unclaimed(Vec::new());
        let mut writer = None;
        for batch in self.table.read(&files, None)? {
            let mut rest = batch?;
            while rest.num_rows() > 0 {
                let mut open = match writer.take() {
                    Some(open) => open,
                    None => self.table.file_writer(&[])?,
                };
                let held = usize::try_from(open.rows()).unwrap_or(FILE_ROWS_MAX);
                let fits = FILE_ROWS_MAX.saturating_sub(held).min(rest.num_rows());
                open.write(&rest.slice(0, fits))?;
                rest = rest.slice(fits, rest.num_rows() - fits);
                if held + fits < FILE_ROWS_MAX {
                    writer = Some(open);
                } else {
                    copies.0.push(open.finish()?);
                }
            }
        }
        if let Some(open) = writer {
            copies.0.push(open.finish()?);
        }
        Ok(copies)
    }
}

/// Written files that are deleted unless a commit claims them.
struct Unclaimed(Vec<StagedFile>);

impl Unclaimed {
    fn claim(mut self) -> Vec<StagedFile> {
        std::mem::take(&mut self.0)
    }
}

impl Drop for Unclaimed {
    fn drop(&mut self) {
        self.0.drain(..).for_each(StagedFile::discard);
    }
}

#[cfg(test)]
mod tests;
