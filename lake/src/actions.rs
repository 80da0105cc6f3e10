//! The lines of a Delta log entry, in the subset that a lake writes.
//!
//! # Guarantees
//! - A line with an action, or a file with a feature, that is not understood is refused, never
//!   skipped: skipping it could mean wrong rows.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::vector::DeletionVector;

/// One line: exactly one field is set.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Line {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) protocol: Option<Protocol>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) meta_data: Option<Metadata>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) txn: Option<Txn>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) add: Option<Add>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) remove: Option<Remove>,
}

/// What a reader and a writer must understand.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Protocol {
    pub(crate) min_reader_version: i32,
    pub(crate) min_writer_version: i32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) reader_features: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) writer_features: Option<Vec<String>>,
}

/// The table's description.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Metadata {
    pub(crate) id: String,
    pub(crate) name: Option<String>,
    pub(crate) description: Option<String>,
    pub(crate) format: Format,
    pub(crate) schema_string: String,
    pub(crate) partition_columns: Vec<String>,
    #[serde(default)]
    pub(crate) configuration: BTreeMap<String, String>,
    pub(crate) created_time: Option<i64>,
}

/// The format of the data files.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Format {
    pub(crate) provider: String,
    #[serde(default)]
    pub(crate) options: BTreeMap<String, String>,
}

/// Progress of one source of commits.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Txn {
    pub(crate) app_id: String,
    pub(crate) version: i64,
    pub(crate) last_updated: Option<i64>,
}

/// A data file that becomes part of the table.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Add {
    pub(crate) path: String,
    pub(crate) partition_values: BTreeMap<String, Option<String>>,
    pub(crate) size: u64,
    pub(crate) modification_time: i64,
    pub(crate) data_change: bool,
    pub(crate) stats: Option<String>,
    #[serde(default)]
    pub(crate) tags: Option<BTreeMap<String, Option<String>>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) deletion_vector: Option<DeletionVector>,
}

/// A data file that stops being part of the table.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Remove {
    pub(crate) path: String,
    pub(crate) deletion_timestamp: Option<i64>,
    pub(crate) data_change: bool,
    pub(crate) extended_file_metadata: Option<bool>,
    #[serde(default)]
    pub(crate) partition_values: Option<BTreeMap<String, Option<String>>>,
    pub(crate) size: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) deletion_vector: Option<DeletionVector>,
}

impl Metadata {
    /// The metadata of a new table.
    pub(crate) fn new(
        name: &str,
        description: &str,
        schema_string: String,
        partition_columns: Vec<String>,
        created_ms: i64,
    ) -> Metadata {
        Metadata {
            id: uuid::Uuid::new_v4().to_string(),
            name: Some(name.to_owned()),
            description: Some(description.to_owned()),
            format: Format { provider: "parquet".to_owned(), options: BTreeMap::new() },
            schema_string,
            partition_columns,
            configuration: BTreeMap::new(),
            created_time: Some(created_ms),
        }
    }
}
