//! The civil calendar: from day numbers to dates and back, and the first days of weeks, months, quarters and
//! years; proleptic Gregorian, for all years.

use crate::time::Grain;

/// Year, month from 1 and day of the month from 1 of a day counted from 1970-01-01.
pub fn date(day: i64) -> (i64, i64, i64) {
    // Years that begin in March, in eras of 400 of them: the leap day is the last day of a year.
    let shifted = day + 719_468;
    let (era, of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let day_of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * day_of_year + 2) / 153;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day_of_year - (153 * from_march + 2) / 5 + 1)
}

/// The day counted from 1970-01-01 of a year, month and day of the month.
pub fn day(year: i64, month: i64, day: i64) -> i64 {
    let year = year - i64::from(month <= 2);
    let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let from_march = if month > 2 { month - 3 } else { month + 9 };
    let day_of_year = (153 * from_march + 2) / 5 + day - 1;
    let of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + of_era - 719_468
}

/// Where weeks and years begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// Weeks begin on Sunday, not on Monday.
    pub from_sunday: bool,
    /// The month, from 1, that years begin with, and every third quarter of a year after it.
    pub year_from: u8,
}

impl Default for Shape {
    fn default() -> Shape {
        Shape { from_sunday: false, year_from: 1 }
    }
}

/// The first day of the period of whole days that contains a day.
pub fn first_day(grain: Grain, of: i64, shape: Shape) -> i64 {
    let months = match grain {
        Grain::Hour | Grain::Day => return of,
        // 1970-01-01 was a Thursday.
        Grain::Week => return of - (of + 3 + i64::from(shape.from_sunday)).rem_euclid(7),
        Grain::Month => 1,
        Grain::Quarter => 3,
        Grain::Year => 12,
        // Windows end with any day.
        _ => return of,
    };
    let (year, month, _) = date(of);
    let into = (month - i64::from(shape.year_from)).rem_euclid(months);
    first_of(year * 12 + month - 1 - into)
}

/// The first day of the period so many after the one that begins with this day, or before it.
pub fn later_first_day(grain: Grain, first: i64, count: i64) -> i64 {
    let months = match grain {
        Grain::Hour | Grain::Day => return first + count,
        Grain::Week => return first + 7 * count,
        Grain::Month => count,
        Grain::Quarter => 3 * count,
        Grain::Year => 12 * count,
        _ => return first + count,
    };
    let (year, month, _) = date(first);
    first_of(year * 12 + month - 1 + months)
}

/// The same date of the year before; of a 29 February its 28th.
pub fn year_before(of: i64) -> i64 {
    let (year, month, of_month) = date(of);
    let first = day(year - 1, month, 1);
    let next = first_of((year - 1) * 12 + month);
    (first + of_month - 1).min(next - 1)
}

/// The first day of a month, counted from January of the year 0.
fn first_of(month: i64) -> i64 {
    day(month.div_euclid(12), month.rem_euclid(12) + 1, 1)
}

#[cfg(test)]
mod tests {
    use chrono::{Datelike, NaiveDate};

    #[test]
    fn agrees_with_another_calendar() {
        for number in (-1_000_000..3_000_000).step_by(13) {
            let epoch = NaiveDate::from_ymd_opt(1970, 1, 1).unwrap();
            let other = epoch + chrono::Duration::days(number);
            let (year, month, day) = super::date(number);
            let expected =
                (i64::from(other.year()), i64::from(other.month()), i64::from(other.day()));
            assert_eq!((year, month, day), expected);
            assert_eq!(super::day(year, month, day), number);
        }
    }
}
