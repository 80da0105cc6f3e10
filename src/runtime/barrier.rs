//! The barrier: silver, gold and state flushed to one epoch.
//!
//! # Guarantees
//! - Nothing is written before bronze holds the epoch.
//! - Every table gets one commit with the epoch and its clock, changed or not; the state file is on
//!   disk before the first of them.
//! - Only when all have committed is the barrier complete, which bronze's next commit then says.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use gold::anomalies::anomalies_batch;
use gold::table::{current_batch, history_batch};
use gold::{CellRow, HistoryRow};
use lake::cow::FileId;
use lake::{Commit, CommitError, LakeError, StagedFile, Table};
use pipeline::bronze::{CLOCK, EPOCH};
use pipeline::decode::PreparedContract;
use pipeline::silver::{RowBatchError, SilverRow, row_batch};
use pipeline::state::StateFiles;
use schemas::{Alert, EpochId, EpochStamp, Micros};
use tokio::runtime::Handle;

use super::core::number;
use super::meters::Meters;
use super::stop::Stop;
use super::tables::HISTORY;

/// Waits between tries while the disk is full or away.
const RETRY: Duration = Duration::from_secs(1);

/// Old data files are looked for this often.
const VACUUM: Duration = Duration::from_secs(30);

/// State files kept besides the newest: recovery may start at the barrier before it.
const STATES_KEPT: usize = 3;

/// Rows of one batch handed to a file writer.
const BATCH_ROWS: usize = 16_384;

/// What one barrier writes.
#[derive(Debug)]
pub(crate) struct BarrierJob {
    pub(crate) stamp: EpochStamp,
    pub(crate) rewrites: Vec<Rewrite>,
    pub(crate) history: Vec<HistoryRow>,
    pub(crate) state: Vec<(String, Vec<u8>)>,
}

/// The new files of a keyed table and those they replace.
#[derive(Debug)]
pub(crate) struct Rewrite {
    pub(crate) table: String,
    /// Replaces all files that the table has.
    pub(crate) whole: bool,
    pub(crate) removes: Vec<FileId>,
    pub(crate) writes: Vec<FileId>,
    pub(crate) rows: Rows,
}

/// The rows of each file to write.
#[derive(Debug)]
pub(crate) enum Rows {
    Silver { contract: Arc<PreparedContract>, files: Vec<Vec<SilverRow>> },
    Cells(Vec<Vec<CellRow>>),
    Alerts(Vec<Vec<Alert>>),
}

/// Writes barriers. Owns the silver and gold tables.
#[derive(Debug)]
pub(crate) struct Flusher {
    tables: BTreeMap<String, KeyedFiles>,
    state: StateFiles,
    states: Vec<EpochId>,
    runtime: Handle,
    stop: Stop,
    meters: Arc<Meters>,
}

#[derive(Debug)]
struct KeyedFiles {
    table: Table,
    paths: BTreeMap<FileId, String>,
    /// Versions of the last barriers.
    versions: Vec<i64>,
    vacuumed: Instant,
}

impl Flusher {
    /// A flusher over `tables`; `paths` says which file is which number for the tables that the core
    /// loaded.
    pub(crate) fn new(
        tables: Vec<Table>,
        mut paths: BTreeMap<String, BTreeMap<FileId, String>>,
        state_folder: &Path,
        runtime: Handle,
        stop: Stop,
        meters: Arc<Meters>,
    ) -> Flusher {
        let keyed = |table: Table| {
            let paths = paths.remove(table.name()).unwrap_or_default();
            let name = table.name().to_owned();
            (name, KeyedFiles { table, paths, versions: Vec::new(), vacuumed: Instant::now() })
        };
        Flusher {
            tables: tables.into_iter().map(keyed).collect(),
            state: StateFiles::new(state_folder),
            states: Vec::new(),
            runtime,
            stop,
            meters,
        }
    }

