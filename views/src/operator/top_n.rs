//! The first rows of each partition, in an order.
//!
//! # Guarantees
//! - Rows that are equal in the order go by their bytes, so that the first are the same whatever came first.
//!   A row that is there several times takes several places.
//! - A step in which no row changes before the last place of a partition gives nothing of it, and costs no
//!   more than finding the place of the row.
//! - What a partition gives in a step is quiet when all changes within its places are.
//! - A row that goes more often than it is there is an error and changes nothing.
//!
//! # Non-guarantees
//! - All rows are held, those behind the last place too: they move up when others go. A step costs as much as
//!   there are places in each partition that it changes.

use std::cmp::Ordering;
use std::sync::Arc;

use schemas::{Column, ColumnType, Delta, RowBuilder, RowLayout, RowRef, RowSchema};

use super::bag::Bag;
use super::key_columns::{KeyColumns, copy};
use super::order::{self, Ranked};
use super::problems::{self, Problems};
use super::slots::Slots;
use super::{Operator, SortBy, StepError};

/// Partitions that no step has touched yet.
const UNTOUCHED: u32 = u32::MAX;

/// The first rows of each partition.
#[derive(Debug)]
pub struct TopN {
    input: Arc<RowLayout>,
    layout: Arc<RowLayout>,
    has_rank: bool,
    keys: KeyColumns,
    order: Vec<SortBy>,
    limit: u64,
    partitions: Slots<Partition>,
    touched: Vec<Touched>,
    place: Vec<u8>,
    builder: RowBuilder,
    bytes: Vec<u8>,
}

/// The rows of a partition.
#[derive(Debug)]
struct Partition {
    rows: Bag<Ranked>,
    /// Where the last place is, once all are taken.
    last: Option<Box<[u8]>>,
    /// Its place among those that the step touched.
    touched: u32,
}

/// A partition that the step touched.
#[derive(Debug)]
struct Touched {
    partition: u32,
    first: Vec<(Ranked, u64)>,
    is_quiet: bool,
}

impl TopN {
    /// The first `limit` rows of those with equal columns `partition`, in this order. With `rank` each has a
    /// column more: its place, from 1 on.
    pub fn new(
        input: Arc<RowLayout>,
        partition: Vec<usize>,
        order: Vec<SortBy>,
        limit: u64,
        rank: bool,
    ) -> TopN {
        let number =
            Column { name: "row_number".to_owned(), kind: ColumnType::Bigint, required: true };
        let layout = match rank {
            true => {
                let columns = input.schema().iter().cloned().chain([number]).collect();
                Arc::new(RowLayout::new(&RowSchema::new(columns)))
            }
            false => Arc::clone(&input),
        };
        TopN {
            keys: KeyColumns::new(&input, partition),
            input,
            layout,
            has_rank: rank,
            order,
            limit,
            partitions: Slots::new(),
            touched: Vec::new(),
            place: Vec::new(),
            builder: RowBuilder::default(),
            bytes: Vec::new(),
        }
    }

    fn take(&mut self, row: RowRef<'_>, weight: i64, is_quiet: bool, problems: &mut Problems) {
        let fresh = || Partition { rows: Bag::default(), last: None, touched: UNTOUCHED };
        let at = self.partitions.intern(self.keys.of(row), fresh);
        let Some(partition) = self.partitions.get_mut(at) else { return };
        self.place.clear();
        order::write(row, &self.order, &mut self.place);
        let from = self.place.len();
        self.place.extend_from_slice(row.bytes());
        let place = self.place.as_slice();
        if partition.last.as_deref().is_none_or(|last| place <= last) {
            match self.touched.get_mut(partition.touched as usize) {
                Some(touched) => touched.is_quiet &= is_quiet,
                None => {
                    partition.touched = u32::try_from(self.touched.len()).unwrap_or(UNTOUCHED);
                    let first = partition.first(self.limit);
                    self.touched.push(Touched { partition: at, first, is_quiet });
                }
            }
        }
        if weight < 0 && partition.rows.count(place) < weight.saturating_neg() {
            let excess = weight.saturating_neg();
            problems.add(|| problems::never_there("ROW_NUMBER", row, excess));
            return;
        }
        partition.rows.add(place, || Ranked::new(place, from), weight);
    }

