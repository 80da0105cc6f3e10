//! What recovery starts from, and what it makes of that at once: the lineages of contracts, an empty core, the log of
//! saved state.

use std::path::PathBuf;
use std::sync::Arc;

use gold::Catalog;
use lake::keyed::Deletes;
use lake::state::{Read, StateLog};
use lake::{Lake, Table};
use pipeline::bronze::Held;
use pipeline::source::{ControlFile, is_control};
use schemas::{Contract, Decision, DefinitionChange, EpochId, InForce, Micros};

use super::error::RecoverError;
use crate::core::{Core, SetupError};
use crate::lineage::{self, Lineages};
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
    /// What the run puts in force; none: nothing.
    pub(crate) definitions: Vec<DefinitionChange>,
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

    /// The lineages of the contracts where `in_force` was in force after the epoch `after`, and bronze holds these.
    pub(super) fn lineages(
        &self,
        mut in_force: InForce,
        after: EpochId,
        bronze: &Table,
        held: &Held,
    ) -> Result<Lineages, RecoverError> {
        lineage::follow(&mut in_force, bronze, after, held.epoch)?;
        let next = held.next.iter().find(|(of, _)| is_control(of)).map_or(0, |(_, next)| *next);
        let control = ControlFile::new(self.lake.work_dir(), self.durable);
        control.beyond(next)?.iter().for_each(|own| lineage::foresee(&mut in_force, &own.decision));
        if !self.definitions.is_empty() {
            let own = Decision::Define(in_force.changes_to(self.definitions.iter().cloned()));
            lineage::foresee(&mut in_force, &own);
        }
        Ok(Lineages::new(&in_force, held.epoch, &self.contracts))
    }

    /// A core without rows.
    pub(super) fn new_core(&self, lineages: &Lineages) -> Result<Core, SetupError> {
        let (observer, catalog) = (crate::observer(&self.catalog), Arc::clone(&self.catalog));
        Core::new(&self.contracts, &self.topics, catalog, observer, lineages)
    }
}
