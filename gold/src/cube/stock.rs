//! Stocks: what is alive at the end of each period, as running sums of what comes and goes by day.
//!
//! # Guarantees
//! - A cell's numbers are the sum of all that comes and goes on days before its period's end. Its count is of all
//!   that ever came: a series has a cell in every period from its first day to the running one.
//! - A period has its cell from its start on, with what is known of days to come within it.
//!
//! # Non-guarantees
//! - A change of an old day costs every later period of its series.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::{Bound, RangeBounds};

use schemas::{Grain, Marks, Micros, Paged, Periods};

use super::{Cube, Number};
use crate::plan::selection_of;
use crate::slabs::CellId;
use crate::sum::{ExactSum, Numbers};

/// What comes, less what goes, on a day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) counts: Box<[i64]>,
    pub(crate) sums: Box<[ExactSum]>,
}

impl Step {
    fn of(Numbers { counts, sums }: Numbers<'_>) -> Step {
        Step { counts: counts.into(), sums: sums.into() }
    }

    pub(super) fn add(&mut self, other: &Step) {
        for (own, by) in self.counts.iter_mut().zip(&other.counts) {
            *own += by;
        }
        for (own, by) in self.sums.iter_mut().zip(&other.sums) {
            own.add_change(ExactSum::default(), *by);
        }
    }

    pub(super) fn as_numbers(&self) -> Numbers<'_> {
        Numbers { counts: &self.counts, sums: &self.sums }
    }

    pub(super) fn is_nothing(&self) -> bool {
        self.counts.iter().all(|count| *count == 0)
            && self.sums.iter().all(|sum| *sum == ExactSum::default())
    }

    /// The numbers that it changes, a count of rows in doubt as that of the rows.
    pub(super) fn numbers(&self) -> impl Iterator<Item = Number> {
        let counts = self.counts.chunks(2).enumerate();
        let counts = counts.filter(|(_, pair)| pair.iter().any(|count| *count != 0));
        let sums = self.sums.iter().enumerate().filter(|(_, sum)| **sum != ExactSum::default());
        counts.map(|(at, _)| Number::Count(2 * at)).chain(sums.map(|(at, _)| Number::Sum(at)))
    }
}

/// What an epoch changes of a day.
#[derive(Debug)]
struct Changed {
    step: Step,
    /// The numbers that rows change which are not quiet.
    loud: BTreeSet<Number>,
}

/// A day of a series on which something comes or goes.
#[derive(Debug, Clone)]
pub(crate) struct StockDay {
    pub(crate) series: u32,
    pub(crate) day: Micros,
    pub(super) step: Step,
}

/// The days of all series on which something comes or goes, each under a number of its own.
#[derive(Debug)]
pub(super) struct Ledger {
    places: BTreeMap<(u32, Micros), u32>,
    pub(super) days: Paged<Option<StockDay>>,
    free: BTreeSet<u32>,
    /// Days that changed since the last freeze.
    pub(super) marked: Marks,
    changed: BTreeMap<u32, BTreeMap<Micros, Changed>>,
}

/// How a row that changes a day is noted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Noted {
    /// As part of a rebuild: not at all.
    Not,
    Quietly,
    Loudly,
}

impl Default for Ledger {
    fn default() -> Ledger {
        Ledger {
            places: BTreeMap::new(),
            days: Paged::new(1),
            free: BTreeSet::new(),
            marked: Marks::default(),
            changed: BTreeMap::new(),
        }
    }
}

impl Ledger {
    /// The days of a series within these bounds, in order.
    fn within(
        &self,
        series: u32,
        days: impl RangeBounds<Micros>,
    ) -> impl Iterator<Item = (Micros, &Step)> {
        let bound = |own: Bound<&Micros>| own.map(|day| (series, *day));
        let all = (
            Bound::Included((series, Micros(i64::MIN))),
            Bound::Included((series, Micros(i64::MAX))),
        );
        let from = match bound(days.start_bound()) {
            Bound::Unbounded => all.0,
            bound => bound,
        };
        let to = match bound(days.end_bound()) {
            Bound::Unbounded => all.1,
            bound => bound,
        };
        let places = self.places.range((from, to));
        places.filter_map(|((_, day), place)| Some((*day, self.at(*place)?)))
    }

    /// The days of a series, in order.
    fn of(&self, series: u32) -> impl Iterator<Item = (Micros, &Step)> {
        self.within(series, ..)
    }

    fn series(&self) -> BTreeSet<u32> {
        self.places.keys().map(|(series, _)| *series).collect()
    }

