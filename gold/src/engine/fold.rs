//! The hot path: one row change into the cells of every view, of hours and days.
//!
//! # Guarantees
//! - The old row leaves exactly the cells that it entered, whatever the new row says.
//! - A row that the filter does not select, but might if values were known that were never sent, puts the
//!   cells that it would enter in doubt, and counts for nothing there.
//! - A change within one group adjusts its sums in place; one that changes nothing touches nothing.

use expr::{Expression, Value};
use schemas::{Grain, Micros, RowRef};

use super::{Engine, EngineError};
use crate::cube::{Cube, Number, longer};
use crate::plan::View;
use crate::series::raw_series;
use crate::slabs::CellId;

/// Buffers that live as long as the engine, so that a row change allocates nothing.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    old: Vec<u8>,
    new: Vec<u8>,
}

/// The grains whose cells rows enter; those of longer ones are sums of days.
const FOLDED: [Grain; 2] = [Grain::Hour, Grain::Day];

/// The starts of the periods of an instant, by [`FOLDED`].
type Starts = [Micros; FOLDED.len()];

fn starts(at: Micros) -> Starts {
    FOLDED.map(|grain| grain.start(at))
}

/// How rows enter cells.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// As part of an epoch.
    Epoch,
    /// The same, with quiet rows beside this one: what it changes is noted.
    Loud,
    /// As part of a rebuild: nothing is noted.
    Rebuild,
}

impl Engine {
    /// Adds a live row while rebuilding: no updates, no history. Call [`Engine::finish_load`] or
    /// [`Engine::finish_rebuild`] after the last one.
    ///
    /// # Errors
    /// When there is no such contract, or there are too many cells.
    pub fn rebuild(&mut self, contract: usize, row: RowRef<'_>) -> Result<(), EngineError> {
        self.load_into_views(contract, row);
        self.fold_in(contract, None, Some(row), Mode::Rebuild)
    }

    pub(super) fn fold(
        &mut self,
        contract: usize,
        old: Option<RowRef<'_>>,
        new: Option<RowRef<'_>>,
    ) -> Result<(), EngineError> {
        let mode = if self.is_loud { Mode::Loud } else { Mode::Epoch };
        self.fold_in(contract, old, new, mode)
    }

    pub(super) fn fold_in(
        &mut self,
        contract: usize,
        old: Option<RowRef<'_>>,
        new: Option<RowRef<'_>>,
        mode: Mode,
    ) -> Result<(), EngineError> {
        let Engine { plan, cubes, scratch, .. } = self;
        let views = plan.by_relation.get(contract).ok_or(EngineError::Limit("no such contract"))?;
        let mut result = Ok(());
        for view in views.iter().map(|view| &plan.views[*view]) {
            let mut fold = Fold { view, cube: &mut cubes[view.cube], mode };
            let done = match (Taken::by(view, old), Taken::by(view, new)) {
                (None, None) => Ok(()),
                (Some(old), None) => {
                    raw_series(old.row, view.tenant, &view.dims, &mut scratch.old);
                    fold.retract(old, &scratch.old, starts(old.at))
                }
                (None, Some(new)) => {
                    raw_series(new.row, view.tenant, &view.dims, &mut scratch.new);
                    fold.insert(new, &scratch.new, starts(new.at))
                }
                (Some(old), Some(new)) => fold.update(old, new, scratch),
            };
            result = result.and(done);
        }
        result
    }
}

/// A row that a view takes.
#[derive(Debug, Clone, Copy)]
struct Taken<'a> {
    row: RowRef<'a>,
    /// Its time.
    at: Micros,
    /// Whether the filter selects it. If not, it might, if all values were known.
    is_counted: bool,
}

