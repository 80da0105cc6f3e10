//! What can go wrong in a lake. Every message names the place and says what to do.

use std::io;
use std::path::{Path, PathBuf};

use crate::store::Store;

/// A failure to open, read or maintain a lake or one of its tables.
#[derive(Debug, thiserror::Error)]
pub enum LakeError {
    /// Another process holds the lake's lock.
    #[error(
        "the lake {} is in use by process {pid}: stop that process, or wait until it ends",
        folder.display()
    )]
    LakeInUse {
        /// The lake's folder.
        folder: PathBuf,
        /// The process id found in the lock file.
        pid: String,
    },
    /// There is no lake in the folder.
    #[error("there is no lake in {}: check the path, or run `weir run` to create one", folder.display())]
    NoLake {
        /// The folder that was looked at.
        folder: PathBuf,
    },
    /// What belongs into the working folder lies elsewhere.
    #[error(
        "the lake has its `{file}` in {} and `lake.work_dir` is {}: set it to the former, or stop weir and \
         move `control.ndjson`, `ledger` and `state` to the latter",
        held.display(), wanted.display()
    )]
    WorkElsewhere {
        /// What was found.
        file: &'static str,
        /// Where it lies.
        held: PathBuf,
        /// Where it is looked for.
        wanted: PathBuf,
    },
    /// The lake was written in a format that this program does not know.
    #[error(
        "the lake {} was written by {by} in format version {found}, this program ({}) knows \
         version {supported}: use the release of weir that wrote it",
        folder.display(),
        crate::ENGINE
    )]
    FormatVersion {
        /// The lake's folder.
        folder: PathBuf,
        /// The program that wrote it.
        by: String,
        /// The version in `lake.json`.
        found: u64,
        /// The version this program reads and writes.
        supported: u64,
    },
    /// A file is damaged, missing or not ours, and going on could lose or double rows.
    #[error("table {table}: {} {detail}; {advice}", file.display())]
    Damaged {
        /// The table's name.
        table: String,
        /// The file in question.
        file: PathBuf,
        /// What is wrong with it.
        detail: String,
        /// What to do.
        advice: &'static str,
    },
    /// The table's schema is not the expected one, or a batch does not fit it.
    #[error("table {table}: {detail}")]
    Schema {
        /// The table's name.
        table: String,
        /// What differs.
        detail: String,
    },
    /// The table does not exist.
    #[error("there is no table {table} in the lake {}", folder.display())]
    NoTable {
        /// The table's name.
        table: String,
        /// The lake's folder.
        folder: PathBuf,
    },
    /// The table has no such version (any more).
    #[error(
        "table {table} has no version for {wanted}: its log holds versions {oldest} to {newest}"
    )]
    NoVersion {
        /// The table's name.
        table: String,
        /// What was asked for.
        wanted: String,
        /// The oldest version that can still be read.
        oldest: i64,
        /// The newest version.
        newest: i64,
    },
    /// A table name or partition that cannot be a folder.
    #[error("{text:?} is no {what}: use lower-case letters, digits and `_`, as in silver/orders")]
    BadName {
        /// What the text should have been.
        what: &'static str,
        /// The text.
        text: String,
    },
    /// A writing call on a lake or table that was opened for reading.
    #[error("table {table} was opened for reading: open the lake as its writer")]
    ReadOnly {
        /// The table's name.
        table: String,
    },
    /// The operating system refused.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file or folder.
        path: PathBuf,
        /// The operating system's answer.
        source: io::Error,
    },
    /// Parquet, Arrow, DataFusion or Delta refused.
    #[error("cannot {action} {place}: {detail}")]
    Engine {
        /// What was tried.
        action: &'static str,
        /// On which file or table.
        place: String,
        /// The library's answer.
        detail: String,
    },
    /// A commit failed while the table was created.
    #[error(transparent)]
    Commit(#[from] Box<CommitError>),
}

impl LakeError {
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> LakeError {
        let path = path.to_path_buf();
        move |source| LakeError::Io { action, path, source }
    }

    /// The same of `path` in a store.
    pub(crate) fn at<'a>(
        action: &'static str,
        store: &'a dyn Store,
        path: &'a str,
    ) -> impl FnOnce(io::Error) -> LakeError + 'a {
        move |source| LakeError::Io { action, path: store.place(path), source }
    }

    /// What a library says of `path` in a store.
    pub(crate) fn engine_at<'a, E: std::fmt::Display>(
        action: &'static str,
        store: &'a dyn Store,
        path: &'a str,
    ) -> impl FnOnce(E) -> LakeError + 'a {
        move |error| LakeError::engine(action, store.place(path).display())(error)
    }

    pub(crate) fn engine<E: std::fmt::Display>(
        action: &'static str,
        place: impl std::fmt::Display,
    ) -> impl FnOnce(E) -> LakeError {
        let place = place.to_string();
        move |error| LakeError::Engine { action, place, detail: error.to_string() }
    }
}

/// Why a commit was not made.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// The table already holds this progress: nothing to do, the files may be discarded.
    #[error("table {table}: {app} is already at {held}, the commit brings {given}: skip it")]
    AlreadyApplied {
        /// The table's name.
        table: String,
        /// The progress id.
        app: String,
        /// The value in the table.
        held: i64,
        /// The value in the commit.
        given: i64,
    },
    /// The table is not where the caller believes it to be.
    #[error(
        "table {table}: {app} is at {held:?}, the commit continues {expected:?}: \
         reopen the table and start again from its progress"
    )]
    Gap {
        /// The table's name.
        table: String,
        /// The progress id.
        app: String,
        /// The value in the table.
        held: Option<i64>,
        /// The value the caller expected.
        expected: Option<i64>,
    },
    /// Another weir process committed to the table: this one must end.
    #[error(
        "table {table}: version {version} was written by another weir process ({by}): end this one"
    )]
    Fenced {
        /// The table's name.
        table: String,
        /// The version both tried to write.
        version: i64,
        /// The other's commit id.
        by: String,
    },
    /// Something else took the version, or the commit does not fit the table: reopen it.
    #[error("table {table}: version {version} cannot be committed: {detail}")]
    Conflict {
        /// The table's name.
        table: String,
        /// The version tried.
        version: i64,
        /// What is in the way.
        detail: String,
    },
    /// The disk refused. Nothing was committed; the same commit may be tried again.
    #[error(
        "table {table}: version {version} could not be stored, nothing was committed: {detail}"
    )]
    Store {
        /// The table's name.
        table: String,
        /// The version tried.
        version: i64,
        /// The disk's answer.
        detail: String,
    },
}
