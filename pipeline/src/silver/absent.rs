//! Columns that events do not have.
//!
//! A column that an origin has never sent is null: it is not in that source. One that it has sent before is
//! somewhere else since: it was renamed, removed, or left out by a transform. Then nobody knows its value,
//! which is unknown and not that of an earlier change. One that the contract did not have yet when a record was read was
//! neither sent nor left out by it.
//!
//! # Guarantees
//! - A row says of such a column which change lacked it, so that no change before that fills it in, and any
//!   behind it does.
//! - Whether a column was sent before is told by the places of both changes. Where the earlier one is read later, in
//!   another partition, what was null until then is unknown.
//!
//! # Non-guarantees
//! - What of a row that lacks a column waits for another key, or is kept aside, stays null where the first change that
//!   has the column is read after it.

use schemas::{Delta, EpochStamp, Position, RowBuilder};
use serde::{Deserialize, Serialize};

use super::live::LiveRow;
use super::record::Carried;
use super::{TableFold, Which};
use crate::decode::ChangeRef;

/// What an origin has told of a column.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Column {
    /// Its earliest change that has it.
    first: Option<Position>,
    /// Whether a change lacked it.
    is_lacked: bool,
}

/// Which columns of the contract an origin has sent, and since which change, whatever the order in which they are read.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Sent {
    columns: Vec<Column>,
    /// The first changes, each once, where all columns were sent: a whole change behind them is no news.
    since: Vec<Position>,
}

/// A column that was sent earlier than was known: by a change, and before what was the first until now.
#[derive(Debug, Clone, Copy)]
struct Earlier {
    column: usize,
    first: Position,
    until: Option<Position>,
}

impl Earlier {
    /// Whether a change lacked the column, which was taken for one that is not there.
    fn is_between(&self, position: &Position) -> bool {
        self.first.compare(position).is_lt()
            && self.until.is_none_or(|until| position.compare(&until).is_lt())
    }
}

impl Sent {
    /// Whether a change at `position` that has all columns says nothing that is not known.
    fn is_known(&self, columns: usize, position: &Position) -> bool {
        let is_all = self.columns.len() == columns && !self.since.is_empty();
        is_all && self.since.iter().all(|since| !position.compare(since).is_lt())
    }

    /// A change at `position` has all columns of so many but these. Gives those that changes lacked that are later, as
    /// far as was known until now before the column came.
    fn note(&mut self, columns: usize, absent: &[usize], position: &Position) -> Vec<Earlier> {
        self.columns.resize(columns.max(self.columns.len()), Column::default());
        let mut earlier = Vec::new();
        for (column, own) in self.columns.iter_mut().enumerate().take(columns) {
            if absent.contains(&column) {
                own.is_lacked = true;
                continue;
            }
            let until = own.first;
            if until.is_some_and(|until| !position.compare(&until).is_lt()) {
                continue;
            }
            own.first = Some(*position);
            if own.is_lacked {
                earlier.push(Earlier { column, first: *position, until });
            }
        }
        self.find_since();
        earlier
    }

    fn find_since(&mut self) {
        self.since.clear();
        for first in self.columns.iter().map(|own| own.first) {
            let Some(first) = first else { return self.since.clear() };
            if !self.since.contains(&first) {
                self.since.push(first);
            }
        }
    }

    fn first(&self, column: usize) -> Option<Position> {
        self.columns.get(column).and_then(|own| own.first)
    }

    /// Whether a column was sent before a change at `position`.
    fn is_before(&self, column: usize, position: &Position) -> bool {
        self.first(column).is_some_and(|first| first.compare(position).is_lt())
    }

    /// Tells anew which incarnation those changes are of.
    pub(super) fn settle(&mut self, settle: &dyn Fn(&mut Position) -> bool) {
        self.columns.iter_mut().filter_map(|own| own.first.as_mut()).for_each(|first| {
            settle(first);
        });
        self.find_since();
    }

    /// The columns that were never sent.
    pub(super) fn never(&self, columns: usize) -> impl Iterator<Item = usize> {
        (0..columns).filter(|column| self.first(*column).is_none())
    }
}

/// Memory for rows that lack columns.
#[derive(Debug, Default)]
pub(super) struct Lacking {
    columns: Vec<usize>,
    row: Vec<u8>,
    builder: RowBuilder,
}

impl Lacking {
    /// The same change, with what it lacks and was sent before as unknown.
    pub(super) fn view<'a>(&'a self, change: ChangeRef<'a>) -> ChangeRef<'a> {
        if self.columns.is_empty() {
            return ChangeRef { absent: &[], ..change };
        }
        ChangeRef { absent: &self.columns, row: &self.row, ..change }
    }
}

impl TableFold {
    /// Notes which columns a row of an origin has, and puts the row into `lacking` if it lacks any that was
    /// sent before.
    pub(super) fn note_sent(
        &mut self,
        origin: u32,
        change: ChangeRef<'_>,
        position: &Position,
        lacking: &mut Lacking,
        (stamp, delta): (&EpochStamp, &mut Delta),
    ) {
        lacking.columns.clear();
        let layout = self.contract.layout();
        let Some(own) = self.origins.get_mut(origin) else { return };
        if change.absent.is_empty() && own.sent.is_known(layout.len(), position) {
            return;
        }
        let (sent, came) = (&own.sent, layout.row(change.row));
        let is_lost = |column: usize| sent.is_before(column, position) || came.is_unknown(column);
        lacking.columns.extend(change.absent.iter().filter(|column| is_lost(**column)));
        let earlier = own.sent.note(change.columns.min(layout.len()), change.absent, position);
        if !lacking.columns.is_empty() {
            let Lacking { columns, row, builder } = lacking;
            builder.reset(layout.len());
            (0..layout.len()).for_each(|column| builder.copy(column, came));
            columns.iter().for_each(|column| builder.set_unknown(*column));
            row.clear();
            builder.finish(layout, row);
        }
        for earlier in earlier {
            self.lose(origin, earlier, stamp, delta);
        }
    }

    /// A column was sent earlier than was known: rows lost it that were taken not to have it yet.
    fn lose(&mut self, origin: u32, earlier: Earlier, stamp: &EpochStamp, delta: &mut Delta) {
        let layout = self.contract.layout();
        let has_lost = |row: &LiveRow<'_>| {
            let own = layout.row(row.row);
            let is_null = own.is_null(earlier.column) && !own.is_unknown(earlier.column);
            row.origin == origin && is_null && earlier.is_between(&row.position)
        };
        let rows = self.rows.iter().filter(|(_, row)| has_lost(row));
        let lost = rows.filter(|(_, row)| Carried::read(row.carried).get(earlier.column).is_none());
        for slot in lost.map(|(slot, _)| slot).collect::<Vec<u32>>() {
            let mut key = Vec::new();
            self.rows.key_of(slot, &mut key);
            let which = Which { origin, key: &key, slot: Some(slot) };
            self.forget_column(which, earlier.column, stamp, delta);
        }
    }
}

#[cfg(test)]
mod tests;
