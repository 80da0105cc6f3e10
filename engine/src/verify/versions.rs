//! By which version of its contract each record is to be read, by the decisions in bronze alone.
//!
//! # Guarantees
//! - Nothing that a run has saved is asked: the texts of all versions are read from the records that put them in force.

use std::collections::BTreeMap;

use lake::{LakeError, Table};
use pipeline::bronze;
use schemas::{Contract, Decision, DefinitionKind, EpochId};

/// By contract, the versions since its table was built anew, each with the epoch from which on it is in force.
#[derive(Debug, Default)]
pub(super) struct Versions(BTreeMap<String, Vec<(EpochId, Contract)>>);

impl Versions {
    /// Those that bronze has put in force up to an epoch.
    ///
    /// # Errors
    /// When bronze cannot be read.
    pub(super) fn find(bronze: &Table, up_to: EpochId) -> Result<Versions, LakeError> {
        let mut all = Versions::default();
        for (stamp, record) in bronze::decisions(bronze, 0, up_to)? {
            let Decision::Define(changes) = record.decision else { continue };
            for change in changes.iter().filter(|change| change.of == DefinitionKind::Contract) {
                let read = change.text.as_deref().and_then(|text| Contract::parse(text).ok());
                let own = all.0.entry(change.name.clone()).or_default();
                if !change.extends {
                    own.clear();
                }
                own.extend(read.map(|contract| (stamp.id, contract)));
            }
        }
        Ok(all)
    }

    /// What reads the records of a contract, by the epoch from which on; at last the contract itself.
    pub(super) fn of(&self, contract: &Contract) -> Vec<(EpochId, Contract)> {
        let own = self
            .0
            .get(&contract.name)
            .filter(|own| own.last().is_some_and(|last| last.1 == *contract));
        own.cloned().unwrap_or_else(|| vec![(0, contract.clone())])
    }

    /// The versions by which the tables of these contracts were built.
    pub(super) fn bases(&self, contracts: &[Contract]) -> Vec<Contract> {
        let base = |own: &Contract| {
            self.of(own).into_iter().next().map_or_else(|| own.clone(), |(_, first)| first)
        };
        contracts.iter().map(base).collect()
    }
}
