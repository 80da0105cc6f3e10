//! Tests of the module `window`.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::super::algebra::{
    Cell, Change as Came, Dump, Row, Subject, bytes, cases, compare, given, history, layout, order,
    row,
};
use super::*;

impl Dump for Window {
    fn dump(&self) -> String {
        let mut held: Vec<String> = (self.partitions.iter())
            .map(|(key, own)| {
                let rows: Vec<_> =
                    own.rows.iter().map(|(row, times)| (row.bytes(), times)).collect();
                format!("{key:?} {rows:?} {:?}", own.total)
            })
            .collect();
        held.sort();
        held.join("\n")
    }
}

const INPUT: [&str; 4] = ["text", "date", "bigint", "decimal(10,2)"];

/// Each row with what a list of its partition, sorted whole, says of it.
fn by_lists(by: &[SortBy], function: WindowFunction, rows: &[Row]) -> Vec<Row> {
    let layout = layout(&INPUT);
    let mut partitions = BTreeMap::<&Cell, Vec<&Row>>::new();
    rows.iter().for_each(|row| partitions.entry(&row.cells[0]).or_default().push(row));
    let mut all = Vec::new();
    for mut rows in partitions.into_values() {
        rows.sort_by(|a, b| {
            compare(a, b, by).then_with(|| bytes(&layout, a).cmp(&bytes(&layout, b)))
        });
        for (at, row) in rows.iter().enumerate() {
            let more = match function {
                WindowFunction::Lag { column, by } => {
                    at.checked_sub(by).map_or(Cell::Null, |at| rows[at].cells[column].clone())
                }
                WindowFunction::RunningSum { column } => {
                    let up_to = rows.iter().filter(|other| compare(other, row, by).is_le());
                    let cells: Vec<&Cell> = up_to.map(|other| &other.cells[column]).collect();
                    sum(&cells)
                }
            };
            let mut row = (*row).clone();
            row.cells.push(more);
            all.push(row);
        }
    }
    all
}

fn sum(cells: &[&Cell]) -> Cell {
    if cells.contains(&&Cell::Unknown) {
        return Cell::Unknown;
    }
    let whole = |cell: &&Cell| match cell {
        Cell::Whole(number) => Some(i128::from(*number)),
        Cell::Decimal(mantissa) => Some(*mantissa),
        _ => None,
    };
    let numbers: Vec<i128> = cells.iter().filter_map(whole).collect();
    match cells.iter().find(|cell| ***cell != Cell::Null) {
        None => Cell::Null,
        Some(Cell::Decimal(_)) => Cell::Decimal(numbers.iter().sum()),
        Some(_) => i64::try_from(numbers.iter().sum::<i128>()).map_or(Cell::Unknown, Cell::Whole),
    }
}

fn rows() -> impl Strategy<Value = Row> {
    let text = prop_oneof![6 => Just(Cell::Text("p".into())), 1 => Just(Cell::Null)];
    let day = prop_oneof![9 => (0..6_i32).prop_map(Cell::Day), 1 => Just(Cell::Null)];
    let number = prop_oneof![
        8 => (-3..4_i64).prop_map(Cell::Whole),
        1 => prop::sample::select(vec![i64::MAX, i64::MIN]).prop_map(Cell::Whole),
        1 => Just(Cell::Null),
        1 => Just(Cell::Unknown),
    ];
    let amount = prop_oneof![(0..3_i128).prop_map(Cell::Decimal), Just(Cell::Null)];
    (text, day, number, amount, prop::bool::weighted(0.1))
        .prop_map(|(a, b, c, d, is_outdated)| Row { cells: vec![a, b, c, d], is_outdated })
}

fn functions() -> impl Strategy<Value = WindowFunction> {
    prop_oneof![
        (0..4_usize, 1..4_usize).prop_map(|(column, by)| WindowFunction::Lag { column, by }),
        (2..4_usize).prop_map(|column| WindowFunction::RunningSum { column }),
    ]
}

