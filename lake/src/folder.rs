//! The lake's folder: its identity, its lock and where its tables are.
//!
//! # Guarantees
//! - At most one writer per lake: the lock is the operating system's, so it ends with the process.
//! - A lake in another format is refused before anything in it is touched.
//!
//! # Non-guarantees
//! - Readers take no lock; they rely on entries and data files never changing once written.

use std::fmt;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use schemas::Clock;
use serde::{Deserialize, Serialize};

use crate::durable;
use crate::error::LakeError;
use crate::log::files::FOLDER as LOG_FOLDER;
use crate::store::{LocalStore, Store};
use crate::work_dir::{self, WorkDir};

/// The format of the lakes that this program reads and writes.
pub const FORMAT_VERSION: u64 = 1;

const STATE_DIR: &str = "_weir";
const LOCK_RETRY: Duration = Duration::from_millis(50);

/// A lake: a folder with tables, and the right to write them if it was opened as their writer.
///
/// Cloning is cheap. The lock is held until the last clone and the last table are dropped.
#[derive(Debug, Clone)]
pub struct Lake {
    inner: Arc<Inner>,
}

struct Inner {
    root: PathBuf,
    /// Of all below the root.
    store: Arc<dyn Store>,
    identity: Identity,
    work: PathBuf,
    writer: Option<Writer>,
}

/// What only a writer has.
pub(crate) struct Writer {
    pub(crate) clock: Arc<dyn Clock>,
    /// When the lock was taken, on the clock of the file system.
    pub(crate) since: SystemTime,
    _lock: File,
}

#[derive(Debug, Serialize, Deserialize)]
struct Identity {
    lake_id: String,
    format_version: u64,
    /// The program that created the lake.
    #[serde(default)]
    written_by: String,
}

/// The part of an identity that every format has.
#[derive(Debug, Deserialize)]
struct Format {
    format_version: u64,
    #[serde(default)]
    written_by: String,
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("Inner");
        out.field("root", &self.root).field("identity", &self.identity);
        out.field("writer", &self.writer.is_some()).finish()
    }
}

impl Lake {
    /// Opens the lake in `root` for writing and creates it if it is not there.
    ///
    /// Waits up to `wait` for another writer to end, and removes what crashed writers left staged.
    pub fn open_writer(
        root: &Path,
        wait: Duration,
        clock: Arc<dyn Clock>,
    ) -> Result<Lake, LakeError> {
        Lake::open_locked(root, wait, clock, work_dir::read, LocalStore::shared)
    }

    /// The same, with the working folder `work`, or the lake's own folder.
    pub fn open_writer_with(
        root: &Path,
        work: Option<&Path>,
        wait: Duration,
        clock: Arc<dyn Clock>,
    ) -> Result<Lake, LakeError> {
        let settle = |state: &Path| work_dir::settle(state, work);
        Lake::open_locked(root, wait, clock, settle, LocalStore::shared)
    }

    /// The lock and the working folder are on this machine, whatever the store.
    pub(crate) fn open_locked(
        root: &Path,
        wait: Duration,
        clock: Arc<dyn Clock>,
        work: impl FnOnce(&Path) -> Result<PathBuf, LakeError>,
        store: impl FnOnce(&Path) -> Arc<dyn Store>,
    ) -> Result<Lake, LakeError> {
        let state = root.join(STATE_DIR);
        durable::create_dirs(&state).map_err(LakeError::io("create", &state))?;
        let root = fs::canonicalize(root).map_err(LakeError::io("open", root))?;
        let lock = take_lock(&root, wait)?;
        let store = store(&root);
        let identity = match read_identity(&*store)? {
            Some(identity) => identity,
            None => create_identity(&*store)?,
        };
        let work = work(&root.join(STATE_DIR))?;
        let path = root.join(STATE_DIR).join("lock");
        let since = lock
            .metadata()
            .and_then(|metadata| metadata.modified())
            .map_err(LakeError::io("read the time of", &path))?;
        let writer = Some(Writer { clock, since, _lock: lock });
        let lake = Lake { inner: Arc::new(Inner { root, store, identity, work, writer }) };
        lake.remove_staged()?;
        Ok(lake)
    }

