//! Backups: a copy of a lake at one barrier, taken while it runs, and the way back.
//!
//! # Guarantees
//! - Silver and gold are copied at the barrier that the copied bronze says is complete, so the copy
//!   opens at once, and goes on from there.
//! - A lake whose first barrier is still to come is waited for, and never copied without its tables.
//! - A copy that was not finished is no lake, and may be begun again.
//!
//! # Non-guarantees
//! - The ledger stays behind: a restored lake begins a new stream generation.

use std::path::Path;
use std::time::{Duration, Instant};

use lake::{At, Copied, Lake, LakeError, Severity, Table};
use pipeline::bronze::{self, EPOCH};
use schemas::{EpochId, chain};

use crate::tables::number;

/// How long tables may take to stand at one barrier.
const WAIT: Duration = Duration::from_secs(60);
/// Between tries.
const RETRY: Duration = Duration::from_millis(100);
/// Copies begun before giving up, when vacuum deletes what is being copied.
const TRIES: usize = 3;

/// What was copied.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Backup {
    /// The barrier.
    pub epoch: EpochId,
    /// Tables.
    pub tables: usize,
    /// Files.
    pub files: usize,
    /// Their bytes.
    pub bytes: u64,
}

impl Backup {
    fn add(&mut self, copied: Copied) {
        self.files += copied.files;
        self.bytes += copied.bytes;
    }
}

/// Copies the lake into `to`, which holds no lake.
///
/// # Errors
/// Why there is no copy.
pub fn export(lake: &Lake, to: &Path) -> Result<Backup, String> {
    refuse_lake(to)?;
    let mut tries = 0;
    loop {
        tries += 1;
        let (epoch, tables) = at_one_barrier(lake)?;
        match copy(lake, &tables, to) {
            Ok(backup) => return Ok(Backup { epoch, ..backup }),
            Err(error) if tries == TRIES => return Err(chain(&error)),
            Err(error) => tracing::warn!("the copy is begun again: {}", chain(&error)),
        }
    }
}

/// Copies the lake in `from`, which nothing writes, into `to`, which holds none, after a look at every
/// byte.
///
/// # Errors
/// Why nothing was restored.
pub fn restore(from: &Path, to: &Path) -> Result<Backup, String> {
    refuse_lake(to)?;
    let lake = Lake::open_reader(from).map_err(|e| chain(&e))?;
    let names = lake.table_names().map_err(|e| chain(&e))?;
    let mut tables = Vec::new();
    for name in &names {
        let table = Table::open(&lake, name, At::Newest).map_err(|e| chain(&e))?;
        let findings = table.verify(true).map_err(|e| chain(&e))?;
        if let Some(found) = findings.iter().find(|found| found.severity == Severity::Error) {
            return Err(format!("{name}: {} {}", found.file, found.message));
        }
        tables.push(table);
    }
    let bronze = tables.iter().find(|table| table.name() == bronze::TABLE);
    let epoch = bronze.map_or(0, |table| bronze::held(table).flushed);
    let backup = copy(&lake, &tables, to).map_err(|e| chain(&e))?;
    Ok(Backup { epoch, ..backup })
}

fn refuse_lake(folder: &Path) -> Result<(), String> {
    match Lake::open_reader(folder) {
        Err(LakeError::NoLake { .. }) => Ok(()),
        _ => Err(format!(
            "there is a lake in `{}` already: name another folder, or move it away",
            folder.display()
        )),
    }
}

fn copy(lake: &Lake, tables: &[Table], to: &Path) -> Result<Backup, LakeError> {
    let mut backup = Backup { tables: tables.len(), ..Backup::default() };
    // State files live the shortest.
    backup.add(lake.copy_state_to(to)?);
    for table in tables {
        backup.add(table.copy_to(to)?);
    }
    lake.finish_copy(to)?;
    Ok(backup)
}

/// Bronze, and every other table at the barrier that it says is complete.
fn at_one_barrier(lake: &Lake) -> Result<(EpochId, Vec<Table>), String> {
    let begun = Instant::now();
    loop {
        let bronze = Table::open(lake, bronze::TABLE, At::Newest).map_err(|e| chain(&e))?;
        let flushed = bronze::held(&bronze).flushed;
        match others_at(lake, flushed) {
            Ok(mut tables) => {
                tables.push(bronze);
                return Ok((flushed, tables));
            }
            Err(reason) if begun.elapsed() > WAIT => {
                return Err(format!(
                    "no barrier was complete within {} s: {reason}",
                    WAIT.as_secs()
                ));
            }
            Err(_) => std::thread::sleep(RETRY),
        }
    }
}

fn others_at(lake: &Lake, barrier: EpochId) -> Result<Vec<Table>, String> {
    if barrier == 0 {
        return Err("the first of this lake is still to come".into());
    }
    let names = lake.table_names().map_err(|e| chain(&e))?;
    let mut tables = Vec::new();
    for name in names.iter().filter(|name| *name != bronze::TABLE) {
        let at = At::Progress { app: EPOCH.into(), at_most: number(barrier) };
        let table = Table::open(lake, name, at).map_err(|e| chain(&e))?;
        if table.progress(EPOCH) != Some(number(barrier)) {
            return Err(format!("{name} is not at barrier {barrier}"));
        }
        tables.push(table);
    }
    Ok(tables)
}