    /// Gives what became of a touched partition.
    fn settle(&mut self, touched: &Touched, out: &mut Delta) {
        let Some(partition) = self.partitions.get_mut(touched.partition) else { return };
        partition.touched = UNTOUCHED;
        let first = partition.first(self.limit);
        let taken: u64 = first.iter().map(|(_, times)| *times).sum();
        let last = first.last().filter(|_| taken >= self.limit);
        partition.last = last.map(|(row, _)| row.bytes().into());
        if partition.rows.len() == 0 {
            self.partitions.remove(touched.partition);
        }
        out.set_quiet(touched.is_quiet);
        match self.has_rank {
            true => self.give_ranked(&touched.first, &first, out),
            false => self.give(&touched.first, &first, out),
        }
    }

    /// Gives how often rows are among the first, where that changed. Both lists are in order.
    fn give(&self, old: &[(Ranked, u64)], new: &[(Ranked, u64)], out: &mut Delta) {
        let (mut old, mut new) = (old.iter().peekable(), new.iter().peekable());
        loop {
            let order = match (old.peek(), new.peek()) {
                (None, None) => return,
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some(old), Some(new)) => old.0.cmp(&new.0),
            };
            let gone = if order.is_le() { old.next() } else { None };
            let come = if order.is_ge() { new.next() } else { None };
            let times = |side: Option<&(Ranked, u64)>| {
                side.map_or(0, |(_, times)| i64::try_from(*times).unwrap_or(i64::MAX))
            };
            let change = times(come).wrapping_sub(times(gone));
            if let Some((row, _)) = come.or(gone)
                && change != 0
            {
                out.add(self.input.row(row.row()), change);
            }
        }
    }

    /// The same where each row has its place as a column: place by place.
    fn give_ranked(&mut self, old: &[(Ranked, u64)], new: &[(Ranked, u64)], out: &mut Delta) {
        let (mut old, mut new) = (places(old), places(new));
        for number in 1.. {
            let (gone, come) = (old.next(), new.next());
            if gone.is_none() && come.is_none() {
                return;
            }
            if gone.map(Ranked::row) != come.map(Ranked::row) {
                gone.into_iter().for_each(|row| self.give_place(row, number, -1, out));
                come.into_iter().for_each(|row| self.give_place(row, number, 1, out));
            }
        }
    }

    fn give_place(&mut self, row: &Ranked, number: i64, weight: i64, out: &mut Delta) {
        let row = self.input.row(row.row());
        self.builder.reset(self.layout.len());
        (0..self.input.len()).for_each(|column| copy(&mut self.builder, column, row, column));
        self.builder.set_bigint(self.input.len(), number);
        self.builder.set_outdated(row.is_outdated());
        self.bytes.clear();
        self.builder.finish(&self.layout, &mut self.bytes);
        out.add(self.layout.row(&self.bytes), weight);
    }
}

/// Each row as often as it has a place.
fn places(rows: &[(Ranked, u64)]) -> impl Iterator<Item = &Ranked> {
    let times = |times: u64| usize::try_from(times).unwrap_or(usize::MAX);
    rows.iter().flat_map(move |(row, count)| std::iter::repeat_n(row, times(*count)))
}

impl Partition {
    /// The first rows, each with how many places it has.
    fn first(&self, limit: u64) -> Vec<(Ranked, u64)> {
        let mut left = limit;
        let mut first = Vec::new();
        for (row, times) in self.rows.iter() {
            if left == 0 {
                break;
            }
            let times = u64::try_from(times).unwrap_or_default().min(left);
            left -= times;
            first.push((row.clone(), times));
        }
        first
    }
}

impl Operator for TopN {
    fn layout(&self) -> &Arc<RowLayout> {
        &self.layout
    }

    fn step(&mut self, inputs: &[&Delta], out: &mut Delta) -> Result<(), StepError> {
        let mut problems = Problems::default();
        super::each_change(inputs, |row, weight, is_quiet| {
            self.take(row, weight, is_quiet, &mut problems);
        });
        let mut touched = std::mem::take(&mut self.touched);
        touched.iter().for_each(|touched| self.settle(touched, out));
        touched.clear();
        self.touched = touched;
        out.set_quiet(false);
        problems.finish()
    }

    fn held(&self) -> usize {
        self.partitions.iter().map(|(_, partition)| partition.rows.len()).sum()
    }
}

#[cfg(test)]
mod tests;
