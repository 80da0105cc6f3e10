//! The hot path: one row change into the cells of every view, of hours and days.
//!
//! # Guarantees
//! - The old row leaves exactly the cells that it entered, whatever the new row says.
//! - A row that the filter does not select, but might if values were known that were never sent, puts the
//!   cells that it would enter in doubt, and counts for nothing there.
//! - A change within one group adjusts its sums in place; one that changes nothing touches nothing.

mod alive;
mod overlap;

use std::sync::Arc;

use expr::{Expression, Value};
use schemas::{Grain, Micros, Periods, RowRef};

use super::{Engine, EngineError};
use crate::cube::{Cube, Noted, Number, Spot, Telling};
use crate::flow::Joined;
use crate::plan::View;
use crate::series::{is_same_series, raw_series};
use crate::slabs::CellId;

/// Buffers that live as long as the engine, so that a row change allocates nothing.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    /// The number of the change.
    change: u64,
    /// Of the row before it, and of the row after it.
    sides: [Side; 2],
    /// Raw bytes of a series.
    raw: Vec<u8>,
    day: LastDay,
}

/// What is known of one row of a change.
#[derive(Debug, Default)]
struct Side {
    /// What it adds to the sums of the view that is looked at.
    amounts: Vec<i128>,
    /// By the first view that places it so: the change that this is of, and its place.
    places: Vec<(u64, Place)>,
}

const OLD: usize = 0;
const NEW: usize = 1;

/// The grains whose cells rows enter; those of longer ones are sums of days.
const FOLDED: [Grain; 2] = [Grain::Hour, Grain::Day];

