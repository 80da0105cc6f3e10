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

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use lake::{At, Copied, Finding, Lake, LakeError, Severity, Table};
use pipeline::bronze::{self, EPOCH};
use schemas::{EpochId, chain};

use crate::tables::{AUDIT, is_of_view, number};

/// How long tables may take to stand at one barrier.
const WAIT: Duration = Duration::from_secs(60);
/// Between tries.
const RETRY: Duration = Duration::from_millis(100);
/// Copies begun before giving up, when vacuum deletes what is being copied.
const TRIES: usize = 3;

/// Why there is no copy.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The folder to make has a lake.
    #[error(
        "there is a lake in `{}` already: name another folder, or move it away", .0.display()
    )]
    Occupied(PathBuf),
    /// One of the two folders lies in the other.
    #[error(
        "`{}` and `{}` lie in each other: name a folder beside the lake", .0.display(), .1.display()
    )]
    Inside(PathBuf, PathBuf),
    /// The lake to restore is not whole.
    #[error("{table}: {} {}", finding.file, finding.message)]
    Damaged {
        /// The table.
        table: String,
        /// What is wrong with it.
        finding: Finding,
    },
    /// The lake has never been flushed.
    #[error("the first barrier of this lake is still to come")]
    Unflushed,
    /// A table is not at the barrier that bronze names.
    #[error("{table} is not at barrier {barrier}")]
    Behind {
        /// The table.
        table: String,
        /// The barrier.
        barrier: EpochId,
    },
    /// Tables were not at one barrier for as long as that was waited for.
    #[error("no barrier was complete within {} s", WAIT.as_secs())]
    Waited(#[source] Box<BackupError>),
    /// A table cannot be read, or a file not copied.
    #[error(transparent)]
    Lake(#[from] LakeError),
}

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

/// Hears how many bytes of data files are copied, and of how many.
pub type Heard<'a> = &'a mut dyn FnMut(u64, u64);

/// Copies the lake into `to`, which holds no lake.
///
/// # Errors
/// Why there is no copy.
pub fn export(lake: &Lake, to: &Path, heard: Heard<'_>) -> Result<Backup, BackupError> {
    refuse_inside(lake.root(), to)?;
    refuse_lake(to)?;
    let mut tries = 0;
    loop {
        tries += 1;
        let (epoch, tables) = at_one_barrier(lake)?;
        match copy(lake, &tables, to, heard) {
            Ok(backup) => return Ok(Backup { epoch, ..backup }),
            Err(error) if tries == TRIES => return Err(error.into()),
            Err(error) => tracing::warn!("the copy is begun again: {}", chain(&error)),
        }
    }
}

/// Copies the lake in `from`, which nothing writes, into `to`, which holds none, after a look at every
/// byte.
///
/// # Errors
/// Why nothing was restored.
pub fn restore(from: &Path, to: &Path, heard: Heard<'_>) -> Result<Backup, BackupError> {
    refuse_inside(from, to)?;
    refuse_lake(to)?;
    let lake = Lake::open_reader(from)?;
    let mut tables = Vec::new();
    for name in lake.table_names()? {
        let table = Table::open(&lake, &name, At::Newest)?;
        let mut findings = table.verify(true)?.into_iter();
        if let Some(finding) = findings.find(|found| found.severity == Severity::Error) {
            return Err(BackupError::Damaged { table: name, finding });
        }
        tables.push(table);
    }
    let bronze = tables.iter().find(|table| table.name() == bronze::TABLE);
    let epoch = bronze.map_or(0, |table| bronze::held(table).flushed);
    let backup = copy(&lake, &tables, to, heard)?;
    Ok(Backup { epoch, ..backup })
}

/// A copy inside the lake would be part of the next one, and a lake inside its copy would be taken for part
/// of it.
fn refuse_inside(lake: &Path, copy: &Path) -> Result<(), BackupError> {
    let (one, two) = (real(lake), real(copy));
    if one.starts_with(&two) || two.starts_with(&one) {
        return Err(BackupError::Inside(copy.to_path_buf(), lake.to_path_buf()));
    }
    Ok(())
}

/// The path without links and dots, of which the end may be still to come.
fn real(path: &Path) -> PathBuf {
    let whole = std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf());
    for above in whole.ancestors() {
        if let Ok(found) = above.canonicalize() {
            return found.join(whole.strip_prefix(above).unwrap_or(Path::new("")));
        }
    }
    whole
}

fn refuse_lake(folder: &Path) -> Result<(), BackupError> {
    match Lake::open_reader(folder) {
        Err(LakeError::NoLake { .. }) => Ok(()),
        _ => Err(BackupError::Occupied(folder.to_owned())),
    }
}

fn copy(lake: &Lake, tables: &[Table], to: &Path, heard: Heard<'_>) -> Result<Backup, LakeError> {
    let (mut copied, all) = (0, tables.iter().flat_map(Table::files).map(|it| it.size).sum());
    let mut backup = Backup { tables: tables.len(), ..Backup::default() };
    // State files live the shortest.
    backup.add(lake.copy_state_to(to)?);
    for table in tables {
        let mut told = |bytes| {
            copied += bytes;
            heard(copied, all);
        };
        backup.add(table.copy_to(to, &mut told)?);
    }
    lake.finish_copy(to)?;
    Ok(backup)
}

/// Bronze, and every other table at the barrier that it says is complete.
fn at_one_barrier(lake: &Lake) -> Result<(EpochId, Vec<Table>), BackupError> {
    let begun = Instant::now();
    loop {
        let bronze = Table::open(lake, bronze::TABLE, At::Newest)?;
        let flushed = bronze::held(&bronze).flushed;
        match others_at(lake, flushed) {
            Ok(mut tables) => {
                tables.push(bronze);
                return Ok((flushed, tables));
            }
            Err(reason) if begun.elapsed() > WAIT => {
                return Err(BackupError::Waited(Box::new(reason)));
            }
            Err(_) => std::thread::sleep(RETRY),
        }
    }
}

fn others_at(lake: &Lake, barrier: EpochId) -> Result<Vec<Table>, BackupError> {
    if barrier == 0 {
        return Err(BackupError::Unflushed);
    }
    let mut tables = Vec::new();
    for name in lake.table_names()?.into_iter().filter(|name| name != bronze::TABLE) {
        let at = At::Progress { app: EPOCH.into(), at_most: number(barrier) };
        let table = match Table::open(lake, &name, at) {
            // It is newer than the barrier.
            Err(LakeError::NoVersion { .. }) if is_of_view(&name) || name == AUDIT => continue,
            table => table?,
        };
        // Audits are of some barriers only.
        if name != AUDIT && table.progress(EPOCH) != Some(number(barrier)) {
            // What is left of a view that has no table any more.
            if is_of_view(&name) {
                continue;
            }
            return Err(BackupError::Behind { table: name, barrier });
        }
        tables.push(table);
    }
    Ok(tables)
}