impl<'a> Taken<'a> {
    fn by(view: &View, row: Option<RowRef<'a>>) -> Option<Taken<'a>> {
        let row = row?;
        let at = row.timestamp(view.time)?;
        let is_counted = view.selects(row);
        (is_counted || view.may_select(row)).then_some(Taken { row, at, is_counted })
    }

    /// What it adds to a sum.
    fn amount(&self, summed: &Expression) -> i128 {
        if !self.is_counted {
            return 0;
        }
        summed.evaluate(self.row).ok().and_then(|value| value.number()).unwrap_or(0)
    }
}

impl<'a> Taken<'a> {
    /// What it adds to a bag; `None` where that is NULL.
    fn value(&self, of: &'a Expression) -> Option<Value<'a>> {
        let value = of.evaluate(self.row).ok()?;
        (self.is_counted && !value.is_null()).then_some(value)
    }
}

struct Fold<'a> {
    view: &'a View,
    cube: &'a mut Cube,
    mode: Mode,
}

impl Fold<'_> {
    fn update(
        &mut self,
        old: Taken<'_>,
        new: Taken<'_>,
        scratch: &mut Scratch,
    ) -> Result<(), EngineError> {
        let View { tenant, ref dims, .. } = *self.view;
        raw_series(old.row, tenant, dims, &mut scratch.old);
        raw_series(new.row, tenant, dims, &mut scratch.new);
        let same_group =
            scratch.old == scratch.new && Grain::Hour.start(old.at) == Grain::Hour.start(new.at);
        if !same_group {
            let retracted = self.leave(old, &scratch.old, starts(old.at));
            return retracted.and(self.insert(new, &scratch.new, starts(new.at)));
        }
        let is_same = old.row.is_in_doubt() == new.row.is_in_doubt()
            && old.is_counted == new.is_counted
            && self.view.sums.iter().all(|(own, _)| old.amount(own) == new.amount(own))
            && self.view.bags.iter().all(|bag| old.value(&bag.values) == new.value(&bag.values));
        if is_same {
            return Ok(());
        }
        self.leave_or_adjust(old, Some(new), &scratch.old, starts(new.at))
    }

    #[cfg(feature = "defects")]
    fn leave(&mut self, row: Taken<'_>, raw: &[u8], starts: Starts) -> Result<(), EngineError> {
        if crate::defect::skips_retraction() {
            return Ok(());
        }
        self.retract(row, raw, starts)
    }

    #[cfg(not(feature = "defects"))]
    fn leave(&mut self, row: Taken<'_>, raw: &[u8], starts: Starts) -> Result<(), EngineError> {
        self.retract(row, raw, starts)
    }

    fn insert(&mut self, row: Taken<'_>, raw: &[u8], starts: Starts) -> Result<(), EngineError> {
        let series = self.cube.intern(raw).ok_or(EngineError::Limit("too many series"))?;
        for (grain, start) in self.periods(starts) {
            let cell = self.cube.find_or_create(CellId { series, grain, start });
            if self.mode != Mode::Rebuild {
                self.cube.touch(cell);
            }
            if self.mode == Mode::Loud {
                self.cube.mark_loud(cell, Number::Count(self.view.count));
            }
            let (counts, sums) = self.cube.slabs.numbers_mut(cell);
            counts[self.view.count] += i64::from(row.is_counted);
            counts[self.view.count + 1] += i64::from(row.row.is_in_doubt());
            for (summed, sum) in &self.view.sums {
                sums[*sum].add(row.amount(summed));
            }
            self.put_in_bags(cell, None, Some(row));
            self.put_in_longer_bags((series, grain, start), None, Some(row));
        }
        Ok(())
    }

    fn retract(&mut self, row: Taken<'_>, raw: &[u8], starts: Starts) -> Result<(), EngineError> {
        self.leave_or_adjust(row, None, raw, starts)
    }

