//! An own reader of Delta tables on the local disk.
//!
//! # Guarantees
//! - Versions are replayed from the JSON entries alone; checkpoints are neither read nor needed.
//! - An entry that is missing, empty or torn is an error that names it, never skipped.
//!
//! # Non-guarantees
//! - A log whose old entries were cleaned up cannot be read.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, RecordBatch, StringArray};
use arrow::compute::{cast, filter_record_batch};
use arrow::datatypes::{DataType, Field, Schema};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::Value;

use crate::Error;
use crate::deletion_vector::DeletionVector;

/// The log of one table.
#[derive(Debug, Clone)]
pub struct DeltaLog {
    root: PathBuf,
    entries: Vec<Entry>,
}

/// What one version changed.
#[derive(Debug, Clone, Default)]
pub struct Entry {
    /// The version.
    pub version: u64,
    /// Files that became live.
    pub adds: Vec<DataFile>,
    /// Identities of files that are live no more.
    pub removes: Vec<(String, String)>,
    /// Progress: application id and its value.
    pub txns: BTreeMap<String, i64>,
    /// Columns and their Delta types, when the version sets them.
    pub columns: Option<BTreeMap<String, String>>,
}

/// One live data file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataFile {
    /// Its path relative to the table.
    pub path: String,
    /// Values of the partition columns.
    pub partition_values: BTreeMap<String, Option<String>>,
    /// Which of its rows are gone.
    pub deletion_vector: Option<DeletionVector>,
    /// Whether its rows are new, or only lie elsewhere (compaction).
    pub data_change: bool,
}

/// A table at one version.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    /// The version.
    pub version: u64,
    /// Its files, in the order in which they became live.
    pub files: Vec<DataFile>,
    /// Progress: application id and its value.
    pub txns: BTreeMap<String, i64>,
    /// Columns and their Delta types.
    pub columns: BTreeMap<String, String>,
}

impl DataFile {
    fn identity(&self) -> (String, String) {
        let vector = self.deletion_vector.as_ref().map(DeletionVector::id).unwrap_or_default();
        (self.path.clone(), vector)
    }
}

impl DeltaLog {
    /// Whether there is a table at `root`.
    pub fn exists(root: &Path) -> bool {
        root.join("_delta_log").is_dir()
    }

    /// Reads the whole log of the table at `root`.
    ///
    /// # Errors
    /// When there is none, or an entry is missing, empty or not JSON.
    pub fn open(root: &Path) -> Result<DeltaLog, Error> {
        let folder = root.join("_delta_log");
        let place = folder.display().to_string();
        let mut versions = BTreeSet::new();
        for item in std::fs::read_dir(&folder).map_err(Error::at(&place))? {
            let name = item.map_err(Error::at(&place))?.file_name();
            let number = name.to_str().and_then(|n| n.strip_suffix(".json"));
            versions.extend(number.filter(|n| n.len() == 20).and_then(|n| n.parse::<u64>().ok()));
        }
        let mut entries = Vec::new();
        for (expected, version) in versions.into_iter().enumerate() {
            if version != expected as u64 {
                return Err(Error::new(format!("{place}: entry {expected} is missing")));
            }
            let path = folder.join(format!("{version:020}.json"));
            let text = std::fs::read_to_string(&path).map_err(Error::at(path.display()))?;
            entries.push(read_entry(version, &text).map_err(Error::at(path.display()))?);
        }
        if entries.is_empty() {
            return Err(Error::new(format!("{place}: no entries")));
        }
        Ok(DeltaLog { root: root.to_owned(), entries })
    }

    /// What each version changed, oldest first.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The newest version.
    pub fn newest(&self) -> u64 {
        self.entries.last().map_or(0, |entry| entry.version)
    }

    /// The table at `version`.
    pub fn at(&self, version: u64) -> Snapshot {
        let mut snapshot = Snapshot { version, ..Snapshot::default() };
        let mut live: BTreeMap<(String, String), (u64, usize, DataFile)> = BTreeMap::new();
        for entry in self.entries.iter().take_while(|entry| entry.version <= version) {
            for identity in &entry.removes {
                live.remove(identity);
            }
            for (order, file) in entry.adds.iter().enumerate() {
                live.insert(file.identity(), (entry.version, order, file.clone()));
            }
            snapshot.txns.extend(entry.txns.iter().map(|(id, value)| (id.clone(), *value)));
            if let Some(columns) = &entry.columns {
                snapshot.columns.clone_from(columns);
            }
        }
        let mut files: Vec<_> = live.into_values().collect();
        files.sort_by_key(|(version, order, _)| (*version, *order));
        snapshot.files = files.into_iter().map(|(_, _, file)| file).collect();
        snapshot
    }

    /// Whether the file is still on disk.
    pub fn has_file(&self, file: &DataFile) -> bool {
        self.root.join(&file.path).is_file()
    }