    fn at(&self, place: u32) -> Option<&Step> {
        self.days.get(place as usize)?.as_ref().map(|own| &own.step)
    }

    fn get(&self, series: u32, day: Micros) -> Option<&Step> {
        self.at(*self.places.get(&(series, day))?)
    }

    /// Puts a day back under the number that it was saved with.
    pub(super) fn restore(&mut self, place: u32, day: StockDay) {
        for fresh in self.days.len()..=place as usize {
            self.days.push(None);
            self.free.extend(u32::try_from(fresh));
        }
        self.free.remove(&place);
        self.places.insert((day.series, day.day), place);
        self.put(place, Some(day));
    }

    fn put(&mut self, place: u32, day: Option<StockDay>) {
        if let Some(held) = self.days.get_mut(place as usize) {
            *held = day;
        }
    }

    /// Adds what comes and goes on a day; returns its number. A day on which nothing is left is no more.
    fn add(&mut self, series: u32, day: Micros, step: &Step) -> u32 {
        let Some(place) = self.places.get(&(series, day)).copied() else {
            let place = self.free.pop_first();
            let place =
                place.unwrap_or_else(|| u32::try_from(self.days.push(None)).unwrap_or(u32::MAX));
            self.places.insert((series, day), place);
            self.put(place, Some(StockDay { series, day, step: step.clone() }));
            return place;
        };
        let held = self.days.get_mut(place as usize).and_then(Option::as_mut);
        let is_over = held.is_none_or(|held| {
            held.step.add(step);
            held.step.is_nothing()
        });
        if is_over {
            self.places.remove(&(series, day));
            self.put(place, None);
            self.free.insert(place);
        }
        place
    }
}

impl Cube {
    /// Nothing that comes or goes.
    pub(crate) fn no_step(&self) -> Step {
        let sums = vec![ExactSum::default(); self.sums_stride];
        Step { counts: vec![0; self.counts_stride].into(), sums: sums.into() }
    }

    /// Whether a row that came on a day was counted there.
    pub(crate) fn has_come(&self, series: u32, day: Micros, count: usize) -> bool {
        let step = self.ledger.as_ref().and_then(|ledger| ledger.get(series, day));
        step.and_then(|step| step.counts.get(count)).is_some_and(|count| *count > 0)
    }

    /// Takes what comes and goes on a day.
    pub(crate) fn take_step(&mut self, series: u32, day: Micros, step: &Step, noted: Noted) {
        if step.is_nothing() {
            return;
        }
        let is_kept = self.kept.has(step.as_numbers());
        let Some(ledger) = &mut self.ledger else { return };
        let place = ledger.add(series, day, step);
        if noted == Noted::Not {
            return;
        }
        if is_kept {
            ledger.marked.mark(place);
        }
        let none = || Step {
            counts: vec![0; step.counts.len()].into(),
            sums: vec![ExactSum::default(); step.sums.len()].into(),
        };
        let changed = ledger.changed.entry(series).or_default();
        let fresh = || Changed { step: none(), loud: BTreeSet::new() };
        let changed = changed.entry(day).or_insert_with(fresh);
        changed.step.add(step);
        if noted == Noted::Loudly {
            changed.loud.extend(step.numbers());
        }
    }

    /// Brings what the epoch changed of days into all periods that end behind them, up to the running one. Returns
    /// the series that changed, when the next day of each begins, and whether it has any days.
    pub(crate) fn roll_up_stock(&mut self, now: Micros) -> Vec<(u32, Micros, bool)> {
        let Some(ledger) = &mut self.ledger else { return Vec::new() };
        let changed = std::mem::take(&mut ledger.changed);
        let mut next = Vec::with_capacity(changed.len());
        for (series, days) in changed {
            let periods = self.periods(series);
            let has_days = self.ledger.as_ref().is_some_and(|own| own.of(series).next().is_some());
            next.push((series, next_day(&periods, now), has_days));
            let fed = self.fed_by_steps(days.values().map(|changed| &changed.step));
            for grain in self.stock_grains() {
                let steps = days.iter().map(|(day, changed)| (*day, &changed.step));
                each_period(&periods, grain, steps, now, |start, end, total| {
                    let cell = self.find_or_create(CellId { series, grain, start });
                    self.touch(cell);
                    fed.iter().for_each(|selection| self.feed(cell, *selection));
                    self.add_step(cell, total);
                    let loud = days.range(..end).flat_map(|(_, changed)| changed.loud.iter());
                    self.loud.extend(loud.map(|number| (cell, *number)));
                });
            }
        }
        next
    }

