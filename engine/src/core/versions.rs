//! The versions of a contract that read the records of its table, each those of its own epochs.

use std::sync::Arc;

use parking_lot::Mutex;
use pipeline::decode::PreparedContract;
use schemas::{Contract, EpochId};

use crate::lineage::{Lineage, PENDING, Turn};

/// What reads the records of one table.
#[derive(Debug)]
pub(super) struct Versions {
    /// The contract of the run, by which records are read that come now.
    pub(super) newest: Arc<PreparedContract>,
    /// Those before it, oldest first, all to its rows.
    pub(super) past: Vec<Arc<PreparedContract>>,
    turns: Mutex<Turns>,
}

/// When each of them takes its turn.
#[derive(Debug, Default)]
struct Turns {
    all: Vec<Turn>,
    /// The number of the version that is in force, as far as epochs have been seen.
    number: u32,
    /// The last of them in which one came into force.
    epoch: EpochId,
}

impl Versions {
    /// # Errors
    /// When an earlier version cannot be used.
    pub(super) fn new(
        newest: PreparedContract,
        lineage: Option<&Lineage>,
    ) -> Result<Versions, String> {
        let readings = lineage.map(|lineage| lineage.readings.as_slice()).unwrap_or_default();
        let past = readings.split_last().map(|(_, past)| past).unwrap_or_default().iter();
        let read = |own: &Contract| {
            let usable = crate::contracts::usable(own);
            usable.map(|(own, _)| Arc::new(own.to_rows_of(&newest)))
        };
        let past = past.map(read).collect::<Result<_, String>>()?;
        let turns =
            lineage.map(|own| Turns { all: own.turns.clone(), number: own.number, epoch: 0 });
        Ok(Versions {
            newest: Arc::new(newest),
            past,
            turns: Mutex::new(turns.unwrap_or_default()),
        })
    }

    /// Which of those before reads the records of an epoch; none: the newest does.
    pub(super) fn in_epoch(&self, epoch: EpochId) -> Option<usize> {
        self.find(|turn| turn.since <= epoch)
    }

    /// Which of those before reads as the version with this number. Rows that are taken over from one before them all are
    /// those that the first would have read.
    pub(super) fn numbered(&self, number: u32) -> Option<usize> {
        let is_before = self.turns.lock().all.first().is_some_and(|first| number < first.number);
        if is_before { Some(0) } else { self.find(|turn| turn.number <= number) }
    }

    fn find(&self, is_over: impl Fn(&Turn) -> bool) -> Option<usize> {
        let turns = self.turns.lock();
        let turn = turns.all.iter().rev().find(|turn| is_over(turn))?;
        (turn.reading < self.past.len()).then_some(turn.reading)
    }

    /// So many versions come into force in an epoch.
    pub(super) fn define(&self, epoch: EpochId, times: u32) {
        let mut turns = self.turns.lock();
        if times == 0 || epoch <= turns.epoch {
            return;
        }
        turns.epoch = epoch;
        turns.number = turns.number.saturating_add(times);
        let number = turns.number;
        let is_due = |turn: &&mut Turn| turn.since == PENDING && turn.number <= number;
        turns.all.iter_mut().filter(is_due).for_each(|turn| turn.since = epoch);
    }
}

#[cfg(test)]
mod tests {
    use schemas::{DefinitionChange, DefinitionKind, InForce, Micros};

    use super::*;
    use crate::lineage::Lineages;

    #[test]
    fn each_version_takes_its_turn_in_the_epoch_that_brings_it() {
        let text = |columns: &str| {
            format!(
                "name='t'\nformat='rows'\nkey=['a']\ntenant='a'\ncolumns=[{{name='a',type='text'}}{columns}]"
            )
        };
        let mut held = InForce::default();
        let (other, more) =
            (",{name='b',type='json'}", ",{name='b',type='json'},{name='c',type='text'}");
        // The second one is another table, and not in bronze yet; nor is the third, which goes on with it.
        let first = ",{name='b',type='text'}";
        for (columns, since) in [(first, 4), (other, PENDING), (more, PENDING)] {
            let change = DefinitionChange::of_file(DefinitionKind::Contract, &text(columns));
            held.take(&held.changes_to([change.unwrap()]), since, Micros(0));
        }
        let newest = Contract::parse(&text(more)).unwrap();
        let lineages = Lineages::new(&held, 5, std::slice::from_ref(&newest));
        let newest = crate::contracts::usable(&newest).unwrap().0;
        let versions = Versions::new(newest, lineages.of("t")).unwrap();
        let by_number = [1, 2, 3].map(|number| versions.numbered(number));
        assert_eq!(by_number, [Some(0), Some(0), None]);
        versions.define(6, 1);
        versions.define(6, 1);
        assert_eq!([3, 6, 7].map(|epoch| versions.in_epoch(epoch)), [Some(0); 3]);
        versions.define(8, 1);
        assert_eq!([7, 8, 9].map(|epoch| versions.in_epoch(epoch)), [Some(0), None, None]);
    }
}
