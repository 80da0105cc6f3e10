//! Checking a table from its files alone, and its history.

use std::collections::BTreeMap;
use std::path::Path;

use parquet::file::reader::{FileReader, SerializedFileReader};
use schemas::Micros;

use super::Table;
use crate::checkpoint;
use crate::data_file::hash_of;
use crate::error::LakeError;
use crate::log::file_fault;
use crate::version::DataFile;

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Nothing is wrong with the rows; weir goes round it.
    Warning,
    /// Rows or history are lost or altered.
    Error,
}

/// Something found by [`Table::verify`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// The file, below the lake's folder.
    pub file: String,
    /// What is wrong with it.
    pub message: String,
}

/// One version in a table's history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryEntry {
    /// The version.
    pub version: i64,
    /// When it was committed.
    pub timestamp: Micros,
    /// What did it.
    pub operation: String,
    /// Rows in the files it added.
    pub rows: u64,
    /// The progress it brought.
    pub progress: BTreeMap<String, i64>,
}

impl Table {
    /// Checks every log entry and checkpoint on disk and every live file of this version: sizes,
    /// row counts, deletion vectors and, with `deep`, the hash of each file's bytes. Empty = nothing found.
    pub fn verify(&self, deep: bool) -> Result<Vec<Finding>, LakeError> {
        let mut findings = Vec::new();
        self.verify_log(&mut findings)?;
        for file in self.files() {
            if let Some(message) = self.file_finding(file, deep)? {
                let path = self.folder.join(&file.path);
                findings.push(self.finding(Severity::Error, &path, message));
            }
        }
        Ok(findings)
    }

    /// The versions whose log entries are still there, newest first.
    pub fn history(&self) -> Result<Vec<HistoryEntry>, LakeError> {
        let listing = self.log.list()?;
        let mut history = Vec::new();
        for version in listing.entries.into_iter().rev().filter(|it| *it <= self.version()) {
            let info = self.log.whole_entry(version)?.info;
            history.push(HistoryEntry {
                version,
                timestamp: Micros(info.timestamp.saturating_mul(1_000)),
                operation: info.operation,
                rows: info.row_count,
                progress: info.progress,
            });
        }
        Ok(history)
    }

    fn verify_log(&self, findings: &mut Vec<Finding>) -> Result<(), LakeError> {
        let listing = self.log.list()?;
        // A crash while old entries were deleted may leave some of them, which nothing needs.
        let needed = listing.checkpoints.first().copied().unwrap_or(0);
        let mut before: Option<(i64, String)> = None;
        for version in listing.entries {
            let path = self.log.entry_path(version);
            let mut error = |message: String| {
                findings.push(self.finding(Severity::Error, &path, message));
            };
            let whole = match self.log.entry(version)? {
                Ok(entry) => entry,
                Err(crate::seal::Fault::Damaged(detail) | crate::seal::Fault::Foreign(detail)) => {
                    error(detail);
                    before = None;
                    continue;
                }
            };
            match &before {
                Some((last, _)) if last + 1 != version && version <= needed => {}
                Some((last, _)) if last + 1 != version => {
                    error(format!("follows version {last}: entries between are missing"));
                }
                Some((_, seal)) if *seal != whole.info.previous_seal => {
                    error("does not continue the version before".to_owned());
                }
                _ => {}
            }
            before = Some((version, whole.info.seal_hash));
        }
        if let Some((newest, _)) = before.filter(|(newest, _)| *newest < self.version()) {
            let path = self.log.entry_path(newest + 1);
            findings.push(self.finding(Severity::Error, &path, "is missing".to_owned()));
        }
        for version in listing.checkpoints {
            if let Err(detail) = checkpoint::read(&self.log, version) {
                let path = self.log.checkpoint_path(version);
                findings.push(self.finding(Severity::Warning, &path, detail));
            }
        }
        Ok(())
    }

    fn file_finding(&self, file: &DataFile, deep: bool) -> Result<Option<String>, LakeError> {
        let (store, path) = (&*self.log.store, &file.path);
        if let Some(fault) = file_fault(store, file)? {
            return Ok(Some(fault));
        }
        let opened = store.open(path).map_err(LakeError::at("read", store, path))?;
        let rows = match SerializedFileReader::new(opened) {
            Ok(reader) => reader.metadata().file_metadata().num_rows(),
            Err(error) => return Ok(Some(format!("cannot be read as Parquet: {error}"))),
        };
        if u64::try_from(rows) != Ok(file.rows) {
            return Ok(Some(format!("has {rows} rows, the log says {}", file.rows)));
        }
        if let Some(vector) = &file.vector {
            match vector.rows(store) {
                Ok(gone) if gone.max().is_none_or(|last| u64::from(last) < file.rows) => {}
                Ok(_) => {
                    return Ok(Some("has a deletion vector of rows beyond its end".to_owned()));
                }
                Err(detail) => return Ok(Some(detail)),
            }
        }
        if let Some(wanted) = file.hash.as_ref().filter(|_| deep) {
            let hash = hash_of(store, path).map_err(LakeError::at("read", store, path))?;
            if hash != *wanted {
                return Ok(Some("was altered: its bytes do not match their hash".to_owned()));
            }
        }
        Ok(None)
    }

    fn finding(&self, severity: Severity, path: &Path, message: String) -> Finding {
        let below = path.strip_prefix(self.lake.root()).unwrap_or(path);
        Finding { severity, file: below.display().to_string(), message }
    }
}
