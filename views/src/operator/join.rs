//! Equi-joins: pairs of a left and a right row whose columns are equal, as often as SQL has them.
//!
//! Both sides are counted multisets. Rows of one side with equal columns hang in a chain, so that a change
//! finds what it pairs with, and each row is found by its bytes, however long its chain is.
//!
//! # Guarantees
//! - With several matches on both sides every pair is there, as often as its rows are, multiplied.
//! - A left row without a match has one row beside nulls, from the first change to the last; in a step in
//!   which it loses one match and gets another nothing of that is seen.
//! - A pair is quiet when each change that it comes of is. What tells a left row that it has a match, or
//!   none any more, is quiet when all changes of the columns' values are.
//! - A row that goes more often than it is there goes as often as it is there, and is an error.
//!
//! # Non-guarantees
//! - A null equals nothing, nor does an unknown value: such rows are not held, and nobody notices when one
//!   goes that was never there. Beside a left row whose value is unknown the right columns are unknown.
//! - Columns are compared as they lie in memory: who plans gives both sides one type.

use std::sync::Arc;

use schemas::{Column, Delta, RowBuilder, RowLayout, RowRef, RowSchema};

use super::key_columns::{KeyColumns, copy};
use super::problems::{self, Problems};
use super::slots::Slots;
use super::{JoinKind, Operator, StepError};

const LEFT: usize = 0;
const RIGHT: usize = 1;

/// The end of a chain.
const NONE: u32 = u32::MAX;

/// Joins two inputs: the left one, then the right one.
#[derive(Debug)]
pub struct Join {
    kind: JoinKind,
    sides: [Side; 2],
    /// By the bytes of the columns that are compared.
    keys: Slots<Key>,
    pairs: Pairs,
    changes: Vec<Change>,
}

/// The rows of one input.
#[derive(Debug)]
struct Side {
    layout: Arc<RowLayout>,
    columns: KeyColumns,
    rows: Slots<Held>,
}

/// The rows with equal columns.
#[derive(Debug)]
struct Key {
    /// The first row of each side.
    first: [u32; 2],
    /// Rows of the right side, each as often as it is there.
    right: i64,
}

/// A row that is held, in its chain.
#[derive(Debug)]
struct Held {
    /// How often it is there. Nothing and less only within a step.
    weight: i64,
    next: u32,
    previous: u32,
}

/// A row that came or went.
#[derive(Debug, Clone, Copy)]
struct Change {
    key: u32,
    side: usize,
    row: u32,
    weight: i64,
    is_quiet: bool,
}

impl Join {
    /// Joins rows where all these pairs of a left and a right column are equal. Gives the left columns, then
    /// the right ones.
    pub fn new(
        left: Arc<RowLayout>,
        right: Arc<RowLayout>,
        on: Vec<(usize, usize)>,
        kind: JoinKind,
    ) -> Join {
        let columns = |which: fn(&(usize, usize)) -> usize| on.iter().map(which).collect();
        let left = Side::new(left, columns(|pair| pair.0));
        let right = Side::new(right, columns(|pair| pair.1));
        let pairs = Pairs::new(&left.layout, &right.layout, kind);
        Join { kind, sides: [left, right], keys: Slots::new(), pairs, changes: Vec::new() }
    }

    /// Takes the rows of one side into their chains, as often as before, and notes how that changes.
    fn take(&mut self, side: usize, input: &Delta, out: &mut Delta) {
        let Some(own) = self.sides.get_mut(side) else { return };
        for change in input.keys() {
            let is_quiet = change.is_quiet();
            for (row, weight) in change.rows() {
                let nulls = own.columns.columns();
                if nulls.iter().any(|column| row.is_null(*column)) {
                    if side == LEFT && self.kind == JoinKind::Left {
                        let is_unknown = nulls.iter().any(|column| row.is_unknown(*column));
                        out.set_quiet(is_quiet);
                        self.pairs.alone(row, is_unknown, weight, out);
                    }
                    continue;
                }
                let fresh = || Key { first: [NONE; 2], right: 0 };
                let key = self.keys.intern(own.columns.of(row), fresh);
                let Some(chain) = self.keys.get_mut(key) else { continue };
                let row = own.intern(row.bytes(), &mut chain.first[side]);
                self.changes.push(Change { key, side, row, weight, is_quiet });
            }
        }
    }

