//! The barrier: silver, gold and state flushed to one epoch.
//!
//! # Guarantees
//! - Nothing is written before bronze holds the epoch.
//! - Every table gets one commit with the epoch and its clock, changed or not; the saved state
//!   is on disk before the first of them.
//! - Only when all have committed is the barrier complete, which bronze's next commit then says.

use std::collections::BTreeMap;
use std::sync::Arc;

use gold::HistoryRow;
use gold::table::history_batch;
use lake::keyed::{Deletes, FrozenRows, IDLE_AFTER, KeyedError, KeyedTable};
use lake::state::StateLog;
use lake::{Commit, CommitError, Lake, LakeError, StagedFile, Table};
use pipeline::bronze::{CLOCK, EPOCH};
use pipeline::silver::FrozenRuns;
use schemas::EpochStamp;
use tokio::runtime::Handle;

use crate::core::frozen::{BarrierJob, SilverJob, ViewJob};
use crate::run::insist::Insist;
use crate::run::meters::Meters;
use crate::run::stop::Stop;
use crate::tables::{ANOMALIES, CURRENT, HISTORY, number};

/// Rows of one batch handed to a file writer.
const BATCH_ROWS: usize = 16_384;

/// Which rows of a table are in memory, and where they lie.
#[derive(Debug, Default)]
pub(crate) struct LoadedTable {
    pub(crate) files: Vec<LoadedFile>,
    /// Slots whose rows differ from those in the files.
    pub(crate) differing: Vec<u32>,
    /// All slots with a row, where some of them may be in no file.
    pub(crate) live: Vec<u32>,
}

/// A file of a keyed table: for each of its rows, the slot in memory.
#[derive(Debug)]
pub(crate) struct LoadedFile {
    pub(crate) path: String,
    pub(crate) slots: Vec<Option<u32>>,
}

/// Writes barriers. Owns the silver and gold tables.
#[derive(Debug)]
pub(crate) struct Flusher {
    tables: BTreeMap<String, KeyedTable>,
    state: StateLog,
    runtime: Handle,
    stop: Stop,
    meters: Arc<Meters>,
    /// What the definitions in force are, until it is beside the tables.
    metrics: Option<(Lake, String)>,
}

/// The file that says what the definitions in force are.
const METRICS: &str = "_metrics.json";

impl Flusher {
    /// A flusher over `tables`; `loaded` says what of them is in memory. `silver` is how rows leave the
    /// files of silver tables.
    ///
    /// # Errors
    /// When what was loaded is not what a table holds.
    pub(crate) fn new(
        tables: Vec<Table>,
        mut loaded: BTreeMap<String, LoadedTable>,
        silver: Deletes,
        state: StateLog,
        runtime: Handle,
        stop: Stop,
        meters: Arc<Meters>,
    ) -> Result<Flusher, LakeError> {
        let mut keyed = BTreeMap::new();
        for table in tables {
            let name = table.name().to_owned();
            let deletes = if name.starts_with("silver/") { silver } else { Deletes::Rewrite };
            let loaded = loaded.remove(&name).unwrap_or_default();
            keyed.insert(name, keyed_table(table, deletes, loaded)?);
        }
        Ok(Flusher { tables: keyed, state, runtime, stop, meters, metrics: None })
    }

    /// Puts this text beside the tables of gold: at once, where they are written under these definitions
    /// already, or with the next complete barrier.
    pub(crate) fn with_metrics(mut self, lake: Lake, text: String, at_once: bool) -> Flusher {
        let put = at_once.then(|| lake.put_beside("gold", METRICS, &text));
        if let Some(Err(error)) = &put {
            tracing::warn!("could not write gold/{METRICS}, the next barrier does: {error}");
        }
        self.metrics = (!matches!(put, Some(Ok(_)))).then_some((lake, text));
        self
    }

    /// The tables, for upkeep between barriers.
    pub(crate) fn tables_mut(&mut self) -> impl Iterator<Item = &mut Table> {
        self.tables.values_mut().map(KeyedTable::table_mut)
    }

    /// Merges small and worn files of keyed tables, bounded by what has changed.
    pub(crate) fn compact(&mut self) {
        for (name, keyed) in &mut self.tables {
            if let Err(error) = self.runtime.block_on(keyed.compact(IDLE_AFTER)) {
                tracing::warn!("could not merge files of {name}, and tries again: {error}");
            }
        }
    }

    /// Writes one barrier, trying again while the disk refuses. Returns whether it is complete: not
    /// when the run failed or is to stop while the disk still refuses.
    pub(crate) fn flush(&mut self, job: BarrierJob) -> bool {
        let runs = job.runs();
        let named = self.retry("runs of deleted keys", |this| {
            Ok(this.state.need_runs(runs.iter().flat_map(FrozenRuns::iter))?)
        });
        if named.is_none() {
            return false;
        }
        let parts = job.parts();
        let written = self.retry("state", |this| Ok(this.state.write(job.stamp.id, &parts)?));
        let Some(bytes) = written else { return false };
        tracing::debug!(epoch = job.stamp.id, bytes, "state written");
        drop(parts);
        let BarrierJob { stamp, silver, cells, views, watch, all_alerts, history, .. } = job;
        let (alerts, changed) = watch.alerts();
        if !self.flush_keyed(ANOMALIES, &alerts, changed, all_alerts, stamp) {
            return false;
        }
        drop(watch);
        // What was frozen of a table is let go before the next one is written. When current values are at an epoch,
        // so are the rows of views.
        views.into_iter().all(|ViewJob { whole, rows }| {
            self.flush_keyed(&rows.table, &rows, &rows.changed, whole, stamp)
        }) && silver.into_iter().all(|SilverJob { table, whole, changed, rows }| {
            self.flush_keyed(&table, &rows, &changed, whole, stamp)
        }) && self.flush_keyed(CURRENT, &cells.cells, &cells.changed, cells.whole, stamp)
            && self.flush_history(&history, stamp)
            && {
                if let Err(error) = self.state.complete(stamp.id) {
                    tracing::warn!("could not delete old state: {error}");
                }
                self.merge_runs(&runs);
                self.put_metrics()
            }
    }

