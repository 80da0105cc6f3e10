//! What a cell is compared with, and by how much it differs: the counterpart of a cell. Pure.
//!
//! # Guarantees
//! - A period that is over is held against a whole earlier one, in the tenant's zone and fiscal year. One that
//!   runs is held against as many days of the earlier one as have begun of it, a day against as many hours: what
//!   is shown of a running month and what it is compared with are both a month to date.
//! - A part of a period is the exact sum of its days or hours. A ratio is made of the sums of its parts, and only
//!   where those of all days make up those of the whole: never a sum or a mean of ratios.
//! - A window brings its counterparts with it.
//! - What has no counterpart has no change, and a change of what is not positive has no ratio.
//!
//! # Non-guarantees
//! - Hours are those of UTC: a day that begins within one, as in India, is not made of hours, and has no
//!   counterpart with a value while it runs.
//! - Kinds that do not add up have no part of a period: while one runs, their counterpart is without a value.

pub(crate) mod changes;
#[cfg(test)]
mod tests;

use schemas::decimal::{MANTISSA_MAX, quotient};
use schemas::{CellValue, Counterpart, Grain, KpiKind, Micros, Periods, Window};

use crate::earlier::{self, Against, Earlier};
use crate::store::{History, SeriesName};

const HOUR_US: i64 = 3_600_000_000;

/// The counterpart of a cell, and how the cell differs from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Compared {
    /// The earlier period, as far as it is compared.
    pub(crate) start: Micros,
    pub(crate) end: Micros,
    /// What it says.
    pub(crate) value: Option<i128>,
    /// The cell less its counterpart.
    pub(crate) change: Option<i128>,
    /// That as a part of the counterpart.
    pub(crate) change_ratio: Option<i128>,
}

impl Compared {
    /// That of a window with this value.
    fn of_window(window: &Window, against: Against, value: Option<i128>) -> Option<Compared> {
        let Counterpart { start, end, value: before } = against.of(window)?;
        let before = before.and_then(|before| before.value);
        Some(Compared::new((start, end), value, before))
    }

    /// The comparison of two values, the earlier one with where it lies.
    pub(crate) fn new(
        (start, end): (Micros, Micros),
        value: Option<i128>,
        before: Option<i128>,
    ) -> Compared {
        let change = difference(value, before);
        let base = before.filter(|base| *base > 0);
        let change_ratio = change.zip(base).and_then(|(change, base)| quotient(change, base));
        Compared { start, end, value: before, change, change_ratio }
    }
}

/// What cells are looked up in, and how.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Comparison<'a> {
    pub(crate) against: Against,
    pub(crate) history: &'a History,
    pub(crate) periods: &'a Periods,
    /// How the KPI's values go together; `None` of one that is not defined any more.
    pub(crate) kind: Option<KpiKind>,
    pub(crate) as_of: Micros,
}

impl Comparison<'_> {
    /// The counterpart of a cell. `None` when the calendar has none: a 29 February has none a year before.
    pub(crate) fn of(
        &self,
        series: &SeriesName,
        (grain, start): (Grain, Micros),
        value: Option<i128>,
        window: Option<&Window>,
    ) -> Option<Compared> {
        if let Some(window) = window {
            return Compared::of_window(window, self.against, value);
        }
        let earlier = earlier::of(self.periods, (grain, start), self.as_of, self.against)?;
        let before = self.value(series, grain, &earlier);
        Some(Compared::new((earlier.start, earlier.end), value, before))
    }

    /// Whether anything is known of the counterpart of a cell, be it a value or not.
    pub(crate) fn knows(
        &self,
        series: &SeriesName,
        (grain, start): (Grain, Micros),
        window: Option<&Window>,
    ) -> bool {
        if let Some(window) = window {
            return self.against.of(window).is_some_and(|counterpart| counterpart.value.is_some());
        }
        let earlier = earlier::of(self.periods, (grain, start), self.as_of, self.against);
        earlier.is_some_and(|own| self.history.value(series, grain, own.start).is_some())
    }

    /// What an earlier period says, as far as it is compared.
    fn value(&self, series: &SeriesName, grain: Grain, earlier: &Earlier) -> Option<i128> {
        // Without a cell of it nothing is known of it; with one, days without a cell are days of nothing.
        let whole = self.history.value(series, grain, earlier.start)?;
        let Some(parts) = earlier.parts else { return whole.value };
        if parts == Grain::Hour && earlier.start.0 % HOUR_US != 0 {
            return None;
        }
        let of = |to: Micros| self.history.values(series, parts, earlier.start, to);
        match self.kind? {
            KpiKind::Flow => total(of(earlier.end), |part| part.value),
            KpiKind::Ratio => {
                let adds_up = [numerator, denominator].into_iter().all(|part| {
                    total(of(earlier.whole_end), part) == Some(part(&whole).unwrap_or(0))
                });
                let above = total(of(earlier.end), numerator).filter(|_| adds_up)?;
                quotient(above, total(of(earlier.end), denominator)?)
            }
            _ => None,
        }
    }
}

fn numerator(value: &CellValue) -> Option<i128> {
    value.numerator
}

fn denominator(value: &CellValue) -> Option<i128> {
    value.denominator
}

/// The sum of a number of cells; `None` when it does not fit, or one of them could not be computed.
fn total(
    cells: impl Iterator<Item = CellValue>,
    number: impl Fn(&CellValue) -> Option<i128>,
) -> Option<i128> {
    let mut sum = 0_i128;
    for cell in cells {
        if cell.status == schemas::Status::Error {
            return None;
        }
        sum = sum.checked_add(number(&cell).unwrap_or(0))?;
    }
    (sum.unsigned_abs() <= MANTISSA_MAX.unsigned_abs()).then_some(sum)
}

fn difference(now: Option<i128>, before: Option<i128>) -> Option<i128> {
    let change = now?.checked_sub(before?)?;
    (change.unsigned_abs() <= MANTISSA_MAX.unsigned_abs()).then_some(change)
}
