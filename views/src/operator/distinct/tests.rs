//! Tests of the module `distinct`.

use proptest::prelude::*;

use super::super::algebra::{Cell, Change, Dump, Row, Subject, cases, history, layout, row};
use super::*;

impl Dump for Distinct {
    fn dump(&self) -> String {
        self.0.dump()
    }
}

/// Each row that is unlike those before it; outdated when one of its equals is.
fn unlike(rows: &[Row]) -> Vec<Row> {
    let mut all: Vec<Row> = Vec::new();
    for row in rows {
        match all.iter_mut().find(|other| other.cells == row.cells) {
            Some(other) => other.is_outdated |= row.is_outdated,
            None => all.push(row.clone()),
        }
    }
    all
}

fn rows() -> impl Strategy<Value = Row> {
    let text = prop_oneof!["[ab]?".prop_map(Cell::Text), Just(Cell::Null), Just(Cell::Unknown)];
    let number = prop_oneof![(0..2_i64).prop_map(Cell::Whole), Just(Cell::Null)];
    (text, number, prop::bool::weighted(0.2))
        .prop_map(|(text, number, is_outdated)| Row { cells: vec![text, number], is_outdated })
}

fn with_subject(act: impl FnOnce(Subject<'_, Distinct>)) {
    let inputs = [layout(&["text", "bigint"])];
    let recompute = |inputs: &[Vec<Row>]| unlike(&inputs[0]);
    let make = || Distinct::new(layout(&["text", "bigint"]));
    act(Subject { inputs: &inputs, make: &make, recompute: &recompute, may_fail: false });
}

proptest! {
    #![proptest_config(cases())]
    #[test]
    fn rows_are_those_that_are_unlike_others(history in history(1, rows())) {
        with_subject(|subject| subject.check(&history));
    }

    #[test]
    fn a_stray_row_is_named_and_changes_nothing(history in history(1, rows()), is_quiet: bool) {
        let row = row(&[Cell::Text("a".into()), Cell::Whole(77)]);
        let stray = Change { input: 0, row, weight: -1, is_quiet };
        with_subject(|subject| subject.refuses(&history, &stray));
    }
}
