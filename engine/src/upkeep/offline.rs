//! Upkeep of a lake that nothing runs on: at the end of a batch, and by command.
//!
//! # Guarantees
//! - What the last three barriers need stays, as while running.
//! - A plan touches nothing.

use lake::compact::MergeJob;
use lake::{At, Lake, LakeError, Severity, Table, Vacuumed};
use schemas::Micros;
use tokio::runtime::Handle;

use super::{BARRIERS_KEPT, Upkeep, barriers_of, merge_rule};
use crate::run::Stop;

/// Which upkeep to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chores {
    /// Merge small files.
    pub compact: bool,
    /// Delete what is not needed: data files, log entries, checkpoints.
    pub vacuum: bool,
}

/// What was done to one table, or is to be done.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Done {
    /// The table.
    pub table: String,
    /// Files that were merged, and files that they became.
    pub merged: (usize, usize),
    /// Data files that were deleted.
    pub vacuumed: Vacuumed,
    /// Log entries and checkpoints that were deleted; not known of a plan.
    pub log_files: usize,
}

/// The oldest barrier to keep: its version, and its epoch.
fn oldest_kept(table: &Table) -> Result<(i64, i64), LakeError> {
    let barriers = table.versions_of(barriers_of(table.name()), BARRIERS_KEPT)?;
    let known = barriers.len() == BARRIERS_KEPT;
    let oldest = barriers.last().copied().unwrap_or((0, i64::MIN));
    Ok(if known { oldest } else { (oldest.0, i64::MIN) })
}

/// What [`tend`] would do first of all. More may follow from it.
///
/// # Errors
/// When the table cannot be read.
pub fn plan(
    table: &mut Table,
    upkeep: &Upkeep,
    chores: Chores,
    now: Micros,
) -> Result<Done, LakeError> {
    let (version_from, up_to) = oldest_kept(table)?;
    let mut done = Done { table: table.name().to_owned(), ..Done::default() };
    if chores.compact
        && let Some(rule) = merge_rule(table.name())
        && let Some(merge) = table.merge_job(rule, up_to)?.planned()
    {
        done.merged = (merge.files(), 1);
    }
    if chores.vacuum {
        done.vacuumed = table.vacuum_job(upkeep.vacuum_before(now), version_from)?.preview()?;
    }
    Ok(done)
}

/// Does the upkeep of one table until none is due, or the run is to stop.
///
/// # Errors
/// When files cannot be read, written or deleted, or a commit fails.
pub fn tend(
    table: &mut Table,
    upkeep: &Upkeep,
    chores: Chores,
    now: Micros,
    runtime: &Handle,
    stop: &Stop,
) -> Result<Done, LakeError> {
    let (version_from, up_to) = oldest_kept(table)?;
    let mut done = Done { table: table.name().to_owned(), ..Done::default() };
    if let Some(rule) = merge_rule(table.name()).filter(|_| chores.compact) {
        let mut may_go_on = |_| !stop.is_asked();
        let next = |table: &Table| table.merge_job(rule, up_to);
        while let Some(merged) = MergeJob::run(next(table)?, &mut may_go_on)? {
            done.merged.0 += merged.replaced().0;
            done.merged.1 += 1;
            runtime.block_on(merged.commit_to(table)).map_err(Box::new)?;
        }
    }
    if chores.vacuum {
        let keep = upkeep.log_keep(now, version_from);
        done.log_files = match table.checkpoint_due() {
            true => table.checkpoint().run_and_clean(&keep)?.1,
            false => table.clean_log(&keep)?,
        };
        done.vacuumed = table.vacuum(upkeep.vacuum_before(now), version_from)?;
    }
    Ok(done)
}

/// Does the upkeep of every table at the end of a batch. What fails is said and left for the next one.
pub(crate) fn end_of_batch(
    lake: &Lake,
    upkeep: &Upkeep,
    now: Micros,
    runtime: &Handle,
    stop: &Stop,
) {
    let chores = Chores { compact: upkeep.compact, vacuum: true };
    let names = lake.table_names().unwrap_or_default();
    for name in names.iter().filter(|_| !stop.is_asked()) {
        let opened = runtime.block_on(Table::open_as_is(lake, name));
        let done =
            opened.and_then(|mut table| tend(&mut table, upkeep, chores, now, runtime, stop));
        match done {
            Ok(done) => tracing::debug!(?done, "tended"),
            Err(error) => {
                tracing::warn!("upkeep of {name} failed: {}", schemas::chain(&error));
            }
        }
    }
}

/// Whether a table reads, to the last byte, and what is wrong with it; what `repair` goes by.
///
/// # Errors
/// When the table is damaged beyond what opening it for writing repairs.
pub fn look(lake: &Lake, name: &str) -> Result<Vec<String>, LakeError> {
    let table = Table::open(lake, name, At::Newest)?;
    let findings = table.verify(true)?;
    match findings.into_iter().find(|found| found.severity == Severity::Error) {
        Some(found) => Err(LakeError::Damaged {
            table: name.to_owned(),
            file: found.file.into(),
            detail: found.message,
            advice: "`weir tables repair --yes` gives it up where bronze can build it again",
        }),
        None => Ok(table.warnings().to_vec()),
    }
}
