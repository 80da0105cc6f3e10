//! Writing data files: Parquet, streamed, synced before anything refers to them.
//!
//! # Guarantees
//! - A [`StagedFile`] is on stable storage, name and contents; its hash was taken while writing.
//! - A [`FileWriter`] that is dropped unfinished removes its file. A crash leaves an orphan that
//!   [`crate::Table::vacuum`] removes; no reader ever sees either.
//! - Memory is bounded: a row group is written out at [`ROW_GROUP_BYTES`].

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Read, Write};
use std::sync::Arc;

use arrow::array::Array;
use arrow::datatypes::{DataType, Schema};
use arrow::record_batch::RecordBatch;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;
use schemas::Clock;
use xxhash_rust::xxh3::Xxh3;

use crate::error::LakeError;
use crate::schema::Columns;
use crate::stats;
use crate::store::{Store, Upload};

/// The encoded size at which a row group ends.
const ROW_GROUP_BYTES: usize = 64 << 20;
/// The longest text bound in a file's statistics.
const TEXT_BOUND_BYTES: usize = 32;

/// Makes [`FileWriter`]s for one table; for threads that do not hold the table itself.
#[derive(Clone)]
pub struct FileFactory {
    table: Arc<str>,
    store: Arc<dyn Store>,
    columns: Arc<Columns>,
    properties: WriterProperties,
    clock: Arc<dyn Clock>,
}

impl fmt::Debug for FileFactory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileFactory").field("table", &self.table).finish_non_exhaustive()
    }
}

impl FileFactory {
    pub(crate) fn new(
        table: &str,
        store: Arc<dyn Store>,
        columns: Arc<Columns>,
        clock: Arc<dyn Clock>,
    ) -> FileFactory {
        let properties = properties(&columns.in_files);
        FileFactory { table: table.into(), store, columns, properties, clock }
    }

    /// Starts a data file. `partition` gives each partition column its value, as Delta writes it
    /// (a date is `2026-11-21`).
    pub fn file_writer(&self, partition: &[(String, String)]) -> Result<FileWriter, LakeError> {
        let partition: BTreeMap<String, Option<String>> =
            partition.iter().map(|(name, value)| (name.clone(), Some(value.clone()))).collect();
        let wanted = &self.columns.partition;
        if wanted.len() != partition.len() || !wanted.iter().all(|it| partition.contains_key(it)) {
            let given: Vec<_> = partition.keys().collect();
            return Err(self.schema_error(format!(
                "a file needs values for the partition columns {wanted:?}, got {given:?}"
            )));
        }
        let name = self.relative_path(&partition);
        let upload = self.store.upload_new(&name);
        let upload = upload.map_err(LakeError::at("create", &*self.store, &name))?;
        let out = HashedUpload::new(upload);
        let schema = Arc::clone(&self.columns.in_files);
        let writer = ArrowWriter::try_new(out, schema, Some(self.properties.clone()));
        let writer = writer.map_err(LakeError::engine_at("start", &*self.store, &name))?;
        let null_counts = vec![0; self.columns.in_files.fields().len()];
        let factory = self.clone();
        Ok(FileWriter { writer, factory, name, partition, null_counts, rows: 0 })
    }

    /// Folder names only tell files apart; the values are in the log.
    fn relative_path(&self, partition: &BTreeMap<String, Option<String>>) -> String {
        let mut path = String::new();
        for column in &self.columns.partition {
            let value = partition.get(column).and_then(Option::as_deref).unwrap_or_default();
            for (text, end) in [(column.as_str(), '='), (value, '/')] {
                let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
                path.extend(text.chars().map(|c| if plain(c) { c } else { '_' }));
                path.push(end);
            }
        }
        path.push_str(&format!("part-{}.zstd.parquet", uuid::Uuid::new_v4()));
        path
    }

    fn schema_error(&self, detail: String) -> LakeError {
        LakeError::Schema { table: self.table.to_string(), detail }
    }
}

/// Zstandard at its fastest. Dictionaries only where values repeat: texts; numbers and instants
/// are written as differences, and binary columns (payloads) plain and without statistics.
fn properties(schema: &Schema) -> WriterProperties {
    let mut builder = WriterProperties::builder()
        .set_created_by(crate::ENGINE.to_owned())
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_max_row_group_bytes(Some(ROW_GROUP_BYTES))
        .set_statistics_truncate_length(Some(TEXT_BOUND_BYTES));
    for field in schema.fields() {
        let path = ColumnPath::from(field.name().as_str());
        match field.data_type() {
            DataType::Binary => {
                builder = builder
                    .set_column_dictionary_enabled(path.clone(), false)
                    .set_column_statistics_enabled(path, EnabledStatistics::None);
            }
            DataType::Int64 | DataType::Timestamp(_, _) => {
                builder = builder
                    .set_column_dictionary_enabled(path.clone(), false)
                    .set_column_encoding(path, Encoding::DELTA_BINARY_PACKED);
            }
            _ => {}
        }
    }
    builder.build()
}

/// A data file that is being written.
pub struct FileWriter {
    writer: ArrowWriter<HashedUpload>,
    factory: FileFactory,
    name: String,
    partition: BTreeMap<String, Option<String>>,
    null_counts: Vec<u64>,
    rows: u64,
}

