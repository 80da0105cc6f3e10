//! Writing files so that they survive a power cut.
//!
//! # Guarantees
//! - When a function here returns `Ok`, contents and name are on stable storage.
//! - [`put_new`] never replaces a file and never leaves a part of one under the final name.
//! - Staging files end in `#<number>`; Delta readers do not list such names.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Writes `parts` as the new file `path`; fails with `AlreadyExists` if there is one.
pub(crate) fn put_new<'a>(path: &Path, parts: impl Iterator<Item = &'a [u8]>) -> io::Result<()> {
    hooks::before(path)?;
    let staged = stage(path, parts)?;
    let linked = fs::hard_link(&staged, path).inspect(|()| hooks::linked(&staged, path));
    remove_quietly(&staged);
    linked?;
    hooks::record("link", path);
    hooks::after(path)?;
    sync_parent(path)
}

/// Writes `parts` as the file `path`, in place of an older one if there is one.
pub(crate) fn put_replace<'a>(
    path: &Path,
    parts: impl Iterator<Item = &'a [u8]>,
) -> io::Result<()> {
    hooks::before(path)?;
    let staged = stage(path, parts)?;
    rename_staged(&staged, path)
}

/// Gives a staged and synced file its name.
pub(crate) fn rename_staged(staged: &Path, path: &Path) -> io::Result<()> {
    if let Err(error) = fs::rename(staged, path) {
        remove_quietly(staged);
        return Err(error);
    }
    hooks::renamed(staged, path);
    hooks::record("rename", path);
    sync_parent(path)
}

/// Moves a file into another folder of the same file system.
pub(crate) fn move_file(from: &Path, to: &Path) -> io::Result<()> {
    fs::rename(from, to)?;
    hooks::renamed(from, to);
    sync_parent(to)?;
    sync_parent(from)
}

/// Creates `dir` and its missing parents, each one durably.
pub(crate) fn create_dirs(dir: &Path) -> io::Result<()> {
    if dir.is_dir() {
        return Ok(());
    }
    if let Some(parent) = dir.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        create_dirs(parent)?;
    }
    match fs::create_dir(dir) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => sync_parent(dir),
    }
}

/// Makes the names in `dir` durable.
pub(crate) fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()?;
    hooks::record("sync folder", dir);
    Ok(())
}

/// Makes the contents of an open file durable.
pub(crate) fn sync_file(file: &File, path: &Path) -> io::Result<()> {
    file.sync_all()?;
    hooks::record("sync file", path);
    Ok(())
}

/// Makes the name of `path` durable.
pub(crate) fn sync_parent(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), |parent| match parent.as_os_str().is_empty() {
        // A name alone is a name in the current folder.
        true => sync_dir(Path::new(".")),
        false => sync_dir(parent),
    })
}

/// True for the name of a file that a crashed writer left behind.
pub(crate) fn is_staging_name(name: &str) -> bool {
    name.rsplit_once('#').is_some_and(|(_, digits)| {
        !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
    })
}

/// Removes a file. Its name may come back with a power cut: only for files that nobody needs.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    fs::remove_file(path)?;
    hooks::removed(path);
    Ok(())
}

/// Says that `path` was created by other means than those of this file.
pub(crate) fn created(path: &Path) {
    hooks::created(path);
}

/// Removes a file that nobody needs; a failure costs disk space only.
pub(crate) fn remove_quietly(path: &Path) {
    if let Err(error) = remove(path) {
        tracing::debug!(path = %path.display(), %error, "cannot remove a file");
    }
}

