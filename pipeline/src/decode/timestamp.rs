//! Instants as events write them.

use schemas::{Micros, TimeUnit};

const MIN: i64 = -62_135_596_800_000_000;
const MAX: i64 = 253_402_300_799_999_999;
const DAY_US: i64 = 86_400_000_000;

/// The instant `number` units after 1970, or `None` outside the years 1 to 9999.
pub(super) fn from_number(number: i64, unit: TimeUnit) -> Option<Micros> {
    let micros = match unit {
        TimeUnit::Days => number.checked_mul(DAY_US)?,
        TimeUnit::Seconds => number.checked_mul(1_000_000)?,
        TimeUnit::Millis => number.checked_mul(1000)?,
        TimeUnit::Micros => number,
        TimeUnit::Nanos => number.div_euclid(1000),
    };
    (MIN..=MAX).contains(&micros).then_some(Micros(micros))
}

/// Reads ISO 8601 text, or `None` when it is no instant in the years 1 to 9999.
pub(crate) fn from_text(text: &str) -> Option<Micros> {
    fast(text.as_bytes()).or_else(|| {
        let instant = Micros::parse(text);
        // Debezium's isostring mode writes dates as `2026-01-02Z`.
        let date = || text.strip_suffix('Z').filter(|d| d.len() == 10).and_then(Micros::parse);
        let general = || completed(text).and_then(|text| Micros::parse(&text));
        instant.or_else(date).or_else(general).filter(|at| (MIN..=MAX).contains(&at.0))
    })
}

/// What ISO 8601 may leave out of date and time filled in: seconds, and minutes and colon of the zone.
fn completed(text: &str) -> Option<String> {
    let (date, time) = text.split_once(['T', ' '])?;
    let (clock, zone) = match time.find(['Z', '+', '-']) {
        Some(at) => time.split_at_checked(at)?,
        None => (time, ""),
    };
    let seconds = if clock.len() == 5 { ":00" } else { "" };
    let (hours, minutes) = match zone.len() {
        0 | 1 => (zone, String::new()),
        3 => (zone, ":00".to_owned()),
        5 => zone.split_at_checked(3).map(|(hours, minutes)| (hours, format!(":{minutes}")))?,
        6 => zone.split_at_checked(3).map(|(hours, minutes)| (hours, minutes.to_owned()))?,
        _ => return None,
    };
    Some(format!("{date}T{clock}{seconds}{hours}{minutes}"))
}

/// How Debezium's texts begin where PostgreSQL has an infinity: the driver's instant for it, taken as
/// milliseconds or as microseconds, and its dates.
const INFINITE: [&str; 6] = [
    "+292278994-08-16",
    "-292275055-05-16",
    "+294247-01-10T04:00:25.2",
    "-290308-12-21T19:59:27.6",
    "-5877611-06-21",
    "-5877611-06-22",
];

/// The driver's instants for the infinities, and what connectors put in their place.
const INFINITE_NUMBERS: [i64; 4] =
    [9_223_372_036_825_200_000, -9_223_372_036_832_400_000, i64::MAX, i64::MIN];

/// The same in days: what is left of them in 32 bits, and the driver's dates.
const INFINITE_DAYS: [i64; 5] =
    [-622_191_234, 622_191_232, 622_191_233, -2_147_472_692, -2_147_472_691];

/// Whether a text is an infinity of PostgreSQL, which no column holds.
pub(super) fn is_infinite(text: &str) -> bool {
    let word = text.strip_prefix(['-', '+']).unwrap_or(text);
    word.eq_ignore_ascii_case("infinity") || INFINITE.iter().any(|own| text.starts_with(own))
}

/// The same of a number of units since 1970.
pub(super) fn is_infinite_number(number: i64, unit: TimeUnit) -> bool {
    match unit {
        TimeUnit::Days => INFINITE_DAYS.contains(&number),
        TimeUnit::Millis => {
            INFINITE_NUMBERS.iter().any(|own| [*own, *own / 1000].contains(&number))
        }
        TimeUnit::Seconds | TimeUnit::Micros | TimeUnit::Nanos => {
            INFINITE_NUMBERS.contains(&number)
        }
    }
}