/// Of one column with peers, of two, or of none.
fn orders() -> impl Strategy<Value = Vec<SortBy>> {
    let by = (1..4_usize, any::<bool>(), any::<bool>());
    prop_oneof![
        4 => Just(order(&[(1, false, false)])),
        2 => prop::collection::vec(by, 0..3).prop_map(|columns| order(&columns)),
    ]
}

fn with_subject<T>(
    by: &[SortBy],
    function: WindowFunction,
    act: impl FnOnce(Subject<'_, Window>) -> T,
) -> T {
    let inputs = [layout(&INPUT)];
    let recompute = |inputs: &[Vec<Row>]| by_lists(by, function, &inputs[0]);
    let make = || Window::new(layout(&INPUT), vec![0], by.to_vec(), function).unwrap();
    act(Subject { inputs: &inputs, make: &make, recompute: &recompute, may_fail: true })
}

proptest! {
    #![proptest_config(cases())]
    #[test]
    fn columns_are_those_of_sorted_lists(
        history in history(1, rows()), by in orders(), function in functions(),
    ) {
        with_subject(&by, function, |subject| subject.check(&history));
    }

    #[test]
    fn a_stray_row_is_named_and_changes_nothing(
        history in history(1, rows()), by in orders(), function in functions(), is_quiet: bool,
    ) {
        let cells = [Cell::Text("p".into()), Cell::Day(3), Cell::Whole(77), Cell::Null];
        let stray = Came { input: 0, row: row(&cells), weight: -2, is_quiet };
        with_subject(&by, function, |subject| subject.refuses(&history, &stray));
    }
}

fn of_day(day: i32, number: i64, weight: i64) -> Came {
    let cells = [Cell::Text("p".into()), Cell::Day(day), Cell::Whole(number), Cell::Null];
    Came { input: 0, row: row(&cells), weight, is_quiet: false }
}

#[test]
fn a_change_gives_itself_and_what_lies_so_far_behind() {
    let by = order(&[(1, false, false)]);
    let days: Vec<Came> = (0..30).map(|day| of_day(day, i64::from(day), 1)).collect();
    let change = [of_day(10, 10, -1), of_day(10, 100, 1)];
    // Unconsolidated: what an operator looks at, and not only what comes to something.
    let given_rows = |function| {
        with_subject(&by, function, |subject| {
            let mut window = (subject.make)();
            subject.step(&mut window, &days).1.unwrap();
            given(&subject.step(&mut window, &change).0).len()
        })
    };
    assert_eq!(given_rows(WindowFunction::Lag { column: 2, by: 12 }), 4);
    assert_eq!(given_rows(WindowFunction::RunningSum { column: 2 }), 40);
}

#[test]
fn a_running_sum_beyond_its_type_is_an_error_once() {
    let function = WindowFunction::RunningSum { column: 2 };
    with_subject(&order(&[(1, false, false)]), function, |subject| {
        let mut window = (subject.make)();
        subject.step(&mut window, &[of_day(1, i64::MAX, 1)]).1.unwrap();
        let error = subject.step(&mut window, &[of_day(2, 1, 1)]).1.unwrap_err();
        assert_eq!((error.node.as_str(), error.row.as_str()), ("OVER", "c0=p"));
        let (out, result) = subject.step(&mut window, &[of_day(3, -5, 1)]);
        assert_eq!((given(&out).len(), result), (1, Ok(())));
        subject.step(&mut window, &[of_day(0, -1, 1)]).1.unwrap();
    });
}

#[test]
fn functions_that_there_are_not_are_refused() {
    for function in [
        WindowFunction::Lag { column: 2, by: 0 },
        WindowFunction::Lag { column: 9, by: 1 },
        WindowFunction::RunningSum { column: 0 },
    ] {
        let refused = Window::new(layout(&INPUT), vec![0], Vec::new(), function);
        assert!(refused.unwrap_err().problem.contains("has no column"));
    }
}
