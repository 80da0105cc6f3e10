//! Replays of bronze: epochs that were cut before, folded again.
//!
//! # Guarantees
//! - Runs of deleted keys go to disk on the way, so that memory does not hold those of the whole replay.

use lake::state::StateLog;
use lake::{LakeError, Table};
use pipeline::bronze::{self, EpochRecords, Held};
use pipeline::silver::{FrozenRuns, RunsError};
use schemas::EpochStamp;

use crate::core::Core;

/// Epochs of bronze folded between two looks at the runs of deleted keys.
pub(super) const RUNS_EVERY: u64 = 64;

/// Folds what bronze holds after the core's last epoch.
pub(super) fn replay_bronze(
    core: &mut Core,
    bronze: &Table,
    held: &Held,
    log: &mut StateLog,
) -> Result<(), LakeError> {
    let from = core.last().map_or(0, |stamp| stamp.id);
    if held.epoch <= from {
        return Ok(());
    }
    let mut epochs = 0_u64;
    for epoch in bronze::replay(bronze, from, held.epoch)? {
        let epoch = epoch?;
        core.replay(epoch);
        epochs += 1;
        if epochs.is_multiple_of(RUNS_EVERY) {
            write_runs(core, log);
        }
    }
    if core.last().is_none_or(|last| last.id < held.epoch) {
        let tick = EpochStamp { id: held.epoch, clock: held.clock, quiet: false };
        core.replay(EpochRecords::tick(tick));
    }
    tracing::info!(epochs, from, to = held.epoch, "replayed bronze");
    Ok(())
}

/// Puts the runs of deleted keys on disk, which memory would hold until the first barrier.
pub(super) fn write_runs(core: &mut Core, log: &mut StateLog) {
    let runs = core.runs();
    let written = log.need_runs(runs.iter().flat_map(FrozenRuns::iter));
    let written = written.map_err(RunsError::from);
    let merged = written.and_then(|_| runs.iter().try_for_each(|runs| runs.merge(log)));
    if let Err(error) = merged {
        tracing::warn!("could not write runs of deleted keys, they wait in memory: {error}");
    }
}