    /// Opens an existing lake for reading: takes no lock and writes nothing.
    pub fn open_reader(root: &Path) -> Result<Lake, LakeError> {
        let missing = || LakeError::NoLake { folder: root.to_path_buf() };
        let folder = fs::canonicalize(root).map_err(|_| missing())?;
        let store = LocalStore::shared(&folder);
        let identity = read_identity(&*store)?.ok_or_else(missing)?;
        let work = work_dir::read(&folder.join(STATE_DIR))?;
        Ok(Lake { inner: Arc::new(Inner { root: folder, store, identity, work, writer: None }) })
    }

    /// The id given to the lake when it was created; copies keep it.
    pub fn id(&self) -> &str {
        &self.inner.identity.lake_id
    }

    /// The lake's folder, absolute.
    pub fn root(&self) -> &Path {
        &self.inner.root
    }

    /// The lake's own folder: identity, lock, quarantine.
    pub fn state_dir(&self) -> PathBuf {
        self.inner.root.join(STATE_DIR)
    }

    /// The working folder: ledger, control file, saved state. The lake's own, unless it names another.
    pub fn work_dir(&self) -> &Path {
        &self.inner.work
    }

    /// What a writer finds that is told the working folder `wanted`, or the lake's own where `None`.
    ///
    /// # Errors
    /// When what belongs into it lies elsewhere: the writer would be refused.
    pub fn find_work_dir(&self, wanted: Option<&Path>) -> Result<WorkDir, LakeError> {
        work_dir::find(&self.state_dir(), wanted)
    }

    /// True if this process holds the lake's lock.
    pub fn is_writer(&self) -> bool {
        self.inner.writer.is_some()
    }

    /// The names of the lake's tables, sorted.
    pub fn table_names(&self) -> Result<Vec<String>, LakeError> {
        let mut names = Vec::new();
        let store = &*self.inner.store;
        let is_table = |name: &str| store.has_folder(&format!("{name}/{}", LOG_FOLDER));
        let below = |folder: &str| -> Result<Vec<String>, LakeError> {
            let found = sub_folders(store, folder)?.into_iter();
            Ok(found.map(|name| format!("{folder}/{name}")).collect())
        };
        for layer in sub_folders(store, "")?.into_iter().filter(|layer| layer != STATE_DIR) {
            for name in below(&layer)? {
                match is_table(&name) {
                    true => names.push(name),
                    false => names.extend(below(&name)?.into_iter().filter(|it| is_table(it))),
                }
            }
            if is_table(&layer) {
                names.push(layer);
            }
        }
        names.sort();
        Ok(names)
    }

    pub(crate) fn writer(&self, table: &str) -> Result<&Writer, LakeError> {
        let missing = || LakeError::ReadOnly { table: table.to_owned() };
        self.inner.writer.as_ref().ok_or_else(missing)
    }

    /// The store of a table's folder. Names are folders, so nothing but plain words may be in them.
    pub(crate) fn table_store(&self, name: &str) -> Result<Arc<dyn Store>, LakeError> {
        let word = |word: &str| {
            let plain =
                |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
            !word.is_empty() && !word.starts_with('_') && word.bytes().all(plain)
        };
        if name.split('/').count() > 3 || !name.split('/').all(word) {
            return Err(LakeError::BadName { what: "table name", text: name.to_owned() });
        }
        Ok(self.inner.store.below(name))
    }

    /// Moves a damaged object out of a table's way, or all of the table, and says where it is now.
    pub(crate) fn quarantine(&self, table: &str, path: Option<&str>) -> Result<PathBuf, LakeError> {
        let store = &*self.inner.store;
        let folder = format!("{STATE_DIR}/quarantine/{}", table.replace('/', "."));
        store.create_folder(&folder).map_err(LakeError::at("create", store, &folder))?;
        let from = path.map_or_else(|| table.to_owned(), |path| format!("{table}/{path}"));
        let name = from.rsplit('/').next().unwrap_or_default();
        let mut number = 0_u32;
        let target = loop {
            let target = format!("{folder}/{name}.damaged-{number}");
            if store.stat(&target).is_err() && !store.has_folder(&target) {
                break target;
            }
            number += 1;
        };
        store.rename(&from, &target).map_err(LakeError::at("move aside", store, &from))?;
        Ok(store.place(&target))
    }

