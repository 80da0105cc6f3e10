//! Instants, dates, grains, and periods in UTC. Those of tenants are in [`crate::calendar`].
//!
//! # Guarantees
//! - Periods are half-open `[start, end)`: each instant is in one of a grain, and one ends where the next begins.
//! - `Micros` orders, prints and parses without loss in the years 1 to 9999.

use std::fmt;

use chrono::{DateTime, Datelike, NaiveDate, NaiveDateTime, SecondsFormat, TimeZone, Utc};
use serde::{Deserialize, Serialize};

use crate::civil;

const HOUR_US: i64 = 3_600_000_000;
pub(crate) const DAY_US: i64 = 24 * HOUR_US;

/// An instant: microseconds since 1970-01-01T00:00:00Z.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Micros(pub i64);

impl Micros {
    /// Reads RFC 3339 or ISO 8601 text (`T` or a space between date and time; without an offset
    /// it is taken as UTC; a bare date is its midnight).
    ///
    /// Returns `None` when the text is no instant in the years 1 to 9999.
    pub fn parse(text: &str) -> Option<Micros> {
        let instant = DateTime::parse_from_rfc3339(text)
            .map(|t| t.with_timezone(&Utc))
            .ok()
            .or_else(|| {
                DateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S%.f%#z").ok().map(Into::into)
            })
            .or_else(|| parse_naive(text).map(|t| Utc.from_utc_datetime(&t)))?;
        (1..=9999).contains(&instant.year()).then(|| Micros(instant.timestamp_micros()))
    }

    /// The instant `millis` milliseconds after the epoch, or `None` on overflow.
    pub fn from_millis(millis: i64) -> Option<Micros> {
        millis.checked_mul(1000).map(Micros)
    }

    /// The instant moved by `micros`, saturating at the ends of the range.
    #[must_use]
    pub fn plus(self, micros: i64) -> Micros {
        Micros(self.0.saturating_add(micros))
    }

    /// The day of UTC, counted from 1970-01-01.
    pub fn day(self) -> i64 {
        self.0.div_euclid(DAY_US)
    }

    /// The first instant of such a day.
    pub fn midnight(day: i64) -> Micros {
        Micros(day.saturating_mul(DAY_US))
    }

    /// The UTC calendar date as `YYYY-MM-DD`.
    pub fn date(self) -> String {
        self.datetime().format("%Y-%m-%d").to_string()
    }

    fn datetime(self) -> DateTime<Utc> {
        DateTime::from_timestamp_micros(self.0).unwrap_or(DateTime::UNIX_EPOCH)
    }
}

fn parse_naive(text: &str) -> Option<NaiveDateTime> {
    NaiveDateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S%.f")
        .or_else(|_| NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S%.f"))
        .ok()
        .or_else(|| NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?.and_hms_opt(0, 0, 0))
}

impl fmt::Display for Micros {
    /// RFC 3339 with `Z`, and a fraction only when there is one.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.datetime().to_rfc3339_opts(SecondsFormat::AutoSi, true))
    }
}

/// A calendar date: days since 1970-01-01.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Date(pub i32);

impl Date {
    /// The date on which `at` lies, in UTC.
    pub fn of(at: Micros) -> Date {
        // Every instant of 64 bits lies within 110 million days of 1970.
        Date(i32::try_from(at.0.div_euclid(DAY_US)).unwrap_or(i32::MAX))
    }

    /// Its first instant.
    pub fn midnight(self) -> Micros {
        Micros(i64::from(self.0).saturating_mul(DAY_US))
    }
}

impl fmt::Display for Date {
    /// `YYYY-MM-DD`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.midnight().date())
    }
}

/// The length of a KPI period: of the calendar, or of a window, which ends with the running day or hour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Grain {
    /// One UTC hour.
    Hour,
    /// One day.
    Day,
    /// Seven days.
    Week,
    /// One calendar month.
    Month,
    /// Three months.
    Quarter,
    /// Twelve months.
    Year,
    /// The 24 hours up to the end of the running one.
    Last24Hours,
    /// The 7 days up to the end of the running one.
    Last7Days,
    /// The 30 days up to the end of the running one.
    Last30Days,
    /// The 90 days up to the end of the running one.
    Last90Days,
    /// From 1970-01-01 to the end of the running day.
    Always,
}

