//! The periods and windows of KPIs in UTC, by counting days: years and months are walked through, one after the other.
//!
//! # Guarantees
//! - None of the product's calendar is used: a period is found by the lengths of years and months alone.

use schemas::Grain;

const HOUR: i64 = 3_600_000_000;
const DAY: i64 = 24 * HOUR;
/// 2024-01-01, a Monday, as a day since 1970-01-01.
const A_MONDAY: i64 = 19_723;

/// Where the period starts that an instant is in.
pub fn start(grain: Grain, at: i64) -> i64 {
    let day = at.div_euclid(DAY);
    match grain {
        Grain::Hour => at - at.rem_euclid(HOUR),
        Grain::Day => day * DAY,
        Grain::Week => (day - (day - A_MONDAY).rem_euclid(7)) * DAY,
        Grain::Month => months_before(day, 1) * DAY,
        Grain::Quarter => months_before(day, 3) * DAY,
        Grain::Year => months_before(day, 12) * DAY,
        _ => panic!("{grain} is a window, which an instant has no start of"),
    }
}

/// Where a window starts and ends at an instant.
pub fn window(window: Grain, now: i64) -> (i64, i64) {
    let tomorrow = (now.div_euclid(DAY) + 1) * DAY;
    let days = |days: i64| (tomorrow - days * DAY, tomorrow);
    match window {
        Grain::Last24Hours => {
            let end = (now.div_euclid(HOUR) + 1) * HOUR;
            (end - 24 * HOUR, end)
        }
        Grain::Last7Days => days(7),
        Grain::Last30Days => days(30),
        Grain::Last90Days => days(90),
        _ => (0, tomorrow),
    }
}

/// Where the period ends that starts there.
pub fn end(grain: Grain, start_at: i64) -> i64 {
    // Some instant of the next one.
    let later = match grain {
        Grain::Hour => return start_at + HOUR,
        Grain::Day => 1,
        Grain::Week => 7,
        Grain::Month => 32,
        Grain::Quarter => 93,
        Grain::Year => 366,
        _ => panic!("{grain} is a window, which ends where the running day or hour does"),
    };
    start(grain, start_at + later * DAY)
}

/// The first day of the months of a year, taken so many at a time, that a day is in.
fn months_before(day: i64, together: usize) -> i64 {
    let (mut year, mut first) = (1970, 0);
    while first > day {
        year -= 1;
        first -= days_of(year).iter().sum::<i64>();
    }
    loop {
        let length: i64 = days_of(year).iter().sum();
        if first + length > day {
            break;
        }
        first += length;
        year += 1;
    }
    for months in days_of(year).chunks(together) {
        let length: i64 = months.iter().sum();
        if first + length > day {
            break;
        }
        first += length;
    }
    first
}

/// The lengths of the months of a year.
fn days_of(year: i64) -> [i64; 12] {
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let february = if is_leap { 29 } else { 28 };
    [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]
}

#[cfg(test)]
mod tests {
    use schemas::Micros;

    use super::*;

    #[test]
    fn periods_are_those_of_the_calendar_on_the_wall() {
        let at = |text: &str| Micros::parse(text).unwrap().0;
        for (grain, of, from, to) in [
            (Grain::Hour, "2026-07-01T13:59:59Z", "2026-07-01T13:00:00Z", "2026-07-01T14:00:00Z"),
            (Grain::Day, "2024-02-29T23:59:59Z", "2024-02-29", "2024-03-01"),
            (Grain::Week, "2026-07-05T23:59:59Z", "2026-06-29", "2026-07-06"),
            (Grain::Week, "1969-12-31", "1969-12-29", "1970-01-05"),
            (Grain::Month, "2100-02-28T12:00:00Z", "2100-02-01", "2100-03-01"),
            (Grain::Quarter, "2026-12-31", "2026-10-01", "2027-01-01"),
            (Grain::Quarter, "1968-02-29", "1968-01-01", "1968-04-01"),
            (Grain::Year, "2000-12-31T23:59:59Z", "2000-01-01", "2001-01-01"),
        ] {
            assert_eq!(start(grain, at(of)), at(from), "{grain} {of}");
            assert_eq!(end(grain, at(from)), at(to), "{grain} {of}");
        }
    }
}
