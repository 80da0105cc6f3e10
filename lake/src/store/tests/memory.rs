//! A store in memory that remembers every step and can lose power after any of them.
//!
//! # Guarantees
//! - It keeps what [`Store`] promises and nothing more: parts of new objects are seen, deletions may be undone
//!   by a power cut, folders are not there before something lies in them.

use std::collections::BTreeMap;
use std::io::{self, Cursor, Read, Write};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use bytes::Bytes;

use crate::store::{Listed, Object, Opened, Stat, Store, Upload};

/// What was done to an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    Put(String, Bytes),
    /// A new object has its name, without contents that survive.
    Begun(String),
    /// This much of it survives.
    Synced(String, Bytes),
    Finished(String, Bytes),
    Deleted(String),
    Renamed(String, String),
    /// Something that a test wants to remember at this step.
    Mark(i64),
}

#[derive(Debug, Clone)]
struct Stored {
    bytes: Bytes,
    modified: SystemTime,
}

#[derive(Debug, Default)]
struct Inner {
    objects: BTreeMap<String, Stored>,
    steps: Vec<Step>,
    calls: BTreeMap<&'static str, usize>,
}

/// A folder of the store.
#[derive(Debug, Clone, Default)]
pub(crate) struct MemoryStore {
    inner: Arc<Mutex<Inner>>,
    folder: String,
}

/// The clock by which files get their times, too.
#[expect(
    clippy::disallowed_methods,
    reason = "a store has a clock of its own, as a file system has"
)]
pub(crate) fn now() -> SystemTime {
    SystemTime::now()
}

fn folder_of(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(folder, _)| folder)
}

impl MemoryStore {
    /// What a power cut after `steps` leaves. Of the deletions in a folder since something was put there,
    /// `share` of 0 to 8 eighths are not undone; an object that was begun is there in part, or not at all.
    pub(crate) fn after(steps: &[Step], share: usize) -> MemoryStore {
        let store = MemoryStore::default();
        let mut deleted: BTreeMap<String, Vec<(String, Stored)>> = BTreeMap::new();
        let mut begun: BTreeMap<String, Bytes> = BTreeMap::new();
        let mut inner = store.inner.lock().unwrap();
        for step in steps {
            match step {
                Step::Put(path, bytes) | Step::Finished(path, bytes) => {
                    begun.remove(path);
                    deleted.remove(folder_of(path));
                    inner.set(path.clone(), bytes.clone());
                }
                Step::Begun(path) => drop(begun.insert(path.clone(), Bytes::new())),
                Step::Synced(path, bytes) => drop(begun.insert(path.clone(), bytes.clone())),
                Step::Deleted(path) => {
                    begun.remove(path);
                    if let Some(stored) = inner.objects.remove(path) {
                        let folder = folder_of(path).to_owned();
                        deleted.entry(folder).or_default().push((path.clone(), stored));
                    }
                }
                Step::Renamed(from, to) => inner.rename(from, to),
                Step::Mark(_) => {}
            }
        }
        for paths in deleted.into_values() {
            let kept = paths.len() * share / 8;
            inner.objects.extend(paths.into_iter().skip(kept));
        }
        for (path, bytes) in begun.into_iter().filter(|_| share > 0) {
            inner.set(path, bytes);
        }
        drop(inner);
        store
    }

    pub(crate) fn steps(&self) -> Vec<Step> {
        self.inner.lock().unwrap().steps.clone()
    }

    pub(crate) fn mark(&self, number: i64) {
        self.inner.lock().unwrap().steps.push(Step::Mark(number));
    }

    /// The calls since this was asked last.
    pub(crate) fn take_calls(&self) -> BTreeMap<&'static str, usize> {
        std::mem::take(&mut self.inner.lock().unwrap().calls)
    }

    fn full(&self, path: &str) -> String {
        let parts = [self.folder.as_str(), path].into_iter().filter(|part| !part.is_empty());
        parts.collect::<Vec<_>>().join("/")
    }

    fn called<T>(&self, call: &'static str, act: impl FnOnce(&mut Inner) -> T) -> T {
        let mut inner = self.inner.lock().unwrap();
        *inner.calls.entry(call).or_default() += 1;
        act(&mut inner)
    }

    fn start(&self, call: &'static str, path: &str, is_new: bool) -> io::Result<Box<dyn Upload>> {
        let path = self.full(path);
        self.called(call, |inner| {
            if is_new {
                inner.refuse_held(&path)?;
                inner.steps.push(Step::Begun(path.clone()));
                inner.set(path.clone(), Bytes::new());
            }
            io::Result::Ok(())
        })?;
        let inner = Arc::clone(&self.inner);
        Ok(Box::new(MemoryUpload { inner, path, is_new, bytes: Vec::new(), is_finished: false }))
    }
}

impl Inner {
    fn set(&mut self, path: String, bytes: Bytes) {
        self.objects.insert(path, Stored { bytes, modified: now() });
    }

    fn get(&self, path: &str) -> io::Result<&Stored> {
        let missing = || io::Error::new(io::ErrorKind::NotFound, format!("no object {path}"));
        self.objects.get(path).ok_or_else(missing)
    }

    fn refuse_held(&self, path: &str) -> io::Result<()> {
        match self.objects.contains_key(path) {
            true => Err(io::Error::new(io::ErrorKind::AlreadyExists, path.to_owned())),
            false => Ok(()),
        }
    }

    fn put(&mut self, path: String, parts: &[&[u8]]) {
        let bytes = Bytes::from(parts.concat());
        self.steps.push(Step::Put(path.clone(), bytes.clone()));
        self.set(path, bytes);
    }