    /// Makes all cells what the days say, up to the running periods, however often. Returns when the next day of
    /// each series begins.
    pub(crate) fn rebuild_stock(&mut self, now: Micros) -> Vec<(u32, Micros)> {
        let Some(ledger) = self.ledger.take() else { return Vec::new() };
        self.clear_numbers();
        let mut next = Vec::new();
        for series in ledger.series() {
            let periods = self.periods(series);
            next.push((series, next_day(&periods, now)));
            for grain in self.stock_grains() {
                each_period(&periods, grain, ledger.of(series), now, |start, _, total| {
                    let cell = self.find_or_create(CellId { series, grain, start });
                    self.add_step(cell, total);
                });
            }
        }
        self.ledger = Some(ledger);
        next
    }

    /// Before cells are made of what rows brought: they hold nothing.
    pub(super) fn clear_numbers(&mut self) {
        let cells = (0_u32..).zip(self.slabs.cells.iter()).filter(|(_, cell)| cell.is_live());
        for cell in cells.map(|(number, _)| number).collect::<Vec<_>>() {
            let (counts, sums) = self.slabs.numbers_mut(cell);
            counts.fill(0);
            sums.fill(ExactSum::default());
        }
    }

    /// Gives the periods of a series that begin with a day their cells. Returns when its next day begins, while it
    /// has any on which something comes or goes.
    pub(super) fn begin_day(&mut self, series: u32, day: Micros) -> Option<Micros> {
        let periods = self.periods(series);
        self.ledger.as_ref()?.of(series).next()?;
        for grain in self.stock_grains() {
            if periods.start(grain, day) != day {
                continue;
            }
            let before = CellId { series, grain, start: periods.later(grain, day, -1) };
            let mut total = match self.find(before) {
                Some(cell) => Step::of(self.slabs.numbers(cell)),
                None => self.no_step(),
            };
            let days = day..periods.end(grain, day);
            let ledger = self.ledger.iter();
            ledger
                .flat_map(|ledger| ledger.within(series, days.clone()))
                .for_each(|(_, step)| total.add(step));
            if total.is_nothing() {
                continue;
            }
            let cell = self.find_or_create(CellId { series, grain, start: day });
            self.touch(cell);
            self.fed_by_steps([&total]).iter().for_each(|selection| self.feed(cell, *selection));
            self.add_step(cell, &total);
        }
        Some(next_day(&periods, day))
    }

    /// The selections that bring what comes and goes.
    fn fed_by_steps<'a>(&self, steps: impl IntoIterator<Item = &'a Step>) -> BTreeSet<usize> {
        self.feeding(steps.into_iter().flat_map(Step::numbers))
    }

    /// The selections that feed these numbers.
    pub(super) fn feeding(&self, numbers: impl Iterator<Item = Number>) -> BTreeSet<usize> {
        let feeding = |number| match number {
            Number::Count(count) => selection_of(count),
            Number::Sum(sum) => self.fed_by[sum],
        };
        numbers.map(feeding).collect()
    }

    /// The grains that what is alive at the end of a period, or overlaps it, has.
    pub(super) fn stock_grains(&self) -> impl Iterator<Item = Grain> + use<> {
        self.grains.iter().filter(|grain| *grain != Grain::Hour)
    }

    pub(super) fn add_step(&mut self, cell: u32, step: &Step) {
        let (counts, sums) = self.slabs.numbers_mut(cell);
        for (own, by) in counts.iter_mut().zip(&step.counts) {
            *own += by;
        }
        for (own, by) in sums.iter_mut().zip(&step.sums) {
            own.add_change(ExactSum::default(), *by);
        }
    }
}

fn next_day(periods: &Periods, now: Micros) -> Micros {
    periods.end(Grain::Day, periods.start(Grain::Day, now))
}

/// The periods from that of the first day to the running one, with where each ends and all steps of days before
/// that; not those of which that is nothing.
fn each_period<'a>(
    periods: &Periods,
    grain: Grain,
    days: impl Iterator<Item = (Micros, &'a Step)>,
    now: Micros,
    mut give: impl FnMut(Micros, Micros, &Step),
) {
    let mut days = days.peekable();
    let Some((first, step)) = days.peek() else { return };
    let mut start = periods.start(grain, *first);
    let mut total = Step {
        counts: vec![0; step.counts.len()].into(),
        sums: vec![ExactSum::default(); step.sums.len()].into(),
    };
    while start <= now {
        let end = periods.end(grain, start);
        while let Some((_, step)) = days.next_if(|(day, _)| *day < end) {
            total.add(step);
        }
        if !total.is_nothing() {
            give(start, end, &total);
        }
        start = end;
    }
}