/// Where a row belongs: its series, and by [`FOLDED`] the starts of its periods, and their cells once they were found.
#[derive(Debug, Clone, Copy, Default)]
struct Place {
    series: u32,
    starts: [Micros; FOLDED.len()],
    cells: [Option<u32>; FOLDED.len()],
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
        scratch.change += 1;
        let mut result = Ok(());
        for number in views.iter().copied() {
            // Saved state has given back what all rows of it add up to.
            if mode == Mode::Rebuild && kept.is_restored(number) {
                continue;
            }
            let view = &plan.views[number];
            let is_kept = kept.keeping.has(number);
            let cube = &mut cubes[view.cube];
            let mut fold = Fold { view, cube, scratch: &mut *scratch, mode, is_kept };
            let (old, new) = (Taken::by(view, old), Taken::by(view, new));
            if let Some(until) = view.until {
                result = result.and(match view.joined {
                    Joined::Overlap => fold.change_overlap(until, [old, new]),
                    Joined::Point | Joined::Alive => fold.change_alive(until, [old, new]),
                });
                continue;
            }
            let done = match (old, new) {
                (None, None) => Ok(()),
                (Some(old), None) => {
                    fold.weigh(OLD, old);
                    fold.place(OLD, old).and_then(|place| fold.retract(old, place))
                }
                (None, Some(new)) => {
                    fold.weigh(NEW, new);
                    fold.place(NEW, new).and_then(|place| fold.insert(new, place))
                }
                (Some(old), Some(new)) => fold.update(old, new),
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
    scratch: &'a mut Scratch,
    mode: Mode,
    /// Whether saved state keeps what it changes.
    is_kept: bool,
}

impl Fold<'_> {
    fn update(&mut self, old: Taken<'_>, new: Taken<'_>) -> Result<(), EngineError> {
        let View { tenant, ref dims, .. } = *self.view;
        self.weigh(OLD, old);
        self.weigh(NEW, new);
        let [was, is] = &self.scratch.sides;
        let same_hour = is_same_series(old.row, new.row, tenant, dims)
            && Grain::Hour.start(old.at) == Grain::Hour.start(new.at);
        let is_same = same_hour
            && old.row.is_in_doubt() == new.row.is_in_doubt()
            && old.is_counted == new.is_counted
            && was.amounts == is.amounts
            && self.view.bags.iter().all(|bag| old.value(&bag.values) == new.value(&bag.values))
            && self.view.different.iter().all(|(of, _)| old.value(of) == new.value(of));
        if is_same && old.at == new.at {
            return Ok(());
        }
        let from = self.place(OLD, old)?;
        // A day may begin within an hour.
        if same_hour && self.is_in(from, new.at) {
            return if is_same { Ok(()) } else { self.leave_or_adjust(old, Some(new), from) };
        }
        let retracted = self.leave(old, from);
        let to = self.place(NEW, new)?;
        retracted.and(self.insert(new, to))
    }

    /// Notes what a row adds to sums.
    fn weigh(&mut self, side: usize, row: Taken<'_>) {
        let amounts = &mut self.scratch.sides[side].amounts;
        amounts.clear();
        amounts.extend(self.view.sums.iter().map(|(summed, _)| row.amount(summed)));
    }

    /// Whether an instant of the same hour is in the same day.
    fn is_in(&mut self, place: Place, at: Micros) -> bool {
        let [_, start] = place.starts;
        self.scratch.day.start(&self.cube.slabs.series(place.series).periods, at) == start
    }

    /// Where the row of a side belongs, which is looked for once a change.
    fn place(&mut self, side: usize, row: Taken<'_>) -> Result<Place, EngineError> {
        let View { placed_like, tenant, ref dims, .. } = *self.view;
        let Scratch { change, sides, raw, day } = &mut *self.scratch;
        let places = &mut sides[side].places;
        if let Some((of, place)) = places.get(placed_like)
            && *of == *change
        {
            return Ok(*place);
        }
        raw_series(row.row, tenant, dims, raw);
        let series = self.cube.intern(raw).ok_or(EngineError::Limit("too many series"))?;
        let day = day.start(&self.cube.slabs.series(series).periods, row.at);
        let starts = [Grain::Hour.start(row.at), day];
        let place = Place { series, starts, cells: Default::default() };
        if places.len() <= placed_like {
            places.resize(placed_like + 1, Default::default());
        }
        places[placed_like] = (*change, place);
        Ok(place)
    }

    /// A cell of the place of a side, if it is there.
    fn find(&mut self, side: usize, at: usize, id: CellId) -> Option<u32> {
        let (_, place) = &mut self.scratch.sides[side].places[self.view.placed_like];
        place.cells[at] = place.cells[at].or_else(|| self.cube.find(id));
        place.cells[at]
    }

    /// The same, made if it does not exist.
    fn find_or_create(&mut self, side: usize, at: usize, id: CellId) -> u32 {
        let (_, place) = &mut self.scratch.sides[side].places[self.view.placed_like];
        *place.cells[at].get_or_insert_with(|| self.cube.find_or_create(id))
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
        for (at, id) in self.cells(place) {
            let cell = self.find_or_create(NEW, at, id);
            self.feed(cell);
            if self.mode == Mode::Loud {
                self.cube.mark_loud(cell, Number::Count(self.view.count));
            }
            let (counts, sums) = self.cube.slabs.numbers_mut(cell);
            counts[self.view.count] += i64::from(row.is_counted);
            counts[self.view.count + 1] += i64::from(row.row.is_in_doubt());
            for ((_, sum), amount) in self.view.sums.iter().zip(&self.scratch.sides[NEW].amounts) {
                sums[*sum].add(*amount);
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
        for (at, id) in self.cells(place) {
            let count = self.view.count;
            // Who is not counted is in doubt, which the next one counts.
            let entered = count + usize::from(!old.is_counted);
            let found = self.find(OLD, at, id);
            let slabs = &self.cube.slabs;
            let found = found.filter(|cell| slabs.numbers(*cell).counts[entered] > 0);
            let Some(cell) = found else {
                result = Err(self.never_entered(id));
                continue;
            };
            // What a view gave while its tables were loaded may go again.
            self.feed(cell);
            if self.mode == Mode::Loud {
                self.mark_loud(cell, old, new);
            }
            let (counts, sums) = self.cube.slabs.numbers_mut(cell);
            let is_counted = new.is_some_and(|new| new.is_counted);
            counts[count] += i64::from(is_counted) - i64::from(old.is_counted);
            let is_in_doubt = new.is_some_and(|new| new.row.is_in_doubt());
            counts[count + 1] += i64::from(is_in_doubt) - i64::from(old.row.is_in_doubt());
            for (at, (_, sum)) in self.view.sums.iter().enumerate() {
                let [was, is] = [OLD, NEW].map(|side| self.scratch.sides[side].amounts.get(at));
                sums[*sum].subtract(was.copied().unwrap_or_default());
                sums[*sum].add(is.filter(|_| new.is_some()).copied().unwrap_or_default());
            }
            self.put_in_bags(cell, Some(old), new);
            self.put_in_longer_bags(id, Some(old), new);
        }
        self.put_different(place, Some(old), new);
        result
    }

    /// How what changes rows that last is noted.
    fn noted(&self) -> Noted {
        match self.mode {
            Mode::Rebuild => Noted::Not,
            Mode::Epoch => Noted::Quietly,
            Mode::Loud => Noted::Loudly,
        }
    }

    /// In an epoch: puts the numbers of a cell aside that the row feeds, and notes that they are to be saved.
    fn feed(&mut self, cell: u32) {
        if self.mode == Mode::Rebuild {
            return;
        }
        self.cube.feed(cell, self.view.selection());
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
            for cell in self.cube.window_cells(day, self.view.selection()) {
                self.put_in_bags(cell, old, new);
            }
        }
        if day.grain != Grain::Day {
            return;
        }
        for id in self.cube.longer(day) {
            let cell = self.cube.find_or_create(id);
            if self.mode != Mode::Rebuild {
                self.cube.feed(cell, self.view.selection());
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
    fn cells(&self, place: Place) -> impl Iterator<Item = (usize, CellId)> + use<> {
        let Place { series, starts, .. } = place;
        let grains = self.cube.grains;
        let cells = FOLDED.into_iter().zip(starts);
        let cells = cells.map(move |(grain, start)| CellId { series, grain, start }).enumerate();
        cells.filter(move |(_, id)| id.grain == Grain::Day || grains.has(id.grain))
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
