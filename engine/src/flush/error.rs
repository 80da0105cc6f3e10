//! Errors of recovery.

use std::io;
use std::path::{Path, PathBuf};

use lake::LakeError;
use pipeline::silver::RowBatchError;
use pipeline::source::SourceError;
use schemas::chain;

use crate::core::{RestoreError, SetupError};
use crate::run::Stopped;

/// Why a run cannot go on from what its lake holds.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RecoverError {
    /// A table cannot be opened or read.
    #[error(transparent)]
    Lake(#[from] LakeError),
    /// The contracts or KPI definitions cannot be used.
    #[error(transparent)]
    Setup(#[from] SetupError),
    /// Rows of silver are not what weir writes.
    #[error(transparent)]
    Silver(#[from] RowBatchError),
    /// What was loaded does not go together.
    #[error(transparent)]
    Restore(#[from] RestoreError),
    /// Rows of `gold/anomalies` are not what weir writes.
    #[error(
        "file `{file}` of gold/anomalies: {problem}; move the folder of the table away, and it is built again"
    )]
    Alerts {
        /// The file, below the table's folder.
        file: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The file of decisions cannot be read.
    #[error(transparent)]
    Control(#[from] SourceError),
    /// A file of deleted keys cannot be read.
    #[error("{0}")]
    Runs(String),
    /// The ledger's folder cannot be used.
    #[error(
        "could not {action} the ledger in `{}`: {source}; fix the folder's permissions or the disk, or move the \
         folder away: that costs subscribers a fresh start, and no data",
        folder.display()
    )]
    Ledger {
        /// What was tried.
        action: &'static str,
        /// The ledger's folder.
        folder: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The folder of saved state cannot be used.
    #[error(
        "could not read the folder of saved state `{}`: {source}; fix the folder's permissions or the disk, or move \
         the folder away: all tables are built again from bronze then",
        folder.display()
    )]
    State {
        /// The folder.
        folder: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl RecoverError {
    pub(super) fn ledger(
        action: &'static str,
        folder: &Path,
    ) -> impl FnOnce(io::Error) -> RecoverError {
        let folder = folder.to_path_buf();
        move |source| RecoverError::Ledger { action, folder, source }
    }
}

impl From<RecoverError> for Stopped {
    fn from(error: RecoverError) -> Stopped {
        Stopped::Failed(chain(&error))
    }
}
