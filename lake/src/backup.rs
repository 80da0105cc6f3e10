//! Copies of tables at one version, and of the lake around them: what a backup is made of.
//!
//! # Guarantees
//! - A copy is a lake: its tables open, verify and go on from the version that was copied, with the
//!   history since the checkpoint before it.
//! - Every data file's bytes are compared with their hash while they are copied; log entries carry
//!   their seals with them.
//! - The identity is written last: a copy that was not finished is no lake.
//!
//! # Non-guarantees
//! - Which versions go together is the caller's to say.
//! - A table that changes meanwhile may lose a file of the version to vacuum: the copy fails then and
//!   may be tried again, and what was copied already is not copied twice.

use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::Arc;

use crate::data_file::{HashedUpload, hash_of};
use crate::error::LakeError;
use crate::folder::Lake;
use crate::log::{self, Log};
use crate::store::{LocalStore, Store};
use crate::table::Table;
use crate::{checkpoint, durable, work_dir};

/// What of a lake's own folder belongs to the running process or to the original alone.
const LEFT_OUT: [&str; 5] = ["lake.json", "ledger", "lock", "quarantine", "work_dir"];
/// Bytes copied between two looks at the hash.
const CHUNK: usize = 1 << 20;

/// What was copied.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Copied {
    /// Files.
    pub files: usize,
    /// Their bytes.
    pub bytes: u64,
}

impl Copied {
    fn add(&mut self, other: Copied) {
        self.files += other.files;
        self.bytes += other.bytes;
    }
}

impl Table {
    /// Copies this version into the lake that is being made in `root`, and tells the bytes of each data
    /// file. Blocking.
    pub fn copy_to(&self, root: &Path, told: &mut dyn FnMut(u64)) -> Result<Copied, LakeError> {
        let target = LocalStore::shared(root).below(self.name());
        clear(&*target, log::FOLDER)?;
        let mut copied = Copied::default();
        for file in self.files() {
            copied.add(copy(&*self.log().store, &*target, &file.path, file.hash.as_deref())?);
            told(file.size);
        }
        copied.add(self.log_of_version(&*target)?);
        Ok(copied)
    }

    /// The entries of this version and those before it, from the newest checkpoint on that they need.
    fn log_of_version(&self, target: &dyn Store) -> Result<Copied, LakeError> {
        let log = self.log();
        let listing = log.list()?;
        let whole = |version: &&i64| {
            **version <= self.version() && checkpoint::check(log, **version).is_ok()
        };
        let base = listing.checkpoints.iter().rev().find(whole).copied();
        let mut copied = Copied::default();
        let mut take = |name: String| -> Result<(), LakeError> {
            copied.add(copy(&*log.store, target, &name, None)?);
            Ok(())
        };
        for version in base.unwrap_or(0)..=self.version() {
            take(Log::entry_name(version))?;
        }
        if let Some(base) = base {
            take(Log::checkpoint_seal_name(base))?;
            take(Log::checkpoint_name(base))?;
        }
        Ok(copied)
    }
}

impl Lake {
    /// Copies what is kept beside the tables, but neither ledger nor identity, into the lake that is
    /// being made in `root`, which is its own working folder. Files that vanish meanwhile are passed over. Blocking.
    pub fn copy_state_to(&self, root: &Path) -> Result<Copied, LakeError> {
        let target = state_of(root, self);
        let own = LocalStore::shared(&self.state_dir());
        let mut copied = copy_folder(&*own, &*target, "", &LEFT_OUT)?;
        let work = LocalStore::shared(self.work_dir());
        for name in work_dir::FILES.iter().filter(|name| !LEFT_OUT.contains(name)) {
            let place = work.place(name);
            if self.work_dir() == self.state_dir() || !place.exists() {
                continue;
            }
            copied.add(if place.is_dir() {
                copy_folder(&*work, &*target, name, &[])
            } else {
                copy(&*work, &*target, name, None)
            }?);
        }
        Ok(copied)
    }

    /// Makes the copy in `root` a lake, of the same id. Blocking.
    pub fn finish_copy(&self, root: &Path) -> Result<(), LakeError> {
        let own = LocalStore::shared(&self.state_dir());
        copy(&*own, &*state_of(root, self), "lake.json", None).map(|_| ())
    }
}

/// The folder beside the tables in the copy that is made in `root`.
fn state_of(root: &Path, lake: &Lake) -> Arc<dyn Store> {
    LocalStore::shared(&root.join(lake.state_dir().file_name().unwrap_or_default()))
}

/// Deletes what a copy that was begun and not finished left in `folder`.
fn clear(store: &dyn Store, folder: &str) -> Result<(), LakeError> {
    let found = match store.list(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other.map_err(LakeError::at("list", store, folder))?,
    };
    for found in found {
        let path = format!("{folder}/{}", found.name);
        store.delete(&path).map_err(LakeError::at("delete", store, &path))?;
    }
    Ok(())
}

fn copy_folder(
    from: &dyn Store,
    to: &dyn Store,
    folder: &str,
    left_out: &[&str],
) -> Result<Copied, LakeError> {
    let mut copied = Copied::default();
    for found in from.list(folder).map_err(LakeError::at("list", from, folder))? {
        let name = found.name;
        if left_out.contains(&name.as_str()) || durable::is_staging_name(&name) {
            continue;
        }
        let slash = if folder.is_empty() { "" } else { "/" };
        let path = format!("{folder}{slash}{name}");
        let part = if found.is_folder {
            copy_folder(from, to, &path, &[])
        } else {
            copy(from, to, &path, None)
        };
        match part {
            Ok(part) => copied.add(part),
            Err(LakeError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(copied)
}

/// Copies an object durably, unless it is there already.
fn copy(
    from: &dyn Store,
    to: &dyn Store,
    path: &str,
    hash: Option<&str>,
) -> Result<Copied, LakeError> {
    let size = from.stat(path).map_err(LakeError::at("read", from, path))?.size;
    if to.stat(path).is_ok_and(|stat| stat.size == size) && is_same(to, path, hash) {
        return Ok(Copied { files: 1, bytes: size });
    }
    let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
    to.create_folder(folder).map_err(LakeError::at("create", to, folder))?;
    let source = from.open(path).and_then(|object| object.reader(0));
    let mut source = source.map_err(LakeError::at("read", from, path))?;
    let upload = to.upload(path).map_err(LakeError::at("create", to, path))?;
    let mut out = HashedUpload::new(upload);
    pour(&mut *source, &mut out).map_err(LakeError::at("copy", from, path))?;
    if hash.is_some_and(|hash| hash != out.hash_text()) {
        let place = from.place(path).display().to_string();
        let detail = "its bytes do not match their hash: it was altered on disk".to_owned();
        return Err(LakeError::Engine { action: "copy", place, detail });
    }
    out.finish().map_err(LakeError::at("write", to, path))?;
    Ok(Copied { files: 1, bytes: size })
}

/// Objects without a hash never change under their name once they are whole, but may be of another copy.
fn is_same(to: &dyn Store, path: &str, hash: Option<&str>) -> bool {
    hash.is_some_and(|hash| hash_of(to, path).is_ok_and(|found| found == hash))
}

fn pour(source: &mut dyn Read, out: &mut HashedUpload) -> io::Result<()> {
    let mut buffer = vec![0_u8; CHUNK];
    loop {
        match source.read(&mut buffer)? {
            0 => return Ok(()),
            count => out.write_all(buffer.get(..count).unwrap_or_default())?,
        }
    }
}
