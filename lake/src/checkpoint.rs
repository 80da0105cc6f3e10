//! Checkpoints: the whole state of a version in one Parquet file, so that opening stays short.
//!
//! # Guarantees
//! - Written beside the commit path from a snapshot of the state; durable before
//!   `_last_checkpoint` names it.
//! - A seal file beside it holds the hash of its bytes and the seal of its version: a damaged
//!   checkpoint, or one of another program, is never used, nor even parsed.
//! - Other Delta readers can use it (classic single-file form).

use std::io::{self, BufRead, Cursor};
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Fields, Schema};
use arrow::json::{LineDelimitedWriter, ReaderBuilder};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::basic::Compression;
use parquet::file::properties::WriterProperties;
use serde::{Deserialize, Serialize};

use crate::actions::{Line, Remove, Txn};
use crate::data_file::HashedUpload;
use crate::error::LakeError;
use crate::log::files::Log;
use crate::seal;
use crate::store::Upload;
use crate::version::State;

const ROWS_PER_BATCH: usize = 4_096;

/// A checkpoint that matches its seal file.
#[derive(Debug)]
pub(crate) struct Checkpoint {
    pub(crate) lines: Vec<Line>,
    pub(crate) seal: String,
}

/// What is in the seal file.
#[derive(Debug, Serialize, Deserialize)]
struct CheckpointSeal {
    /// Of the bytes of the checkpoint.
    hash: String,
    /// Of the log entry of its version.
    seal: String,
}

/// A snapshot of a table's state that waits to be written; see [`crate::Table::checkpoint`].
#[derive(Debug)]
pub struct CheckpointJob {
    pub(crate) log: Log,
    pub(crate) state: State,
}

impl CheckpointJob {
    /// Writes the checkpoint, then `_last_checkpoint`. Returns the version. Blocking.
    pub fn run(self) -> Result<i64, LakeError> {
        let version = self.state.version;
        let store = &*self.log.store;
        let name = Log::checkpoint_name(version);
        let seal = self.state.seal.clone();
        let lines = state_lines(self.state);
        let rows = lines.len();
        let upload = store.upload(&name).map_err(LakeError::at("create", store, &name))?;
        let mut written = write(upload, &lines).map_err(LakeError::at("write", store, &name))?;
        let hash = written.hash_text();
        let sealed = serde_json::to_vec(&CheckpointSeal { hash, seal })
            .map_err(LakeError::engine_at("seal", store, &name))?;
        let seal_name = Log::checkpoint_seal_name(version);
        store.put(&seal_name, &[&sealed]).map_err(LakeError::at("write", store, &seal_name))?;
        written.finish().map_err(LakeError::at("write", store, &name))?;
        let pointer = format!("{{\"version\":{version},\"size\":{rows}}}");
        let name = Log::pointer_name();
        store.put(&name, &[pointer.as_bytes()]).map_err(LakeError::at("write", store, &name))?;
        Ok(version)
    }
}

fn state_lines(state: State) -> Vec<Line> {
    let mut lines = vec![
        Line { protocol: Some(state.features.protocol()), ..Line::default() },
        Line { meta_data: state.metadata, ..Line::default() },
    ];
    lines.extend(state.progress.into_iter().map(|(app_id, version)| Line {
        txn: Some(Txn { app_id, version, last_updated: Some(state.timestamp) }),
        ..Line::default()
    }));
    lines.extend(
        state
            .files
            .into_values()
            .map(|file| Line { add: Some(file.to_add(false)), ..Line::default() }),
    );
    lines.extend(state.tombstones.into_iter().map(|(key, stone)| Line {
        remove: Some(Remove {
            path: key.path,
            deletion_timestamp: Some(stone.deleted_ms),
            data_change: false,
            extended_file_metadata: None,
            partition_values: None,
            size: Some(stone.size),
            deletion_vector: key.vector,
        }),
        ..Line::default()
    }));
    lines
}

/// Writes the lines, durably; the object waits to be finished.
fn write(upload: Box<dyn Upload>, lines: &[Line]) -> io::Result<HashedUpload> {
    let schema = Arc::new(schema());
    let properties = WriterProperties::builder().set_compression(Compression::SNAPPY).build();
    let out = HashedUpload::new(upload);
    let mut writer = ArrowWriter::try_new(out, Arc::clone(&schema), Some(properties))?;
    for chunk in lines.chunks(ROWS_PER_BATCH) {
        let builder = ReaderBuilder::new(Arc::clone(&schema)).with_batch_size(chunk.len());
        let decoder = builder.with_strict_mode(true).build_decoder();
        let mut decoder = decoder.map_err(io::Error::other)?;
        decoder.serialize(chunk).map_err(io::Error::other)?;
        if let Some(batch) = decoder.flush().map_err(io::Error::other)? {
            writer.write(&batch)?;
        }
    }
    let mut written = writer.into_inner()?;
    written.sync()?;
    Ok(written)
}

