//! Removing what no reader needs any more: data files and old log entries.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::Path;
use std::time::{Duration, SystemTime};

use schemas::Micros;

use super::Table;
use crate::error::LakeError;
use crate::vector;
use crate::version::FileKey;

/// What a vacuum removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Vacuumed {
    /// Files.
    pub files: usize,
    /// Their bytes.
    pub bytes: u64,
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
        let since = self.lake.writer(&self.name)?.since;
        let limit_ms = older_than.0.div_euclid(1_000);
        let mut vacuumed = Vacuumed::default();
        let expired =
            self.state.tombstones.iter().filter(|(_, stone)| {
                stone.deleted_ms < limit_ms && stone.version <= keep_version_from
            });
        let expired: Vec<FileKey> = expired.map(|(key, _)| key.clone()).collect();
        let stones: Vec<_> =
            expired.iter().filter_map(|key| self.state.tombstones.remove_entry(key)).collect();
        let kept = if expired.is_empty() { BTreeSet::new() } else { self.referred() };
        let needless: BTreeSet<String> =
            expired.iter().flat_map(names).filter(|name| !kept.contains(name)).collect();
        for path in needless {
            match delete(&self.folder.join(&path)) {
                Ok(None) => {}
                Ok(Some(bytes)) => {
                    vacuumed.files += 1;
                    vacuumed.bytes += bytes;
                }
                Err(error) => {
                    self.state.tombstones.extend(stones);
                    return Err(error);
                }
            }
        }
        let limit = instant(older_than).min(since);
        for path in self.orphans(limit)? {
            tracing::info!(table = self.name, path, "removed a file that no commit refers to");
            if let Some(bytes) = delete(&self.folder.join(&path))? {
                vacuumed.files += 1;
                vacuumed.bytes += bytes;
            }
        }
        Ok(vacuumed)
    }

    /// Deletes log entries and checkpoints that the second newest checkpoint makes needless, if
    /// they are older than `older_than` and than `keep_version_from`. Returns their number.
    pub fn clean_log(
        &self,
        older_than: Micros,
        keep_version_from: i64,
    ) -> Result<usize, LakeError> {
        self.lake.writer(&self.name)?;
        let listing = self.log.list()?;
        let Some(base) = listing.checkpoints.iter().rev().nth(1) else { return Ok(0) };
        // From a kept checkpoint every version after it can be rebuilt: keep one before the limit.
        let keep = (*base).min(keep_version_from);
        let Some(base) = listing.checkpoints.iter().rev().find(|it| **it <= keep).copied() else {
            return Ok(0);
        };
        let limit = instant(older_than);
        let entries = listing.entries.iter().map(|it| (*it, self.log.entry_path(*it)));
        let old = listing.checkpoints.iter().flat_map(|it| {
            [(*it, self.log.checkpoint_path(*it)), (*it, self.log.checkpoint_seal_path(*it))]
        });
        let mut count = 0;
        // Oldest first: a crash in between leaves a log that is whole from some version on.
        for (_, path) in entries.chain(old).filter(|(version, _)| *version < base) {
            let modified = fs::metadata(&path).and_then(|it| it.modified());
            if modified.map_err(LakeError::io("look at", &path))? >= limit {
                continue;
            }
            delete(&path)?;
            count += 1;
        }
        Ok(count)
    }

    /// The files, also those of vectors, that the state or a removal refers to.
    fn referred(&self) -> BTreeSet<String> {
        let live = self.files().flat_map(|file| names(&file.key()));
        live.chain(self.state.tombstones.keys().flat_map(names)).collect()
    }

    /// Data files and vectors that neither the state nor a removal knows, last changed before
    /// `limit`.
    fn orphans(&self, limit: SystemTime) -> Result<Vec<String>, LakeError> {
        let mut found = BTreeSet::new();
        list_parquet(&self.folder, "", limit, &mut found)?;
        let referred = self.referred();
        found.retain(|path| !referred.contains(path));
        Ok(found.into_iter().collect())
    }
}

/// The files that a file of the log lies in: the data, and the vector if it has a file.
fn names(key: &FileKey) -> Vec<String> {
    let vector = key.vector.as_ref().and_then(|vector| vector.file_name().ok().flatten());
    std::iter::once(key.path.clone()).chain(vector).collect()
}

fn instant(at: Micros) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_micros(u64::try_from(at.0).unwrap_or_default())
}

/// Deletes a file and tells its size; `None` if it was gone already.
fn delete(path: &Path) -> Result<Option<u64>, LakeError> {
    let size = fs::metadata(path).map(|metadata| metadata.len());
    match size.and_then(|size| fs::remove_file(path).map(|()| size)) {
        Ok(size) => Ok(Some(size)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(LakeError::io("delete", path)(error)),
    }
}

fn list_parquet(
    folder: &Path,
    prefix: &str,
    limit: SystemTime,
    found: &mut BTreeSet<String>,
) -> Result<(), LakeError> {
    for entry in fs::read_dir(folder).map_err(LakeError::io("list", folder))? {
        let entry = entry.map_err(LakeError::io("list", folder))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let metadata = entry.metadata().map_err(LakeError::io("look at", &entry.path()))?;
        let path = format!("{prefix}{name}");
        if metadata.is_dir() && name != "_delta_log" {
            list_parquet(&entry.path(), &format!("{path}/"), limit, found)?;
        } else if (name.ends_with(".parquet") || vector::is_file_name(&name))
            && metadata.is_file()
            && metadata.modified().map_err(LakeError::io("look at", &entry.path()))? < limit
        {
            found.insert(path);
        }
    }
    Ok(())
}
