//! The hot path: one row change into the cells of every view, of hours and days.
//!
//! # Guarantees
//! - The old row leaves exactly the cells that it entered, whatever the new row says.
//! - A row that the filter does not select, but might if values were known that were never sent, puts the
//!   cells that it would enter in doubt, and counts for nothing there.
//! - A change within one group adjusts its sums in place; one that changes nothing touches nothing.

mod alive;

use std::sync::Arc;

use expr::{Expression, Value};
use schemas::{Grain, Micros, Periods, RowRef};

use super::{Engine, EngineError};
use crate::cube::{Cube, Number, Spot, Telling};
use crate::plan::View;
use crate::series::raw_series;
use crate::slabs::CellId;

/// Buffers that live as long as the engine, so that a row change allocates nothing.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    old: Vec<u8>,
    new: Vec<u8>,
    day: LastDay,
}

/// The grains whose cells rows enter; those of longer ones are sums of days.
const FOLDED: [Grain; 2] = [Grain::Hour, Grain::Day];

/// Where a row belongs: its series, and the starts of its periods by [`FOLDED`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    series: u32,
    starts: [Micros; FOLDED.len()],
}

/// The day of a zone that was looked up last: whose, its start and its end.
#[derive(Debug, Default)]
struct LastDay(Option<(Arc<Periods>, Micros, Micros)>);