impl Grain {
    /// Every grain of the calendar, shortest first.
    pub const ALL: [Grain; 6] =
        [Grain::Hour, Grain::Day, Grain::Week, Grain::Month, Grain::Quarter, Grain::Year];
    /// Every window, shortest first.
    pub const WINDOWS: [Grain; 5] =
        [Grain::Last24Hours, Grain::Last7Days, Grain::Last30Days, Grain::Last90Days, Grain::Always];

    /// The word used in tables, files and HTTP.
    pub fn name(self) -> &'static str {
        match self {
            Grain::Hour => "hour",
            Grain::Day => "day",
            Grain::Week => "week",
            Grain::Month => "month",
            Grain::Quarter => "quarter",
            Grain::Year => "year",
            Grain::Last24Hours => "last_24h",
            Grain::Last7Days => "last_7d",
            Grain::Last30Days => "last_30d",
            Grain::Last90Days => "last_90d",
            Grain::Always => "all",
        }
    }

    /// Every word of the calendar, as a sentence lists them: `hour, day, ... or year`.
    pub fn names() -> String {
        listed(&Grain::ALL)
    }

    /// The same of windows: `last_24h, ... or all`.
    pub fn window_names() -> String {
        listed(&Grain::WINDOWS)
    }

    /// The grain or window with this name.
    pub fn parse(name: &str) -> Option<Grain> {
        Grain::ALL.into_iter().chain(Grain::WINDOWS).find(|grain| grain.name() == name)
    }

    /// Whether it is a window: one period a series, which moves.
    pub fn is_window(self) -> bool {
        self >= Grain::Last24Hours
    }

    /// Whether its periods are those of the calendar, made of days, and longer than one.
    pub fn is_long(self) -> bool {
        self > Grain::Day && !self.is_window()
    }

    /// The start of the period that contains `at`, in UTC, with weeks from Monday and years from January.
    pub fn start(self, at: Micros) -> Micros {
        match self {
            Grain::Hour => Micros(at.0.div_euclid(HOUR_US) * HOUR_US),
            _ => Micros::midnight(civil::first_day(self, at.day(), civil::Shape::default())),
        }
    }

    /// The end of the period that starts at `start`: the start of the next one.
    pub fn end(self, start: Micros) -> Micros {
        match self {
            Grain::Hour => start.plus(HOUR_US),
            Grain::Day => start.plus(DAY_US),
            _ => Micros::midnight(civil::later_first_day(self, start.day(), 1)),
        }
    }
}

/// Words as a sentence lists them.
fn listed(grains: &[Grain]) -> String {
    let names: Vec<&str> = grains.iter().map(|grain| grain.name()).collect();
    names
        .split_last()
        .map_or_else(String::new, |(last, all)| format!("{} or {last}", all.join(", ")))
}

/// A set of grains.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Grains(u16);

impl Grains {
    /// None of them.
    pub const NONE: Grains = Grains(0);
    /// All of the calendar.
    pub const ALL: Grains = Grains((1 << Grain::ALL.len()) - 1);
    /// All windows.
    pub const WINDOWS: Grains = Grains(((1 << Grain::WINDOWS.len()) - 1) << Grain::ALL.len());

    /// Whether a grain is one of them.
    pub fn has(self, grain: Grain) -> bool {
        self.0 & (1 << grain as u16) != 0
    }

    /// Those of either.
    #[must_use]
    pub fn or(self, other: Grains) -> Grains {
        Grains(self.0 | other.0)
    }

    /// Each of them, shortest first.
    pub fn iter(self) -> impl Iterator<Item = Grain> {
        Grain::ALL.into_iter().chain(Grain::WINDOWS).filter(move |grain| self.has(*grain))
    }
}

impl Default for Grains {
    fn default() -> Grains {
        Grains::ALL
    }
}

impl FromIterator<Grain> for Grains {
    fn from_iter<I: IntoIterator<Item = Grain>>(grains: I) -> Grains {
        Grains(grains.into_iter().fold(0, |set, grain| set | 1 << grain as u16))
    }
}

