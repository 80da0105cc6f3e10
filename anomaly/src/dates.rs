//! What comes again with the month: outliers on the same day from its beginning or from its end.
//!
//! # Guarantees
//! - A place in the month is known from its third time on: outliers of one direction in two months before.
//!
//! # Non-guarantees
//! - The newest [`KEPT`] days with outliers are remembered, of which one day may have the outliers of hours in a row.

use schemas::civil;
use serde::{Deserialize, Serialize};

use crate::number::narrow;

/// Days with outliers that are remembered.
const KEPT: usize = 24;
/// Outliers of hours that make the whole day one.
const WHOLE: u8 = 6;
/// Days from the end of a month that are told from those after its beginning.
const FROM_END: i64 = 5;

/// The local day of a bucket, and its hour on the clock; days are at 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Date {
    pub(crate) day: i64,
    pub(crate) clock: usize,
}

/// Outliers in a row on one day.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Outliers {
    day: i64,
    from: u8,
    to: u8,
    count: u8,
    /// How far off they were, the nearest and the farthest.
    near: f32,
    far: f32,
}

/// The outliers of a series by their dates.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub(crate) struct Dates {
    days: Vec<Outliers>,
}

/// The month of a day, counted; its place from the beginning, and from the end.
pub(crate) fn in_month(day: i64) -> (i64, i64, i64) {
    let (year, month, of) = civil::date(day);
    let next = if month == 12 { (year + 1, 1) } else { (year, month + 1) };
    (year * 12 + month, of, civil::day(next.0, next.1, 1) - day)
}

/// Bytes that they take at most.
#[cfg(test)]
pub(crate) const MOST: usize = 32 * size_of::<Outliers>();

impl Outliers {
    /// Whether it is in the same place of another month.
    fn is_like(&self, date: Date, (month, of, left): (i64, i64, i64)) -> bool {
        let (own_month, own_of, own_left) = in_month(self.day);
        let is_day = of == own_of || (left == own_left && left <= FROM_END);
        let clock = u8::try_from(date.clock).unwrap_or(u8::MAX);
        let is_hour = self.from.saturating_sub(1) <= clock && clock <= self.to.saturating_add(1);
        month != own_month && is_day && (is_hour || self.count >= WHOLE)
    }
}

impl Dates {
    /// Notes an outlier that was `error` off, in the space of the model.
    pub(crate) fn note(&mut self, date: Date, error: f64) {
        let (clock, error) = (u8::try_from(date.clock).unwrap_or(u8::MAX), narrow(error));
        let is_same = |own: &&mut Outliers| {
            own.day == date.day && own.near.is_sign_negative() == error.is_sign_negative()
        };
        if let Some(own) = self.days.last_mut().filter(is_same) {
            own.count = own.count.saturating_add(1);
            (own.from, own.to) = (own.from.min(clock), own.to.max(clock));
            if error.abs() < own.near.abs() {
                own.near = error;
            }
            if error.abs() > own.far.abs() {
                own.far = error;
            }
            return;
        }
        if self.days.len() >= KEPT {
            self.days.remove(0);
        }
        let (from, to) = (clock, clock);
        self.days.push(Outliers { day: date.day, from, to, count: 1, near: error, far: error });
    }

    /// How far off a bucket may be by its date: the least and the most.
    pub(crate) fn expected(&self, date: Date) -> Option<(f64, f64)> {
        if self.days.len() < 2 {
            return None;
        }
        let own = in_month(date.day);
        let like: Vec<&Outliers> = self.days.iter().filter(|day| day.is_like(date, own)).collect();
        let side = |sign: f32| {
            let of_side = like.iter().filter(move |day| day.near.signum() * sign > 0.0);
            let months: std::collections::BTreeSet<i64> =
                of_side.clone().map(|day| in_month(day.day).0).collect();
            let errors = of_side.flat_map(|day| [f64::from(day.near), f64::from(day.far)]);
            (months.len() >= 2).then(|| {
                errors.fold((f64::INFINITY, f64::NEG_INFINITY), |(least, most), error| {
                    (least.min(error), most.max(error))
                })
            })
        };
        match (side(-1.0), side(1.0)) {
            (Some(low), Some(high)) => Some((low.0, high.1)),
            (low, high) => low.or(high),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn date(year: i64, month: i64, day: i64, clock: usize) -> Date {
        Date { day: civil::day(year, month, day), clock }
    }

    #[test]
    fn a_fee_is_known_from_its_third_time_on() {
        let mut dates = Dates::default();
        for month in 1..=2 {
            assert_eq!(dates.expected(date(2026, month, 1, 0)), None);
            dates.note(date(2026, month, 1, 0), 2.0 + 0.5 * month as f64);
            dates.note(date(2026, month, 12 + month, 9), -3.0);
        }
        assert_eq!(dates.expected(date(2026, 3, 1, 0)), Some((2.5, 3.0)));
        assert_eq!(dates.expected(date(2026, 3, 1, 9)), None);
        assert_eq!(dates.expected(date(2026, 3, 2, 0)), None);
        assert_eq!(dates.expected(date(2026, 3, 13, 9)), None);
    }

    #[test]
    fn the_last_days_of_a_month_are_those_of_months_of_any_length() {
        let mut dates = Dates::default();
        for (year, month, day) in [(2025, 12, 31), (2026, 2, 28)] {
            (0..8).for_each(|clock| dates.note(date(year, month, day, clock), 1.0));
        }
        assert_eq!(dates.expected(date(2026, 4, 30, 15)), Some((1.0, 1.0)));
        assert_eq!(dates.expected(date(2026, 3, 30, 3)), None);
        // However many there were, the newest are remembered.
        (0..40).for_each(|day| dates.note(date(2026, 5, 1 + day, 0), 1.0));
        assert_eq!(dates.days.len(), KEPT);
    }
}