impl fmt::Debug for FileWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("FileWriter");
        out.field("name", &self.name).field("rows", &self.rows).finish_non_exhaustive()
    }
}

impl FileWriter {
    /// Appends rows. The batch has the columns of [`crate::Table::file_schema`], in order.
    pub fn write(&mut self, batch: &RecordBatch) -> Result<(), LakeError> {
        let schema = Arc::clone(&self.factory.columns.in_files);
        let batch = RecordBatch::try_new(schema, batch.columns().to_vec()).map_err(|error| {
            self.factory.schema_error(format!("a batch does not fit the table: {error}"))
        })?;
        for (count, column) in self.null_counts.iter_mut().zip(batch.columns()) {
            *count += column.null_count() as u64;
        }
        self.rows += batch.num_rows() as u64;
        self.writer.write(&batch).map_err(LakeError::engine_at(
            "write",
            &*self.factory.store,
            &self.name,
        ))
    }

    /// The file's path below the table's folder: its name in the log.
    pub fn path(&self) -> &str {
        &self.name
    }

    /// Rows written.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Bytes written and bytes that wait for their row group to end.
    pub fn bytes(&self) -> u64 {
        (self.writer.bytes_written() + self.writer.in_progress_size()) as u64
    }

    /// Ends the row group and syncs what was written, so that the sync at the end is short.
    pub fn flush(&mut self) -> Result<(), LakeError> {
        let (store, name) = (&*self.factory.store, &self.name);
        self.writer.flush().map_err(LakeError::engine_at("write", store, name))?;
        self.writer.inner_mut().sync().map_err(LakeError::at("sync", store, name))
    }

    /// Ends the file and makes it durable.
    pub fn finish(mut self) -> Result<StagedFile, LakeError> {
        let (factory, name) = (self.factory, self.name);
        let store = &*factory.store;
        let metadata = self.writer.finish().map_err(LakeError::engine_at("write", store, &name))?;
        let out = self.writer.inner_mut();
        out.finish().map_err(LakeError::at("sync", store, &name))?;
        let schema = &factory.columns.in_files;
        let stats = stats::delta_stats(schema, &metadata, self.rows, &self.null_counts);
        let staged = Staged {
            name,
            size: out.size,
            rows: self.rows,
            hash: out.hash_text(),
            partition: self.partition,
            modified_ms: factory.clock.now().0.div_euclid(1_000),
            stats,
            store: factory.store,
        };
        Ok(StagedFile { inner: Arc::new(staged) })
    }
}

/// A finished, durable data file that no commit refers to yet. Cloning is cheap.
#[derive(Debug, Clone)]
pub struct StagedFile {
    inner: Arc<Staged>,
}

/// What a commit says about the file.
#[derive(Debug)]
pub(crate) struct Staged {
    pub(crate) name: String,
    pub(crate) size: u64,
    pub(crate) rows: u64,
    pub(crate) hash: String,
    pub(crate) partition: BTreeMap<String, Option<String>>,
    pub(crate) modified_ms: i64,
    pub(crate) stats: String,
    store: Arc<dyn Store>,
}

impl StagedFile {
    /// The file's path below the table's folder: its name in the log.
    pub fn path(&self) -> &str {
        &self.inner.name
    }

    /// Its rows.
    pub fn rows(&self) -> u64 {
        self.inner.rows
    }

    /// Its bytes.
    pub fn size(&self) -> u64 {
        self.inner.size
    }

    /// Removes the file. Only for files that were not committed.
    pub fn discard(self) {
        let Staged { store, name, .. } = &*self.inner;
        if let Err(error) = store.delete(name) {
            tracing::debug!(path = %store.place(name).display(), %error, "cannot remove a file");
        }
    }

    pub(crate) fn inner(&self) -> &Staged {
        &self.inner
    }
}

/// Counts and hashes what is written.
pub(crate) struct HashedUpload {
    upload: Box<dyn Upload>,
    hash: Box<Xxh3>,
    size: u64,
}

impl HashedUpload {
    pub(crate) fn new(upload: Box<dyn Upload>) -> HashedUpload {
        HashedUpload { upload, hash: Box::default(), size: 0 }
    }

    pub(crate) fn sync(&mut self) -> io::Result<()> {
        self.upload.sync()
    }

    pub(crate) fn finish(&mut self) -> io::Result<()> {
        self.upload.finish()
    }

    pub(crate) fn hash_text(&self) -> String {
        format!("{:032x}", self.hash.digest128())
    }
}

impl Write for HashedUpload {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.upload.write(bytes)?;
        self.hash.update(bytes.get(..count).unwrap_or_default());
        self.size += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.upload.flush()
    }
}

/// The hash of an object's bytes, as a [`StagedFile`] has it.
pub(crate) fn hash_of(store: &dyn Store, path: &str) -> io::Result<String> {
    let mut hash = Box::<Xxh3>::default();
    let mut object = store.open(path)?.reader(0)?;
    let mut buffer = vec![0_u8; 1 << 20];
    loop {
        let count = object.read(&mut buffer)?;
        if count == 0 {
            return Ok(format!("{:032x}", hash.digest128()));
        }
        hash.update(buffer.get(..count).unwrap_or_default());
    }
}
