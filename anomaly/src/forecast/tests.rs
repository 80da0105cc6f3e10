//! Tests of the module above: against sums of what came, and against arithmetic by hand.

use schemas::{Bands, KpiKind, Unit, Watching};

use super::*;
use crate::Expected;
use crate::samples::{at, cell, known, kpi};

const HOUR: i64 = 3_600_000_000;
const DAY: i64 = 24 * HOUR;
const BEGIN: &str = "2026-01-05";

/// What a day comes to: quieter weekends, and off by up to a tenth by turns.
fn usual(day: i64) -> f64 {
    let weekend = if day % 7 >= 5 { 0.6 } else { 1.0 };
    let off = ((day * 7_919) % 21 - 10) as f64 / 100.0;
    (1_000.0 * weekend * (1.0 + off)).round()
}

fn days(count: i64, value: impl Fn(i64) -> f64) -> Vec<(Micros, CellValue)> {
    (0..count).map(|day| (at(BEGIN).plus(day * DAY), cell(value(day)))).collect()
}

fn asked(
    grain: Grain,
    points: &[(Micros, CellValue)],
    now: Micros,
) -> Result<[Forecast; 2], Arc<str>> {
    let expected = Expected::new(vec![kpi(Watching::default())]);
    expected.forecast(&known(grain.min(Grain::Day), points), grain, now)
}

#[test]
fn months_come_to_what_was_said_of_them() {
    let all = days(360, usual);
    let sum = |from: Micros, to: Micros| -> f64 {
        let own = all.iter().filter(|(at, _)| (from..to).contains(at));
        own.map(|(_, cell)| float(cell.value.unwrap())).sum()
    };
    let (mut told, mut within) = (0, 0);
    for day in (110..280).step_by(7) {
        let now = at(BEGIN).plus(day * DAY + 6 * HOUR);
        let today = Grain::Day.start(now);
        // The day that runs has come to a quarter.
        let known = all.iter().filter(|(at, _)| *at <= today);
        let quarter = |own: &(Micros, CellValue)| match own.0 == today {
            true => (own.0, cell(float(own.1.value.unwrap()) / 4.0)),
            false => *own,
        };
        let known: Vec<_> = known.map(quarter).collect();
        for own in asked(Grain::Month, &known, now).unwrap() {
            let actual = sum(own.start, Grain::Month.end(own.start));
            let expected = float(own.expected);
            assert!((expected / actual - 1.0).abs() < 0.04, "{now}: {expected} and not {actual}");
            let (low, high) = own.between.unwrap();
            assert!(float(low) < expected && expected < float(high), "{own:?}");
            assert!(float(high) - float(low) < 0.25 * expected, "{own:?}");
            told += 1;
            within += i32::from((float(low)..float(high)).contains(&actual));
        }
    }
    assert!(told == 50 && within * 10 >= told * 8, "{within} of {told}");
}

#[test]
fn what_has_come_of_a_day_is_not_expected_again() {
    let mut points = days(87, |_| 100.0);
    // 2026-04-01 is a Wednesday; half of it is over, and has come.
    let today = at(BEGIN).plus(86 * DAY);
    points[86].1 = cell(50.0);
    let [week, next] = asked(Grain::Week, &points, today.plus(12 * HOUR)).unwrap();
    assert_eq!((week.start, next.start), (at("2026-03-30"), at("2026-04-06")));
    assert_eq!((week.so_far, next.so_far), (mantissa(250.0), None));
    for own in [week, next] {
        assert!((float(own.expected) - 700.0).abs() < 0.5, "{own:?}");
    }
    let [day, tomorrow] = asked(Grain::Day, &points, today.plus(12 * HOUR)).unwrap();
    assert_eq!(day.so_far, mantissa(50.0));
    assert!((float(day.expected) - 100.0).abs() < 0.1, "{day:?}");
    assert!((float(tomorrow.expected) - 100.0).abs() < 0.1, "{tomorrow:?}");
}

#[test]
fn nothing_that_comes_later_is_seen() {
    let now = at(BEGIN).plus(120 * DAY);
    let known = days(121, usual);
    let more = days(200, |day| if day > 120 { 9_000.0 } else { usual(day) });
    for grain in [Grain::Day, Grain::Week, Grain::Month, Grain::Quarter] {
        let [a, b] = [&known, &more].map(|points| asked(grain, points, now).unwrap());
        assert_eq!(a, b);
    }
}

#[test]
fn hours_are_forecast_by_hours() {
    let wave = |hour: i64| 100.0 + 50.0 * f64::from(u8::from(hour % 24 >= 8));
    let points: Vec<_> =
        (0..24 * 40).map(|hour| (at(BEGIN).plus(hour * HOUR), cell(wave(hour)))).collect();
    // Seven is over, eight begins.
    let now = at(BEGIN).plus((24 * 39 + 7) * HOUR);
    let [seven, eight] = asked(Grain::Hour, &points, now).unwrap();
    assert!((float(seven.expected) - 200.0).abs() < 3.0, "100 are there, and no time has passed");
    assert!((float(eight.expected) - 150.0).abs() < 3.0, "{eight:?}");
}

#[test]
fn what_cannot_be_forecast_says_why() {
    let now = at(BEGIN).plus(100 * DAY);
    let why = |grain, points: &[(Micros, CellValue)]| asked(grain, points, now).unwrap_err();
    assert_eq!(&*why(Grain::Day, &[]), TOO_LITTLE);
    assert_eq!(&*why(Grain::Month, &days(5, usual)[..]), "too little is known of it yet");
    assert_eq!(&*why(Grain::Year, &days(100, usual)), "hours to quarters are forecast");
    let ratio = KpiInfo { unit: Unit::Ratio, kind: KpiKind::Ratio, ..kpi(Watching::default()) };
    let expected = Expected::new(vec![ratio]);
    let points = days(101, |day| usual(day) / 1_000.0);
    let own = |grain| expected.forecast(&known(Grain::Day, &points), grain, now);
    assert_eq!(
        &*own(Grain::Week).unwrap_err(),
        "it does not add up from its days; hours and days are forecast"
    );
    let [day, _] = own(Grain::Day).unwrap();
    assert!((0.4..1.2).contains(&float(day.expected)), "{day:?}");
}
