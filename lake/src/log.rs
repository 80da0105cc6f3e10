//! Reading a table's log: which versions there are, and what a version holds.
//!
//! # Guarantees
//! - A state is only ever built from entries whose seals are whole and form a chain, and from
//!   checkpoints whose hash is right. Anything else is repaired as below or refused by name.
//! - Repair (writer only) moves files aside and loses nothing that was consistent: the *newest*
//!   entry, whose rows and progress go together, and checkpoints, which the entries can replace.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use serde::Deserialize;

use crate::checkpoint;
use crate::error::LakeError;
use crate::folder::Lake;
use crate::seal::{self, Entry, Fault};
use crate::store::{Listed, Store};
use crate::version::{DataFile, State};

pub(crate) const RESTORE: &str = "restore the file from a copy of the lake, or move the table's folder away \
                       and rebuild the table";
const OTHER_WRITER: &str = "only weir may write to its lakes: restore the table from a copy";

/// The log's folder, below the table's.
pub(crate) const FOLDER: &str = "_delta_log";

/// A table's log in the store of the table's folder, and how to speak of it in errors.
#[derive(Debug, Clone)]
pub(crate) struct Log {
    pub(crate) table: String,
    pub(crate) store: Arc<dyn Store>,
}

/// The files of a log, by version, ascending.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    pub(crate) entries: Vec<i64>,
    pub(crate) checkpoints: Vec<i64>,
}

/// A log that was looked through for damage at its end.
#[derive(Debug, Default)]
pub(crate) struct Surveyed {
    pub(crate) listing: Listing,
    pub(crate) warnings: Vec<String>,
}

impl Surveyed {
    /// The newest whole version.
    pub(crate) fn newest(&self) -> Option<i64> {
        self.listing.entries.last().copied()
    }
}

impl Log {
    pub(crate) fn new(table: &str, store: Arc<dyn Store>) -> Log {
        Log { table: table.to_owned(), store }
    }

    pub(crate) fn entry_name(version: i64) -> String {
        format!("{FOLDER}/{version:020}.json")
    }

    pub(crate) fn checkpoint_name(version: i64) -> String {
        format!("{FOLDER}/{version:020}.checkpoint.parquet")
    }

    /// Readers of Delta pass over names that start with an underscore.
    pub(crate) fn checkpoint_seal_name(version: i64) -> String {
        format!("{FOLDER}/_{version:020}.checkpoint.seal")
    }

    pub(crate) fn pointer_name() -> String {
        format!("{FOLDER}/_last_checkpoint")
    }

    pub(crate) fn entry_path(&self, version: i64) -> PathBuf {
        self.store.place(&Log::entry_name(version))
    }

    pub(crate) fn checkpoint_path(&self, version: i64) -> PathBuf {
        self.store.place(&Log::checkpoint_name(version))
    }

