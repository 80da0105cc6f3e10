//! What waits for the clock: settling after a backlog, closing periods, the next row of cells that had one
//! a moment ago.
//!
//! # Guarantees
//! - [`Timers::next`] orders by (due, kind); within one timer the engine orders by cell key.
//! - At most one settle is pending, a closing per period end, and a row of each cell that is behind.

use std::collections::{BTreeMap, BTreeSet};

use schemas::Micros;

use crate::history::CellHistory;

/// One KPI of one cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct CellRef {
    pub(super) kpi: u32,
    pub(super) cell: u32,
}

/// The kinds of timers, in the order in which they fire when due at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Due {
    Settle,
    Close,
    Follow,
}

#[derive(Debug, Default)]
pub(super) struct Timers {
    settle: Option<Micros>,
    dirty: Vec<CellRef>,
    /// Period end to (cube, cell).
    closing: BTreeMap<Micros, Vec<(usize, u32)>>,
    /// When a row is due to cells that are behind.
    following: BTreeMap<Micros, BTreeSet<CellRef>>,
}

impl Timers {
    pub(super) fn next(&self) -> Option<(Micros, Due)> {
        let settle = self.settle.map(|due| (due, Due::Settle));
        let close = self.closing.first_key_value().map(|(due, _)| (*due, Due::Close));
        let follow = self.following.first_key_value().map(|(due, _)| (*due, Due::Follow));
        [settle, close, follow].into_iter().flatten().min()
    }

    /// When settling is due.
    pub(super) fn settle_due(&self) -> Option<Micros> {
        self.settle
    }

    pub(super) fn set_settle_due(&mut self, due: Option<Micros>) {
        self.settle = due;
    }

    /// Notes what a cell waits for that did not before.
    pub(super) fn note(&mut self, at: CellRef, before: &CellHistory, now: &CellHistory) {
        if now.quiet_dirty && !before.quiet_dirty {
            self.dirty(at);
        }
        if let Some(due) = now.follow_due().filter(|_| !before.behind) {
            self.following.entry(due).or_default().insert(at);
        }
        // It got its row otherwise.
        if let Some(due) = before.follow_due().filter(|_| !now.behind)
            && let Some(cells) = self.following.get_mut(&due)
        {
            cells.remove(&at);
            if cells.is_empty() {
                self.following.remove(&due);
            }
        }
    }

    /// Watches a cell as it was saved.
    pub(super) fn restore(&mut self, at: CellRef, history: &CellHistory) {
        self.note(at, &CellHistory::default(), history);
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

    pub(super) fn take_following(&mut self, due: Micros) -> Vec<CellRef> {
        self.following.remove(&due).unwrap_or_default().into_iter().collect()
    }

    /// Every cell that may be waiting, each once; nothing is due to them any more.
    pub(super) fn take_waiting(&mut self) -> Vec<CellRef> {
        let following = std::mem::take(&mut self.following).into_values().flatten();
        let mut waiting: Vec<CellRef> = following.collect();
        waiting.append(&mut self.take_dirty());
        waiting.sort_unstable();
        waiting.dedup();
        waiting
    }

    /// Every cell that may be waiting, perhaps more than once.
    pub(super) fn waiting(&self) -> impl Iterator<Item = CellRef> {
        self.dirty.iter().chain(self.following.values().flatten()).copied()
    }
}
