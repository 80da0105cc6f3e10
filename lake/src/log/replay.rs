//! What a version of a table holds, from a checkpoint and the entries after it.
//!
//! # Guarantees
//! - A state is only ever built from entries whose seals are whole and form a chain, and from
//!   checkpoints whose hash is right. Anything else is passed over or refused by name.

use std::io;

use super::files::{Listing, Log, OTHER_WRITER, RESTORE};
use crate::checkpoint;
use crate::error::LakeError;
use crate::store::Store;
use crate::version::{DataFile, State};

impl Log {
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
    pub(super) fn checkpoint(&self, version: i64) -> Result<Result<State, String>, LakeError> {
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
