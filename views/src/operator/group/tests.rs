//! Tests of the module `group`.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::super::Function;
use super::super::algebra::{Cell, Change, Dump, Row, Subject, cases, given, history, layout, row};
use super::*;

impl Dump for Group {
    fn dump(&self) -> String {
        let mut groups: Vec<String> = (self.groups.iter())
            .map(|(key, held)| {
                format!("{key:?} {} {:?} {:?} {}", held.rows, held.parts, held.doubts, held.touched)
            })
            .collect();
        groups.sort();
        groups.join("\n")
    }
}

const INPUT: [&str; 7] =
    ["text", "bigint", "decimal(10,2)", "decimal(38,1)", "boolean", "double", "date"];
const WIDEST: i128 = 10_i128.pow(38) - 1;

fn call(function: Function, column: Option<usize>, filter: Option<usize>) -> Call {
    Call { function, column, filter, allocates: false, text: format!("{function:?}({column:?})") }
}

/// Every aggregate of every type that it takes, some of them where column 4 is true.
fn calls() -> Vec<Call> {
    use Function::*;
    let mut calls = vec![call(Count, None, None), call(Count, None, Some(4))];
    for (function, columns) in [
        (CountColumn, [0, 1, 4].as_slice()),
        (CountDistinct, &[0, 1, 2, 3, 4, 5, 6]),
        (Sum, &[1, 2, 3]),
        (Avg, &[2]),
        (Min, &[0, 1, 2, 3, 4, 5, 6]),
        (Max, &[0, 1, 2, 3, 4, 5, 6]),
        (BoolAnd, &[4]),
        (BoolOr, &[4]),
        (Percentile { millionths: 500_000, cuts: false }, &[1, 2, 3]),
        (Percentile { millionths: 900_000, cuts: true }, &[1, 2, 3]),
    ] {
        calls.extend(columns.iter().map(|column| call(function, Some(*column), None)));
        calls.push(call(function, Some(columns[0]), Some(4)));
    }
    calls
}

fn make(keys: &[usize], calls: &[Call]) -> Result<Group, StepError> {
    let input = layout(&INPUT);
    let kind = |column: usize| input.schema().kind(column).unwrap();
    let keyed = keys.iter().map(|key| kind(*key).to_string());
    let result = |call: &Call| {
        call.function.result(call.column.and_then(|column| input.schema().kind(column)))
    };
    let called =
        calls.iter().map(|call| result(call).map_or("text".into(), |kind| kind.to_string()));
    let kinds: Vec<String> = keyed.chain(called).collect();
    let out = layout(&kinds.iter().map(String::as_str).collect::<Vec<_>>());
    Group::new(input, keys.to_vec(), calls.to_vec(), out)
}

/// The sum, as digits before and behind the twentieth, which do not overflow.
fn sum_of(numbers: &[i128]) -> Option<i128> {
    let base = 10_i128.pow(20);
    let (high, low) = numbers.iter().fold((0, 0), |(high, low), number| {
        (high + number.div_euclid(base), low + number.rem_euclid(base))
    });
    let high = high + low.div_euclid(base);
    (high.abs() <= 10_i128.pow(18)).then(|| high * base + low.rem_euclid(base))
}

/// The aggregate of all rows of one group, computed from the list of them.
fn of_list(call: &Call, rows: &[&Row]) -> Cell {
    let filter = |row: &Row| call.filter.map_or(Cell::Flag(true), |at| row.cells[at].clone());
    let taken: Vec<(Cell, Cell)> = rows
        .iter()
        .map(|row| (filter(row), call.column.map_or(Cell::Flag(true), |at| row.cells[at].clone())))
        .collect();
    let is_unknown = |(filter, cell): &(Cell, Cell)| match filter {
        Cell::Unknown => true,
        filter => *filter == Cell::Flag(true) && *cell == Cell::Unknown,
    };
    if taken.iter().any(is_unknown) {
        return Cell::Unknown;
    }
    let taken = taken.into_iter().filter(|own| own.0 == Cell::Flag(true) && own.1 != Cell::Null);
    let mut cells: Vec<Cell> = taken.map(|own| own.1).collect();
    cells.sort_by(|a, b| match (a, b) {
        (Cell::Double(a), Cell::Double(b)) => f64::from_bits(*a).total_cmp(&f64::from_bits(*b)),
        _ => a.cmp(b),
    });
    let whole = |cell: &Cell| match cell {
        Cell::Whole(number) => i128::from(*number),
        Cell::Decimal(mantissa) => *mantissa,
        _ => unreachable!(),
    };
    let count = i64::try_from(cells.len()).unwrap();
    match call.function {
        Function::Count | Function::CountColumn => Cell::Whole(count),
        Function::CountDistinct => {
            cells.dedup();
            Cell::Whole(i64::try_from(cells.len()).unwrap())
        }
        _ if cells.is_empty() => Cell::Null,
        Function::Min => cells[0].clone(),
        Function::Max => cells[cells.len() - 1].clone(),
        Function::BoolAnd => Cell::Flag(cells.iter().all(|cell| *cell == Cell::Flag(true))),
        Function::Percentile { millionths, cuts } => percentile(&cells, millionths, cuts),
        Function::BoolOr => Cell::Flag(cells.contains(&Cell::Flag(true))),
        Function::Sum | Function::Avg => {
            let numbers: Vec<i128> = cells.iter().map(whole).collect();
            let sum = sum_of(&numbers);
            match (&cells[0], call.function) {
                (_, Function::Avg) => Cell::Decimal(sum.unwrap() * 10_000 / i128::from(count)),
                (Cell::Whole(_), _) => {
                    sum.and_then(|sum| i64::try_from(sum).ok()).map_or(Cell::Unknown, Cell::Whole)
                }
                _ => sum.filter(|sum| sum.abs() <= WIDEST).map_or(Cell::Unknown, Cell::Decimal),
            }
        }
    }
}

