//! Rows of a partition with a column more, which others before them in an order decide.
//!
//! # Guarantees
//! - What is given is what differs: of LAG by n the rows that changed and n behind each, of a running sum all
//!   from the first that changed on.
//! - Rows that are equal in the order have one running sum, as SQL has it; for LAG they go by their bytes.
//! - A sum that does not fit its type is an error when it comes to that, and unknown until it fits again. One
//!   with a value that was never sent is unknown.
//! - What a partition gives in a step is quiet when all its changes are.
//! - A row that goes more often than it is there goes as often as it is there, and is an error.
//!
//! # Non-guarantees
//! - All rows are held.

mod lag;
mod running_sum;

use std::ops::Range;
use std::sync::Arc;

use schemas::{Column, ColumnType, Delta, RowBuilder, RowLayout, RowRef, RowSchema};

use super::bag::Bag;
use super::key_columns::{KeyColumns, copy};
use super::order::{self, Ranked};
use super::problems::{self, Problems};
use super::slots::Slots;
use super::{Function, Operator, SortBy, StepError};
use running_sum::Running;

/// What the column more says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WindowFunction {
    /// `LAG(column, by)`: the column of the row that comes so many rows before; null of none.
    Lag {
        /// The column.
        column: usize,
        /// How many rows before, from 1 on.
        by: usize,
    },
    /// `SUM(column)` over all rows up to the row and its peers.
    RunningSum {
        /// The column.
        column: usize,
    },
}

/// Gives each row with a column more.
#[derive(Debug)]
pub struct Window {
    input: Arc<RowLayout>,
    keys: KeyColumns,
    order: Vec<SortBy>,
    function: WindowFunction,
    partitions: Slots<Partition>,
    changes: Vec<Change>,
    /// The rows of changes, each behind its place.
    bytes: Vec<u8>,
    rows: Rows,
}

/// The rows of a partition.
#[derive(Debug, Default)]
struct Partition {
    rows: Bag<Ranked>,
    total: Running,
}

/// A row that came or went.
#[derive(Debug, Clone)]
struct Change {
    partition: u32,
    /// Place and row, and where the row begins.
    bytes: Range<usize>,
    row: usize,
    weight: i64,
    is_quiet: bool,
}

impl Change {
    /// Its place with the row behind it.
    fn place<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        bytes.get(self.bytes.clone()).unwrap_or_default()
    }
}

impl Window {
    /// Rows of `input`, in this order among those with equal columns `partition`. Gives their columns, then
    /// that of the function.
    ///
    /// # Errors
    /// A running sum of what has none, and LAG by nothing.
    pub fn new(
        input: Arc<RowLayout>,
        partition: Vec<usize>,
        order: Vec<SortBy>,
        function: WindowFunction,
    ) -> Result<Window, StepError> {
        let (name, kind) = match function {
            WindowFunction::Lag { column, by } => {
                ("lag", input.schema().kind(column).filter(|_| by > 0))
            }
            WindowFunction::RunningSum { column } => {
                ("running_sum", Function::Sum.result(input.schema().kind(column)))
            }
        };
        let kind = kind.ok_or_else(|| StepError {
            node: "OVER".to_owned(),
            row: name.to_owned(),
            problem: "has no column that it can be computed of".to_owned(),
        })?;
        Ok(Window {
            keys: KeyColumns::new(&input, partition),
            rows: Rows::new(&input, name, kind),
            input,
            order,
            function,
            partitions: Slots::new(),
            changes: Vec::new(),
            bytes: Vec::new(),
        })
    }

    /// Notes a change.
    fn take(&mut self, row: RowRef<'_>, weight: i64, is_quiet: bool) {
        let partition = self.partitions.intern(self.keys.of(row), Partition::default);
        let from = self.bytes.len();
        order::write(row, &self.order, &mut self.bytes);
        let at = self.bytes.len();
        self.bytes.extend_from_slice(row.bytes());
        let bytes = from..self.bytes.len();
        self.changes.push(Change { partition, bytes, row: at, weight, is_quiet });
    }

    /// Makes the changes of one partition, and gives what differs then.
    fn change(
        &mut self,
        (changes, bytes): (&[Change], &[u8]),
        out: &mut Delta,
        problems: &mut Problems,
    ) {
        let Some(at) = changes.first().map(|change| change.partition) else { return };
        out.set_quiet(changes.iter().all(|change| change.is_quiet));
        let misfits = self.give(at, (changes, bytes), -1, out);
        for same in changes.chunk_by(|a, b| a.place(bytes) == b.place(bytes)) {
            self.add(same, bytes, problems);
        }
        if self.give(at, (changes, bytes), 1, out) > misfits {
            problems.add(|| self.beyond(at));
        }
        if self.partitions.get(at).is_some_and(|partition| partition.rows.len() == 0) {
            self.partitions.remove(at);
        }
    }

