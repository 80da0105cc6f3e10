//! By which versions of its contract the rows of a table were read.
//!
//! # Guarantees
//! - The first version is the one that the table was built by, from all records before the next one; each of the others
//!   [extends](Contract::extends) the one before, and has read the records of its own epochs.

use std::collections::BTreeMap;

use lake::{LakeError, Table};
use pipeline::bronze;
use schemas::in_force::Version;
use schemas::{Contract, Decision, DefinitionKind, EpochId, EpochStamp, InForce, Micros};

use crate::tables::silver_name;

/// The epoch of versions that are decided and in no epoch yet, as far as is known.
pub(crate) const PENDING: EpochId = EpochId::MAX;

/// From which epoch on a version is in force, and which reading it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Turn {
    pub(crate) since: EpochId,
    pub(crate) number: u32,
    pub(crate) reading: usize,
}

/// The versions of one contract that have read rows differently, oldest first; the last one is that of the run.
#[derive(Debug, Clone)]
pub(crate) struct Lineage {
    pub(crate) readings: Vec<Contract>,
    pub(crate) turns: Vec<Turn>,
    /// The number of the version in force in the last epoch that is known; those behind it are pending.
    pub(crate) number: u32,
}

/// The lineages of contracts whose tables more than one version has read rows of.
#[derive(Debug, Clone, Default)]
pub(crate) struct Lineages {
    all: BTreeMap<String, Lineage>,
    /// The last epoch of which everything that was put in force is known.
    pub(crate) known: EpochId,
}

impl Lineages {
    /// Those that end with these contracts. `held` knows all that was put in force up to the epoch `known`, and what
    /// is to be.
    pub(crate) fn new(held: &InForce, known: EpochId, contracts: &[Contract]) -> Lineages {
        let found = |own: &Contract| {
            let all = held.versions(DefinitionKind::Contract, &own.name);
            let lineage = Lineage::of(all, held.lineage(&own.name))?;
            let is_own = lineage.readings.last() == Some(own) && lineage.readings.len() > 1;
            is_own.then(|| (own.name.clone(), lineage))
        };
        Lineages { all: contracts.iter().filter_map(found).collect(), known }
    }

    /// The lineage of a contract; `None` where all rows are read by one version.
    pub(crate) fn of(&self, contract: &str) -> Option<&Lineage> {
        self.all.get(contract)
    }

    /// The versions by which the tables of these contracts were built.
    pub(crate) fn bases(&self, contracts: &[Contract]) -> Vec<Contract> {
        let base = |own: &Contract| {
            let first = self.of(&own.name).and_then(|lineage| lineage.readings.first());
            first.unwrap_or(own).clone()
        };
        contracts.iter().map(base).collect()
    }

    /// The number of the version that a table was built by, of tables that went on under others.
    pub(crate) fn extended(&self) -> BTreeMap<String, u32> {
        let base = |lineage: &Lineage| {
            Some((silver_name(lineage.readings.first()?), lineage.turns.first()?.number))
        };
        self.all.values().filter_map(base).collect()
    }
}

impl Lineage {
    /// `None` where one of the texts is none that this release reads.
    fn of(all: &[Version], versions: &[Version]) -> Option<Lineage> {
        let number = all.iter().rev().find(|own| own.since != PENDING).map_or(0, |own| own.number);
        let mut lineage = Lineage { readings: Vec::new(), turns: Vec::new(), number };
        for Version { since, number, text, .. } in versions {
            lineage.turns.push(Turn {
                since: *since,
                number: *number,
                reading: lineage.readings.len(),
            });
            // Without a text it reads as the next one.
            if let Some(text) = text {
                lineage.readings.push(Contract::parse(text).ok()?);
            }
        }
        lineage.turns.first_mut()?.since = 0;
        Some(lineage)
    }
}

/// Puts in force what the records of bronze in the epochs `after < epoch <= up_to` have.
///
/// # Errors
/// When bronze cannot be read.
pub(crate) fn follow(
    held: &mut InForce,
    table: &Table,
    after: EpochId,
    up_to: EpochId,
) -> Result<(), LakeError> {
    for (EpochStamp { id, clock, .. }, record) in bronze::decisions(table, after, up_to)? {
        if let Decision::Define(changes) = &record.decision {
            held.take(changes, id, clock);
        }
    }
    Ok(())
}

/// Puts in force what is decided and in no epoch yet, as far as is known.
pub(crate) fn foresee(held: &mut InForce, decision: &Decision) {
    if let Decision::Define(changes) = decision {
        held.take(changes, PENDING, Micros(0));
    }
}

#[cfg(test)]
mod tests {
    use schemas::DefinitionChange;

    use super::*;

    fn text(more: &str) -> String {
        format!("name='t'\nformat='rows'\nkey=['a']\ntenant='a'\n{more}]")
    }

    const ONE: &str = "columns=[{name='a',type='text'}";
    const TWO: &str = "columns=[{name='a',type='text'},{name='b',type='text'}";
    const LATE: &str = "lateness='2h'\ncolumns=[{name='a',type='text'},{name='b',type='text'}";
    const OTHER: &str = "columns=[{name='a',type='text'},{name='b',type='json'}";

    fn after(steps: &[(&str, EpochId)]) -> InForce {
        let mut held = InForce::default();
        for (more, epoch) in steps {
            let change = DefinitionChange::of_file(DefinitionKind::Contract, &text(more)).unwrap();
            let changes = held.changes_to([change]);
            held.take(&changes, *epoch, Micros(0));
        }
        held
    }

    fn turns(steps: &[(&str, EpochId)]) -> Option<Vec<(EpochId, u32, usize)>> {
        let contract = Contract::parse(&text(steps.last().unwrap().0)).unwrap();
        let lineages = Lineages::new(&after(steps), 100, &[contract]);
        let turns = lineages.of("t")?.turns.iter();
        Some(turns.map(|own| (own.since, own.number, own.reading)).collect())
    }

    #[test]
    fn a_table_has_been_read_by_the_versions_since_it_was_built() {
        assert_eq!(turns(&[(ONE, 4)]), None);
        assert_eq!(turns(&[(TWO, 4), (LATE, 6)]), None, "they read alike");
        assert_eq!(turns(&[(ONE, 4), (TWO, 6)]), Some(vec![(0, 1, 0), (6, 2, 1)]));
        let four = [(ONE, 4), (TWO, 6), (LATE, 7), (TWO, PENDING)];
        let expected = vec![(0, 1, 0), (6, 2, 1), (7, 3, 1), (PENDING, 4, 1)];
        assert_eq!(turns(&four), Some(expected));
        assert_eq!(turns(&[(ONE, 4), (TWO, 6), (OTHER, 8)]), None, "built anew");
        assert_eq!(turns(&[(OTHER, 2), (ONE, 4), (TWO, 6)]), Some(vec![(0, 2, 0), (6, 3, 1)]));
    }

    #[test]
    fn a_contract_that_is_not_in_force_has_no_lineage() {
        let held = after(&[(ONE, 4), (TWO, 6)]);
        let one = Contract::parse(&text(ONE)).unwrap();
        let two = Contract::parse(&text(TWO)).unwrap();
        let other = Lineages::new(&held, 9, std::slice::from_ref(&one));
        assert!(other.of("t").is_none() && other.extended().is_empty());
        let own = Lineages::new(&held, 9, std::slice::from_ref(&two));
        assert_eq!(own.bases(std::slice::from_ref(&two)), [one]);
        assert_eq!(own.extended(), [("silver/t".to_owned(), 1)].into());
    }
}
