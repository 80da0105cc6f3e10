//! A disk that loses power: what is left of a folder when every write that was not synced is gone.
//!
//! It records what is done to files below a watched folder, and can lay out elsewhere what a power
//! cut after any of these steps would have left.
//!
//! # Guarantees
//! - Bytes are there as they were when their file was last synced; a file that never was is empty.
//! - Names are there as they were when their folder was last synced. What was done to the names of a
//!   folder since then is gone or, as a file system may have written some of it, there up to a step.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

/// One step, as the file system sees it.
#[derive(Debug, Clone)]
pub(crate) enum Event {
    Create(PathBuf),
    SyncFile(PathBuf),
    Synced(PathBuf, Vec<u8>),
    Link(PathBuf, PathBuf),
    Rename(PathBuf, PathBuf),
    Remove(PathBuf),
    SyncFolder(PathBuf),
    /// Something that a test wants to remember at this step.
    Mark(i64),
}

static WATCHED: Mutex<Vec<(PathBuf, Vec<Event>)>> = Mutex::new(Vec::new());

/// Starts to record what is done below `root`.
pub(crate) fn watch(root: &Path) {
    WATCHED.lock().unwrap().push((root.to_path_buf(), Vec::new()));
}

/// What was done below `root`, in order.
pub(crate) fn events(root: &Path) -> Vec<Event> {
    let watched = WATCHED.lock().unwrap();
    watched.iter().find(|(of, _)| of == root).map(|(_, events)| events.clone()).unwrap()
}

pub(super) fn note(path: &Path, event: impl FnOnce(PathBuf) -> Event) {
    let mut watched = WATCHED.lock().unwrap();
    let Some((_, events)) = watched.iter_mut().find(|(root, _)| path.starts_with(root)) else {
        return;
    };
    events.push(match event(path.to_path_buf()) {
        Event::SyncFile(path) => Event::Synced(path.clone(), fs::read(&path).unwrap_or_default()),
        event => event,
    });
}

/// Remembers a step.
pub(crate) fn mark(root: &Path, number: i64) {
    note(root, |_| Event::Mark(number));
}

/// A name that was given or taken.
#[derive(Debug, Clone)]
enum Naming {
    Given(PathBuf, usize),
    Taken(PathBuf),
}

/// The disk after some steps.
#[derive(Debug, Default)]
struct Disk {
    /// Synced bytes by file.
    bytes: Vec<Vec<u8>>,
    /// Names as processes see them.
    seen: BTreeMap<PathBuf, usize>,
    /// Names that are on the disk.
    kept: BTreeMap<PathBuf, usize>,
    /// What was done to names since their folder was synced, by folder.
    open: BTreeMap<PathBuf, Vec<Naming>>,
}

/// Writes into `target` what a power cut after `events` leaves of `root`. Of what was done to names
/// and not synced, `share` of 0 to 8 eighths is there.
pub(crate) fn cut_power(events: &[Event], root: &Path, target: &Path, share: usize) {
    let mut disk = Disk::default();
    events.iter().for_each(|event| disk.apply(event));
    for namings in std::mem::take(&mut disk.open).into_values() {
        let count = namings.len() * share / 8;
        namings.into_iter().take(count).for_each(|naming| disk.keep(naming));
    }
    for (path, file) in &disk.kept {
        let path = target.join(path.strip_prefix(root).unwrap());
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, &disk.bytes[*file]).unwrap();
    }
}

impl Disk {
    fn apply(&mut self, event: &Event) {
        match event {
            Event::Create(path) => {
                self.bytes.push(Vec::new());
                self.give(path, self.bytes.len() - 1);
            }
            Event::Synced(path, bytes) => self.bytes[self.seen[path]].clone_from(bytes),
            Event::Link(from, to) => self.give(to, self.seen[from]),
            Event::Rename(from, to) => {
                let file = self.seen[from];
                self.give(to, file);
                self.take(from);
            }
            Event::Remove(path) => self.take(path),
            Event::SyncFolder(folder) => {
                let namings = self.open.remove(folder).unwrap_or_default();
                namings.into_iter().for_each(|naming| self.keep(naming));
            }
            Event::SyncFile(_) | Event::Mark(_) => {}
        }
    }

    fn give(&mut self, path: &Path, file: usize) {
        self.seen.insert(path.to_path_buf(), file);
        let naming = Naming::Given(path.to_path_buf(), file);
        self.open.entry(path.parent().unwrap().to_path_buf()).or_default().push(naming);
    }

    fn take(&mut self, path: &Path) {
        if self.seen.remove(path).is_some() {
            let naming = Naming::Taken(path.to_path_buf());
            self.open.entry(path.parent().unwrap().to_path_buf()).or_default().push(naming);
        }
    }

    fn keep(&mut self, naming: Naming) {
        match naming {
            Naming::Given(path, file) => {
                self.kept.insert(path, file);
            }
            Naming::Taken(path) => {
                self.kept.remove(&path);
            }
        }
    }
}
