//! A table: its state in memory, and commits of rows together with progress.
//!
//! # Guarantees
//! - The state in memory is that of [`Table::version`]; a commit changes it by its own actions only.
//! - After an error of [`Table::commit`] the state is unchanged. [`CommitError::Store`] may be tried
//!   again with the same commit; after the other errors that concern the log the table refuses
//!   further commits until it is opened again.
//!
//! # Non-guarantees
//! - Tables opened with [`Table::open`] do not follow the log: open again to see later versions.

mod clean;
mod commit;
mod read;
mod vacuum;
mod verify;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::datatypes::SchemaRef;

use crate::actions::{Line, Metadata};
use crate::checkpoint::CheckpointJob;
use crate::data_file::{FileFactory, FileWriter};
use crate::error::LakeError;
use crate::features::Features;
use crate::folder::Lake;
use crate::log::{self, Log};
use crate::schema::{self, Columns};
use crate::version::{DataFile, State};

pub use clean::{LOG_ENTRIES_MAX, LogKeep};
pub use commit::{Commit, Mark};
pub use read::Batches;
pub use vacuum::{VacuumJob, Vacuumed};
pub use verify::{Finding, HistoryEntry, Severity};

/// Commits between two checkpoints.
pub const CHECKPOINT_EVERY: i64 = 200;
/// How often a reader looks again before it calls a log damaged ...
const READ_ATTEMPTS: usize = 3;
/// ... and how long while the log is seen to be cleaned under it.
const READ_PATIENCE: Duration = Duration::from_secs(10);

/// A table to be opened, or created if it is not there.
#[derive(Debug, Clone)]
pub struct TableSpec {
    /// Folder and name: `silver/orders`.
    pub name: String,
    /// All columns, the partition columns included.
    pub schema: SchemaRef,
    /// The columns that are kept in the log instead of the files.
    pub partition_columns: Vec<String>,
    /// A sentence for people who look at the table with other tools.
    pub description: String,
}

/// Which version of a table to open.
#[derive(Debug, Clone)]
pub enum At {
    /// The newest.
    Newest,
    /// This one.
    Version(i64),
    /// The newest one at which `app` is not beyond `at_most`; `app` has brought progress by then.
    Progress {
        /// The progress id.
        app: String,
        /// The greatest value wanted.
        at_most: i64,
    },
}

/// One version of a table and, in the lake's writer, the right to commit the next one.
pub struct Table {
    lake: Lake,
    name: String,
    folder: PathBuf,
    log: Log,
    columns: Arc<Columns>,
    state: State,
    checkpointed: i64,
    searched: vacuum::Searched,
    warnings: Vec<String>,
    writing: Option<Writing>,
}

/// What only a table opened for writing has.
struct Writing {
    files: FileFactory,
    /// What the next commit makes of the table, whose files have another schema.
    replacement: Option<Metadata>,
    /// Whether that schema lacks nothing but columns that may be null: then the files stay.
    is_widened: bool,
    /// Set when the log is not what the state says.
    lost: Option<Lost>,
}

/// Why a table refuses commits.
#[derive(Debug, Clone)]
enum Lost {
    Fenced { version: i64, by: String },
    Conflict { version: i64, detail: String },
}

impl fmt::Debug for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("Table");
        out.field("name", &self.name).field("version", &self.state.version);
        out.field("files", &self.state.files.len()).finish_non_exhaustive()
    }
}

impl Table {
    /// Opens a table of the lake that this process writes, at its newest version.
    ///
    /// Checks the seals since the newest checkpoint and that every live file is there; moves a
    /// damaged newest entry or checkpoint aside (see [`Table::warnings`]).
    pub async fn open_or_create(lake: &Lake, spec: &TableSpec) -> Result<Table, LakeError> {
        Table::open_for_writing(lake, spec, false).await
    }

    /// As [`Table::open_or_create`], but takes a table of another schema too. The next commit gives it the new
    /// schema, and must remove all of its files, which are of no use then. They may stay where they lack nothing but
    /// columns that may be null: these are null in all their rows.
    pub async fn open_or_replace(lake: &Lake, spec: &TableSpec) -> Result<Table, LakeError> {
        Table::open_for_writing(lake, spec, true).await
    }

    /// Opens an existing table for writing as it is, for maintenance.
    pub async fn open_as_is(lake: &Lake, name: &str) -> Result<Table, LakeError> {
        let found = Table::open(lake, name, At::Newest)?;
        let metadata = found.state.metadata.as_ref();
        let spec = TableSpec {
            name: name.to_owned(),
            schema: found.schema(),
            partition_columns: found.partition_columns().to_vec(),
            description: metadata.and_then(|it| it.description.clone()).unwrap_or_default(),
        };
        Table::open_or_create(lake, &spec).await
    }