    /// Puts beside the tables what the definitions are that they were written under.
    fn put_metrics(&mut self) -> bool {
        let Some((lake, text)) = self.metrics.take() else { return true };
        let put = self.retry(METRICS, |_| Ok(lake.put_beside("gold", METRICS, &text)?));
        put.is_some()
    }

    /// Keeps the runs of deleted keys few. The barrier after the next takes what was made.
    fn merge_runs(&mut self, runs: &[FrozenRuns]) {
        for runs in runs {
            if let Err(error) = runs.merge(&mut self.state) {
                tracing::warn!("could not merge runs of deleted keys, and tries again: {error}");
            }
        }
    }

    /// Brings one table to what was frozen: `changed` slots, or all of them.
    fn flush_keyed(
        &mut self,
        table: &str,
        rows: &dyn FrozenRows,
        changed: &[u32],
        whole: bool,
        stamp: EpochStamp,
    ) -> bool {
        let Some(keyed) = self.tables.get_mut(table) else {
            self.stop.fail(FlushError::NoTable(table.into()).to_string());
            return false;
        };
        let plan = keyed.plan(rows, changed, whole);
        let staged = self.retry(table, |this| Ok(this.table(table)?.stage(&plan, rows)?));
        let Some(staged) = staged else { return false };
        let runtime = self.runtime.clone();
        let done = self.retry(table, |this| {
            let keyed = this.table_mut(table)?;
            if plan.is_empty() && keyed.table().progress(EPOCH).unwrap_or(0) >= number(stamp.id) {
                return Ok(());
            }
            runtime.block_on(keyed.commit(&plan, &staged, progress(stamp)))?;
            Ok(())
        });
        done.is_some()
    }

    fn flush_history(&mut self, rows: &[HistoryRow], stamp: EpochStamp) -> bool {
        let files = self.retry(HISTORY, |this| this.write_history(rows));
        let Some(adds) = files else { return false };
        let progress = progress(stamp);
        let commit = Commit { adds, progress, operation: "WRITE", ..Commit::default() };
        let runtime = self.runtime.clone();
        let done = self.retry(HISTORY, |this| {
            let table = this.table_mut(HISTORY)?.table_mut();
            let held = table.progress(EPOCH).unwrap_or(0);
            if held < number(stamp.id) || !commit.adds.is_empty() {
                runtime.block_on(table.commit(&commit))?;
            }
            Ok(())
        });
        done.is_some()
    }

    /// Rows that the table already has, because it stood further than the recovery point, are left
    /// out: what orders history is `as_of`.
    fn write_history(&mut self, rows: &[HistoryRow]) -> Result<Vec<StagedFile>, FlushError> {
        let table = self.table(HISTORY)?.table();
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

    /// Runs `step` until it succeeds. `None` when it can never, or the run is to stop.
    fn retry<T>(
        &mut self,
        what: &str,
        mut step: impl FnMut(&mut Flusher) -> Result<T, FlushError>,
    ) -> Option<T> {
        let (meters, stop) = (Arc::clone(&self.meters), self.stop.clone());
        let meanwhile = "silver and gold stand still meanwhile";
        let insist =
            Insist { trouble: "flush", meanwhile, troubles: &meters.troubles, stop: &stop };
        let step = || step(self).map_err(|error| Unflushed { what: what.to_owned(), error });
        match insist.on(step, |unflushed| unflushed.error.is_retryable()) {
            Ok(value) => return Some(value),
            Err(unflushed) if unflushed.error.is_retryable() => {}
            Err(unflushed) => stop.fail(unflushed.to_string()),
        }
        None
    }

    fn table(&self, name: &str) -> Result<&KeyedTable, FlushError> {
        self.tables.get(name).ok_or_else(|| FlushError::NoTable(name.into()))
    }

    fn table_mut(&mut self, name: &str) -> Result<&mut KeyedTable, FlushError> {
        self.tables.get_mut(name).ok_or_else(|| FlushError::NoTable(name.into()))
    }
}

fn keyed_table(
    table: Table,
    deletes: Deletes,
    loaded: LoadedTable,
) -> Result<KeyedTable, LakeError> {
    let mut keyed = KeyedTable::new(table, deletes);
    for LoadedFile { path, slots } in loaded.files {
        keyed.load(&path, &slots)?;
    }
    loaded.differing.into_iter().for_each(|slot| keyed.touch(slot));
    keyed.touch_missing(loaded.live.into_iter());
    Ok(keyed)
}

fn progress(stamp: EpochStamp) -> Vec<(String, i64)> {
    vec![(EPOCH.into(), number(stamp.id)), (CLOCK.into(), stamp.clock.0)]
}

#[derive(Debug, thiserror::Error)]
#[error("could not flush {what}: {error}")]
struct Unflushed {
    what: String,
    error: FlushError,
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
    Keyed(#[from] KeyedError),
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
            FlushError::Keyed(error) => error.is_retryable(),
            FlushError::NoTable(_) | FlushError::Arrow(_) => false,
        }
    }
}
