//! Tenants in zones with short and long days, weeks from Sunday and years from May, by chrono's calendar.

use std::sync::Arc;

use chrono::{DateTime, Datelike, Days, Months, NaiveDate, NaiveTime, TimeZone, Utc};
use chrono_tz::Tz;
use schemas::civil::Shape;
use schemas::{Calendar, CalendarSettings, Grain};

/// Days before clocks change in Berlin and in New York, and before a year that begins in May.
pub(crate) const STARTS: [i64; 3] =
    [1_774_500_000_000_000, 1_793_200_000_000_000, 1_777_400_000_000_000];

const ZONES: [(&str, Tz); 2] = [("a", chrono_tz::Europe::Berlin), ("b", chrono_tz::Asia::Kolkata)];
const OTHER: Tz = chrono_tz::America::New_York;

/// The zone of a tenant.
pub(crate) fn zone(tenant: &str) -> Tz {
    ZONES.into_iter().find(|(name, _)| *name == tenant).map_or(OTHER, |(_, zone)| zone)
}

/// The date of an instant in a zone.
pub(crate) fn date(zone: Tz, at: i64) -> NaiveDate {
    DateTime::<Utc>::from_timestamp_micros(at).unwrap().with_timezone(&zone).date_naive()
}

/// When a date begins in a zone.
pub(crate) fn midnight(zone: Tz, date: NaiveDate) -> i64 {
    let local = zone.from_local_datetime(&date.and_time(NaiveTime::MIN));
    local.earliest().unwrap().timestamp_micros()
}

/// The first day of the period that a day is in, and of the next.
pub(crate) fn period(grain: Grain, date: NaiveDate) -> (NaiveDate, NaiveDate) {
    let months = |together: u32| {
        let first = date.with_day(1).unwrap() - Months::new((date.month() + 12 - 5) % together);
        (first, first + Months::new(together))
    };
    match grain {
        Grain::Week => {
            let first = date - Days::new(date.weekday().num_days_from_sunday().into());
            (first, first + Days::new(7))
        }
        Grain::Month => months(1),
        Grain::Quarter => months(3),
        Grain::Year => months(12),
        _ => (date, date + Days::new(1)),
    }
}

/// The same as Weir is told it.
pub(crate) fn calendar() -> Arc<Calendar> {
    let zones = ZONES.map(|(tenant, zone)| (tenant.to_owned(), zone.name().to_owned()));
    let shape = Shape { from_sunday: true, year_from: 5 };
    let settings = CalendarSettings { zone: OTHER.name().into(), zones: zones.into(), shape };
    Arc::new(Calendar::new(&settings).unwrap())
}
