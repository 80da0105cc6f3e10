//! Tests of the module `top_n`.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::super::algebra::{
    Cell, Change, Dump, History, Row, Subject, bytes, cases, compare, given, history, layout,
    order, row,
};
use super::*;

impl Dump for TopN {
    fn dump(&self) -> String {
        let mut held: Vec<String> = (self.partitions.iter())
            .map(|(key, own)| {
                let rows: Vec<_> =
                    own.rows.iter().map(|(row, times)| (row.bytes(), times)).collect();
                format!("{key:?} {rows:?} {:?} {}", own.last, own.touched)
            })
            .collect();
        held.sort();
        held.join("\n")
    }
}

const INPUT: [&str; 4] = ["text", "bigint", "decimal(20,2)", "text"];

/// The first of each partition of a list, sorted whole; the order of bytes is that of the rows' layout.
fn by_sorting(
    partition: &[usize],
    by: &[SortBy],
    limit: usize,
    rank: bool,
    rows: &[Row],
) -> Vec<Row> {
    let layout = layout(&INPUT);
    let mut partitions = BTreeMap::<Vec<Cell>, Vec<&Row>>::new();
    for row in rows {
        let key = partition.iter().map(|column| row.cells[*column].clone()).collect();
        partitions.entry(key).or_default().push(row);
    }
    let mut all = Vec::new();
    for mut rows in partitions.into_values() {
        rows.sort_by(|a, b| {
            compare(a, b, by).then_with(|| bytes(&layout, a).cmp(&bytes(&layout, b)))
        });
        for (number, row) in (1..).zip(rows.into_iter().take(limit)) {
            let mut row = row.clone();
            if rank {
                row.cells.push(Cell::Whole(number));
            }
            all.push(row);
        }
    }
    all
}

fn rows() -> impl Strategy<Value = Row> {
    let text = || {
        prop_oneof![
            6 => prop::sample::select(vec!["", "a", "a\0", "a\0b", "ab", "b"])
                .prop_map(|text| Cell::Text(text.into())),
            1 => Just(Cell::Null),
            1 => Just(Cell::Unknown),
        ]
    };
    let number = prop_oneof![6 => (-2..3_i64).prop_map(Cell::Whole), 1 => Just(Cell::Null)];
    let amount = prop_oneof![
        6 => prop::sample::select(vec![-1, 0, 250, 1 << 64, -(1 << 64)]).prop_map(Cell::Decimal),
        1 => Just(Cell::Null),
    ];
    let partition = prop_oneof![4 => Just(Cell::Text("p".into())), 1 => Just(Cell::Null)];
    (partition, number, amount, text(), prop::bool::weighted(0.1))
        .prop_map(|(a, b, c, d, is_outdated)| Row { cells: vec![a, b, c, d], is_outdated })
}

/// An order of one to three columns.
fn orders() -> impl Strategy<Value = Vec<SortBy>> {
    let by = (1..4_usize, any::<bool>(), any::<bool>());
    prop::collection::vec(by, 0..4).prop_map(|columns| order(&columns))
}

fn with_subject(
    (partition, by): (&[usize], &[SortBy]),
    limit: u64,
    rank: bool,
    act: impl FnOnce(Subject<'_, TopN>),
) {
    let inputs = [layout(&INPUT)];
    let places = usize::try_from(limit).unwrap();
    let recompute = |inputs: &[Vec<Row>]| by_sorting(partition, by, places, rank, &inputs[0]);
    let make = || TopN::new(layout(&INPUT), partition.to_vec(), by.to_vec(), limit, rank);
    act(Subject { inputs: &inputs, make: &make, recompute: &recompute, may_fail: false });
}

proptest! {
    #![proptest_config(cases())]
    #[test]
    fn the_first_are_those_of_a_sorted_list(
        history in history(1, rows()), by in orders(), limit in 0..6_u64, rank: bool, one: bool,
    ) {
        let partition: &[usize] = if one { &[] } else { &[0] };
        with_subject((partition, &by), limit, rank, |subject| subject.check(&history));
    }

    #[test]
    fn a_stray_row_is_named_and_changes_nothing(
        history in history(1, rows()), by in orders(), limit in 0..6_u64, rank: bool, is_quiet: bool,
    ) {
        let row = row(&[Cell::Text("p".into()), Cell::Whole(77), Cell::Null, Cell::Null]);
        let stray = Change { input: 0, row, weight: -1, is_quiet };
        // A stray row touches its partition: what is quiet there need not be.
        with_subject((&[0], &by), limit, rank, |subject| subject.refuses(&history, &stray));
    }
}

#[test]
fn what_is_behind_the_last_place_touches_nothing_until_a_place_is_free() {
    let by = order(&[(1, true, false)]);
    let numbered = |number, weight| {
        let row = row(&[Cell::Text("p".into()), Cell::Whole(number), Cell::Null, Cell::Null]);
        vec![Change { input: 0, row, weight, is_quiet: false }]
    };
    let history: History = [9, 8, 7, 6, 5].map(|number| numbered(number, 1)).to_vec();
    with_subject((&[0], &by), 2, true, |subject| {
        let mut top = (subject.make)();
        for (step, given_rows) in history.iter().zip([1, 1, 0, 0, 0]) {
            assert_eq!(given(&subject.step(&mut top, step).0).len(), given_rows);
        }
        let (out, _) = subject.step(&mut top, &numbered(9, -1));
        let places: Vec<_> = given(&out)
            .into_iter()
            .map(|(row, weight)| (row.cells[1].clone(), row.cells[4].clone(), weight))
            .collect();
        let whole = Cell::Whole;
        assert_eq!(
            places,
            [
                (whole(7), whole(2), 1),
                (whole(8), whole(1), 1),
                (whole(8), whole(2), -1),
                (whole(9), whole(1), -1),
            ]
        );
        assert_eq!(top.held(), 4);
    });
}
