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

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::Path;

use crate::data_file::{HashedFile, hash_file};
use crate::error::LakeError;
use crate::folder::Lake;
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
        let folder = self.name().split('/').fold(root.to_path_buf(), |path, part| path.join(part));
        let log = folder.join("_delta_log");
        if log.exists() {
            // Of a copy that was begun and not finished.
            fs::remove_dir_all(&log).map_err(LakeError::io("delete", &log))?;
        }
        let mut copied = Copied::default();
        for file in self.files() {
            let (from, to) = (self.folder().join(&file.path), folder.join(&file.path));
            copied.add(copy(&from, &to, file.hash.as_deref())?);
            told(file.size);
        }
        copied.add(self.log_of_version(&log)?);
        Ok(copied)
    }

    /// The entries of this version and those before it, from the newest checkpoint on that they need.
    fn log_of_version(&self, folder: &Path) -> Result<Copied, LakeError> {
        let log = self.log();
        let listing = log.list()?;
        let whole = |version: &&i64| {
            **version <= self.version() && checkpoint::check(log, **version).is_ok()
        };
        let base = listing.checkpoints.iter().rev().find(whole).copied();
        let mut copied = Copied::default();
        let mut take = |path: &Path| -> Result<(), LakeError> {
            let name = path.file_name().unwrap_or_default();
            copied.add(copy(path, &folder.join(name), None)?);
            Ok(())
        };
        for version in base.unwrap_or(0)..=self.version() {
            take(&log.entry_path(version))?;
        }
        if let Some(base) = base {
            take(&log.checkpoint_seal_path(base))?;
            take(&log.checkpoint_path(base))?;
        }
        Ok(copied)
    }
}

impl Lake {
    /// Copies what is kept beside the tables, but neither ledger nor identity, into the lake that is
    /// being made in `root`, which is its own working folder. Files that vanish meanwhile are passed over. Blocking.
    pub fn copy_state_to(&self, root: &Path) -> Result<Copied, LakeError> {
        let target = root.join(self.state_dir().file_name().unwrap_or_default());
        let mut copied = copy_folder(&self.state_dir(), &target, &LEFT_OUT)?;
        let work = self.work_dir();
        for name in work_dir::FILES.iter().filter(|name| !LEFT_OUT.contains(name)) {
            let (from, to) = (work.join(name), target.join(name));
            if work == self.state_dir() || !from.exists() {
                continue;
            }
            let is_folder = from.is_dir();
            copied.add(if is_folder {
                copy_folder(&from, &to, &[])
            } else {
                copy(&from, &to, None)
            }?);
        }
        Ok(copied)
    }

    /// Makes the copy in `root` a lake, of the same id. Blocking.
    pub fn finish_copy(&self, root: &Path) -> Result<(), LakeError> {
        let name = "lake.json";
        let target = root.join(self.state_dir().file_name().unwrap_or_default()).join(name);
        copy(&self.state_dir().join(name), &target, None).map(|_| ())
    }
}

fn copy_folder(from: &Path, to: &Path, left_out: &[&str]) -> Result<Copied, LakeError> {
    let mut copied = Copied::default();
    for entry in fs::read_dir(from).map_err(LakeError::io("list", from))? {
        let entry = entry.map_err(LakeError::io("list", from))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if left_out.contains(&name.as_str()) || durable::is_staging_name(&name) {
            continue;
        }
        let (from, to) = (entry.path(), to.join(&name));
        let part =
            if from.is_dir() { copy_folder(&from, &to, &[]) } else { copy(&from, &to, None) };
        match part {
            Ok(part) => copied.add(part),
            Err(LakeError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(copied)
}

/// Copies a file durably, unless it is there already.
fn copy(from: &Path, to: &Path, hash: Option<&str>) -> Result<Copied, LakeError> {
    let size = fs::metadata(from).map_err(LakeError::io("read", from))?.len();
    if fs::metadata(to).is_ok_and(|metadata| metadata.len() == size) && is_same(to, hash) {
        return Ok(Copied { files: 1, bytes: size });
    }
    let folder = to.parent().unwrap_or(to);
    durable::create_dirs(folder).map_err(LakeError::io("create", folder))?;
    let mut source = File::open(from).map_err(LakeError::io("read", from))?;
    let (file, staged) = durable::create_staged(to).map_err(LakeError::io("create", to))?;
    let mut out = HashedFile::new(file);
    let written = pour(&mut source, &mut out).and_then(|()| out.sync(&staged));
    if let Err(error) = written {
        durable::remove_quietly(&staged);
        return Err(LakeError::io("copy", from)(error));
    }
    if hash.is_some_and(|hash| hash != out.hash_text()) {
        durable::remove_quietly(&staged);
        let place = from.display().to_string();
        let detail = "its bytes do not match their hash: it was altered on disk".to_owned();
        return Err(LakeError::Engine { action: "copy", place, detail });
    }
    durable::rename_staged(&staged, to).map_err(LakeError::io("write", to))?;
    Ok(Copied { files: 1, bytes: size })
}

/// Files without a hash never change under their name once they are whole, but may be of another copy.
fn is_same(to: &Path, hash: Option<&str>) -> bool {
    hash.is_some_and(|hash| hash_file(to).is_ok_and(|found| found == hash))
}

fn pour(source: &mut File, out: &mut HashedFile) -> io::Result<()> {
    let mut buffer = vec![0_u8; CHUNK];
    loop {
        match source.read(&mut buffer)? {
            0 => return Ok(()),
            count => out.write_all(buffer.get(..count).unwrap_or_default())?,
        }
    }
}
