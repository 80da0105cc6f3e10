//! Which period is the one before, or the same a year before, and how much of it counts. Pure.

use schemas::{Counterpart, Grain, Micros, Periods, Window, civil};

const HOUR_US: i64 = 3_600_000_000;
/// Weeks of a year, by which a week has the same place a year before.
pub(crate) const WEEKS: i64 = 52;

/// Which earlier period a cell is compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Against {
    /// The one before.
    Previous,
    /// The same of the year before.
    Year,
}

impl Against {
    /// Every one of them.
    pub(crate) const ALL: [Against; 2] = [Against::Previous, Against::Year];

    /// The word used in HTTP.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Against::Previous => "previous",
            Against::Year => "year",
        }
    }

    /// That of a window.
    pub(crate) fn of(self, window: &Window) -> Option<Counterpart> {
        match self {
            Against::Previous => window.previous,
            Against::Year => window.year,
        }
    }

    /// The one with this name.
    pub(crate) fn parse(name: &str) -> Option<Against> {
        Against::ALL.into_iter().find(|against| against.name() == name)
    }
}

/// An earlier period, as far as it is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Earlier {
    pub(crate) start: Micros,
    /// Where the comparison ends.
    pub(crate) end: Micros,
    /// Where the period ends.
    pub(crate) whole_end: Micros,
    /// The periods that it is summed from, when it is not compared whole.
    pub(crate) parts: Option<Grain>,
}

/// The counterpart of the period of `grain` that starts at `start`, at an instant; `None` where the calendar has none.
pub(crate) fn of(
    periods: &Periods,
    (grain, start): (Grain, Micros),
    as_of: Micros,
    against: Against,
) -> Option<Earlier> {
    let from = match against {
        Against::Previous => periods.later(grain, start, -1),
        Against::Year => year_before(periods, grain, start)?,
    };
    let whole_end = periods.end(grain, from);
    let whole = Earlier { start: from, end: whole_end, whole_end, parts: None };
    if grain == Grain::Hour || as_of < start || periods.end(grain, start) <= as_of {
        return Some(whole);
    }
    // It runs: as many parts as have begun of it, the running one included.
    let parts = if grain == Grain::Day { Grain::Hour } else { Grain::Day };
    let begun = match parts {
        Grain::Hour => (as_of.0 - start.0) / HOUR_US,
        _ => periods.day(as_of) - periods.day(start),
    };
    let end = periods.later(parts, from, begun + 1);
    if end >= whole_end {
        return Some(whole);
    }
    Some(Earlier { end, parts: Some(parts), ..whole })
}

/// Where the same period of the year before starts.
fn year_before(periods: &Periods, grain: Grain, start: Micros) -> Option<Micros> {
    match grain {
        Grain::Hour => {
            let day = day_a_year_before(start.day())?;
            Some(Micros::midnight(day).plus(start.0 - Micros::midnight(start.day()).0))
        }
        Grain::Day => {
            let day = periods.day(start);
            Some(periods.later(Grain::Day, start, day_a_year_before(day)? - day))
        }
        Grain::Week => Some(periods.later(grain, start, -WEEKS)),
        Grain::Month => Some(periods.later(grain, start, -12)),
        Grain::Quarter => Some(periods.later(grain, start, -4)),
        Grain::Year => Some(periods.later(grain, start, -1)),
        // Windows bring their counterparts.
        _ => None,
    }
}

/// The same date of the year before. A 29 February has none.
fn day_a_year_before(day: i64) -> Option<i64> {
    let (year, month, of_month) = civil::date(day);
    let before = civil::day(year - 1, month, of_month);
    (civil::date(before) == (year - 1, month, of_month)).then_some(before)
}
