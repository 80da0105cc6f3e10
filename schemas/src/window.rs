//! Windows: periods that end with the running day or hour of a tenant, and move with it.
//!
//! # Guarantees
//! - A window, the equal one before it and the same a year before are whole days (hours, of 24 hours), as many
//!   each; all are half-open `[start, end)`.
//! - Where they lie follows from the tenant's periods and an instant alone.
//!
//! # Non-guarantees
//! - The whole history has neither a window before it nor one a year before.

use crate::calendar::Periods;
use crate::civil;
use crate::kpi::CellValue;
use crate::time::{Grain, Micros};

/// What a window's key has in the place of a start: the period moves, the key stays.
pub const NO_START: Micros = Micros(0);

const HOURS: i64 = 24;

/// Where a window lies, and what its value is compared with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Window {
    /// Where it starts.
    pub start: Micros,
    /// Where it ends.
    pub end: Micros,
    /// The equal window before it.
    pub previous: Option<Counterpart>,
    /// The same window a year before, of KPIs that add up.
    pub year: Option<Counterpart>,
}

/// What a window's value is compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counterpart {
    /// Where it starts.
    pub start: Micros,
    /// Where it ends.
    pub end: Micros,
    /// What it says; `None` when no row feeds it.
    pub value: Option<CellValue>,
}

/// Which of a window's periods.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Its own.
    Running,
    /// The equal one before.
    Previous,
    /// The same a year before.
    Year,
}

impl Role {
    /// Every one, that of the window itself first.
    pub const ALL: [Role; 3] = [Role::Running, Role::Previous, Role::Year];
}

/// A run of whole hours or days.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reach {
    /// The numbers of its first and its last hour or day, counted from 1970.
    pub first: i64,
    /// The last.
    pub last: i64,
    /// Where it starts.
    pub start: Micros,
    /// Where it ends.
    pub end: Micros,
}

impl Reach {
    /// Whether an hour or day is in it that starts then.
    pub fn has(&self, start: Micros) -> bool {
        self.start <= start && start < self.end
    }
}

/// What a window is made of: hours or days.
pub fn unit(window: Grain) -> Grain {
    if window == Grain::Last24Hours { Grain::Hour } else { Grain::Day }
}

/// Where the hour or day with this number starts.
pub fn unit_start(window: Grain, periods: &Periods, number: i64) -> Micros {
    match unit(window) {
        Grain::Hour => periods.later(Grain::Hour, Micros(0), number),
        _ => periods.midnight(number),
    }
}

/// Where a window lies at an instant, and what it is compared with; `None` of what is no window.
pub fn reach(window: Grain, role: Role, periods: &Periods, at: Micros) -> Option<Reach> {
    let running = periods.number(unit(window), at);
    let length = match window {
        Grain::Last24Hours => HOURS,
        Grain::Last7Days => 7,
        Grain::Last30Days => 30,
        Grain::Last90Days => 90,
        Grain::Always if role == Role::Running => running.saturating_add(1).max(0),
        _ => return None,
    };
    let last = match role {
        Role::Running => running,
        Role::Previous => running.saturating_sub(length),
        Role::Year if unit(window) == Grain::Day => civil::year_before(running),
        Role::Year => {
            civil::year_before(running.div_euclid(HOURS)) * HOURS + running.rem_euclid(HOURS)
        }
    };
    let first = last.saturating_sub(length).saturating_add(1);
    let start = |number: i64| unit_start(window, periods, number);
    Some(Reach { first, last, start: start(first), end: start(last.saturating_add(1)) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calendar::{Calendar, CalendarSettings};
    use crate::civil::Shape;

    fn told(zone: &str, window: Grain, role: Role, at: &str) -> Option<(String, String)> {
        let settings =
            CalendarSettings { zone: zone.into(), zones: [].into(), shape: Shape::default() };
        let calendar = Calendar::new(&settings).unwrap();
        let reach = reach(window, role, calendar.of("t"), Micros::parse(at).unwrap())?;
        Some((reach.start.to_string(), reach.end.to_string()))
    }

    fn of(start: &str, end: &str) -> Option<(String, String)> {
        Some((start.to_owned(), end.to_owned()))
    }

    #[test]
    fn windows_end_with_the_running_day_or_hour() {
        let at = "2026-03-30T12:34:56Z";
        for (window, start, end) in [
            (Grain::Last24Hours, "2026-03-29T13:00:00Z", "2026-03-30T13:00:00Z"),
            (Grain::Last7Days, "2026-03-23T23:00:00Z", "2026-03-30T22:00:00Z"),
            (Grain::Last30Days, "2026-02-28T23:00:00Z", "2026-03-30T22:00:00Z"),
            (Grain::Last90Days, "2025-12-30T23:00:00Z", "2026-03-30T22:00:00Z"),
            (Grain::Always, "1969-12-31T23:00:00Z", "2026-03-30T22:00:00Z"),
        ] {
            let told = told("Europe/Berlin", window, Role::Running, at);
            assert_eq!(told, of(start, end), "{window}");
        }
        assert_eq!(told("UTC", Grain::Day, Role::Running, at), None);
    }

    #[test]
    fn what_they_are_compared_with_is_as_many_whole_days() {
        let told = |window, role, at: &str| told("UTC", window, role, at);
        let at = "2024-03-01T00:00:00Z";
        let week = Grain::Last7Days;
        assert_eq!(
            told(week, Role::Previous, at),
            of("2024-02-17T00:00:00Z", "2024-02-24T00:00:00Z")
        );
        assert_eq!(told(week, Role::Year, at), of("2023-02-23T00:00:00Z", "2023-03-02T00:00:00Z"));
        // A year before 29 February is 28 February, as a year before the 28th.
        for at in ["2024-02-28T23:00:00Z", "2024-02-29T00:00:00Z"] {
            assert_eq!(
                told(week, Role::Year, at),
                of("2023-02-22T00:00:00Z", "2023-03-01T00:00:00Z")
            );
        }
        let hours = Grain::Last24Hours;
        assert_eq!(
            told(hours, Role::Previous, at),
            of("2024-02-28T01:00:00Z", "2024-02-29T01:00:00Z")
        );
        assert_eq!(told(hours, Role::Year, at), of("2023-02-28T01:00:00Z", "2023-03-01T01:00:00Z"));
        assert_eq!(told(Grain::Always, Role::Previous, at), None);
        assert_eq!(told(Grain::Always, Role::Year, at), None);
    }
}
