//! Silver rows at a start: loaded from their table, and where they lie in it.

use lake::Table;
use pipeline::decode::PreparedContract;
use pipeline::silver::rows_from_batch;

use super::barrier::{LoadedFile, LoadedTable};
use super::error::RecoverError;
use crate::core::Core;

/// Loads all rows of a table.
pub(super) fn load(
    core: &mut Core,
    table: &Table,
    contract: &PreparedContract,
) -> Result<LoadedTable, RecoverError> {
    let mut files = Vec::new();
    for file in table.files() {
        let mut rows = Vec::new();
        for batch in table.read(&[file.as_ref()], None)? {
            let batch = batch?;
            rows.extend(rows_from_batch(contract, &batch)?);
        }
        let slots = core.load_rows(table.name(), rows)?.into_iter().map(Some).collect();
        files.push(LoadedFile { path: file.path.clone(), slots });
    }
    Ok(LoadedTable { files, ..LoadedTable::default() })
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