/// Of a sorted list; cut by halving as often as it takes.
fn percentile(cells: &[Cell], millionths: u32, cuts: bool) -> Cell {
    let share = usize::try_from(millionths).unwrap() * cells.len();
    let rank = (1..=cells.len()).find(|rank| rank * 1_000_000 >= share).unwrap();
    let halved = |number: i128| {
        let times = (0..).find(|times| (number / (1 << times)).abs() < 256).unwrap();
        if cuts { number / (1 << times) * (1 << times) } else { number }
    };
    match &cells[rank - 1] {
        Cell::Whole(number) => Cell::Whole(i64::try_from(halved((*number).into())).unwrap()),
        Cell::Decimal(mantissa) => Cell::Decimal(halved(*mantissa)),
        _ => unreachable!(),
    }
}

fn by_lists(keys: &[usize], calls: &[Call], rows: &[Row]) -> Vec<Row> {
    let mut groups = BTreeMap::<Vec<Cell>, Vec<&Row>>::new();
    if keys.is_empty() {
        groups.insert(Vec::new(), Vec::new());
    }
    for row in rows {
        let key = keys.iter().map(|key| row.cells[*key].clone()).collect();
        groups.entry(key).or_default().push(row);
    }
    let row = |(key, rows): (Vec<Cell>, Vec<&Row>)| {
        let aggregates = calls.iter().map(|call| of_list(call, &rows));
        let is_outdated = rows.iter().any(|row| row.is_outdated);
        Row { cells: key.into_iter().chain(aggregates).collect(), is_outdated }
    };
    groups.into_iter().map(row).collect()
}

/// A value of a few, or null, or rarely unknown.
fn some(cells: Vec<Cell>) -> impl Strategy<Value = Cell> {
    prop_oneof![
        12 => prop::sample::select(cells),
        2 => Just(Cell::Null),
        1 => Just(Cell::Unknown),
    ]
}

fn rows() -> impl Strategy<Value = Row> {
    let doubles = [-1.5, 0.0, 2.0, f64::NAN, f64::INFINITY, f64::NEG_INFINITY];
    let columns = (
        some(["", "a", "b"].map(|text| Cell::Text(text.into())).to_vec()),
        some([0, 1, -3, i64::MAX, i64::MIN].map(Cell::Whole).to_vec()),
        some([0, 100, 101, -250].map(Cell::Decimal).to_vec()),
        some([0, 7, WIDEST, -WIDEST, i128::from(i64::MAX) + 1].map(Cell::Decimal).to_vec()),
        some([false, true].map(Cell::Flag).to_vec()),
        some(doubles.map(|number| Cell::Double(number.to_bits())).to_vec()),
        some([-1, 0, 20_000].map(Cell::Day).to_vec()),
        prop::bool::weighted(0.1),
    );
    columns.prop_map(|(a, b, c, d, e, f, g, is_outdated)| Row {
        cells: vec![a, b, c, d, e, f, g],
        is_outdated,
    })
}