    /// Checkpoints and vacuum, between barriers. Data files are kept while the last barriers of this
    /// run may be recovered to.
    pub(crate) fn maintain(&mut self, vacuum_after: Duration, now: Micros) {
        let age = i64::try_from(vacuum_after.as_micros()).unwrap_or(i64::MAX);
        for keyed in self.tables.values_mut() {
            let version = keyed.table.version();
            keyed.versions.push(version);
            if keyed.table.checkpoint_due() {
                let job = keyed.table.checkpoint();
                if let Err(error) = job.run() {
                    tracing::warn!("could not write a checkpoint: {error}");
                }
            }
            if keyed.versions.len() > STATES_KEPT {
                keyed.versions.remove(0);
            }
            let (Some(&keep_from), true) =
                (keyed.versions.first(), keyed.vacuumed.elapsed() > VACUUM)
            else {
                continue;
            };
            if keyed.versions.len() == STATES_KEPT {
                keyed.vacuumed = Instant::now();
                if let Err(error) = keyed.table.vacuum(now.plus(-age), keep_from) {
                    tracing::warn!("could not delete old files: {error}");
                }
            }
        }
    }

    /// Writes one barrier, trying again while the disk refuses. Returns whether it is complete: not
    /// when the run failed or is to stop while the disk still refuses.
    pub(crate) fn flush(&mut self, job: BarrierJob) -> bool {
        let BarrierJob { stamp, rewrites, history, state } = job;
        if self.retry("state", |this| Ok(this.state.write(stamp.id, &state)?)).is_none() {
            return false;
        }
        drop(state);
        // Each table's rows are freed before the next one is written.
        for rewrite in rewrites {
            let files = self.retry(&rewrite.table, |this| this.write_keyed(&rewrite));
            let Some(files) = files else { return false };
            if !self.commit_keyed(&rewrite, files, stamp) {
                return false;
            }
        }
        let Some(files) = self.retry(HISTORY, |this| this.write_history(&history)) else {
            return false;
        };
        if !self.commit(HISTORY, files, Vec::new(), stamp) {
            return false;
        }
        self.drop_old_states(stamp.id);
        true
    }

    fn write_keyed(&mut self, rewrite: &Rewrite) -> Result<Vec<StagedFile>, FlushError> {
        let table = self.table(&rewrite.table)?;
        let mut files = Vec::new();
        match &rewrite.rows {
            Rows::Silver { contract, files: rows } => {
                for rows in rows {
                    let mut writer = table.file_writer(&[])?;
                    for rows in rows.chunks(BATCH_ROWS) {
                        writer.write(&row_batch(contract, rows)?)?;
                    }
                    files.push(writer.finish()?);
                }
            }
            Rows::Alerts(alerts) => {
                for rows in alerts {
                    let mut writer = table.file_writer(&[])?;
                    for rows in rows.chunks(BATCH_ROWS) {
                        writer.write(&anomalies_batch(rows)?)?;
                    }
                    files.push(writer.finish()?);
                }
            }
            Rows::Cells(cells) => {
                for rows in cells {
                    let mut writer = table.file_writer(&[])?;
                    for rows in rows.chunks(BATCH_ROWS) {
                        writer.write(&current_batch(rows)?)?;
                    }
                    files.push(writer.finish()?);
                }
            }
        }
        Ok(files)
    }

    /// Rows that the table already has, because it stood further than the recovery point, are left
    /// out: what orders history is `as_of`.
    fn write_history(&mut self, rows: &[HistoryRow]) -> Result<Vec<StagedFile>, FlushError> {
        let table = self.table(HISTORY)?;
        let written = table.progress(CLOCK).unwrap_or(i64::MIN);
        let is_new = |row: &&HistoryRow| row.as_of.0 > written;
        if !rows.iter().any(|row| is_new(&row)) {
            return Ok(Vec::new());
        }
        let mut writer = table.file_writer(&[])?;
        for rows in rows.chunks(BATCH_ROWS) {
            let rows: Vec<HistoryRow> = rows.iter().filter(is_new).cloned().collect();
            if !rows.is_empty() {
                writer.write(&history_batch(&rows)?)?;
            }
        }
        Ok(vec![writer.finish()?])
    }