    /// Moves a table's folder out of the way, to be built again, and says where it is now.
    pub fn set_table_aside(&self, table: &str) -> Result<PathBuf, LakeError> {
        self.writer(table)?;
        self.table_store(table)?;
        self.quarantine(table, None)
    }

    /// Puts a file beside the tables of a layer, such as `_metrics.json` in `gold`, in the place of an older one:
    /// whole or not at all. Says whether that held anything else. The name begins with `_`, as that of no table.
    pub fn put_beside(&self, layer: &str, name: &str, text: &str) -> Result<bool, LakeError> {
        let path = format!("{layer}/{name}");
        self.writer(&path)?;
        self.table_store(layer)?;
        if !name.starts_with('_') || name.contains('/') {
            return Err(LakeError::BadName { what: "name of a file", text: path });
        }
        let store = &*self.inner.store;
        if store.read(&path).is_ok_and(|held| held == text.as_bytes()) {
            return Ok(false);
        }
        store.create_folder(layer).map_err(LakeError::at("create", store, layer))?;
        store.remove_unfinished(layer).map_err(LakeError::at("list", store, layer))?;
        store.put(&path, &[text.as_bytes()]).map_err(LakeError::at("write", store, &path))?;
        Ok(true)
    }

    fn remove_staged(&self) -> Result<(), LakeError> {
        let store = &*self.inner.store;
        let logs = self.table_names()?.into_iter().map(|table| format!("{table}/{}", LOG_FOLDER));
        for folder in std::iter::once(STATE_DIR.to_owned()).chain(logs) {
            store.remove_unfinished(&folder).map_err(LakeError::at("list", store, &folder))?;
        }
        Ok(())
    }
}

fn sub_folders(store: &dyn Store, folder: &str) -> Result<Vec<String>, LakeError> {
    let found = store.list(folder).map_err(LakeError::at("list", store, folder))?;
    Ok(found.into_iter().filter(|it| it.is_folder).map(|it| it.name).collect())
}

fn identity_name() -> String {
    format!("{STATE_DIR}/lake.json")
}

fn read_identity(store: &dyn Store) -> Result<Option<Identity>, LakeError> {
    let name = identity_name();
    let text = match store.read(&name) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other.map_err(LakeError::at("read", store, &name))?,
    };
    let fault = || LakeError::engine_at("read", store, &name);
    let format: Format = serde_json::from_slice(&text).map_err(fault())?;
    if format.format_version != FORMAT_VERSION {
        let by = match format.written_by.as_str() {
            "" => "another release of weir".to_owned(),
            by => by.to_owned(),
        };
        return Err(LakeError::FormatVersion {
            folder: store.place(""),
            by,
            found: format.format_version,
            supported: FORMAT_VERSION,
        });
    }
    serde_json::from_slice(&text).map(Some).map_err(fault())
}

fn create_identity(store: &dyn Store) -> Result<Identity, LakeError> {
    let name = identity_name();
    let lake_id = uuid::Uuid::new_v4().to_string();
    let written_by = crate::ENGINE.to_owned();
    let identity = Identity { lake_id, format_version: FORMAT_VERSION, written_by };
    let text =
        serde_json::to_string(&identity).map_err(LakeError::engine_at("write", store, &name))?;
    let parts = [text.as_bytes(), b"\n"];
    store.put_new(&name, &parts).map_err(LakeError::at("write", store, &name))?;
    Ok(identity)
}

