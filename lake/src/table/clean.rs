//! Removing log entries and checkpoints that no version worth reading needs.
//!
//! # Guarantees
//! - Every version from the one to keep on stays readable, and two checkpoints stay, one of which was
//!   read back whole before anything was deleted.
//! - Oldest first, and an entry only when all before it are gone: a crash leaves a log that is whole
//!   from some version on.
//!
//! # Non-guarantees
//! - Versions before the second newest checkpoint may lose what they are rebuilt from before their
//!   entries are old: the entries are history then, not versions.

use std::io;
use std::time::{Duration, SystemTime};

use schemas::Micros;

use super::Table;
use crate::checkpoint::{self, CheckpointJob};
use crate::error::LakeError;
use crate::log::{Listing, Log};
use crate::store::Store;

/// Log entries kept of one table at most.
pub const LOG_ENTRIES_MAX: usize = 20_000;

/// What is kept of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogKeep {
    /// Entries written since then are kept.
    pub since: Micros,
    /// No more entries than this are, however young.
    pub entries: usize,
    /// Versions from this one on stay readable, whatever the two above say.
    pub version_from: i64,
}

impl Table {
    /// Deletes the log entries and checkpoints that `keep` does not name, up to the second newest
    /// checkpoint. Returns the number of files.
    pub fn clean_log(&self, keep: &LogKeep) -> Result<usize, LakeError> {
        self.lake.writer(&self.name)?;
        self.log.clean(keep)
    }

    /// Log entries on disk.
    pub fn log_entries(&self) -> Result<usize, LakeError> {
        Ok(self.log.list()?.entries.len())
    }

    /// The newest versions whose own commits brought distinct values of `app`, newest first.
    pub fn versions_of(&self, app: &str, count: usize) -> Result<Vec<(i64, i64)>, LakeError> {
        let mut found: Vec<(i64, i64)> = Vec::new();
        let listing = self.log.list()?;
        let Some(oldest) = listing.oldest_readable() else { return Ok(found) };
        let readable = listing.entries.iter().rev().take_while(|version| **version >= oldest);
        for version in readable.filter(|version| **version <= self.version()) {
            if found.len() == count {
                break;
            }
            let entry = self.log.whole_entry(*version)?;
            let value = entry.info.progress.get(app);
            let Some(value) = value.filter(|value| found.last().is_none_or(|it| it.1 != **value))
            else {
                continue;
            };
            found.push((*version, *value));
        }
        Ok(found)
    }
}

impl CheckpointJob {
    /// Writes the checkpoint, as [`CheckpointJob::run`] does, then deletes what it makes needless.
    /// Returns the version and the number of files deleted. Blocking.
    pub fn run_and_clean(self, keep: &LogKeep) -> Result<(i64, usize), LakeError> {
        let log = self.log.clone();
        let version = self.run()?;
        Ok((version, log.clean(keep)?))
    }
}

impl Listing {
    /// The oldest version that can be rebuilt from what is there.
    pub(crate) fn oldest_readable(&self) -> Option<i64> {
        let newest = *self.entries.last()?;
        // What a crash left of a clean-up lies before a gap.
        let apart = self.entries.iter().rev().zip((0..=newest).rev());
        let first = apart.take_while(|(held, wanted)| **held == *wanted).last()?.1;
        let checkpoint = self.checkpoints.iter().find(|version| **version >= first);
        match first {
            0 => Some(0),
            _ => checkpoint.copied().or(Some(newest)),
        }
    }
}

impl Log {
    fn clean(&self, keep: &LogKeep) -> Result<usize, LakeError> {
        let listing = self.list()?;
        let Some(base) = self.base(&listing, keep)? else { return Ok(0) };
        let mut count = 0;
        let beyond = listing.entries.len().saturating_sub(keep.entries);
        for (rank, version) in listing.entries.iter().enumerate() {
            let name = Log::entry_name(*version);
            let is_old = || is_older(&*self.store, &name, instant(keep.since));
            if *version >= base || !(rank < beyond || is_old()?) {
                break;
            }
            count += usize::from(delete(&*self.store, &name)?.is_some());
        }
        let newest_two: Vec<i64> = listing.checkpoints.iter().rev().take(2).copied().collect();
        let kept = |version: &i64| *version == base || newest_two.contains(version);
        for version in listing.checkpoints.iter().filter(|version| !kept(version)) {
            // Without its seal file a checkpoint is used by nobody, so the seal file goes first.
            for name in [Log::checkpoint_seal_name(*version), Log::checkpoint_name(*version)] {
                count += usize::from(delete(&*self.store, &name)?.is_some());
            }
        }
        Ok(count)
    }

    /// The checkpoint from which every version to be kept can be rebuilt: the second newest, or an
    /// older one that is whole.
    fn base(&self, listing: &Listing, keep: &LogKeep) -> Result<Option<i64>, LakeError> {
        let older = listing.checkpoints.iter().rev().skip(1);
        for version in older.filter(|version| **version <= keep.version_from) {
            match checkpoint::check(self, *version) {
                Ok(()) => return Ok(Some(*version)),
                Err(detail) => tracing::warn!(
                    table = self.table,
                    version,
                    "a checkpoint {detail}: older log entries are kept for it"
                ),
            }
        }
        Ok(None)
    }
}

fn is_older(store: &dyn Store, path: &str, limit: SystemTime) -> Result<bool, LakeError> {
    match store.stat(path) {
        Ok(stat) => Ok(stat.modified < limit),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
        Err(error) => Err(LakeError::at("look at", store, path)(error)),
    }
}

pub(super) fn instant(at: Micros) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_micros(u64::try_from(at.0).unwrap_or_default())
}

/// Deletes an object and tells its size; `None` if it was gone already.
pub(super) fn delete(store: &dyn Store, path: &str) -> Result<Option<u64>, LakeError> {
    let size = store.stat(path).map(|stat| stat.size);
    match size.and_then(|size| store.delete(path).map(|()| size)) {
        Ok(size) => Ok(Some(size)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(LakeError::at("delete", store, path)(error)),
    }
}
