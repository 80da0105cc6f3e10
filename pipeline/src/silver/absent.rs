//! Columns that events do not have.
//!
//! A column that an origin has never sent is null: it is not in that source. One that it has sent before is
//! somewhere else since: it was renamed, removed, or left out by a transform. Then nobody knows its value,
//! which is unknown and not that of an earlier change.
//!
//! # Guarantees
//! - A row says of such a column which change lacked it, so that no change before that fills it in, and any
//!   behind it does.
//!
//! # Non-guarantees
//! - What was sent first is noted in the order in which it is read: of two partitions one may lack a column
//!   before the other is seen to have had it.

use schemas::{Position, RowBuilder};
use serde::{Deserialize, Serialize};

use super::TableFold;
use crate::decode::ChangeRef;

/// By column of the contract, the change that was the first of an origin to be seen to have it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Sent(Vec<Option<Position>>);

impl Sent {
    /// Whether every column of so many was sent.
    fn is_whole(&self, columns: usize) -> bool {
        self.0.len() == columns && self.0.iter().all(Option::is_some)
    }

    /// A change at `position` has all columns of so many but these.
    fn note(&mut self, columns: usize, absent: &[usize], position: &Position) {
        self.0.resize(columns, None);
        let sent = self.0.iter_mut().enumerate().filter(|(at, _)| !absent.contains(at));
        sent.for_each(|(_, first)| *first = first.or(Some(*position)));
    }

    /// Whether a column was sent before a change at `position`.
    fn is_before(&self, column: usize, position: &Position) -> bool {
        let first = self.0.get(column).copied().flatten();
        first.is_some_and(|first| first.compare(position).is_lt())
    }

    /// Tells anew which incarnation those changes are of.
    pub(super) fn settle(&mut self, settle: &dyn Fn(&mut Position) -> bool) {
        self.0.iter_mut().flatten().for_each(|first| {
            settle(first);
        });
    }

    /// The columns that were never sent.
    pub(super) fn never(&self, columns: usize) -> impl Iterator<Item = usize> {
        (0..columns).filter(|column| self.0.get(*column).copied().flatten().is_none())
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
    ) {
        lacking.columns.clear();
        let layout = self.contract.layout();
        let Some(own) = self.origins.get_mut(origin) else { return };
        if change.absent.is_empty() && own.sent.is_whole(layout.len()) {
            return;
        }
        let (sent, came) = (&own.sent, layout.row(change.row));
        let is_lost = |column: usize| sent.is_before(column, position) || came.is_unknown(column);
        lacking.columns.extend(change.absent.iter().filter(|column| is_lost(**column)));
        own.sent.note(layout.len(), change.absent, position);
        if lacking.columns.is_empty() {
            return;
        }
        let Lacking { columns, row, builder } = lacking;
        builder.reset(layout.len());
        (0..layout.len()).for_each(|column| builder.copy(column, came));
        columns.iter().for_each(|column| builder.set_unknown(*column));
        row.clear();
        builder.finish(layout, row);
    }
}

#[cfg(test)]
mod tests;
