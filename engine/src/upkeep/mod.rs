//! Upkeep of tables beside their commits: checkpoints, clean logs, vacuum, and merging of small files.
//!
//! # Guarantees
//! - What touches many files or bytes is done by one thread of low priority behind a bounded queue. A
//!   table's owner only says what is due, and makes the commit of a merge between its own commits.
//! - What the last three barriers need stays: R, the one before it, and one that is being written.
//!
//! # Non-guarantees
//! - Upkeep that fails is said and tried again; it ends no run.

pub mod backup;
pub mod offline;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::{Duration, Instant};

use lake::compact::{MergeJob, MergeRule, Merged};
use lake::{CheckpointJob, CommitError, LOG_ENTRIES_MAX, LakeError, LogKeep, Table, VacuumJob};
use pipeline::bronze;
use schemas::Micros;
use tokio::runtime::Handle;

use crate::run::Meters;
use crate::tables;

/// Barriers whose versions stay readable.
const BARRIERS_KEPT: usize = 3;
/// Old data files are looked for this often.
const VACUUM: Duration = Duration::from_secs(30);
/// Commits after which small files are looked for again.
const COMMITS_BETWEEN_MERGES: i64 = 8;
/// Pieces of upkeep that may wait for the thread.
pub(crate) const QUEUE: usize = 4;
/// The longest rest between two strides of a merge.
const REST: Duration = Duration::from_secs(1);

/// How much of the past is kept, and whether small files are merged.
#[derive(Debug, Clone, Copy)]
pub struct Upkeep {
    /// How long replaced data files are kept.
    pub vacuum_after: Duration,
    /// How long log entries are kept.
    pub log_retention: Duration,
    /// Whether small files are merged.
    pub compact: bool,
}

impl Upkeep {
    fn ago(span: Duration, now: Micros) -> Micros {
        now.plus(-i64::try_from(span.as_micros()).unwrap_or(i64::MAX))
    }

    /// What is kept of a log whose versions from `version_from` on are needed.
    pub(crate) fn log_keep(&self, now: Micros, version_from: i64) -> LogKeep {
        let since = Upkeep::ago(self.log_retention, now);
        LogKeep { since, entries: LOG_ENTRIES_MAX, version_from }
    }

    /// Files that were replaced before this may go.
    pub(crate) fn vacuum_before(&self, now: Micros) -> Micros {
        Upkeep::ago(self.vacuum_after, now)
    }
}

/// How the files of a table are merged; `None` for tables whose rows are replaced.
pub(crate) fn merge_rule(table: &str) -> Option<MergeRule> {
    match table {
        bronze::TABLE => Some(MergeRule { order: "epoch", limit: "epoch" }),
        tables::HISTORY => Some(MergeRule { order: "as_of", limit: "epoch" }),
        tables::AUDIT => Some(MergeRule { order: "epoch", limit: "epoch" }),
        _ => None,
    }
}

/// The progress whose values are a table's barriers.
pub(crate) fn barriers_of(table: &str) -> &'static str {
    if table == bronze::TABLE { bronze::FLUSHED } else { bronze::EPOCH }
}

/// A piece of upkeep for the thread.
#[derive(Debug)]
pub(crate) enum Task {
    Checkpoint(Box<CheckpointJob>, LogKeep),
    Vacuum(String, VacuumJob),
    Merge(Box<MergeJob>, SyncSender<Option<Merged>>),
}

/// Does upkeep until nobody can ask for any more. `may_go_on` is asked within every second or so.
pub(crate) fn work(tasks: &Receiver<Task>, meters: &Meters, may_go_on: &dyn Fn() -> bool) {
    while let Ok(task) = tasks.recv() {
        let done = match task {
            Task::Checkpoint(job, keep) => job.run_and_clean(&keep).map(drop),
            Task::Vacuum(table, job) => vacuum(&table, job, meters),
            Task::Merge(job, reply) => {
                let merged = job.run(&mut |took| {
                    std::thread::sleep(took.min(REST));
                    may_go_on()
                });
                let (merged, done) = match merged {
                    Ok(merged) => (merged, Ok(())),
                    Err(error) => (None, Err(error)),
                };
                // Without its owner a merge is worth nothing, and leaves nothing.
                drop(reply.send(merged));
                done
            }
        };
        if let Err(error) = done {
            tracing::warn!("upkeep failed and is tried again: {}", schemas::chain(&error));
        }
    }
}

fn vacuum(table: &str, job: VacuumJob, meters: &Meters) -> Result<(), LakeError> {
    let entries = job.log_entries()?;
    let vacuumed = job.run()?;
    if vacuumed.files > 0 {
        tracing::debug!(table, files = vacuumed.files, bytes = vacuumed.bytes, "vacuumed");
    }
    if let Some(debt) = meters.debt.lock().get_mut(table) {
        debt.log_entries = u64::try_from(entries).unwrap_or(u64::MAX);
    }
    Ok(())
}

/// Decides what is due for one table; for the table's owner.
#[derive(Debug)]
pub(crate) struct Keeper {
    upkeep: Upkeep,
    rule: Option<MergeRule>,
    tasks: SyncSender<Task>,
    meters: Arc<Meters>,
    /// The last barriers, the oldest first: epoch, and the version that the table had then.
    barriers: VecDeque<(i64, i64)>,
    vacuumed: Option<Instant>,
    /// The version at which small files were looked for last.
    looked: i64,
    merging: Option<Receiver<Option<Merged>>>,
    /// What the queue had no room for.
    waiting: Option<Task>,
}

