//! What a silver table does not hold: tombstones, what its origins are up to, rows on their way to
//! another key.
//!
//! | part | number | record |
//! |---|---|---|
//! | `silver/<table>` | 0 | all but the tombstones |
//! | `silver/<table>/tombstones` | slot | a key, and when and where it was deleted, or that it came back |
//! | `silver/<table>/runs` | 0 | what the runs with more tombstones are called, oldest first |

use std::sync::Arc;

use lake::run::{Run, RunError};
use schemas::state::{Bytes, SavedError, decode, encode};
use schemas::{Records, Saved, SavedPart, StatePart};

use super::frozen::FrozenTable;
use super::head::{Head, VERSION, head_part};
use super::origins::{Infinite, Origin, Origins};
use super::tombstones::{Dead, Fate, FrozenTombstones, Runs, Tombstones};
use super::{Lacking, TableFold};

/// Why saved state was refused.
#[derive(Debug, thiserror::Error)]
#[error("saved state of table `{table}` is damaged ({problem}); rebuild the table from bronze")]
pub struct StateError {
    table: String,
    problem: String,
}

fn tombstones_part(table: &str) -> String {
    format!("silver/{table}/tombstones")
}

fn runs_part(table: &str) -> String {
    format!("silver/{table}/runs")
}

/// What complete snapshots of the tables of a contract lacked, as a barrier has saved it.
///
/// # Errors
/// When that is not what was saved.
pub fn lacking_in(saved: &Saved, contract: &str) -> Result<Vec<Lacking>, SavedError> {
    let head: Head = saved.head(&head_part(contract))?;
    Ok(head.origins.lacking())
}

/// By origin of a contract with so many columns, those that it has never sent, as a barrier has saved it.
///
/// # Errors
/// When that is not what was saved.
pub fn never_sent_in(
    saved: &Saved,
    contract: &str,
    columns: usize,
) -> Result<Vec<(String, Vec<usize>)>, SavedError> {
    let origins = origins_in(saved, contract)?;
    let never = |(at, own): (u32, &Origin)| {
        (origins.name(at).to_owned(), own.sent.never(columns).collect())
    };
    Ok(origins.iter().map(never).collect())
}

/// By origin of a contract and column, how often an infinity came and was taken as null, as a barrier has saved
/// it.
///
/// # Errors
/// When that is not what was saved.
pub fn infinite_in(saved: &Saved, contract: &str) -> Result<Vec<(String, Infinite)>, SavedError> {
    let origins = origins_in(saved, contract)?;
    let infinite = |(at, own): (u32, &Origin)| (origins.name(at).to_owned(), own.infinite.clone());
    Ok(origins.iter().map(infinite).collect())
}

/// The origins of the table of a contract, as a barrier has saved them.
pub(super) fn origins_in(saved: &Saved, contract: &str) -> Result<Origins, SavedError> {
    let head: Head = saved.head(&head_part(contract))?;
    Ok(Origins::restore(head.origins))
}

impl TableFold {
    /// Takes over what [`FrozenTable::parts`] gave. `open` opens a run by its number.
    ///
    /// # Errors
    /// When a record is not what was saved, or a run cannot be opened; the fold is then unchanged.
    pub fn load_state(
        &mut self,
        saved: &Saved,
        open: &dyn Fn(u64) -> Result<Run, RunError>,
    ) -> Result<(), StateError> {
        let table = self.contract.contract().name.clone();
        let damaged = |problem: String| StateError { table: table.clone(), problem };
        let head: Head = saved.head(&head_part(&table)).map_err(|e| damaged(e.to_string()))?;
        if head.version != VERSION {
            let found = head.version;
            return Err(damaged(format!("version {found}, and this binary reads {VERSION}")));
        }
        let name = tombstones_part(&table);
        let mut dead = Vec::new();
        for (slot, record) in saved.part(&name).into_iter().flat_map(SavedPart::records) {
            let wrong = || damaged(SavedError::Record(name.clone(), slot).to_string());
            let (key, fate): (Bytes<'_>, Fate) = decode(record).ok_or_else(wrong)?;
            dead.push((slot, Dead { key: Arc::from(key.0), fate }));
        }
        let runs: Vec<u64> = saved.head(&runs_part(&table)).map_err(|e| damaged(e.to_string()))?;
        let runs: Result<Vec<Run>, RunError> = runs.into_iter().map(open).collect();
        let runs = runs.and_then(Runs::open).map_err(|e| damaged(e.to_string()))?;
        self.tombstones = Tombstones::restore(dead, runs);
        self.origins = Origins::restore(head.origins);
        self.moved = head.moved;
        self.last_deletes = head.last_deletes;
        self.unplaced = head.unplaced;
        self.ends = head.ends;
        self.counters = head.counters;
        Ok(())
    }
}

impl Records for &FrozenTombstones {
    fn changed(&self) -> Option<&[u32]> {
        self.changed.as_deref()
    }

    fn end(&self) -> u32 {
        u32::try_from(self.recent.len()).unwrap_or(u32::MAX)
    }

    fn write(&self, number: u32, out: &mut Vec<u8>) -> bool {
        let Some(Some(dead)) = self.recent.get(number as usize) else { return false };
        encode(&(Bytes(&dead.key), dead.fate), out);
        true
    }
}

impl FrozenTable {
    /// Everything that the rows of the table do not say. Its runs are on disk by then.
    pub fn parts(&self) -> Vec<StatePart<'_>> {
        let table = &self.contract().contract().name;
        let head = StatePart::head(head_part(table), &self.head);
        let runs = StatePart::head(runs_part(table), &self.runs().numbers());
        vec![head, StatePart::new(tombstones_part(table), &self.tombstones), runs]
    }
}