    /// The files there are; empty if there is no log.
    pub(crate) fn list(&self) -> Result<Listing, LakeError> {
        let mut listing = Listing::default();
        let found = match self.store.list(FOLDER) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(listing),
            other => other.map_err(LakeError::at("list", &*self.store, FOLDER))?,
        };
        for Listed { name, .. } in found {
            if let Some(version) = versioned(&name, ".json") {
                listing.entries.push(version);
            } else if let Some(version) = versioned(&name, ".checkpoint.parquet") {
                listing.checkpoints.push(version);
            }
        }
        listing.entries.sort_unstable();
        listing.checkpoints.sort_unstable();
        Ok(listing)
    }

    /// The entry of `version`, or what is wrong with it.
    pub(crate) fn entry(&self, version: i64) -> Result<Result<Entry, Fault>, LakeError> {
        let name = Log::entry_name(version);
        match self.store.read(&name) {
            Ok(bytes) => Ok(seal::open(version, &bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Ok(Err(Fault::Damaged("is missing".to_owned())))
            }
            Err(error) => Err(LakeError::at("read", &*self.store, &name)(error)),
        }
    }

    pub(crate) fn whole_entry(&self, version: i64) -> Result<Entry, LakeError> {
        self.entry(version)?.map_err(|fault| self.refuse(version, fault))
    }

    fn refuse(&self, version: i64, fault: Fault) -> LakeError {
        let (detail, advice) = match fault {
            Fault::Damaged(detail) => (detail, RESTORE),
            Fault::Foreign(detail) => (detail, OTHER_WRITER),
        };
        self.damaged(self.entry_path(version), detail, advice)
    }

    fn damaged(&self, file: PathBuf, detail: String, advice: &'static str) -> LakeError {
        LakeError::Damaged { table: self.table.clone(), file, detail, advice }
    }

    /// Looks at the end of the log. With `repair` (the lake's writer), damaged files at the end are
    /// moved aside; without, they are left alone and passed over. Both are told as warnings.
    pub(crate) fn survey(&self, repair: Option<&Lake>) -> Result<Surveyed, LakeError> {
        let mut surveyed = Surveyed { listing: self.list()?, warnings: Vec::new() };
        let Some(newest) = surveyed.newest() else {
            let Some(checkpoint) = surveyed.listing.checkpoints.last() else {
                return Ok(surveyed);
            };
            return Err(self.refuse(*checkpoint, Fault::Damaged("is missing".to_owned())));
        };
        match self.entry(newest)? {
            Ok(_) => {}
            Err(fault @ Fault::Foreign(_)) => return Err(self.refuse(newest, fault)),
            Err(Fault::Damaged(detail)) => {
                surveyed.listing.entries.pop();
                self.set_aside(&mut surveyed, repair, &Log::entry_name(newest), &detail)?;
            }
        }
        let newest = surveyed.newest().unwrap_or(-1);
        for version in surveyed.listing.checkpoints.clone() {
            let name = Log::checkpoint_name(version);
            let checked = if version > newest {
                Err("has no log entry of its version".to_owned())
            } else if Some(&version) == surveyed.listing.checkpoints.last() {
                self.checkpoint(version)?.map(|_| ())
            } else {
                Ok(())
            };
            if let Err(detail) = checked {
                surveyed.listing.checkpoints.retain(|other| *other != version);
                self.set_aside(&mut surveyed, repair, &name, &detail)?;
            }
        }
        self.survey_pointer(&mut surveyed, repair)?;
        Ok(surveyed)
    }

    /// `_last_checkpoint` is a hint for other readers, some of which fail if it misleads them.
    fn survey_pointer(
        &self,
        surveyed: &mut Surveyed,
        repair: Option<&Lake>,
    ) -> Result<(), LakeError> {
        #[derive(Deserialize)]
        struct Pointer {
            version: i64,
        }
        let name = Log::pointer_name();
        let Ok(bytes) = self.store.read(&name) else { return Ok(()) };
        let detail = match serde_json::from_slice::<Pointer>(&bytes) {
            Ok(pointer) if surveyed.listing.checkpoints.contains(&pointer.version) => return Ok(()),
            Ok(pointer) => format!("names version {}, which has no checkpoint", pointer.version),
            Err(error) => format!("cannot be read ({error})"),
        };
        self.set_aside(surveyed, repair, &name, &detail)
    }

    fn set_aside(
        &self,
        surveyed: &mut Surveyed,
        repair: Option<&Lake>,
        name: &str,
        detail: &str,
    ) -> Result<(), LakeError> {
        let outcome = match repair {
            Some(lake) => {
                let target = lake.quarantine(&self.table, Some(name))?;
                format!("moved to {}", target.display())
            }
            None => "ignored".to_owned(),
        };
        let file = self.store.place(name);
        let warning = format!("table {}: {} {detail}; {outcome}", self.table, file.display());
        tracing::warn!("{warning}");
        surveyed.warnings.push(warning);
        Ok(())
    }

    /// What `version` holds, from the newest checkpoint at or before it and the entries since.
    pub(crate) fn replay(&self, listing: &Listing, version: i64) -> Result<State, LakeError> {
        let mut state = State { version: -1, ..State::default() };
        for base in listing.checkpoints.iter().rev().filter(|base| **base <= version) {
            match self.checkpoint(*base)? {
                Ok(found) => {
                    state = found;
                    break;
                }
                Err(detail) => tracing::warn!(table = self.table, base, detail, "checkpoint"),
            }
        }
        for next in state.version + 1..=version {
            let entry = self.whole_entry(next)?;
            if entry.info.previous_seal != state.seal {
                let detail = format!("does not continue version {}", next - 1);
                return Err(self.damaged(self.entry_path(next), detail, RESTORE));
            }
            let applied = state.apply_entry(entry);
            applied.map_err(|detail| self.damaged(self.entry_path(next), detail, OTHER_WRITER))?;
        }
        if state.metadata.is_none() {
            let detail = "and the entries after it hold no table metadata".to_owned();
            return Err(self.damaged(self.entry_path(0), detail, RESTORE));
        }
        Ok(state)
    }

    /// The newest version at which `app` is not beyond `at_most`, and maintenance after it. Versions
    /// before the first progress of `app` do not count.
    pub(crate) fn find(
        &self,
        listing: &Listing,
        app: &str,
        at_most: i64,
    ) -> Result<Option<i64>, LakeError> {
        // A commit without progress holds the rows of the commit before it.
        let mut newest = None;
        for version in listing.entries.iter().rev() {
            let entry = self.whole_entry(*version)?;
            newest = newest.or(Some(*version));
            match entry.info.progress.get(app) {
                Some(value) if *value <= at_most => return Ok(newest),
                Some(_) => newest = None,
                None => {}
            }
        }
        Ok(None)
    }

    /// The state in the checkpoint of `version`, or what is wrong with it. It must carry the seal
    /// of the log entry of its version, which the next entry continues.
    fn checkpoint(&self, version: i64) -> Result<Result<State, String>, LakeError> {
        let entry = self.whole_entry(version)?;
        let read = match checkpoint::read(self, version) {
            Ok(read) => read,
            Err(detail) => return Ok(Err(detail)),
        };
        if entry.info.seal_hash != read.seal {
            return Ok(Err("belongs to another history than its log entry".to_owned()));
        }
        let timestamp = entry.info.timestamp;
        let mut state = State { version, timestamp, seal: read.seal, ..State::default() };
        let mut lines = read.lines.into_iter();
        let applied = lines.try_for_each(|line| state.apply(version, line));
        Ok(applied.map(|()| state))
    }

    /// Live data files must be there with the size that the log says.
    pub(crate) fn check_files(&self, state: &State) -> Result<(), LakeError> {
        for file in state.files.values() {
            if let Some(detail) = file_fault(&*self.store, file)? {
                return Err(self.damaged(self.store.place(&file.path), detail, RESTORE));
            }
        }
        Ok(())
    }
}