    /// Makes of the changes of one key what changes in its pairs.
    fn change_key(&mut self, changes: &[Change], out: &mut Delta) {
        let Some(key) = changes.first().map(|change| change.key) else { return };
        let Some(own) = self.keys.get_mut(key) else { return };
        let of_right = || changes.iter().filter(|change| change.side == RIGHT);
        let had_match = own.right > 0;
        own.right = of_right().fold(own.right, |sum, change| sum.wrapping_add(change.weight));
        let has_match = own.right > 0;
        let is_left = self.kind == JoinKind::Left;
        if is_left && !had_match && has_match {
            out.set_quiet(of_right().all(|change| change.is_quiet));
            self.lone_rows(key, -1, out);
        }
        // The pair of a quiet change and one that is not is not quiet: it comes of the later.
        for is_quiet in [true, false] {
            out.set_quiet(is_quiet);
            for change in changes.iter().filter(|change| change.is_quiet == is_quiet) {
                self.pair(change, out);
                if is_left && change.side == LEFT && !had_match && !has_match {
                    let [left, _] = &self.sides;
                    self.pairs.alone(left.row(change.row), false, change.weight, out);
                }
                if let Some(held) = self.held_mut(change) {
                    held.weight = held.weight.wrapping_add(change.weight);
                }
            }
        }
        if is_left && had_match && !has_match {
            out.set_quiet(changes.iter().all(|change| change.is_quiet));
            self.lone_rows(key, 1, out);
        }
        self.let_go(key, changes);
    }

    /// Adds the pairs of a changed row with all rows of the other side.
    fn pair(&mut self, change: &Change, out: &mut Delta) {
        if self.pairs.is_silent {
            return;
        }
        let [left, right] = &self.sides;
        let (own, other) = if change.side == LEFT { (left, right) } else { (right, left) };
        let row = own.row(change.row);
        let Some(key) = self.keys.get(change.key) else { return };
        for (at, weight) in other.chain(key.first[1 - change.side]) {
            let paired = other.row(at);
            let (left, right) = if change.side == LEFT { (row, paired) } else { (paired, row) };
            self.pairs.add(left, right, weight.wrapping_mul(change.weight), out);
        }
    }

    /// Adds the left rows of a key, each beside nulls.
    fn lone_rows(&mut self, key: u32, sign: i64, out: &mut Delta) {
        if self.pairs.is_silent {
            return;
        }
        let [left, _] = &self.sides;
        let Some(key) = self.keys.get(key) else { return };
        for (at, weight) in left.chain(key.first[LEFT]) {
            self.pairs.alone(left.row(at), false, weight.wrapping_mul(sign), out);
        }
    }

    /// Lets go of rows that are not there any more.
    fn let_go(&mut self, key: u32, changes: &[Change]) {
        let Some(own) = self.keys.get_mut(key) else { return };
        for change in changes {
            if let (Some(side), Some(first)) =
                (self.sides.get_mut(change.side), own.first.get_mut(change.side))
            {
                side.let_go(change.row, first);
            }
        }
        if own.first == [NONE; 2] {
            self.keys.remove(key);
        }
    }

    fn held_mut(&mut self, change: &Change) -> Option<&mut Held> {
        self.sides.get_mut(change.side)?.rows.get_mut(change.row)
    }

    /// Lessens changes that take a row more often than it is there. They are in the order of rows.
    fn limit(&self, changes: &mut [Change], problems: &mut Problems) {
        for same in changes.chunk_by_mut(|a, b| (a.side, a.row) == (b.side, b.row)) {
            let Some(first) = same.first() else { continue };
            let Some(side) = self.sides.get(first.side) else { continue };
            let row = first.row;
            let held = side.rows.get(row).map_or(0, |held| held.weight);
            let left = same.iter().fold(held, |sum, change| sum.wrapping_add(change.weight));
            let mut excess = left.min(0).unsigned_abs();
            if excess > 0 {
                let times = i64::try_from(excess).unwrap_or(i64::MAX);
                problems.add(|| problems::never_there("JOIN", side.row(row), times));
            }
            for change in same.iter_mut().filter(|change| change.weight < 0) {
                let less = excess.min(change.weight.unsigned_abs());
                change.weight = change.weight.saturating_add_unsigned(less);
                excess -= less;
            }
        }
    }
}

impl Operator for Join {
    fn layout(&self) -> &Arc<RowLayout> {
        &self.pairs.layout
    }

    fn step(&mut self, inputs: &[&Delta], out: &mut Delta) -> Result<(), StepError> {
        for (side, input) in inputs.iter().enumerate() {
            self.take(side, input, out);
        }
        let mut changes = std::mem::take(&mut self.changes);
        let order = |change: &Change| (change.key, change.side, change.row, change.is_quiet);
        changes.sort_unstable_by_key(order);
        let mut problems = Problems::default();
        for of_key in changes.chunk_by_mut(|a, b| a.key == b.key) {
            self.limit(of_key, &mut problems);
            self.change_key(of_key, out);
        }
        changes.clear();
        self.changes = changes;
        out.set_quiet(false);
        problems.finish()
    }

