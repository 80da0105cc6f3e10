//! The barrier: silver, gold and state flushed to one epoch.
//!
//! # Guarantees
//! - Nothing is written before bronze holds the epoch.
//! - Every table gets one commit with the epoch and its clock, changed or not; the saved state
//!   is on disk before the first of them.
//! - Only when all have committed is the barrier complete, which bronze's next commit then says.

use lake::keyed::{FrozenRows, RowsError};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::RecordBatch;
use gold::anomalies::anomalies_batch;
use gold::table::{current_batch, history_batch};
use gold::{CellRow, HistoryRow};
use lake::cow::{FileId, Rewrite, SlotFiles};
use lake::state::{KEPT, StateLog};
use lake::{Commit, CommitError, LakeError, StagedFile, Table};
use pipeline::bronze::{CLOCK, EPOCH};
use schemas::{Alert, EpochStamp, Micros};
use tokio::runtime::Handle;

use crate::core::frozen::{BarrierJob, CellsJob, SilverJob};
use crate::run::meters::Meters;
use crate::run::stop::Stop;
use crate::tables::{ANOMALIES, CURRENT, HISTORY, number};

/// Waits between tries while the disk is full or away.
const RETRY: Duration = Duration::from_secs(1);

/// Old data files are looked for this often.
const VACUUM: Duration = Duration::from_secs(30);

/// Rows of one batch handed to a file writer.
const BATCH_ROWS: usize = 16_384;

/// Rows of one data file of a keyed table.
const FILE_ROWS_MAX: usize = 131_072;

/// A file of a keyed table whose rows were loaded into these slots.
#[derive(Debug)]
pub(crate) struct LoadedFile {
    pub(crate) path: String,
    pub(crate) slots: Vec<u32>,
}

/// Writes barriers. Owns the silver and gold tables.
#[derive(Debug)]
pub(crate) struct Flusher {
    tables: BTreeMap<String, KeyedFiles>,
    state: StateLog,
    runtime: Handle,
    stop: Stop,
    meters: Arc<Meters>,
}

#[derive(Debug)]
struct KeyedFiles {
    table: Table,
    paths: BTreeMap<FileId, String>,
    /// Which of them holds which slot.
    slots: SlotFiles,
    /// Versions of the last barriers.
    versions: Vec<i64>,
    vacuumed: Instant,
}

