//! Writing data files: Parquet, streamed, synced before anything refers to them.
//!
//! # Guarantees
//! - A [`StagedFile`] is on stable storage, name and contents; its hash was taken while writing.
//! - A [`FileWriter`] that is dropped unfinished removes its file. A crash leaves an orphan that
//!   [`crate::Table::vacuum`] removes; no reader ever sees either.
//! - Memory is bounded: a row group is written out at [`ROW_GROUP_BYTES`].

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
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

use crate::durable;
use crate::error::LakeError;
use crate::schema::Columns;
use crate::stats;

/// The encoded size at which a row group ends.
const ROW_GROUP_BYTES: usize = 64 << 20;
/// The longest text bound in a file's statistics.
const TEXT_BOUND_BYTES: usize = 32;

/// Makes [`FileWriter`]s for one table; for threads that do not hold the table itself.
#[derive(Clone)]
pub struct FileFactory {
    table: Arc<str>,
    folder: Arc<Path>,
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
        folder: &Path,
        columns: Arc<Columns>,
        clock: Arc<dyn Clock>,
    ) -> FileFactory {
        let properties = properties(&columns.in_files);
        FileFactory { table: table.into(), folder: folder.into(), columns, properties, clock }
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
        let path = self.folder.join(&name);
        let folder = path.parent().unwrap_or(&self.folder);
        durable::create_dirs(folder).map_err(LakeError::io("create", folder))?;
        let file = File::create_new(&path).map_err(LakeError::io("create", &path))?;
        durable::created(&path);
        let out = HashedFile::new(file);
        let schema = Arc::clone(&self.columns.in_files);
        let writer = ArrowWriter::try_new(out, schema, Some(self.properties.clone()));
        let writer = match writer {
            Ok(writer) => writer,
            Err(error) => {
                durable::remove_quietly(&path);
                return Err(LakeError::engine("start", path.display())(error));
            }
        };
        let null_counts = vec![0; self.columns.in_files.fields().len()];
        let factory = self.clone();
        Ok(FileWriter { writer, factory, path, name, partition, null_counts, rows: 0, done: false })
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
    writer: ArrowWriter<HashedFile>,
    factory: FileFactory,
    path: PathBuf,
    name: String,
    partition: BTreeMap<String, Option<String>>,
    null_counts: Vec<u64>,
    rows: u64,
    done: bool,
}

impl fmt::Debug for FileWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("FileWriter");
        out.field("path", &self.path).field("rows", &self.rows).finish_non_exhaustive()
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
        self.writer.write(&batch).map_err(LakeError::engine("write", self.path.display()))
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
        let path = self.path.clone();
        self.writer.flush().map_err(LakeError::engine("write", path.display()))?;
        self.writer.inner().sync(&path).map_err(LakeError::io("sync", &path))
    }

    /// Ends the file and makes it durable.
    pub fn finish(mut self) -> Result<StagedFile, LakeError> {
        let path = self.path.clone();
        let metadata = self.writer.finish().map_err(LakeError::engine("write", path.display()))?;
        let out = self.writer.inner();
        out.sync(&path).map_err(LakeError::io("sync", &path))?;
        durable::sync_parent(&path).map_err(LakeError::io("sync the folder of", &path))?;
        let schema = &self.factory.columns.in_files;
        let stats = stats::delta_stats(schema, &metadata, self.rows, &self.null_counts);
        let staged = Staged {
            name: self.name.clone(),
            full: path,
            size: out.size,
            rows: self.rows,
            hash: out.hash_text(),
            partition: std::mem::take(&mut self.partition),
            modified_ms: self.factory.clock.now().0.div_euclid(1_000),
            stats,
        };
        self.done = true;
        Ok(StagedFile { inner: Arc::new(staged) })
    }
}

impl Drop for FileWriter {
    fn drop(&mut self) {
        if !self.done {
            durable::remove_quietly(&self.path);
        }
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
    full: PathBuf,
    pub(crate) size: u64,
    pub(crate) rows: u64,
    pub(crate) hash: String,
    pub(crate) partition: BTreeMap<String, Option<String>>,
    pub(crate) modified_ms: i64,
    pub(crate) stats: String,
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
        durable::remove_quietly(&self.inner.full);
    }

    pub(crate) fn inner(&self) -> &Staged {
        &self.inner
    }
}

/// Counts and hashes what is written.
pub(crate) struct HashedFile {
    file: File,
    hash: Box<Xxh3>,
    size: u64,
}

impl HashedFile {
    pub(crate) fn new(file: File) -> HashedFile {
        HashedFile { file, hash: Box::default(), size: 0 }
    }

    pub(crate) fn sync(&self, path: &Path) -> io::Result<()> {
        durable::sync_file(&self.file, path)
    }

    pub(crate) fn hash_text(&self) -> String {
        format!("{:032x}", self.hash.digest128())
    }
}

impl Write for HashedFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.file.write(bytes)?;
        self.hash.update(bytes.get(..count).unwrap_or_default());
        self.size += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// The hash of a file's bytes, as a [`StagedFile`] has it.
pub(crate) fn hash_file(path: &Path) -> io::Result<String> {
    let mut hash = Box::<Xxh3>::default();
    let mut file = File::open(path)?;
    let mut buffer = vec![0_u8; 1 << 20];
    loop {
        let count = io::Read::read(&mut file, &mut buffer)?;
        if count == 0 {
            return Ok(format!("{:032x}", hash.digest128()));
        }
        hash.update(buffer.get(..count).unwrap_or_default());
    }
}
