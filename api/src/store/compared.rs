//! What readers of compared cells need besides cells: all points of their series, and when epochs were.
//!
//! # Guarantees
//! - What a compared cell says at an epoch depends on that epoch's own clock, not on when it is read.

use std::collections::{BTreeSet, VecDeque};

use schemas::{EpochId, Micros};

use super::cells::CellChange;
use super::filter::CellFilter;
use super::history::History;
use super::snapshot::Snapshot;
use super::{Periods, Store, StreamPosition};

/// Epochs whose clocks are remembered. A client that is further behind starts with a snapshot.
const CLOCKS_MAX: usize = 1 << 16;
/// Periods of every zone begin at multiples of this.
const STEP_US: i64 = 15 * 60 * 1_000_000;

/// The clocks of the last epochs, ascending.
#[derive(Debug, Default)]
pub(super) struct Clocks(VecDeque<(EpochId, Micros)>);

impl Clocks {
    /// Of one epoch.
    pub(super) fn of(epoch: EpochId, clock: Micros) -> Clocks {
        Clocks(VecDeque::from([(epoch, clock)]))
    }

    /// Takes the next epoch.
    pub(super) fn push(&mut self, epoch: EpochId, clock: Micros) {
        self.0.push_back((epoch, clock));
        if self.0.len() > CLOCKS_MAX {
            self.0.pop_front();
        }
    }

    fn at(&self, epoch: EpochId) -> Option<Micros> {
        let at = self.0.binary_search_by_key(&epoch, |(epoch, _)| *epoch).ok()?;
        self.0.get(at).map(|(_, clock)| *clock)
    }
}

/// What changed after an epoch, and what is needed to compare it.
#[derive(Debug)]
pub struct ComparedChanges {
    /// Where the store stands.
    pub position: StreamPosition,
    /// The clock of its epoch, and of the one before the changes.
    pub clock: Micros,
    /// The clock of the epoch that the changes come after.
    pub before: Micros,
    /// Whether a period may have begun between the two.
    pub has_passed: bool,
    /// What changed, of every grain and period of the series that were asked for.
    pub changes: Vec<CellChange>,
    /// The points of the series that changed; of all of them, when a period may have begun.
    pub history: History,
}

impl Store {
    /// The cells that a filter takes, what to compare them with, and the clock that counts for that.
    pub fn compared(
        &self,
        filter: &CellFilter,
    ) -> Option<(StreamPosition, Micros, Snapshot, History)> {
        let served = self.served.read();
        let position = served.position.clone()?;
        let clock = served.clocks.at(position.offset)?;
        let snapshot = served.cells.read(filter, Periods::All, clock);
        Some((position, clock, snapshot, served.cells.history(filter)))
    }

    /// What changed after `since`; `None` when that is not known any more.
    pub fn compared_changes(&self, filter: &CellFilter, since: EpochId) -> Option<ComparedChanges> {
        let whole = match filter.window() {
            Some(_) => filter.clone(),
            None => CellFilter { grain: None, from: None, to: None, ..filter.clone() },
        };
        let served = self.served.read();
        let position = served.position.clone()?;
        let (before, clock) = (served.clocks.at(since)?, served.clocks.at(position.offset)?);
        let changes = served.cells.changes(Some(&whole), since)?;
        let has_passed = before.0.div_euclid(STEP_US) != clock.0.div_euclid(STEP_US);
        let history = match has_passed {
            true => served.cells.history(filter),
            false => {
                let names: BTreeSet<_> = changes.iter().map(|change| &change.series).collect();
                served.cells.history_of(&names)
            }
        };
        Some(ComparedChanges { position, clock, before, has_passed, changes, history })
    }
}
