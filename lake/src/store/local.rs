//! The store on a local disk: objects are files, every one synced with its folder.
//!
//! # Guarantees
//! - A new object is staged, synced and linked, so it is there whole or not at all.
//! - New objects that are uploaded have their own name from the start; replaced ones are staged.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;

use super::{Listed, Object, Opened, Stat, Store, Upload};
use crate::durable;

/// The files below a folder.
#[derive(Clone)]
pub(crate) struct LocalStore {
    root: PathBuf,
}

impl LocalStore {
    pub(crate) fn shared(root: &Path) -> Arc<dyn Store> {
        Arc::new(LocalStore { root: root.to_path_buf() })
    }
}

impl fmt::Debug for LocalStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("LocalStore").field(&self.root).finish()
    }
}

impl Store for LocalStore {
    fn below(&self, folder: &str) -> Arc<dyn Store> {
        LocalStore::shared(&self.place(folder))
    }

    fn place(&self, path: &str) -> PathBuf {
        // Joining an empty path would add a slash.
        if path.is_empty() { self.root.clone() } else { self.root.join(path) }
    }

    fn read(&self, path: &str) -> io::Result<Vec<u8>> {
        fs::read(self.place(path))
    }

    fn open(&self, path: &str) -> io::Result<Opened> {
        let file = File::open(self.place(path))?;
        let size = file.metadata()?.len();
        Ok(Opened::new(LocalObject { file, size }))
    }

    fn put_new(&self, path: &str, parts: &[&[u8]]) -> io::Result<()> {
        durable::put_new(&self.place(path), parts.iter().copied())
    }

    fn put(&self, path: &str, parts: &[&[u8]]) -> io::Result<()> {
        durable::put_replace(&self.place(path), parts.iter().copied())
    }

    fn upload_new(&self, path: &str) -> io::Result<Box<dyn Upload>> {
        let path = self.place(path);
        durable::create_dirs(path.parent().unwrap_or(&self.root))?;
        let file = File::create_new(&path)?;
        durable::created(&path);
        Ok(Box::new(LocalUpload::new(file, path, None)))
    }

    fn upload(&self, path: &str) -> io::Result<Box<dyn Upload>> {
        let path = self.place(path);
        let (file, staged) = durable::create_staged(&path)?;
        Ok(Box::new(LocalUpload::new(file, staged, Some(path))))
    }

    fn confirm(&self, path: &str) -> io::Result<()> {
        durable::sync_parent(&self.place(path))
    }

    fn stat(&self, path: &str) -> io::Result<Stat> {
        let metadata = fs::metadata(self.place(path))?;
        Ok(Stat { size: metadata.len(), modified: metadata.modified()? })
    }

    fn list(&self, folder: &str) -> io::Result<Vec<Listed>> {
        let mut found = Vec::new();
        for entry in fs::read_dir(self.place(folder))? {
            let entry = entry?;
            // Nothing of a lake has such a name.
            let Ok(name) = entry.file_name().into_string() else { continue };
            let kind = entry.file_type()?;
            let is_folder = kind.is_dir() || (kind.is_symlink() && entry.path().is_dir());
            found.push(Listed { name, is_folder, stat: None });
        }
        Ok(found)
    }

    fn has_folder(&self, folder: &str) -> bool {
        self.place(folder).is_dir()
    }

    fn create_folder(&self, folder: &str) -> io::Result<()> {
        durable::create_dirs(&self.place(folder))
    }

    fn delete(&self, path: &str) -> io::Result<()> {
        durable::remove(&self.place(path))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        durable::move_file(&self.place(from), &self.place(to))
    }

    fn remove_unfinished(&self, folder: &str) -> io::Result<()> {
        let folder = self.place(folder);
        for entry in fs::read_dir(&folder)? {
            let entry = entry?;
            if durable::is_staging_name(&entry.file_name().to_string_lossy()) {
                tracing::info!(path = %entry.path().display(), "removed an unfinished file");
                durable::remove_quietly(&entry.path());
            }
        }
        Ok(())
    }
}

/// A file that is open for reading.
struct LocalObject {
    file: File,
    size: u64,
}

impl Object for LocalObject {
    fn size(&self) -> u64 {
        self.size
    }

    fn bytes(&self, at: u64, size: usize) -> io::Result<Bytes> {
        let mut bytes = vec![0_u8; size];
        self.file.read_exact_at(&mut bytes, at)?;
        Ok(bytes.into())
    }

    fn reader(&self, at: u64) -> io::Result<Box<dyn Read + Send>> {
        let mut file = self.file.try_clone()?;
        file.seek(SeekFrom::Start(at))?;
        Ok(Box::new(BufReader::new(file)))
    }
}

/// A file that is being written: under its own name, or under a staging name until it is finished.
struct LocalUpload {
    file: File,
    written: PathBuf,
    replaces: Option<PathBuf>,
    is_synced: bool,
    is_finished: bool,
}

impl LocalUpload {
    fn new(file: File, written: PathBuf, replaces: Option<PathBuf>) -> LocalUpload {
        LocalUpload { file, written, replaces, is_synced: false, is_finished: false }
    }
}

impl Write for LocalUpload {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.is_synced = false;
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Upload for LocalUpload {
    fn sync(&mut self) -> io::Result<()> {
        if !self.is_synced {
            durable::sync_file(&self.file, &self.written)?;
            self.is_synced = true;
        }
        Ok(())
    }

    fn finish(&mut self) -> io::Result<()> {
        self.sync()?;
        match &self.replaces {
            None => durable::sync_parent(&self.written)?,
            Some(path) => durable::rename_staged(&self.written, path)?,
        }
        self.is_finished = true;
        Ok(())
    }
}

impl Drop for LocalUpload {
    fn drop(&mut self) {
        if !self.is_finished {
            durable::remove_quietly(&self.written);
        }
    }
}
