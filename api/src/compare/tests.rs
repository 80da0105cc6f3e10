//! Which period is held against which: dates worked out by hand.

use schemas::civil::Shape;
use schemas::{Calendar, CalendarSettings, Grain, Micros, Periods};

use crate::earlier::{self, Against};

fn at(text: &str) -> Micros {
    Micros::parse(text).unwrap()
}

fn periods(zone: &str) -> Periods {
    let shape = Shape { from_sunday: false, year_from: 4 };
    let settings = CalendarSettings { zone: zone.to_owned(), zones: [].into(), shape };
    Periods::clone(Calendar::new(&settings).unwrap().of("t"))
}

/// Start and end of the counterpart, and what it is summed from.
fn told(zone: &str, grain: Grain, start: &str, as_of: &str, against: Against) -> String {
    match earlier::of(&periods(zone), (grain, at(start)), at(as_of), against) {
        None => "none".to_owned(),
        Some(own) => {
            let parts = own.parts.map_or("whole", Grain::name);
            format!("{} {} {parts}", own.start, own.end)
        }
    }
}

#[test]
fn a_period_that_is_over_has_a_whole_counterpart() {
    let now = "2029-01-01T00:00:00Z";
    for (grain, start, previous, year) in [
        (
            Grain::Hour,
            "2028-03-01T05:00:00Z",
            "2028-03-01T04:00:00Z 2028-03-01T05:00:00Z",
            "2027-03-01T05:00:00Z 2027-03-01T06:00:00Z",
        ),
        (
            Grain::Day,
            "2028-03-01",
            "2028-02-29T00:00:00Z 2028-03-01T00:00:00Z",
            "2027-03-01T00:00:00Z 2027-03-02T00:00:00Z",
        ),
        (
            Grain::Week,
            "2028-03-06",
            "2028-02-28T00:00:00Z 2028-03-06T00:00:00Z",
            "2027-03-08T00:00:00Z 2027-03-15T00:00:00Z",
        ),
        (
            Grain::Month,
            "2028-03-01",
            "2028-02-01T00:00:00Z 2028-03-01T00:00:00Z",
            "2027-03-01T00:00:00Z 2027-04-01T00:00:00Z",
        ),
        (
            Grain::Quarter,
            "2028-04-01",
            "2028-01-01T00:00:00Z 2028-04-01T00:00:00Z",
            "2027-04-01T00:00:00Z 2027-07-01T00:00:00Z",
        ),
        (
            Grain::Year,
            "2027-04-01",
            "2026-04-01T00:00:00Z 2027-04-01T00:00:00Z",
            "2026-04-01T00:00:00Z 2027-04-01T00:00:00Z",
        ),
    ] {
        assert_eq!(told("UTC", grain, start, now, Against::Previous), format!("{previous} whole"));
        assert_eq!(told("UTC", grain, start, now, Against::Year), format!("{year} whole"));
    }
    assert_eq!(told("UTC", Grain::Day, "2028-02-29", now, Against::Year), "none");
    assert_eq!(told("UTC", Grain::Hour, "2028-02-29T01:00:00Z", now, Against::Year), "none");
}

#[test]
fn a_period_that_runs_is_held_against_as_much_of_the_earlier_one() {
    let now = "2026-11-21T10:30:00Z";
    for (grain, start, expected) in [
        // 21 days of November have begun, 11 hours of the day.
        (Grain::Month, "2026-11-01", "2026-10-01T00:00:00Z 2026-10-22T00:00:00Z day"),
        (Grain::Day, "2026-11-21", "2026-11-20T00:00:00Z 2026-11-20T11:00:00Z hour"),
        (Grain::Week, "2026-11-16", "2026-11-09T00:00:00Z 2026-11-15T00:00:00Z day"),
        // The quarter from October, of years from April: 52 days.
        (Grain::Quarter, "2026-10-01", "2026-07-01T00:00:00Z 2026-08-22T00:00:00Z day"),
        (Grain::Year, "2026-04-01", "2025-04-01T00:00:00Z 2025-11-22T00:00:00Z day"),
        (Grain::Hour, "2026-11-21T10:00:00Z", "2026-11-21T09:00:00Z 2026-11-21T10:00:00Z whole"),
        // It has not begun.
        (Grain::Month, "2026-12-01", "2026-11-01T00:00:00Z 2026-12-01T00:00:00Z whole"),
    ] {
        assert_eq!(told("UTC", grain, start, now, Against::Previous), expected, "{grain}");
    }
    let year = told("UTC", Grain::Month, "2026-11-01", now, Against::Year);
    assert_eq!(year, "2025-11-01T00:00:00Z 2025-11-22T00:00:00Z day");
    let march = told("UTC", Grain::Month, "2026-03-01", "2026-03-30T00:00:00Z", Against::Previous);
    assert_eq!(march, "2026-02-01T00:00:00Z 2026-03-01T00:00:00Z whole", "February is shorter");
    let last = told("UTC", Grain::Month, "2026-11-01", "2026-11-30T23:59:59Z", Against::Previous);
    assert_eq!(last, "2026-10-01T00:00:00Z 2026-10-31T00:00:00Z day");
}

#[test]
fn days_are_those_of_the_zone() {
    // Berlin: clocks go back on 25 October 2026, so that day has 25 hours.
    let zone = "Europe/Berlin";
    let day =
        told(zone, Grain::Day, "2026-10-25T23:00:00Z", "2026-10-26T22:30:00Z", Against::Previous);
    assert_eq!(day, "2026-10-24T22:00:00Z 2026-10-25T22:00:00Z hour", "24 hours of 25");
    // 4 November has begun in Berlin, and has not in UTC.
    let month =
        told(zone, Grain::Month, "2026-10-31T23:00:00Z", "2026-11-03T23:30:00Z", Against::Previous);
    assert_eq!(month, "2026-09-30T22:00:00Z 2026-10-04T22:00:00Z day");
}
