//! When a KPI cell gets a history row: the rules, one epoch at a time.
//!
//! # Guarantees
//! - Rows are a function of the epochs' records with their quiet bits, and of clocks. How often [`History::timers`]
//!   is called between two epochs changes nothing.

use std::collections::{BTreeMap, BTreeSet};

use crate::kpis::{self, CellId, CellValue, GONE, Sums};

/// At most one row of a running cell in this time.
const INTERVAL: i64 = 60_000_000;
/// At most one row of a closed cell in this time.
const PAUSE: i64 = 5_000_000;
/// How long after the last quiet record of what a KPI reads its quiet changes are written.
const SETTLE: i64 = 1_000_000;

/// One row of history.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct HistoryRow<C = CellId> {
    /// The cell.
    pub cell: C,
    /// The clock or due time it was written for.
    pub as_of: i64,
    /// What it said.
    pub value: CellValue,
    /// The last epoch with records up to then.
    pub epoch: i64,
    /// Whether its period was over.
    pub closed: bool,
    /// Whether it restates a closed period.
    pub restatement: bool,
}

/// What is remembered of a cell.
#[derive(Debug, Clone, Default)]
struct CellState {
    now: Option<CellValue>,
    changed_epoch: i64,
    changed_clock: i64,
    last_row: Option<i64>,
    closed: bool,
    /// When a row is due that says what changed since its last one.
    row_due: Option<i64>,
}

/// What is quiet of an epoch.
#[derive(Debug, Default)]
pub struct Quiet {
    /// The contracts with a quiet record.
    pub contracts: BTreeSet<String>,
    /// The cells that no other row changes.
    pub cells: BTreeSet<CellId>,
}

/// The cells and history of a lake, up to some epoch.
#[derive(Debug, Default)]
pub struct History {
    cells: BTreeMap<CellId, CellState>,
    /// Due times of periods that will end.
    closes: BTreeSet<(i64, CellId)>,
    /// Due times of the rows of cells that are behind.
    follows: BTreeSet<(i64, CellId)>,
    quiet_dirty: BTreeSet<CellId>,
    /// By KPI.
    settles: BTreeMap<&'static str, i64>,
    last_epoch: i64,
    rows: Vec<HistoryRow>,
}

/// Kinds of timers in the order in which they fire at one instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    Settle,
    Close,
    Follow,
}

impl History {
    /// The rows written so far.
    pub fn rows(&self) -> &[HistoryRow] {
        &self.rows
    }

    /// The cells that exist: what they say, and the epoch and clock that last changed them.
    pub fn current(&self) -> impl Iterator<Item = (&CellId, CellValue, i64, i64)> {
        self.cells
            .iter()
            .filter_map(|(id, cell)| Some((id, cell.now?, cell.changed_epoch, cell.changed_clock)))
    }

    /// Fires everything that is due at `clock`, oldest first.
    pub fn timers(&mut self, clock: i64) {
        loop {
            let settle = self.settles.values().min().map(|due| (*due, Timer::Settle));
            let close = self.closes.first().map(|(due, _)| (*due, Timer::Close));
            let follow = self.follows.first().map(|(due, _)| (*due, Timer::Follow));
            let next = [settle, close, follow].into_iter().flatten().min();
            let Some((due, timer)) = next.filter(|(due, _)| *due <= clock) else { return };
            match timer {
                Timer::Settle => self.fire_settle(due),
                Timer::Close => self.fire_close(due),
                Timer::Follow => self.fire_follow(due),
            }
        }
    }

    fn fire_settle(&mut self, due: i64) {
        let is_due = |id: &CellId| self.settles.get(id.kpi) == Some(&due);
        let cells: Vec<CellId> = self.quiet_dirty.iter().filter(|id| is_due(id)).cloned().collect();
        self.settles.retain(|_, own| *own != due);
        for id in cells {
            self.quiet_dirty.remove(&id);
            self.changed(&id, due);
        }
    }

    fn fire_close(&mut self, due: i64) {
        let Some((_, id)) = self.closes.pop_first() else { return };
        let cell = self.cells.get(&id);
        if cell.is_some_and(|cell| cell.now.is_some() && !cell.closed) {
            self.write(&id, due);
        }
    }

    fn fire_follow(&mut self, due: i64) {
        let Some((_, id)) = self.follows.pop_first() else { return };
        self.write(&id, due);
    }

    /// The end of a batch run: whatever waits is written at this clock. Timers up to it have fired.
    pub fn end_batch(&mut self, clock: i64) {
        self.settles.clear();
        let mut waiting = std::mem::take(&mut self.quiet_dirty);
        waiting.extend(self.follows.iter().map(|(_, id)| id.clone()));
        for id in waiting {
            self.write(&id, clock);
        }
    }

    /// The rules for an epoch with records, after they have been added to `sums`. `touched` are the
    /// cells that may have changed. Timers up to `clock` must have fired before the records came.
    pub fn epoch(
        &mut self,
        (epoch, clock): (i64, i64),
        quiet: &Quiet,
        touched: &BTreeSet<CellId>,
        sums: &Sums,
    ) {
        self.last_epoch = epoch;
        let mut changed = Vec::new();
        for id in touched {
            let now = sums.value(id);
            if now == self.cells.get(id).and_then(|cell| cell.now) {
                continue;
            }
            if !self.cells.contains_key(id) && id.end() > clock {
                self.closes.insert((id.end(), id.clone()));
            }
            let cell = self.cells.entry(id.clone()).or_default();
            cell.now = now;
            (cell.changed_epoch, cell.changed_clock) = (epoch, clock);
            changed.push(id);
        }
        for (kpi, _) in kpis::UNITS {
            if kpis::reads(kpi).iter().any(|contract| quiet.contracts.contains(*contract)) {
                self.settles.insert(kpi, clock + SETTLE);
            }
        }
        for id in changed {
            if quiet.cells.contains(id) {
                self.quiet_dirty.insert(id.clone());
            } else {
                self.quiet_dirty.remove(id);
                self.changed(id, clock);
            }
        }
    }

    /// A cell that changed, or that a backlog changed which is over now: a row, or when it is due.
    fn changed(&mut self, id: &CellId, clock: i64) {
        let Some(cell) = self.cells.get_mut(id) else { return };
        let pause = if cell.closed { PAUSE } else { INTERVAL };
        let waits = cell.closed || (id.end() > clock && cell.now.is_some());
        match cell.last_row.map(|last| last + pause) {
            Some(due) if waits && due > clock => {
                cell.row_due = Some(due);
                self.follows.insert((due, id.clone()));
            }
            _ => self.write(id, clock),
        }
    }

    /// The row of a cell: nothing of it waits any longer.
    fn write(&mut self, id: &CellId, as_of: i64) {
        self.quiet_dirty.remove(id);
        let Some(cell) = self.cells.get_mut(id) else { return };
        cell.last_row = Some(as_of);
        if let Some(due) = cell.row_due.take() {
            self.follows.remove(&(due, id.clone()));
        }
        let restatement = cell.closed;
        let closed = restatement || id.end() <= as_of;
        cell.closed = closed;
        let value = cell.now.unwrap_or(GONE);
        let (cell, epoch) = (id.clone(), self.last_epoch);
        self.rows.push(HistoryRow { cell, as_of, value, epoch, closed, restatement });
    }
}

#[cfg(test)]
mod tests;
