//! Tables of views at a start: where the rows in memory lie in them.
//!
//! # Guarantees
//! - Rows are found by what they hold, in the newest version of the table, whatever epoch that is of: what is
//!   as it should be is not written again.
//! - A table that cannot be read, or has other columns, is written whole.

use gold::Locator;
use lake::Table;
use pipeline::bronze::EPOCH;
use schemas::{EpochId, chain};

use super::barrier::{LoadedFile, LoadedTable};
use crate::core::Core;
use crate::tables::number;

/// The error of a file.
type Problem = Box<dyn std::error::Error + Send + Sync>;

/// Finds the rows in memory in the table of a view. `flushed` is the last complete barrier.
pub(super) fn locate(core: &mut Core, table: &Table, flushed: EpochId) -> Option<LoadedTable> {
    let name = table.name();
    if table.is_outdated() {
        core.write_whole(name);
        return None;
    }
    let located = match core.locate_view(name).map(|locator| found(locator, table))? {
        Ok(located) => located,
        Err(error) => {
            tracing::warn!("{name} cannot be read and is written again: {}", chain(&*error));
            core.write_whole(name);
            return None;
        }
    };
    let slots = || located.files.iter().flat_map(|file| &file.slots);
    let there = slots().flatten().count();
    let differs = slots().any(Option::is_none) || there != located.live.len();
    // Rows of epochs behind the barrier are brought there by the next one in any case.
    let is_news = differs && core.last().is_none_or(|last| last.id <= flushed);
    if is_news || table.progress(EPOCH).unwrap_or(0) != number(flushed) {
        core.is_left_behind(name);
    }
    Some(located)
}

fn found(mut locator: Locator<'_>, table: &Table) -> Result<LoadedTable, Problem> {
    let mut located = LoadedTable { live: locator.live(), ..LoadedTable::default() };
    for file in table.files() {
        let mut slots = Vec::new();
        for batch in table.read(&[file.as_ref()], None)? {
            slots.extend(locator.slots(&batch?)?);
        }
        located.files.push(LoadedFile { path: file.path.clone(), slots });
    }
    Ok(located)
}