    async fn open_for_writing(
        lake: &Lake,
        spec: &TableSpec,
        replace: bool,
    ) -> Result<Table, LakeError> {
        let clock = Arc::clone(&lake.writer(&spec.name)?.clock);
        let log = Log::new(&spec.name, lake.table_store(&spec.name)?);
        let folder = log.store.place("");
        let schema_string = schema::to_delta(&spec.name, &spec.schema)?;
        let wanted = schema::from_delta(&spec.name, &schema_string, &spec.partition_columns)?;
        let surveyed = log.survey(Some(lake))?;
        let found = surveyed.newest();
        let (mut replacement, mut is_widened) = (None, false);
        let (state, columns) = match found {
            Some(newest) => {
                let state = log.replay(&surveyed.listing, newest)?;
                log.check_files(&state)?;
                let held = columns(&spec.name, &state)?;
                match schema::difference(&held, &wanted) {
                    None => (state, held),
                    Some(_) if replace => {
                        is_widened = schema::is_widened(&held, &wanted);
                        let metadata = state.metadata.clone();
                        replacement = metadata.map(|held| Metadata {
                            description: Some(spec.description.clone()),
                            schema_string: schema_string.clone(),
                            partition_columns: spec.partition_columns.clone(),
                            ..held
                        });
                        (state, wanted)
                    }
                    Some(difference) => {
                        let detail = format!(
                            "{difference}; move the folder {} away to rebuild the table",
                            folder.display()
                        );
                        return Err(LakeError::Schema { table: spec.name.clone(), detail });
                    }
                }
            }
            None => (State { version: -1, ..State::default() }, wanted),
        };
        let columns = Arc::new(columns);
        let store = Arc::clone(&log.store);
        let made = store.create_folder(log::FOLDER);
        made.map_err(LakeError::at("create", &*store, log::FOLDER))?;
        let files = FileFactory::new(&spec.name, store, Arc::clone(&columns), clock);
        let mut table = Table {
            lake: lake.clone(),
            name: spec.name.clone(),
            checkpointed: surveyed.listing.checkpoints.last().copied().unwrap_or(0),
            writing: Some(Writing { files, replacement, is_widened, lost: None }),
            folder,
            log,
            columns,
            state,
            searched: vacuum::Searched::Never,
            warnings: surveyed.warnings,
        };
        if found.is_none() {
            table.create(spec, schema_string).await?;
        }
        Ok(table)
    }

    /// Opens a version of an existing table for reading. Changes nothing, also where it is damaged.
    pub fn open(lake: &Lake, name: &str, at: At) -> Result<Table, LakeError> {
        let log = Log::new(name, lake.table_store(name)?);
        let begun = Instant::now();
        let mut attempt = 1;
        loop {
            let before = log.list()?.checkpoints;
            let error = match Table::open_once(lake, &log, &at) {
                Err(error @ LakeError::Damaged { .. }) => error,
                other => return other,
            };
            // A writer may have cleaned the log between the listing and the reading.
            let is_cleaned = begun.elapsed() < READ_PATIENCE && log.list()?.checkpoints != before;
            if attempt >= READ_ATTEMPTS && !is_cleaned {
                return Err(error);
            }
            attempt += 1;
        }
    }

    fn open_once(lake: &Lake, log: &Log, at: &At) -> Result<Table, LakeError> {
        let name = log.table.as_str();
        let surveyed = log.survey(None)?;
        let Some(newest) = surveyed.newest() else {
            let folder = lake.root().to_path_buf();
            return Err(LakeError::NoTable { table: name.to_owned(), folder });
        };
        let oldest = surveyed.listing.oldest_readable().unwrap_or(newest);
        let missing = |wanted: String| {
            let table = name.to_owned();
            LakeError::NoVersion { table, wanted, oldest, newest }
        };
        let version = match at {
            At::Newest => newest,
            At::Version(version) if (oldest..=newest).contains(version) => *version,
            At::Version(version) => return Err(missing(format!("version {version}"))),
            At::Progress { app, at_most } => log
                .find(&surveyed.listing, app, *at_most)?
                .filter(|version| *version >= oldest)
                .ok_or_else(|| missing(format!("{app} <= {at_most}")))?,
        };
        let state = log.replay(&surveyed.listing, version)?;
        log.check_files(&state)?;
        Ok(Table {
            lake: lake.clone(),
            name: name.to_owned(),
            checkpointed: surveyed.listing.checkpoints.last().copied().unwrap_or(0),
            writing: None,
            columns: Arc::new(columns(name, &state)?),
            folder: log.store.place(""),
            log: log.clone(),
            state,
            searched: vacuum::Searched::Never,
            warnings: surveyed.warnings,
        })
    }

