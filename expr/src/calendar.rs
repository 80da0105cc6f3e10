//! The calendar: parts of instants and the starts of periods, in UTC, proleptic Gregorian.

use schemas::{Micros, civil};

use crate::node::{Span, Unit};

const SECOND_US: i64 = 1_000_000;
const MINUTE_US: i64 = 60 * SECOND_US;
const HOUR_US: i64 = 60 * MINUTE_US;
const DAY_US: i64 = 24 * HOUR_US;

/// Days since Monday.
fn weekday(day: i64) -> i64 {
    (day + 3).rem_euclid(7)
}

/// The start of the second, minute, ..., year that an instant is in; `None` before the earliest instant.
pub(crate) fn truncate(unit: Unit, at: Micros) -> Option<Micros> {
    let day = at.0.div_euclid(DAY_US);
    let floor = |unit: i64| at.0.div_euclid(unit).checked_mul(unit);
    let (year, month, _) = civil::date(day);
    let start = match unit {
        Unit::Second => return floor(SECOND_US).map(Micros),
        Unit::Minute => return floor(MINUTE_US).map(Micros),
        Unit::Hour => return floor(HOUR_US).map(Micros),
        Unit::Day | Unit::DayOfWeek | Unit::DayOfYear => day,
        Unit::Week => day - weekday(day),
        Unit::Month => civil::day(year, month, 1),
        Unit::Quarter => civil::day(year, (month - 1) / 3 * 3 + 1, 1),
        Unit::Year => civil::day(year, 1, 1),
    };
    start.checked_mul(DAY_US).map(Micros)
}

/// A part of an instant.
pub(crate) fn extract(unit: Unit, at: Micros) -> i64 {
    let (day, time) = (at.0.div_euclid(DAY_US), at.0.rem_euclid(DAY_US));
    let (year, month, of_month) = civil::date(day);
    match unit {
        Unit::Second => time / SECOND_US % 60,
        Unit::Minute => time / MINUTE_US % 60,
        Unit::Hour => time / HOUR_US,
        Unit::Day => of_month,
        Unit::Week => iso_week(day),
        Unit::Month => month,
        Unit::Quarter => (month - 1) / 3 + 1,
        Unit::Year => year,
        Unit::DayOfWeek => (weekday(day) + 1) % 7,
        Unit::DayOfYear => day - civil::day(year, 1, 1) + 1,
    }
}

/// An instant so much later; of a month that is shorter its last day. `None` beyond all instants.
pub(crate) fn shift(at: Micros, by: Span) -> Option<Micros> {
    let (day, time) = (at.0.div_euclid(DAY_US), at.0.rem_euclid(DAY_US));
    let (year, month, of_month) = civil::date(day);
    let all = year * 12 + month - 1 + i64::from(by.months);
    let first = |all: i64| civil::day(all.div_euclid(12), all.rem_euclid(12) + 1, 1);
    let length = first(all + 1) - first(all);
    let day = first(all) + of_month.min(length) - 1 + i64::from(by.days);
    let start = day.checked_mul(DAY_US)?;
    start.checked_add(time)?.checked_add(by.micros).map(Micros)
}

/// The week of ISO 8601: the one with the year's first Thursday is 1.
fn iso_week(day: i64) -> i64 {
    let thursday = day - weekday(day) + 3;
    let (year, ..) = civil::date(thursday);
    (thursday - civil::day(year, 1, 1)) / 7 + 1
}

/// The midnight of a day.
pub(crate) fn midnight(day: i32) -> Micros {
    Micros(i64::from(day) * DAY_US)
}

/// The day of an instant.
pub(crate) fn date(at: Micros) -> Option<i32> {
    i32::try_from(at.0.div_euclid(DAY_US)).ok()
}