impl Keeper {
    pub(crate) fn new(
        table: &Table,
        upkeep: Upkeep,
        tasks: SyncSender<Task>,
        meters: Arc<Meters>,
    ) -> Keeper {
        let barriers = table.versions_of(barriers_of(table.name()), BARRIERS_KEPT);
        let barriers = barriers.unwrap_or_else(|error| {
            tracing::warn!("upkeep waits for three barriers: {error}");
            Vec::new()
        });
        Keeper {
            upkeep,
            rule: merge_rule(table.name()).filter(|_| upkeep.compact),
            tasks,
            meters,
            barriers: barriers.into_iter().rev().map(|(version, epoch)| (epoch, version)).collect(),
            vacuumed: None,
            looked: i64::MIN,
            merging: None,
            waiting: None,
        }
    }

    /// Notes that the table, as it is now, belongs to a barrier.
    pub(crate) fn barrier(&mut self, table: &Table, epoch: i64) {
        if self.barriers.back().is_some_and(|(last, _)| *last >= epoch) {
            return;
        }
        self.barriers.push_back((epoch, table.version()));
        while self.barriers.len() > BARRIERS_KEPT {
            self.barriers.pop_front();
        }
    }

    /// Commits a merge that is ready and hands on what is due.
    pub(crate) fn tend(&mut self, table: &mut Table, now: Micros, runtime: &Handle) {
        self.take_merge(table, runtime);
        if let Some(task) = self.waiting.take() {
            self.hand_on(task);
        }
        let oldest = self.barriers.front().copied();
        let Some((epoch, version_from)) = oldest.filter(|_| self.waiting.is_none()) else { return };
        if self.barriers.len() < BARRIERS_KEPT {
            return;
        }
        if table.checkpoint_due() {
            let keep = self.upkeep.log_keep(now, version_from);
            return self.hand_on(Task::Checkpoint(Box::new(table.checkpoint()), keep));
        }
        if self.vacuumed.is_none_or(|at| at.elapsed() > VACUUM) {
            self.vacuumed = Some(Instant::now());
            self.count(table);
            match table.vacuum_job(self.upkeep.vacuum_before(now), version_from) {
                Ok(job) => return self.hand_on(Task::Vacuum(table.name().to_owned(), job)),
                Err(error) => tracing::warn!("could not look for old files: {error}"),
            }
        }
        self.start_merge(table, epoch);
    }

    fn start_merge(&mut self, table: &Table, up_to: i64) {
        let due = table.version() >= self.looked.saturating_add(COMMITS_BETWEEN_MERGES);
        let Some(rule) = self.rule.filter(|_| due && self.merging.is_none()) else { return };
        self.looked = table.version();
        match table.merge_job(rule, up_to) {
            Ok(job) => {
                let (reply, merged) = sync_channel(1);
                self.merging = Some(merged);
                self.hand_on(Task::Merge(Box::new(job), reply));
            }
            Err(error) => tracing::warn!("could not look for small files: {error}"),
        }
    }

    fn take_merge(&mut self, table: &mut Table, runtime: &Handle) {
        let Some(done) = self.merging.as_ref().and_then(|merging| merging.try_recv().ok()) else {
            return;
        };
        self.merging = None;
        let Some(merged) = done else { return };
        let (files, bytes) = merged.replaced();
        match runtime.block_on(merged.commit_to(table)) {
            Ok(version) => {
                // There may be more to merge.
                self.looked = i64::MIN;
                tracing::debug!(table = table.name(), files, bytes, version, "merged small files");
            }
            Err(error @ CommitError::Store { .. }) => {
                tracing::warn!("merged files were not committed, and are merged again: {error}");
            }
            // The next commit of the owner meets what this one met, and decides.
            Err(error) => tracing::error!("merged files were not committed: {error}"),
        }
    }

    fn hand_on(&mut self, task: Task) {
        if let Err(TrySendError::Full(task)) = self.tasks.try_send(task) {
            self.waiting = Some(task);
        }
    }

    fn count(&self, table: &Table) {
        let (replaced_files, replaced_bytes) = table.replaced();
        let mut debts = self.meters.debt.lock();
        let debt = debts.entry(table.name().to_owned()).or_default();
        debt.files = table.files().count() as u64;
        debt.bytes = table.byte_count();
        debt.dead_rows = table.files().map(|file| file.rows - file.live_rows()).sum();
        (debt.replaced_files, debt.replaced_bytes) = (replaced_files as u64, replaced_bytes);
    }
}

/// The keepers of tables with one owner.
#[derive(Debug)]
pub(crate) struct Keepers {
    upkeep: Upkeep,
    tasks: SyncSender<Task>,
    meters: Arc<Meters>,
    keepers: BTreeMap<String, Keeper>,
}

impl Keepers {
    pub(crate) fn new(upkeep: Upkeep, tasks: SyncSender<Task>, meters: Arc<Meters>) -> Keepers {
        Keepers { upkeep, tasks, meters, keepers: BTreeMap::new() }
    }

    /// Whether small files are merged.
    pub(crate) fn compacts(&self) -> bool {
        self.upkeep.compact
    }

    /// What is to be done for a table after a barrier.
    pub(crate) fn after_barrier(
        &mut self,
        table: &mut Table,
        epoch: i64,
        now: Micros,
        runtime: &Handle,
    ) {
        let Keepers { upkeep, tasks, meters, keepers } = self;
        let keeper = keepers
            .entry(table.name().to_owned())
            .or_insert_with(|| Keeper::new(table, *upkeep, tasks.clone(), Arc::clone(meters)));
        keeper.barrier(table, epoch);
        keeper.tend(table, now, runtime);
    }
}