fn with_subject<T>(keys: &[usize], calls: &[Call], act: impl FnOnce(Subject<'_, Group>) -> T) -> T {
    let inputs = [layout(&INPUT)];
    let recompute = |inputs: &[Vec<Row>]| by_lists(keys, calls, &inputs[0]);
    let make = || make(keys, calls).unwrap();
    act(Subject { inputs: &inputs, make: &make, recompute: &recompute, may_fail: true })
}

proptest! {
    #![proptest_config(cases())]
    #[test]
    fn aggregates_are_those_of_lists(history in history(1, rows())) {
        with_subject(&[0], &calls(), |subject| subject.check(&history));
    }

    #[test]
    fn aggregates_of_all_rows_and_of_two_keys_are_those_of_lists(history in history(1, rows())) {
        with_subject(&[], &calls(), |subject| subject.check(&history));
        with_subject(&[4, 6], &calls()[..6], |subject| subject.check(&history));
    }

    /// Of a value that no row has: one aggregate that keeps values notices.
    #[test]
    fn a_stray_row_is_named_and_changes_nothing(history in history(1, rows()), key in any::<bool>(), is_quiet: bool) {
        let mut stray = row(&[Cell::Text("a".into()), Cell::Whole(77), Cell::Null, Cell::Null, Cell::Null, Cell::Null, Cell::Null]);
        if key {
            stray.cells[0] = Cell::Text("77".into());
        }
        let stray = Change { input: 0, row: stray, weight: -1, is_quiet };
        let calls = [call(Function::Sum, Some(2), None), call(Function::Max, Some(1), None)];
        with_subject(&[0], &calls, |subject| subject.refuses(&history, &stray));
    }
}

/// A row with a key and a number.
fn numbered(key: &str, number: i64, weight: i64) -> Change {
    let mut cells = vec![Cell::Null; INPUT.len()];
    cells[0] = Cell::Text(key.into());
    cells[1] = Cell::Whole(number);
    Change { input: 0, row: row(&cells), weight, is_quiet: false }
}

#[test]
fn a_sum_beyond_its_type_is_an_error_once_and_comes_back() {
    let calls = [call(Function::Sum, Some(1), None), call(Function::Count, None, None)];
    with_subject(&[0], &calls, |subject| {
        let mut group = make(&[0], &calls).unwrap();
        let sum = |cell: Cell, count| row(&[Cell::Text("a".into()), cell, Cell::Whole(count)]);
        let max = i64::MAX;
        let (out, result) = subject
            .step(&mut group, &[numbered("a", max, 1), numbered("a", 1, 1), numbered("b", 5, 1)]);
        let error = result.unwrap_err();
        assert_eq!((error.node.as_str(), error.row.as_str()), ("Sum(Some(1))", "c0=a"));
        assert_eq!(given(&out).get(&sum(Cell::Unknown, 2)), Some(&1));
        assert_eq!(given(&out).len(), 2, "the other group is done");
        let (out, result) = subject.step(&mut group, &[numbered("a", 2, 1)]);
        assert_eq!(result, Ok(()), "it was said before");
        assert_eq!(given(&out).get(&sum(Cell::Unknown, 3)), Some(&1));
        let (out, result) = subject.step(&mut group, &[numbered("a", max, -1)]);
        assert_eq!(result, Ok(()));
        assert_eq!(given(&out).get(&sum(Cell::Whole(3), 2)), Some(&1));
    });
}

#[test]
fn a_group_whose_rows_went_but_not_their_values_is_an_error() {
    let calls = [call(Function::Sum, Some(1), None)];
    with_subject(&[0], &calls, |subject| {
        let mut group = make(&[0], &calls).unwrap();
        subject.step(&mut group, &[numbered("a", 5, 1)]).1.unwrap();
        let (out, result) = subject.step(&mut group, &[numbered("a", 3, -1)]);
        assert!(result.unwrap_err().problem.contains("not all of its values went"));
        assert_eq!(given(&out).values().copied().collect::<Vec<_>>(), [-1]);
        assert_eq!(group.held(), 0);
    });
}

#[test]
fn many_errors_are_one_with_their_number() {
    let calls = [call(Function::Count, None, None)];
    with_subject(&[0], &calls, |subject| {
        let mut group = make(&[0], &calls).unwrap();
        let strays = ["a", "b", "c"].map(|key| numbered(key, 5, -1));
        let error = subject.step(&mut group, &strays).1.unwrap_err();
        // The first by the hash of its bytes.
        let is_one = ["a", "b", "c"].map(|key| format!("c0={key}, c1=5, c2=null"));
        assert!(is_one.iter().any(|row| error.row.starts_with(row)), "{error}");
        assert!(error.problem.ends_with("and 2 more in this step"), "{error}");
    });
}

#[test]
fn aggregates_that_there_are_not_are_refused() {
    for bad in [
        call(Function::Sum, Some(5), None),
        call(Function::Avg, Some(0), None),
        call(Function::BoolOr, Some(1), None),
        call(Function::Max, None, None),
        call(Function::Count, Some(1), None),
        call(Function::Sum, Some(1), Some(1)),
        call(Function::Sum, Some(70), None),
    ] {
        let error = make(&[0], std::slice::from_ref(&bad)).unwrap_err();
        assert_eq!(error.row, bad.text);
    }
    let (input, out) = (layout(&INPUT), layout(&["text", "decimal(30,2)"]));
    let sum = vec![call(Function::Sum, Some(2), None)];
    let error = Group::new(input, vec![0], sum, out).unwrap_err();
    assert!(error.problem.contains("another type"), "{error}");
}

#[test]
fn results_have_the_types_of_datafusion() {
    use Function::*;
    for (function, column, result) in [
        (Sum, "bigint", "bigint"),
        (Sum, "decimal(10,2)", "decimal(20,2)"),
        (Sum, "decimal(30,4)", "decimal(38,4)"),
        (Avg, "bigint", "double"),
        (Avg, "decimal(10,2)", "decimal(14,6)"),
        (Avg, "decimal(38,36)", "decimal(38,38)"),
        (CountDistinct, "text", "bigint"),
        (Min, "date", "date"),
        (BoolAnd, "boolean", "boolean"),
    ] {
        let column = schemas::ColumnType::parse(column);
        assert_eq!(function.result(column), schemas::ColumnType::parse(result), "{function:?}");
    }
}
