//! The state of one version of a table: its live files, its progress, and the files it had.
//!
//! # Guarantees
//! - A file is known by its path and its deletion vector; at most one vector of a path is live.
//! - An action that is not understood is an error, never passed over.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Deserialize;

use crate::actions::{Add, Line, Metadata, Remove};
use crate::features::Features;
use crate::seal::Entry;
use crate::vector::DeletionVector;

/// Tag of an `add`: the hash of the file's bytes.
const HASH_TAG: &str = "weir.xxh3";

/// A live data file of a table.
#[derive(Debug, Clone)]
pub struct DataFile {
    /// The path below the table's folder.
    pub path: String,
    /// Its bytes.
    pub size: u64,
    /// The rows in it, also those that are gone.
    pub rows: u64,
    /// The values of the partition columns.
    pub partition: BTreeMap<String, Option<String>>,
    /// The Delta statistics, JSON.
    pub stats: String,
    pub(crate) modified_ms: i64,
    pub(crate) hash: Option<String>,
    /// Which of its rows are gone.
    pub(crate) vector: Option<DeletionVector>,
}

impl DataFile {
    /// Its rows that are still part of the table.
    pub fn live_rows(&self) -> u64 {
        self.rows.saturating_sub(self.vector.as_ref().map_or(0, DeletionVector::row_count))
    }

    /// How many of its rows have no value in a column, those that are gone included; `None` where that is not known.
    pub fn null_count(&self, column: &str) -> Option<u64> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Nulls {
            null_count: serde_json::Map<String, serde_json::Value>,
        }
        let nulls: Nulls = serde_json::from_str(&self.stats).ok()?;
        nulls.null_count.get(column)?.as_u64()
    }

    /// The least and the greatest value of an integer or timestamp (microseconds) column.
    pub fn range_i64(&self, column: &str) -> Option<(i64, i64)> {
        self.range(column, |value| {
            value.as_i64().or_else(|| Some(schemas::Micros::parse(value.as_str()?)?.0))
        })
    }

    /// A text at or below all values of a text column, and one at or above them: either may be shortened.
    pub fn range_text(&self, column: &str) -> Option<(String, String)> {
        self.range(column, |value| value.as_str().map(str::to_owned))
    }

    fn range<T>(
        &self,
        column: &str,
        of: impl Fn(&serde_json::Value) -> Option<T>,
    ) -> Option<(T, T)> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Bounds {
            min_values: serde_json::Map<String, serde_json::Value>,
            max_values: serde_json::Map<String, serde_json::Value>,
        }
        let bounds: Bounds = serde_json::from_str(&self.stats).ok()?;
        Some((of(bounds.min_values.get(column)?)?, of(bounds.max_values.get(column)?)?))
    }

    pub(crate) fn from_add(add: Add) -> Result<DataFile, String> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Count {
            num_records: u64,
        }
        let stats = add.stats.unwrap_or_default();
        let count: Count = serde_json::from_str(&stats)
            .map_err(|error| format!("has no numRecords for {}: {error}", add.path))?;
        let hash = add.tags.and_then(|mut tags| tags.remove(HASH_TAG)).flatten();
        Ok(DataFile {
            path: add.path,
            size: add.size,
            rows: count.num_records,
            partition: add.partition_values,
            stats,
            modified_ms: add.modification_time,
            hash,
            vector: add.deletion_vector,
        })
    }

    pub(crate) fn to_add(&self, data_change: bool) -> Add {
        let tag = |hash: &String| BTreeMap::from([(HASH_TAG.to_owned(), Some(hash.clone()))]);
        Add {
            path: self.path.clone(),
            partition_values: self.partition.clone(),
            size: self.size,
            modification_time: self.modified_ms,
            data_change,
            stats: Some(self.stats.clone()),
            tags: self.hash.as_ref().map(tag),
            deletion_vector: self.vector.clone(),
        }
    }

    pub(crate) fn to_remove(&self, deleted_ms: i64, data_change: bool) -> Remove {
        Remove {
            path: self.path.clone(),
            deletion_timestamp: Some(deleted_ms),
            data_change,
            extended_file_metadata: Some(true),
            partition_values: Some(self.partition.clone()),
            size: Some(self.size),
            deletion_vector: self.vector.clone(),
        }
    }

    /// The same file with these rows gone. Its bounds are then those of rows that are gone as well.
    pub(crate) fn marked(&self, vector: DeletionVector) -> DataFile {
        const WIDE: &str = ",\"tightBounds\":false}";
        let mut file = DataFile { vector: Some(vector), ..self.clone() };
        if !file.stats.ends_with(WIDE) && file.stats.ends_with('}') {
            file.stats.pop();
            file.stats.push_str(WIDE);
        }
        file
    }

    pub(crate) fn key(&self) -> FileKey {
        FileKey { path: self.path.clone(), vector: self.vector.clone() }
    }
}

/// What the protocol knows a file by: the same path with another vector is another file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct FileKey {
    pub(crate) path: String,
    pub(crate) vector: Option<DeletionVector>,
}

/// A file that is no longer live but may still be on disk for readers of older versions.
#[derive(Debug, Clone)]
pub(crate) struct Tombstone {
    pub(crate) deleted_ms: i64,
    /// The version that removed it, or a later one.
    pub(crate) version: i64,
    pub(crate) size: u64,
}

/// What one version of a table holds.
#[derive(Debug, Clone, Default)]
pub(crate) struct State {
    pub(crate) version: i64,
    pub(crate) timestamp: i64,
    pub(crate) seal: String,
    pub(crate) features: Features,
    pub(crate) metadata: Option<Metadata>,
    /// By path: at most one vector of a file is live.
    pub(crate) files: BTreeMap<String, Arc<DataFile>>,
    pub(crate) progress: BTreeMap<String, i64>,
    pub(crate) tombstones: BTreeMap<FileKey, Tombstone>,
}

impl State {
    /// Applies one action of `version`.
    pub(crate) fn apply(&mut self, version: i64, line: Line) -> Result<(), String> {
        if let Some(protocol) = line.protocol {
            self.features = Features::of(&protocol)?;
        }
        if let Some(metadata) = line.meta_data {
            Features::check_properties(&metadata.configuration)?;
            self.metadata = Some(metadata);
        }
        if let Some(txn) = line.txn {
            self.progress.insert(txn.app_id, txn.version);
        }
        if let Some(add) = line.add {
            let file = DataFile::from_add(add)?;
            self.tombstones.remove(&file.key());
            self.files.insert(file.path.clone(), Arc::new(file));
        }
        if let Some(remove) = line.remove {
            let held = self.files.get(&remove.path);
            if held.is_some_and(|file| file.vector == remove.deletion_vector) {
                self.files.remove(&remove.path);
            }
            let stone = Tombstone {
                deleted_ms: remove.deletion_timestamp.unwrap_or_default(),
                version,
                size: remove.size.unwrap_or_default(),
            };
            let key = FileKey { path: remove.path, vector: remove.deletion_vector };
            self.tombstones.insert(key, stone);
        }
        Ok(())
    }

    pub(crate) fn apply_entry(&mut self, entry: Entry) -> Result<(), String> {
        let version = entry.info.version;
        for line in entry.lines {
            self.apply(version, line)?;
        }
        self.version = version;
        self.timestamp = entry.info.timestamp;
        self.seal = entry.info.seal_hash;
        Ok(())
    }
}
