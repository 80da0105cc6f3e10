//! What recovery starts from, and what it makes of that at once: an empty core, the log of saved state.

use std::path::PathBuf;
use std::sync::Arc;

use gold::Catalog;
use lake::Lake;
use lake::keyed::Deletes;
use lake::state::{Read, StateLog};
use schemas::{Contract, Micros};

use super::error::RecoverError;
use crate::core::{Core, SetupError};
use crate::run::meters::Meters;

/// What recovery needs to know.
#[derive(Debug)]
pub(crate) struct Inputs {
    /// When it begins.
    pub(crate) now: Micros,
    pub(crate) lake: Lake,
    pub(crate) ledger_dir: PathBuf,
    pub(crate) durable: bool,
    /// How rows leave the files of silver tables.
    pub(crate) silver: Deletes,
    pub(crate) contracts: Vec<Contract>,
    /// (source, topic) to what the topic is.
    pub(crate) topics: crate::Topics,
    pub(crate) catalog: Arc<Catalog>,
    pub(crate) meters: Arc<Meters>,
}

impl Inputs {
    pub(super) fn state_folder(&self) -> PathBuf {
        self.lake.work_dir().join("state")
    }

    /// The saved state that goes on after `read`.
    pub(super) fn state_log(&self, read: Option<&Read>) -> Result<StateLog, RecoverError> {
        let folder = self.state_folder();
        StateLog::new(&folder, read).map_err(|source| RecoverError::State { folder, source })
    }

    /// A core without rows.
    pub(super) fn new_core(&self) -> Result<Core, SetupError> {
        let observer = crate::observer(&self.catalog);
        Core::new(&self.contracts, &self.topics, Arc::clone(&self.catalog), observer)
    }
}
