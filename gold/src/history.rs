//! When a cell gets a history row: a pure state machine on epoch clocks and on whether changes are quiet.
//!
//! A change of a cell is quiet when all rows are that changed it in the epoch.
//!
//! # Guarantees
//! - What is written depends on the epochs with records, and on decisions that end a batch run: not on ticks,
//!   flushes or wall time.
//! - A running period gets at most one row a minute (and one when its last row leaves), one when it
//!   closes, then at most one restatement in five seconds: quiet or not. What changes meanwhile is written
//!   when that time is over, so the rows of many cells are due at many instants.
//! - It is closed once. Every row after that is a restatement.
//! - For a quiet change nothing is written; it is written by the same rules when the backlogs and snapshots
//!   of what its KPI reads are over, or with the next change that is not quiet.
//! - A minute after the last epoch the newest row of every cell is what the cell says; at once where
//!   the end of a batch run says so.

use schemas::Micros;
use serde::{Deserialize, Serialize};

/// The least time between two rows of a running period.
pub const HISTORY_INTERVAL_US: i64 = 60_000_000;
/// The least time between two rows of a closed period.
pub const RESTATEMENT_INTERVAL_US: i64 = 5_000_000;
/// How long after the last quiet row of a contract that its KPI reads a quiet change is looked at.
pub const SETTLE_US: i64 = 1_000_000;

/// What is remembered of one cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct CellHistory {
    /// The clock of its last row.
    pub(crate) last_row: Option<Micros>,
    /// Whether a row with `closed` was written: closed for good.
    pub(crate) closed: bool,
    /// Whether quiet rows changed it and no row was written since.
    pub(crate) quiet_dirty: bool,
    /// Whether it changed too soon after its last row, so that another is due.
    pub(crate) behind: bool,
}

/// The flags of a row to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mark {
    pub(crate) closed: bool,
    pub(crate) restatement: bool,
}

/// What one epoch with records did to one cell.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seen {
    /// The epoch's clock.
    pub(crate) clock: Micros,
    /// Whether the change is quiet.
    pub(crate) quiet: bool,
    /// The end of the cell's period.
    pub(crate) end: Micros,
    /// Whether the epoch changed the cell.
    pub(crate) changed: bool,
    /// Whether a row feeds the cell after the epoch.
    pub(crate) exists: bool,
}

impl CellHistory {
    /// After the rows of an epoch: the row to write now, if any. The flags say afterwards what waits
    /// for a timer.
    pub(crate) fn on_epoch(&mut self, seen: &Seen) -> Option<Mark> {
        if !seen.changed {
            return None;
        }
        if seen.quiet {
            self.quiet_dirty = true;
            return None;
        }
        self.change(seen.clock, seen.end, seen.exists)
    }

    /// The backlog is over: what it changed is a change like any other.
    pub(crate) fn on_settle(&mut self, at: Micros, end: Micros, exists: bool) -> Option<Mark> {
        if self.quiet_dirty { self.change(at, end, exists) } else { None }
    }

    /// The period of a cell that exists is over.
    pub(crate) fn on_close(&mut self, due: Micros) -> Option<Mark> {
        (!self.closed).then(|| self.write(due, true))
    }

    /// When a row of a cell that is behind is due.
    pub(crate) fn follow_due(&self) -> Option<Micros> {
        let last = self.last_row.filter(|_| self.behind)?;
        Some(last.plus(self.interval()))
    }

    /// The row of a cell that is behind is due.
    pub(crate) fn on_follow(&mut self, due: Micros, end: Micros) -> Option<Mark> {
        (self.follow_due() == Some(due)).then(|| self.write(due, end <= due))
    }

    /// The end of a batch run: nothing waits any longer.
    pub(crate) fn on_end(&mut self, at: Micros, end: Micros) -> Option<Mark> {
        self.is_waiting().then(|| self.write(at, end <= at))
    }

    /// Whether its newest row is not what it says.
    pub(crate) fn is_waiting(&self) -> bool {
        self.quiet_dirty || self.behind
    }

    fn change(&mut self, at: Micros, end: Micros, exists: bool) -> Option<Mark> {
        self.quiet_dirty = false;
        let interval = self.interval();
        let is_due = |last: Micros| at.0.saturating_sub(last.0) >= interval;
        // The end of a running cell, or of its period, waits for nothing.
        let at_once = !self.closed && (end <= at || !exists);
        if at_once || self.last_row.is_none_or(is_due) {
            return Some(self.write(at, end <= at));
        }
        self.behind = true;
        None
    }

    fn interval(&self) -> i64 {
        if self.closed { RESTATEMENT_INTERVAL_US } else { HISTORY_INTERVAL_US }
    }

    /// Whether any of this can matter for a cell that no row feeds.
    pub(crate) fn needed(&self, over: bool) -> bool {
        self.closed || self.is_waiting() || (!over && self.last_row.is_some())
    }

    fn write(&mut self, at: Micros, over: bool) -> Mark {
        let restatement = self.closed;
        let closed = restatement || over;
        *self = CellHistory { last_row: Some(at), closed, ..CellHistory::default() };
        Mark { closed, restatement }
    }
}

#[cfg(test)]
mod tests;