/// Reads the checkpoint of `version`, or says what is wrong with it.
pub(crate) fn read(log: &Log, version: i64) -> Result<Checkpoint, String> {
    let (bytes, seal) = read_whole(log, version)?;
    let lines = decode(bytes).map_err(|error| format!("cannot be read ({error})"))?;
    Ok(Checkpoint { lines, seal })
}

/// Whether the checkpoint of `version` matches its seal file.
pub(crate) fn check(log: &Log, version: i64) -> Result<(), String> {
    read_whole(log, version).map(|_| ())
}

/// The bytes of a checkpoint that match its seal file, and the seal of its version.
fn read_whole(log: &Log, version: i64) -> Result<(Vec<u8>, String), String> {
    let unreadable = |error: io::Error| format!("cannot be read ({error})");
    let sealed = match log.store.read(&Log::checkpoint_seal_name(version)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err("has no seal file: another program wrote it".to_owned());
        }
        other => other.map_err(unreadable)?,
    };
    let sealed: CheckpointSeal = serde_json::from_slice(&sealed)
        .map_err(|error| format!("has a damaged seal file ({error})"))?;
    let bytes = log.store.read(&Log::checkpoint_name(version)).map_err(unreadable)?;
    if seal::hash_text(&[&bytes]) != sealed.hash {
        return Err("does not match its seal file: it is cut or was overwritten".to_owned());
    }
    Ok((bytes, sealed.seal))
}

fn decode(bytes: Vec<u8>) -> io::Result<Vec<Line>> {
    let reader = ParquetRecordBatchReaderBuilder::try_new(bytes::Bytes::from(bytes))?.build()?;
    let mut lines = Vec::new();
    for batch in reader {
        let mut text = LineDelimitedWriter::new(Vec::new());
        let batch = batch.map_err(io::Error::other)?;
        text.write(&batch).and_then(|()| text.finish()).map_err(io::Error::other)?;
        for json in Cursor::new(text.into_inner()).lines() {
            lines.push(serde_json::from_str(&json?)?);
        }
    }
    Ok(lines)
}

/// The columns of a checkpoint: one struct per action, all nullable.
fn schema() -> Schema {
    let text = |name: &str| Field::new(name, DataType::Utf8, true);
    let long = |name: &str| Field::new(name, DataType::Int64, true);
    let int = |name: &str| Field::new(name, DataType::Int32, true);
    let flag = |name: &str| Field::new(name, DataType::Boolean, true);
    let action = |name: &str, fields: Vec<Field>| {
        Field::new(name, DataType::Struct(Fields::from(fields)), true)
    };
    let texts = |name: &str| Field::new(name, DataType::new_list(DataType::Utf8, true), true);
    let format = vec![text("provider"), text_map("options")];
    let vector = || {
        let place = vec![text("storageType"), text("pathOrInlineDv"), int("offset")];
        let size = vec![int("sizeInBytes"), long("cardinality")];
        action("deletionVector", [place, size].concat())
    };
    Schema::new(vec![
        action("txn", vec![text("appId"), long("version"), long("lastUpdated")]),
        action(
            "add",
            vec![
                text("path"),
                text_map("partitionValues"),
                long("size"),
                long("modificationTime"),
                flag("dataChange"),
                text_map("tags"),
                text("stats"),
                vector(),
            ],
        ),
        action(
            "remove",
            vec![
                text("path"),
                long("deletionTimestamp"),
                flag("dataChange"),
                flag("extendedFileMetadata"),
                text_map("partitionValues"),
                long("size"),
                vector(),
            ],
        ),
        action(
            "metaData",
            vec![
                text("id"),
                text("name"),
                text("description"),
                action("format", format),
                text("schemaString"),
                texts("partitionColumns"),
                text_map("configuration"),
                long("createdTime"),
            ],
        ),
        action(
            "protocol",
            vec![
                int("minReaderVersion"),
                int("minWriterVersion"),
                texts("readerFeatures"),
                texts("writerFeatures"),
            ],
        ),
    ])
}

fn text_map(name: &str) -> Field {
    let entry = Fields::from(vec![
        Field::new("key", DataType::Utf8, false),
        Field::new("value", DataType::Utf8, true),
    ]);
    let entries = Field::new("key_value", DataType::Struct(entry), false);
    Field::new(name, DataType::Map(Arc::new(entries), false), true)
}
