//! One epoch for all tables: the newest one at which every silver and gold table can be read.
//!
//! # Guarantees
//! - Every table is at a version that holds exactly that epoch, although a barrier may be half committed,
//!   or a crash may have left tables at different ones.

use std::collections::BTreeMap;

use lake::{At, Lake, LakeError, Table};
use pipeline::bronze::{CLOCK, EPOCH};
use schemas::{Micros, chain};

/// Barriers looked at before giving up.
const TRIES: usize = 64;

/// Tables at one epoch.
#[derive(Debug)]
pub(crate) struct Pinned {
    /// The epoch.
    pub(crate) epoch: i64,
    /// Its clock, as the first table tells it.
    pub(crate) clock: Micros,
    /// The tables, by name.
    pub(crate) tables: BTreeMap<String, Table>,
}

/// What was found.
#[derive(Debug)]
pub(crate) enum Pin {
    /// An epoch that all tables hold.
    At(Pinned),
    /// A table that no barrier has reached yet.
    Nothing(String),
}

/// Looks for the newest epoch that all tables of these names hold.
///
/// # Errors
/// Why there is none.
pub(crate) fn pin(lake: &Lake, names: &[String]) -> Result<Pin, String> {
    let mut at_most = i64::MAX;
    let mut damage: Option<String> = None;
    for _ in 0..TRIES {
        let mut tables = BTreeMap::new();
        let mut lowest = at_most;
        let mut unreadable = false;
        for name in names {
            match open(lake, name, at_most) {
                Ok(table) => {
                    let Some(epoch) = table.progress(EPOCH) else {
                        return Ok(Pin::Nothing(name.clone()));
                    };
                    lowest = lowest.min(epoch);
                    tables.insert(name.clone(), table);
                }
                Err(error @ (LakeError::NoTable { .. } | LakeError::NoVersion { .. })) => {
                    return Err(told(&error, damage));
                }
                Err(error) => {
                    unreadable = true;
                    damage.get_or_insert(chain(&error));
                }
            }
        }
        let epoch_of = |table: &Table| table.progress(EPOCH).unwrap_or(0);
        if !unreadable && tables.values().all(|table| epoch_of(table) == lowest) {
            let clock = tables.values().find_map(|table| table.progress(CLOCK)).unwrap_or(0);
            return Ok(Pin::At(Pinned { epoch: lowest, clock: Micros(clock), tables }));
        }
        if lowest == i64::MAX {
            break;
        }
        at_most = if unreadable { lowest - 1 } else { lowest };
    }
    Err(damage.unwrap_or_else(|| "silver and gold tables have no epoch in common".to_owned()))
}

/// The newest version at an epoch not beyond `at_most`. Maintenance keeps a table's epoch, so the
/// newest version of all is looked at first.
pub(super) fn open(lake: &Lake, name: &str, at_most: i64) -> Result<Table, LakeError> {
    let newest = Table::open(lake, name, At::Newest);
    match newest {
        Ok(table) if table.progress(EPOCH).is_none_or(|epoch| epoch <= at_most) => Ok(table),
        Err(error @ LakeError::NoTable { .. }) => Err(error),
        Err(error) if at_most == i64::MAX => Err(error),
        _ => Table::open(lake, name, At::Progress { app: EPOCH.into(), at_most }),
    }
}

fn told(error: &LakeError, damage: Option<String>) -> String {
    damage.map_or_else(|| chain(error), |damage| format!("{damage}; and {}", chain(error)))
}