    /// Reads the rows of a file that are not deleted, batch by batch: the named columns (all when
    /// `None`) and the partition columns.
    ///
    /// # Errors
    /// When the file or its deletion vector cannot be read, or `each` fails.
    pub fn read(
        &self,
        file: &DataFile,
        columns: Option<&[&str]>,
        mut each: impl FnMut(&RecordBatch) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let path = self.root.join(&file.path);
        let place = path.display().to_string();
        let gone = match &file.deletion_vector {
            Some(vector) => vector.rows(&self.root).map_err(Error::at(&place))?,
            None => BTreeSet::new(),
        };
        let opened = File::open(&path).map_err(Error::at(&place))?;
        let builder =
            ParquetRecordBatchReaderBuilder::try_new(opened).map_err(Error::at(&place))?;
        let fields = builder.schema().fields().iter().enumerate();
        let wanted = fields.filter(|(_, f)| columns.is_none_or(|c| c.contains(&f.name().as_str())));
        let roots: Vec<usize> = wanted.map(|(index, _)| index).collect();
        let mask = ProjectionMask::roots(builder.parquet_schema(), roots);
        let reader = builder.with_projection(mask).with_batch_size(8192).build();
        let mut row: u64 = 0;
        for batch in reader.map_err(Error::at(&place))? {
            let batch = batch.map_err(Error::at(&place))?;
            let numbers = row..row + batch.num_rows() as u64;
            row = numbers.end;
            let kept: BooleanArray = numbers.map(|n| Some(!gone.contains(&n))).collect();
            let batch = filter_record_batch(&batch, &kept).map_err(Error::at(&place))?;
            let batch = self.with_partition_columns(&batch, file).map_err(Error::at(&place))?;
            each(&batch).map_err(Error::at(&place))?;
        }
        Ok(())
    }

    fn with_partition_columns(
        &self,
        batch: &RecordBatch,
        file: &DataFile,
    ) -> Result<RecordBatch, Error> {
        let types = self.entries.iter().rev().find_map(|entry| entry.columns.as_ref());
        let mut fields: Vec<Arc<Field>> = batch.schema().fields().iter().cloned().collect();
        let mut arrays = batch.columns().to_vec();
        for (name, value) in &file.partition_values {
            let texts = StringArray::from(vec![value.as_deref(); batch.num_rows()]);
            let kind = match types.and_then(|t| t.get(name)).map(String::as_str) {
                Some("date") => DataType::Date32,
                Some("integer") => DataType::Int32,
                Some("long") => DataType::Int64,
                _ => DataType::Utf8,
            };
            let texts: ArrayRef = Arc::new(texts);
            arrays.push(cast(&texts, &kind)?);
            fields.push(Arc::new(Field::new(name, kind, true)));
        }
        let options =
            arrow::array::RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        let schema = Arc::new(Schema::new(fields));
        Ok(RecordBatch::try_new_with_options(schema, arrays, &options)?)
    }
}

fn read_entry(version: u64, text: &str) -> Result<Entry, Error> {
    let mut entry = Entry { version, ..Entry::default() };
    let mut actions = 0;
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        let action: Value = serde_json::from_str(line).map_err(Error::at("torn entry"))?;
        actions += 1;
        read_action(&action, &mut entry)
            .ok_or_else(|| Error::new(format!("unreadable action {line}")))?;
    }
    if actions == 0 {
        return Err(Error::new("empty entry"));
    }
    Ok(entry)
}

fn read_action(action: &Value, entry: &mut Entry) -> Option<()> {
    if let Some(add) = action.get("add") {
        entry.adds.push(read_add(add)?);
    } else if let Some(remove) = action.get("remove") {
        let vector = remove.get("deletionVector").and_then(DeletionVector::from_action);
        let path = percent_decode(remove.get("path")?.as_str()?)?;
        entry.removes.push((path, vector.map(|v| v.id()).unwrap_or_default()));
    } else if let Some(txn) = action.get("txn") {
        entry.txns.insert(txn.get("appId")?.as_str()?.to_owned(), txn.get("version")?.as_i64()?);
    } else if let Some(metadata) = action.get("metaData") {
        let schema: Value = serde_json::from_str(metadata.get("schemaString")?.as_str()?).ok()?;
        let mut columns = BTreeMap::new();
        for field in schema.get("fields")?.as_array()? {
            let kind = field.get("type")?;
            let kind = kind.as_str().map_or_else(|| kind.to_string(), str::to_owned);
            columns.insert(field.get("name")?.as_str()?.to_owned(), kind);
        }
        entry.columns = Some(columns);
    }
    Some(())
}

fn read_add(add: &Value) -> Option<DataFile> {
    let vector = add.get("deletionVector").filter(|v| !v.is_null());
    let deletion_vector = match vector {
        Some(vector) => Some(DeletionVector::from_action(vector)?),
        None => None,
    };
    let mut partition_values = BTreeMap::new();
    for (name, value) in add.get("partitionValues")?.as_object()? {
        partition_values.insert(name.clone(), value.as_str().map(str::to_owned));
    }
    Some(DataFile {
        path: percent_decode(add.get("path")?.as_str()?)?,
        partition_values,
        deletion_vector,
        data_change: add.get("dataChange").and_then(Value::as_bool).unwrap_or(true),
    })
}

fn percent_decode(text: &str) -> Option<String> {
    let mut out = Vec::new();
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let hex = [bytes.next()?, bytes.next()?];
            out.push(u8::from_str_radix(std::str::from_utf8(&hex).ok()?, 16).ok()?);
        } else {
            out.push(byte);
        }
    }
    String::from_utf8(out).ok()
}
