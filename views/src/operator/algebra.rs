//! What every operator must keep to, whatever it does, over random histories of its inputs.
//!
//! A test gives a history and a recompute: what the operator should hold of the rows that its inputs hold,
//! written with plain lists and without a line of the operator.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;
use schemas::{
    Column, ColumnType, Date, Datum, Delta, Micros, RowBuilder, RowKey, RowLayout, RowRef,
    RowSchema,
};

use super::{Operator, SortBy, StepError};

/// A value, for tests.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Cell {
    Null,
    Unknown,
    Whole(i64),
    Decimal(i128),
    Text(String),
    Flag(bool),
    Day(i32),
    Instant(i64),
    /// The bits of a double.
    Double(u64),
}

/// A row, for tests.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Row {
    pub(super) cells: Vec<Cell>,
    pub(super) is_outdated: bool,
}

/// A row of an input that comes or goes.
#[derive(Debug, Clone)]
pub(super) struct Change {
    pub(super) input: usize,
    pub(super) row: Row,
    pub(super) weight: i64,
    pub(super) is_quiet: bool,
}

/// Steps of changes; no row goes that is not there.
pub(super) type History = Vec<Vec<Change>>;

/// What an operator holds, as text: the same for the same content, whatever it lies like.
pub(super) trait Dump {
    fn dump(&self) -> String;
}

/// As many cases as `PROPTEST_CASES` says, or a thousand.
pub(super) fn cases() -> ProptestConfig {
    match std::env::var_os("PROPTEST_CASES") {
        Some(_) => ProptestConfig::default(),
        None => ProptestConfig::with_cases(1000),
    }
}

/// A layout of columns of these types.
pub(super) fn layout(kinds: &[&str]) -> Arc<RowLayout> {
    let column = |(at, kind): (usize, &&str)| Column {
        name: format!("c{at}"),
        kind: ColumnType::parse(kind).unwrap(),
        required: false,
    };
    Arc::new(RowLayout::new(&RowSchema::new(kinds.iter().enumerate().map(column).collect())))
}

pub(super) fn row(cells: &[Cell]) -> Row {
    Row { cells: cells.to_vec(), is_outdated: false }
}

pub(super) fn bytes(layout: &RowLayout, row: &Row) -> Vec<u8> {
    let mut builder = RowBuilder::default();
    builder.reset(layout.len());
    for (at, cell) in row.cells.iter().enumerate() {
        match cell {
            Cell::Null => builder.set_null(at),
            Cell::Unknown => builder.set_unknown(at),
            Cell::Whole(number) => builder.set_bigint(at, *number),
            Cell::Decimal(mantissa) => builder.set_decimal(at, *mantissa),
            Cell::Text(text) => builder.set_text(at, text),
            Cell::Flag(flag) => builder.set_boolean(at, *flag),
            Cell::Day(day) => builder.set_date(at, Date(*day)),
            Cell::Instant(instant) => builder.set_timestamp(at, Micros(*instant)),
            Cell::Double(bits) => builder.set_double(at, f64::from_bits(*bits)),
        }
    }
    builder.set_outdated(row.is_outdated);
    let mut bytes = Vec::new();
    builder.finish(layout, &mut bytes);
    bytes
}

pub(super) fn read(row: RowRef<'_>) -> Row {
    let cell = |at: usize| match row.datum(at) {
        Datum::Null if row.is_unknown(at) => Cell::Unknown,
        Datum::Null => Cell::Null,
        Datum::Text(text) => Cell::Text(text.to_owned()),
        Datum::Bigint(number) => Cell::Whole(number),
        Datum::Double(number) => Cell::Double(number.to_bits()),
        Datum::Boolean(flag) => Cell::Flag(flag),
        Datum::Date(day) => Cell::Day(day.0),
        Datum::Timestamp(at) => Cell::Instant(at.0),
        Datum::Decimal(mantissa) => Cell::Decimal(mantissa),
    };
    Row { cells: (0..row.schema().len()).map(cell).collect(), is_outdated: row.is_outdated() }
}

/// An order: columns, whether descending, whether nulls come first.
pub(super) fn order(columns: &[(usize, bool, bool)]) -> Vec<SortBy> {
    let by = |&(column, descending, nulls_first)| SortBy { column, descending, nulls_first };
    columns.iter().map(by).collect()
}

/// How rows stand to each other in an order.
pub(super) fn compare(a: &Row, b: &Row, order: &[SortBy]) -> Ordering {
    let is_null = |cell: &Cell| matches!(cell, Cell::Null | Cell::Unknown);
    for by in order {
        let (a, b) = (&a.cells[by.column], &b.cells[by.column]);
        let of_nulls = if by.nulls_first { Ordering::Less } else { Ordering::Greater };
        let order = match (is_null(a), is_null(b)) {
            (true, true) => Ordering::Equal,
            (true, false) => of_nulls,
            (false, true) => of_nulls.reverse(),
            (false, false) if by.descending => b.cmp(a),
            (false, false) => a.cmp(b),
        };
        if order.is_ne() {
            return order;
        }
    }
    Ordering::Equal
}