/// What is wrong with a live data file of the table in `store`, or with its vector, without reading them.
pub(crate) fn file_fault(store: &dyn Store, file: &DataFile) -> Result<Option<String>, LakeError> {
    match store.stat(&file.path) {
        Ok(stat) if stat.size == file.size => vector_fault(store, file),
        Ok(stat) => Ok(Some(format!("has {} bytes, the log says {}", stat.size, file.size))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Some("is missing".to_owned())),
        Err(error) => Err(LakeError::at("look at", store, &file.path)(error)),
    }
}

fn vector_fault(store: &dyn Store, file: &DataFile) -> Result<Option<String>, LakeError> {
    let Some(vector) = &file.vector else { return Ok(None) };
    let name = match vector.file_name() {
        Ok(Some(name)) => name,
        Ok(None) => return Ok(None),
        Err(detail) => return Ok(Some(detail)),
    };
    match store.stat(&name) {
        Ok(stat) if stat.size >= vector.file_size_min() => Ok(None),
        Ok(_) => Ok(Some(format!("has a deletion vector in {name}, which is cut short"))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Ok(Some(format!("has a deletion vector in {name}, which is missing")))
        }
        Err(error) => Err(LakeError::at("look at", store, &name)(error)),
    }
}

/// The version in names like `00000000000000000012.json`.
fn versioned(name: &str, suffix: &str) -> Option<i64> {
    let digits = name.strip_suffix(suffix)?;
    let whole = digits.len() == 20 && digits.bytes().all(|byte| byte.is_ascii_digit());
    digits.parse().ok().filter(|_| whole)
}