/// `YYYY-MM-DDTHH:MM:SS[.ffffff]Z`, which is what nearly all events hold. Anything else, leap
/// seconds and finer fractions included, is left to the general parser.
fn fast(text: &[u8]) -> Option<Micros> {
    let body = text.strip_suffix(b"Z")?;
    let (head, fraction) = body.split_at_checked(19)?;
    let separators = [(4, b'-'), (7, b'-'), (10, b'T'), (13, b':'), (16, b':')];
    if separators.iter().any(|&(at, byte)| head.get(at) != Some(&byte)) {
        return None;
    }
    let part = |from: usize, to: usize| digits(head.get(from..to)?);
    let (year, month, day) = (part(0, 4)?, part(5, 7)?, part(8, 10)?);
    let (hour, minute, second) = (part(11, 13)?, part(14, 16)?, part(17, 19)?);
    let in_range = year >= 1
        && (1..=12).contains(&month)
        && (1..=days_in_month(year, month)).contains(&day)
        && hour < 24
        && minute < 60
        && second < 60;
    if !in_range {
        return None;
    }
    let micros = match fraction.split_first() {
        None => 0,
        Some((b'.', rest)) if (1..=6).contains(&rest.len()) => {
            let missing = u32::try_from(6 - rest.len()).ok()?;
            digits(rest)? * 10_i64.pow(missing)
        }
        Some(_) => return None,
    };
    let seconds = days_from_civil(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second;
    Some(Micros(seconds * 1_000_000 + micros))
}

fn digits(text: &[u8]) -> Option<i64> {
    text.iter().try_fold(0_i64, |number, byte| {
        byte.is_ascii_digit().then(|| number * 10 + i64::from(byte - b'0'))
    })
}

fn days_in_month(year: i64, month: i64) -> i64 {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days from 1970-01-01 to a date of the proleptic Gregorian calendar (Howard Hinnant's algorithm).
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn units_and_bounds() {
        assert_eq!(from_number(20455, TimeUnit::Days), Micros::parse("2026-01-02T00:00:00Z"));
        assert_eq!(from_number(-1, TimeUnit::Nanos), Some(Micros(-1)));
        assert_eq!(from_number(1, TimeUnit::Millis), Some(Micros(1000)));
        for (number, unit) in [
            (i64::MAX, TimeUnit::Days),
            (i64::MIN, TimeUnit::Millis),
            (9_223_372_036_825_200_000, TimeUnit::Micros),
            (-9_223_372_036_832_400_000, TimeUnit::Micros),
        ] {
            assert_eq!(from_number(number, unit), None, "{number} {unit:?}");
        }
        assert_eq!(from_text("0001-01-01T00:00:00.000000Z"), Some(Micros(MIN)));
        assert_eq!(from_text("9999-12-31T23:59:59.999999Z"), Some(Micros(MAX)));
        for text in
            ["infinity", "-infinity", "-4712-01-01T00:00:00.000000Z", "0000-01-01T00:00:00Z"]
        {
            assert_eq!(from_text(text), None, "{text}");
        }
        assert_eq!(from_text("+292278994-08-16T23:00:00Z"), None);
        assert_eq!(from_number(-1, TimeUnit::Seconds), Some(Micros(-1_000_000)));
        assert!(is_infinite("+292278994-08-16T23:00:00Z") && !is_infinite("9999-12-31T23:59:59Z"));
        assert!(is_infinite_number(9_223_372_036_825_200_000, TimeUnit::Micros));
        assert!(is_infinite_number(9_223_372_036_825_200, TimeUnit::Millis));
        assert!(!is_infinite_number(9_223_372_036_825_200, TimeUnit::Micros));
        assert!(is_infinite("-infinity") && is_infinite("Infinity") && !is_infinite("finite"));
        assert_eq!(from_text("2026-01-02Z"), from_number(20455, TimeUnit::Days));
    }

    #[test]
    fn what_iso_8601_leaves_out_is_filled_in() {
        let at = |text: &str| Micros::parse(text).unwrap();
        let two = at("2026-01-02T08:00:00Z");
        for text in [
            "2026-01-02T10:00:00+0200",
            "2026-01-02T10:00:00+02",
            "2026-01-02 10:00:00+02",
            "2026-01-02T10:00:00.000+0200",
            "2026-01-02T10:00+02:00",
            "2026-01-02T10:00+0200",
            "2026-01-02T10:00+02",
            "2026-01-02T08:00Z",
            "2026-01-02 08:00Z",
            "2026-01-02T08:00",
        ] {
            assert_eq!(from_text(text), Some(two), "{text}");
        }
        assert_eq!(from_text("2026-01-02T10:00:00-0330"), Some(at("2026-01-02T13:30:00Z")));
        for text in [
            "2026-01-02T10Z",
            "2026-01-02T10:0Z",
            "2026-01-02T10:00:00+2",
            "2026-01-02T10:00:00+02000",
            "2026-01-02T10:00:00+02:0",
            "2026-01-02T24:60Z",
            "2026-01-02T10:00:00+9900",
            "T",
            " ",
            "2026-01-02T\u{fc}\u{fc}\u{fc}Z",
        ] {
            assert_eq!(from_text(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn the_fast_path_agrees_with_the_general_one(
            text in "[0-2][0-9]{3}-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-6][0-9]:[0-5][0-9](\\.[0-9]{1,7})?Z"
        ) {
            if let Some(fast) = fast(text.as_bytes()) {
                prop_assert_eq!(Some(fast), Micros::parse(&text), "{}", text);
            }
        }

        #[test]
        fn what_is_printed_is_read(micros in MIN..=MAX) {
            prop_assert_eq!(from_text(&Micros(micros).to_string()), Some(Micros(micros)));
        }
    }
}
