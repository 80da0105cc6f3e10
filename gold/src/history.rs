//! When a cell gets a history row: a pure state machine on epoch clocks and quiet bits.
//!
//! # Guarantees
//! - What is written depends on the epochs with records alone: not on ticks, flushes or wall time.
//! - A running period gets at most one row a minute (and one when its last row leaves), one when it
//!   closes, then at most one restatement per slot of five seconds.
//! - While a backlog or snapshot is read (quiet epochs) nothing is written; one row per changed
//!   cell follows when it is over.

use schemas::Micros;
use serde::{Deserialize, Serialize};

/// The least time between two rows of a running period.
pub const HISTORY_INTERVAL_US: i64 = 60_000_000;
/// Changes of a closed period within one such slot become one restatement.
pub const RESTATEMENT_SLOT_US: i64 = 5_000_000;
/// How long after the last quiet epoch its changes are written if no live one comes.
pub const SETTLE_US: i64 = 1_000_000;

/// What is remembered of one cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct CellHistory {
    /// The clock of its last row.
    pub(crate) last_row: Option<Micros>,
    /// Whether a row with `closed` was written: closed for good.
    pub(crate) closed: bool,
    /// Whether a quiet epoch changed it and no row was written since.
    pub(crate) quiet_dirty: bool,
    /// Whether it changed after it was closed and the restatement is due at the end of the slot.
    pub(crate) restate: bool,
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
    /// Whether the epoch is quiet.
    pub(crate) quiet: bool,
    /// The end of the cell's period.
    pub(crate) end: Micros,
    /// Whether the epoch changed the cell.
    pub(crate) changed: bool,
    /// Whether a row feeds the cell after the epoch.
    pub(crate) exists: bool,
}

impl CellHistory {
    /// After the rows of an epoch: the row to write now, if any. `quiet_dirty` and `restate` say
    /// afterwards what waits for a timer.
    pub(crate) fn on_epoch(&mut self, seen: &Seen) -> Option<Mark> {
        if seen.quiet {
            self.quiet_dirty |= seen.changed;
            return None;
        }
        let over = seen.end <= seen.clock;
        if std::mem::take(&mut self.quiet_dirty) {
            return Some(self.write(seen.clock, over, false));
        }
        if !seen.changed {
            return None;
        }
        if !over {
            let due = |last: Micros| seen.clock.0.saturating_sub(last.0) >= HISTORY_INTERVAL_US;
            let now = !seen.exists || self.last_row.is_none_or(due);
            return now.then(|| self.write(seen.clock, false, false));
        }
        if !self.closed {
            return Some(self.write(seen.clock, true, false));
        }
        self.restate = true;
        None
    }

    /// The backlog is over and no live epoch came.
    pub(crate) fn on_settle(&mut self, due: Micros, end: Micros) -> Option<Mark> {
        std::mem::take(&mut self.quiet_dirty).then(|| self.write(due, end <= due, false))
    }

    /// The period of a cell that exists is over.
    pub(crate) fn on_close(&mut self, due: Micros) -> Option<Mark> {
        self.quiet_dirty = false;
        (!self.closed).then(|| self.write(due, true, false))
    }

    /// The slot in which a closed cell changed is over. What a backlog changed still settles.
    pub(crate) fn on_restate(&mut self, due: Micros) -> Option<Mark> {
        std::mem::take(&mut self.restate).then(|| self.write(due, true, true))
    }

    /// Whether any of this can matter for a cell that no row feeds.
    pub(crate) fn needed(&self, over: bool) -> bool {
        self.closed || self.quiet_dirty || self.restate || (!over && self.last_row.is_some())
    }

    fn write(&mut self, clock: Micros, closed: bool, restatement: bool) -> Mark {
        self.last_row = Some(clock);
        self.closed |= closed;
        Mark { closed, restatement }
    }
}

/// The end of the restatement slot that contains `clock`.
pub(crate) fn slot_end(clock: Micros) -> Micros {
    Micros((clock.0.div_euclid(RESTATEMENT_SLOT_US) + 1).saturating_mul(RESTATEMENT_SLOT_US))
}

#[cfg(test)]
mod tests;