impl fmt::Display for Grain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Where wall time comes from. The only implementation that reads the system clock is in the binary.
pub trait Clock: Send + Sync {
    /// The current instant.
    fn now(&self) -> Micros;

    /// How far the machine's clock is beyond that, where it was set and is not believed.
    fn jump(&self) -> Option<i64> {
        None
    }

    /// What the machine's clock says is right from here on.
    fn accept(&self) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_the_forms_that_databases_write() {
        let at = Micros(1_795_245_775_412_170);
        for text in [
            "2026-11-21T07:22:55.412170Z",
            "2026-11-21T07:22:55.41217Z",
            "2026-11-21 07:22:55.41217",
            "2026-11-21T09:22:55.412170+02:00",
            "2026-11-21 07:22:55.412170+00",
        ] {
            assert_eq!(Micros::parse(text).map(|m| m.to_string()), Some(at.to_string()), "{text}");
        }
        assert_eq!(Micros::parse("2026-02-30T00:00:00Z"), None);
        assert_eq!(Micros::parse("yesterday"), None);
    }

    #[test]
    fn months_have_their_own_lengths() {
        let leap = Micros::parse("2024-02-29T23:59:59.999999Z").unwrap();
        let start = Grain::Month.start(leap);
        assert_eq!(start.to_string(), "2024-02-01T00:00:00Z");
        assert_eq!(Grain::Month.end(start).to_string(), "2024-03-01T00:00:00Z");
        let before_epoch = Micros(-1);
        assert_eq!(Grain::Month.start(before_epoch).to_string(), "1969-12-01T00:00:00Z");
        assert_eq!(Grain::Day.start(before_epoch).to_string(), "1969-12-31T00:00:00Z");
    }

    #[test]
    fn longer_periods_are_whole_days_and_adjoin() {
        let period = |grain: Grain, at: &str| {
            let start = grain.start(Micros::parse(at).unwrap());
            (start.date(), grain.end(start).date())
        };
        let of = |start: &str, end: &str| (start.to_owned(), end.to_owned());
        // 2026-06-29 is a Monday, and the week of the new year 2027 begins in 2026.
        for day in ["2026-06-29", "2026-07-01T12:00:00Z", "2026-07-05T23:59:59.999999Z"] {
            assert_eq!(period(Grain::Week, day), of("2026-06-29", "2026-07-06"), "{day}");
        }
        assert_eq!(period(Grain::Week, "2027-01-03"), of("2026-12-28", "2027-01-04"));
        assert_eq!(period(Grain::Week, "1970-01-01"), of("1969-12-29", "1970-01-05"));
        for (at, start, end) in [
            ("2026-01-01", "2026-01-01", "2026-04-01"),
            ("2024-02-29", "2024-01-01", "2024-04-01"),
            ("2026-09-30T23:59:59Z", "2026-07-01", "2026-10-01"),
            ("1969-12-31", "1969-10-01", "1970-01-01"),
        ] {
            assert_eq!(period(Grain::Quarter, at), of(start, end), "{at}");
        }
        assert_eq!(period(Grain::Year, "2026-12-31T23:00:00Z"), of("2026-01-01", "2027-01-01"));
        for grain in Grain::ALL {
            let mut at = grain.start(Micros::parse("1967-11-11T11:11:11Z").unwrap());
            for _ in 0..2_000 {
                let end = grain.end(at);
                assert!(end > at && grain.start(end) == end, "{grain} {at}");
                assert_eq!(grain.start(end.plus(-1)), at, "{grain} {at}");
                at = end;
            }
        }
    }

    #[test]
    fn grains_are_named_and_chosen() {
        assert_eq!(Grain::names(), "hour, day, week, month, quarter or year");
        for grain in Grain::ALL {
            assert_eq!(Grain::parse(grain.name()), Some(grain));
        }
        let some: Grains = [Grain::Year, Grain::Day].into_iter().collect();
        assert_eq!(some.iter().collect::<Vec<_>>(), [Grain::Day, Grain::Year]);
        assert_eq!(some.or(Grains::ALL), Grains::default());
        assert!(Grain::ALL.into_iter().all(|grain| Grains::ALL.has(grain)));
    }
}
