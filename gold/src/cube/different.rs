//! Numbers of different values: of hours and days as rows come and go, of longer periods and windows when the epoch
//! ends.
//!
//! # Guarantees
//! - A row costs one look-up of its value, and one of the value's neighbours in time; a cell costs something when
//!   its number changes.
//! - Numbers of windows move with them: by the values of the hours or days that enter and leave.

use expr::Value;
use foldhash::fast::FixedState;
use hashbrown::HashMap;
use schemas::window::{NO_START, Role};
use schemas::{Grain, Micros};

use super::rolling::{Around, id, place};
use super::{Cube, Number};
use crate::distinct::{Alone, Change, Of};
use crate::slabs::CellId;
use crate::sum::ExactSum;

const HOUR_US: i64 = 3_600_000_000;

/// So many days are remembered with the periods around them.
const DAYS_MAX: usize = 4096;

/// Where a row lies in time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Spot {
    pub(crate) series: u32,
    /// The starts of its hour and its day.
    pub(crate) hour: Micros,
    pub(crate) day: Micros,
}

/// What becomes of a number that a value changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Telling {
    /// It is told of at the end of the epoch.
    Told,
    /// The same, and that a row which is not quiet changed it.
    Loud,
    /// It is counted when all rows are there.
    Untold,
}

/// A change of the number of a longer period or a window, to be made when the epoch ends.
#[derive(Debug, Clone, Copy)]
pub(super) struct Later {
    cell: CellId,
    sum: usize,
    by: i128,
    is_loud: bool,
}

/// The periods around the days of each zone that were looked at.
#[derive(Debug)]
pub(super) struct Days(HashMap<(usize, Micros), Periods, FixedState>);

/// The end of a day, and the longer periods around it.
#[derive(Debug, Clone)]
struct Periods {
    end: Micros,
    long: Vec<(Grain, Micros, Micros)>,
}

impl Default for Days {
    fn default() -> Days {
        Days(HashMap::with_hasher(FixedState::with_seed(0xda15)))
    }
}

