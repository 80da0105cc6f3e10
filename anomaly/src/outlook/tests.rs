//! Tests of the module above.

use super::*;
use crate::model::Seasons;

struct Nothing;

impl Past for Nothing {
    fn value(&self, _back: usize) -> Option<f64> {
        None
    }
}

fn shape(log: bool, count: bool) -> Shape {
    Shape { seasons: Seasons { day: 24, week: 168 }, log, count, flow: log, warm: 48 }
}

fn learned(shape: Shape, values: impl Iterator<Item = (f64, f64)>) -> Learner {
    let mut learner = Learner::new();
    for (at, (value, weight)) in values.enumerate() {
        let observed = Observed { scaled: shape.scaled(value), value, weight };
        learner.learn(shape, Some(observed), at % 24, &Nothing);
    }
    learner
}

#[test]
fn outside_of_the_band_is_what_is_anomalous_and_improbable() {
    let shape = shape(true, true);
    let values = (0..400).map(|at| (100.0 + f64::from(at * 37 % 21), 1.0));
    let outlook = learned(shape, values).outlook(shape, 3).unwrap();
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

#[test]
fn a_constant_series_tolerates_a_tenth() {
    for shape in [shape(true, false), shape(true, true)] {
        let outlook = learned(shape, (0..200).map(|_| (5000.0, 1.0))).outlook(shape, 0).unwrap();
        assert!(!outlook.is_anomalous(5490.0) && !outlook.is_anomalous(4510.0));
        assert!(outlook.is_anomalous(6200.0) && outlook.is_anomalous(3800.0));
    }
}

#[test]
fn nothing_is_said_too_early_or_of_sparse_series() {
    let shape = shape(true, false);
    assert!(learned(shape, (0..47).map(|_| (10.0, 1.0))).outlook(shape, 0).is_none());
    assert!(learned(shape, (0..48).map(|_| (10.0, 1.0))).outlook(shape, 0).is_some());
    let sparse = (0..500).map(|at| (f64::from(u8::from(at % 10 == 0)), 1.0));
    assert!(learned(shape, sparse).outlook(shape, 0).is_none());
}

#[test]
fn a_ratio_of_next_to_nothing_is_not_learned() {
    let shape = shape(false, false);
    let usual = (0..100).map(|at| (0.5 + 0.001 * f64::from(at % 7), 1000.0));
    let before = learned(shape, usual.clone());
    let after = learned(shape, usual.chain([(9.0, 20.0)]));
    // As text: what is unknown is no number, and equal to nothing.
    assert_eq!(format!("{:?}", before.model), format!("{:?}", after.model));
    assert!(after.outlook(shape, 4).unwrap().weight > 90.0);
}