    /// Adds the changes of one row.
    fn add(&mut self, same: &[Change], bytes: &[u8], problems: &mut Problems) {
        let Some(first) = same.first() else { return };
        let Some(partition) = self.partitions.get_mut(first.partition) else { return };
        let place = first.place(bytes);
        let row = self.input.row(bytes.get(first.row..first.bytes.end).unwrap_or_default());
        let held = partition.rows.count(place);
        let sum = same.iter().fold(0_i64, |sum, change| sum.wrapping_add(change.weight));
        let times = sum.max(held.wrapping_neg());
        if times > sum {
            problems.add(|| problems::never_there("OVER", row, times.wrapping_sub(sum)));
        }
        let at = first.row - first.bytes.start;
        partition.rows.add(place, || Ranked::new(place, at), times);
        if let WindowFunction::RunningSum { column } = self.function {
            partition.total.add(row, column, times);
        }
    }

    /// Gives the rows of a partition that changes at these places may touch, as they are now. Returns how
    /// many sums among them do not fit.
    fn give(
        &mut self,
        at: u32,
        (changes, bytes): (&[Change], &[u8]),
        sign: i64,
        out: &mut Delta,
    ) -> usize {
        let Some(partition) = self.partitions.get(at) else { return 0 };
        let (input, rows) = (&self.input, &mut self.rows);
        let mut misfits = 0;
        match self.function {
            WindowFunction::Lag { column, by } => {
                let mut places: Vec<&[u8]> = changes.iter().map(|own| own.place(bytes)).collect();
                places.dedup();
                lag::behind(&partition.rows, &places, by, |row, before| {
                    let before = before.map(|before| input.row(before.row()));
                    rows.start(input.row(row.row()));
                    if let Some(before) = before {
                        copy(&mut rows.builder, input.len(), before, column);
                    }
                    rows.finish(sign, out);
                });
            }
            WindowFunction::RunningSum { column } => {
                let Some(first) = changes.first() else { return 0 };
                let start = bytes.get(first.bytes.start..first.row).unwrap_or_default();
                let total = partition.total;
                let kind = rows.kind;
                running_sum::from(
                    &partition.rows,
                    input,
                    column,
                    total,
                    start,
                    |row, times, sum| {
                        rows.start(input.row(row.row()));
                        match sum.sum.total(kind) {
                            Some(total) if sum.unknown == 0 => rows.builder.set(input.len(), total),
                            Some(_) => rows.builder.set_unknown(input.len()),
                            None => {
                                rows.builder.set_unknown(input.len());
                                misfits += 1;
                            }
                        }
                        rows.finish(times.wrapping_mul(sign), out);
                    },
                );
            }
        }
        misfits
    }

    fn beyond(&self, partition: u32) -> StepError {
        let row = problems::text(self.keys.row(self.partitions.key(partition)));
        let problem = "the running sum is beyond its type, and unknown until it fits again; cast the \
                       column to a decimal with more digits";
        StepError { node: "OVER".to_owned(), row, problem: problem.to_owned() }
    }
}

impl Operator for Window {
    fn layout(&self) -> &Arc<RowLayout> {
        &self.rows.layout
    }

    fn step(&mut self, inputs: &[&Delta], out: &mut Delta) -> Result<(), StepError> {
        for change in inputs.iter().flat_map(|input| input.keys()) {
            let is_quiet = change.is_quiet();
            change.rows().for_each(|(row, weight)| self.take(row, weight, is_quiet));
        }
        let mut changes = std::mem::take(&mut self.changes);
        let mut bytes = std::mem::take(&mut self.bytes);
        changes.sort_unstable_by(|a, b| {
            let order = a.partition.cmp(&b.partition);
            order.then_with(|| a.place(&bytes).cmp(b.place(&bytes)))
        });
        let mut problems = Problems::default();
        for of_partition in changes.chunk_by(|a, b| a.partition == b.partition) {
            self.change((of_partition, &bytes), out, &mut problems);
        }
        changes.clear();
        bytes.clear();
        (self.changes, self.bytes) = (changes, bytes);
        out.set_quiet(false);
        problems.finish()
    }

    fn held(&self) -> usize {
        self.partitions.iter().map(|(_, partition)| partition.rows.len()).sum()
    }
}

/// Builds the rows that are given.
#[derive(Debug)]
struct Rows {
    layout: Arc<RowLayout>,
    /// The type of the column more.
    kind: ColumnType,
    builder: RowBuilder,
    bytes: Vec<u8>,
}

impl Rows {
    fn new(input: &RowLayout, name: &str, kind: ColumnType) -> Rows {
        let more = Column { name: name.to_owned(), kind, required: false };
        let columns = input.schema().iter().cloned().chain([more]).collect();
        let layout = Arc::new(RowLayout::new(&RowSchema::new(columns)));
        Rows { layout, kind, builder: RowBuilder::default(), bytes: Vec::new() }
    }

    fn start(&mut self, row: RowRef<'_>) {
        self.builder.reset(self.layout.len());
        (0..row.schema().len()).for_each(|column| copy(&mut self.builder, column, row, column));
        self.builder.set_outdated(row.is_outdated());
    }

    fn finish(&mut self, weight: i64, out: &mut Delta) {
        self.bytes.clear();
        self.builder.finish(&self.layout, &mut self.bytes);
        out.add(self.layout.row(&self.bytes), weight);
    }
}

#[cfg(test)]
mod tests;