    fn rename(&mut self, from: &str, to: &str) {
        let below = format!("{from}/");
        let is_meant = |path: &String| path == from || path.starts_with(&below);
        let meant: Vec<String> =
            self.objects.keys().filter(|path| is_meant(path)).cloned().collect();
        for path in meant {
            let stored = self.objects.remove(&path).unwrap();
            self.objects.insert(path.replacen(from, to, 1), stored);
        }
    }
}

impl Store for MemoryStore {
    fn below(&self, folder: &str) -> Arc<dyn Store> {
        Arc::new(MemoryStore { inner: Arc::clone(&self.inner), folder: self.full(folder) })
    }

    fn place(&self, path: &str) -> PathBuf {
        PathBuf::from("memory:").join(self.full(path))
    }

    fn read(&self, path: &str) -> io::Result<Vec<u8>> {
        let path = self.full(path);
        self.called("read", |inner| Ok(inner.get(&path)?.bytes.to_vec()))
    }

    fn open(&self, path: &str) -> io::Result<Opened> {
        let path = self.full(path);
        self.called("open", |inner| Ok(Opened::new(MemoryObject(inner.get(&path)?.bytes.clone()))))
    }

    fn put_new(&self, path: &str, parts: &[&[u8]]) -> io::Result<()> {
        let path = self.full(path);
        self.called("put_new", |inner| {
            inner.refuse_held(&path)?;
            inner.put(path, parts);
            Ok(())
        })
    }

    fn put(&self, path: &str, parts: &[&[u8]]) -> io::Result<()> {
        let path = self.full(path);
        self.called("put", |inner| inner.put(path, parts));
        Ok(())
    }

    fn upload_new(&self, path: &str) -> io::Result<Box<dyn Upload>> {
        self.start("upload_new", path, true)
    }

    fn upload(&self, path: &str) -> io::Result<Box<dyn Upload>> {
        self.start("upload", path, false)
    }

    fn confirm(&self, _: &str) -> io::Result<()> {
        self.called("confirm", |_| Ok(()))
    }

    fn stat(&self, path: &str) -> io::Result<Stat> {
        let path = self.full(path);
        self.called("stat", |inner| {
            let Stored { bytes, modified } = inner.get(&path)?;
            Ok(Stat { size: bytes.len() as u64, modified: *modified })
        })
    }

    fn list(&self, folder: &str) -> io::Result<Vec<Listed>> {
        let folder = self.full(folder);
        let prefix = if folder.is_empty() { folder } else { format!("{folder}/") };
        self.called("list", |inner| {
            let mut found: BTreeMap<String, Option<Stat>> = BTreeMap::new();
            for (path, Stored { bytes, modified }) in &inner.objects {
                let Some(below) = path.strip_prefix(&prefix) else { continue };
                let stat = Stat { size: bytes.len() as u64, modified: *modified };
                match below.split_once('/') {
                    Some((name, _)) => found.insert(name.to_owned(), None),
                    None => found.insert(below.to_owned(), Some(stat)),
                };
            }
            let listed = |(name, stat): (String, Option<Stat>)| Listed {
                name,
                is_folder: stat.is_none(),
                stat,
            };
            Ok(found.into_iter().map(listed).collect())
        })
    }

    fn has_folder(&self, folder: &str) -> bool {
        let prefix = format!("{}/", self.full(folder));
        self.called("has_folder", |inner| inner.objects.keys().any(|it| it.starts_with(&prefix)))
    }

    fn create_folder(&self, _: &str) -> io::Result<()> {
        Ok(())
    }

    fn delete(&self, path: &str) -> io::Result<()> {
        let path = self.full(path);
        self.called("delete", |inner| {
            inner.get(&path)?;
            inner.objects.remove(&path);
            inner.steps.push(Step::Deleted(path));
            Ok(())
        })
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let (from, to) = (self.full(from), self.full(to));
        self.called("rename", |inner| {
            inner.rename(&from, &to);
            inner.steps.push(Step::Renamed(from, to));
            Ok(())
        })
    }

    fn remove_unfinished(&self, _: &str) -> io::Result<()> {
        Ok(())
    }
}

struct MemoryObject(Bytes);

impl Object for MemoryObject {
    fn size(&self) -> u64 {
        self.0.len() as u64
    }

    fn bytes(&self, at: u64, size: usize) -> io::Result<Bytes> {
        let at = usize::try_from(at).unwrap();
        match at.checked_add(size) {
            Some(end) if end <= self.0.len() => Ok(self.0.slice(at..end)),
            _ => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }

    fn reader(&self, at: u64) -> io::Result<Box<dyn Read + Send>> {
        let mut reader = Cursor::new(self.0.clone());
        reader.set_position(at);
        Ok(Box::new(reader))
    }
}

struct MemoryUpload {
    inner: Arc<Mutex<Inner>>,
    path: String,
    is_new: bool,
    bytes: Vec<u8>,
    is_finished: bool,
}

impl Write for MemoryUpload {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bytes.extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Upload for MemoryUpload {
    fn sync(&mut self) -> io::Result<()> {
        if self.is_new {
            let step = Step::Synced(self.path.clone(), Bytes::copy_from_slice(&self.bytes));
            self.inner.lock().unwrap().steps.push(step);
        }
        Ok(())
    }

    fn finish(&mut self) -> io::Result<()> {
        let bytes = Bytes::copy_from_slice(&self.bytes);
        let mut inner = self.inner.lock().unwrap();
        inner.steps.push(Step::Finished(self.path.clone(), bytes.clone()));
        inner.set(self.path.clone(), bytes);
        self.is_finished = true;
        Ok(())
    }
}

impl Drop for MemoryUpload {
    fn drop(&mut self) {
        if self.is_new && !self.is_finished {
            let mut inner = self.inner.lock().unwrap();
            inner.objects.remove(&self.path);
            inner.steps.push(Step::Deleted(self.path.clone()));
        }
    }
}
