//! Vacuum: deleting data files that no reader needs any more.
//!
//! # Guarantees
//! - A file goes only when a version up to the one to keep from has removed it, or when no commit
//!   refers to it and it is older than this writer.
//! - What goes is decided without touching the disk, by the table's owner; the deleting is a job for
//!   any thread.
//!
//! # Non-guarantees
//! - A crash between the two leaves files that nobody knows; the next writer finds them.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;
use std::time::SystemTime;

use schemas::Micros;

use super::Table;
use super::clean::{delete, instant};
use crate::error::LakeError;
use crate::log::{self, Log};
use crate::store::{Listed, Store};
use crate::vector;
use crate::version::{FileKey, Tombstone};

/// Replaced files may take this many times the live bytes before the oldest go early ...
const REPLACED_SHARE: u64 = 3;
/// ... and never go early while they take less than this.
const REPLACED_MIN: u64 = 64 << 20;

/// What a vacuum removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Vacuumed {
    /// Files.
    pub files: usize,
    /// Their bytes.
    pub bytes: u64,
}

/// How far the leftovers of earlier writers were looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(super) enum Searched {
    #[default]
    Never,
    /// While the youngest of them had not the age to go.
    Early,
    /// All are gone: this writer leaves none.
    Whole,
}

/// Files to be deleted; see [`Table::vacuum_job`].
#[derive(Debug)]
pub struct VacuumJob {
    table: String,
    store: Arc<dyn Store>,
    removed: BTreeSet<String>,
    stones: Vec<(FileKey, Tombstone)>,
    search: Option<Search>,
}

/// Where to look for files that no commit refers to.
#[derive(Debug)]
struct Search {
    known: HashSet<String>,
    before: SystemTime,
}

impl Table {
    /// Deletes data files that were removed before `older_than` by versions up to
    /// `keep_version_from` (so every version from there on stays readable), and the leftovers of
    /// writers that ended before this one started.
    pub fn vacuum(
        &mut self,
        older_than: Micros,
        keep_version_from: i64,
    ) -> Result<Vacuumed, LakeError> {
        let job = self.vacuum_job(older_than, keep_version_from)?;
        let stones = job.stones.clone();
        job.run().inspect_err(|_| self.state.tombstones.extend(stones))
    }

    /// As [`Table::vacuum`], but the files are deleted by the job, on any thread. Files go before
    /// their time when all that were replaced take three times the bytes of the live ones.
    pub fn vacuum_job(
        &mut self,
        older_than: Micros,
        keep_version_from: i64,
    ) -> Result<VacuumJob, LakeError> {
        let since = self.lake.writer(&self.name)?.since;
        let limit_ms = older_than.0.div_euclid(1_000);
        let most = REPLACED_MIN.max(self.byte_count().saturating_mul(REPLACED_SHARE));
        let expired = expired(&self.replaced_sizes(), limit_ms, keep_version_from, most);
        let before = instant(older_than).min(since);
        let reach = if before < since { Searched::Early } else { Searched::Whole };
        let search = self.searched < reach;
        self.searched = self.searched.max(reach);
        let stones: Vec<(FileKey, Tombstone)> =
            expired.iter().filter_map(|key| self.state.tombstones.remove_entry(key)).collect();
        let known = match search || !stones.is_empty() {
            true => self.referred(),
            false => HashSet::new(),
        };
        let gone = stones.iter().flat_map(|(key, _)| names(key));
        Ok(VacuumJob {
            table: self.name.clone(),
            store: Arc::clone(&self.log.store),
            removed: gone.filter(|name| !known.contains(name)).collect(),
            stones,
            search: search.then_some(Search { known, before }),
        })
    }

    /// The files, also those of vectors, that the state or a removal refers to.
    fn referred(&self) -> HashSet<String> {
        let live = self.files().flat_map(|file| names(&file.key()));
        live.chain(self.state.tombstones.keys().flat_map(names)).collect()
    }

    /// The removals, and the bytes that go with each: those of a file that is live with another vector,
    /// or was removed again later, are none.
    fn replaced_sizes(&self) -> Vec<(FileKey, Tombstone)> {
        let mut newest: BTreeMap<&str, i64> = BTreeMap::new();
        for (key, stone) in &self.state.tombstones {
            let held = newest.entry(&key.path).or_insert(stone.version);
            *held = stone.version.max(*held);
        }
        let sized = |(key, stone): (&FileKey, &Tombstone)| {
            let is_last = newest.get(key.path.as_str()) == Some(&stone.version);
            let counts = is_last && self.file(&key.path).is_none();
            (key.clone(), Tombstone { size: if counts { stone.size } else { 0 }, ..stone.clone() })
        };
        self.state.tombstones.iter().map(sized).collect()
    }