impl Cube {
    /// Puts a value of a row into its hour and its day, or takes it out, and notes what that is to longer periods.
    pub(crate) fn change_different(
        &mut self,
        spot: Spot,
        sum: usize,
        (value, comes): (&Value<'_>, bool),
        telling: Telling,
    ) {
        let has_hours = self.grains.has(Grain::Hour);
        let unit = if has_hours { spot.hour.max(spot.day) } else { spot.day };
        let alone = match self.distinct.change(of(spot.series, sum), value, unit, comes) {
            Change::Missing => return,
            Change::Same if telling != Telling::Loud => return,
            Change::Same => None,
            Change::Other(alone) => Some(alone),
        };
        let by = if comes { 1 } else { -1 };
        let is_changed = |start, end| is_alone(alone, start, end);
        let zone = self.rolling.zone(&self.slabs.series(spot.series).periods);
        let day_end = self.periods_around(zone, spot).end;
        let hour = has_hours.then(|| (Grain::Hour, spot.hour, spot.hour.plus(HOUR_US)));
        for (grain, start, end) in hour.into_iter().chain([(Grain::Day, spot.day, day_end)]) {
            if telling != Telling::Loud && !is_changed(start, end) {
                continue;
            }
            let Some(cell) = self.find(CellId { series: spot.series, grain, start }) else {
                continue;
            };
            if is_changed(start, end) {
                self.slabs.numbers_mut(cell).1[sum].add(by);
            }
            if telling == Telling::Loud {
                self.mark_loud(cell, Number::Sum(sum));
            }
        }
        if telling != Telling::Untold {
            let is_loud = telling == Telling::Loud;
            self.note_later(
                spot,
                (unit, zone),
                alone,
                Later {
                    cell: CellId { series: spot.series, grain: Grain::Day, start: spot.day },
                    sum,
                    by,
                    is_loud,
                },
            );
        }
    }

    /// Notes what a value that comes or goes is to the longer periods and windows around it.
    fn note_later(
        &mut self,
        spot: Spot,
        (unit, zone): (Micros, usize),
        alone: Option<Alone>,
        change: Later,
    ) {
        let is_changed = |start, end| is_alone(alone, start, end);
        let Cube { later, days, rolling, .. } = self;
        let Some(periods) = days.0.get(&(zone, spot.day)) else { return };
        for (grain, start, end) in periods.long.iter().copied() {
            let by = if is_changed(start, end) { change.by } else { 0 };
            if by != 0 || change.is_loud {
                later.push(Later { cell: CellId { grain, start, ..change.cell }, by, ..change });
            }
        }
        for (own, reaches) in Grain::WINDOWS.into_iter().zip(&rolling.zones[zone].reaches) {
            for role in [Role::Running, Role::Previous] {
                let reach = reaches[role as usize].filter(|reach| reach.has(unit));
                if reach.is_some_and(|reach| is_changed(reach.start, reach.end)) {
                    later.push(Later { cell: id(spot.series, own, role), ..change });
                }
            }
        }
    }

    /// The end of the day of a spot, and the longer periods around it.
    fn periods_around(&mut self, zone: usize, spot: Spot) -> &Periods {
        let Cube { days, slabs, grains, .. } = self;
        if days.0.len() >= DAYS_MAX {
            days.0.clear();
        }
        days.0.entry((zone, spot.day)).or_insert_with(|| {
            let periods = &slabs.series(spot.series).periods;
            let long = periods.around(*grains, spot.day);
            let long = long.map(|(grain, start)| (grain, start, periods.end(grain, start)));
            Periods { end: periods.end(Grain::Day, spot.day), long: long.collect() }
        })
    }

    /// Makes the changes of longer periods that the epoch noted; those of windows when the windows are there.
    pub(super) fn change_longer(&mut self) {
        let mut later = std::mem::take(&mut self.later);
        later.retain(|change| {
            if change.cell.grain.is_window() {
                return true;
            }
            let cell = self.find_or_create(change.cell);
            self.feed(cell, self.fed_by[change.sum]);
            self.slabs.numbers_mut(cell).1[change.sum].add(change.by);
            if change.is_loud {
                self.mark_loud(cell, Number::Sum(change.sum));
            }
            false
        });
        self.later = later;
    }

    /// The same of windows, and of those before them that are not counted later.
    pub(super) fn change_windows(&mut self) {
        let mut later = std::mem::take(&mut self.later);
        for Later { cell: CellId { series, grain, start }, sum, by, .. } in later.drain(..) {
            let cell = match start == NO_START {
                true => Some(self.find_or_create(id(series, grain, Role::Running))),
                false => self.counterpart(series, grain, Role::Previous),
            };
            let Some(cell) = cell else { continue };
            self.feed(cell, self.fed_by[sum]);
            self.slabs.numbers_mut(cell).1[sum].add(by);
        }
        self.later = later;
    }

    /// Counts the different values of a window, or of that before it, anew.
    pub(super) fn count_different(&mut self, series: u32, window: Grain, role: Role) {
        let zone = self.rolling.zone(&self.slabs.series(series).periods);
        let reach = self.rolling.zones[zone].reaches[place(window)][role as usize];
        let (Some(reach), Some(cell)) = (reach, self.window_cell(series, window, role)) else {
            return;
        };
        for at in 0..self.different.len() {
            let sum = self.different[at];
            let count = self.distinct.count(of(series, sum), (reach.start, reach.end));
            let own = &mut self.slabs.numbers_mut(cell).1[sum];
            *own = ExactSum::default();
            own.add(count);
        }
    }

    /// Brings numbers of different values to where a window has moved.
    pub(super) fn move_different(
        &mut self,
        (series, window, role): (u32, Grain, Role),
        was: (Micros, Micros),
        now: (Micros, Micros),
    ) {
        for at in 0..self.different.len() {
            let sum = self.different[at];
            let by = self.distinct.moved(of(series, sum), was, now);
            if let Some(cell) = self.window_cell(series, window, role).filter(|_| by != 0) {
                self.slabs.numbers_mut(cell).1[sum].add(by);
            }
        }
    }

    /// Counts the different values of all longer periods, whose numbers are 0.
    pub(super) fn count_longer(&mut self) {
        self.later.clear();
        let distinct = std::mem::take(&mut self.distinct);
        for ((series, sum), unit, before) in distinct.occurrences() {
            let periods = self.periods(series);
            let day = periods.start(Grain::Day, unit);
            let zone = self.rolling.zone(&periods);
            let around = self.periods_around(zone, Spot { series, hour: unit, day }).long.clone();
            for (grain, start, _) in around {
                if before.is_none_or(|before| before < start) {
                    let cell = self.find_or_create(CellId { series, grain, start });
                    self.slabs.numbers_mut(cell).1[sum as usize].add(1);
                }
            }
        }
        self.distinct = distinct;
    }

    /// Counts those of all windows, and of those before them, that have a cell.
    pub(super) fn count_windows(&mut self) {
        for series in self.distinct.series() {
            for (window, role) in Around::ALL.iter() {
                if role != Role::Year && self.rolling.windows.has(window) {
                    self.count_different(series, window, role);
                }
            }
        }
    }
}

/// Whether a value that came or went is in no other unit of a period.
fn is_alone(alone: Option<Alone>, start: Micros, end: Micros) -> bool {
    alone.is_some_and(|own| own.in_period(start, end))
}

/// Whose values a sum of a series counts.
fn of(series: u32, sum: usize) -> Of {
    (series, u32::try_from(sum).unwrap_or(u32::MAX))
}