    async fn create(&mut self, spec: &TableSpec, schema_string: String) -> Result<(), LakeError> {
        let metadata = Metadata::new(
            &spec.name,
            &spec.description,
            schema_string,
            spec.partition_columns.clone(),
            self.lake.writer(&self.name)?.clock.now().0.div_euclid(1_000),
        );
        let lines = vec![
            Line { protocol: Some(Features::default().protocol()), ..Line::default() },
            Line { meta_data: Some(metadata), ..Line::default() },
        ];
        self.put(&Commit { operation: "CREATE TABLE", ..Commit::default() }, lines)
            .await
            .map_err(Box::new)?;
        Ok(())
    }

    /// The table's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The table's folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    pub(crate) fn log(&self) -> &Log {
        &self.log
    }

    /// The version of the state in memory.
    pub fn version(&self) -> i64 {
        self.state.version
    }

    /// The progress recorded for `app`.
    pub fn progress(&self, app: &str) -> Option<i64> {
        self.state.progress.get(app).copied()
    }

    /// All recorded progress.
    pub fn progress_all(&self) -> &BTreeMap<String, i64> {
        &self.state.progress
    }

    /// Whether the live files have another schema than the next commit will give the table.
    pub fn is_outdated(&self) -> bool {
        self.writing.as_ref().is_some_and(|writing| writing.replacement.is_some())
    }

    /// Whether they may stay, because it has more columns that may be null, and is the same else.
    pub fn is_widened(&self) -> bool {
        self.is_outdated() && self.writing.as_ref().is_some_and(|writing| writing.is_widened)
    }

    /// The live files, by path.
    pub fn files(&self) -> impl Iterator<Item = &Arc<DataFile>> {
        self.state.files.values()
    }

    /// The live file with this path.
    pub fn file(&self, path: &str) -> Option<&Arc<DataFile>> {
        self.state.files.get(path)
    }

    /// Rows of the table: those in the live files that are not gone.
    pub fn row_count(&self) -> u64 {
        self.files().map(|file| file.live_rows()).sum()
    }

    /// Rows in the live files that are gone.
    pub fn dead_rows(&self) -> u64 {
        self.files().map(|file| file.rows - file.live_rows()).sum()
    }

    /// Bytes of the live files.
    pub fn byte_count(&self) -> u64 {
        self.files().map(|file| file.size).sum()
    }

    /// All columns, in order.
    pub fn schema(&self) -> SchemaRef {
        Arc::clone(&self.columns.all)
    }

    /// The columns of the data files: all but the partition columns.
    pub fn file_schema(&self) -> SchemaRef {
        Arc::clone(&self.columns.in_files)
    }

    /// The partition columns.
    pub fn partition_columns(&self) -> &[String] {
        &self.columns.partition
    }

    /// What opening the table repaired or passed over.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Starts a data file; see [`FileFactory::file_writer`].
    pub fn file_writer(&self, partition: &[(String, String)]) -> Result<FileWriter, LakeError> {
        self.files_factory()?.file_writer(partition)
    }

    /// Makes data files for this table without holding it, for background threads.
    pub fn files_factory(&self) -> Result<FileFactory, LakeError> {
        let writing = self.writing.as_ref();
        let read_only = || LakeError::ReadOnly { table: self.name.clone() };
        writing.map(|writing| writing.files.clone()).ok_or_else(read_only)
    }

    /// True when the last checkpoint is [`CHECKPOINT_EVERY`] commits old.
    pub fn checkpoint_due(&self) -> bool {
        self.state.version - self.checkpointed >= CHECKPOINT_EVERY
    }

    /// Takes a snapshot of the state, to be written as a checkpoint off the commit path.
    pub fn checkpoint(&mut self) -> CheckpointJob {
        self.checkpointed = self.state.version;
        CheckpointJob { log: self.log.clone(), state: self.state.clone() }
    }

    /// This version, for a thread that only reads.
    pub fn pinned(&self) -> Table {
        Table {
            lake: self.lake.clone(),
            name: self.name.clone(),
            folder: self.folder.clone(),
            log: self.log.clone(),
            columns: Arc::clone(&self.columns),
            state: self.state.clone(),
            checkpointed: self.checkpointed,
            searched: self.searched,
            warnings: Vec::new(),
            writing: None,
        }
    }
}

fn columns(table: &str, state: &State) -> Result<Columns, LakeError> {
    let (text, partition) = match &state.metadata {
        Some(metadata) => (metadata.schema_string.as_str(), metadata.partition_columns.as_slice()),
        None => ("", Default::default()),
    };
    schema::from_delta(table, text, partition)
}

#[cfg(test)]
mod clean_tests;
#[cfg(test)]
mod damage_tests;
#[cfg(test)]
mod power_tests;
#[cfg(test)]
mod speed_tests;
#[cfg(test)]
mod tests;
#[cfg(test)]
pub(crate) mod tests_support;