    /// Files that were removed and are kept for readers of older versions, and their bytes.
    pub fn replaced(&self) -> (usize, u64) {
        let stones = self.replaced_sizes();
        (stones.len(), stones.iter().map(|(_, stone)| stone.size).sum())
    }
}

impl VacuumJob {
    /// What will be deleted.
    pub fn preview(&self) -> Result<Vacuumed, LakeError> {
        let mut found = Vacuumed::default();
        let orphans = self.orphans()?;
        let size = |path: &String| self.store.stat(path).map(|it| it.size).ok();
        let sizes = self.removed.iter().filter_map(size).chain(orphans.into_values());
        for size in sizes {
            found.files += 1;
            found.bytes += size;
        }
        Ok(found)
    }

    /// Entries of the table's log that are on disk.
    pub fn log_entries(&self) -> Result<usize, LakeError> {
        Ok(Log::new(&self.table, Arc::clone(&self.store)).list()?.entries.len())
    }

    /// Deletes the files. Blocking.
    pub fn run(self) -> Result<Vacuumed, LakeError> {
        let mut vacuumed = Vacuumed::default();
        let orphans = self.orphans()?;
        for path in orphans.keys() {
            tracing::info!(table = self.table, path, "removed a file that no commit refers to");
        }
        for path in self.removed.iter().chain(orphans.keys()) {
            if let Some(bytes) = delete(&*self.store, path)? {
                vacuumed.files += 1;
                vacuumed.bytes += bytes;
            }
        }
        Ok(vacuumed)
    }

    /// Data files and vectors that neither a live file nor a removal names, with their bytes.
    fn orphans(&self) -> Result<BTreeMap<String, u64>, LakeError> {
        let mut found = BTreeMap::new();
        if let Some(search) = &self.search {
            list_data(&*self.store, "", search.before, &mut found)?;
            found.retain(|path, _| !search.known.contains(path));
        }
        Ok(found)
    }
}

/// The removed files that may go, oldest first: those of their age, and more while all that are left
/// take more than `most` bytes.
fn expired(
    stones: &[(FileKey, Tombstone)],
    limit_ms: i64,
    keep_version_from: i64,
    most: u64,
) -> Vec<FileKey> {
    let mut left: u64 = stones.iter().map(|(_, stone)| stone.size).sum();
    let may_go = stones.iter().filter(|(_, stone)| stone.version <= keep_version_from);
    let mut ordered: Vec<&(FileKey, Tombstone)> = may_go.collect();
    ordered.sort_by_key(|(key, stone)| (stone.version, stone.deleted_ms, key));
    let mut expired = Vec::new();
    for (key, stone) in ordered {
        if stone.deleted_ms < limit_ms || left > most {
            left = left.saturating_sub(stone.size);
            expired.push(key.clone());
        }
    }
    expired
}

/// The files that a file of the log lies in: the data, and the vector if it has a file.
fn names(key: &FileKey) -> Vec<String> {
    let vector = key.vector.as_ref().and_then(|vector| vector.file_name().ok().flatten());
    std::iter::once(key.path.clone()).chain(vector).collect()
}

/// The data files and vectors in `folder` and below that were written before an instant.
fn list_data(
    store: &dyn Store,
    folder: &str,
    before: SystemTime,
    found: &mut BTreeMap<String, u64>,
) -> Result<(), LakeError> {
    for Listed { name, is_folder, stat } in
        store.list(folder).map_err(LakeError::at("list", store, folder))?
    {
        let slash = if folder.is_empty() { "" } else { "/" };
        let path = format!("{folder}{slash}{name}");
        if is_folder && name != log::FOLDER {
            list_data(store, &path, before, found)?;
        } else if !is_folder && (name.ends_with(".parquet") || vector::is_file_name(&name)) {
            let stat = match stat {
                Some(stat) => stat,
                None => store.stat(&path).map_err(LakeError::at("look at", store, &path))?,
            };
            if stat.modified < before {
                found.insert(path, stat.size);
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replaced_files_go_by_age_or_when_they_are_too_many_but_never_those_to_keep() {
        let stone = |version, deleted_ms| Tombstone { version, deleted_ms, size: 10 };
        let key = |n| FileKey { path: format!("f{n}"), vector: None };
        let stones: Vec<_> = (1..=6).map(|n| (key(n), stone(n, n * 100))).collect();
        let names = |limit_ms, keep_from, most| {
            let expired = expired(&stones, limit_ms, keep_from, most).into_iter();
            expired.map(|key| key.path).collect::<Vec<_>>()
        };
        assert_eq!(names(300, 6, 1_000), ["f1", "f2"], "by age");
        assert_eq!(names(i64::MAX, 2, 0), ["f1", "f2"], "not what versions from 2 on need");
        assert_eq!(names(0, 6, 25), ["f1", "f2", "f3", "f4"], "until 20 bytes are left");
        assert!(names(0, 6, 60).is_empty());
    }
}