/// A new, empty staging file for `path`.
pub(crate) fn create_staged(path: &Path) -> io::Result<(File, PathBuf)> {
    const ATTEMPTS: u32 = 1_000;
    for number in 1..ATTEMPTS {
        let mut staged = path.as_os_str().to_owned();
        staged.push(format!("#{number}"));
        let staged = PathBuf::from(staged);
        match OpenOptions::new().write(true).create_new(true).open(&staged) {
            Ok(file) => {
                hooks::created(&staged);
                return Ok((file, staged));
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    Err(io::Error::other("too many staging files: remove the files ending in #<number>"))
}

fn stage<'a>(path: &Path, parts: impl Iterator<Item = &'a [u8]>) -> io::Result<PathBuf> {
    let (mut file, staged) = create_staged(path)?;
    let written = write_all(&mut file, parts).and_then(|()| sync_file(&file, &staged));
    if let Err(error) = written {
        remove_quietly(&staged);
        return Err(error);
    }
    Ok(staged)
}

fn write_all<'a>(file: &mut File, parts: impl Iterator<Item = &'a [u8]>) -> io::Result<()> {
    for part in parts {
        file.write_all(part)?;
    }
    Ok(())
}

#[cfg(not(test))]
mod hooks {
    //! Nothing outside tests.
    use std::io;
    use std::path::Path;

    pub(super) fn record(_: &'static str, _: &Path) {}
    pub(super) fn created(_: &Path) {}
    pub(super) fn linked(_: &Path, _: &Path) {}
    pub(super) fn renamed(_: &Path, _: &Path) {}
    pub(super) fn removed(_: &Path) {}
    pub(super) fn before(_: &Path) -> io::Result<()> {
        Ok(())
    }
    pub(super) fn after(_: &Path) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
pub(crate) mod disk;

#[cfg(test)]
pub(crate) mod hooks {
    //! What tests see and break: the calls made, by path, and failures to come.
    use std::io;
    use std::path::{Path, PathBuf};
    use std::sync::Mutex;

    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub(crate) enum Fault {
        /// Fails before anything is written.
        Before,
        /// Fails after the file has its name.
        After,
    }

    static CALLS: Mutex<Vec<(&'static str, PathBuf)>> = Mutex::new(Vec::new());
    static FAULTS: Mutex<Vec<(PathBuf, Fault)>> = Mutex::new(Vec::new());

    pub(crate) fn record(call: &'static str, path: &Path) {
        CALLS.lock().unwrap().push((call, path.to_path_buf()));
        match call {
            "sync file" => super::disk::note(path, super::disk::Event::SyncFile),
            "sync folder" => super::disk::note(path, super::disk::Event::SyncFolder),
            _ => {}
        }
    }

    pub(super) fn created(path: &Path) {
        super::disk::note(path, super::disk::Event::Create);
    }

    pub(super) fn linked(from: &Path, to: &Path) {
        super::disk::note(to, |to| super::disk::Event::Link(from.to_path_buf(), to));
    }

    pub(super) fn renamed(from: &Path, to: &Path) {
        super::disk::note(to, |to| super::disk::Event::Rename(from.to_path_buf(), to));
    }

    pub(super) fn removed(path: &Path) {
        super::disk::note(path, super::disk::Event::Remove);
    }

    /// The calls on paths below `root`, in order.
    pub(crate) fn calls(root: &Path) -> Vec<(&'static str, String)> {
        let calls = CALLS.lock().unwrap();
        let below = calls.iter().filter(|(_, path)| path.starts_with(root));
        below
            .map(|(call, path)| {
                (*call, path.strip_prefix(root).unwrap().to_string_lossy().into_owned())
            })
            .collect()
    }

    /// The next write of a file below `root` fails.
    pub(crate) fn break_next(root: &Path, fault: Fault) {
        FAULTS.lock().unwrap().push((root.to_path_buf(), fault));
    }

    pub(super) fn before(path: &Path) -> io::Result<()> {
        fail(path, Fault::Before)
    }

    pub(super) fn after(path: &Path) -> io::Result<()> {
        fail(path, Fault::After)
    }

    fn fail(path: &Path, when: Fault) -> io::Result<()> {
        let mut faults = FAULTS.lock().unwrap();
        match faults.iter().position(|(root, fault)| *fault == when && path.starts_with(root)) {
            Some(at) => {
                faults.remove(at);
                Err(io::Error::other(format!("broken by the test: {when:?}")))
            }
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_file_is_synced_before_it_is_named_and_its_folder_after() {
        let folder = tempfile::tempdir().unwrap();
        put_new(&folder.path().join("a"), [b"x".as_slice(), b"y"].into_iter()).unwrap();
        let calls = hooks::calls(folder.path());
        let expected = [("sync file", "a#1"), ("link", "a"), ("sync folder", "")];
        assert_eq!(calls, expected.map(|(call, path)| (call, path.to_string())));
        assert_eq!(fs::read(folder.path().join("a")).unwrap(), b"xy");
    }

    #[test]
    fn a_file_is_never_replaced_by_a_new_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        put_new(&path, [b"first".as_slice()].into_iter()).unwrap();
        let error = put_new(&path, [b"second".as_slice()].into_iter()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read(&path).unwrap(), b"first");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "the staging file is gone");
        put_replace(&path, [b"third".as_slice()].into_iter()).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"third");
    }

    #[test]
    fn a_name_alone_has_the_current_folder_as_its_parent() {
        sync_parent(Path::new("lake")).unwrap();
        sync_parent(Path::new("x/lake")).unwrap_err();
    }

    #[test]
    fn staging_names_are_told_from_others() {
        assert!(is_staging_name("00000000000000000001.json#1"));
        assert!(!is_staging_name("00000000000000000001.json"));
        assert!(!is_staging_name("a#b"));
        assert!(!is_staging_name("a#"));
    }
}