impl Flusher {
    /// A flusher over `tables`; `loaded` names the files whose rows are in memory.
    pub(crate) fn new(
        tables: Vec<Table>,
        mut loaded: BTreeMap<String, Vec<LoadedFile>>,
        state: StateLog,
        runtime: Handle,
        stop: Stop,
        meters: Arc<Meters>,
    ) -> Flusher {
        let keyed = |table: Table| {
            let name = table.name().to_owned();
            let files = loaded.remove(&name).unwrap_or_default();
            (name, KeyedFiles::new(table, files))
        };
        Flusher { tables: tables.into_iter().map(keyed).collect(), state, runtime, stop, meters }
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
            if keyed.versions.len() > KEPT {
                keyed.versions.remove(0);
            }
            let (Some(&keep_from), true) =
                (keyed.versions.first(), keyed.vacuumed.elapsed() > VACUUM)
            else {
                continue;
            };
            if keyed.versions.len() == KEPT {
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
        let parts = job.parts();
        let written = self.retry("state", |this| Ok(this.state.write(job.stamp.id, &parts)?));
        let Some(bytes) = written else { return false };
        tracing::debug!(epoch = job.stamp.id, bytes, "state written");
        drop(parts);
        let BarrierJob { stamp, silver, cells, watch, all_alerts, history, .. } = job;
        let alerts = (all_alerts || watch.has_changed_alerts()).then(|| watch.alerts());
        drop(watch);
        // What was frozen of a table is let go before the next one is written.
        silver.into_iter().all(|job| self.flush_silver(&job, stamp))
            && self.flush_cells(&cells, stamp)
            && self.flush_alerts(alerts.as_deref(), stamp)
            && self.flush_history(&history, stamp)
            && {
                if let Err(error) = self.state.complete(stamp.id) {
                    tracing::warn!("could not delete old state: {error}");
                }
                true
            }
    }

    fn flush_silver(&mut self, job: &SilverJob, stamp: EpochStamp) -> bool {
        let changed = job.changed.iter().map(|&slot| (slot, job.rows.has_row(slot)));
        let live = job.whole.then(|| job.rows.live_slots());
        let Some(plan) = self.plan(&job.table, changed, live) else { return false };
        let batch = |slots: &[u32]| Ok(job.rows.batch(slots)?);
        self.write_keyed(&job.table, &plan, job.whole, stamp, batch)
    }

    fn flush_cells(&mut self, job: &CellsJob, stamp: EpochStamp) -> bool {
        let changed = job.changed.iter().map(|&slot| (slot, job.cells.has_row(slot)));
        let live = job.whole.then(|| job.cells.live_slots());
        let Some(plan) = self.plan(CURRENT, changed, live) else { return false };
        let batch = |slots: &[u32]| {
            let rows: Vec<CellRow> =
                slots.iter().filter_map(|&slot| job.cells.cell_row(slot)).collect();
            Ok(current_batch(&rows)?)
        };
        self.write_keyed(CURRENT, &plan, job.whole, stamp, batch)
    }

    /// What to write of a keyed table: its files with changed slots (`true` where there is a row), or
    /// all `live` ones.
    fn plan(
        &mut self,
        table: &str,
        changed: impl Iterator<Item = (u32, bool)>,
        live: Option<impl Iterator<Item = u32>>,
    ) -> Option<Rewrite> {
        let Some(keyed) = self.tables.get_mut(table) else {
            self.stop.fail(FlushError::NoTable(table.into()).to_string());
            return None;
        };
        let slots = &mut keyed.slots;
        if let Some(live) = live {
            *slots = SlotFiles::new();
            live.for_each(|slot| slots.upsert(slot));
            return Some(slots.plan_full(FILE_ROWS_MAX));
        }
        for (slot, is_live) in changed {
            if is_live { slots.upsert(slot) } else { slots.delete(slot) }
        }
        Some(slots.plan(FILE_ROWS_MAX))
    }

    fn write_keyed(
        &mut self,
        table: &str,
        plan: &Rewrite,
        whole: bool,
        stamp: EpochStamp,
        batch: impl Fn(&[u32]) -> Result<RecordBatch, FlushError>,
    ) -> bool {
        let files = self.retry(table, |this| {
            let table = this.table(table)?;
            let mut files = Vec::new();
            for (_, slots) in &plan.writes {
                let mut writer = table.file_writer(&[])?;
                for slots in slots.chunks(BATCH_ROWS) {
                    writer.write(&batch(slots)?)?;
                }
                files.push(writer.finish()?);
            }
            Ok(files)
        });
        let (Some(files), Some(keyed)) = (files, self.tables.get_mut(table)) else { return false };
        let old = keyed.replace(plan, &files, whole);
        self.commit(table, files, old, stamp)
    }

    /// Alerts are few: when one has changed, all are written again.
    fn flush_alerts(&mut self, alerts: Option<&[Alert]>, stamp: EpochStamp) -> bool {
        let files = self.retry(ANOMALIES, |this| {
            let Some(alerts) = alerts.filter(|alerts| !alerts.is_empty()) else {
                return Ok(Vec::new());
            };
            let mut writer = this.table(ANOMALIES)?.file_writer(&[])?;
            for rows in alerts.chunks(BATCH_ROWS) {
                writer.write(&anomalies_batch(rows)?)?;
            }
            Ok(vec![writer.finish()?])
        });
        let (Some(files), Some(keyed)) = (files, self.tables.get(ANOMALIES)) else { return false };
        let old = if alerts.is_some() { keyed.all_paths() } else { Vec::new() };
        self.commit(ANOMALIES, files, old, stamp)
    }

    fn flush_history(&mut self, rows: &[HistoryRow], stamp: EpochStamp) -> bool {
        let files = self.retry(HISTORY, |this| this.write_history(rows));
        files.is_some_and(|files| self.commit(HISTORY, files, Vec::new(), stamp))
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
}

impl KeyedFiles {
    fn new(table: Table, files: Vec<LoadedFile>) -> KeyedFiles {
        let (mut paths, mut slots) = (BTreeMap::new(), SlotFiles::new());
        for (id, file) in (0_u32..).map(FileId).zip(files) {
            slots.load(id, file.slots);
            paths.insert(id, file.path);
        }
        KeyedFiles { table, paths, slots, versions: Vec::new(), vacuumed: Instant::now() }
    }

    fn all_paths(&self) -> Vec<String> {
        self.table.files().map(|file| file.path.clone()).collect()
    }

    /// Notes the paths of the files that were written, and returns those that they replace.
    fn replace(&mut self, plan: &Rewrite, files: &[StagedFile], whole: bool) -> Vec<String> {
        let old = if whole {
            self.paths.clear();
            self.all_paths()
        } else {
            plan.removes.iter().filter_map(|file| self.paths.remove(file)).collect()
        };
        let written = plan.writes.iter().map(|(file, _)| *file).zip(files);
        self.paths.extend(written.map(|(id, file)| (id, file.path().to_owned())));
        old
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
    Rows(#[from] RowsError),
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