    /// Takes the old row out of its cells, and puts the new one of the same group in.
    fn leave_or_adjust(
        &mut self,
        old: Taken<'_>,
        new: Option<Taken<'_>>,
        raw: &[u8],
        starts: Starts,
    ) -> Result<(), EngineError> {
        let series = self.cube.intern(raw).ok_or(EngineError::Limit("too many series"))?;
        let mut result = Ok(());
        for (grain, start) in self.periods(starts) {
            let id = CellId { series, grain, start };
            let count = self.view.count;
            let slabs = &self.cube.slabs;
            // Who is not counted is in doubt, which the next one counts.
            let entered = count + usize::from(!old.is_counted);
            let found = self.cube.find(id).filter(|cell| slabs.numbers(*cell).counts[entered] > 0);
            let Some(cell) = found else {
                result = Err(self.never_entered(id));
                continue;
            };
            self.cube.touch(cell);
            if self.mode == Mode::Loud {
                self.mark_loud(cell, old, new);
            }
            let (counts, sums) = self.cube.slabs.numbers_mut(cell);
            let is_counted = new.is_some_and(|new| new.is_counted);
            counts[count] += i64::from(is_counted) - i64::from(old.is_counted);
            let is_in_doubt = new.is_some_and(|new| new.row.is_in_doubt());
            counts[count + 1] += i64::from(is_in_doubt) - i64::from(old.row.is_in_doubt());
            for (summed, sum) in &self.view.sums {
                sums[*sum].subtract(old.amount(summed));
                sums[*sum].add(new.map_or(0, |new| new.amount(summed)));
            }
            self.put_in_bags(cell, Some(old), new);
            self.put_in_longer_bags((series, grain, start), Some(old), new);
        }
        result
    }

    /// Takes the values of the old row out of the bags of a cell, and puts those of the new one in.
    fn put_in_bags(&mut self, cell: u32, old: Option<Taken<'_>>, new: Option<Taken<'_>>) {
        for bag in &self.view.bags {
            let old = old.as_ref().and_then(|row| row.value(&bag.values));
            let new = new.as_ref().and_then(|row| row.value(&bag.values));
            if old == new {
                continue;
            }
            // What comes first: the bag is not emptied in between.
            for (value, comes) in [(new, true), (old, false)] {
                let Some(value) = value else { continue };
                let changes = self.cube.change_bag(cell, bag, &value, comes);
                if changes && self.mode == Mode::Loud {
                    self.cube.mark_loud(cell, Number::Sum(bag.sum));
                    self.cube.mark_loud(cell, Number::Sum(bag.present));
                }
            }
        }
    }

    /// The same for the longer periods of a day: their bags are not sums of those of days.
    fn put_in_longer_bags(
        &mut self,
        (series, grain, start): (u32, Grain, Micros),
        old: Option<Taken<'_>>,
        new: Option<Taken<'_>>,
    ) {
        if self.view.bags.is_empty() || grain != Grain::Day {
            return;
        }
        for id in longer(self.cube.grains, series, start) {
            let cell = self.cube.find_or_create(id);
            if self.mode != Mode::Rebuild {
                self.cube.touch(cell);
            }
            self.put_in_bags(cell, old, new);
        }
    }

    /// The periods that a row enters: hours only where a KPI has them.
    fn periods(&self, starts: Starts) -> impl Iterator<Item = (Grain, Micros)> + use<> {
        let grains = self.cube.grains;
        let is_kept =
            move |(grain, _): &(Grain, Micros)| *grain == Grain::Day || grains.has(*grain);
        FOLDED.into_iter().zip(starts).filter(is_kept)
    }

    /// Notes what a row that leaves or is adjusted changes of a cell.
    fn mark_loud(&mut self, cell: u32, old: Taken<'_>, new: Option<Taken<'_>>) {
        let counts = |taken: Taken<'_>| (taken.is_counted, taken.row.is_in_doubt());
        if new.is_none_or(|new| counts(new) != counts(old)) {
            self.cube.mark_loud(cell, Number::Count(self.view.count));
        }
        let Some(new) = new else { return };
        for (summed, sum) in &self.view.sums {
            if old.amount(summed) != new.amount(summed) {
                self.cube.mark_loud(cell, Number::Sum(*sum));
            }
        }
    }

    fn never_entered(&self, id: CellId) -> EngineError {
        let series = self.cube.slabs.series(id.series);
        EngineError::NeverEntered {
            relation: self.view.relation,
            tenant: series.tenant.to_string(),
            dims: series.dims.to_string(),
            period: format!("{} {}", id.grain, id.start),
        }
    }
}
