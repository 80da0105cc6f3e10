//! Days that begin: what is alive at the end of a period has a cell in each, also when no row changes. And months: what
//! overlaps periods to come has cells in those of two years.

use std::collections::{BTreeMap, BTreeSet};

use schemas::{CellKey, EpochId, EpochStamp, KpiUpdate, Micros};

use super::Engine;

impl Engine {
    /// Brings what an epoch changed of rows that last into their periods, and watches the next day, or month.
    pub(super) fn roll_up_stocks(&mut self, now: Micros) {
        for (number, cube) in self.cubes.iter_mut().enumerate() {
            let stocks = cube.roll_up_stock(now).into_iter();
            for (series, next, has_days) in stocks.chain(cube.roll_up_overlaps(now)) {
                match has_days {
                    true => self.timers.begin(next, number, series),
                    false => self.timers.forget_beginning(next, number, series),
                }
            }
        }
    }

    /// Makes the cells of rows that last what their days say, and watches the next one.
    pub(super) fn rebuild_stocks(&mut self) {
        for (number, cube) in self.cubes.iter_mut().enumerate() {
            let stocks = cube.rebuild_stock(self.clock).into_iter();
            for (series, next) in stocks.chain(cube.rebuild_overlaps(self.clock)) {
                self.timers.begin(next, number, series);
            }
        }
    }

    /// A day begins of series: their periods that begin with it, or to be there, are told as an epoch tells of cells.
    pub(super) fn begin_days(&mut self, due: Micros, epoch: EpochId) {
        let mut cubes = BTreeSet::new();
        for (cube, series) in self.timers.take_beginning(due) {
            if let Some(next) = self.cubes[cube].begin(series, due) {
                self.timers.begin(next, cube, series);
            }
            cubes.insert(cube);
        }
        let stamp = EpochStamp { id: epoch, clock: due, quiet: false };
        let mut begun = std::mem::take(&mut self.begun);
        self.finish_touched(&stamp, &mut begun);
        self.begun = begun;
        for number in cubes {
            let timers = &mut self.timers;
            self.cubes[number].clear_touched(due, |end, cell| timers.close(end, number, cell));
        }
    }

    /// What began since it was last told, then these updates: each cell once, as it is now, in key order. One that
    /// began and is no more was never told.
    pub(super) fn tell_begun(&mut self, updates: Vec<KpiUpdate>) -> Vec<KpiUpdate> {
        if self.begun.is_empty() {
            return updates;
        }
        let own = |update: KpiUpdate| (update.key.clone(), update);
        let mut all: BTreeMap<CellKey, KpiUpdate> = self.begun.drain(..).map(own).collect();
        for update in updates {
            if update.value.is_some() || all.remove(&update.key).is_none() {
                all.insert(update.key.clone(), update);
            }
        }
        all.into_values().collect()
    }
}