    fn commit_keyed(
        &mut self,
        rewrite: &Rewrite,
        files: Vec<StagedFile>,
        stamp: EpochStamp,
    ) -> bool {
        let Some(keyed) = self.tables.get_mut(&rewrite.table) else { return false };
        let old = if rewrite.whole {
            keyed.paths.clear();
            keyed.table.files().map(|file| file.path.clone()).collect()
        } else {
            rewrite.removes.iter().filter_map(|file| keyed.paths.remove(file)).collect()
        };
        for (id, file) in rewrite.writes.iter().zip(&files) {
            keyed.paths.insert(*id, file.path().to_owned());
        }
        self.commit(&rewrite.table, files, old, stamp)
    }

    fn commit(
        &mut self,
        table: &str,
        adds: Vec<StagedFile>,
        removes: Vec<String>,
        stamp: EpochStamp,
    ) -> bool {
        let progress = vec![(EPOCH.into(), number(stamp.id)), (CLOCK.into(), stamp.clock.0)];
        let commit = Commit { adds, removes, progress, operation: "WRITE", ..Commit::default() };
        let runtime = self.runtime.clone();
        let done = self.retry(table, |this| {
            let table = this.table_mut(table)?;
            let held = table.progress(EPOCH).unwrap_or(0);
            if held >= number(stamp.id) && commit.adds.is_empty() && commit.removes.is_empty() {
                return Ok(());
            }
            runtime.block_on(table.commit(&commit))?;
            Ok(())
        });
        done.is_some()
    }

    /// Runs `step` until it succeeds. `None` when it can never, or the run is to stop.
    fn retry<T>(
        &mut self,
        what: &str,
        mut step: impl FnMut(&mut Flusher) -> Result<T, FlushError>,
    ) -> Option<T> {
        let mut said = false;
        loop {
            let error = match step(self) {
                Ok(value) => {
                    if said {
                        self.meters.troubles.clear("flush");
                    }
                    return Some(value);
                }
                Err(error) => error,
            };
            if !error.is_retryable() {
                self.stop.fail(format!("could not flush {what}: {error}"));
                return None;
            }
            if !said {
                self.meters.troubles.set("flush", &format!("could not flush {what}: {error}"));
                tracing::warn!("could not flush {what}: {error}; trying again every second");
                said = true;
            }
            if self.stop.is_asked() {
                return None;
            }
            std::thread::sleep(RETRY);
        }
    }

    fn table(&self, name: &str) -> Result<&Table, FlushError> {
        let keyed = self.tables.get(name);
        keyed.map(|keyed| &keyed.table).ok_or_else(|| FlushError::NoTable(name.into()))
    }

    fn table_mut(&mut self, name: &str) -> Result<&mut Table, FlushError> {
        let keyed = self.tables.get_mut(name);
        keyed.map(|keyed| &mut keyed.table).ok_or_else(|| FlushError::NoTable(name.into()))
    }

    fn drop_old_states(&mut self, newest: EpochId) {
        self.states.push(newest);
        if self.states.len() > STATES_KEPT
            && let Some(oldest) = self.states.len().checked_sub(STATES_KEPT)
        {
            self.states.drain(..oldest);
            let keep_from = self.states.first().copied().unwrap_or(newest);
            if let Err(error) = self.state.drop_before(keep_from) {
                tracing::warn!("could not delete old state files: {error}");
            }
        }
    }
}

#[derive(Debug, thiserror::Error)]
enum FlushError {
    #[error("there is no table `{0}`")]
    NoTable(String),
    #[error(transparent)]
    Lake(#[from] LakeError),
    #[error(transparent)]
    Commit(#[from] CommitError),
    #[error(transparent)]
    Rows(#[from] RowBatchError),
    #[error(transparent)]
    Arrow(#[from] arrow::error::ArrowError),
    #[error(transparent)]
    State(#[from] std::io::Error),
}

impl FlushError {
    fn is_retryable(&self) -> bool {
        match self {
            FlushError::Lake(_) | FlushError::State(_) => true,
            FlushError::Commit(error) => matches!(error, CommitError::Store { .. }),
            FlushError::NoTable(_) | FlushError::Arrow(_) | FlushError::Rows(_) => false,
        }
    }
}