/// A history from random picks: each adds its row, or takes away one of those that are there.
pub(super) fn history(
    inputs: usize,
    row: impl Strategy<Value = Row>,
) -> impl Strategy<Value = History> {
    let pick = (0..inputs, row, prop::option::of(any::<prop::sample::Index>()), 1..3_i64, 0..5_u8);
    // Most steps are loud, some quiet, some mixed.
    let step = (prop::collection::vec(pick, 0..8), 0..4_u8);
    prop::collection::vec(step, 1..6).prop_map(move |steps| {
        let mut held = vec![Vec::<Row>::new(); inputs];
        let step = |(picks, mood): (Vec<_>, u8)| {
            let change = |(input, row, gone, times, one): (usize, Row, Option<_>, i64, u8)| {
                let is_quiet = mood == 3 || mood == 2 && one < 2;
                let own = &mut held[input];
                let gone: Option<prop::sample::Index> = gone;
                match gone.filter(|_| !own.is_empty()) {
                    Some(index) => {
                        let row = own.swap_remove(index.index(own.len()));
                        Change { input, row, weight: -1, is_quiet }
                    }
                    None => {
                        (0..times).for_each(|_| own.push(row.clone()));
                        Change { input, row, weight: times, is_quiet }
                    }
                }
            };
            picks.into_iter().map(change).collect()
        };
        steps.into_iter().map(step).collect()
    })
}

/// An operator with what goes into it.
pub(super) struct Subject<'a, O> {
    pub(super) inputs: &'a [Arc<RowLayout>],
    pub(super) make: &'a dyn Fn() -> O,
    /// What it should hold, of the rows of each input.
    pub(super) recompute: &'a dyn Fn(&[Vec<Row>]) -> Vec<Row>,
    /// Whether a sum may be too large, which is an error and all else is done.
    pub(super) may_fail: bool,
}