/// Takes the exclusive lock and writes this process's id into its file.
fn take_lock(root: &Path, wait: Duration) -> Result<File, LakeError> {
    let path = root.join(STATE_DIR).join("lock");
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    let mut file = options.open(&path).map_err(LakeError::io("open", &path))?;
    let deadline = Instant::now() + wait;
    loop {
        match file.try_lock() {
            Ok(()) => break,
            Err(TryLockError::WouldBlock) if Instant::now() < deadline => {
                std::thread::sleep(LOCK_RETRY.min(wait));
            }
            Err(TryLockError::WouldBlock) => {
                let mut pid = String::new();
                if file.read_to_string(&mut pid).is_err() || pid.trim().is_empty() {
                    "unknown".clone_into(&mut pid);
                }
                let pid = pid.trim().to_owned();
                return Err(LakeError::LakeInUse { folder: root.to_path_buf(), pid });
            }
            Err(TryLockError::Error(source)) => {
                return Err(LakeError::Io { action: "lock", path, source });
            }
        }
    }
    let write = |file: &mut File| {
        file.set_len(0)?;
        file.rewind()?;
        writeln!(file, "{}", std::process::id())
    };
    write(&mut file).map_err(LakeError::io("write", &path))?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::tests_support::TestClock;

    fn open(root: &Path) -> Result<Lake, LakeError> {
        Lake::open_writer(root, Duration::ZERO, TestClock::shared())
    }

    #[test]
    fn one_writer_at_a_time_and_any_number_of_readers() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("new/lake");
        let missing = Lake::open_reader(&root).unwrap_err();
        assert!(matches!(missing, LakeError::NoLake { .. }), "{missing}");
        let lake = open(&root).unwrap();
        let refused = open(&root).unwrap_err();
        let text = refused.to_string();
        assert!(matches!(refused, LakeError::LakeInUse { .. }), "{text}");
        assert!(text.contains(&std::process::id().to_string()), "{text}");
        assert!(text.contains("new/lake"), "{text}");
        assert_eq!(Lake::open_reader(&root).unwrap().id(), lake.id());
        let id = lake.id().to_owned();
        drop(lake);
        assert_eq!(open(&root).unwrap().id(), id, "the identity stays");
    }

    #[test]
    fn a_waiting_writer_gets_the_lock_when_the_other_ends() {
        let folder = tempfile::tempdir().unwrap();
        let first = open(folder.path()).unwrap();
        let root = folder.path().to_path_buf();
        let second = std::thread::spawn(move || {
            Lake::open_writer(&root, Duration::from_secs(20), TestClock::shared())
        });
        std::thread::sleep(Duration::from_millis(120));
        drop(first);
        assert!(second.join().unwrap().is_ok());
    }

    #[test]
    fn another_format_is_refused_with_both_versions() {
        let folder = tempfile::tempdir().unwrap();
        drop(open(folder.path()).unwrap());
        let path = folder.path().join("_weir/lake.json");
        fs::write(&path, r#"{"format_version":7,"written_by":"weir/9.9"}"#).unwrap();
        for error in
            [open(folder.path()).unwrap_err(), Lake::open_reader(folder.path()).unwrap_err()]
        {
            let text = error.to_string();
            assert!(text.contains("version 7") && text.contains("version 1"), "{text}");
            assert!(text.contains("weir/9.9"), "{text}");
        }
    }

    #[test]
    fn table_names_are_plain_words() {
        let folder = tempfile::tempdir().unwrap();
        let lake = open(folder.path()).unwrap();
        for bad in
            ["", "..", "a/../b", "/a", "a/", "a/b/c/d", "A", "a b", "_weir", "a/_delta_log", "%2e"]
        {
            assert!(lake.table_store(bad).is_err(), "{bad:?}");
        }
        for good in ["silver/order_items2", "gold/views/sales"] {
            assert!(lake.table_store(good).is_ok(), "{good}");
        }
    }

    #[test]
    fn a_file_beside_tables_is_put_whole_and_only_where_it_differs() {
        let folder = tempfile::tempdir().unwrap();
        let lake = open(folder.path()).unwrap();
        let read = || fs::read_to_string(folder.path().join("gold/_metrics.json")).unwrap();
        assert!(lake.put_beside("gold", "_metrics.json", "one").unwrap());
        assert!(!lake.put_beside("gold", "_metrics.json", "one").unwrap(), "as it is");
        let left = folder.path().join("gold/_metrics.json#3");
        fs::write(&left, "tw").unwrap();
        assert!(lake.put_beside("gold", "_metrics.json", "two").unwrap());
        assert_eq!((read().as_str(), left.exists()), ("two", false), "what a crash left goes");
        assert_eq!(lake.table_names().unwrap(), [""; 0]);
        for (layer, name) in [("gold", "metrics"), ("..", "_x"), ("_weir", "_x"), ("gold", "_x/y")]
        {
            assert!(lake.put_beside(layer, name, "x").is_err(), "{layer}/{name}");
        }
        let reader = Lake::open_reader(folder.path()).unwrap();
        assert!(reader.put_beside("gold", "_metrics.json", "x").is_err());
    }
}