    fn take_in(&mut self, inputs: &[&Delta], spare: &mut Delta) -> Result<(), StepError> {
        self.pairs.is_silent = true;
        let done = self.step(inputs, spare);
        self.pairs.is_silent = false;
        done
    }

    fn held(&self) -> usize {
        self.sides.iter().map(|side| side.rows.len()).sum()
    }
}

impl Side {
    fn new(layout: Arc<RowLayout>, columns: Vec<usize>) -> Side {
        let columns = KeyColumns::new(&layout, columns);
        Side { layout, columns, rows: Slots::new() }
    }

    fn row(&self, at: u32) -> RowRef<'_> {
        self.layout.row(self.rows.key(at))
    }

    /// The slot of a row, put first into the chain when it is new.
    fn intern(&mut self, row: &[u8], first: &mut u32) -> u32 {
        let next = *first;
        let mut is_new = false;
        let at = self.rows.intern(row, || {
            is_new = true;
            Held { weight: 0, next, previous: NONE }
        });
        if is_new {
            if let Some(next) = self.rows.get_mut(next) {
                next.previous = at;
            }
            *first = at;
        }
        at
    }

    /// Takes a row out of its chain unless it is there.
    fn let_go(&mut self, at: u32, first: &mut u32) {
        let Some(&Held { weight: 0, next, previous }) = self.rows.get(at) else { return };
        match self.rows.get_mut(previous) {
            Some(previous) => previous.next = next,
            None => *first = next,
        }
        if let Some(next) = self.rows.get_mut(next) {
            next.previous = previous;
        }
        self.rows.remove(at);
    }

    /// The rows of a chain with their weights, those apart that are not there.
    fn chain(&self, first: u32) -> impl Iterator<Item = (u32, i64)> {
        let held = |at: u32| self.rows.get(at).map(|held| (at, held));
        std::iter::successors(held(first), move |(_, row)| held(row.next))
            .map(|(at, row)| (at, row.weight))
            .filter(|(_, weight)| *weight != 0)
    }
}

/// Builds the rows that are given.
#[derive(Debug)]
struct Pairs {
    layout: Arc<RowLayout>,
    builder: RowBuilder,
    bytes: Vec<u8>,
    /// Nobody looks at them: none is given.
    is_silent: bool,
}

impl Pairs {
    fn new(left: &RowLayout, right: &RowLayout, kind: JoinKind) -> Pairs {
        let right = right.schema().iter().map(|column| Column {
            required: column.required && kind == JoinKind::Inner,
            ..column.clone()
        });
        let columns = left.schema().iter().cloned().chain(right).collect();
        let layout = Arc::new(RowLayout::new(&RowSchema::new(columns)));
        let builder = RowBuilder::default();
        Pairs { layout, builder, bytes: Vec::new(), is_silent: false }
    }

    /// Adds a left row beside a right one.
    fn add(&mut self, left: RowRef<'_>, right: RowRef<'_>, weight: i64, out: &mut Delta) {
        self.start(left);
        let from = left.schema().len();
        for column in 0..right.schema().len() {
            copy(&mut self.builder, from + column, right, column);
        }
        self.builder.set_outdated(left.is_outdated() || right.is_outdated());
        self.finish(weight, out);
    }

    /// Adds a left row beside nulls, or beside what is unknown.
    fn alone(&mut self, left: RowRef<'_>, is_unknown: bool, weight: i64, out: &mut Delta) {
        if self.is_silent {
            return;
        }
        self.start(left);
        if is_unknown {
            let right = left.schema().len()..self.layout.len();
            right.for_each(|column| self.builder.set_unknown(column));
        }
        self.builder.set_outdated(left.is_outdated());
        self.finish(weight, out);
    }

    fn start(&mut self, left: RowRef<'_>) {
        self.builder.reset(self.layout.len());
        for column in 0..left.schema().len() {
            copy(&mut self.builder, column, left, column);
        }
    }

    fn finish(&mut self, weight: i64, out: &mut Delta) {
        self.bytes.clear();
        self.builder.finish(&self.layout, &mut self.bytes);
        if weight != 0 {
            out.add(self.layout.row(&self.bytes), weight);
        }
    }
}

#[cfg(test)]
mod tests;
