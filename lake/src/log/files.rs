//! The files of a log: their names, and the entries in them.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use crate::error::LakeError;
use crate::seal::{self, Entry, Fault};
use crate::store::{Listed, Store};

pub(crate) const RESTORE: &str = "restore the file from a copy of the lake, or move the table's folder away \
                       and rebuild the table";
pub(super) const OTHER_WRITER: &str =
    "only weir may write to its lakes: restore the table from a copy";

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

    pub(super) fn refuse(&self, version: i64, fault: Fault) -> LakeError {
        let (detail, advice) = match fault {
            Fault::Damaged(detail) => (detail, RESTORE),
            Fault::Foreign(detail) => (detail, OTHER_WRITER),
        };
        self.damaged(self.entry_path(version), detail, advice)
    }

    pub(super) fn damaged(&self, file: PathBuf, detail: String, advice: &'static str) -> LakeError {
        LakeError::Damaged { table: self.table.clone(), file, detail, advice }
    }
}

/// The version in names like `00000000000000000012.json`.
fn versioned(name: &str, suffix: &str) -> Option<i64> {
    let digits = name.strip_suffix(suffix)?;
    let whole = digits.len() == 20 && digits.bytes().all(|byte| byte.is_ascii_digit());
    digits.parse().ok().filter(|_| whole)
}
