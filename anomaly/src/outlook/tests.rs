//! Tests of the module above.

use super::*;
use crate::shape::{Seasons, Tuning};
use crate::tail::{ALERT_P, Curve};

struct Nothing;

impl Past for Nothing {
    fn value(&self, _back: usize) -> Option<f64> {
        None
    }
}

fn shape(log: bool, count: bool) -> Shape {
    Shape {
        seasons: Seasons { day: 24, week: 168 },
        log,
        count,
        flow: log,
        warm: 48,
        dated: false,
        patient: false,
        net: false,
        tuning: Tuning::default(),
    }
}

fn at(phase: usize) -> Place {
    Place { number: 0, phase, day: 0 }
}

fn learned(shape: Shape, values: impl Iterator<Item = (f64, f64)>) -> Learner {
    let mut learner = Learner::new();
    for (at, (value, weight)) in values.enumerate() {
        let observed = Observed { value, weight };
        let place =
            |at: usize| Place { number: i64::try_from(at).unwrap(), phase: at % 24, day: 0 };
        learner.learn(shape, Some(observed), (place(at), place(at + 1)), &Nothing);
    }
    learner
}

#[test]
fn outside_of_the_band_is_what_is_anomalous_and_improbable() {
    let shape = shape(true, true);
    let values = (0..400).map(|at| (100.0 + f64::from(at * 37 % 21), 1.0));
    let outlook = learned(shape, values).outlook(shape, at(3)).unwrap();
    assert!((outlook.expected - 110.0).abs() < 5.0);
    let mut before = (f64::INFINITY, false);
    for step in 0..400 {
        let value = outlook.expected + f64::from(step);
        let (p, anomalous) = (outlook.p(shape, value), outlook.is_anomalous(value));
        assert!(p <= before.0 && (anomalous || !before.1), "{value}");
        assert_eq!(anomalous, value > outlook.upper);
        assert!(!anomalous || p <= ALERT_P);
        before = (p, anomalous);
    }
    assert!(before.1);
}

/// A series that wanders between 60 and 140, with an error of 6 at times.
fn wandering(shape: Shape) -> Outlook {
    let wave = |at: i32| 100.0 + 40.0 * (f64::from(at) / 9.0).sin() + f64::from(at * 37 % 13 - 6);
    learned(shape, (0..600).map(|at| (wave(at), 1.0))).outlook(shape, at(0)).unwrap()
}

#[test]
fn the_band_ends_where_the_surprise_is_that_of_an_alert() {
    let shape = shape(true, false);
    let plain = wandering(shape);
    // Records that are out of reach, within the band of the error, and nearer than the forecast.
    for (low, high) in [(-1e9, 1e9), (99.0, 101.0), (plain.expected + 5.0, plain.expected + 6.0)] {
        let records = Records { low, high, ..plain.records };
        let outlook = Outlook { records, ..plain };
        for (side, sign) in [(0, -1.0), (1, 1.0)] {
            let limit = outlook.limit(side);
            let step = 1e-9 * limit.abs().max(1.0);
            assert!(outlook.surprise(limit + sign * step) >= ALERT, "{low} {side} {limit}");
            // Up to the forecast itself, even where that is beyond all there ever was.
            let inside = limit - sign * 1e3 * step;
            let is_forecast = sign * (inside - outlook.expected) <= 0.0;
            assert!(is_forecast || outlook.surprise(inside) < ALERT, "{low} {side} {limit}");
        }
    }
}

#[test]
fn a_record_needs_less_of_an_error_and_a_large_one_none() {
    let plain = wandering(shape(true, false));
    let with = |low: f64, high: f64| {
        let outlook = Outlook { records: Records { low, high, ..plain.records }, ..plain };
        outlook.limit(1)
    };
    let far = with(-1e9, 1e9);
    let record = with(plain.expected - 10.0, plain.expected + 1.0);
    assert!(record < far && record > plain.expected + 1.0, "{record} {far}");
    // However heavy the tail: half of the range beyond it is enough.
    let heavy = Curve { start: 100.0, shape: 2.0, scale: 5.0, squared: false };
    let records = Records { low: 60.0, high: 140.0, ..plain.records };
    let outlook = Outlook { curves: [heavy; 2], records, ..plain };
    assert!(outlook.limit(1) < 180.0 && outlook.limit(0) > 20.0);
}

#[test]
fn a_series_that_begins_with_nothing_starts_when_something_comes() {
    let shape = shape(true, false);
    let nothing = (0..60).map(|_| (0.0, 1.0));
    assert!(learned(shape, nothing.clone()).outlook(shape, at(0)).is_none());
    let values = nothing.chain((0..300).map(|at| (50.0 + f64::from(at % 5), 1.0)));
    let outlook = learned(shape, values).outlook(shape, at(0)).unwrap();
    assert!((outlook.expected - 52.0).abs() < 2.0 && outlook.is_anomalous(200.0));
}

#[test]
fn a_constant_series_tolerates_a_twentieth() {
    for shape in [shape(true, false), shape(true, true)] {
        let outlook =
            learned(shape, (0..200).map(|_| (5000.0, 1.0))).outlook(shape, at(0)).unwrap();
        assert!(!outlook.is_anomalous(5245.0) && !outlook.is_anomalous(4755.0));
        assert!(outlook.is_anomalous(6200.0) && outlook.is_anomalous(3800.0));
    }
}

#[test]
fn nothing_is_said_too_early_or_of_sparse_series() {
    let shape = shape(true, false);
    assert!(learned(shape, (0..47).map(|_| (10.0, 1.0))).outlook(shape, at(0)).is_none());
    assert!(learned(shape, (0..48).map(|_| (10.0, 1.0))).outlook(shape, at(0)).is_some());
    let sparse = (0..500).map(|at| (f64::from(u8::from(at % 10 == 0)), 1.0));
    assert!(learned(shape, sparse).outlook(shape, at(0)).is_none());
}

#[test]
fn a_ratio_of_next_to_nothing_is_not_learned() {
    let shape = shape(false, false);
    let usual = (0..100).map(|at| (0.5 + 0.001 * f64::from(at % 7), 1000.0));
    let before = learned(shape, usual.clone());
    // A whole day of them: what is expected next is of the same hour.
    let after = learned(shape, usual.chain((0..24).map(|_| (9.0, 20.0))));
    // As text: what is unknown is no number, and equal to nothing.
    assert_eq!(format!("{:?}", before.model), format!("{:?}", after.model));
    assert!(after.outlook(shape, at(4)).unwrap().weight > 60.0);
}