impl LastDay {
    /// The start of the day that contains an instant.
    fn start(&mut self, periods: &Arc<Periods>, at: Micros) -> Micros {
        if periods.is_utc() {
            return Grain::Day.start(at);
        }
        if let Some((own, from, to)) = &self.0
            && Arc::ptr_eq(own, periods)
            && (*from..*to).contains(&at)
        {
            return *from;
        }
        let start = periods.start(Grain::Day, at);
        self.0 = Some((Arc::clone(periods), start, periods.end(Grain::Day, start)));
        start
    }
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
        self.take_rates(contract, (None, Some(row)), Mode::Rebuild);
        self.fold_in(contract, None, Some(row), Mode::Rebuild)
    }

    pub(super) fn fold(
        &mut self,
        contract: usize,
        old: Option<RowRef<'_>>,
        new: Option<RowRef<'_>>,
    ) -> Result<(), EngineError> {
        let mode = if self.is_loud { Mode::Loud } else { Mode::Epoch };
        self.take_rates(contract, (old, new), mode);
        self.fold_in(contract, old, new, mode)
    }

    pub(super) fn fold_in(
        &mut self,
        contract: usize,
        old: Option<RowRef<'_>>,
        new: Option<RowRef<'_>>,
        mode: Mode,
    ) -> Result<(), EngineError> {
        let Engine { plan, cubes, scratch, kept, .. } = self;
        let views = plan.by_relation.get(contract).ok_or(EngineError::Limit("no such contract"))?;
        let mut result = Ok(());
        for number in views.iter().copied() {
            // Saved state has given back what all rows of it add up to.
            if mode == Mode::Rebuild && kept.is_restored(number) {
                continue;
            }
            let view = &plan.views[number];
            let is_kept = kept.keeping.has(number);
            let mut fold = Fold { view, cube: &mut cubes[view.cube], mode, is_kept };
            let (old, new) = (Taken::by(view, old), Taken::by(view, new));
            if let Some(until) = view.until {
                result = result.and(fold.change_alive(until, [old, new], scratch));
                continue;
            }
            let done = match (old, new) {
                (None, None) => Ok(()),
                (Some(old), None) => {
                    raw_series(old.row, view.tenant, &view.dims, &mut scratch.old);
                    let place = fold.place(&scratch.old, old.at, &mut scratch.day);
                    place.and_then(|place| fold.retract(old, place))
                }
                (None, Some(new)) => {
                    raw_series(new.row, view.tenant, &view.dims, &mut scratch.new);
                    let place = fold.place(&scratch.new, new.at, &mut scratch.day);
                    place.and_then(|place| fold.insert(new, place))
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
    /// Whether saved state keeps what it changes.
    is_kept: bool,
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
        let same_hour =
            scratch.old == scratch.new && Grain::Hour.start(old.at) == Grain::Hour.start(new.at);
        let is_same = same_hour
            && old.row.is_in_doubt() == new.row.is_in_doubt()
            && old.is_counted == new.is_counted
            && self.view.sums.iter().all(|(own, _)| old.amount(own) == new.amount(own))
            && self.view.bags.iter().all(|bag| old.value(&bag.values) == new.value(&bag.values))
            && self.view.different.iter().all(|(of, _)| old.value(of) == new.value(of));
        if is_same && old.at == new.at {
            return Ok(());
        }
        let from = self.place(&scratch.old, old.at, &mut scratch.day)?;
        // A day may begin within an hour.
        if same_hour && self.is_in(from, new.at, &mut scratch.day) {
            return if is_same { Ok(()) } else { self.leave_or_adjust(old, Some(new), from) };
        }
        let retracted = self.leave(old, from);
        let to = self.place(&scratch.new, new.at, &mut scratch.day)?;
        retracted.and(self.insert(new, to))
    }

    /// Whether an instant of the same hour is in the same day.
    fn is_in(&self, place: Place, at: Micros, day: &mut LastDay) -> bool {
        let [_, start] = place.starts;
        day.start(&self.cube.slabs.series(place.series).periods, at) == start
    }

    /// Where a row with these raw bytes of a series and this time belongs.
    fn place(&mut self, raw: &[u8], at: Micros, day: &mut LastDay) -> Result<Place, EngineError> {
        let series = self.cube.intern(raw).ok_or(EngineError::Limit("too many series"))?;
        let day = day.start(&self.cube.slabs.series(series).periods, at);
        Ok(Place { series, starts: [Grain::Hour.start(at), day] })
    }

    #[cfg(feature = "defects")]
    fn leave(&mut self, row: Taken<'_>, place: Place) -> Result<(), EngineError> {
        if crate::defect::skips_retraction() {
            return Ok(());
        }
        self.retract(row, place)
    }

    #[cfg(not(feature = "defects"))]
    fn leave(&mut self, row: Taken<'_>, place: Place) -> Result<(), EngineError> {
        self.retract(row, place)
    }

    fn insert(&mut self, row: Taken<'_>, place: Place) -> Result<(), EngineError> {
        for id in self.cells(place) {
            let cell = self.cube.find_or_create(id);
            self.touch(cell);
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
            self.put_in_longer_bags(id, None, Some(row));
        }
        self.put_different(place, None, Some(row));
        Ok(())
    }

    fn retract(&mut self, row: Taken<'_>, place: Place) -> Result<(), EngineError> {
        self.leave_or_adjust(row, None, place)
    }

    /// Takes the old row out of its cells, and puts the new one of the same group in.
    fn leave_or_adjust(
        &mut self,
        old: Taken<'_>,
        new: Option<Taken<'_>>,
        place: Place,
    ) -> Result<(), EngineError> {
        let mut result = Ok(());
        for id in self.cells(place) {
            let count = self.view.count;
            let slabs = &self.cube.slabs;
            // Who is not counted is in doubt, which the next one counts.
            let entered = count + usize::from(!old.is_counted);
            let found = self.cube.find(id).filter(|cell| slabs.numbers(*cell).counts[entered] > 0);
            let Some(cell) = found else {
                result = Err(self.never_entered(id));
                continue;
            };
            // What a view gave while its tables were loaded may go again.
            self.touch(cell);
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
            self.put_in_longer_bags(id, Some(old), new);
        }
        self.put_different(place, Some(old), new);
        result
    }

    /// In an epoch: puts the numbers of a cell aside, and notes that they are to be saved.
    fn touch(&mut self, cell: u32) {
        if self.mode == Mode::Rebuild {
            return;
        }
        self.cube.touch(cell);
        if self.is_kept {
            self.cube.mark_kept(cell);
        }
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

    /// The same for the longer periods and the windows of a day, or an hour: their bags are not sums.
    fn put_in_longer_bags(&mut self, day: CellId, old: Option<Taken<'_>>, new: Option<Taken<'_>>) {
        if self.view.bags.is_empty() {
            return;
        }
        // Those of windows are made of those of hours and days when a rebuild ends.
        if self.mode != Mode::Rebuild {
            for cell in self.cube.window_cells(day) {
                self.put_in_bags(cell, old, new);
            }
        }
        if day.grain != Grain::Day {
            return;
        }
        for id in self.cube.longer(day) {
            let cell = self.cube.find_or_create(id);
            if self.mode != Mode::Rebuild {
                self.cube.touch(cell);
            }
            self.put_in_bags(cell, old, new);
        }
    }

    /// Takes the values of the old row out of those that are different, and puts those of the new one in.
    fn put_different(&mut self, place: Place, old: Option<Taken<'_>>, new: Option<Taken<'_>>) {
        let telling = match self.mode {
            Mode::Epoch => Telling::Told,
            Mode::Loud => Telling::Loud,
            Mode::Rebuild => Telling::Untold,
        };
        let [hour, day] = place.starts;
        let spot = Spot { series: place.series, hour, day };
        for (values, sum) in &self.view.different {
            let old = old.as_ref().and_then(|row| row.value(values));
            let new = new.as_ref().and_then(|row| row.value(values));
            if old == new {
                continue;
            }
            // What comes first: nothing is forgotten in between.
            for (value, comes) in [(new, true), (old, false)] {
                if let Some(value) = value {
                    self.cube.change_different(spot, *sum, (&value, comes), telling);
                }
            }
        }
    }

    /// The cells that a row enters: those of hours only where a KPI has them.
    fn cells(&self, Place { series, starts }: Place) -> impl Iterator<Item = CellId> + use<> {
        let grains = self.cube.grains;
        let cells = FOLDED.into_iter().zip(starts);
        let kept = cells.filter(move |(grain, _)| *grain == Grain::Day || grains.has(*grain));
        kept.map(move |(grain, start)| CellId { series, grain, start })
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
