//! Tests of the module `join`.

use proptest::prelude::*;

use super::super::algebra::{Cell, Change, Dump, Row, Subject, cases, given, history, layout, row};
use super::*;

impl Dump for Join {
    fn dump(&self) -> String {
        let mut held = Vec::new();
        for (key, own) in self.keys.iter() {
            for (side, first) in self.sides.iter().zip(own.first) {
                let mut rows: Vec<_> =
                    side.chain(first).map(|(at, weight)| (side.row(at).bytes(), weight)).collect();
                rows.sort();
                held.push(format!("{key:?} {} {rows:?}", own.right));
            }
        }
        held.sort();
        held.join("\n")
    }
}

fn make(kind: JoinKind) -> Join {
    let on = vec![(0, 0), (1, 2)];
    Join::new(
        layout(&["text", "bigint", "bigint"]),
        layout(&["text", "boolean", "bigint"]),
        on,
        kind,
    )
}

/// Every pair of rows, looked at.
fn nested_loop(inputs: &[Vec<Row>], kind: JoinKind) -> Vec<Row> {
    let is_null = |cell: &Cell| matches!(cell, Cell::Null | Cell::Unknown);
    let mut all = Vec::new();
    for left in &inputs[0] {
        let mut is_alone = true;
        for right in &inputs[1] {
            let pairs = [(&left.cells[0], &right.cells[0]), (&left.cells[1], &right.cells[2])];
            if pairs.iter().all(|(a, b)| a == b && !is_null(a)) {
                is_alone = false;
                let cells = [left.cells.clone(), right.cells.clone()].concat();
                all.push(Row { cells, is_outdated: left.is_outdated || right.is_outdated });
            }
        }
        if is_alone && kind == JoinKind::Left {
            let is_unknown = left.cells[..2].contains(&Cell::Unknown);
            let beside = if is_unknown { Cell::Unknown } else { Cell::Null };
            let cells = [left.cells.clone(), vec![beside; 3]].concat();
            all.push(Row { cells, is_outdated: left.is_outdated });
        }
    }
    all
}

/// Rows of both inputs: the second has its columns in another order, which a text and a number allow.
fn rows() -> impl Strategy<Value = Row> {
    let text = prop_oneof![
        8 => "[ab]".prop_map(Cell::Text),
        1 => Just(Cell::Null),
        1 => Just(Cell::Unknown),
    ];
    let number = prop_oneof![8 => (0..2_i64).prop_map(Cell::Whole), 1 => Just(Cell::Null)];
    (text, number, 0..3_i64, prop::bool::weighted(0.1)).prop_map(|(text, number, other, doubt)| {
        Row { cells: vec![text, number, Cell::Whole(other)], is_outdated: doubt }
    })
}

/// The row of the right input that has the same columns to compare.
fn turned(mut change: Change) -> Change {
    if change.input == RIGHT {
        let Cell::Whole(other) = change.row.cells[2] else { unreachable!() };
        change.row.cells[2] = change.row.cells[1].clone();
        change.row.cells[1] = Cell::Flag(other > 0);
    }
    change
}

fn histories() -> impl Strategy<Value = Vec<Vec<Change>>> {
    history(2, rows()).prop_map(|steps| {
        steps.into_iter().map(|step| step.into_iter().map(turned).collect()).collect()
    })
}

fn with_subject<T>(kind: JoinKind, act: impl FnOnce(Subject<'_, Join>) -> T) -> T {
    let inputs = [layout(&["text", "bigint", "bigint"]), layout(&["text", "boolean", "bigint"])];
    let recompute = |inputs: &[Vec<Row>]| nested_loop(inputs, kind);
    let make = || make(kind);
    act(Subject { inputs: &inputs, make: &make, recompute: &recompute, may_fail: false })
}

proptest! {
    #![proptest_config(cases())]
    #[test]
    fn pairs_are_those_of_a_nested_loop(history in histories()) {
        with_subject(JoinKind::Inner, |subject| subject.check(&history));
    }

    #[test]
    fn lone_left_rows_are_those_of_a_nested_loop(history in histories()) {
        with_subject(JoinKind::Left, |subject| subject.check(&history));
    }

    #[test]
    fn a_stray_row_is_named_and_changes_nothing(history in histories(), left in any::<bool>(), is_quiet: bool) {
        let (input, weight) = (usize::from(!left), -2);
        let row = row(&[Cell::Text("a".into()), Cell::Whole(1), Cell::Whole(77)]);
        let mut stray = Change { input, row, weight, is_quiet };
        if !left {
            stray.row.cells = vec![Cell::Text("77".into()), Cell::Flag(true), Cell::Whole(1)];
        }
        for kind in [JoinKind::Inner, JoinKind::Left] {
            with_subject(kind, |subject| subject.refuses(&history, &stray));
        }
    }
}

fn left(text: &str, number: i64, weight: i64, is_quiet: bool) -> Change {
    let row = row(&[Cell::Text(text.into()), Cell::Whole(number), Cell::Whole(0)]);
    Change { input: LEFT, row, weight, is_quiet }
}

fn right(text: &str, number: i64, flag: bool, weight: i64, is_quiet: bool) -> Change {
    let row = row(&[Cell::Text(text.into()), Cell::Flag(flag), Cell::Whole(number)]);
    Change { input: RIGHT, row, weight, is_quiet }
}

/// The flags of what is given, with the sums of the weights' sizes.
fn loudness(out: &Delta) -> Vec<(bool, i64)> {
    let size = |change: schemas::KeyChange<'_>| change.rows().map(|row| row.1.abs()).sum();
    out.keys().map(|change| (change.is_quiet(), size(change))).collect()
}

#[test]
fn a_pair_is_quiet_when_both_of_its_rows_are() {
    with_subject(JoinKind::Inner, |subject| {
        let mut join = make(JoinKind::Inner);
        subject.step(&mut join, &[left("a", 1, 3, false)]).1.unwrap();
        // Three pairs of a quiet change with what was there, and one of it with a loud one.
        let changes = [right("a", 1, true, 1, true), left("a", 1, 1, false)];
        let (out, _) = subject.step(&mut join, &changes);
        assert_eq!(loudness(&out), [(false, 1), (true, 3)]);
    });
}

#[test]
fn one_match_for_another_shows_no_lone_row() {
    with_subject(JoinKind::Left, |subject| {
        let mut join = make(JoinKind::Left);
        let first = [left("a", 1, 2, false), right("a", 1, true, 1, false)];
        subject.step(&mut join, &first).1.unwrap();
        let changes = [right("a", 1, true, -1, true), right("a", 1, false, 1, false)];
        let (out, _) = subject.step(&mut join, &changes);
        assert_eq!(loudness(&out), [(false, 2), (true, 2)]);
        assert_eq!(given(&out).len(), 2);
    });
}

#[test]
fn what_goes_too_often_goes_as_often_as_it_is_there() {
    with_subject(JoinKind::Left, |subject| {
        let mut join = make(JoinKind::Left);
        let first = [left("a", 1, 1, false), right("a", 1, true, 2, false)];
        subject.step(&mut join, &first).1.unwrap();
        let (out, result) = subject.step(&mut join, &[right("a", 1, true, -3, false)]);
        let error = result.unwrap_err();
        assert_eq!((error.row.as_str(), error.node.as_str()), ("c0=a, c1=true, c2=1", "JOIN"));
        assert!(error.problem.starts_with("goes 1 times more than it is there"), "{error}");
        assert_eq!(given(&out).values().copied().collect::<Vec<_>>(), [1, -2]);
    });
}
