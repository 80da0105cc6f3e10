//! Tests of the module above.

use std::collections::BTreeSet;

use schemas::{Good, KpiKind, Unit};

use super::*;
use crate::records::Records;
use crate::shape::{Seasons, Space, Tuning};

/// A rule against everything there is.
fn watching() -> Watching {
    let step = |against: Against| schemas::ChangeRule {
        name: against.detector().into(),
        against,
        up: Some(200_000),
        down: Some(50_000),
        severity: Severity::Warning,
        budget: (against == Against::Budget).then(|| "orders".into()),
    };
    Watching { rules: Against::ALL.map(step).into(), ..Watching::default() }
}

fn kpis() -> Vec<KpiInfo> {
    let kpi = |key: &str, unit, is_ratio| KpiInfo {
        key: key.into(),
        title: key.into(),
        description: None,
        unit,
        good: Good::Up,
        group: None,
        kind: if is_ratio { KpiKind::Ratio } else { KpiKind::Flow },
        dims: Vec::new(),
        grains: schemas::Grains::ALL,
        windows: schemas::Grains::WINDOWS,
        breakdown_of: None,
        parts: Vec::new(),
        is_net: false,
        currency: None,
        watching: watching(),
    };
    vec![
        kpi("orders", Unit::Count, false),
        kpi("roi", Unit::Ratio, true),
        kpi("total_cost", Unit::Currency, false),
    ]
}

fn shape() -> Shape {
    let seasons = Seasons { day: 0, week: 7 };
    Shape {
        seasons,
        log: true,
        count: false,
        flow: true,
        warm: 14,
        dated: true,
        patient: true,
        net: false,
        tuning: Tuning::default(),
    }
}

#[test]
fn the_names_that_files_may_list_are_those_of_the_rules() {
    assert_eq!(REGISTRY.map(|rule| rule.name()), schemas::watching::DETECTORS);
}

#[test]
fn every_rule_has_a_name_and_something_to_watch() {
    let names: BTreeSet<&str> = REGISTRY.iter().map(|rule| rule.name()).collect();
    assert_eq!(names.len(), REGISTRY.len());
    for rule in REGISTRY {
        let of = |grain| kpis().iter().filter(|kpi| rule.watches(kpi, grain)).count();
        assert!(of(Grain::Hour) + of(Grain::Day) > 0, "{}", rule.name());
        let long: usize = Grain::ALL.into_iter().filter(|grain| grain.is_long()).map(of).sum();
        assert_eq!(long, 0, "{}", rule.name());
        assert!(rule.name().chars().all(|own| own.is_ascii_lowercase() || own == '_'));
    }
}

#[test]
fn without_anything_to_compare_with_no_rule_knows() {
    let cell = CellValue {
        value: Some(123_456),
        numerator: Some(1),
        denominator: Some(2),
        status: Status::Ok,
    };
    for rule in REGISTRY {
        for running in [false, true] {
            for cell in [None, Some(cell), Some(CellValue { value: None, ..cell })] {
                let shape = shape();
                let good = Good::Up;
                let bucket = Bucket {
                    shape,
                    watching: &watching(),
                    is_net: true,
                    good,
                    running,
                    cell,
                    outlook: None,
                    baseline: None,
                    since: None,
                    held: false,
                    is_whole: true,
                };
                assert_eq!(rule.judge(&bucket), Verdict::Unknown, "{}", rule.name());
            }
        }
    }
}

#[test]
fn a_cell_without_a_value_is_no_number() {
    let outlook = Outlook {
        space: Space::of(shape(), 100.0),
        center: 0.9,
        spread: 0.1,
        curves: crate::tail::Tail::new().curves(crate::tail::Law::Minutes, 1.0),
        records: Records { low: 50.0, high: 400.0, surprise: 1.0, size: 8.0, calm: false },
        jump: crate::jumps::Jump::NONE,
        needs: [3.6; 2],
        wide: false,
        expected: 147.0,
        lower: 60.0,
        upper: 300.0,
        weight: 0.0,
    };
    let broken =
        CellValue { value: None, numerator: None, denominator: None, status: Status::Error };
    for rule in REGISTRY {
        let bucket = Bucket {
            good: Good::Up,
            shape: shape(),
            watching: &watching(),
            is_net: false,
            running: false,
            cell: Some(broken),
            outlook: Some(outlook),
            baseline: Some(broken),
            since: None,
            held: false,
            is_whole: true,
        };
        assert_eq!(rule.judge(&bucket), Verdict::Unknown, "{}", rule.name());
    }
}
