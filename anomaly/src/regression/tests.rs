//! Tests of the module above, against series whose make is known.

use std::sync::Arc;

use schemas::{Calendar, Grain, Watching, civil};

use super::fit::{Point, fit};
use super::*;
use crate::samples::{at, cell, kpi};
use crate::shape::Place;

/// Bytes of a generator, between 0 and 1.
pub(crate) fn chance(at: i64) -> f64 {
    let mixed = (at as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mixed = (mixed ^ (mixed >> 31)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    ((mixed ^ (mixed >> 29)) >> 11) as f64 / (1_u64 << 53) as f64
}

pub(crate) fn shape(grain: Grain) -> Shape {
    Shape::of(&kpi(Watching::default()), grain).unwrap()
}

/// What an hour comes to: by its hour, its day of the week, and double on the last two days of a month.
fn hour(place: Place) -> f64 {
    let spot = place.spot(shape(Grain::Hour).seasons);
    let clock = spot.clock.unwrap() as f64;
    let by_clock = 1.0 + 0.5 * (clock / 24.0 * std::f64::consts::TAU).sin();
    let by_day = if spot.weekday >= 5 { 0.5 } else { 1.0 };
    let tomorrow = civil::date(place.day + 1).2;
    let by_date = if tomorrow <= 2 { 2.0 } else { 1.0 };
    1_000.0 * by_clock * by_day * by_date
}

pub(crate) fn hours(from: i64, count: i64, value: impl Fn(Place, i64) -> f64) -> Vec<Point> {
    let utc = Calendar::default();
    let first = at("2026-01-05").plus(from * 3_600_000_000);
    let place = |step: i64| {
        let start = first.plus(step * 3_600_000_000);
        Place::of(utc.of("t"), Grain::Hour, start)
    };
    (0..count).map(|step| (place(step), value(place(step), from + step))).collect()
}

pub(crate) fn noisy(place: Place, step: i64) -> f64 {
    hour(place) * (0.9 + 0.2 * chance(step))
}

#[test]
fn hours_weekdays_and_dates_are_told_apart() {
    let taught = hours(0, 24 * 120, noisy);
    let from = taught.last().unwrap().0.number + 1;
    let trained = fit(shape(Grain::Hour), &taught, from).unwrap();
    let next = hours(24 * 120, 24 * 35, |place, _| hour(place));
    let off = |(place, value): &Point| {
        (trained.guess(shape(Grain::Hour), *place).unwrap().0 / value - 1.0).abs()
    };
    let mean = |points: &[Point]| points.iter().map(off).sum::<f64>() / points.len() as f64;
    assert!(mean(&next) < 0.06, "{}", mean(&next));
    let ends: Vec<Point> =
        next.iter().filter(|(place, _)| civil::date(place.day + 1).2 <= 2).copied().collect();
    assert!(ends.len() == 48 && mean(&ends) < 0.15, "{} of {}", mean(&ends), ends.len());
}

#[test]
fn outliers_move_nothing_and_a_trend_ends() {
    let grows = |place, step: i64| noisy(place, step) * (1.0 + step as f64 / 2_880.0);
    let odd = |place, step: i64| {
        let usual = grows(place, step);
        if step % 211 == 0 { usual * 40.0 } else { usual }
    };
    let count = 24 * 120;
    let (clean, dirty) = (hours(0, count, grows), hours(0, count, odd));
    let from = clean.last().unwrap().0.number + 1;
    let [clean, dirty] = [clean, dirty].map(|own| fit(shape(Grain::Hour), &own, from).unwrap());
    let guess = |of: &Trained, step: i64| {
        let (place, _) = hours(step, 1, |_, _| 0.0)[0];
        of.guess(shape(Grain::Hour), place).unwrap().0
    };
    for step in (count..count + 24 * 14).step_by(7) {
        let (own, other) = (guess(&clean, step), guess(&dirty, step));
        assert!((own / other - 1.0).abs() < 0.15, "{step}: {own} and {other}");
    }
    // A Wednesday at noon two weeks on is as high as the trend says; one in two years no higher than in four weeks.
    let weeks = |weeks: i64| guess(&clean, count + 24 * 7 * weeks + 24 * 2 + 12);
    assert!(weeks(2) > weeks(0) * 1.01, "{} {}", weeks(0), weeks(2));
    assert!(weeks(104) < weeks(3) * 1.15, "{} {}", weeks(3), weeks(104));
}

#[test]
fn what_it_has_seen_it_says_nothing_of() {
    let taught = hours(0, 24 * 40, noisy);
    let from = taught[24 * 35].0.number;
    let trained = fit(shape(Grain::Hour), &taught, from).unwrap();
    for (place, _) in &taught {
        let said = trained.guess(shape(Grain::Hour), *place);
        assert_eq!(said.is_some(), place.number >= from);
    }
}

#[test]
fn one_that_starts_later_says_the_same_from_then_on() {
    let taught = hours(0, 24 * 40, |place, step| noisy(place, step) * (1.0 + step as f64 / 960.0));
    let from = taught.last().unwrap().0.number + 1;
    let trained = fit(shape(Grain::Hour), &taught, from).unwrap();
    for later in [-5, 0, 3, 24 * 40] {
        let own = trained.clone().starting(from + later);
        assert_eq!(Trained::parse(&own.to_text()).as_ref(), Some(&own));
        for step in [0, 2, 3, 24 * 20, 24 * 40, 24 * 90] {
            let (place, _) = hours(24 * 40 + step, 1, |_, _| 0.0)[0];
            let [own, usual] = [&own, &trained].map(|own| own.guess(shape(Grain::Hour), place));
            match own {
                Some(own) => assert!((own.0 / usual.unwrap().0 - 1.0).abs() < 1e-9),
                None => assert!(step < later, "{later} {step}"),
            }
            assert_eq!(own.is_none(), step < later);
        }
    }
}

#[test]
fn too_few_buckets_and_values_that_are_all_alike_teach_nothing() {
    let few = hours(0, 24 * 27, noisy);
    assert_eq!(fit(shape(Grain::Hour), &few, 0), None);
    let alike = hours(0, 24 * 60, |_, _| 7.0);
    assert_eq!(fit(shape(Grain::Hour), &alike, 0), None);
    let nothing = hours(0, 24 * 60, |_, _| 0.0);
    assert_eq!(fit(shape(Grain::Hour), &nothing, 0), None);
}

#[test]
fn the_text_gives_back_the_same_bits() {
    let taught = hours(0, 24 * 60, noisy);
    let trained = fit(shape(Grain::Hour), &taught, 5).unwrap();
    assert_eq!(fit(shape(Grain::Hour), &taught, 5).unwrap(), trained);
    let text = trained.to_text();
    assert!(text.len() <= 2 * (TERMS * 5 + 48), "{}", text.len());
    assert_eq!(Trained::parse(&text), Some(trained));
    let (_, without_first) = text.split_at(2);
    let (without_last, _) = text.split_at(text.len() - 2);
    for other in ["", "0", "zz", without_first, without_last, &format!("{text}00")] {
        assert_eq!(Trained::parse(other), None, "{other}");
    }
    let mut endless = Trained::parse(&text).unwrap();
    endless.level = f64::INFINITY;
    assert_eq!(Trained::parse(&endless.to_text()), None);
}

#[test]
fn a_detector_takes_what_is_put_in_force_and_keeps_it() {
    use crate::driver::Driver;
    use schemas::{ModelOf, Models};
    let scorer = crate::Scorer::new(vec![kpi(Watching::default())]);
    let mut driver = Driver::new(scorer);
    let (kpi, tenant, dims): (Arc<str>, Arc<str>, Arc<str>) =
        ("total_cost".into(), "acme".into(), "{}".into());
    let place = driver.add(&kpi, &tenant, &dims);
    let begin = at("2026-01-05");
    let start = |hour: i64| begin.plus(hour * 3_600_000_000);
    let history = hours(0, 24 * 40, noisy);
    let play = |driver: &mut Driver, from: i64, to: i64| {
        for hour in from..to {
            let value = history[usize::try_from(hour).unwrap()].1;
            driver.tick_to(start(hour), |_, _| {});
            driver.begin(start(hour).plus(1_800_000_000), false);
            driver.set(place, Grain::Hour, start(hour), cell(value));
            driver.finish();
        }
    };
    play(&mut driver, 0, 24 * 36);
    let from = history[24 * 36].0.number;
    let trained = fit(shape(Grain::Hour), &history[..24 * 36], from).unwrap();
    let of = |dims: &str, model: Option<String>| ModelOf {
        tenant: "acme".into(),
        dims: dims.into(),
        grain: Grain::Hour,
        model,
    };
    let models = |series: Vec<ModelOf>| Models {
        detector: crate::CALENDAR.into(),
        kpi: "total_cost".into(),
        series,
    };
    let text = trained.to_text();
    let taken = driver.train(&models(vec![
        of("{}", Some(text.clone())),
        of("{\"currency\":\"EUR\"}", Some(text.clone())),
    ]));
    assert_eq!(taken, 1, "a series that is not known takes none");
    assert_eq!(driver.train(&models(vec![of("{}", Some("00".into()))])), 0, "nor is this one");
    let other = Models { detector: "shape".into(), ..models(vec![of("{}", None)]) };
    assert_eq!(driver.train(&other), 0);
    play(&mut driver, 24 * 36, 24 * 39);
    let id = driver.series(place).unwrap();
    let held = |driver: &Driver| driver.scorer().0.entry(id, Grain::Hour).unwrap().learner.clone();
    let learner = held(&driver);
    assert_eq!(learner.trained.as_deref(), Some(&trained));
    let [.., said, moved] = learner.model.guesses;
    assert!(said.is_finite() && moved.is_finite());
    assert!(learner.model.counts.last().is_some_and(|count| *count > 48));
    assert_eq!(driver.train(&models(vec![of("{}", None)])), 1);
    assert_eq!(held(&driver).trained, None);
}
