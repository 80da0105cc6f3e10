//! What waits for the clock: settling after a backlog, closing periods, restating closed ones.
//!
//! # Guarantees
//! - [`Timers::next`] orders by (due, kind); within one timer the engine orders by cell key.
//! - At most one settle and one restatement slot are pending, and a closing per period end.

use std::collections::BTreeMap;

use schemas::Micros;

use crate::history::{CellHistory, Mark, Seen, slot_end};

/// One KPI of one cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct CellRef {
    pub(super) kpi: u32,
    pub(super) cell: u32,
}

/// The kinds of timers, in the order in which they fire when due at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Due {
    Settle,
    Close,
    Restate,
}

#[derive(Debug, Default)]
pub(super) struct Timers {
    settle: Option<Micros>,
    dirty: Vec<CellRef>,
    /// Period end to (cube, cell).
    closing: BTreeMap<Micros, Vec<(usize, u32)>>,
    restate: Option<Micros>,
    restating: Vec<CellRef>,
}

impl Timers {
    pub(super) fn next(&self) -> Option<(Micros, Due)> {
        let settle = self.settle.map(|due| (due, Due::Settle));
        let close = self.closing.first_key_value().map(|(due, _)| (*due, Due::Close));
        let restate = self.restate.map(|due| (due, Due::Restate));
        [settle, close, restate].into_iter().flatten().min()
    }

    /// The due times of settling and restating.
    pub(super) fn pending(&self) -> (Option<Micros>, Option<Micros>) {
        (self.settle, self.restate)
    }

    pub(super) fn set_pending(&mut self, settle: Option<Micros>, restate: Option<Micros>) {
        (self.settle, self.restate) = (settle, restate);
    }

    /// Lets the history of a cell see an epoch, and notes what it waits for from then on.
    pub(super) fn see(
        &mut self,
        at: CellRef,
        history: &mut CellHistory,
        seen: &Seen,
    ) -> Option<Mark> {
        let before = *history;
        let mark = history.on_epoch(seen);
        if history.quiet_dirty && !before.quiet_dirty {
            self.dirty(at);
        }
        if history.restate && !before.restate {
            self.restate(at, slot_end(seen.clock));
        }
        mark
    }

    /// A quiet epoch changed a cell.
    pub(super) fn dirty(&mut self, at: CellRef) {
        self.dirty.push(at);
    }

    pub(super) fn has_dirty(&self) -> bool {
        !self.dirty.is_empty()
    }

    /// Sets when the changes of quiet epochs are written, if there are any.
    pub(super) fn settle_after(&mut self, due: Micros) {
        if self.has_dirty() {
            self.settle = Some(due);
        }
    }

    pub(super) fn take_dirty(&mut self) -> Vec<CellRef> {
        self.settle = None;
        std::mem::take(&mut self.dirty)
    }

    /// A cell whose period is running was made.
    pub(super) fn close(&mut self, end: Micros, cube: usize, cell: u32) {
        self.closing.entry(end).or_default().push((cube, cell));
    }

    pub(super) fn take_closing(&mut self, due: Micros) -> Vec<(usize, u32)> {
        self.closing.remove(&due).unwrap_or_default()
    }

    /// A closed cell changed.
    pub(super) fn restate(&mut self, at: CellRef, due: Micros) {
        self.restate = Some(due);
        self.restating.push(at);
    }

    pub(super) fn take_restating(&mut self) -> Vec<CellRef> {
        self.restate = None;
        std::mem::take(&mut self.restating)
    }
}
