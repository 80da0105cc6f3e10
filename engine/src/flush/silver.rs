//! Silver rows at a start: loaded from their table, and where they lie in it.
//!
//! # Guarantees
//! - Rows that are loaded are read and decoded ahead of those that are folded in, at most a few batches, and come in the
//!   order of their files.

use std::sync::mpsc::{SyncSender, sync_channel};

use lake::Table;
use pipeline::decode::PreparedContract;
use pipeline::silver::{SilverRow, rows_from_batch};

use super::barrier::{LoadedFile, LoadedTable};
use super::error::RecoverError;
use crate::core::Core;

/// Batches that are read ahead.
const AHEAD: usize = 4;

/// Rows with the place of their file, or why there are no more.
type Batch = Result<(usize, Vec<SilverRow>), RecoverError>;

/// Loads all rows of a table.
pub(super) fn load(
    core: &mut Core,
    table: &Table,
    contract: &PreparedContract,
) -> Result<LoadedTable, RecoverError> {
    let file = |path: &String| LoadedFile { path: path.clone(), slots: Vec::new() };
    let mut files: Vec<LoadedFile> = table.files().map(|own| file(&own.path)).collect();
    std::thread::scope(|scope| {
        let (sender, batches) = sync_channel(AHEAD);
        scope.spawn(move || read(table, contract, &sender));
        for batch in batches {
            let (at, rows) = batch?;
            let slots = core.load_rows(table.name(), rows)?;
            if let Some(file) = files.get_mut(at) {
                file.slots.extend(slots.into_iter().map(Some));
            }
        }
        Ok::<(), RecoverError>(())
    })?;
    Ok(LoadedTable { files, ..LoadedTable::default() })
}

/// Reads the files of a table, until nobody takes their rows any more.
fn read(table: &Table, contract: &PreparedContract, to: &SyncSender<Batch>) {
    for (at, file) in table.files().enumerate() {
        let batches = match table.read(&[file.as_ref()], None) {
            Ok(batches) => batches,
            Err(error) => return drop(to.send(Err(error.into()))),
        };
        for batch in batches {
            let rows = batch.map_err(RecoverError::from);
            let rows = rows.and_then(|batch| Ok((at, rows_from_batch(contract, &batch)?)));
            let is_last = rows.is_err();
            if to.send(rows).is_err() || is_last {
                return;
            }
        }
    }
}

/// Where the rows in memory lie in a table that stands further than what was loaded: found by key.
pub(super) fn locate(core: &mut Core, table: &Table) -> Result<LoadedTable, RecoverError> {
    let mut located = LoadedTable { live: core.take_located(table.name()), ..Default::default() };
    let Some(contract) = core.silver_contract(table.name()) else { return Ok(located) };
    for file in table.files() {
        let mut slots = Vec::new();
        for batch in table.read(&[file.as_ref()], None)? {
            let batch = batch?;
            for row in rows_from_batch(&contract, &batch)? {
                let found = core.locate(table.name(), &row);
                slots.push(found.map(|(slot, _)| slot));
                located.differing.extend(found.filter(|(_, same)| !same).map(|(slot, _)| slot));
            }
        }
        located.files.push(LoadedFile { path: file.path.clone(), slots });
    }
    Ok(located)
}