impl<O: Operator + Dump> Subject<'_, O> {
    /// Does one step; returns what was given, with and without being quiet.
    pub(super) fn step(&self, own: &mut O, changes: &[Change]) -> (Delta, Result<(), StepError>) {
        let deltas = self.deltas(changes);
        let mut out = Delta::new(Arc::clone(own.layout()), RowKey::default());
        let result = own.step(&deltas.iter().collect::<Vec<_>>(), &mut out);
        out.consolidate();
        (out, result)
    }

    /// What changes of each input.
    fn deltas(&self, changes: &[Change]) -> Vec<Delta> {
        let delta = |(input, layout): (usize, &Arc<RowLayout>)| {
            let mut delta = Delta::new(Arc::clone(layout), RowKey::default());
            for change in changes.iter().filter(|change| change.input == input) {
                delta.set_quiet(change.is_quiet);
                delta.add(layout.row(&bytes(layout, &change.row)), change.weight);
            }
            delta.consolidate();
            delta
        };
        self.inputs.iter().enumerate().map(delta).collect()
    }

    fn good(&self, own: &mut O, changes: &[Change]) -> Delta {
        let (out, result) = self.step(own, changes);
        if !self.may_fail {
            result.unwrap();
        }
        out
    }

    /// All of it, over one history.
    pub(super) fn check(&self, history: &History) {
        self.gives_differences(history);
        self.parts_and_order_change_nothing(history);
        self.taking_back_leaves_no_trace(history);
        self.what_nobody_looks_at_is_kept(history);
    }

    /// A step that is only taken in leaves what it leaves otherwise, and gives nothing.
    fn what_nobody_looks_at_is_kept(&self, history: &History) {
        let (mut own, mut other) = ((self.make)(), (self.make)());
        let mut spare = Delta::new(Arc::clone(own.layout()), RowKey::default());
        for (number, step) in history.iter().enumerate() {
            let (out, result) = self.step(&mut own, step);
            if number % 2 == 0 {
                let deltas = self.deltas(step);
                let taken = other.take_in(&deltas.iter().collect::<Vec<_>>(), &mut spare);
                assert!(spare.is_empty() && taken == result, "what is taken in");
            } else {
                assert_eq!(given(&self.step(&mut other, step).0), given(&out), "after that");
            }
            assert_eq!((own.dump(), own.held()), (other.dump(), other.held()));
            assert!(own.held() == 0 || !own.is_stateless(), "it keeps something");
        }
    }

    /// Each step gives what the recompute differs by, and what is quiet is quiet.
    fn gives_differences(&self, history: &History) {
        let mut own = (self.make)();
        let mut held = vec![Vec::new(); self.inputs.len()];
        let mut before = given(&self.good(&mut own, &[]));
        assert_eq!(before, counts((self.recompute)(&held).into_iter().map(|row| (row, 1))));
        for changes in history {
            let out = self.good(&mut own, changes);
            hold(&mut held, changes);
            let after = counts((self.recompute)(&held).into_iter().map(|row| (row, 1)));
            let gone = before.into_iter().map(|(row, weight): (Row, i64)| (row, -weight));
            let wanted = counts(after.clone().into_iter().chain(gone));
            assert_eq!(given(&out), wanted, "what changes in one step");
            let quiet: Vec<bool> = out.keys().map(|change| change.is_quiet()).collect();
            if changes.iter().all(|change| !change.is_quiet) {
                assert!(!quiet.contains(&true), "loud changes alone give nothing quiet");
            } else if changes.iter().all(|change| change.is_quiet) {
                assert!(!quiet.contains(&false), "quiet changes alone give nothing loud");
            }
            before = after;
        }
    }

    /// One step, a step for each change, and the steps as they are end in the same; within a step the order
    /// of changes is not seen at all.
    fn parts_and_order_change_nothing(&self, history: &History) {
        let run = |steps: Vec<Vec<Change>>| {
            let mut own = (self.make)();
            let mut sum: Vec<(Row, i64)> = Vec::new();
            for step in &steps {
                sum.extend(given(&self.good(&mut own, step)));
            }
            (counts(sum.into_iter()), own.dump(), own.held())
        };
        let all: Vec<Change> = history.iter().flatten().cloned().collect();
        let each: Vec<_> = all.iter().map(|change| vec![change.clone()]).collect();
        let as_is = run(history.clone());
        // A group without keys is given with the first step: there is one of each.
        if !all.is_empty() {
            assert_eq!(run(vec![all.clone()]), as_is, "one step");
            assert_eq!(run(each), as_is, "a step for each change");
        }
        let (mut forth, mut back) = ((self.make)(), (self.make)());
        for step in history {
            let backwards: Vec<Change> = step.iter().rev().cloned().collect();
            let (one, other) = (self.step(&mut forth, step), self.step(&mut back, &backwards));
            assert!(is_same(&one.0, &other.0) && one.1 == other.1, "the order in a step is seen");
        }
    }

    /// Taking a step back leaves what was held before it, and taking all back leaves nothing.
    fn taking_back_leaves_no_trace(&self, history: &History) {
        let mut own = (self.make)();
        let first = given(&self.good(&mut own, &[]));
        let nothing = (own.dump(), own.held());
        let mut held = vec![Vec::new(); self.inputs.len()];
        for step in history {
            let dump = own.dump();
            let back: Vec<Change> = step
                .iter()
                .map(|change| Change { weight: -change.weight, ..change.clone() })
                .collect();
            let there = given(&self.good(&mut own, step));
            let here = given(&self.good(&mut own, &back));
            assert_eq!(counts(there.into_iter().chain(here)), BTreeMap::new(), "there and back");
            assert_eq!(own.dump(), dump, "held after there and back");
            self.good(&mut own, step);
            hold(&mut held, step);
        }
        let mut rest = Vec::new();
        for (input, rows) in held.into_iter().enumerate() {
            let gone = |row| Change { input, row, weight: -1, is_quiet: false };
            rest.extend(rows.into_iter().map(gone));
        }
        self.good(&mut own, &rest);
        assert_eq!((own.dump(), own.held()), nothing, "held when all has gone");
        let anew = given(&self.good(&mut (self.make)(), &[]));
        assert_eq!(anew, first);
    }

    /// A row that goes and was never there is an error that names it, and makes no other difference.
    pub(super) fn refuses(&self, history: &History, stray: &Change) {
        let (mut own, mut other) = ((self.make)(), (self.make)());
        for step in history {
            let wanted = self.good(&mut own, step);
            let with: Vec<Change> = step.iter().chain([stray]).cloned().collect();
            let (got, result) = self.step(&mut other, &with);
            assert_eq!(given(&got), given(&wanted), "what a stray row changes");
            let error = result.unwrap_err();
            // A sum of the same step may have been the first to be wrong.
            let is_other = self.may_fail && error.problem.contains("beyond its type");
            assert!(error.row.contains("77") || is_other, "{error}");
            assert_eq!(own.dump(), other.dump(), "what is held after a stray row");
        }
    }
}

/// Puts changes into lists of rows.
fn hold(held: &mut [Vec<Row>], changes: &[Change]) {
    for change in changes {
        let own = &mut held[change.input];
        (0..change.weight).for_each(|_| own.push(change.row.clone()));
        for _ in change.weight..0 {
            let at = own.iter().position(|row| *row == change.row).unwrap();
            own.remove(at);
        }
    }
}

/// Rows with the sums of their weights, those apart that are nothing.
fn counts(rows: impl Iterator<Item = (Row, i64)>) -> BTreeMap<Row, i64> {
    let mut counts = BTreeMap::new();
    rows.for_each(|(row, weight)| *counts.entry(row).or_default() += weight);
    counts.retain(|_, weight| *weight != 0);
    counts
}

/// What a step gave, quiet or not.
pub(super) fn given(out: &Delta) -> BTreeMap<Row, i64> {
    counts(out.iter().map(|(row, weight)| (read(row), weight)))
}

fn is_same(one: &Delta, other: &Delta) -> bool {
    let quiet = |delta: &Delta| {
        delta.keys().map(|change| (change.is_quiet(), change.rows().count())).collect::<Vec<_>>()
    };
    one == other && quiet(one) == quiet(other)
}
